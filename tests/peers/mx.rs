//! Delivery by MX, with names from a real name server: every case with its DSN.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::mail::transaction;
use super::node::Node;
use super::process::until;
use super::python::{read_dsn, talk};
use super::sink::{ALL, Kept, Sink};
use super::world::{OWN, REFUSING, SENDER, SILENT, World, network, start_knot};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

//= RFC 5321 §5.1, type=test
//# The lookup first attempts to locate an MX record associated with the name. If a CNAME record is
//# found, the resulting name is processed as if it were the initial name.
#[test]
fn mail_goes_where_mx_records_say() {
    let Some(network) = network() else { return };
    let many: String = (0..60)
        .map(|n| format!("big MX 10 one-of-so-many-hosts-that-udp-is-not-enough-{n}\n"))
        .collect();
    let records = format!(
        "ranked MX 20 two\nranked MX 10 one\n\
         alias CNAME ranked\n\
         wide MX 10 six\n\
         bare A 10.25.0.3\n\
         bare6 AAAA 2001:db8::25\n\
         {many}big MX 5 three\n"
    );
    let world = World::new(&network, &records);
    let expected = [
        ("r@ranked.example", "10.25.0.1"),
        ("r@alias.example", "10.25.0.1"),
        ("r@wide.example", "2001:db8::25"),
        // No MX: the domain is its own host.
        ("r@bare.example", "10.25.0.3"),
        ("r@bare6.example", "2001:db8::25"),
        ("r@[10.25.0.2]", "10.25.0.2"),
        // Its records fit no datagram.
        ("r@big.example", "10.25.0.3"),
    ];
    world.send(&expected.map(|(recipient, _)| recipient));
    for (recipient, host) in expected {
        assert_eq!(world.came_to(recipient), address(host), "{recipient}");
    }
    world.node.wait_until_empty();
    assert_eq!(world.sink.kept().len(), expected.len());
    let metrics = world.node.get("metrics").unwrap();
    let count = "relay_fast_dns_lookup_seconds_count ";
    let lookups = metrics.lines().find_map(|line| line.strip_prefix(count)).unwrap();
    assert!(lookups.parse::<u32>().unwrap() >= 6, "{lookups} lookups");
    // To see that TCP was needed: what the name server has to say of it over UDP is nothing.
    let udp = world.ask_dns(&["+ignore", "+bufsize=1232", "big.example", "MX"]);
    assert!(udp.contains("Flags: qr aa tc") && udp.contains("ANSWER: 0"), "{udp}");
}

//= RFC 5321 §5.1, type=test
//# If there are multiple destinations with the same preference and there is no clear reason to
//# favor one (e.g., by recognition of an easily reached address), then the sender-SMTP MUST
//# randomize them to spread the load
#[test]
fn hosts_of_equal_preference_share() {
    let Some(network) = network() else { return };
    // Each domain's hosts have names of their own, so that each is a site of its own, and its first
    // connection chooses anew: that all 20 choose the same has a chance of 1 in 2^19.
    let records: String = (0..20)
        .map(|n| {
            format!(
                "equal{n} MX 10 a{n}\nequal{n} MX 10 b{n}\na{n} A 10.25.0.1\nb{n} A 10.25.0.2\n"
            )
        })
        .collect();
    let world = World::new(&network, &records);
    let recipients: Vec<String> = (0..20).map(|n| format!("r@equal{n}.example")).collect();
    world.send(&recipients.iter().map(String::as_str).collect::<Vec<_>>());
    let hosts: HashSet<_> = recipients.iter().map(|one| world.came_to(one)).collect();
    assert_eq!(hosts, HashSet::from(["10.25.0.1", "10.25.0.2"].map(address)));
}

