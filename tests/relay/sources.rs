//! Where mail leaves from: pools of sources, whose mail is whose, and what waits for them.

use std::fs;

use rustix::process::Signal;

use crate::client::{Client, send};
use crate::node::{Node, refusal, run, text, to_upstream, wait_for};
use crate::sink::Sink;

/// Four sources, in pools of one or two.
const POOLS: &str = "[senders]\nfields = \"remove\"\n\
    [[source]]\nname = \"one\"\naddress = \"127.0.0.2\"\nhello = \"one.example\"\n\
    [[source]]\nname = \"two\"\naddress = \"127.0.0.3\"\nhello = \"two.example\"\n\
    [[source]]\naddress = \"127.0.0.4\"\nhello = \"three.example\"\n\
    [[source]]\nname = \"four\"\naddress = \"127.0.0.5\"\nhello = \"four.example\"\n\
    [[pool]]\nname = \"default\"\nsources = [\"one\"]\n\
    [[pool]]\nname = \"acme\"\nsources = [\"two*3\", \"127.0.0.4\"]\n\
    [[pool]]\nname = \"slow\"\nsources = [\"four\"]\n\
    [[tenant]]\nname = \"acme\"\npool = \"acme\"\n\
    [[route]]\ndomains = [\"slow.example\"]\nto = \"smart\"\npool = \"slow\"\n";

fn node(sink: &Sink, more: &str, shards: usize) -> Node {
    let mut node = Node::idle("");
    let config = to_upstream(&sink.address.to_string(), more);
    node.configure(&config);
    node.run(shards);
    node
}

fn hand_in(node: &Node, tenant: &str, to: &str) {
    let content = format!("X-Tenant: {tenant}\r\nFrom: <a@a.example>\r\n\r\nHello.");
    let content = if tenant.is_empty() { "From: <a@a.example>\r\n\r\nHi." } else { &*content };
    Client::connect(node.listen[0]).send("<a@a.example>", &[to], content);
}

/// From where each mailbox had its mail.
fn left_from(sink: &Sink, mailbox: &str) -> String {
    sink.wait_for_mail_to(mailbox).hello
}

#[test]
fn mail_leaves_from_the_pool_of_its_sender_or_of_where_it_goes() {
    let sink = Sink::start();
    let node = node(&sink, POOLS, 2);
    // What one connection could carry goes on several, however they come.
    for round in 0..8 {
        for (tenant, domain) in [("", "b"), ("acme", "b"), ("", "slow"), ("acme", "slow")] {
            let mailbox = format!("{tenant}{round}@{domain}.example");
            hand_in(&node, tenant, &format!("<{mailbox}>"));
        }
    }
    for taken in sink.wait(32) {
        let mailbox = taken.rcpt[0].trim_start_matches('<').split('>').next().unwrap().to_owned();
        let expected: &[&str] = match (mailbox.starts_with("acme"), mailbox.contains("slow")) {
            // A sender's pool goes before a destination's.
            (true, _) => &["two.example", "three.example"],
            (false, true) => &["four.example"],
            (false, false) => &["one.example"],
        };
        assert!(expected.contains(&&*taken.hello), "{mailbox} from {}", taken.hello);
    }
}

#[test]
fn a_pool_shares_its_connections_by_weight() {
    let sink = Sink::start();
    let one_each = "messages_per_connection = 1\n";
    let node = node(&sink, &format!("{one_each}{POOLS}"), 1);
    for number in 0..8 {
        hand_in(&node, "acme", &format!("<{number}@b.example>"));
        sink.wait(number + 1);
    }
    let two = sink.taken().iter().filter(|one| one.hello == "two.example").count();
    assert_eq!((sink.taken().len(), two), (8, 6));
}

