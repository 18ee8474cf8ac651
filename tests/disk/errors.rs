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
        // The device gives out: the group that meets it is refused, and never acknowledged later.
        let content = format!("{}{}", message("never"), "\r\n0123456789".repeat(20_000));
        let refused = wait_for("an error", || {
            let mut client = Client::connect(node.listen[0]);
            let mail = client.say("MAIL FROM:<a@a.example>");
            if mail.code != 250 {
                return Some(mail);
            }
            client.say("RCPT TO:<b@never.example>");
            let reply = client.content(&content).unwrap();
            (reply.code != 250).then_some(reply)
        });
        assert_eq!(said(&refused), (451, "4.3.0"), "{refused:?}");
        wait_for("ill health", || {
            let (head, body) = node.get("/healthz");
            (head.contains(" 503 ") && body.contains("commits fail")).then_some(())
        });
        assert!(node.metric(FAILED) >= 1.0);
        assert_eq!(node.metric("relay_fast_spool_failing{shard=\"0\"}"), 1.0);
        // It goes on trying, with another segment each time.
        wait_for("many failures", || (node.metric(FAILED) >= 10.0).then_some(()));
        let files = std::fs::read_dir(node.spool().join("000")).unwrap().count();
        assert!(files < 9, "{files} files: those that failed are not heaped up");
        let refused = client.say("MAIL FROM:<a@a.example>");
        assert_eq!(said(&refused), (451, "4.3.0"), "{refused:?}");

        drop(ballast);
        wait_for("health", || node.get("/healthz").0.contains(" 200 ").then_some(()));
        assert_eq!(node.metric("relay_fast_spool_failing{shard=\"0\"}"), 0.0);
        node.wait_for_log("commits succeed again");
        let sealed = sealed(&node);
        let different: BTreeSet<&String> = sealed.iter().collect();
        assert_eq!(different.len(), sealed.len(), "none is written again: {sealed:?}");
        for n in 0..20 {
            let subject = format!("after-{n}");
            client.send("<a@a.example>", &["<b@b.example>"], &message(&subject));
        }
        wait_for("all but one", || (node.stat("recipients") == 1).then_some(()));
        let subjects = |sink: &Sink| {
            let taken = sink.taken();
            let ours = taken.iter().filter(|one| !one.is_for("b@never.example"));
            ours.map(|one| one.subject().to_owned()).collect::<Vec<_>>()
        };
        let mut expected = vec!["before".to_owned()];
        expected.extend((0..20).map(|n| format!("after-{n}")));
        let mut got = subjects(&sink);
        got.sort();
        expected.sort();
        assert_eq!(got, expected, "each once");

        // What was acknowledged is on the device, and no later start reads what was refused.
        let refused_ones = sink.taken().iter().filter(|one| one.is_for("b@never.example")).count();
        node.kill();
        node.run(1);
        client = Client::connect(node.listen[0]);
        client.send("<a@a.example>", &["<b@b.example>"], &message("restarted"));
        sink.change(|_, _| "250 2.1.5 Ok".to_owned());
        wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
        assert_eq!(subjects(&sink).iter().filter(|subject| *subject == "pin").count(), 1);
        let now = sink.taken().iter().filter(|one| one.is_for("b@never.example")).count();
        assert_eq!(now, refused_ones, "answered 451, and delivered after all");
    });
}
