//! SIGHUP: a good file is in force, a bad one changes nothing and says why in one line.

use rustix::process::Signal;

use crate::client::{Client, message, send};
use crate::node::{Node, SOON, to_upstream, wait_for};
use crate::sink::Sink;

/// The code of RCPT for this mailbox, from a stranger.
fn rcpt(node: &Node, to: &str) -> u16 {
    Client::connect(node.listen[0]).envelope("<a@a.example>", &[to])[1]
}

#[test]
fn a_good_file_takes_effect_and_a_bad_one_changes_nothing() {
    let sink = Sink::start();
    let base = to_upstream(&sink.address.to_string(), "").replace(
        "address = \"127.0.0.1:0\"\n",
        "address = \"127.0.0.1:0\"\nrelay_for = [\"192.0.2.1\"]\n",
    );
    let domain =
        |name: &str| format!("[[relay_domain]]\ndomains = [\"{name}\"]\nupstream = \"smart\"\n");
    let mut node = Node::start(&format!("{base}{}", domain("old.example")));
    assert_eq!((rcpt(&node, "<a@old.example>"), rcpt(&node, "<a@new.example>")), (250, 550));
    let mut before = Client::connect(node.listen[0]);

    node.configure(&format!("{base}{}", domain("new.example")));
    node.signal(Signal::HUP);
    node.wait_for_log("reloaded changes=1");
    wait_for("the new domain", || (rcpt(&node, "<a@new.example>") == 250).then_some(()));
    wait_for("the old one gone", || (rcpt(&node, "<a@old.example>") == 550).then_some(()));
    // Who was in stays in, and goes by the new rules.
    before.send("<a@a.example>", &["<b@new.example>"], &message("after"));
    sink.wait_for_mail_to("b@new.example");

    let bad = [
        (
            format!("corse = 4\n{base}"),
            "relay.toml:1:1: unknown key `corse` (did you mean `cores`?)",
        ),
        (format!("{base}{}", domain("new.example\", \"new.example")), "new.example"),
        (base.replace("[spool]", "[spool]\nhot_memory = \"1MB\""), "did you mean \"1MiB\"?"),
        (base.replace("16MiB", "32MiB"), "restart to change spool.segment_size: \"16MiB\" -> "),
    ];
    for (number, (words, why)) in bad.iter().enumerate() {
        node.configure(words);
        node.signal(Signal::HUP);
        let lines = wait_for("the refusal", || {
            let log = node.log();
            let refused: Vec<_> =
                log.lines().filter(|line| line.contains("not reloaded")).collect();
            (refused.len() > number).then(|| refused.iter().map(ToString::to_string).collect())
        });
        let lines: Vec<String> = lines;
        assert_eq!(lines.len(), number + 1, "one line each: {lines:?}");
        let line = &lines[number];
        assert!(line.contains(why) && line.contains("nothing has changed"), "{line}");
        assert_eq!(rcpt(&node, "<a@new.example>"), 250);
    }
    std::fs::remove_file(node.config_path()).unwrap();
    node.signal(Signal::HUP);
    node.wait_for_log("cannot read ");
    assert_eq!(rcpt(&node, "<a@new.example>"), 250);
    let log = node.log();
    let stamped = |line: &str| line.starts_with("20");
    assert!(log.lines().all(stamped), "a line for each thing: {log}");
}

#[test]
fn a_reload_moves_what_waits_to_another_upstream() {
    let (mut dead, sink) = (Sink::start(), Sink::start());
    dead.stop();
    let mut node = Node::to(dead.address, SOON);
    send(node.listen[0], "<a@a.example>", &["<b@b.example>"], "moved");
    wait_for("it waits", || node.ask(&["list"]).contains("b@b.example").then_some(()));
    node.configure(&to_upstream(&sink.address.to_string(), SOON));
    node.signal(Signal::HUP);
    node.wait_for_log("reloaded");
    assert_eq!(sink.wait(1)[0].subject(), "moved");
}
