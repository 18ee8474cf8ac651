//! Mail that dkimpy and OpenDKIM sign, verified with keys and policies of a real name server.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::mail::transaction;
use super::network::Network;
use super::node::{HOSTNAME, Node};
use super::process::{Running, output, until};
use super::python::{Replied, script, talk};
use super::signing::keygen;
use super::sink::{ALL, Sink};
use super::verifiers::{Records, dkimpy};
use super::world::{network, start_knot};
use crate::tool;

/// Who sends; its keys are `rsa` and `ed`, its policy is to refuse.
const DOMAIN: &str = "author.example";

const RECORDS: &str = "\
author          TXT  \"v=spf1 ip4:10.25.0.9 -all\"
_dmarc.author   TXT  \"v=DMARC1; p=reject\"
friend          TXT  \"v=spf1 include:author.example a:local.example -all\"
local           A    127.0.0.1
";

const MESSAGE: &str = "From: A <a@author.example>\r\nTo: r@corp.example\r\nSubject: hello\r\n\
    Date: Mon, 23 Nov 2026 09:00:00 +0000\r\n\
    Authentication-Results: relay.example; dmarc=pass header.from=author.example\r\n\
    Authentication-Results: other.example; dmarc=none\r\n\r\nhello  you\r\n \r\n\r\n";

/// Whoever takes mail for `corp.example` says so under its name.
const SEALS: &str = "\
[arc]
domain = \"corp.example\"
[[dkim]]
domain = \"corp.example\"
selector = \"arc\"
key = \"@KEYS@/corp.example.arc.pem\"
";

/// A relay for `corp.example` with this `verify`, its sink, and a name server.
struct Gate<'n> {
    node: Node<'n>,
    sink: Sink,
    network: &'n Network,
    _knot: Running,
    folder: tempfile::TempDir,
    records: Records,
}

impl<'n> Gate<'n> {
    fn new(network: &'n Network, verify: &str) -> Self {
        Self::with(network, verify, "")
    }

    /// The same with more in its configuration, in which `@KEYS@` is where the keys are.
    fn with(network: &'n Network, verify: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        let mut records = Records::new();
        keygen(&keys, &[DOMAIN, "--selector", "rsa"], &mut records);
        keygen(&keys, &[DOMAIN, "--selector", "ed", "--ed25519"], &mut records);
        keygen(&keys, &["corp.example", "--selector", "arc"], &mut records);
        let line = |(name, text): (&String, &String)| {
            let halves = text.split_at(text.len() / 2);
            format!("{name}. TXT \"{}\" \"{}\"\n", halves.0, halves.1)
        };
        let keys: String = records.iter().map(line).collect();
        let knot = start_knot(network, folder.path(), &format!("{RECORDS}{keys}"));
        let sink = Sink::start(network, &ALL);
        let config = format!(
            "[[listener]]\naddress = \"127.0.0.1:2525\"\nrelay_for = []\nverify = \"{verify}\"\n\
             [[upstream]]\nname = \"corp\"\nhosts = \"{}\"\n\
             [[relay_domain]]\ndomains = [\"corp.example\"]\nupstream = \"corp\"\n\
             [dns]\nservers = [\"127.0.0.1\"]\n{}",
            sink.address(),
            more.replace("@KEYS@", &folder.path().join("keys").display().to_string())
        );
        let node = Node::start(network, &config);
        Self { node, sink, network, _knot: knot, folder, records }
    }

    fn key(&self, selector: &str) -> String {
        self.folder.path().join(format!("keys/{DOMAIN}.{selector}.pem")).display().to_string()
    }

    /// What was said to the end of a content, from a stranger.
    fn send(&self, from: &str, to: &str, content: &[u8]) -> Replied {
        let text: String = content.iter().map(|octet| char::from(*octet)).collect();
        let mut steps = vec![json!(["ehlo", "client.example"])];
        steps.extend(transaction(from, &[to], &[], &text));
        talk(self.network, self.node.listener(0), &steps).swap_remove(3)
    }

    /// What came of a content that is taken.
    fn through(&self, from: &str, to: &str, content: &[u8]) -> String {
        let reply = self.send(from, to, content);
        assert_eq!(reply.status(), (250, "2.0.0"), "{reply:?}");
        String::from_utf8(self.sink.wait_for(to).content()).unwrap()
    }

    /// A message as dkimpy signs it.
    fn by_dkimpy(&self, python: &str, selector: &str, forms: &str, algorithm: &str) -> Vec<u8> {
        let mut command = Command::new(python);
        command.arg(script("sign.py")).args([&self.key(selector), DOMAIN, selector]);
        output(command.args([forms, algorithm]), MESSAGE.as_bytes())
    }

