//! Block lists that Knot DNS serves, and clients at several addresses: swaks, smtplib.

use std::io::{Read, Write};

use serde_json::json;

use super::mail::swaks;
use super::network::Network;
use super::node::Node;
use super::process::{Running, until};
use super::python::talk;
use super::sink::{ALL, Sink};
use super::world::{SILENT, network, start_knot};
use crate::tool;

/// In the zone `example`. `dead` has everything on it, `sold` has a new owner, and of `broken.test`
/// the name server has not got the zone.
const RECORDS: &str = "\
2.0.0.127.bl      A    127.0.0.2
2.0.0.127.bl      TXT  \"see http://bl.example/127.0.0.2\"
3.0.0.127.bl      A    127.0.0.10
4.0.0.127.told    A    127.0.0.2
*.dead            A    127.0.0.2
*.sold            A    192.0.2.1
spam.test.rhs     A    127.0.0.2
mx.spam.test.rhs  A    127.0.0.2
bad.test.uri      A    127.0.0.2
bad.test.uri      TXT  \"its links are in spam\"
";

const LISTS: &str = "\
[[block_list]]\nzone = \"bl.broken.test\"
[[block_list]]\nzone = \"dead.example\"
[[block_list]]\nzone = \"sold.example\"
[[block_list]]\nzone = \"told.example\"\naction = \"log\"
[[block_list]]\nzone = \"bl.example\"\nanswers = [\"127.0.0.2-127.0.0.9\"]
[[block_list]]\nzone = \"rhs.example\"\nof = \"sender\"
[[block_list]]\nzone = \"rhs.example\"\nof = \"hello\"
[[block_list]]\nzone = \"uri.example\"\nof = \"url\"
";

const MESSAGE: &str = "From: a@a.example\r\nSubject: a test\r\n\r\nhello\r\n";

/// A relay for `corp.example` that asks those lists, and its sink.
struct Gate<'n> {
    node: Node<'n>,
    sink: Sink,
    network: &'n Network,
    _knot: Option<Running>,
    _folder: tempfile::TempDir,
}

impl<'n> Gate<'n> {
    /// With these name servers; without any, one that knows the records.
    fn new(network: &'n Network, name_server: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let knot = name_server.is_none().then(|| start_knot(network, folder.path(), RECORDS));
        let sink = Sink::start(network, &ALL);
        let config = format!(
            "log_level = \"debug\"\n\
             [[listener]]\naddress = \"127.0.0.1:2525\"\nrelay_for = [\"127.0.0.66\"]\n{LISTS}\
             [[upstream]]\nname = \"corp\"\nhosts = \"{}\"\n\
             [[relay_domain]]\ndomains = [\"corp.example\"]\nupstream = \"corp\"\n\
             [dns]\nservers = [\"{}\"]\n",
            sink.address(),
            name_server.unwrap_or("127.0.0.1")
        );
        let node = Node::start(network, &config);
        Self { node, sink, network, _knot: knot, _folder: folder }
    }

    /// What swaks shows of a message from this address, with more options.
    fn swaks(&self, address: &str, to: &str, options: &[&str]) -> String {
        self.swaks_with(address, to, options, MESSAGE)
    }

    fn swaks_with(&self, address: &str, to: &str, options: &[&str], message: &str) -> String {
        let options = [&["--local-interface", address], options].concat();
        let server = self.node.listener(0);
        swaks(self.network, server, "a@a.example", to, &options, message).unwrap()
    }
}

//= RFC 5782 §2.1, type=test
//# The TXT record describes the reason that the IP address is listed in the DNSxL, and is often
//# used as the text of an SMTP error response
#[test]
fn clients_on_a_list_are_refused_with_its_words_and_others_are_not() {
    if tool::find("swaks").is_none() {
        return;
    }
    let Some(network) = network() else { return };
    let gate = Gate::new(&network, None);
    let listed = "550 5.7.1 127.0.0.2 is on the block list bl.example: see \
                  http://bl.example/127.0.0.2";
    for options in [&[][..], &["--pipeline"]] {
        let said = gate.swaks("127.0.0.2", "no@corp.example", options);
        assert!(said.contains(listed), "{said}");
    }
    // Another answer; only told of; on no list; trusted.
    for address in ["127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.66"] {
        let to = format!("yes-{address}@corp.example");
        for options in [&[][..], &["--pipeline"]] {
            let said = gate.swaks(address, &to, options);
            assert!(said.contains(" 250 2.0.0 Stored as"), "{address}: {said}");
        }
        gate.sink.wait_for(&to);
    }
    let said = gate.swaks("127.0.0.2", "PostMaster@corp.example", &[]);
    assert!(said.contains(" 250 2.0.0 Stored as"), "{said}");
    let said = gate.swaks("127.0.0.2", "r@elsewhere.example", &[]);
    assert!(said.contains("550 5.7.1 Relaying denied"), "{said}");
    let log = gate.node.log();
    let line = log.lines().find(|line| line.contains("zone=told.example")).expect(&log);
    assert!(line.contains("client=127.0.0.4") && line.contains("INFO on a list "), "{line}");
    assert!(!log.contains("zone=dead.example") && !log.contains("zone=sold.example"), "{log}");
}

