//! `relay-fast queue …` as an operator uses it.

use crate::client::send;
use crate::node::{Node, free_port, refusal, run, to_upstream, wait_for};
use crate::sink::Sink;

const GREYLISTED: &str = "450 4.2.1 Greylisted, see https://sink.example/why?ip=127.0.0.1";

/// A node with deferred mail of two senders for two domains, whose next attempt is far; its sink.
fn with_mail() -> (Node, Sink) {
    let sink = Sink::by(|_, _| GREYLISTED.to_owned());
    let node = Node::to(sink.address, "[queue]\nretry_first = \"1h\"\n");
    for (from, to) in [
        ("<one@a.example>", &["<x@b.example>", "<x@c.example>"][..]),
        ("<two@a.example>", &["<y@b.example>"]),
        ("<>", &["<z@c.example>"]),
    ] {
        send(node.listen[0], from, to, "waits");
    }
    wait_for("four deferred", || (node.stat("deferred") == 4).then_some(()));
    (node, sink)
}

/// Rows of `queue list …`, cell by cell.
fn rows(node: &Node, words: &[&str]) -> Vec<Vec<String>> {
    let text = node.ask(&[&["list"], words].concat());
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    let lines: Vec<&str> = text.lines().collect();
    let rows: Vec<Vec<String>> = lines[1..lines.len() - 1].iter().map(|line| cells(line)).collect();
    let last = lines.last().unwrap();
    assert!(last.starts_with(&format!("{} recipient", rows.len())), "{last}");
    rows
}

/// Recipients of the rows in this state, sorted.
fn recipients(node: &Node, words: &[&str], state: &str) -> Vec<String> {
    let rows = rows(node, words).into_iter().filter(|row| row[1] == state);
    let mut recipients: Vec<String> = rows.map(|row| row.last().unwrap().clone()).collect();
    recipients.sort();
    recipients
}

/// The id of the message for this recipient.
fn id_of(node: &Node, recipient: &str) -> String {
    let all = rows(node, &[]);
    all.iter().find(|row| row.last().unwrap() == recipient).expect("it is listed")[0].clone()
}

#[test]
fn list_selects_by_id_domain_and_reverse_path() {
    let (node, _sink) = with_mail();
    let all = ["x@b.example", "x@c.example", "y@b.example", "z@c.example"];
    assert_eq!(recipients(&node, &[], "deferred"), all);
    let id = id_of(&node, "x@b.example");
    assert_eq!(recipients(&node, &["--id", &id], "deferred"), all[..2]);
    assert_eq!(
        recipients(&node, &["--domain", "B.example"], "deferred"),
        ["x@b.example", "y@b.example"]
    );
    let two = ["--reverse-path", "two@a.example"];
    assert_eq!(recipients(&node, &two, "deferred"), ["y@b.example"]);
    assert_eq!(recipients(&node, &["--reverse-path", "<>"], "deferred"), ["z@c.example"]);
    let both = ["--reverse-path", "one@a.example", "--domain", "c.example"];
    assert_eq!(recipients(&node, &both, "deferred"), ["x@c.example"]);
    assert_eq!(recipients(&node, &["--id", &id, "--domain", "d.example"], "deferred"), [""; 0]);
    let limited = node.ask(&["list", "--limit", "1"]);
    assert!(limited.contains("1 recipient listed; there may be more"), "{limited}");
}

#[test]
fn show_says_why_a_recipient_waits_and_until_when() {
    let (node, sink) = with_mail();
    let id = id_of(&node, "x@b.example");
    let shown = node.ask(&["show", &id]);
    let row = rows(&node, &["--id", &id]).remove(0);
    let due = &row[3];
    for words in [
        format!("{id} from <one@a.example>"),
        "<x@b.example>: deferred".to_owned(),
        format!("attempts: 1; the next one at {due}"),
        format!("[127.0.0.1]:{} said at RCPT: {GREYLISTED}", sink.address.port()),
    ] {
        assert!(shown.contains(&words), "{words}: {shown}");
    }
    assert_eq!(shown.matches(GREYLISTED).count(), 2, "both recipients: {shown}");
}

#[test]
fn show_names_the_limit_that_binds() {
    let (busy, slow, mut dead) = (Sink::start(), Sink::start(), Sink::start());
    busy.hold();
    dead.stop();
    let config = format!(
        "{}connections = 1\n\
        [[upstream]]\nname = \"slow\"\nhosts = \"{}\"\nrate = \"1/h\"\n\
        [[upstream]]\nname = \"dead\"\nhosts = \"{}\"\n\
        [[route]]\ndomains = [\"slow.example\"]\nto = \"slow\"\n\
        [[route]]\ndomains = [\"dead.example\"]\nto = \"dead\"\n",
        to_upstream(&busy.address.to_string(), ""),
        slow.address,
        dead.address
    );
    let node = Node::start(&config);
    for n in 1..=3 {
        for domain in ["busy", "slow", "dead"] {
            send(node.listen[0], "<a@a.example>", &[&format!("<{n}@{domain}.example>")], "x");
        }
        wait_for("the first one is there", || slow.taken().first().map(drop));
    }
    let waits_for = |recipient: &str, words: &str| {
        let id = id_of(&node, recipient);
        wait_for(&format!("{recipient} waits for {words}"), || {
            let shown = node.ask(&["show", &id]);
            let why = shown.lines().find(|line| line.trim_start().starts_with("waits for: "))?;
            why.contains(words).then_some(())
        });
    };
    // Tried and deferred, or kept back by its suspended site: the words and the time are there.
    let id = id_of(&node, "2@dead.example");
    wait_for("why 2@dead.example waits", || {
        let shown = node.ask(&["show", &id]);
        let (_, story) = shown.split_once("<2@dead.example>: ").expect("its part");
        let told = story.contains("refused") && story.contains("; the next one at ");
        told.then_some(())
    });
    waits_for("2@slow.example", "1 messages per 3600 s");
    // The first one's reply is awaited, and one more may follow it on its connection.
    waits_for("2@busy.example", "the reply to the message before it on its connection");
    waits_for("3@busy.example", &format!("({})", busy.address));
}

