//! `relay-fast check-domain`, with zones that Knot DNS signs and unbound validates, and a policy
//! that a web server of Python's serves.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::{Value, json};

use super::certificates::Authority;
use super::mail::{message, transaction};
use super::network::Network;
use super::node::Node as Relay;
use super::process::{Running, until};
use super::python::{Replied, talk};
use super::signed_dns::{network, start_knot, start_unbound, start_web};
use super::sink::{ALL, Sink};

const PROGRAM: &str = env!("CARGO_BIN_EXE_relay-fast");

/// This node and the web server.
const ADDRESSES: [&str; 2] = ["192.0.2.1", "192.0.2.80"];

/// What is there before anything is published: servers and their names. So many other texts of the
/// domain that its TXT records do not fit into a datagram.
const BARE: &str = "\
$ORIGIN example.
$TTL 300
@            SOA  ns root 1 3600 600 86400 60
@            NS   ns
ns           A    127.0.0.1
relay        A    192.0.2.1
mta-sts.news A    192.0.2.80
";

const REVERSE: &str = "2.0.192.in-addr.arpa";
const REVERSE_BARE: &str = "\
$ORIGIN 2.0.192.in-addr.arpa.
$TTL 300
@            SOA  ns.example. root.example. 1 3600 600 86400 60
@            NS   ns.example.
";

/// This node, and all that it has on disk.
struct Node<'n> {
    network: &'n Network,
    authority: Authority,
    folder: tempfile::TempDir,
    config: String,
}

/// DNS and a web server, as they are at one time.
struct Internet {
    _running: Vec<Running>,
    _folder: tempfile::TempDir,
    _web: tempfile::TempDir,
}

impl<'n> Node<'n> {
    /// That signs for `news.example` with two keys and sends from 192.0.2.1.
    fn new(network: &'n Network) -> Self {
        let authority = Authority::new("an authority");
        authority.write("mx", &["relay.example"]);
        authority.write("web", &["mta-sts.news.example"]);
        let folder = tempfile::tempdir().unwrap();
        let mut node = Self { network, authority, folder, config: String::new() };
        let mut config = format!(
            "hostname = \"relay.example\"\n[[listener]]\naddress = \"127.0.0.1:2525\"\n\
             tls = \"starttls\"\n[[source]]\naddress = \"192.0.2.1\"\n{}[dns]\nservers = \
             [\"127.0.0.1\"]\n[tls]\nca = {:?}\n",
            node.authority.section("mx"),
            node.authority.file(),
        );
        for kind in ["--rsa", "--ed25519"] {
            let out = node.folder.path().to_str().unwrap();
            let made = node.ask(&["dkim", "keygen", "news.example", kind, "--out", out]);
            let made = String::from_utf8(made.stdout).unwrap();
            let lines = made.lines().skip_while(|line| *line != "; [[dkim]]");
            lines.for_each(|line| config += &format!("{}\n", line.trim_start_matches("; ")));
        }
        std::fs::write(node.folder.path().join("relay.toml"), &config).unwrap();
        node.config = config;
        node
    }

    /// What the program says.
    fn ask(&self, arguments: &[&str]) -> Output {
        self.network.command(PROGRAM).args(arguments).output().unwrap()
    }

    /// What it says of a domain: the exit code, and the text.
    fn check(&self, more: &[&str]) -> (i32, String) {
        let file = self.folder.path().join("relay.toml");
        let config = ["check-domain", "news.example", "--config", file.to_str().unwrap()];
        let output = self.ask(&[&config[..], more].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(errors, "", "{errors}");
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }
}

/// What has been published.
#[derive(Default)]
struct Published {
    records: Vec<String>,
    policy: Option<String>,
}

impl Published {
    /// Publish what a check prints, octet by octet, and nothing else.
    fn add(&mut self, printed: &str) {
        let mut replaces = false;
        let mut policy = String::new();
        let (_, zone) = printed.split_once("\n; To publish:\n").unwrap();
        for line in zone.lines() {
            match line.strip_prefix(";") {
                Some(text) if text.starts_with("   ") => {
                    policy += &format!("{}\r\n", text.trim_start());
                }
                Some(comment) => replaces = comment.ends_with(", instead of what is there:"),
                None if line.is_empty() => {}
                None => {
                    let kind = |line: &str| line.split(';').next().map(str::to_owned);
                    if replaces {
                        self.records.retain(|old| kind(old) != kind(line));
                    }
                    self.records.push(line.to_owned());
                }
            }
        }
        self.policy = if policy.is_empty() { self.policy.take() } else { Some(policy) };
    }

