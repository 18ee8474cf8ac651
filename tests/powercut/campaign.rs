//! Run the relay under load on a recorded file system, and write down each 250 with its moment.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::Client;
use crate::facts::{Facts, Ledger};
use crate::node::{Node, to_upstream, wait_for};
use crate::recorder::{Recorder, Recording};
use crate::taker::{self, Mood};
use crate::tape::{Moment, Tape};
use crate::unsafe_relay::PERMIT;

/// Messages of a campaign.
const MESSAGES: usize = 1_500;
/// Clients that send at the same time.
const CLIENTS: usize = 16;
/// What is deferred stays so until somebody flushes it.
const LATE: &str = "[queue]\nretry_first = \"1d\"\nretry_longest = \"1d\"\nretry_jitter = 0\n";

/// A campaign, as it went.
#[derive(Debug)]
pub(crate) struct Campaign {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) facts: Facts,
    pub(crate) recording: Recording,
    /// From before the relay's start to when the last client was done.
    pub(crate) span: (Moment, Moment),
    /// Segment files that came and went.
    pub(crate) segments_gone: usize,
}

/// Start `binary` with its spool in `place` and all mail for `next_hop`.
pub(crate) fn start(binary: &Path, place: &Path, next_hop: SocketAddr) -> Node {
    let mut node = Node::idle(&to_upstream(&next_hop.to_string(), LATE));
    let mut command = Command::new(binary);
    command.arg("--config").arg(node.config_path()).arg("--spool").arg(place.join("spool"));
    command.args(["--cores", "2", "--admin", "127.0.0.1:0"]).env(PERMIT, "1");
    node.run_as(command);
    node
}

/// Run `binary` in `folder`.
pub(crate) fn run(binary: &Path, folder: &Path) -> Campaign {
    let ledger = Arc::new(Ledger::new(MESSAGES));
    let recorder = Recorder::start(folder);
    let clock = recorder.tape.clone();
    let next_hop = taker::start(&ledger, Mood::ByAddress, Some(clock.clone()));
    let before = clock.now();
    let mut node = start(binary, recorder.path(), next_hop);
    let next = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (ledger, clock, next) = (Arc::clone(&ledger), clock.clone(), Arc::clone(&next));
            let relay = node.listen[0];
            std::thread::spawn(move || send(relay, &ledger, &clock, &next))
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    wait_for("a queue of deferred recipients alone", || {
        (node.stat("ready") == 0 && node.stat("attempting") == 0).then_some(())
    });
    let span = (before, clock.now());
    node.kill();
    let segments_gone = segments_gone(&recorder.path().join("spool"));
    let recording = recorder.stop();
    let facts = ledger.forget_what_came_out();
    Campaign { ledger, facts, recording, span, segments_gone }
}

/// Send messages, one after the other, until none is left.
fn send(relay: SocketAddr, ledger: &Ledger, clock: &Tape, next: &AtomicUsize) {
    let mut client = Client::connect(relay);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(message) = ledger.messages.get(number) else { return };
        assert_eq!(client.say(&format!("MAIL FROM:<{}>", Ledger::reverse_path(number))).code, 250);
        for recipient in &message.recipients {
            assert_eq!(client.say(&format!("RCPT TO:<{recipient}>")).code, 250);
        }
        assert_eq!(client.say("DATA").code, 354);
        client.write([message.content.as_slice(), b".\r\n"].concat());
        let reply = client.reply();
        let now = clock.now();
        assert_eq!(reply.code, 250, "{}", reply.text);
        ledger.facts.lock().unwrap().acknowledged.insert(number, now);
    }
}

/// Segments that were used and are no longer there: numbers grow from 1.
fn segments_gone(spool: &Path) -> usize {
    let mut gone = 0;
    for directory in ["000", "001"] {
        let names = std::fs::read_dir(spool.join(directory)).unwrap().map(|entry| entry.unwrap());
        let numbers = names.filter_map(|entry| {
            entry.file_name().to_str()?.strip_suffix(".seg")?.parse::<usize>().ok()
        });
        gone += numbers.min().map_or(0, |lowest| lowest - 1);
    }
    gone
}