#[test]
fn hold_keeps_release_lets_go_and_flush_does_not_wait() {
    let (node, sink) = with_mail();
    let two = ["--reverse-path", "two@a.example"];
    assert_eq!(node.ask(&["hold", two[0], two[1]]), "1 recipient held\n");
    assert_eq!(node.ask(&["hold", two[0], two[1]]), "0 recipients held\n", "it is held already");
    sink.change(|_, _| "250 2.1.5 Ok".to_owned());
    assert_eq!(node.ask(&["flush", "--domain", "b.example"]), "1 recipient flushed\n");
    sink.wait_for_mail_to("x@b.example");
    wait_for("three left", || (node.stat("recipients") == 3).then_some(()));
    assert_eq!(recipients(&node, &[], "held"), ["y@b.example"]);
    assert_eq!((node.stat("held"), node.stat("deferred")), (1, 2));
    let id = id_of(&node, "y@b.example");
    let shown = node.ask(&["show", &id]);
    assert!(shown.contains("<y@b.example>: held") && shown.contains(GREYLISTED), "{shown}");
    assert_eq!(node.ask(&["release", "--id", &id]), "1 recipient released\n");
    sink.wait_for_mail_to("y@b.example");
    assert_eq!(node.ask(&["flush", "--all"]), "2 recipients flushed\n");
    sink.wait(4);
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
}

#[test]
fn remove_takes_what_meets_all_that_is_given_and_no_more() {
    let (node, sink) = with_mail();
    let both = ["--domain", "b.example", "--reverse-path"];
    let remove = |path: &'static str| node.ask(&["remove", both[0], both[1], both[2], path]);
    assert_eq!(remove("nobody@a.example"), "0 recipients removed\n");
    assert_eq!(remove("<two@a.example>"), "1 recipient removed\n");
    wait_for("three left", || (node.stat("recipients") == 3).then_some(()));
    let id = id_of(&node, "x@b.example");
    assert_eq!(
        node.ask(&["remove", "--id", &id, "--domain", "c.example"]),
        "1 recipient removed\n"
    );
    wait_for("two left", || (node.stat("recipients") == 2).then_some(()));
    assert_eq!(recipients(&node, &[], "deferred"), ["x@b.example", "z@c.example"]);
    assert_eq!(node.ask(&["remove", "--all"]), "2 recipients removed\n");
    wait_for("an empty queue", || (node.stat("messages") == 0).then_some(()));
    assert!(sink.taken().is_empty(), "nobody is told, and nothing is delivered");
    let removed = node.wait_for_events(relay_fast::outcome::event::Kind::Removed, 4);
    assert!(removed.iter().all(|event| event.kind != relay_fast::outcome::event::Kind::Bounced));
}

#[test]
fn a_wrong_question_gets_one_clear_line() {
    let node = Node::to("127.0.0.1:9".parse().unwrap(), "");
    let cases = [
        (&["show", "0000000000001"][..], "0000000000001 is not in the queue"),
        (&["show", "not-an-id"], "a message id has 13 characters"),
        (&["list", "--domain", "no domain"], "domain no domain: "),
        (&["hold", "--reverse-path", "nobody"], "reverse-path nobody: "),
        (&["remove"], "name an id, a domain or a reverse-path"),
        (&["flush"], "name an id, a domain or a reverse-path"),
    ];
    for (words, expected) in cases {
        let line = refusal(&node.queue(words));
        assert!(line.contains(expected), "{words:?}: {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    for words in [&["sho", "x"][..], &["remove", "--all", "--domain", "b.example"], &["show"]] {
        assert!(refusal(&node.queue(words)).contains("Usage: "), "{words:?}");
    }
    assert_eq!(node.ask(&["remove", "--id", "0000000000001"]), "0 recipients removed\n");
}

#[test]
fn where_no_node_answers_that_is_said() {
    let admin = format!("127.0.0.1:{}", free_port());
    for verb in ["list", "stats"] {
        let line = refusal(&run(&["queue", verb, "--admin", &admin]));
        for words in [admin.as_str(), "no node answers", "--admin"] {
            assert!(line.contains(words), "{words}: {line}");
        }
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}
