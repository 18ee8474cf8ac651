//! Who connects through a proxy is who the proxy says, for every rule; who has none is nobody.

use rustix::process::Signal;

use crate::client::{Client, message};
use crate::node::{Node, refusal, to_upstream, wait_for};
use crate::sink::{Sink, Taken};

/// A configuration with a listener that relays for this address alone, and has these knobs.
fn config(sink: &Sink, relay_for: &str, listener: &str, more: &str) -> String {
    let config = to_upstream(&sink.address.to_string(), more);
    let address = "address = \"127.0.0.1:0\"\n";
    let listener = format!("{address}relay_for = [{relay_for:?}]\n{listener}\n");
    config.replace(address, &listener)
}

/// A relay for 192.0.2.7, with one shard, so that one counts all sessions.
fn node_with(sink: &Sink, listener: &str, more: &str) -> Node {
    let mut node = Node::idle(&config(sink, "192.0.2.7", listener, more));
    node.run(1);
    node
}

const PROXY: &str = "proxy_from = [\"127.0.0.1\"]";
const XCLIENT: &str = "xclient_from = [\"127.0.0.1\"]";

/// A client behind a proxy that says this, past its greeting and EHLO.
fn behind(node: &Node, header: &[u8]) -> Client {
    let mut client = Client::unread(node.listen[0]);
    client.write(header);
    assert_eq!(client.reply().code, 220);
    assert_eq!(client.say("EHLO client.example").code, 250);
    client
}

fn v1(address: &str) -> Vec<u8> {
    format!("PROXY TCP4 {address} 198.51.100.1 1234 25\r\n").into_bytes()
}

fn received(taken: &Taken) -> &str {
    taken.content.split("\r\n\tby ").next().unwrap()
}

#[test]
fn a_client_behind_a_proxy_is_who_the_header_names() {
    let sink = Sink::start();
    let node = node_with(&sink, PROXY, "");
    let mut friend = behind(&node, &v1("192.0.2.7"));
    friend.send("<a@a.example>", &["<b@b.example>"], &message("from a friend"));
    let mut stranger = behind(&node, &v1("192.0.2.8"));
    assert_eq!(stranger.envelope("<a@a.example>", &["<b@b.example>"]), [250, 550]);
    let taken = sink.wait(1);
    assert_eq!(received(&taken[0]), "Received: from client.example ([192.0.2.7])");
}

#[test]
fn a_header_comes_in_pieces_and_with_what_follows() {
    let sink = Sink::start();
    let node = node_with(&sink, PROXY, "");
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xc0\0\x02\x07\xc6\x33\x64\x01\
        \x04\xd2\0\x19\x04\0\x04skip";
    let mut client = Client::unread(node.listen[0]);
    for octet in v2 {
        client.write([*octet]);
    }
    assert_eq!(client.reply().code, 220);
    // A client that does not wait for its greeting, as one that is no spammer would.
    let mut hasty = Client::unread(node.listen[0]);
    hasty.write([&v2[..], b"EHLO client.example\r\nMAIL FROM:<a@a.example>\r\n"].concat());
    let codes: Vec<_> = (0..3).map(|_| hasty.reply().code).collect();
    assert_eq!(codes, [220, 250, 250]);
    assert_eq!(hasty.say("RCPT TO:<b@b.example>").code, 250, "192.0.2.7 may relay");
}

#[test]
fn what_the_proxy_does_for_itself_is_its_own() {
    let sink = Sink::start();
    let node = node_with(&sink, PROXY, "");
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut health = behind(&node, header);
        let codes = health.envelope("<a@a.example>", &["<b@b.example>"]);
        assert_eq!(codes, [250, 550], "127.0.0.1 may not relay here");
    }
}

#[test]
fn a_proxy_without_a_header_is_told_nothing() {
    let sink = Sink::start();
    let node = node_with(&sink, PROXY, "");
    let mut silent = Client::unread(node.listen[0]);
    for start in
        ["EHLO client.example\r\n", "PROXY TCP5 1\r\n", "\r\n\r\n\0\r\nQUIT\r\n", "\x16\x03"]
    {
        let mut client = Client::unread(node.listen[0]);
        client.write(start);
        assert!(client.try_reply().is_none(), "{start:?}");
    }
    assert!(silent.try_reply().is_none(), "its time is over");
    assert_eq!(node.metric("relay_fast_proxies_refused_total"), 5.0);
    assert_eq!(node.metric("relay_fast_sessions_total"), 0.0);
}

#[test]
fn sessions_are_counted_for_the_client_not_for_the_proxy() {
    let sink = Sink::start();
    for (knob, header) in [(PROXY, ""), (XCLIENT, "XCLIENT ADDR=")] {
        let node = node_with(&sink, knob, "[limits]\nsessions_per_address = 2\n");
        let connect = |address: &str| {
            let mut client = Client::unread(node.listen[0]);
            if header.is_empty() {
                client.write(v1(address));
            } else {
                assert_eq!(client.reply().code, 220);
                client.write(format!("{header}{address}\r\n"));
            }
            let code = client.reply().code;
            (client, code)
        };
        let open: Vec<_> = (1..=4).map(|n| connect(&format!("192.0.2.{n}"))).collect();
        assert!(open.iter().all(|(_, code)| *code == 220), "{knob}");
        let (_second, code) = connect("192.0.2.1");
        assert_eq!(code, 220, "{knob}");
        let (mut third, code) = connect("192.0.2.1");
        assert_eq!(code, 421, "{knob}");
        assert!(third.try_reply().is_none());
        drop((open, third));
        // Nobody is counted twice, or for ever.
        wait_for("their end", || (node.metric("relay_fast_sessions") == 1.0).then_some(()));
        assert_eq!(connect("192.0.2.1").1, 220, "{knob}");
    }
}

