//! Two listeners, one of which answers from memory: every message shows which it came by.

use relay_fast::mail::durability::Durability;
use relay_fast::outcome::event::{Event, Kind};

use crate::client::{Client, message, send};
use crate::node::{Node, printed, run, text, to_upstream, wait_for};
use crate::sink::Sink;

const LATER: &str = "[queue]\nretry_first = \"1h\"\nretry_jitter = 0\n";
const MEMORY: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\ndurability = \"memory\"\n";

fn of(events: &[Event<'static>], recipient: &str) -> Vec<(Kind, Durability)> {
    let theirs = events.iter().filter(|event| event.recipient == recipient);
    theirs.map(|event| (event.kind, event.durability)).collect()
}

#[test]
fn every_event_shows_the_durability_of_its_message_after_a_restart_too() {
    let sink = Sink::by(|_, _| "451 4.7.1 Later".to_owned());
    let mut node = Node::idle(&to_upstream(&sink.address.to_string(), &format!("{MEMORY}{LATER}")));
    node.run(1);
    let (commit, memory) = (node.listen[0], node.listen[1]);
    send(commit, "<s@a.example>", &["<commit@b.example>"], "by the first");
    send(memory, "<s@a.example>", &["<memory@b.example>", "<bad@b.example>"], "by the second");
    node.wait_for_events(Kind::Deferred, 3);
    node.kill();

    let dump = printed(&run(&["spool", "dump", text(&node.spool())]));
    assert_eq!(dump.matches("(durability memory)").count(), 1, "{dump}");
    assert_eq!(dump.matches("(durability commit)").count(), 1, "{dump}");

    sink.change(|mailbox, _| {
        let bad = mailbox.starts_with("bad@");
        if bad { "550 5.1.1 No such user" } else { "250 2.1.5 Ok" }.to_owned()
    });
    node.run(2);
    let list = node.ask(&["list"]);
    let row = list.lines().find(|line| line.contains("memory@")).expect("it is queued");
    let shown = node.ask(&["show", row.split(' ').next().unwrap()]);
    assert!(shown.contains("(durability memory)"), "{shown}");
    node.ask(&["flush", "--all"]);
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
    // The DSN's.
    node.wait_for_events(Kind::Received, 4);
    let events = node.wait_for_events(Kind::Delivered, 3);
    let (memory, commit) = (Durability::Memory, Durability::Commit);
    let story = |end, durability| {
        [Kind::Received, Kind::Deferred, end].map(|kind| (kind, durability)).to_vec()
    };
    assert_eq!(of(&events, "memory@b.example"), story(Kind::Delivered, memory));
    assert_eq!(of(&events, "bad@b.example"), story(Kind::Bounced, memory));
    assert_eq!(of(&events, "commit@b.example"), story(Kind::Delivered, commit));
    let dsn = [Kind::Received, Kind::Delivered].map(|kind| (kind, commit));
    assert_eq!(of(&events, "s@a.example"), dsn, "a DSN is always committed first");
}

/// Without waiting for the sync of one message the session takes the next: all are delivered.
#[test]
fn a_session_goes_on_at_once_and_a_drain_waits_for_the_commits() {
    let sink = Sink::by(|_, _| "250 2.1.5 Ok".to_owned());
    let mut node = Node::idle(&to_upstream(&sink.address.to_string(), MEMORY));
    node.run(1);
    let mut client = Client::connect(node.listen[1]);
    let content = message("one of many");
    let one = format!(
        "MAIL FROM:<s@a.example>\r\nRCPT TO:<r@b.example>\r\nBDAT {} LAST\r\n{content}",
        content.len()
    );
    client.write(one.repeat(50));
    for _ in 0..50 {
        let codes = [client.reply().code, client.reply().code, client.reply().code];
        assert_eq!(codes, [250; 3]);
    }
    node.drain();
    node.run(1);
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
    assert_eq!(sink.taken().len(), 50);
}
