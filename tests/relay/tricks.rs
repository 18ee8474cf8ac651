//! Strangers who try to send elsewhere by the form of an address: none of it leaves.

use crate::client::{Client, message};
use crate::node::{Node, to_upstream};
use crate::sink::Sink;

/// A relay for b.example, in front of strangers.
fn relay(sink: &Sink) -> Node {
    let domain = "[[relay_domain]]\ndomains = [\"b.example\"]\nupstream = \"smart\"\n";
    let config = to_upstream(&sink.address.to_string(), domain);
    let address = "address = \"127.0.0.1:0\"\n";
    let mut node = Node::idle(&config.replacen(address, &format!("{address}relay_for = []\n"), 1));
    node.run(1);
    node
}

const SENDERS: &[&str] = &[
    "<>",
    "<a@c.example>",
    "<a@b.example>",
    "<postmaster@node.example>",
    "<\"a@b.example\"@c.example>",
    "<a%b.example@b.example>",
    "<a@[127.0.0.1]>",
    "<@b.example:a@c.example>",
];

/// Would reach someone elsewhere, or this machine, if the relay took it.
const ELSEWHERE: &[&str] = &[
    "<victim@c.example>",
    "<@b.example:victim@c.example>",
    "<@b.example,@node.example:victim@c.example>",
    "<@[127.0.0.1]:victim@c.example>",
    "<victim%b.example@c.example>",
    "<b.example!victim@c.example>",
    "<\"victim@b.example\"@c.example>",
    "<victim@c.example@b.example>",
    "<victim@b.example@c.example>",
    "<victim@b.example,c.example>",
    "<victim@c.example#b.example>",
    "<victim@c.example(b.example)>",
    "<victim@[127.0.0.1]>",
    "<victim@[IPv6:::1]>",
    "<victim@[IPv6:::ffff:127.0.0.1]>",
    "<\"victim@c.example\"@[127.0.0.1]>",
    "<victim%c.example@[127.0.0.1]>",
    "<victim@node.example>",
    "<victim%c.example@node.example>",
    "<victim%c.example>",
    "<c.example!victim>",
    "<\"victim@c.example\">",
    "<victim>",
    "<>",
    "<victim@>",
    "<@c.example>",
    "<victim@sub.b.example>",
    "<victim@b.example.c.example>",
    "<victim@xb.example>",
    "<victim@localhost>",
    "<victim@127.0.0.1>",
];

/// A local part says nothing about a route: it goes to the servers of b.example as it came.
const LOCAL: &[&str] = &[
    "victim%c.example@b.example",
    "c.example!victim@b.example",
    "\"victim@c.example\"@b.example",
    "victim%c.example@B.EXAMPLE",
];

//= RFC 5321 §3.6.1, type=test
//# SMTP servers MAY decline to act as mail relays or to accept addresses that specify source
//# routes.
#[test]
fn no_form_of_address_makes_it_an_open_relay() {
    let sink = Sink::start();
    let node = relay(&sink);
    for from in SENDERS {
        for to in ELSEWHERE {
            let mut client = Client::connect(node.listen[0]);
            let code = client.say(&format!("MAIL FROM:{from}")).code;
            assert!([250, 501, 550, 553].contains(&code), "{code} to {from}");
            let said = client.say(&format!("RCPT TO:{to}"));
            let is_refused = (500..600).contains(&said.code);
            assert!(is_refused, "from {from} to {to}: {said:?}");
            assert!((500..600).contains(&client.say("DATA").code), "{from} {to}");
        }
    }
    let mut client = Client::connect(node.listen[0]);
    for to in LOCAL {
        client.send("<a@c.example>", &[&format!("<{to}>")], &message("local"));
    }
    let taken = sink.wait(LOCAL.len());
    for to in LOCAL {
        let ours = to.replace("B.EXAMPLE", "b.example");
        assert!(taken.iter().any(|one| one.is_for(to) || one.is_for(&ours)), "{to}: {taken:?}");
    }
    assert_eq!(taken.len(), LOCAL.len(), "{taken:?}");
    let received = node.metric("relay_fast_messages_received_total");
    assert_eq!(received, LOCAL.len() as f64, "nothing else was taken");
}
