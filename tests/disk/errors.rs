//! A disk that fails under the spool: real errors of a real device.

use std::collections::BTreeSet;

use crate::client::{Client, Reply, message};
use crate::mounts::{Ballast, ext4, in_own_mounts, tmpfs};
use crate::node::{Node, SOON, to_upstream, wait_for};
use crate::sink::Sink;

fn said(reply: &Reply) -> (u16, &str) {
    (reply.code, reply.text.split(' ').next().unwrap())
}

const FAILED: &str = "relay_fast_spool_commits_total{result=\"failed\"}";

const FAILING: &str = "relay_fast_spool_failing{shard=\"0\"}";
const NEVER: &str = "b@never.example";

/// Sealed segments, as the log names them.
fn sealed(node: &Node) -> Vec<String> {
    let log = node.log();
    let lines = log.lines().filter(|line| line.contains("a commit failed: its segment is sealed"));
    let names = lines.map(|line| {
        let (_, rest) = line.split_once("segment=").expect(line);
        rest.split(' ').next().unwrap().to_owned()
    });
    names.collect()
}

/// Send until the device gives out; the refusal of the message that met it.
fn refusal_by_the_device(node: &Node) -> Reply {
    let content = format!("{}{}", message("never"), "\r\n0123456789".repeat(20_000));
    wait_for("an error", || {
        let mut client = Client::connect(node.listen[0]);
        let mail = client.say("MAIL FROM:<a@a.example>");
        if mail.code != 250 {
            return Some(mail);
        }
        client.say("RCPT TO:<b@never.example>");
        let reply = client.content(&content).unwrap();
        (reply.code != 250).then_some(reply)
    })
}

/// What the relay shows, and does, while the device fails.
fn fails_openly(node: &Node) {
    wait_for("ill health", || {
        let (head, body) = node.get("/healthz");
        (head.contains(" 503 ") && body.contains("commits fail")).then_some(())
    });
    assert!(node.metric(FAILED) >= 1.0);
    assert_eq!(node.metric(FAILING), 1.0);
    // It goes on trying by itself, with another segment each time.
    wait_for("many failures", || (node.metric(FAILED) >= 10.0).then_some(()));
    let files = std::fs::read_dir(node.spool().join("000")).unwrap().count();
    assert!(files < 9, "{files} files: those that failed are not heaped up");
    let mut client = Client::connect(node.listen[0]);
    let refused = client.say("MAIL FROM:<a@a.example>");
    assert_eq!(said(&refused), (451, "4.3.0"), "{refused:?}");
}

/// And once the device works again.
fn works_again(node: &Node) {
    wait_for("health", || node.get("/healthz").0.contains(" 200 ").then_some(()));
    assert_eq!(node.metric(FAILING), 0.0);
    node.wait_for_log("commits succeed again");
    let sealed = sealed(node);
    let different: BTreeSet<&String> = sealed.iter().collect();
    assert_eq!(different.len(), sealed.len(), "none is written again: {sealed:?}");
}

fn subjects(sink: &Sink) -> BTreeSet<String> {
    let taken = sink.taken();
    let ours = taken.iter().filter(|one| !one.is_for("b@never.example"));
    let all: Vec<String> = ours.map(|one| one.subject().to_owned()).collect();
    let different: BTreeSet<String> = all.iter().cloned().collect();
    assert_eq!(different.len(), all.len(), "each once: {all:?}");
    different
}

/// A loop device whose file lies on a full tmpfs: what is written is lost at writeback, and the
/// kernel says so once, at the next sync.
#[test]
fn errors_at_writeback() {
    in_own_mounts("errors::errors_at_writeback", || {
        let sink = Sink::by(|mailbox, _| {
            let later = mailbox.starts_with("pin@");
            if later { "451 4.7.1 Later" } else { "250 2.1.5 Ok" }.to_owned()
        });
        let mut node = Node::idle(&to_upstream(&sink.address.to_string(), SOON));
        let outer = node.folder.path().join("outer");
        tmpfs(&outer, 48);
        ext4(&node.spool(), &outer.join("image"), 512);
        node.run(1);
        let mut client = Client::connect(node.listen[0]);
        client.send("<a@a.example>", &["<b@b.example>"], &message("before"));
        // It stays in the segment that is to fail, so that the segment stays.
        client.send("<a@a.example>", &["<pin@b.example>"], &message("pin"));
        sink.wait(1);

        let ballast = Ballast::new(outer.join("ballast"));
        let refused = refusal_by_the_device(&node);
        assert_eq!(said(&refused), (451, "4.3.0"), "{refused:?}");
        fails_openly(&node);
        drop(ballast);
        works_again(&node);

        let mut expected = BTreeSet::from(["before".to_owned()]);
        for n in 0..20 {
            let subject = format!("after-{n}");
            client.send("<a@a.example>", &["<b@b.example>"], &message(&subject));
            expected.insert(subject);
        }
        wait_for("all but one", || (node.stat("recipients") == 1).then_some(()));
        assert_eq!(subjects(&sink), expected);

        // What was acknowledged is on the device, and no later start reads what was refused.
        let refused_ones = || sink.taken().iter().filter(|one| one.is_for(NEVER)).count();
        let before = refused_ones();
        node.kill();
        node.run(1);
        sink.change(|_, _| "250 2.1.5 Ok".to_owned());
        wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
        // The last outcome may not have been committed at the kill: that message comes twice.
        assert!(sink.taken().iter().any(|one| one.subject() == "pin"));
        assert_eq!(refused_ones(), before, "answered 451, and delivered after all");
    });
}

/// The same device under a listener that answers from memory: what it does not take is kept in
/// memory, is seen there, and is delivered once it works again.
#[test]
fn errors_at_writeback_cost_nothing_that_was_answered_from_memory() {
    in_own_mounts("errors::errors_at_writeback_cost_nothing_that_was_answered_from_memory", || {
        let sink = Sink::by(|_, _| "250 2.1.5 Ok".to_owned());
        let config = to_upstream(&sink.address.to_string(), SOON);
        let listener = "[[listener]]\n";
        let from_memory = format!("{listener}durability = \"memory\"\n");
        let mut node = Node::idle(&config.replace(listener, &from_memory));
        let outer = node.folder.path().join("outer");
        tmpfs(&outer, 48);
        ext4(&node.spool(), &outer.join("image"), 512);
        node.run(1);
        let ballast = Ballast::new(outer.join("ballast"));
        let mut client = Client::connect(node.listen[0]);
        let mut acknowledged = BTreeSet::new();
        let refused = loop {
            let mail = client.say("MAIL FROM:<a@a.example>");
            if mail.code != 250 {
                break mail;
            }
            let subject = format!("m{}", acknowledged.len());
            client.say("RCPT TO:<b@b.example>");
            let data = client.say("DATA");
            if data.code != 354 {
                break data;
            }
            let filler = "\r\n0123456789".repeat(20_000);
            client.write(format!("{}{filler}\r\n.\r\n", message(&subject)));
            if client.reply().code == 250 {
                acknowledged.insert(subject);
            }
        };
        assert_eq!(said(&refused), (451, "4.3.0"), "admission is as elsewhere: {refused:?}");
        let words = "acknowledged messages are in memory only";
        wait_for("what is owed", || node.get("/healthz").1.contains(words).then_some(()));
        fails_openly(&node);
        drop(ballast);
        works_again(&node);
        wait_for("all of it", || (sink.taken().len() >= acknowledged.len()).then_some(()));
        assert_eq!(subjects(&sink), acknowledged);
        assert_eq!(node.metric("relay_fast_messages_in_memory_only"), 0.0);
    });
}
