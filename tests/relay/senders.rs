//! Tenants and campaigns at the real program: who they are, how they share, what pauses keep.

use relay_fast::mail::durability::Durability;
use relay_fast::outcome::event::Kind;
use rustix::process::Signal;

use crate::client::{Client, message};
use crate::node::{Node, to_upstream, wait_for};
use crate::sink::Sink;

const FIELDS: &str = "[senders]\nfields = \"remove\"\n";

/// A message of a tenant's campaign, as its header says.
fn labelled(subject: &str, tenant: &str, campaign: &str) -> String {
    format!(
        "From: <a@a.example>\r\nX-Tenant: {tenant}\r\nSubject: {subject}\r\n\
        x-campaign: {campaign}\r\n\r\nX-Tenant: in the body\r\n"
    )
}

fn hand_in(node: &Node, to: &str, content: &str) {
    Client::connect(node.listen[0]).send("<a@a.example>", &[to], content);
}

#[test]
fn a_header_says_who_sends_and_is_taken_out() {
    let sink = Sink::start();
    let mut node = Node::idle("");
    node.configure(&to_upstream(&sink.address.to_string(), FIELDS));
    node.run(2);
    hand_in(&node, "<x@b.example>", &labelled("one", "acme", "news"));
    let taken = sink.wait_for_mail_to("x@b.example");
    let (header, body) = taken.content.split_once("\r\n\r\n").expect("an empty line");
    let header = header.to_ascii_lowercase();
    assert!(!header.contains("x-tenant") && !header.contains("x-campaign"), "{header}");
    assert!(body.contains("X-Tenant: in the body") && taken.subject() == "one", "{body}");
    let events = node.wait_for_events(Kind::Delivered, 1);
    for event in &events {
        assert_eq!((&*event.tenant, &*event.campaign), ("acme", "news"), "{event:?}");
    }
    // What is no name is told, and nothing of it is kept.
    for (content, words) in [
        (labelled("two", "a b", "news"), "554 5.6.0 X-Tenant: it has something else than"),
        (labelled("two", "", "news"), "554 5.6.0 X-Tenant: it is empty"),
        ("X-Campaign: news\r\n\r\n".to_owned(), "550 5.6.0 The header names campaign news of no"),
    ] {
        let mut client = Client::connect(node.listen[0]);
        client.envelope("<a@a.example>", &["<x@b.example>"]);
        let reply = client.content(&content).expect("an answer");
        assert!(format!("{} {}", reply.code, reply.text).starts_with(words), "{reply:?}");
    }
    assert_eq!(node.stat("messages"), 0);
}

#[test]
fn a_strangers_header_says_nothing_and_passes_unchanged() {
    let sink = Sink::start();
    let mut node = Node::idle("");
    let more =
        format!("{FIELDS}[[relay_domain]]\ndomains = [\"b.example\"]\nupstream = \"smart\"\n");
    let config = to_upstream(&sink.address.to_string(), &more);
    let config = config.replace("[[listener]]\n", "[[listener]]\nrelay_for = []\n");
    assert!(config.contains("relay_for = []"), "{config}");
    node.configure(&config);
    node.run(1);
    hand_in(&node, "<x@b.example>", &labelled("one", "acme", "news"));
    let taken = sink.wait_for_mail_to("x@b.example");
    assert_eq!((taken.field("X-Tenant"), taken.field("x-campaign")), (Some("acme"), Some("news")));
    assert!(node.events().iter().all(|event| event.tenant.is_empty()));
}

#[test]
fn a_pause_outlives_a_restart_and_holds_nobody_else() {
    let sink = Sink::start();
    let mut node = Node::idle("");
    node.configure(&to_upstream(&sink.address.to_string(), FIELDS));
    node.run(2);
    assert_eq!(node.ask(&["paused"]), "nothing is paused\n");
    let pause = ["pause", "--tenant", "acme", "--campaign", "news"];
    let said = node.ask(&pause);
    assert_eq!(
        said,
        "campaign news of acme is paused: what is with peers goes on, the rest waits\n"
    );
    assert_eq!(node.ask(&pause), "campaign news of acme was paused already\n");
    for (to, campaign) in [("waits", "news"), ("goes", "other")] {
        hand_in(&node, &format!("<{to}@b.example>"), &labelled(to, "acme", campaign));
    }
    sink.wait_for_mail_to("goes@b.example");
    node.kill();
    node.run(1);
    node.wait_until_recovered();
    assert!(node.ask(&["paused"]).starts_with("campaign news of acme, since 2"));
    hand_in(&node, "<later@b.example>", &labelled("later", "globex", "news"));
    sink.wait_for_mail_to("later@b.example");
    assert_eq!(sink.asked("waits@b.example"), 0);
    let listed = node.ask(&["list", "--tenant", "acme"]);
    let id = listed.lines().nth(1).and_then(|line| line.split_whitespace().next()).unwrap();
    let shown = node.ask(&["show", id]);
    for words in ["sent by acme for news", "waits for: an operator paused its tenant or campaign"] {
        assert!(shown.contains(words), "{shown}");
    }
    assert_eq!(node.ask(&["resume", "--tenant", "acme"]), "all of acme was not paused\n");
    let resume = ["resume", "--tenant", "acme", "--campaign", "news"];
    assert_eq!(node.ask(&resume), "campaign news of acme goes on\n");
    sink.wait_for_mail_to("waits@b.example");
}

