//! Run the relay under load on a recorded file system, and write down each 250 with its moment.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::facts::{Facts, Ledger};
use crate::node::{Node, to_upstream, wait_for};
use crate::number;
use crate::recorder::{Recorder, Recording};
use crate::taker::{self, Mood};
use crate::tape::{Moment, Tape};
use crate::unsafe_relay::PERMIT;

/// Messages of a campaign, where `POWERCUT_MESSAGES` says nothing.
const MESSAGES: usize = 1_200;
/// Clients that send at the same time.
const CLIENTS: usize = 16;
/// Shards of each life of the relay; kill -9 lies between two. What one life wrote and never synced
/// the next one finds in the page cache, and a power cut takes it away all the same.
const LIVES: [usize; 3] = [2, 3, 2];
/// What is deferred stays so until somebody flushes it.
const LATE: &str = "[queue]\nretry_first = \"1d\"\nretry_longest = \"1d\"\nretry_jitter = 0\n";

/// A campaign, as it went.
#[derive(Debug)]
pub(crate) struct Campaign {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) facts: Facts,
    pub(crate) recording: Recording,
    /// From before the relay's start to when nothing was left to do.
    pub(crate) span: (Moment, Moment),
    /// When each life of the relay but the last was ended.
    pub(crate) kills: Vec<Moment>,
    /// Segment files that came and went.
    pub(crate) segments_gone: usize,
}

/// Start `binary` with its spool in `place` and all mail for `next_hop`.
pub(crate) fn start(binary: &Path, place: &Path, next_hop: SocketAddr, cores: usize) -> Node {
    let mut node = Node::idle(&to_upstream(&next_hop.to_string(), LATE));
    let mut command = Command::new(binary);
    command.arg("--config").arg(node.config_path()).arg("--spool").arg(place.join("spool"));
    command.args(["--cores", &cores.to_string(), "--admin", "127.0.0.1:0"]).env(PERMIT, "1");
    node.run_as(command);
    node
}

/// Run `binary` in `folder`.
pub(crate) fn run(binary: &Path, folder: &Path) -> Campaign {
    let ledger = Arc::new(Ledger::new(number("POWERCUT_MESSAGES", MESSAGES)));
    let recorder = Recorder::start(folder);
    let next_hop = taker::start(&ledger, Mood::ByAddress, Some(recorder.tape.clone()));
    let before = recorder.tape.now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut kills = Vec::new();
    for (life, cores) in (1..).zip(LIVES) {
        let mut node = start(binary, recorder.path(), next_hop, cores);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (ledger, tape) = (Arc::clone(&ledger), recorder.tape.clone());
                let (next, relay) = (Arc::clone(&next), node.listen[0]);
                // When the relay is killed, the connection ends.
                std::thread::spawn(move || drop(send(relay, &ledger, &tape, &next)))
            })
            .collect();
        if life < LIVES.len() {
            let enough = ledger.messages.len() * life / LIVES.len();
            wait_for("some messages", || (next.load(Ordering::Relaxed) >= enough).then_some(()));
            node.kill();
            kills.push(recorder.tape.now());
        }
        clients.into_iter().for_each(|client| client.join().unwrap());
        if life == LIVES.len() {
            wait_for("a queue of deferred recipients alone", || {
                (node.stat("ready") == 0 && node.stat("attempting") == 0).then_some(())
            });
            node.kill();
        }
    }
    let span = (before, recorder.tape.now());
    let segments_gone = segments_gone(&recorder.path().join("spool"));
    let recording = recorder.stop();
    let facts = ledger.forget_what_came_out();
    Campaign { ledger, facts, recording, span, kills, segments_gone }
}

/// Send messages, one after the other, until none is left or the relay is gone.
fn send(relay: SocketAddr, ledger: &Ledger, tape: &Tape, next: &AtomicUsize) -> io::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(relay)?);
    reply(&mut stream, "220")?;
    say(&mut stream, "EHLO client.example", "250")?;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(message) = ledger.messages.get(number) else { return Ok(()) };
        say(&mut stream, &format!("MAIL FROM:<{}>", Ledger::reverse_path(number)), "250")?;
        for recipient in &message.recipients {
            say(&mut stream, &format!("RCPT TO:<{recipient}>"), "250")?;
        }
        say(&mut stream, "DATA", "354")?;
        stream.get_mut().write_all(&[message.content.as_slice(), b".\r\n"].concat())?;
        reply(&mut stream, "250")?;
        let now = tape.now();
        ledger.facts.lock().unwrap().acknowledged.insert(number, now);
    }
}

fn say(stream: &mut BufReader<TcpStream>, command: &str, code: &str) -> io::Result<()> {
    stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
    reply(stream, code)
}

/// Read a reply to its last line; it must have this code.
fn reply(stream: &mut BufReader<TcpStream>, code: &str) -> io::Result<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        assert!(line.starts_with(code), "{line}");
        if line.as_bytes()[3] == b' ' {
            return Ok(());
        }
    }
}

/// Segments that were used and are no longer there: numbers grow from 1.
fn segments_gone(spool: &Path) -> usize {
    let lowest = |directory: &str| {
        let names = std::fs::read_dir(spool.join(directory)).unwrap().map(|entry| entry.unwrap());
        let numbers = names.filter_map(|entry| {
            entry.file_name().to_str()?.strip_suffix(".seg")?.parse::<usize>().ok()
        });
        numbers.min()
    };
    ["000", "001", "002"].into_iter().filter_map(lowest).map(|lowest| lowest - 1).sum()
}
