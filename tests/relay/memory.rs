//! A bound on memory: under pressure content leaves RAM first, then no message begins.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::client::Client;
use crate::milters::Asked;
use crate::node::{Node, to_upstream, wait_for};
use crate::sink::Sink;

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: u64 = 1024 * 1024;
/// The least that the knob takes.
const LIMIT: &str = "[limits]\nmemory = \"16MiB\"\n";
const SIZE: &str = "message_size = \"16MiB\"\n";
const COLD: &str = "reserve = \"16MiB\"\nhot_memory = \"0B\"\n";

/// Memory of a process that no file stands behind, in octets.
pub(crate) fn anonymous(node: &Node) -> u64 {
    let path = format!("/proc/{}/status", node.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// One shard with little memory, in front of a sink that takes nothing yet.
fn small() -> (Node, Sink) {
    small_with(SIZE, "")
}

fn small_with(size: &str, more: &str) -> (Node, Sink) {
    let sink = Sink::by(|_, _| "451 4.7.1 Later".to_owned());
    let more = format!("{more}{LIMIT}[queue]\nretry_first = \"1h\"\n");
    let config = to_upstream(&sink.address.to_string(), &more);
    let config = config.replace("reserve = \"16MiB\"\n", COLD);
    let address = "address = \"127.0.0.1:0\"\n";
    let mut node = Node::idle(&config.replace(address, &format!("{address}{size}")));
    node.run(1);
    (node, sink)
}

/// The most that a process of one shard holds above an idle one's: README says so.
fn bound(limit: u64, sessions: usize) -> u64 {
    limit + sessions as u64 * 32 * KIB as u64 + 48 * MIB
}

/// Watch a relay's memory while `work` is done: the most that it held above an idle one's, and what
/// came of the work.
pub(crate) fn peak_during<T>(node: &Node, work: impl FnOnce() -> T) -> (u64, T) {
    let base = anonymous(node);
    let (peak, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous(node), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // Set even where the work panics: the scope would wait for ever.
        let _end = scopeguard(&done);
        work()
    });
    // A short flood may end below what an earlier burst had not given back yet.
    (peak.load(Ordering::Relaxed).saturating_sub(base), result)
}

/// Sets what it is given when it is dropped.
fn scopeguard(done: &AtomicBool) -> impl Drop {
    struct Guard<'a>(&'a AtomicBool);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    Guard(done)
}

/// Clients that send as fast as they can what the disk is too slow for: they wait in the kernel.
#[test]
fn fast_senders_of_large_messages_stay_within_the_limit() {
    const SESSIONS: usize = 120;
    const SIZE: usize = 1536 * KIB;
    let (node, _sink) = small();
    let taken = send_at_once(&node, SESSIONS, SIZE);
    assert!(taken > 0, "{taken} of them were taken");
    // What a burst took goes back to the kernel.
    wait_for("memory to be given back", || (anonymous(&node) < 48 * MIB).then_some(()));
}

/// Messages that wait for a milter are in memory, and in no other.
#[test]
fn filtered_messages_stay_within_the_limit() {
    const SESSIONS: usize = 60;
    const SIZE: usize = 1536 * KIB;
    let Some(asked) = Asked::start() else { return };
    // It is about memory: a milter that is slow on a busy machine has not failed.
    let patient = "connect_timeout = \"1m\"\ncommand_timeout = \"2m\"";
    let (node, _sink) = small_with("message_size = \"8MiB\"\n", &asked.config(patient));
    let taken = send_at_once(&node, SESSIONS, SIZE);
    assert!(taken > 0, "{taken} of them were taken");
    wait_for("memory to be given back", || (anonymous(&node) < 48 * MIB).then_some(()));
    // And there is room again.
    assert!(send_at_once(&node, 1, SIZE) == 1);
}

/// So many clients send a message of this size, as fast as they can; how many were taken.
fn send_at_once(node: &Node, sessions: usize, size: usize) -> usize {
    let content = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n";
    let content = [b"Subject: big\r\n\r\n", &content.repeat(size / 64)[..], b".\r\n"].concat();
    let send = |number: usize| {
        let mut client = Client::connect(node.listen[0]);
        let to = format!("<b@d{number}.example>");
        if client.envelope("<a@a.example>", &[&to]) != [250, 250] || client.say("DATA").code != 354
        {
            return false;
        }
        client.write(&content);
        let code = client.reply().code;
        assert!([250, 452].contains(&code), "{code}");
        code == 250
    };
    let (peak, taken) = peak_during(node, || {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..sessions).map(|n| scope.spawn(move || send(n))).collect();
            clients.into_iter().map(|client| client.join().unwrap()).filter(|taken| *taken).count()
        })
    });
    let bound = bound(16 * MIB, sessions);
    println!("{} MiB above an idle relay's, of {}; {taken} taken", peak / MIB, bound / MIB);
    assert!(peak <= bound, "{} MiB above an idle relay's", peak / MIB);
    taken
}