    /// A message as OpenDKIM signs it.
    fn by_opendkim(&self, program: &Path, forms: &str) -> Vec<u8> {
        let path = |name: &str| self.folder.path().join(name);
        let config = format!(
            "Mode s\nSyslog no\nDomain {DOMAIN}\nSelector rsa\nKeyFile {}\nRequireSafeKeys no\n\
             Canonicalization {forms}\nSignatureAlgorithm rsa-sha256\nInternalHosts 0.0.0.0/0\n",
            self.key("rsa")
        );
        std::fs::write(path("opendkim.conf"), config).unwrap();
        std::fs::write(path("message"), MESSAGE.replace('\r', "")).unwrap();
        let mut command = Command::new(program);
        command.args(["-vv", "-x"]).arg(path("opendkim.conf")).arg("-t").arg(path("message"));
        let said = String::from_utf8(output(&mut command, b"")).unwrap();
        let value = said.split("hname='DKIM-Signature' hvalue='").nth(1).expect(&said);
        let value = value.split('\'').next().unwrap().replace('\n', "\r\n");
        format!("DKIM-Signature: {value}\r\n{MESSAGE}").into_bytes()
    }
}

/// What dkimpy says of the ARC chain of a message.
fn chain(python: &str, records: &Records, message: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.json");
    std::fs::write(&file, serde_json::to_vec(records).unwrap()).unwrap();
    let said = output(Command::new(python).arg(script("arc.py")).arg("verify").arg(file), message);
    String::from_utf8(said).unwrap()
}

//= RFC 8617 §5.1, type=test
//# … the sealer … MUST … generate … an ARC Set
#[test]
fn chains_hold_from_dkimpy_to_us_and_from_us_to_dkimpy() {
    let Some(python) = dkimpy() else { return };
    let Some(network) = network() else { return };
    let gate = Gate::with(&network, "tag", SEALS);
    let signed = gate.by_dkimpy(python, "rsa", "relaxed/relaxed", "rsa-sha256");
    let content = gate.through("a@author.example", "first@corp.example", &signed);
    assert!(content.contains("ARC-Seal: i=1; a=rsa-sha256;"), "{content}");
    assert!(content.contains(&format!("ARC-Authentication-Results: i=1; {HOSTNAME};")));
    assert_eq!(chain(python, &gate.records, content.as_bytes()), "pass");
    let changed = content.replace("hello  you", "hello me");
    assert_eq!(chain(python, &gate.records, changed.as_bytes()), "fail");
    // The other way round: what dkimpy has sealed is right, and is sealed once more.
    let results = "Authentication-Results: list.example; dkim=pass header.d=author.example\r\n";
    let listed = [results.as_bytes(), &signed].concat();
    let mut command = Command::new(python);
    command.arg(script("arc.py")).args(["seal", &gate.key("rsa"), DOMAIN, "rsa", "list.example"]);
    let sealed = output(&mut command, &listed);
    assert_eq!(chain(python, &gate.records, &sealed), "pass");
    let content = gate.through("bounce@friend.example", "second@corp.example", &sealed);
    assert!(self::results(&content).contains("arc=pass"), "{content}");
    assert!(content.contains("ARC-Seal: i=2;") && content.contains("cv=pass"), "{content}");
    assert_eq!(chain(python, &gate.records, content.as_bytes()), "pass");
    // A chain that was broken on its way is closed.
    let broken = String::from_utf8(sealed).unwrap().replace("hello  you", "hello me");
    let content = gate.through("bounce@friend.example", "third@corp.example", broken.as_bytes());
    assert!(content.contains("ARC-Seal: i=2;") && content.contains("cv=fail"), "{content}");
    assert_eq!(chain(python, &gate.records, content.as_bytes()), "ended");
}

