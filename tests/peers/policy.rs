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
const HOSTS: [(&str, &str); 6] = [
    ("own", "10.25.0.1"),
    ("authority", "10.25.0.2"),
    ("other", "10.25.0.3"),
    ("sts", "10.25.0.4"),
    ("clear", "10.25.0.5"),
    ("web", "10.25.0.100"),
];

const ZONE: &str = "\
$ORIGIN example.
$TTL 300
@            SOA  ns root 1 3600 600 86400 60
@            NS   ns
ns           A    127.0.0.1
";

/// All of it.
struct World<'n> {
    network: &'n Network,
    authority: Authority,
    sinks: Vec<Sink>,
    web: tempfile::TempDir,
    _running: Vec<Running>,
    _folder: tempfile::TempDir,
}

impl<'n> World<'n> {
    /// Domains of the hosts' names whose only MX host that is, `mx.NAME.example`, and what is said
    /// of them: `own` by its key, `authority` by whoever signed for it, `other` by a key that is
    /// another; `sts` and `clear`, which has no TLS, by policies, in which `forged` names `sts`,
    /// though its MX host is `clear`'s.
    fn new(network: &'n Network) -> Self {
        let authority = Authority::new("an authority");
        let mut zone = ZONE.to_owned();
        for (name, address) in HOSTS {
            zone += &format!("mx.{name} A {address}\n{name} MX 10 mx.{name}\n");
        }
        let hash = |name: &str| authority.write(name, &[&format!("mx.{name}.example")]);
        zone += &format!("_25._tcp.mx.own TLSA 3 1 1 {}\n", hash("own"));
        zone += &format!("_25._tcp.mx.authority TLSA 2 0 1 {}\n", authority.hash());
        zone += &format!("_25._tcp.mx.other TLSA 3 1 1 {}\n", hash("unused"));
        ["authority", "other", "sts"].iter().for_each(|name| drop(hash(name)));
        zone += "forged MX 10 mx.clear\n";
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
            start_knot(network, folder.path(), &[("example", &zone)]),
            start_unbound(network, folder.path(), &["example"]),
            start_web(network, web.path(), &authority.path("web.both"), "10.25.0.100:443"),
        ];
        let sinks = HOSTS[..5].iter().map(|(name, address)| {
            let mut options: Vec<_> = ALL.iter().flat_map(|one| ["--offer", one]).collect();
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
        let config = format!(
            "[[listener]]\naddress = \"127.0.0.1:2525\"\n[dns]\nservers = [\"127.0.0.1\"]\n\
             [site]\ntls = {level:?}\n[tls]\nca = {:?}\n",
            self.authority.file()
        );
        Node::start(self.network, &config)
    }

    /// What became of a message to this domain.
    fn event(&self, node: &Node<'_>, kind: &str, domain: &str) -> Value {
        let to = format!("r@{domain}.example");
        let mut steps = vec![json!(["ehlo", "client.example"])];
        steps.extend(transaction("s@sender.example", &[&to], &[], "Subject: s\r\n\r\nhello\r\n"));
        let replies = talk(self.network, node.listener(0), &steps);
        assert!(replies.iter().all(|reply| reply.code < 400), "{replies:?}");
        node.wait_for_event(kind, &to)
    }

    /// Say what a policy host serves.
    fn serve(&self, domain: &str, mode: &str, host: &str) {
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
