//! Floods by strangers: each is kept to its bounds, and whoever was there before goes on.
//!
//! Each test starts a relay of one shard with small limits, floods it with several times what it
//! may hold, and holds the memory that it took above an idle one's against what the bounds in
//! `base/limits` add up to.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use relay_fast::base::limits::{
    COMMAND_SKIP_MAX, RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, SESSION_HELD_MAX, SESSION_OUTPUT_MAX,
    SPARE_BUFFER_BYTES, SPARE_BUFFERS, VERIFY_QUESTIONS_MAX,
};

use crate::certificates::Authority;
use crate::client::{Client, message};
use crate::memory::peak_during;
use crate::node::{Node, to_upstream};
use crate::sink::Sink;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// What README says that a recipient of a transaction under way holds at most.
const RECIPIENT: usize = 2 * KIB;
/// The least that `limits.memory` takes.
const CONTENT: usize = 16 * MIB;

/// What sessions may hold: the buffers that all share, which an idle relay has not touched, and of
/// each session what it holds unread, what it was told and has not read, and its own state.
fn sessions_hold(sessions: usize) -> usize {
    let shared =
        usize::from(RECEIVE_BUFFERS) * RECEIVE_BUFFER_BYTES + SPARE_BUFFERS * SPARE_BUFFER_BYTES;
    shared + sessions * (SESSION_HELD_MAX + SESSION_OUTPUT_MAX + 32 * KIB)
}

/// A relay of one shard; more lines of its listener, and more sections.
fn relay(sink: &Sink, listener: &str, more: &str) -> Node {
    let config = to_upstream(&sink.address.to_string(), more);
    let address = "address = \"127.0.0.1:0\"\n";
    let mut node = Node::idle(&config.replacen(address, &format!("{address}{listener}"), 1));
    node.run(1);
    // What the first message costs for good is not the flood's.
    Client::connect(node.listen[0]).send(FROM, &[TO], &message("first"));
    node
}

const FROM: &str = "<a@a.example>";
const TO: &str = "<b@b.example>";

/// The flood stays within `bound`, and an old session's transaction, begun before it and ended at
/// its height, goes through.
fn flood<T>(node: &Node, what: &str, bound: usize, work: impl FnOnce() -> T) -> T {
    let mut old = Client::connect(node.listen[0]);
    assert_eq!(old.envelope(FROM, &[TO]), [250, 250]);
    let (peak, result) = peak_during(node, || {
        let result = work();
        assert_eq!(old.content(&message(what)).unwrap().code, 250, "the old session goes on");
        result
    });
    let peak = usize::try_from(peak).unwrap();
    println!("{what}: {} KiB above an idle relay's, of {} KiB", peak / KIB, bound / KIB);
    assert!(peak <= bound, "{what}: {} KiB above an idle relay's", peak / KIB);
    result
}