#[test]
fn a_campaign_is_cancelled_whole_and_alone() {
    let sink = Sink::start();
    let mut node = Node::idle("");
    node.configure(&to_upstream(&sink.address.to_string(), FIELDS));
    node.run(2);
    node.ask(&["pause", "--tenant", "acme"]);
    for number in 0..20 {
        let campaign = if number % 2 == 0 { "wrong" } else { "right" };
        let to = format!("<{campaign}{number}@b{number}.example>");
        hand_in(&node, &to, &labelled("m", "acme", campaign));
    }
    let cancel = ["remove", "--tenant", "acme", "--campaign", "wrong"];
    assert_eq!(node.ask(&cancel), "10 recipients removed\n");
    node.ask(&["resume", "--tenant", "acme"]);
    let taken = sink.wait(10);
    assert!(taken.iter().all(|one| one.rcpt.iter().all(|to| to.contains("right"))));
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
}

#[test]
fn who_outruns_the_drain_is_put_off_and_nobody_else_is() {
    let sink = Sink::by(|_, _| "451 4.3.0 Later".to_owned());
    let mut node = Node::idle("");
    let more = format!(
        "{FIELDS}[[listener]]\naddress = \"127.0.0.2:0\"\n\
        [[tenant]]\nname = \"acme\"\nqueued = 3\nlisteners = [\"127.0.0.1:0\"]\n\
        [queue]\nretry_first = \"1h\"\n"
    );
    node.configure(&to_upstream(&sink.address.to_string(), &more));
    node.run(1);
    let mut client = Client::connect(node.listen[0]);
    let mut taken = 0;
    // The listener is acme's: it is put off at MAIL, once more than three wait.
    let reply = loop {
        let reply = client.say("MAIL FROM:<a@a.example>");
        if reply.code != 250 {
            break reply;
        }
        assert_eq!(client.say("RCPT TO:<x@b.example>").code, 250);
        assert_eq!(client.content("Subject: x\r\n\r\n").expect("an answer").code, 250);
        taken += 1;
        assert!(taken <= 10, "it is never put off");
    };
    assert_eq!((taken, reply.code), (4, 452));
    assert!(reply.text.contains("Too many of your messages are waiting here"), "{reply:?}");
    // By the other listener nobody's mail comes in, and acme's where its header says so.
    let mut other = Client::connect(node.listen[1]);
    other.send("<a@a.example>", &["<x@c.example>"], "Subject: x\r\n\r\n");
    other.send("<a@a.example>", &["<x@c.example>"], &labelled("x", "globex", "news"));
    other.envelope("<a@a.example>", &["<x@c.example>"]);
    let reply = other.content(&labelled("x", "acme", "news")).expect("an answer");
    assert_eq!(reply.code, 452, "{reply:?}");
    node.signal(Signal::HUP);
    node.wait_for_log(" reloaded ");
    let again = Client::connect(node.listen[0]).say("MAIL FROM:<a@a.example>");
    assert_eq!(again.code, 452, "a reload changes nothing of it");
    assert!(node.metric("relay_fast_tenants_refused_total") > 0.5);
    node.ask(&["remove", "--tenant", "acme"]);
    wait_for("room", || {
        (client.say("MAIL FROM:<a@a.example>").code == 250).then(|| client.say("RSET").code)
    });
}

/// `acme` hands in from memory, but for its codes, which live for a moment.
const TERMS: &str = "[[tenant]]\nname = \"acme\"\ndurability = \"memory\"\n\
    [[campaign]]\nname = \"codes*\"\ntenant = \"acme\"\nlifetime = \"2s\"\n\
    durability = \"commit\"\n\
    [queue]\nretry_first = \"1h\"\n";