#[test]
fn a_pool_that_is_changed_sends_nothing_more_from_its_former_sources() {
    let sink = Sink::start();
    let mut node = node(&sink, POOLS, 1);
    hand_in(&node, "", "<a@b.example>");
    assert_eq!(left_from(&sink, "a@b.example"), "one.example");
    let more = POOLS.replace("sources = [\"one\"]", "sources = [\"four\"]");
    node.configure(&to_upstream(&sink.address.to_string(), &more));
    node.signal(Signal::HUP);
    node.wait_for_log(" reloaded ");
    hand_in(&node, "", "<b@b.example>");
    assert_eq!(left_from(&sink, "b@b.example"), "four.example");
}

#[test]
fn a_pool_whose_sources_are_all_suspended_waits_and_says_why() {
    let sink = Sink::by(|mailbox, nth| {
        let is_refused = mailbox.starts_with("acme-first") && nth == 1;
        if is_refused { "451 4.7.1 Not from there" } else { "250 2.1.5 Ok" }.to_owned()
    });
    let mut node = Node::idle("");
    let file = node.folder.path().join("shaping.toml");
    let rules = "[[automation]]\nname = 'not from there'\nwords = ['not from there']\n\
        action = 'suspend-source'\nfor = '1d'\n";
    fs::write(&file, rules).unwrap();
    let one = POOLS.replace("\"two*3\", \"127.0.0.4\"", "\"two\"");
    let more = format!("{one}[shaping]\nfile = \"{}\"\n", text(&file));
    node.configure(&to_upstream(&sink.address.to_string(), &more));
    node.run(1);
    hand_in(&node, "acme", "<acme-first@b.example>");
    node.wait_for_log("not from there: leave the site alone from there");
    hand_in(&node, "acme", "<acme-second@c.example>");
    let why = "its site is left alone for a while: not from there";
    wait_for("the reason", || {
        let list = node.ask(&["list", "--domain", "c.example"]);
        let id = list.lines().nth(1)?.split_whitespace().next()?.to_owned();
        node.ask(&["show", &id]).contains(why).then_some(())
    });
    // What leaves from elsewhere goes on, to the same domain too.
    for to in ["a@d.example", "a@c.example", "b@c.example"] {
        hand_in(&node, "", &format!("<{to}>"));
        assert_eq!(left_from(&sink, to), "one.example");
    }
    assert_eq!(sink.asked("acme-second@c.example"), 0);
}

#[test]
fn what_a_shaping_file_says_of_pools_is_checked() {
    let node = Node::idle("");
    let file = node.folder.path().join("shaping.toml");
    fs::write(&file, "[[provider]]\nname = 'p'\nmx = ['mx.example']\npool = 'acne'\n").unwrap();
    let config = node.folder.path().join("relay.toml");
    let more = format!("{POOLS}[shaping]\nfile = \"{}\"\n", text(&file));
    fs::write(&config, to_upstream("127.0.0.1:9", &more)).unwrap();
    let said = refusal(&run(&["check", "--config", text(&config)]));
    assert!(said.contains("[[provider]] p, line 1: there is no [[pool]] `acne`"), "{said}");
    let wrong = "[default]\npool = 'acme'\n";
    fs::write(&file, wrong).unwrap();
    let said = refusal(&run(&["shaping", "check", text(&file)]));
    assert!(said.contains("write it in a rule by hosts or domains alone"), "{said}");
}

#[test]
fn one_source_in_two_pools_carries_the_mail_of_both() {
    let sink = Sink::start();
    let mut node = Node::idle("");
    let file = node.folder.path().join("shaping.toml");
    fs::write(&file, "[default]\nconnections = 1\n").unwrap();
    let both = POOLS.replace("\"two*3\", \"127.0.0.4\"", "\"one\"");
    let more = format!("{both}[shaping]\nfile = \"{}\"\n", text(&file));
    node.configure(&to_upstream(&sink.address.to_string(), &more));
    node.run(2);
    for number in 0..60 {
        hand_in(&node, "acme", &format!("<acme{number}@b.example>"));
        send(node.listen[0], "<a@a.example>", &[&format!("<{number}@b.example>")], "x");
    }
    assert!(sink.wait(120).iter().all(|taken| taken.hello == "one.example"));
}