/// A client in the middle of its content.
struct Slow(Client);

impl Slow {
    fn begin(node: &Node, number: usize) -> Self {
        let mut client = Client::connect(node.listen[0]);
        let to = format!("<b@d{number}.example>");
        assert_eq!(client.envelope("<a@a.example>", &[&to]), [250, 250]);
        assert_eq!(client.say("DATA").code, 354);
        client.write("Subject: slow\r\n\r\n");
        Self(client)
    }

    fn go_on(&mut self, bytes: usize) {
        let line = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n";
        self.0.write(line.repeat(bytes / line.len()));
    }
}

#[test]
fn slow_senders_of_large_messages_stay_within_the_limit() {
    const SESSIONS: usize = 300;
    let (node, sink) = small();
    let (peak, taken) = peak_during(&node, || {
        let mut clients: Vec<Slow> = (0..SESSIONS).map(|n| Slow::begin(&node, n)).collect();
        // Each stays below a chunk, all together far above the limit.
        for _ in 0..15 {
            clients.iter_mut().for_each(|client| client.go_on(16 * KIB));
        }
        let written = "relay_fast_spool_written_bytes_total";
        let sent = (SESSIONS * 15 * 16 * KIB) as f64;
        wait_for("most of it on disk", || (node.metric(written) > sent * 0.8).then_some(()));
        for _ in 0..34 {
            clients.iter_mut().for_each(|client| client.go_on(16 * KIB));
        }
        clients.iter_mut().for_each(|client| client.0.write(".\r\n"));
        let codes: Vec<u16> = clients.iter_mut().map(|client| client.0.reply().code).collect();
        assert!(codes.iter().all(|code| [250, 452].contains(code)), "{codes:?}");
        codes.iter().filter(|code| **code == 250).count()
    });
    let bound = bound(16 * MIB, SESSIONS);
    println!("{} MiB above an idle relay's, of {}", peak / MIB, bound / MIB);
    assert!(peak <= bound, "{} MiB above an idle relay's", peak / MIB);
    assert!(taken > SESSIONS / 2, "the disk kept up with {taken} of them");
    wait_for("all deferred", || (node.stat("deferred") == taken as u64).then_some(()));
    sink.change(|mailbox, _| {
        let one = mailbox == "b@d7.example";
        if one { "250 2.1.5 Ok" } else { "451 4.7.1 Later" }.to_owned()
    });
    node.ask(&["flush", "--domain", "d7.example"]);
    let content = sink.wait_for_mail_to("b@d7.example").content;
    assert_eq!(content.matches("0123456789abcd\r\n").count(), 49 * 16 * KIB / 64, "whole");
}

//= RFC 5321 §4.2.2, type=test
//# 452 Requested action not taken: insufficient system storage
#[test]
fn no_message_begins_while_memory_is_short() {
    const SESSIONS: usize = 1_200;
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: files.maximum, ..files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all).unwrap();
    let (node, _sink) = small();
    let mut other = Client::connect(node.listen[0]);
    let mut mail = |code| {
        wait_for(&format!("{code} to MAIL"), || {
            let reply = other.say("MAIL FROM:<a@a.example>");
            other.say("RSET");
            (reply.code == code).then_some(reply)
        })
    };
    mail(250);
    // Less than a session hands on early, so that all of it stays.
    let mut slow: Vec<TcpStream> = (0..SESSIONS).filter_map(|n| hold(&node, n)).collect();
    let refused = mail(452);
    assert!(refused.text.starts_with("4.3.1 "), "{refused:?}");
    slow.truncate(SESSIONS / 4);
    mail(250);
}

/// A client with 15 KiB of content under way, if it may begin.
fn hold(node: &Node, number: usize) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(node.listen[0]).unwrap();
    let to = format!("<b@d{number}.example>");
    let hello = "EHLO client.example\r\nMAIL FROM:<a@a.example>\r\n";
    write!(stream, "{hello}RCPT TO:{to}\r\nDATA\r\n").unwrap();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    let mut ends = lines.filter(|line| line.starts_with("354 ") || line.starts_with("452 "));
    ends.next().is_some_and(|line| line.starts_with("354 ")).then(|| {
        stream.write_all("0123456789abcd\r\n".repeat(15 * KIB / 16).as_bytes()).unwrap();
        stream
    })
}