fn from(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

/// Connected from an address of ours, and nothing read.
fn connect_from(last: u8, to: SocketAddr) -> TcpStream {
    let (domain, kind) = (socket2::Domain::IPV4, socket2::Type::STREAM);
    let socket = socket2::Socket::new(domain, kind, None).unwrap();
    socket.bind(&SocketAddr::new(from(last), 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Write until the relay hangs up, takes no more or all is written; how much was.
fn pour(stream: &mut TcpStream, block: &[u8], most: usize) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut written = 0;
    while written < most {
        match stream.write(block) {
            Ok(count) => written += count,
            Err(_) => break,
        }
    }
    written
}

//= RFC 5321 §3.8, type=test
//# An SMTP server MUST NOT intentionally close the connection under normal operational
//# circumstances (see Section 7.8) except: … After detecting the need to shut down the SMTP service
//# and returning a 421 response code.
#[test]
fn connections_over_the_limits_get_421_and_old_ones_go_on() {
    const SESSIONS: usize = 60;
    let sink = Sink::start();
    let limits = format!("[limits]\nsessions = {SESSIONS}\nsessions_per_address = 20\n");
    let node = relay(&sink, "", &limits);
    let held = flood(&node, "connections", sessions_hold(SESSIONS), || {
        let mut held = Vec::new();
        let mut counts = Vec::new();
        // The old session is one of 127.0.0.1.
        for last in 1..=5 {
            let mut greeted = 0;
            for _ in 0..200 {
                let mut stream = connect_from(last, node.listen[0]);
                let mut code = [0; 3];
                stream.read_exact(&mut code).unwrap();
                match &code {
                    b"220" => {
                        greeted += 1;
                        held.push(stream);
                    }
                    other => assert_eq!(other, b"421"),
                }
            }
            counts.push(greeted);
        }
        assert_eq!(counts, [19, 20, 20, 0, 0], "an address has 20, all have 60");
        held
    });
    assert_eq!(node.metric("relay_fast_sessions_refused_total"), 1_000.0 - 59.0);
    drop(held);
    crate::node::wait_for("room", || (Client::greeting(node.listen[0]).code == 220).then_some(()));
}

/// A ClientHello's beginning, which promises 16 MiB.
const HELLO: &[u8] = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff\x03\x03";

#[test]
fn handshakes_that_never_end_hold_little() {
    const SESSIONS: usize = 200;
    let sink = Sink::start();
    let authority = Authority::new("authority");
    authority.write("node", &["node.example"]);
    let implicit = "[[listener]]\naddress = \"127.0.0.2:0\"\ntls = \"implicit\"\n";
    let node =
        relay(&sink, "tls = \"starttls\"\n", &format!("{implicit}{}", authority.section("node")));
    flood(&node, "half-open TLS", sessions_hold(2 * SESSIONS), || {
        let mut all = Vec::new();
        for number in 0..2 * SESSIONS {
            let implicit = number % 2 == 1;
            let mut stream = TcpStream::connect(node.listen[usize::from(implicit)]).unwrap();
            if !implicit {
                let mut client = Client::of(stream.try_clone().unwrap());
                assert_eq!(client.reply().code, 220);
                assert_eq!(client.say("EHLO client.example").code, 250);
                assert_eq!(client.say("STARTTLS").code, 220);
            }
            stream.write_all(HELLO).unwrap();
            all.push(stream);
        }
        // Half of them stay as they are; the others go on, an octet and then a MiB.
        for stream in all.iter_mut().step_by(4) {
            for _ in 0..20 {
                drop(stream.write(&[0]));
            }
            pour(stream, &[0; 16 * KIB], MIB);
        }
        all
    });
}

#[test]
fn commands_whose_replies_nobody_reads_stop_being_read() {
    const SESSIONS: usize = 12;
    let sink = Sink::start();
    let node = relay(&sink, "", "");
    flood(&node, "replies unread", sessions_hold(SESSIONS), || {
        let mut all: Vec<_> = (0..SESSIONS).map(|_| connect_from(2, node.listen[0])).collect();
        let commands = ["NOOP\r\n", "RSET\r\n", "EHLO client.example\r\n", "VRFY a\r\n"];
        for (stream, command) in all.iter_mut().zip(commands.iter().cycle()) {
            let block = command.repeat(64 * KIB / command.len());
            let written = pour(stream, block.as_bytes(), 64 * MIB);
            assert!(written < 64 * MIB, "{command:?} were all read, and no reply to them");
        }
        all
    });
}

#[test]
fn lines_of_commands_that_never_end_are_cut() {
    const SESSIONS: usize = 50;
    let sink = Sink::start();
    let node = relay(&sink, "", "");
    flood(&node, "endless lines", sessions_hold(SESSIONS), || {
        for _ in 0..SESSIONS {
            let mut stream = connect_from(2, node.listen[0]);
            let written = pour(&mut stream, &[b'A'; 64 * KIB], 64 * MIB);
            assert!((COMMAND_SKIP_MAX..64 * MIB).contains(&written), "{written} octets");
        }
    });
    // Long lines that do end are errors, and those are counted.
    let mut client = Client::connect(node.listen[0]);
    let long = "A".repeat(COMMAND_SKIP_MAX - 2 * KIB);
    let codes: Vec<u16> = (0..21)
        .map_while(|_| client.try_write(format!("{long}\r\n")).then(|| client.try_reply())?)
        .map(|reply| reply.code)
        .collect();
    assert_eq!(codes.last(), Some(&421), "{codes:?}");
    assert!(codes.len() <= 21 && codes[..codes.len() - 1].iter().all(|code| *code == 500));
}

// RFC 3461 has ORCPT as one of the parameters that make a command line longer: by 500 octets.
#[test]
fn recipients_with_all_that_they_may_carry_are_bounded() {
    const SESSIONS: usize = 10;
    const RECIPIENTS: usize = 1_000;
    let sink = Sink::start();
    let node = relay(&sink, "", "");
    let bound = sessions_hold(SESSIONS) + SESSIONS * RECIPIENTS * RECIPIENT;
    flood(&node, "recipients", bound, || {
        let original = "o".repeat(400);
        let mut all: Vec<Client> = (0..SESSIONS).map(|_| Client::connect(node.listen[0])).collect();
        for client in &mut all {
            let envid = "e".repeat(100);
            assert_eq!(client.say(&format!("MAIL FROM:{FROM} ENVID={envid}")).code, 250);
            let mut counts = [0, 0];
            for block in 0..50 {
                let rcpt = |n| {
                    let name = format!("{block}.{n}");
                    format!("RCPT TO:<{name}@b.example> ORCPT=rfc822;{original}@b.example\r\n")
                };
                client.write((0..50).map(rcpt).collect::<String>());
                for _ in 0..50 {
                    match client.reply().code {
                        250 => counts[0] += 1,
                        452 => counts[1] += 1,
                        421 => panic!("cut after {counts:?}"),
                        other => panic!("{other}"),
                    }
                }
            }
            assert_eq!(counts, [RECIPIENTS, 2_500 - RECIPIENTS]);
        }
        all
    });
}

/// Send content without end; the last reply, if the relay gave one before it hung up.
fn endless(node: &Node, block: &str, most: usize) -> Option<u16> {
    let mut client = Client::connect(node.listen[0]);
    assert_eq!(client.envelope(FROM, &[TO]), [250, 250]);
    assert_eq!(client.say("DATA").code, 354);
    let mut written = 0;
    while written < most && client.try_write(block) {
        written += block.len();
    }
    client.try_write("\r\n.\r\n");
    client.try_reply().map(|reply| reply.code)
}

#[test]
fn headers_without_end_are_not_kept() {
    let sink = Sink::start();
    let node = relay(&sink, "message_size = \"8MiB\"\nchecks = \"log\"\n", MEMORY);
    let bound = sessions_hold(4) + CONTENT;
    flood(&node, "headers", bound, || {
        let fields = "X:\r\n".repeat(16 * KIB);
        assert_eq!(endless(&node, &fields, 400 * KIB), Some(552), "100,000 fields");
        for block in [&fields, &"A".repeat(64 * KIB), &format!("X: {}\r\n", " y".repeat(400))] {
            let code = endless(&node, block, 128 * MIB);
            // 421 may be lost where the relay hung up while there was more.
            assert!(code.is_none_or(|code| code == 421), "{code:?}");
        }
    });
}

const MEMORY: &str = "[limits]\nmemory = \"16MiB\"\n";

#[test]
fn parts_within_parts_are_followed_to_a_bound() {
    let sink = Sink::start();
    let checks = "[checks]\nrefuse_attachments = [\"exe\"]\n";
    let node =
        relay(&sink, "message_size = \"8MiB\"\nchecks = \"log\"\n", &format!("{MEMORY}{checks}"));
    flood(&node, "MIME depth", sessions_hold(1) + CONTENT, || {
        let mut content = String::from("From: <a@a.example>\r\nMIME-Version: 1.0\r\n");
        for depth in 0..10_000 {
            let kind = "Content-Type: multipart/mixed; boundary=";
            content += &format!("{kind}b{depth}\r\n\r\n--b{depth}\r\n");
        }
        let mut client = Client::connect(node.listen[0]);
        assert_eq!(client.envelope(FROM, &[TO]), [250, 250]);
        assert_eq!(client.content(&content).unwrap().code, 250);
    });
}

/// A name server that knows no name; how often it was asked.
fn name_server() -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    std::thread::spawn(move || {
        let mut query = [0; 4 * KIB];
        while let Ok((size, peer)) = socket.recv_from(&mut query) {
            count.fetch_add(1, Ordering::Relaxed);
            // A response, and NXDOMAIN.
            query[2] |= 0x80;
            query[3] = 0x83;
            drop(socket.send_to(&query[..size], peer));
        }
    });
    (address, asked)
}

#[test]
fn a_thousand_signatures_cost_a_few_questions() {
    let sink = Sink::start();
    let (server, asked) = name_server();
    let domain = "[[relay_domain]]\ndomains = [\"b.example\"]\nupstream = \"smart\"\n";
    let more =
        format!("{domain}{MEMORY}header_size = \"16MiB\"\n[dns]\nservers = [\"{server}\"]\n");
    let node = relay(&sink, "relay_for = []\nmessage_size = \"8MiB\"\nverify = \"tag\"\n", &more);
    flood(&node, "signatures", sessions_hold(1) + CONTENT, || {
        let before = asked.load(Ordering::Relaxed);
        // The hash is that of the body: only then is a key asked for.
        let hash = "yZQq1c8wjBl0fZ4Wc/oraMCAG1mZJv5v/hlvyFy+t6A=";
        let signed = format!("a=rsa-sha256; c=relaxed/relaxed; h=from; bh={hash}; b=AAAA");
        let mut content = String::new();
        for n in 0..1_000 {
            content += &format!("DKIM-Signature: v=1; d=d{n}.example; s=s; {signed}\r\n");
            let domain = format!("d=e{n}.example; s=s");
            content += &format!("ARC-Seal: i={n}; a=rsa-sha256; cv=pass; {domain}; b=A\r\n");
            content += &format!("ARC-Message-Signature: i={n}; {domain}; {signed}\r\n");
            content += &format!("ARC-Authentication-Results: i={n}; e{n}.example; none\r\n");
        }
        content += "From: <a@a.example>\r\n\r\nHello.";
        let mut client = Client::connect(node.listen[0]);
        assert_eq!(client.envelope(FROM, &[TO]), [250, 250]);
        assert_eq!(client.content(&content).unwrap().code, 250);
        let asked = asked.load(Ordering::Relaxed) - before;
        println!("{asked} questions");
        assert!(asked > 0 && asked <= VERIFY_QUESTIONS_MAX, "{asked} questions");
    });
}
