//! What destination domains say of TLS: DANE by a zone that Knot DNS signs and unbound validates,
//! MTA-STS by a web server of Python's.

use serde_json::{Value, json};

use super::certificates::Authority;
use super::mail::transaction;
use super::network::Network;
use super::node::Node;
use super::process::Running;
use super::python::talk;
use super::signed_dns::{network, start_knot, start_unbound, start_web};
use super::sink::{ALL, Sink};

/// By host: its address.
pub(crate) const HOSTS: [(&str, &str); 6] = [
    ("own", "10.25.0.1"),
    ("authority", "10.25.0.2"),
    ("other", "10.25.0.3"),
    ("sts", "10.25.0.4"),
    ("clear", "10.25.0.5"),
    ("web", "10.25.0.100"),
];

/// Hosts that offer REQUIRETLS.
const PROMISING: [&str; 3] = ["own", "other", "sts"];

const ZONE: &str = "\
$ORIGIN example.
$TTL 300
@            SOA  ns root 1 3600 600 86400 60
@            NS   ns
ns           A    127.0.0.1
";

/// Signed by nobody.
const PLAIN: &str = "\
$ORIGIN plain.net.
$TTL 300
@            SOA  ns root 1 3600 600 86400 60
@            NS   ns
ns           A    127.0.0.1
@            MX   10 mx.own.example.
";

/// All of it.
pub(crate) struct World<'n> {
    network: &'n Network,
    authority: Authority,
    /// In the order of `HOSTS`.
    pub(crate) sinks: Vec<Sink>,
    pub(crate) web: tempfile::TempDir,
    _running: Vec<Running>,
    _folder: tempfile::TempDir,
}

impl<'n> World<'n> {
    /// Domains of the hosts' names whose only MX host that is, `mx.NAME.example`, and what is said
    /// of them: `own` by its key, `authority` by whoever signed for it, `other` by a key that is
    /// another; `sts` and `clear`, which has no TLS, by policies, in which `forged` names `sts`,
    /// though its MX host is `clear`'s.
    fn new(network: &'n Network) -> Self {
        Self::with(network, "")
    }

    /// The same, with more lines in its zone.
    pub(crate) fn with(network: &'n Network, lines: &str) -> Self {
        let authority = Authority::new("an authority");
        let mut zone = ZONE.to_owned();
        for (name, address) in HOSTS {
            zone += &format!("mx.{name} A {address}\n{name} MX 10 mx.{name}\n");
        }
        let hash = |name: &str| authority.write(name, &[&format!("mx.{name}.example")]);
        zone += &format!("_25._tcp.mx.own TLSA 3 1 1 {}\n", hash("own"));
        zone += &format!("_25._tcp.mx.authority TLSA 2 0 1 {}\n", authority.hash());
        zone += &format!("_25._tcp.mx.other TLSA 3 1 1 {}\n", hash("unused"));
        ["authority", "other", "sts", "node"].iter().for_each(|name| drop(hash(name)));
        zone += "forged MX 10 mx.clear\n";
        zone += lines;
        let domains = ["sts", "clear", "forged"];
        for name in domains {
            zone += &format!("_mta-sts.{name} TXT \"v=STSv1; id=1;\"\n");
            zone += &format!("mta-sts.{name} A 10.25.0.100\n");
        }
        let policy_hosts = domains.map(|name| format!("mta-sts.{name}.example"));
        authority.write("web", &policy_hosts.each_ref().map(String::as_str));
        let folder = tempfile::tempdir().unwrap();
        let web = tempfile::tempdir().unwrap();
        let running = vec![
            start_knot(network, folder.path(), &[("example", &zone), ("plain.net", PLAIN)]),
            start_unbound(network, folder.path(), &["example", "plain.net"]),
            start_web(network, web.path(), &authority.path("web.both"), "10.25.0.100:443"),
        ];
        let sinks = HOSTS[..5].iter().map(|(name, address)| {
            let keyword = if PROMISING.contains(name) { "REQUIRETLS" } else { "HELP" };
            let keywords = ALL.iter().chain([&keyword]);
            let mut options: Vec<_> = keywords.flat_map(|one| ["--offer", one]).collect();
            let file = authority.path(&format!("{name}.both"));
            if *name != "clear" {
                options.extend(["--tls", &file]);
            }
            Sink::with(network, &options, &[&format!("{address}:25")])
        });
        let sinks = sinks.collect();
        Self { network, authority, sinks, web, _running: running, _folder: folder }
    }

