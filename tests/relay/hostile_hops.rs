//! Next hops that mean harm: what they say is bounded, escaped, and answered by patience.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use relay_fast::base::limits::{
    RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, SPARE_BUFFER_BYTES, SPARE_BUFFERS,
};
use relay_fast::outcome::event::Kind;

use crate::client::send;
use crate::memory::peak_during;
use crate::node::{Node, to_upstream};

/// Said to every command from one place on: to none before the connection, EHLO, MAIL, RCPT, DATA
/// or to the content.
struct Hop {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

const STAGES: [&str; 6] = ["", "EHLO", "MAIL", "RCPT", "DATA", "."];

impl Hop {
    /// `say` is called with each connection that came to `stage`.
    fn at(stage: &'static str, say: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, say) = (connections.clone(), Arc::new(say));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::Relaxed);
                let say = say.clone();
                std::thread::spawn(move || talk(stream.unwrap(), stage, &*say));
            }
        });
        Self { address, connections }
    }
}

/// A server that is well until it comes to `stage`.
fn talk(mut stream: TcpStream, stage: &str, say: &dyn Fn(&mut TcpStream)) -> Option<()> {
    if stage.is_empty() {
        say(&mut stream);
    } else {
        stream.write_all(b"220 hop.example\r\n").ok()?;
    }
    let lines = BufReader::new(stream.try_clone().ok()?).split(b'\n');
    let mut in_content = false;
    for line in lines.map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if in_content && line != "." {
            continue;
        }
        let verb = line.split([' ', ':']).next().unwrap().to_owned();
        in_content = verb == "DATA" && stage != "DATA";
        if verb == stage || (stage == "EHLO" && verb == "HELO") || stage.is_empty() {
            say(&mut stream);
        } else if in_content {
            stream.write_all(b"354 Go on\r\n").ok()?;
        } else {
            stream.write_all(b"250 Ok\r\n").ok()?;
        }
    }
    Some(())
}

/// A relay of one shard that tries again after an hour, and a message that is in its hands.
fn relay(hop: &Hop) -> Node {
    let hour = "[queue]\nretry_first = \"1h\"\nretry_longest = \"1h\"\n";
    let mut node = Node::idle(&to_upstream(&hop.address.to_string(), hour));
    node.run(1);
    node
}

//= RFC 5321 §4.5.4.1, type=test
//# The sender MUST delay retrying a particular destination after one attempt has failed.
#[test]
fn temporary_refusals_in_every_place_wait_and_no_other_mail_hurries_them() {
    for stage in STAGES {
        for code in ["421", "451", "452"] {
            let reply = format!("{code} 4.3.0 Later\r\n");
            let hop = Hop::at(stage, move |stream| drop(stream.write_all(reply.as_bytes())));
            let node = relay(&hop);
            send(node.listen[0], "<a@a.example>", &["<b@b.example>"], "later");
            let events = node.wait_for_events(Kind::Deferred, 1);
            let event = events.iter().find(|event| event.kind == Kind::Deferred).unwrap();
            assert_eq!(event.attempt, 1);
            let due = event.next_attempt.expect("another attempt");
            assert!(due > event.time, "{stage} {code}");
            // Whatever else comes goes its way, and the first is not tried with it.
            send(node.listen[0], "<a@a.example>", &["<c@c.example>"], "other");
            let all = node.wait_for_events(Kind::Deferred, 2);
            let again = all.iter().filter(|event| event.attempt > 1).count();
            assert_eq!(again, 0, "{stage} {code}: {all:?}");
            let connections = hop.connections.load(Ordering::Relaxed);
            assert!(connections <= 4, "{stage} {code}: {connections} connections");
        }
    }
}

/// Say this again and again until the relay hangs up.
fn endless(block: Vec<u8>) -> impl Fn(&mut TcpStream) + Send + Sync {
    move |stream| while stream.write_all(&block).is_ok() {}
}

#[test]
fn replies_without_end_hold_little_and_wait_for_the_next_attempt() {
    // The buffers that all connections share.
    let bound =
        usize::from(RECEIVE_BUFFERS) * RECEIVE_BUFFER_BYTES + SPARE_BUFFERS * SPARE_BUFFER_BYTES;
    for stage in STAGES {
        let lines = "250-more\r\n".repeat(8 * 1024).into_bytes();
        for block in [lines, vec![b'2'; 1 << 20], vec![0; 1 << 16]] {
            let hop = Hop::at(stage, endless(block));
            let node = relay(&hop);
            let (peak, ()) = peak_during(&node, || {
                send(node.listen[0], "<a@a.example>", &["<b@b.example>"], "endless");
                node.wait_for_events(Kind::Deferred, 1);
            });
            assert!(peak <= bound as u64, "{stage}: {} KiB", peak / 1024);
            let connections = hop.connections.load(Ordering::Relaxed);
            assert!(connections <= 4, "{stage}: {connections} connections");
        }
    }
}

#[test]
fn what_a_reply_injects_stays_within_its_line() {
    const EVIL: &[u8] = b"550-5.1.1 no\x00such\x1b[31m\rX-Injected: yes\r\n\
        550 5.1.1 \"}\xff\xfe,{\"kind\":\"delivered\"}\x7f\x9b\r\n";
    let hop = Hop::at("RCPT", |stream| drop(stream.write_all(EVIL)));
    let node = relay(&hop);
    send(node.listen[0], "<a@a.example>", &["<b@b.example>"], "evil");
    crate::node::wait_for("an end", || {
        let ends = [Kind::Bounced, Kind::Deferred];
        node.events().iter().any(|event| ends.contains(&event.kind)).then_some(())
    });
    // Every line of the events is one event: they are parsed here. Only its lines part a reply.
    for event in node.events() {
        assert_ne!(event.kind, Kind::Delivered);
        assert!(event.reply.lines().count() <= 2, "{:?}", event.reply);
        assert!(!event.reply.contains(['\0', '\x1b', '\r', '\x7f', '\u{9b}']), "{:?}", event.reply);
    }
    for text in [node.log(), node.ask(&["list"])] {
        assert!(!text.contains(['\0', '\x1b', '\r', '\x7f', '\u{9b}']), "{text:?}");
    }
}