#[test]
fn xclient_is_for_those_who_are_listed() {
    let sink = Sink::start();
    let node = node_with(&sink, XCLIENT, "");
    let mut proxy = Client::connect(node.listen[0]);
    assert!(proxy.say("EHLO p.example").text.contains("\nXCLIENT NAME ADDR "));
    let said = "XCLIENT ADDR=192.0.2.7 PORT=99 HELO=c.example PROTO=SMTP";
    assert_eq!(proxy.say(said).code, 220);
    assert_eq!(proxy.say("EHLO p.example").code, 250);
    proxy.send("<a@a.example>", &["<b@b.example>"], &message("by xclient"));
    let taken = sink.wait(1);
    assert_eq!(received(&taken[0]), "Received: from c.example ([192.0.2.7])");
    assert!(taken[0].content.contains("\r\n\tby node.example with SMTP id "));
    // A client of whom nothing is known has none of the proxy's rights.
    let mut node = Node::idle(&config(&sink, "127.0.0.1", XCLIENT, ""));
    node.run(1);
    let mut proxy = Client::connect(node.listen[0]);
    assert_eq!(proxy.say("XCLIENT ADDR=[UNAVAILABLE]").code, 220);
    assert_eq!(proxy.say("EHLO p.example").code, 250);
    assert_eq!(proxy.envelope("<a@a.example>", &["<b@b.example>"]), [250, 550]);
    let node = node_with(&sink, "", "");
    let mut stranger = Client::connect(node.listen[0]);
    assert_eq!(stranger.say("XCLIENT ADDR=192.0.2.7").code, 550);
}

#[test]
fn a_login_that_the_proxy_vouches_for_is_one_of_the_file() {
    let sink = Sink::start();
    let node = node_with(&sink, XCLIENT, "");
    let mut proxy = Client::connect(node.listen[0]);
    assert_eq!(proxy.say("XCLIENT ADDR=192.0.2.8 LOGIN=nobody").code, 220);
    assert_eq!(proxy.say("EHLO p.example").code, 250);
    assert_eq!(proxy.say("MAIL FROM:<a@a.example>").code, 421, "no such name");
}

#[test]
fn many_xclients_at_once_are_each_answered() {
    let sink = Sink::start();
    let node = node_with(&sink, XCLIENT, "");
    let mut proxy = Client::unread(node.listen[0]);
    let count = 1_000;
    proxy.write("XCLIENT PORT=1\r\n".repeat(count) + "XCLIENT ADDR=192.0.2.7\r\n");
    let codes: Vec<_> = (0..count + 2).map(|_| proxy.reply().code).collect();
    assert!(codes.iter().all(|code| *code == 220));
    assert_eq!(proxy.say("EHLO p.example").code, 250);
    assert_eq!(proxy.envelope("<a@a.example>", &["<b@b.example>"]), [250, 250]);
}

#[test]
fn whom_to_believe_changes_with_a_reload_and_a_drain_waits_for_no_header() {
    let sink = Sink::start();
    let mut node = node_with(&sink, "", "");
    let mut before = Client::unread(node.listen[0]);
    assert_eq!(before.reply().code, 220);
    node.configure(&config(&sink, "192.0.2.7", PROXY, ""));
    node.signal(Signal::HUP);
    wait_for("the reload", || {
        let mut client = Client::unread(node.listen[0]);
        client.write(v1("192.0.2.7"));
        assert_eq!(client.reply().code, 220);
        (client.say("EHLO client.example").code == 250).then_some(())
    });
    assert_eq!(before.say("NOOP").code, 250, "who was there before stays");
    drop(before);
    let mut silent = Client::unread(node.listen[0]);
    node.drain();
    assert!(silent.try_reply().is_none());
}

#[test]
fn everyone_is_not_a_proxy() {
    for knob in ["proxy_from", "xclient_from"] {
        let node = Node::idle(&format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n{knob} = [\"0.0.0.0/0\"]\n"
        ));
        let said = refusal(&node.command(1).arg("check").output().unwrap());
        assert!(said.contains("everyone could say to be anyone"), "{said}");
    }
}

/// An IPv6 client has a /64 at least: whoever comes from all of it comes from one address.
#[test]
fn a_flood_from_one_ipv6_network_is_one_clients_and_others_go_on() {
    const EACH: usize = 5;
    let sink = Sink::start();
    let limits = format!("[limits]\nsessions = 100\nsessions_per_address = {EACH}\n");
    let node = node_with(&sink, PROXY, &limits);
    let connect = |address: &str| {
        let mut client = Client::unread(node.listen[0]);
        client.write(format!("PROXY TCP6 {address} 2001:db8::25 1234 25\r\n"));
        let code = client.reply().code;
        (code == 220).then_some(client)
    };
    let old = connect("2001:db8:1:3::1");
    let held: Vec<Client> = (0..300_u32)
        .filter_map(|number| {
            let (high, low) = (number.wrapping_mul(0x9e37) & 0xffff, number);
            connect(&format!("2001:db8:1:2:{high:x}:{low:x}::{high:x}"))
        })
        .collect();
    assert_eq!(held.len(), EACH, "all of them are 2001:db8:1:2::/64");
    assert!((node.metric("relay_fast_sessions_refused_total") - 295.0).abs() < 0.5);
    let mut old = old.expect("the first of its network");
    assert_eq!(old.say("EHLO client.example").code, 250);
    assert!(connect("2001:db8:1:3::2").is_some(), "its neighbours have their own");
    assert!(connect("2001:db8:1:1:ffff:ffff:ffff:ffff").is_some());
    drop(held);
    wait_for("room for the flooded network", || connect("2001:db8:1:2::1"));
}