//= RFC 5321 §5.1, type=test
//# the SMTP client MUST be able to try (and retry) each of the relevant addresses in this list in
//# order, until a delivery attempt succeeds
#[test]
fn a_live_host_gets_what_a_dead_one_does_not_take() {
    let Some(network) = network() else { return };
    let records = format!(
        "refused MX 10 refusing\nrefused MX 20 two\n\
         unheard MX 10 silent\nunheard MX 20 two\n\
         nowhere MX 10 gone\nnowhere MX 20 two\n\
         far A 198.51.100.1\nfar-away MX 10 far\nfar-away MX 20 two\n\
         both A {REFUSING}\nboth A {SILENT}\nboth A 10.25.0.3\n"
    );
    let world = World::new(&network, &records);
    let expected = [
        ("r@refused.example", "10.25.0.2"),
        ("r@unheard.example", "10.25.0.2"),
        ("r@nowhere.example", "10.25.0.2"),
        ("r@far-away.example", "10.25.0.2"),
        ("r@both.example", "10.25.0.3"),
    ];
    world.send(&expected.map(|(recipient, _)| recipient));
    for (recipient, host) in expected {
        assert_eq!(world.came_to(recipient), address(host), "{recipient}");
        // At the first attempt: the other host was tried within it.
        let event = world.node.wait_for_event("delivered", recipient);
        assert_eq!(event["attempt"], 1, "{event}");
    }
    assert!(world.node.events().iter().all(|event| event["kind"] != "deferred"));
}

/// What must be right in every DSN about one recipient that failed without a host.
fn check(dsn: &Value, recipient: &str, status: &str, words: &str) {
    assert_eq!(dsn["type"], json!(["multipart/report", "delivery-status", 3]));
    assert_eq!(dsn["status_type"], "message/delivery-status");
    assert_eq!(dsn["headers"]["to"], SENDER);
    assert_eq!(dsn["headers"]["auto-submitted"], "auto-replied");
    assert_eq!(dsn["message"]["reporting-mta"], "dns; relay.example");
    assert!(dsn["message"]["arrival-date"].is_string());
    let about = &dsn["recipients"][0];
    assert_eq!(dsn["recipients"].as_array().unwrap().len(), 1);
    assert_eq!(about["final-recipient"], format!("rfc822; {recipient}"));
    assert_eq!((&about["action"], &about["status"]), (&json!("failed"), &json!(status)));
    assert_eq!(about["diagnostic-code"], format!("X-relay-fast; {words}"));
    assert!(about.get("remote-mta").is_none(), "nobody was asked: {about}");
    assert_eq!(dsn["returned"][0], "text/rfc822-headers");
    assert!(dsn["returned"][1].as_str().unwrap().contains(&format!("Subject: for {recipient}")));
    let text = dsn["text"].as_str().unwrap();
    assert!(text.contains(recipient) && text.contains(words), "{text}");
}

#[test]
fn what_dns_rules_out_is_bounced() {
    let Some(network) = network() else { return };
    let records = "\
null    MX 0 .
empty   TXT \"no MX, no address\"
lost    MX 10 gone
self    MX 10 relay
self    MX 20 two
nick    MX 10 nickname
second  MX 10 two
second  MX 20 relay
relayed A 10.25.0.100
inward  MX 10 inside
inside  A 127.0.0.1
inside  AAAA ::1
";
    let world = World::new(&network, records);
    let (missing, null) =
        ("no such domain, or no host that takes its mail", "the domain takes no mail");
    let loops = "mail loops back to this node";
    let literal = format!("r@[{OWN}]");
    let cases = [
        ("r@null.example", "5.1.10", null),
        //= RFC 5321 §5.1, type=test
        //# If a non-existent domain error is returned, this situation MUST be reported as an error
        ("r@gone.example", "5.1.2", missing),
        ("r@empty.example", "5.1.2", missing),
        ("r@lost.example", "5.1.2", missing),
        // By the name that this node has, by another name of its address, as its own host, by its
        // address itself.
        ("r@self.example", "5.4.6", loops),
        ("r@nick.example", "5.4.6", loops),
        ("r@relayed.example", "5.4.6", loops),
        (&literal, "5.4.6", loops),
        ("r@inward.example", "5.4.4", "mail does not go to ::1, where DNS has inside.example"),
        ("r@[127.0.0.2]", "5.4.4", "mail does not go to 127.0.0.2, where DNS has [127.0.0.2]"),
    ];
    world.send(&cases.map(|(recipient, ..)| recipient));
    world.send(&["r@second.example"]);
    let dsns = world.dsns(cases.len());
    for (recipient, status, words) in cases {
        let named = format!("rfc822; {recipient}");
        let mut all = dsns.iter();
        let dsn = all.find(|dsn| dsn["recipients"][0]["final-recipient"] == named);
        check(dsn.expect(recipient), recipient, status, words);
        let event = world.node.wait_for_event("bounced", recipient);
        assert_eq!((&event["status"], &event["stage"]), (&json!(status), &json!("route")));
    }
    // A better host than this node takes mail; nothing else came.
    assert_eq!(world.came_to("r@second.example"), address("10.25.0.2"));
    world.node.wait_until_empty();
    assert_eq!(world.sink.kept().len(), cases.len() + 1);
}