    fn serve(&self, node: &Node<'_>) -> Internet {
        let network = node.network;
        let (folder, web) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let (reverse, zone): (Vec<&String>, Vec<&String>) =
            self.records.iter().partition(|line| line.contains(REVERSE));
        let lines = |records: Vec<&String>| {
            records.into_iter().map(|line| format!("{line}\n")).collect::<String>()
        };
        // So many that the domain's TXT records do not fit into a datagram.
        let other: String =
            (0..30).map(|n| format!("news TXT \"verification-{n:0>50}\"\n")).collect();
        let zone = format!("{BARE}{other}{}", lines(zone));
        let reverse = format!("{REVERSE_BARE}{}", lines(reverse));
        if let Some(policy) = &self.policy {
            std::fs::write(web.path().join("mta-sts.news.example"), policy).unwrap();
        }
        let certificate = node.authority.path("web.both");
        let running = vec![
            start_knot(network, folder.path(), &[("example", &zone), (REVERSE, &reverse)]),
            start_unbound(network, folder.path(), &["example", REVERSE]),
            start_web(network, web.path(), &certificate, "192.0.2.80:443"),
        ];
        Internet { _running: running, _folder: folder, _web: web }
    }
}

/// The topics of lines that begin with this word.
fn topics(text: &str, status: &str) -> String {
    let lines = text.lines().filter_map(|line| line.strip_prefix(status)?.strip_prefix("  "));
    lines.filter_map(|line| line.split(' ').next()).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_printed_makes_a_domain_pass_once_it_is_published() {
    let Some(network) = network(ADDRESSES) else { return };
    let node = Node::new(&network);
    let mut published = Published::default();
    let internet = published.serve(&node);
    let (code, text) = node.check(&[]);
    assert_eq!(code, 1, "{text}");
    assert_eq!(topics(&text, "fail"), "mx ptr spf dkim dkim dmarc", "{text}");
    assert_eq!(topics(&text, "pass"), "address", "{text}");
    published.add(&text);
    drop(internet);

    let internet = published.serve(&node);
    let (code, text) = node.check(&[]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(topics(&text, "fail"), "", "{text}");
    assert_eq!(topics(&text, "warn"), "dmarc mta-sts dane", "{text}");
    published.add(&text);
    drop(internet);

    let _internet = published.serve(&node);
    let (code, text) = node.check(&[]);
    assert_eq!(code, 0, "{text}");
    let all = "mx address ptr spf spf dkim dkim dmarc mta-sts tls-rpt dane";
    assert_eq!(topics(&text, "pass"), all, "{text}");
    assert_eq!(topics(&text, "info"), "bimi", "{text}");
    assert!(text.ends_with("\nnews.example: 11 pass\n"), "{text}");
    let (code, json) = node.check(&["--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, json["exit"].as_i64()), (0, Some(0)));
    assert_eq!((&json["verdict"], &json["domain"]), (&"well".into(), &"news.example".into()));
    let findings = json["findings"].as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["publish"] == Value::Array(Vec::new())));
}

/// Each thing that is broken in a good domain is named, and nothing else is.
#[test]
fn what_is_broken_is_named_with_the_record_that_would_be_right() {
    let Some(network) = network(ADDRESSES) else { return };
    let node = Node::new(&network);
    let mut published = Published::default();
    for _ in 0..2 {
        let _internet = published.serve(&node);
        published.add(&node.check(&[]).1);
    }
    let good = published.records.clone();
    let find = |words: &str| {
        let found = good.iter().find(|line| line.contains(words));
        found.unwrap_or_else(|| panic!("{words}: {good:?}")).clone()
    };
    let change = |from: &str, to: &str| {
        let mut records = good.clone();
        let line = records.iter_mut().find(|line| line.contains(from)).unwrap();
        *line = line.replace(from, to);
        records
    };
    let spf = find("news.example. IN TXT \"v=spf1");
    let tlsa = find(" TLSA 3 1 1 ");
    let (_, hash) = tlsa.rsplit_once(' ').unwrap();
    let other = hash.chars().rev().collect::<String>();
    for (topic, records, line) in [
        (
            "spf",
            change("ip4:192.0.2.1", "ip4:192.0.2.2"),
            "\"v=spf1 ip4:192.0.2.1 ip4:192.0.2.2 ~all\"",
        ),
        ("spf", [good.clone(), vec![spf.replace("~all", "-all")]].concat(), spf.as_str()),
        ("dkim", change("k=ed25519; p=", "k=ed25519; p=AA"), find("k=ed25519").as_str()),
        ("tls-rpt", change("v=TLSRPTv1; rua=", "v=TLSRPTv1; x="), find("TLSRPTv1").as_str()),
        ("dane", change(hash, &other), tlsa.as_str()),
        ("ptr", change("IN PTR relay.example.", "IN PTR other.example."), find(" PTR ").as_str()),
    ] {
        let broken = Published { records, policy: published.policy.clone() };
        let _internet = broken.serve(&node);
        let (code, text) = node.check(&[]);
        assert_eq!((code, topics(&text, "fail").as_str()), (1, topic), "{text}");
        assert!(text.lines().any(|one| one.contains(line)), "{line}: {text}");
    }
}

/// What is said to the recipient and to the end of a content.
fn send(relay: &Relay<'_>, network: &Network, from: &str, to: &str) -> [Replied; 2] {
    let mut steps = vec![json!(["ehlo", "client.example"])];
    let content = message(from, to, "hello\r\n");
    steps.extend(transaction("s@bounces.example", &[to], &[], &content));
    let mut replies = talk(network, relay.listener(0), &steps);
    let end = replies.pop().unwrap();
    [replies.pop().unwrap(), end]
}

#[test]
fn a_domain_that_fails_is_not_used_until_it_is_mended() {
    let Some(network) = network(ADDRESSES) else { return };
    let node = Node::new(&network);
    let sink = Sink::start(&network, &ALL);
    let mut published = Published::default();
    published.records.push("corp.example. IN MX 0 .".to_owned());
    let internet = published.serve(&node);
    let config = format!(
        "domain_check = \"enforce\"\ndefault_route = \"sink\"\n{}[[upstream]]\nname = \"sink\"\n\
         hosts = \"{}\"\n[[relay_domain]]\ndomains = [\"corp.example\", \".corp.example\"]\n\
         upstream = \"sink\"\n",
        node.config,
        sink.address()
    );
    let relay = Relay::start(&network, &config);
    let told = until("both domains have failed", || {
        relay.get("healthz").filter(|told| told.contains("corp.") && told.contains("news."))
    });
    let first = "ok\ncorp.example fails its check and is not used: mx corp.example: it says";
    assert!(told.starts_with(first), "{told}");
    assert!(told.contains("\nnews.example fails its check and is not used: mx news.example:"));
    assert!(relay.get("metrics").unwrap().contains("\nrelay_fast_domains_failing 2\n"));
    let [rcpt, end] = send(&relay, &network, "a@news.example", "one@dest.example");
    assert_eq!((rcpt.status(), end.status()), ((250, "2.1.5"), (451, "4.7.1")), "{end:?}");
    assert!(end.text.contains("news.example is not used until DNS is right: mx"), "{end:?}");
    let steps = [
        json!(["ehlo", "client.example"]),
        json!(["mail", "a@other.example", []]),
        json!(["rcpt", "two@corp.example", []]),
    ];
    let rcpt = talk(&network, relay.listener(0), &steps).pop().unwrap();
    assert_eq!(rcpt.status(), (451, "4.7.1"), "{rcpt:?}");
    // What was not checked is used.
    let [_, end] = send(&relay, &network, "a@other.example", "three@sub.corp.example");
    assert_eq!(end.status(), (250, "2.0.0"), "{end:?}");
    published.add(&node.check(&[]).1);
    published.records.retain(|line| !line.starts_with("corp."));
    published.records.push("corp.example. IN MX 10 relay.example.".to_owned());
    drop(internet);

    let _internet = published.serve(&node);
    relay.reload("reloaded");
    until("nothing fails any more", || relay.get("healthz").filter(|told| told == "ok\n"));
    let [_, end] = send(&relay, &network, "a@news.example", "four@dest.example");
    assert_eq!(end.status(), (250, "2.0.0"), "{end:?}");
    let content = String::from_utf8(sink.wait_for("four@dest.example").content()).unwrap();
    assert_eq!(content.matches("DKIM-Signature:").count(), 2, "{content}");
    let [rcpt, end] = send(&relay, &network, "a@other.example", "five@corp.example");
    assert_eq!((rcpt.status(), end.status()), ((250, "2.1.5"), (250, "2.0.0")), "{end:?}");
    assert!(relay.log().contains("passes its check again"), "{}", relay.log());
}