#[test]
fn a_campaign_has_a_lifetime_and_a_durability_of_its_own() {
    let sink = Sink::by(|_, _| "451 4.3.0 Later".to_owned());
    let mut node = Node::idle("");
    node.configure(&to_upstream(&sink.address.to_string(), &format!("{FIELDS}{TERMS}")));
    node.run(2);
    for (to, tenant, campaign) in [
        ("<code@b.example>", "acme", "codes/login"),
        ("<news@b.example>", "acme", "news"),
        ("<other@b.example>", "globex", "codes/login"),
    ] {
        hand_in(&node, to, &labelled("x", tenant, campaign));
    }
    let events = node.wait_for_events(Kind::Expired, 1);
    let of = |to: &str| events.iter().find(|event| event.recipient == to).expect("it is told");
    let durabilities = ["code@b.example", "news@b.example", "other@b.example"];
    let durabilities = durabilities.map(|to| of(to).durability);
    assert_eq!(durabilities, [Durability::Commit, Durability::Memory, Durability::Commit]);
    let expired = events.iter().filter(|event| event.kind == Kind::Expired);
    let expired: Vec<&str> = expired.map(|event| &*event.recipient).collect();
    assert_eq!(expired, ["code@b.example"]);
    wait_for("the others, and a DSN", || (node.stat("recipients") == 3).then_some(()));
}

const TIMES: &str = "priorities = \"offer\"\nhold = \"2h\"\n";

/// A node whose listener lets clients say when, with a relay domain for strangers.
fn with_times(sink: &Sink, relay_for: &str) -> Node {
    let mut node = Node::idle("");
    let more = "[[relay_domain]]\ndomains = [\"b.example\"]\nupstream = \"smart\"\n";
    let config = to_upstream(&sink.address.to_string(), more);
    let listener = format!("[[listener]]\n{relay_for}{TIMES}");
    node.configure(&config.replace("[[listener]]\n", &listener));
    node
}

#[test]
fn what_is_to_be_held_is_held_over_a_restart_and_then_goes() {
    let sink = Sink::start();
    let mut node = with_times(&sink, "");
    node.run(2);
    let mut client = Client::connect(node.listen[0]);
    let offered = client.say("EHLO client.example").text;
    for line in ["MT-PRIORITY", "FUTURERELEASE 7200 9999-12-31T23:59:59Z"] {
        assert!(offered.contains(line), "{offered}");
    }
    client.send("<a@a.example> HOLDFOR=3600", &["<long@b.example>"], &message("long"));
    client.send("<a@a.example> HOLDFOR=1", &["<short@b.example>"], &message("short"));
    let past = "<a@a.example> HOLDUNTIL=2001-01-01T00:00:00Z MT-PRIORITY=9";
    client.send(past, &["<past@b.example>"], &message("past"));
    for wrong in ["HOLDFOR=7201", "HOLDUNTIL=9998-12-31T23:59:59Z", "HOLDFOR=soon"] {
        assert_eq!(client.say(&format!("MAIL FROM:<a@a.example> {wrong}")).code, 501, "{wrong}");
    }
    let taken = [sink.wait_for_mail_to("past@b.example"), sink.wait_for_mail_to("short@b.example")];
    assert_eq!(taken.map(|one| one.subject().to_owned()), ["past", "short"]);
    let events = node.wait_for_events(Kind::Delivered, 2);
    let time = |kind: Kind, to: &str| {
        events.iter().find(|one| one.kind == kind && one.recipient == to).expect("it is told").time
    };
    let held =
        time(Kind::Delivered, "short@b.example").0 - time(Kind::Received, "short@b.example").0;
    assert!(held >= 1_000, "let go after {held} ms");
    node.kill();
    node.run(1);
    node.wait_until_recovered();
    assert_eq!((node.stat("deferred"), sink.asked("long@b.example")), (1, 0));
    assert_eq!(node.ask(&["flush", "--all"]), "1 recipient flushed\n");
    sink.wait_for_mail_to("long@b.example");
}

#[test]
fn strangers_have_nothing_held() {
    let sink = Sink::start();
    let mut node = with_times(&sink, "relay_for = []\n");
    node.run(1);
    let mut client = Client::connect(node.listen[0]);
    let refused = client.say("MAIL FROM:<a@a.example> HOLDFOR=60");
    assert_eq!((refused.code, refused.text.contains("who may relay here")), (550, true));
    client.send("<a@a.example> MT-PRIORITY=9", &["<x@b.example>"], &message("x"));
    sink.wait_for_mail_to("x@b.example");
}
