//! The relay's own checks come before anyone is asked about a message; strangers come so often.

use std::net::IpAddr;

use crate::client::{Client, message};
use crate::node::{Node, free_port, to_upstream};
use crate::sink::Sink;

/// A milter that cannot be reached would have each message deferred.
#[test]
fn what_the_relay_refuses_by_itself_no_milter_is_asked_about() {
    let sink = Sink::start();
    let milter = format!(
        "[[milter]]\nname = \"gone\"\naddress = \"127.0.0.1:{}\"\nlisteners = [\"127.0.0.1:0\"]\n",
        free_port()
    );
    let config = to_upstream(&sink.address.to_string(), &milter);
    let address = "address = \"127.0.0.1:0\"\n";
    let node =
        Node::start(&config.replacen(address, &format!("{address}checks = \"reject\"\n"), 1));
    let mut client = Client::connect(node.listen[0]);
    for (content, code) in [(message("no date"), 550), (message("x\r\nDate: now"), 451)] {
        assert_eq!(client.envelope("<a@a.example>", &["<b@b.example>"]), [250, 250]);
        let reply = client.content(&content).unwrap();
        assert_eq!(reply.code, code, "{reply:?}");
    }
    assert_eq!(node.metric("relay_fast_checks_failed_total{check=\"form\"}"), 1.0);
    assert_eq!(node.metric("relay_fast_filtered_total{outcome=\"failed\"}"), 1.0);
    assert!(sink.taken().is_empty());
}

/// A relay with one shard, for strangers but one address.
fn for_strangers(sink: &Sink, limits: &str) -> Node {
    let domain = "[[relay_domain]]\ndomains = [\"b.example\"]\nupstream = \"smart\"\n";
    let config = to_upstream(&sink.address.to_string(), &format!("{domain}[limits]\n{limits}"));
    let address = "address = \"127.0.0.1:0\"\n";
    let trusted =
        format!("{address}relay_for = [\"127.0.0.66\"]\nxclient_from = [\"127.0.0.77\"]\n");
    let mut node = Node::idle(&config.replacen(address, &trusted, 1));
    node.run(1);
    node
}

#[test]
fn strangers_that_connect_too_often_are_turned_away_and_nobody_else_is() {
    let sink = Sink::start();
    let node = for_strangers(&sink, "connection_rate = \"3/h\"\n");
    let from = |last: u8| IpAddr::from([127, 0, 0, last]);
    for _ in 0..3 {
        Client::connect(node.listen[0]).say("QUIT");
    }
    let greeting = Client::greeting(node.listen[0]);
    assert_eq!((greeting.code, greeting.text.split(' ').next()), (421, Some("4.7.0")));
    assert!(greeting.text.ends_with("Too many connections from your address, try again later"));
    Client::connect_from(from(9), node.listen[0]).say("QUIT");
    for _ in 0..5 {
        Client::connect_from(from(66), node.listen[0]).say("QUIT");
    }
    assert_eq!(node.metric("relay_fast_rate_limited_total{of=\"connections\"}"), 1.0);
    assert_eq!(node.metric("relay_fast_sessions_refused_total"), 1.0);
    // Behind a proxy it is the client that counts.
    let named = |address: &str| {
        let mut proxy = Client::connect_from(from(77), node.listen[0]);
        proxy.say(&format!("XCLIENT ADDR={address}")).code
    };
    let codes: Vec<_> = (0..4).map(|_| named("192.0.2.1")).collect();
    assert_eq!((codes, named("192.0.2.2")), (vec![220, 220, 220, 421], 220));
}

#[test]
fn strangers_that_send_too_often_are_put_off_and_nobody_else_is() {
    let sink = Sink::start();
    let node = for_strangers(&sink, "message_rate = \"2/h\"\n");
    let mut client = Client::connect(node.listen[0]);
    for _ in 0..2 {
        client.send("<a@a.example>", &["<b@b.example>"], &message("one of two"));
    }
    let reply = client.say("MAIL FROM:<a@a.example>");
    assert_eq!((reply.code, reply.text.split(' ').next()), (451, Some("4.7.1")), "{reply:?}");
    let mut trusted = Client::connect_from(IpAddr::from([127, 0, 0, 66]), node.listen[0]);
    for _ in 0..5 {
        trusted.send("<a@a.example>", &["<b@c.example>"], &message("one of many"));
    }
    assert_eq!(sink.wait(7).len(), 7);
    assert_eq!(node.metric("relay_fast_rate_limited_total{of=\"messages\"}"), 1.0);
}
