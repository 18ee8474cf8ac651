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

/// Names that the server behind knows: those that begin with `user`.
fn users(mailbox: &str, _: usize) -> String {
    match mailbox.starts_with("user") {
        true => "250 2.1.5 Ok".to_owned(),
        false => "550 5.1.1 no such user".to_owned(),
    }
}

const CALLOUT: &str = "recipients = \"callout\"\n";
const NO_USER: &str = "550 5.1.1 The server behind says: no such user";

/// A relay of one shard, which asks the servers behind about recipients.
fn calling(config: &str) -> Node {
    let mut node = Node::idle(config);
    node.run(1);
    node
}

//= RFC 5321 §3.6.2, type=test
//# If an SMTP server has accepted the task of relaying the mail and later finds that the
//# destination is incorrect or that the mail cannot be delivered for some other reason, then it
//# MUST construct an "undeliverable mail" notification message and send it to the originator
/// So it asks before it accepts.
#[test]
fn a_server_behind_is_asked_once_and_who_is_unknown_is_refused_at_rcpt() {
    let sink = Sink::by(users);
    let node = calling(&config(&sink, CALLOUT));
    for _ in 0..3 {
        for (listener, to, expected) in [
            (0, "user@corp.example", TAKEN),
            (0, "user@CORP.example", TAKEN),
            (0, "other@corp.example", NO_USER),
            (0, "user@below.corp.example", TAKEN),
            (0, "postmaster@corp.example", TAKEN),
            (0, "@a.example:other@corp.example", NO_USER),
            (1, "another@corp.example", NO_USER),
            (1, "other@elsewhere.example", TAKEN),
        ] {
            assert_eq!(rcpt(&node, listener, to), expected, "{to}");
        }
    }
    let asked = ["user@corp.example", "other@corp.example", "another@corp.example"];
    assert_eq!(asked.map(|one| sink.asked(one)), [1; 3]);
    let never = ["postmaster@corp.example", "other@elsewhere.example", "user@CORP.example"];
    assert_eq!(never.map(|one| sink.asked(one)), [0; 3]);
    let count = |series: &str| node.metric(series).to_string();
    assert_eq!(count("relay_fast_callouts_total{result=\"known\"}"), "2");
    assert_eq!(count("relay_fast_callouts_total{result=\"unknown\"}"), "2");
    assert_eq!(count("relay_fast_callout_recipients"), "4");
    assert_eq!(count("relay_fast_unknown_recipients_total{by=\"callout\"}"), "9");
    assert_eq!(sink.taken(), [], "a question carries no message");
}

//= RFC 2920 §3.2, type=test
//# A server … MUST … send responses to each of a group of pipelined commands in the order received
#[test]
fn replies_to_pipelined_recipients_come_in_their_order() {
    let sink = Sink::by(users);
    let node = calling(&config(&sink, CALLOUT));
    let recipients: Vec<String> = (0..24)
        .map(|number| {
            if number % 3 == 1 { "other" } else { "user" }.to_owned() + &number.to_string()
        })
        .collect();
    for _ in 0..2 {
        let mut client = Client::connect(node.listen[0]);
        let mut group = String::from("MAIL FROM:<a@a.example>\r\n");
        for to in &recipients {
            group += &format!("RCPT TO:<{to}@corp.example>\r\n");
        }
        client.write(group + "DATA\r\n");
        assert_eq!(client.reply().code, 250);
        for to in &recipients {
            let expected = if to.starts_with("user") { 250 } else { 550 };
            assert_eq!(client.reply().code, expected, "{to}");
        }
        assert_eq!(client.reply().code, 354);
        client.write("Subject: x\r\n\r\n.\r\n");
        assert_eq!(client.reply().code, 250);
    }
    assert!(sink.wait(2).iter().all(|taken| taken.rcpt.len() == 16));
    // RCPT of both messages, and the question before.
    assert_eq!((sink.asked("user0@corp.example"), sink.asked("other1@corp.example")), (3, 1));
}