/// Our own results in what was delivered, in one line.
fn results(content: &str) -> String {
    let own = format!("\r\nAuthentication-Results: {HOSTNAME};");
    assert_eq!(content.matches(&own).count(), 1, "{content}");
    let (_, rest) = content.split_once(&own).unwrap();
    let lines = rest.split("\r\n").enumerate();
    let folded = lines.take_while(|(place, line)| *place == 0 || line.starts_with('\t'));
    folded.map(|(_, line)| line.trim().to_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn mail_that_others_sign_verifies() {
    let (Some(python), Some(opendkim)) = (dkimpy(), tool::find("opendkim")) else { return };
    let Some(network) = network() else { return };
    let gate = Gate::new(&network, "tag");
    let mut signed = Vec::new();
    for forms in ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"] {
        signed.push(("rsa", gate.by_dkimpy(python, "rsa", forms, "rsa-sha256")));
        signed.push(("ed", gate.by_dkimpy(python, "ed", forms, "ed25519-sha256")));
        signed.push(("rsa", gate.by_opendkim(&opendkim, forms)));
    }
    for (number, (selector, message)) in signed.iter().enumerate() {
        let to = format!("r{number}@corp.example");
        let content = gate.through("bounce@friend.example", &to, message);
        let results = results(&content);
        let dkim = format!("header.s={selector} ");
        for word in ["dkim=pass ", &dkim, "spf=pass ", "dmarc=pass header.from=author.example"] {
            assert!(results.contains(word), "{word}: {results}");
        }
        // Of the three that it came with and got, the forged one is gone.
        assert_eq!(content.matches("Authentication-Results:").count(), 2, "{content}");
        assert!(content.contains("Authentication-Results: other.example; dmarc=none\r\n"));
    }
    let weak = gate.by_dkimpy(python, "rsa", "relaxed/relaxed", "rsa-sha1");
    let results = results(&gate.through("a@author.example", "weak@corp.example", &weak));
    assert!(!results.contains("dkim=pass") && results.contains("spf=fail "), "{results}");
    assert!(results.contains("dmarc=fail "), "it is tagged and nothing else: {results}");
}

//= RFC 7372 §3.2, type=test
//# 5.7.26: multiple authentication checks failed
#[test]
fn what_its_domain_asks_to_refuse_is_refused() {
    let Some(python) = dkimpy() else { return };
    let Some(network) = network() else { return };
    let gate = Gate::new(&network, "reject");
    let right = gate.by_dkimpy(python, "rsa", "relaxed/relaxed", "rsa-sha256");
    gate.through("bounce@friend.example", "right@corp.example", &right);
    let changed = String::from_utf8(right).unwrap().replace("hello  you", "hello me");
    for from in ["bounce@friend.example", "a@author.example"] {
        let reply = gate.send(from, "wrong@corp.example", changed.as_bytes());
        assert_eq!(reply.status(), (550, "5.7.26"), "{reply:?}");
        assert!(reply.text.contains("author.example asks to refuse"), "{reply:?}");
    }
    // RFC 9990: what an aggregate report has a row of.
    let event = gate.node.wait_for_event("verified", "right@corp.example");
    let expected = json!({
        "source_ip": "127.0.0.1", "header_from": DOMAIN, "disposition": "none",
        "spf": {"domain": "friend.example", "scope": "mfrom", "result": "pass"},
        "dkim": [{"domain": DOMAIN, "selector": "rsa", "result": "pass"}],
        "arc": "none", "dmarc": "pass",
        "policy": {
            "domain": DOMAIN, "p": "reject", "sp": "reject", "np": "reject", "adkim": "r",
            "aspf": "r", "testing": false, "dkim": "pass", "spf": "fail",
        },
    });
    assert_eq!(event["verified"], expected, "{event}");
    let event = gate.node.wait_for_event("verified", "wrong@corp.example");
    let found = &event["verified"];
    assert_eq!((&found["disposition"], &found["dmarc"]), (&json!("reject"), &json!("fail")));
    assert_ne!(found["dkim"][0]["result"], "pass", "{event}");
    // Who asks for nothing is refused nothing.
    let other = MESSAGE.replace("a@author.example", "a@friend.example");
    gate.through("x@nobody.example", "other@corp.example", other.as_bytes());
    gate.node.wait_until_empty();
    assert_eq!(gate.sink.kept().len(), 2);
    let metrics = gate.node.get("metrics").unwrap();
    for line in ["dmarc=\"fail\"} 2", "dmarc=\"pass\"} 1", "dmarc=\"none\"} 1"] {
        let line = format!("relay_fast_messages_verified_total{{{line}\n");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[test]
fn what_is_quarantined_waits_for_an_operator() {
    let Some(network) = network() else { return };
    let gate = Gate::new(&network, "quarantine");
    let reply = gate.send("a@author.example", "held@corp.example", MESSAGE.as_bytes());
    assert_eq!(reply.status(), (250, "2.0.0"), "{reply:?}");
    let listed = until("it is held", || {
        let listed = gate.node.ask(&["queue", "list"]);
        listed.contains("held@corp.example").then_some(listed)
    });
    assert!(listed.contains("held"), "{listed}");
    let event: Value = gate.node.wait_for_event("held", "held@corp.example");
    let shown = gate.node.ask(&["queue", "show", event["id"].as_str().unwrap()]);
    assert!(shown.contains("author.example fails DMARC"), "{shown}");
    gate.through("x@nobody.example", "taken@corp.example", b"From: x@nobody.example\r\n\r\nhi\r\n");
    assert_eq!(gate.sink.kept().len(), 1, "the other one still waits");
    gate.node.ask(&["queue", "release", "--domain", "corp.example"]);
    let content = String::from_utf8(gate.sink.wait_for("held@corp.example").content()).unwrap();
    assert!(results(&content).contains("dmarc=fail"), "{content}");
}

#[test]
fn who_only_looks_changes_nothing() {
    let Some(network) = network() else { return };
    let gate = Gate::new(&network, "monitor");
    let content = gate.through("a@author.example", "r@corp.example", MESSAGE.as_bytes());
    assert!(content.ends_with(MESSAGE), "{content}");
    assert_eq!(content.matches("Authentication-Results:").count(), 2, "those it came with");
    let log = gate.node.log();
    assert!(log.contains("spf=fail dkim=0/0 dmarc=fail"), "{log}");
}