#[test]
fn a_node_that_listens_on_all_addresses_knows_them_for_its_own() {
    let Some(network) = network() else { return };
    let folder = tempfile::tempdir().unwrap();
    let records = "nick MX 10 nickname\nnick6 MX 10 six\nnick6 MX 10 refusing\n";
    let _knot = start_knot(&network, folder.path(), records);
    let back = Sink::start(&network, &ALL);
    let config = format!(
        "[[listener]]\naddress = \"0.0.0.0:25\"\n[[listener]]\naddress = \"[::]:25\"\n\
         [[upstream]]\nname = \"back\"\nhosts = \"{}\"\n\
         [[route]]\ndomains = [\"sender.example\"]\nto = \"back\"\n\
         [dns]\nservers = [\"127.0.0.1\"]\n",
        back.address()
    );
    let node = Node::start(&network, &config);
    let server = SocketAddr::new(address("127.0.0.1"), node.listener(0).port());
    for recipient in ["r@nick.example", "r@nick6.example"] {
        let content = format!("Subject: for {recipient}\r\n\r\nhello\r\n");
        let mut steps = vec![json!(["ehlo", "client.example"])];
        steps.extend(transaction(SENDER, &[recipient], &[], &content));
        talk(&network, server, &steps);
        let kept = until("a DSN", || {
            let named = |kept: &Kept| {
                kept.content().windows(recipient.len()).any(|w| w == recipient.as_bytes())
            };
            back.kept().into_iter().find(named)
        });
        check(&read_dsn(&kept.content()), recipient, "5.4.6", "mail loops back to this node");
    }
}

#[test]
fn what_dns_cannot_say_waits() {
    let Some(network) = network() else { return };
    let records = "backup MX 10 refusing\nbackup MX 20 relay\nsecond MX 20 two\n";
    let world = World::new(&network, records);
    let cases = [
        // SERVFAIL: the server has not got the zone. REFUSED: it is not its zone.
        ("r@broken.test", "4.4.3", "SERVFAIL"),
        ("r@elsewhere.test", "4.4.3", "REFUSED"),
        // The only better host is dead: this node, the backup, keeps it.
        ("r@backup.example", "4.4.1", "refused"),
    ];
    world.send(&cases.map(|(recipient, ..)| recipient));
    for (recipient, status, word) in cases {
        let event = world.node.wait_for_event("deferred", recipient);
        assert_eq!(event["status"], status, "{event}");
        let shown = world.node.ask(&["queue", "show", event["id"].as_str().unwrap()]);
        assert!(shown.contains(&format!("<{recipient}>: deferred")), "{shown}");
        assert!(shown.contains("attempts: 1; the next one at 2"), "{shown}");
        let last = shown.lines().find(|line| line.trim_start().starts_with("last: ")).unwrap();
        assert!(last.to_lowercase().contains(&word.to_lowercase()), "{shown}");
    }
    let listed = world.node.ask(&["queue", "list", "--all"]);
    assert_eq!(listed.matches("  deferred  ").count(), cases.len(), "{listed}");
    assert!(world.sink.kept().is_empty());
}
