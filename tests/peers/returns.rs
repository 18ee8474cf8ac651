//! What Postfix sends back later, and what verifiers make of where complaints are to go.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::mail::transaction;
use super::network::Network;
use super::node::Node;
use super::postfix::Postfix;
use super::process::until;
use super::python::{self, talk};
use super::signing::keygen;
use super::sink::{ALL, Sink};
use super::verifiers::{Records, Verdicts, ask_dkimpy, dkimpy};

/// `[bounces]` of a relay, with a file of secrets in `folder`.
fn bounces(folder: &Path) -> String {
    let path = folder.join("secrets");
    std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    format!(
        "[bounces]\naddress = \"bounces@back.example\"\nsecrets = \"{}\"\n\
         [complaints]\naddresses = [\"fbl@back.example\"]\ncfbl = \"yes\"\n",
        path.display()
    )
}

/// The events of what came back, once there are so many.
fn returned(node: &Node<'_>, count: usize) -> Vec<Value> {
    until(&format!("{count} that came back"), || {
        let mut events = node.events();
        events.retain(|event| event.get("returned").is_some());
        (events.len() >= count).then_some(events)
    })
}

/// Postfix takes all of it, and learns only from the next hop that there is nobody: us, where
/// nobody may relay.
#[test]
fn what_postfix_bounces_later_comes_back_to_its_message() {
    if !python::is_here() {
        return;
    }
    let Some(network) = Network::own() else { return };
    let settings = "transport_maps = inline:{ \
        { gone.example = smtp:[127.0.0.1]:2526 }, { back.example = smtp:[127.0.0.1]:2526 } }";
    let Some(_postfix) = Postfix::start(&network, settings) else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "default_route = \"postfix\"\n[[listener]]\naddress = \"127.0.0.1:2525\"\n\
         [[listener]]\naddress = \"127.0.0.1:2526\"\nrelay_for = []\n\
         [[upstream]]\nname = \"postfix\"\nhosts = \"127.0.0.1:25\"\n{}",
        bounces(folder.path())
    );
    let node = Node::start(&network, &config);
    let mut steps = vec![json!(["ehlo", "client.example"])];
    let content = "From: news@shop.example\r\nTo: user@gone.example\r\n\
        Message-ID: <offer-1@shop.example>\r\nSubject: news\r\n\r\nNews.\r\n";
    steps.extend(transaction("news@shop.example", &["user@gone.example"], &[], content));
    steps.push(json!(["mail", "news@shop.example", []]));
    steps.push(json!(["rcpt", "user@mail.example", ["NOTIFY=SUCCESS,FAILURE"]]));
    steps.push(json!(["data", content]));
    let replies = talk(&network, node.listener(0), &steps);
    assert_eq!(replies.last().unwrap().status(), (250, "2.0.0"), "{replies:?}");

    let events = returned(&node, 2);
    let original = |recipient: &str| node.wait_for_event("delivered", recipient)["id"].clone();
    let bounced = events.iter().find(|event| event["kind"] == "bounced-later").unwrap();
    assert_eq!(bounced["recipient"], "user@gone.example", "{bounced}");
    assert_eq!((&bounced["code"], &bounced["status"]), (&json!(550), &json!("5.7.1")));
    assert_eq!(bounced["class"], "routing", "{bounced}");
    let returned = json!({
        "what": "bounced", "form": "dsn", "original": original("user@gone.example"),
        "vouched": "recipient", "message_id": "<offer-1@shop.example>",
    });
    assert_eq!(bounced["returned"], returned);
    let success = events.iter().find(|event| event["kind"] == "returned").unwrap();
    assert_eq!(success["recipient"], "user@mail.example", "{success}");
    assert_eq!(success["returned"]["what"], "delivered", "{success}");
    assert_eq!(success["returned"]["original"], original("user@mail.example"));
}

/// RFC 9477 §3.1.4: both fields are in `h=`, so that nobody can put others in their place.
#[test]
fn where_complaints_go_is_signed_and_verifies() {
    let Some(python) = dkimpy() else { return };
    let sink = Sink::start(&Network::Shared, &ALL);
    let folder = tempfile::tempdir().unwrap();
    let mut records = Records::new();
    let key = keygen(folder.path(), &["sender.example", "--selector", "s"], &mut records);
    let config = format!(
        "default_route = \"sink\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"sink\"\nhosts = \"{}\"\n{key}{}",
        sink.address(),
        bounces(folder.path())
    );
    let node = Node::start(&Network::Shared, &config);
    let content = "From: news@sender.example\r\nSubject: news\r\n\r\nNews.\r\n";
    let mut steps = vec![json!(["ehlo", "client.example"])];
    steps.extend(transaction("news@sender.example", &["r@there.example"], &[], content));
    let replies = talk(&Network::Shared, node.listener(0), &steps);
    assert_eq!(replies[3].status(), (250, "2.0.0"), "{replies:?}");
    let message = sink.wait_for("r@there.example").content();
    let text = String::from_utf8(message.clone()).unwrap();
    assert!(text.contains("CFBL-Address: fbl@back.example; report=arf\r\n"), "{text}");
    let right: Verdicts = [("s".into(), String::new())].into_iter().collect();
    assert_eq!(ask_dkimpy(python, &records, &message), right, "{text}");
    for (found, instead) in
        [("fbl@back", "fbl@evil"), ("CFBL-Feedback-ID: e", "CFBL-Feedback-ID: f")]
    {
        assert!(text.contains(found), "{text}");
        let said = ask_dkimpy(python, &records, text.replace(found, instead).as_bytes());
        assert!(said.iter().all(|(_, wrong)| !wrong.is_empty()), "{said:?}");
    }
}