    fn node(&self, level: &str) -> Node<'n> {
        self.node_with(level, "")
    }

    /// A relay whose mail for MX hosts has such TLS, with more lines in its configuration.
    pub(crate) fn node_with(&self, level: &str, lines: &str) -> Node<'n> {
        let config = format!(
            "[[listener]]\naddress = \"127.0.0.1:2525\"\ntls = \"starttls\"\n\
             [dns]\nservers = [\"127.0.0.1\"]\n[site]\ntls = {level:?}\n\
             [tls]\nca = {:?}\n{}{lines}",
            self.authority.file(),
            self.authority.section("node")
        );
        Node::start(self.network, &config)
    }

    /// What became of a message to this domain.
    pub(crate) fn event(&self, node: &Node<'_>, kind: &str, domain: &str) -> Value {
        let to = format!("r@{domain}.example");
        self.event_of(node, kind, &to, &[], "Subject: s\r\n\r\nhello\r\n")
    }

    /// The same, through TLS and with these parameters of MAIL.
    fn event_of(
        &self,
        node: &Node<'_>,
        kind: &str,
        to: &str,
        options: &[&str],
        content: &str,
    ) -> Value {
        let hello = json!(["ehlo", "client.example"]);
        let handshake = json!(["starttls", "mx.node.example", self.authority.file(), ""]);
        let mut steps = vec![hello.clone(), handshake, hello];
        steps.extend(transaction("s@own.example", &[to], options, content));
        let replies = talk(self.network, node.listener(0), &steps);
        assert!(replies.iter().all(|reply| reply.code < 400), "{replies:?}");
        node.wait_for_event(kind, to)
    }

    /// Say what a policy host serves.
    pub(crate) fn serve(&self, domain: &str, mode: &str, host: &str) {
        let text = format!("version: STSv1\r\nmode: {mode}\r\nmx: {host}\r\nmax_age: 86400\r\n");
        std::fs::write(self.web.path().join(format!("mta-sts.{domain}.example")), text).unwrap();
    }

    fn asked(&self) -> String {
        std::fs::read_to_string(self.web.path().join("asked")).unwrap_or_default()
    }
}

//= RFC 7672 §2.2, type=test
//# Where there are usable TLSA records that DNSSEC vouches for, the server is authenticated by
//# them or gets no mail.
#[test]
fn what_signed_dns_says_of_a_host_is_kept_to() {
    let Some(network) = network(HOSTS.map(|(_, address)| address)) else { return };
    let world = World::new(&network);
    let node = world.node("dane");
    for name in ["own", "authority"] {
        let event = world.event(&node, "delivered", name);
        assert_eq!(event["tls"], "TLS1.3, verified by DANE", "{event}");
    }
    let event = world.event(&node, "deferred", "other");
    assert_eq!((&event["stage"], &event["status"]), (&json!("STARTTLS"), &json!("4.7.5")));
    assert!(event["reply"].as_str().unwrap().contains("no TLSA record fits"), "{event}");
    assert!(world.sinks[2].kept().is_empty());
    // Of these nothing is said there: nobody is verified, and TLS need not be.
    assert_eq!(world.event(&node, "delivered", "sts")["tls"], "TLS1.3");
    assert_eq!(world.event(&node, "delivered", "clear")["tls"], Value::Null);
    assert_eq!(world.asked(), "", "policies were not asked for");
}

//= RFC 8461 §5, type=test
//# Under a policy in enforce mode mail goes to hosts that it names and whose certificate is right,
//# or waits.
#[test]
fn a_policy_that_a_domain_serves_is_enforced() {
    let Some(network) = network(HOSTS.map(|(_, address)| address)) else { return };
    let world = World::new(&network);
    world.serve("sts", "enforce", "*.sts.example");
    world.serve("clear", "enforce", "mx.clear.example");
    world.serve("forged", "enforce", "mx.sts.example");
    let node = world.node("policy");
    let event = world.event(&node, "delivered", "sts");
    assert_eq!(event["tls"], "TLS1.3, verified", "{event}");
    let event = world.event(&node, "deferred", "clear");
    assert_eq!(event["stage"], "STARTTLS", "{event}");
    assert_eq!(event["reply"], "does not offer STARTTLS", "{event}");
    let event = world.event(&node, "deferred", "forged");
    assert_eq!((&event["stage"], &event["status"]), (&json!("route"), &json!("4.7.5")), "{event}");
    let words = "forged.example: none of its MX hosts is one of its MTA-STS policy";
    assert_eq!(event["reply"], words, "{event}");
    assert!(world.sinks[4].kept().is_empty());
    // DANE goes before.
    let event = world.event(&node, "delivered", "own");
    assert_eq!(event["tls"], "TLS1.3, verified by DANE", "{event}");
    let asked = world.asked();
    assert_eq!(asked.lines().count(), 3, "each once: {asked}");
    // A second message to the same needs no further question.
    world.event(&node, "delivered", "sts");
    assert_eq!(world.asked(), asked);
}

