//! Strangers who want to be expensive: each flood costs the relay no more memory than its limits
//! say, and whoever was there before is served meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::certificates::Authority;
use crate::client::{Client, message};
use crate::memory::{KIB, MIB, peak_during};
use crate::node::{Node, to_upstream};
use crate::sink::Sink;

/// What a session may take beside its content: its buffers in and out, a handshake, a line.
const SESSION: u64 = 64 * KIB as u64;
/// What the process takes for anything at all: rings, arenas, a segment's buffers.
const FIXED: u64 = 24 * MIB;

/// One shard in front of a sink, with more in its listener's section and behind it.
fn node(sink: &Sink, listener: &str, more: &str) -> Node {
    let config = to_upstream(&sink.address.to_string(), more);
    let address = "address = \"127.0.0.1:0\"\n";
    let mut node = Node::idle(&config.replace(address, &format!("{address}{listener}\n")));
    node.run(1);
    node
}

/// A connection past its greeting.
fn greeted(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut octets = Vec::new();
    while !octets.ends_with(b"\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).unwrap();
        octets.push(octet[0]);
    }
    assert!(octets.starts_with(b"220 "), "{}", String::from_utf8_lossy(&octets));
    stream
}

/// Send what the peer takes of it; it may read no further, or hang up.
fn press(stream: &mut TcpStream, octets: &[u8]) {
    let _left = stream.write_all(octets).is_err();
}

fn assert_within(what: &str, peak: u64, bound: u64) {
    println!("{what}: {} KiB above an idle relay's, of {}", peak / 1024, bound / 1024);
    assert!(peak <= bound, "{what}: {} MiB above an idle relay's", peak / MIB);
}

/// The one who was there before can send a message.
fn assert_served(sink: &Sink, old: &mut Client, subject: &str) {
    old.send("<a@a.example>", &["<b@b.example>"], &message(subject));
    let mails = sink.wait_for_mail_to("b@b.example");
    assert!(!mails.content.is_empty(), "{subject}");
}

//= RFC 5246 §6.2.1, type=test
//# The length MUST NOT exceed 2^14.
#[test]
fn handshakes_that_stop_in_the_middle_take_a_sessions_memory_and_no_more() {
    const SESSIONS: u64 = 500;
    let authority = Authority::new("an authority");
    authority.write("mx", &["mx.example"]);
    let sink = Sink::start();
    let limits = format!("[limits]\nsessions = {SESSIONS}\n{}", authority.section("mx"));
    let node = node(&sink, "tls = \"starttls\"", &limits);
    let mut old = Client::connect(node.listen[0]);
    // A record of a handshake as long as one may be, of which the last octets never come.
    let mut hello = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3];
    hello.resize(5 + 16_384 - 8, 0x5a);
    let (peak, open) = peak_during(&node, || {
        let shake = |_| {
            let mut client = Client::connect(node.listen[0]);
            assert_eq!(client.say("STARTTLS").code, 220);
            client.write(&hello);
            client
        };
        let open: Vec<Client> = (1..SESSIONS).map(shake).collect();
        let refused = Client::greeting(node.listen[0]);
        assert_eq!(refused.code, 421, "{refused:?}");
        assert_served(&sink, &mut old, "amid handshakes");
        open
    });
    assert_within("half-open TLS", peak, FIXED + SESSIONS * SESSION);
    drop(open);
}

#[test]
fn who_reads_no_replies_is_not_read_any_further() {
    const SESSIONS: usize = 100;
    let sink = Sink::start();
    let node = node(&sink, "", "");
    let mut old = Client::connect(node.listen[0]);
    let burst = b"NOOP\r\nRSET\r\nEHLO x.example\r\nHELP\r\n".repeat(2_000);
    let (peak, open) = peak_during(&node, || {
        let mut open: Vec<TcpStream> = (0..SESSIONS).map(|_| greeted(node.listen[0])).collect();
        for stream in &mut open {
            stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        }
        // Until the kernel takes no more: nobody reads at the other end.
        for _ in 0..8 {
            open.iter_mut().for_each(|stream| press(stream, &burst));
        }
        assert_served(&sink, &mut old, "amid those who read nothing");
        open
    });
    assert_within("replies that nobody reads", peak, FIXED + SESSIONS as u64 * SESSION);
    drop(open);
}

