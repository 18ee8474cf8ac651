//! Recipients of relay domains: who is unknown is refused at RCPT.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::client::{Client, message};
use crate::node::{Node, text, to_upstream, wait_for};
use crate::sink::Sink;

/// A listener for strangers, one for trusted clients, and a relay domain with these lines.
fn config(sink: &Sink, more: &str) -> String {
    let base = to_upstream(&sink.address.to_string(), "").replace(
        "address = \"127.0.0.1:0\"\n",
        "address = \"127.0.0.1:0\"\nrelay_for = [\"192.0.2.1\"]\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\n",
    );
    format!(
        "{base}[[relay_domain]]\ndomains = [\"corp.example\", \".corp.example\"]\n\
         upstream = \"smart\"\n{more}"
    )
}

/// A relay whose relay domain has those recipients that a file lists.
fn with_list(sink: &Sink, list: &str) -> (Node, PathBuf) {
    let mut node = Node::idle("");
    let path = node.folder.path().join("corp.recipients");
    fs::write(&path, list).unwrap();
    node.configure(&config(sink, &format!("recipients = \"{}\"\n", text(&path))));
    node.run(2);
    (node, path)
}

/// The reply to RCPT for this mailbox on a listener.
fn rcpt(node: &Node, listener: usize, to: &str) -> String {
    let mut client = Client::connect(node.listen[listener]);
    assert_eq!(client.say("MAIL FROM:<a@a.example>").code, 250);
    let reply = client.say(&format!("RCPT TO:<{to}>"));
    format!("{} {}", reply.code, reply.text)
}

const TAKEN: &str = "250 2.1.5 Recipient ok";
const UNKNOWN: &str = "550 5.1.1 No such recipient here";

//= RFC 5321 §3.3, type=test
//# If the recipient is known not to be a deliverable address, the SMTP server returns a 550 reply,
//# typically with a string such as "no such user - " and the mailbox name
#[test]
fn who_is_in_no_list_is_refused_at_rcpt() {
    let sink = Sink::start();
    let (node, _) = with_list(&sink, "user@corp.example\n@all.corp.example\n");
    for (listener, to, expected) in [
        (0, "user@corp.example", TAKEN),
        (0, "User@CORP.example", TAKEN),
        (0, "other@corp.example", UNKNOWN),
        (0, "user@below.corp.example", UNKNOWN),
        (0, "anyone@all.corp.example", TAKEN),
        (0, "@a.example,@b.example:other@corp.example", UNKNOWN),
        (0, "@corp.example:user@corp.example", TAKEN),
        (0, "Postmaster@corp.example", TAKEN),
        (0, "postmaster@below.corp.example", TAKEN),
        (0, "user@elsewhere.example", "550 5.7.1 Relaying denied"),
        // Those who may relay anywhere are told of a wrong address as well.
        (1, "other@corp.example", UNKNOWN),
        (1, "user@corp.example", TAKEN),
        (1, "user@elsewhere.example", TAKEN),
    ] {
        assert_eq!(rcpt(&node, listener, to), expected, "{to}");
    }
    let refused = node.metric("relay_fast_unknown_recipients_total{by=\"list\"}");
    assert!((refused - 4.0).abs() < 0.5, "{refused}");

    let mut client = Client::connect(node.listen[0]);
    let codes = client.envelope("<a@a.example>", &["<other@corp.example>", "<user@corp.example>"]);
    assert_eq!(codes, [250, 550, 250]);
    client.content(&message("known")).unwrap();
    assert_eq!(sink.wait(1)[0].rcpt.len(), 1);
    assert_eq!(sink.asked("other@corp.example"), 0);
}

#[test]
fn a_list_is_read_again_and_a_bad_one_changes_nothing() {
    let sink = Sink::start();
    let (node, path) = with_list(&sink, "old@corp.example\n");
    let replace = |list: &[u8]| {
        let new = path.with_extension("new");
        fs::write(&new, list).unwrap();
        fs::rename(&new, &path).unwrap();
    };
    // Seen without a signal.
    replace(b"new@corp.example\n");
    wait_for("the new one", || (rcpt(&node, 0, "new@corp.example") == TAKEN).then_some(()));
    wait_for("the old one gone", || (rcpt(&node, 0, "old@corp.example") == UNKNOWN).then_some(()));
    for (list, why) in [
        (
            &b"fine@corp.example\n\nnew@corp.example new\n"[..],
            ", line 3: `new@corp.example new` has ",
        ),
        (b"# nobody\n", ", there is no recipient in it"),
        (b"ren\xe9@corp.example\n", " is not text"),
    ] {
        replace(list);
        node.signal(Signal::HUP);
        let line = node.wait_for_log(why);
        assert!(line.contains("not reloaded, nothing has changed"), "{line}");
        assert!(line.contains(text(&path)), "{line}");
        assert_eq!(rcpt(&node, 0, "new@corp.example"), TAKEN);
        assert_eq!(rcpt(&node, 0, "fine@corp.example"), UNKNOWN);
    }
    replace(b"fine@corp.example\n");
    node.signal(Signal::HUP);
    wait_for("the next one", || (rcpt(&node, 0, "fine@corp.example") == TAKEN).then_some(()));
}

#[test]
fn a_relay_does_not_start_without_its_list() {
    let sink = Sink::start();
    let mut node = Node::idle("");
    let path = node.folder.path().join("missing.recipients");
    node.configure(&config(&sink, &format!("recipients = \"{}\"\n", text(&path))));
    let output = node.command(1).output().unwrap();
    let refusal = crate::node::refusal(&output);
    assert!(refusal.contains(&format!("cannot read {}", text(&path))), "{refusal}");
}