#[test]
fn while_the_server_behind_is_down_recipients_are_taken_and_delivered_later() {
    let mut sink = Sink::by(users);
    sink.stop();
    let mut node = Node::idle(&format!("{}{}", config(&sink, CALLOUT), crate::node::SOON));
    node.run(1);
    let mut client = Client::connect(node.listen[0]);
    client.send("<a@a.example>", &["<user@corp.example>"], &message("later"));
    assert_eq!(rcpt(&node, 0, "other@corp.example"), TAKEN, "nobody knows");
    let unsure = node.metric("relay_fast_callouts_total{result=\"unsure\"}");
    assert_eq!(unsure.to_string(), "2");
    sink.resume();
    assert_eq!(sink.wait_for_mail_to("user@corp.example").subject(), "later");
    // Whoever was not asked about before is soon asked about.
    let known = |number: usize| rcpt(&node, 0, &format!("other{number}@corp.example")) != TAKEN;
    let mut number = 0;
    wait_for("questions", || {
        number += 1;
        known(number).then_some(())
    });
}

#[test]
fn while_the_server_behind_is_down_clients_may_be_told_to_come_again() {
    let mut sink = Sink::by(users);
    sink.stop();
    let node = calling(&config(&sink, &format!("{CALLOUT}unverified = \"defer\"\n")));
    let deferred = "451 4.1.1 This recipient cannot be verified now, try again later";
    assert_eq!(rcpt(&node, 0, "user@corp.example"), deferred);
    assert_eq!(rcpt(&node, 1, "user@corp.example"), deferred);
    assert_eq!(rcpt(&node, 0, "postmaster@corp.example"), TAKEN);
    sink.resume();
    // What was known before is forgotten at a reload, but for who is known.
    node.signal(Signal::HUP);
    node.wait_for_log("reloaded");
    wait_for("an answer", || (rcpt(&node, 0, "user@corp.example") == TAKEN).then_some(()));
}

#[test]
fn whatever_else_the_server_behind_says_the_recipient_is_taken() {
    let sink = Sink::by(|mailbox, _| match mailbox.split('@').next() {
        Some("later") => "450 4.2.0 greylisted".to_owned(),
        Some("full") => "452 4.2.2 full".to_owned(),
        Some("policy") => "554 5.7.1 not from you".to_owned(),
        Some("auth") => "530 5.7.0 who are you".to_owned(),
        Some("leaving") => "421 4.3.2 leaving".to_owned(),
        Some("nonsense") => "what?".to_owned(),
        _ => "250 2.1.5 Ok".to_owned(),
    });
    let node = calling(&config(&sink, CALLOUT));
    for (to, expected) in [
        ("later", TAKEN),
        ("full", TAKEN),
        ("policy", "550 5.7.1 The server behind says: not from you"),
        ("auth", TAKEN),
        ("leaving", TAKEN),
        ("nonsense", TAKEN),
        ("user", TAKEN),
    ] {
        assert_eq!(rcpt(&node, 0, &format!("{to}@corp.example")), expected, "{to}");
    }
    assert_eq!(sink.taken(), []);
}

#[test]
fn a_server_that_never_answers_holds_nobody_up_for_long() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sink = Sink::start();
    let listed = sink.address.to_string();
    let silent_at = silent.local_addr().unwrap().to_string();
    let node = calling(&config(&sink, CALLOUT).replace(&listed, &silent_at));
    assert_eq!(rcpt(&node, 0, "user@corp.example"), TAKEN);
    assert_eq!(rcpt(&node, 0, "user@corp.example"), TAKEN);
}

#[test]
fn another_upstream_is_asked_where_the_first_is_down() {
    let (mut first, second) = (Sink::by(users), Sink::by(users));
    first.stop();
    let both = format!("{};{}", first.address, second.address);
    let node = calling(&config(&first, CALLOUT).replace(&first.address.to_string(), &both));
    assert_eq!(rcpt(&node, 0, "user@corp.example"), TAKEN);
    assert_eq!(rcpt(&node, 0, "other@corp.example"), NO_USER);
    let asked = ["user@corp.example", "other@corp.example"];
    assert_eq!(asked.map(|one| second.asked(one)), [1, 1]);
    // Unknown to the relay that is asked is unknown.
    first.resume();
    assert_eq!(rcpt(&node, 0, "other@corp.example"), NO_USER);
    drop(second);
}