#[test]
fn testing_and_none_and_what_is_no_policy_change_nothing() {
    let Some(network) = network(HOSTS.map(|(_, address)| address)) else { return };
    let world = World::new(&network);
    world.serve("clear", "testing", "mx.elsewhere.example");
    world.serve("forged", "none", "mx.elsewhere.example");
    std::fs::write(world.web.path().join("mta-sts.sts.example"), "<html>").unwrap();
    let node = world.node("mta-sts");
    for name in ["clear", "forged", "own"] {
        let event = world.event(&node, "delivered", name);
        assert_ne!(event["tls"], "TLS1.3, verified", "{event}");
    }
    assert_eq!(world.event(&node, "delivered", "sts")["tls"], "TLS1.3");
    assert!(node.log().contains("no policy could be fetched"), "{}", node.log());
}

//= RFC 8689 §4.2.1, type=test
//# The SMTP client … MUST also validate the SMTP server name using MTA-STS … authenticate the
//# server's certificate … Ensure that the response to the subsequent EHLO … advertises the
//# REQUIRETLS capability. … Following such a failure, the SMTP client MUST send a non-delivery
//# notification to the reverse-path
#[test]
fn what_requires_tls_goes_to_whom_it_may_or_comes_back() {
    let Some(network) = network(HOSTS.map(|(_, address)| address)) else { return };
    let world = World::new(&network);
    world.serve("sts", "enforce", "*.sts.example");
    // Its route asks for nothing.
    let node = world.node("none");
    let send = |kind: &str, to: &str| {
        let content = "Subject: s\r\n\r\nhello\r\n";
        world.event_of(&node, kind, &format!("r@{to}"), &["REQUIRETLS", "RET=FULL"], content)
    };
    assert_eq!(send("delivered", "own.example")["tls"], "TLS1.3, verified by DANE");
    assert_eq!(send("delivered", "sts.example")["tls"], "TLS1.3, verified");
    for (host, to) in [(0, "own"), (3, "sts")] {
        let kept = world.sinks[host].wait_for(&format!("r@{to}.example"));
        assert!(kept.mail.contains(" REQUIRETLS"), "{kept:?}");
    }
    for (to, stage, status, words) in [
        ("authority.example", "EHLO", "5.7.30", "does not offer REQUIRETLS"),
        ("other.example", "STARTTLS", "5.7.10", "no TLSA record fits"),
        ("clear.example", "STARTTLS", "5.7.10", "does not offer STARTTLS"),
        ("plain.net", "route", "5.7.10", "neither signed DNS nor an MTA-STS policy names"),
    ] {
        let event = send("bounced", to);
        assert_eq!((&event["stage"], &event["status"]), (&json!(stage), &json!(status)), "{event}");
        assert!(event["reply"].as_str().unwrap().contains(words), "{event}");
    }
    assert!([1, 2, 4].iter().all(|host| world.sinks[*host].kept().is_empty()));
    // The sender is told, in the same way, and does not get the body back.
    let kept = world.sinks[0].wait_for("s@own.example");
    assert!(kept.mail.starts_with("MAIL FROM:<> ") && kept.mail.contains(" REQUIRETLS"));
    let report = String::from_utf8(kept.content()).unwrap();
    assert!(report.contains("text/rfc822-headers") && !report.contains("hello"), "{report}");
    // It is not offered in clear, and so it is not taken.
    let mail = json!(["mail", "s@own.example", ["REQUIRETLS"]]);
    let steps = [json!(["ehlo", "client.example"]), mail];
    let replies = talk(&network, node.listener(0), &steps);
    assert_eq!(replies[1].status(), (555, "5.5.4"), "{replies:?}");
}

//= RFC 8689 §5, type=test
//# TLS-Required: No … requests that … recipient-side policy mechanisms such as MTA-STS and DANE be
//# ignored
#[test]
fn who_waives_tls_reaches_hosts_whose_certificate_is_wrong() {
    let Some(network) = network(HOSTS.map(|(_, address)| address)) else { return };
    let world = World::new(&network);
    world.serve("clear", "enforce", "mx.clear.example");
    let node = world.node("policy");
    let content = "Subject: s\r\nTLS-Required: No\r\n\r\nhello\r\n";
    let send = |kind: &str, to: &str, options: &[&str]| {
        world.event_of(&node, kind, &format!("{to}.example"), options, content)
    };
    assert_eq!(send("delivered", "waived@other", &[])["tls"], "TLS1.3");
    assert_eq!(send("delivered", "waived@clear", &[])["tls"], Value::Null);
    assert_eq!(world.event(&node, "deferred", "other")["stage"], "STARTTLS");
    assert_eq!(world.event(&node, "deferred", "clear")["stage"], "STARTTLS");
    // Whoever says both requires it.
    assert_eq!(send("bounced", "both@other", &["REQUIRETLS"])["status"], "5.7.10");
}
