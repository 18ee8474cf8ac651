//! `relay-fast queue reroute`, `rebind` and `diverted`: mail goes another way while it runs.

use relay_fast::outcome::event::Kind;
use rustix::process::Signal;
use serde_json::Value;

use crate::client::Client;
use crate::node::{Node, refusal, to_upstream, wait_for};
use crate::sink::Sink;

fn send(node: &Node, tenant: &str, to: &str) {
    let content = format!("X-Tenant: {tenant}\r\nX-Campaign: news\r\nSubject: x\r\n\r\nx\r\n");
    Client::connect(node.listen[0]).send("<a@a.example>", &[&format!("<{to}>")], &content);
}

fn get(node: &Node) -> Value {
    let (head, body) = node.get("/v1/diversions");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}\n{body}");
    serde_json::from_str(&body).unwrap()
}

/// A sink for each group; the usual one refuses, for now, or is dead.
fn configuration(usual: &Sink, other: &Sink) -> String {
    let more = format!(
        "[queue]\nretry_first = \"1h\"\n[senders]\nfields = \"remove\"\n\
        [[upstream]]\nname = \"other\"\nhosts = \"{}\"\n\
        [[source]]\nname = \"one\"\naddress = \"127.0.0.1\"\n\
        [[source]]\nname = \"two\"\naddress = \"127.0.0.2\"\n\
        [[pool]]\nname = \"first\"\nsources = [\"one\"]\n\
        [[pool]]\nname = \"second\"\nsources = [\"two\"]\n\
        [[tenant]]\nname = \"acme\"\npool = \"first\"\n",
        other.address
    );
    to_upstream(&usual.address.to_string(), &more)
}

#[test]
fn what_waits_and_what_comes_goes_the_other_way_until_it_is_undone() {
    let usual = Sink::by(|_, _| "450 4.2.1 Later".to_owned());
    let other = Sink::start();
    let mut node = Node::start(&configuration(&usual, &other));
    assert_eq!(node.ask(&["diverted"]), "nothing is diverted\n");
    for to in ["a@b.example", "c@d.example"] {
        send(&node, "acme", to);
    }
    wait_for("both are deferred", || (node.stat("deferred") == 2).then_some(()));
    let done = node.ask(&["reroute", "--domain", "b.example", "--to", "other"]);
    assert_eq!(done, "mail to b.example goes to other; 1 that were deferred are tried now\n");
    other.wait_for_mail_to("a@b.example");
    let again = node.ask(&["reroute", "--domain", "b.example", "--to", "other"]);
    assert_eq!(again, "mail to b.example goes to other already\n");
    assert_eq!(node.stat("deferred"), 1, "the other domain waits");

    // Over a restart, what comes in goes there too; nobody else's.
    node.kill();
    node.run(1);
    send(&node, "globex", "later@b.example");
    other.wait_for_mail_to("later@b.example");
    let row = &get(&node)[0];
    assert_eq!(
        (&row["domain"], &row["to"], &row["pool"]),
        (&"b.example".into(), &"other".into(), &Value::Null)
    );
    assert_eq!(row["void"], Value::from([(); 0]));
    assert!(node.ask(&["diverted"]).starts_with("mail to b.example goes to other, since 2"));
    assert!(!other.taken().iter().any(|mail| mail.is_for("c@d.example")));

    // A campaign goes before a domain, and back is back.
    let campaign = ["--tenant", "acme", "--campaign", "news"];
    node.ask(&[&["reroute"], &campaign[..], &["--to", "smart"]].concat());
    send(&node, "acme", "kept@b.example");
    wait_for("it is deferred there", || (node.stat("deferred") == 2).then_some(()));
    let back = node.ask(&[&["reroute"], &campaign[..], &["--back"]].concat());
    let words = "campaign news of acme goes where the configuration says; 2 that were deferred";
    assert!(back.starts_with(words), "{back}");
    other.wait_for_mail_to("kept@b.example");

    // A group that a reload takes away counts for nothing.
    let base = configuration(&usual, &other);
    usual.change(|_, _| "250 2.1.5 Ok".to_owned());
    node.configure(&base.replace("name = \"other\"", "name = \"another\""));
    node.signal(Signal::HUP);
    node.wait_for_log("reloaded");
    send(&node, "globex", "usual@b.example");
    usual.wait_for_mail_to("usual@b.example");
    assert_eq!(get(&node)[0]["void"], Value::from(["other"]));
    node.ask(&["reroute", "--domain", "b.example", "--back"]);
    assert_eq!(node.ask(&["diverted"]), "nothing is diverted\n");
}

#[test]
fn what_a_dead_relay_keeps_in_line_is_not_lost_on_it() {
    let (mut dead, other) = (Sink::start(), Sink::start());
    dead.stop();
    let node = Node::start(&configuration(&dead, &other));
    let to: Vec<String> = (0..20).map(|n| format!("r{n}@b.example")).collect();
    to.iter().for_each(|to| send(&node, "acme", to));
    node.ask(&["reroute", "--tenant", "acme", "--to", "other"]);
    to.iter().for_each(|to| drop(other.wait_for_mail_to(to)));
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
}

#[test]
fn mail_leaves_from_the_pool_that_an_operator_chose() {
    let (usual, other) = (Sink::start(), Sink::start());
    let node = Node::start(&configuration(&usual, &other));
    send(&node, "acme", "one@b.example");
    usual.wait_for_mail_to("one@b.example");
    let rebind = |words: &[&str]| node.ask(&[&["rebind", "--tenant", "acme"], words].concat());
    assert_eq!(
        rebind(&["--to", "second"]),
        "mail of acme leaves from second; 0 that were deferred are tried now\n"
    );
    send(&node, "acme", "two@b.example");
    usual.wait_for_mail_to("two@b.example");
    rebind(&["--back"]);
    send(&node, "acme", "three@b.example");
    let events = node.wait_for_events(Kind::Delivered, 3);
    let from = |to: &str| {
        let of = |event: &&relay_fast::outcome::event::Event<'_>| {
            event.kind == Kind::Delivered && event.recipient.contains(to)
        };
        events.iter().find(of).expect("delivered").source.to_string()
    };
    assert_eq!(from("one@"), from("three@"));
    assert_ne!(from("one@"), from("two@"));
    for (words, why) in [
        (
            &["reroute", "--domain", "b.example", "--to", "nowhere"][..],
            "there is no upstream group",
        ),
        (&["rebind", "--tenant", "acme", "--to", "third"], "there is no pool `third`; there is "),
        (&["reroute", "--to", "other"], "required arguments"),
        (&["reroute", "--campaign", "news", "--to", "other"], "--tenant"),
        (&["rebind", "--tenant", "acme"], "--to"),
    ] {
        let refused = refusal(&node.queue(words));
        assert!(refused.contains(why), "{refused}");
    }
}
