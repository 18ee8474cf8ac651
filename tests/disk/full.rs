//! A disk that fills up: mail waits outside, outcomes do not; and nothing acknowledged is lost.

use std::collections::BTreeSet;
use std::path::Path;

use crate::client::{Client, Reply, message};
use crate::mounts::{Ballast, ext4, in_own_mounts, tmpfs};
use crate::node::{Node, to_upstream, wait_for};
use crate::sink::Sink;

const LATER: &str = "[queue]\nretry_first = \"1h\"\nretry_longest = \"1h\"\nretry_jitter = 0\n";

fn said(reply: &Reply) -> (u16, &str) {
    (reply.code, reply.text.split(' ').next().unwrap())
}

/// A message of half a MiB.
fn large(subject: &str) -> String {
    format!("Subject: {subject}\r\n\r\n{}", "0123456789abcdef0123456789abc\r\n".repeat(1 << 14))
}

/// Send large messages until MAIL is refused; the subjects of those that were acknowledged, and
/// the refusal.
fn fill(client: &mut Client, subjects: &mut BTreeSet<String>) -> Reply {
    loop {
        let mail = client.say("MAIL FROM:<a@a.example>");
        if mail.code != 250 {
            return mail;
        }
        let subject = format!("large-{}", subjects.len());
        assert_eq!(client.say("RCPT TO:<b@full.example>").code, 250);
        let data = client.say("DATA");
        if data.code != 354 {
            return data;
        }
        client.write(format!("{}\r\n.\r\n", large(&subject)));
        let reply = client.reply();
        if reply.code != 250 {
            assert_eq!(said(&reply), (452, "4.3.1"), "{reply:?}");
            continue;
        }
        subjects.insert(subject);
    }
}

/// Until the spool takes messages.
fn wait_for_room(node: &Node) -> Client {
    wait_for("room", || {
        let mut client = Client::connect(node.listen[0]);
        let open = client.say("MAIL FROM:<a@a.example>").code == 250;
        open.then(|| {
            client.say("RSET");
            client
        })
    })
}

//= RFC 3463 §3.4, type=test
//# X.3.1   Mail system full
fn a_full_disk(make: impl FnOnce(&Path)) {
    // Nobody takes anything yet, so that all of it stays in the spool.
    let sink = Sink::by(|_, _| "451 4.7.1 Later".to_owned());
    let mut node = Node::idle(&to_upstream(&sink.address.to_string(), LATER));
    make(&node.spool());
    node.run(1);
    let mut client = Client::connect(node.listen[0]);
    for n in 0..3 {
        client.send("<a@a.example>", &[&format!("<gone{n}@no.example>")], &message("to bounce"));
    }
    wait_for("three deferred", || (node.stat("deferred") == 3).then_some(()));

    // One is in the middle of its content when the disk fills up.
    let mut half = Client::connect(node.listen[0]);
    half.envelope("<a@a.example>", &["<b@half.example>"]);
    assert_eq!(half.say("DATA").code, 354);
    half.write("Subject: half\r\n\r\n");
    let mut acknowledged = BTreeSet::new();
    let ballast = Ballast::new(node.spool().join("ballast"));
    let refused = fill(&mut client, &mut acknowledged);
    assert_eq!(said(&refused), (452, "4.3.1"), "before DATA: {refused:?}");
    assert!(acknowledged.len() >= 4, "there was room for {acknowledged:?}");
    half.write(format!("{}\r\n.\r\n", large("half")));
    let refused = half.reply();
    assert_eq!(said(&refused), (452, "4.3.1"), "during DATA: {refused:?}");
    let (head, body) = node.get("/healthz");
    assert!(head.contains(" 503 ") && body.contains("takes no messages"), "{head}{body}");

    outcomes_go_on(&node, &sink, &mut client);

    // They were stored: a crash repeats none of them, and takes nothing. Nor does it need room.
    let bounced = sink.asked("gone0@no.example");
    node.kill();
    node.run(1);
    let left = acknowledged.len() as u64;
    wait_for(&format!("all {left} recovered"), || (node.stat("recipients") == left).then_some(()));
    node.ask(&["flush", "--domain", "no.example"]);
    assert_eq!(sink.asked("gone0@no.example"), bounced);

    // Room comes back, and service by itself.
    drop(ballast);
    let mut client = wait_for_room(&node);
    client.send("<a@a.example>", &["<b@after.example>"], &message("after"));
    acknowledged.insert("after".to_owned());
    wait_for("health", || node.get("/healthz").0.contains(" 200 ").then_some(()));
    sink.change(|_, _| "250 2.1.5 Ok".to_owned());
    node.ask(&["flush", "--all"]);
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
    all_came_once(&sink, &acknowledged);
    let log = node.log();
    assert!(!log.contains("damaged"), "{log}");
    assert!(log.matches("cannot make a spool segment").count() <= 4, "said once: {log}");
}

/// While the disk is full: three bounces, their DSNs, and no mail all the same.
fn outcomes_go_on(node: &Node, sink: &Sink, client: &mut Client) {
    sink.change(|mailbox, _| {
        match mailbox {
            mailbox if mailbox.ends_with("@no.example") => "550 5.1.1 No such user",
            mailbox if mailbox.ends_with("@a.example") => "250 2.1.5 Ok",
            _ => "451 4.7.1 Later",
        }
        .to_owned()
    });
    let before = node.stat("recipients");
    node.ask(&["flush", "--domain", "no.example"]);
    wait_for("three DSNs", || {
        let taken = sink.taken();
        (taken.iter().filter(|one| one.mail.starts_with("<>")).count() == 3).then_some(())
    });
    wait_for("three ends", || (node.stat("recipients") == before - 3).then_some(()));
    let refused = client.say("MAIL FROM:<a@a.example>");
    assert_eq!(said(&refused), (452, "4.3.1"), "the reserve is not for mail: {refused:?}");
}

fn all_came_once(sink: &Sink, acknowledged: &BTreeSet<String>) {
    let taken = sink.taken();
    let content = taken.iter().filter(|one| !one.mail.starts_with("<>"));
    let subjects: Vec<String> = content.map(|one| one.subject().to_owned()).collect();
    assert_eq!(subjects.len(), acknowledged.len(), "each once, nothing else: {subjects:?}");
    assert_eq!(subjects.into_iter().collect::<BTreeSet<_>>(), *acknowledged);
    for one in taken.iter().filter(|one| one.subject().starts_with("large-")) {
        assert!(
            one.content.ends_with(&format!("{}\r\n", large(one.subject()))),
            "half of {}",
            one.subject()
        );
    }
}

#[test]
fn a_full_tmpfs() {
    in_own_mounts("full::a_full_tmpfs", || a_full_disk(|spool| tmpfs(spool, 144)));
}

#[test]
fn a_full_ext4() {
    let image = tempfile::tempdir().unwrap();
    let file = image.path().join("image");
    in_own_mounts("full::a_full_ext4", || a_full_disk(|spool| ext4(spool, &file, 160)));
}