//= RFC 5321 §4.5.3.1.4, type=test
//# The maximum total length of a command line including the command word and the <CRLF> is 512
//# octets.
#[test]
fn lines_without_an_end_are_not_kept() {
    const SESSIONS: usize = 200;
    let sink = Sink::start();
    let node = node(&sink, "", "");
    let mut old = Client::connect(node.listen[0]);
    let line = vec![b'x'; 256 * KIB];
    let (peak, codes) = peak_during(&node, || {
        let mut open: Vec<TcpStream> = (0..SESSIONS).map(|_| greeted(node.listen[0])).collect();
        open.iter_mut().for_each(|stream| press(stream, &line));
        assert_served(&sink, &mut old, "amid endless lines");
        let code = |mut stream: TcpStream| {
            let mut reply = [0; 3];
            stream.read_exact(&mut reply).map(|()| reply)
        };
        open.into_iter().map(code).collect::<Vec<_>>()
    });
    assert_within("endless lines", peak, FIXED + SESSIONS as u64 * SESSION);
    // Told once, or already gone.
    let is_told = |code: &std::io::Result<[u8; 3]>| {
        code.as_ref().map_or(true, |code| code == b"500" || code == b"421")
    };
    assert!(codes.iter().all(is_told), "{codes:?}");
}

/// Contents that are dear to whoever reads them without a bound.
fn bombs() -> Vec<(&'static str, String)> {
    let nested: String = (0..10_000)
        .map(|depth| {
            format!("--b{depth}\r\nContent-Type: multipart/mixed; boundary=b{}\r\n\r\n", depth + 1)
        })
        .collect();
    let start = "From: a@a.example\r\nDate: Tue, 24 Nov 2026 03:41:01 +0000\r\n";
    let signature =
        "DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=YQ==; b=YQ==\r\n";
    let seals: String = (1..200)
        .map(|set| {
            format!("ARC-Seal: i={set}; a=rsa-sha256; cv=pass; d=a.example; s=s; b=YQ==\r\n")
        })
        .collect();
    vec![
        ("a header without an end", format!("{start}X: {}", "y\r\n ".repeat(400_000))),
        ("fields without an end", format!("{start}{}", "X: y\r\n".repeat(300_000))),
        ("a line without an end", format!("{start}X: {}", "y".repeat(1_500_000))),
        (
            "parts in parts",
            format!("{start}Content-Type: multipart/mixed; boundary=b0\r\n\r\n{nested}"),
        ),
        ("a thousand signatures", format!("{start}{}\r\nhello\r\n", signature.repeat(1_000))),
        ("a long chain of seals", format!("{seals}{start}\r\nhello\r\n")),
    ]
}

#[test]
fn bombs_of_headers_parts_and_signatures_cost_their_octets() {
    const SESSIONS: usize = 8;
    let sink = Sink::start();
    let looks = "relay_for = []\nverify = \"tag\"\nchecks = \"reject\"";
    let relayed = "[checks]\nrefuse_attachments = [\"exe\"]\n[dns]\nservers = [\"127.0.0.1:9\"]\n\
         [[relay_domain]]\ndomains = [\"b.example\"]\nupstream = \"smart\"\n";
    let node = node(&sink, looks, relayed);
    for (what, content) in &bombs() {
        let send = || {
            let mut client = Client::connect(node.listen[0]);
            assert_eq!(client.envelope("<a@a.example>", &["<b@b.example>"]), [250, 250]);
            assert_eq!(client.say("DATA").code, 354);
            // A refusal may come before the end.
            if client.try_write(content) {
                client.try_write("\r\n.\r\n");
            }
            client.try_reply().map(|reply| reply.code)
        };
        let (peak, codes) = peak_during(&node, || {
            std::thread::scope(|scope| {
                let clients: Vec<_> = (0..SESSIONS).map(|_| scope.spawn(send)).collect();
                clients.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
            })
        });
        println!("{what}: {codes:?}");
        let bound = FIXED + SESSIONS as u64 * (SESSION + 4 * content.len() as u64);
        assert_within(what, peak, bound);
        let is_answered = |code: &Option<u16>| code.is_none_or(|code| code >= 250);
        assert!(codes.iter().all(is_answered), "{what}: {codes:?}");
        // It is there for everyone else.
        let mut other = Client::connect(node.listen[0]);
        assert_eq!(other.say("NOOP").code, 250, "{what}");
    }
}
