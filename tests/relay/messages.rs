//! `relay-fast messages` and `/v1/messages`: what is known of somebody's messages.

use relay_fast::outcome::event::Kind;
use serde_json::Value;

use crate::client::send;
use crate::node::{Node, SOON, printed, refusal, run, to_upstream};
use crate::sink::Sink;

/// What `relay-fast messages` prints.
fn messages(node: &Node, words: &[&str]) -> String {
    let admin = node.admin.to_string();
    printed(&run(&[&["messages"], words, &["--admin", &admin]].concat()))
}

#[test]
fn a_life_is_told_while_it_lasts_and_after_it() {
    let sink = Sink::by(|to, _| match to {
        "later@b.example" => "451 4.2.0 Come again".to_owned(),
        _ => "250 2.1.5 Ok".to_owned(),
    });
    let node = Node::start(&to_upstream(&sink.address.to_string(), SOON));
    let to = ["<now@b.example>", "<later@b.example>"];
    send(node.listen[0], "<a@a.example>", &to, "both");
    send(node.listen[0], "<a@a.example>", &["<other@c.example>"], "another");
    let events = node.wait_for_events(Kind::Deferred, 1);
    node.wait_for_events(Kind::Delivered, 2);
    let id = events.iter().find(|event| event.kind == Kind::Deferred).unwrap().id.to_string();

    let waits = messages(&node, &["--recipient", "Later@B.example"]);
    assert!(waits.starts_with(&format!("{id} from <a@a.example>")), "{waits}");
    assert!(waits.contains("451 4.2.0 Come again") && !waits.contains("now@b.example"), "{waits}");
    let first = waits.find("received").expect("it came in");
    assert!(waits.find(" deferred ").is_some_and(|then| first < then), "{waits}");
    let done = messages(&node, &["--recipient", "now@b.example"]);
    assert!(done.contains("delivered") && !done.contains("waits for"), "{done}");
    let whole = messages(&node, &["--id", &id, "--from", "1h"]);
    assert!(
        to.iter().all(|to| whole.contains(to)) && !whole.contains("other@c.example"),
        "{whole}"
    );
    assert_eq!(messages(&node, &["--recipient", "x@b.example"]), NOTHING);
    assert_eq!(messages(&node, &["--tenant", "acme"]), NOTHING);

    let (head, body) = node.get("/v1/messages?recipient=later@b.example&limit=1");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let found: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(found["queued"][0]["id"], *id, "{body}");
    assert_eq!(found["queued"][0]["recipients"].as_array().unwrap().len(), 1, "{body}");
    assert!(found["events"].as_array().unwrap().len() >= 2, "{body}");
    let of_none = node.get("/v1/messages?recipient=later@b.example&from=2020-01-01T00:00:00Z").1;
    assert!(of_none.contains("\"more_events\":false"), "{of_none}");
    for wrong in [
        "",
        "?limit=3",
        "?recipient=none",
        "?id=x",
        "?recipient=a%22b@c.example",
        "?id=0000020000000&from=soon",
    ] {
        let (head, body) = node.get(&format!("/v1/messages{wrong}"));
        assert!(head.starts_with("HTTP/1.1 400 "), "{wrong}: {head} {body}");
    }
    let admin = node.admin.to_string();
    let told = refusal(&run(&["messages", "--admin", &admin]));
    assert!(told.contains("name an id, a recipient, a tenant or a campaign"), "{told}");
}

const NOTHING: &str = "nothing is known of such a message\n";