#[test]
fn senders_and_names_on_a_list_are_refused_in_the_same_session() {
    let Some(network) = network() else { return };
    let gate = Gate::new(&network, None);
    let mut steps = vec![json!(["ehlo", "mx.good.test"])];
    for from in ["a@spam.test", "", "a@good.test"] {
        steps.extend([
            json!(["mail", from, []]),
            json!(["rcpt", "r@corp.example", []]),
            json!(["command", "RSET"]),
        ]);
    }
    steps.push(json!(["ehlo", "mx.spam.test"]));
    steps.extend([json!(["mail", "a@good.test", []]), json!(["rcpt", "r@corp.example", []])]);
    let replies = talk(&network, gate.node.listener(0), &steps);
    let to_rcpt = |place: usize| &replies[place];
    let (sender, hello) = (to_rcpt(2), to_rcpt(12));
    assert_eq!(sender.status(), (550, "5.7.1"), "{replies:?}");
    assert!(sender.text.ends_with("spam.test is on the block list rhs.example"), "{sender:?}");
    assert_eq!(to_rcpt(5).status(), (250, "2.1.5"), "{replies:?}");
    assert_eq!(to_rcpt(8).status(), (250, "2.1.5"), "{replies:?}");
    assert_eq!(hello.status(), (550, "5.7.1"), "{replies:?}");
    assert!(hello.text.ends_with("mx.spam.test is on the block list rhs.example"), "{hello:?}");
    let metrics = gate.node.get("metrics").unwrap();
    let line = "relay_fast_checks_failed_total{check=\"block_list\"} 2\n";
    assert!(metrics.contains(line), "{metrics}");
}

#[test]
fn lists_that_say_nothing_keep_nobody_out() {
    if tool::find("swaks").is_none() {
        return;
    }
    let Some(network) = network() else { return };
    let gate = Gate::new(&network, Some(SILENT));
    let link = MESSAGE.replace("hello", "http://bad.test/");
    for options in [&[][..], &["--pipeline"]] {
        let said = gate.swaks_with("127.0.0.2", "yes@corp.example", options, &link);
        assert!(said.contains(" 250 2.0.0 Stored as"), "{said}");
    }
    gate.node.wait_until_empty();
    assert_eq!(gate.sink.kept().len(), 2);
    // Who leaves while the end of content waits has sent nothing, and leaves nothing behind.
    let mut client = network.connect(gate.node.listener(0)).unwrap();
    let transaction = "EHLO c.example\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<gone@corp.example>\r\n\
                       DATA\r\n";
    client.write_all(transaction.as_bytes()).unwrap();
    let mut said = String::new();
    while !said.contains("354 ") {
        let mut octets = [0; 512];
        let length = client.read(&mut octets).unwrap();
        assert!(length > 0, "{said}");
        said += std::str::from_utf8(&octets[..length]).unwrap();
    }
    client.write_all(b"From: a@a.example\r\n\r\nhttp://other.test/\r\n.\r\n").unwrap();
    drop(client);
    until("the session is over", || {
        gate.node.get("metrics")?.contains("relay_fast_sessions 0\n").then_some(())
    });
    gate.node.wait_until_empty();
    let kept = gate.sink.kept();
    let is_there = kept.iter().any(|kept| kept.is_for("gone@corp.example"));
    assert_eq!(kept.len(), 2 + usize::from(is_there), "it was taken as a whole, or not");
}

#[test]
fn messages_whose_links_lead_to_a_listed_domain_are_refused_at_their_end() {
    if tool::find("swaks").is_none() {
        return;
    }
    let Some(network) = network() else { return };
    let gate = Gate::new(&network, None);
    let html = "MIME-Version: 1.0\r\nContent-Type: text/html\r\n\
                Content-Transfer-Encoding: quoted-printable\r\n\r\n\
                <a href=3D\"https://user@www.b=\r\nad.test:8443/x\">click</a>\r\n";
    let head = "From: a@a.example\r\nSubject: a test\r\n";
    let bad = format!("{head}{html}");
    let good = bad.replace("ad.test", "etter.test");
    let listed = "550 5.7.1 bad.test is on the block list uri.example: its links are in spam";
    for options in [&[][..], &["--pipeline"]] {
        let said = gate.swaks_with("127.0.0.5", "r@corp.example", options, &bad);
        assert!(said.contains(listed), "{said}");
        for (address, to, message) in [
            ("127.0.0.5", "good@corp.example", &good),
            ("127.0.0.5", "postmaster@corp.example", &bad),
            ("127.0.0.66", "trusted@corp.example", &bad),
        ] {
            let said = gate.swaks_with(address, to, options, message);
            assert!(said.contains(" 250 2.0.0 Stored as"), "{to}: {said}");
            gate.sink.wait_for(to);
        }
    }
    assert!(gate.sink.kept().iter().all(|kept| !kept.is_for("r@corp.example")));
    // In one session: the second message is not refused for what is in the first. In chunks too.
    let body = |host: &str| format!("From: a@a.example\r\n\r\nhttp://{host}/\r\n");
    let mut steps = vec![json!(["ehlo", "mx.good.test"])];
    for host in ["bad.test", "good.test"] {
        steps.extend([
            json!(["mail", "a@good.test", []]),
            json!(["rcpt", "r@corp.example", []]),
            json!([
                "command",
                format!("BDAT {} LAST\r\n{}", body(host).len(), body(host).trim_end())
            ]),
        ]);
    }
    let replies = talk(&network, gate.node.listener(0), &steps);
    let codes: Vec<u16> = replies.iter().map(|reply| reply.code).collect();
    assert_eq!(codes, [250, 250, 250, 550, 250, 250, 250], "{replies:?}");
    let metrics = gate.node.get("metrics").unwrap();
    assert!(metrics.contains("relay_fast_checks_failed_total{check=\"block_list\"} "), "{metrics}");
}
