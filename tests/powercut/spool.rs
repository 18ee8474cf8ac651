//! Read a spool with the relay's own recovery, and check all that is in it against the ledger.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use relay_fast::base::prng::Prng;
use relay_fast::spool::log::{Log, Options};
use relay_fast::spool::recovery::{Recovered, recover};
use relay_fast::spool::segment::SegmentBytes;
use relay_fast::spool::stored::Stored;

use crate::facts::Ledger;

/// What a spool holds.
#[derive(Debug, Default)]
pub(crate) struct Queued {
    /// Recipients that will be attempted.
    pub(crate) pending: HashSet<String>,
    /// Messages about which there is a DSN.
    pub(crate) told: HashSet<usize>,
    /// What is not as it was sent.
    pub(crate) garbage: Vec<String>,
    /// What was committed and is damaged, which no power cut does.
    pub(crate) damage: Vec<String>,
}

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl SegmentBytes for Bytes {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What lies in `spool`, which need not be there yet.
pub(crate) fn read(spool: &Path, ledger: &Ledger) -> Queued {
    let mut queued = Queued::default();
    for directory in 0..4 {
        read_directory(&spool.join(format!("{directory:03}")), directory, ledger, &mut queued);
    }
    queued
}

fn read_directory(path: &Path, directory: u16, ledger: &Ledger, queued: &mut Queued) {
    let Ok(entries) = std::fs::read_dir(path) else { return };
    let mut segments: Vec<(u32, Arc<dyn SegmentBytes>)> = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|extension| extension == "seg") {
            let number = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            segments.push((number, Arc::new(Bytes(std::fs::read(&path).unwrap()))));
        }
    }
    let Recovered { messages, damage, start, .. } = match recover(directory, &segments) {
        Ok(recovered) => recovered,
        Err(error) => return queued.damage.push(error.to_string()),
    };
    queued.damage.extend(damage.iter().map(ToString::to_string));
    let options = Options { segment_bytes: 16 << 20, reserve: 0, admits: false };
    let log = Log::new(start, options, Prng::from_number(0));
    for message in messages {
        let message = match message {
            Ok(message) => message,
            Err(damage) => {
                queued.damage.push(damage.to_string());
                continue;
            }
        };
        let stored = match log.load(message.id, message.at) {
            Ok(stored) => stored,
            Err(damage) => {
                queued.damage.push(damage.to_string());
                continue;
            }
        };
        let content = whole(&stored);
        for pending in message.pending {
            let recipient = &stored.envelope.recipients[usize::from(pending.recipient)];
            let address = recipient.forward_path.to_string();
            let address = address.trim_matches(['<', '>']);
            queued.garbage.extend(ledger.fault(address, &content));
            match Ledger::told_by(address) {
                Some(number) => drop(queued.told.insert(number)),
                None => drop(queued.pending.insert(address.to_owned())),
            }
        }
    }
}

fn whole(stored: &Stored) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let window = stored.window(out.len() as u64, usize::MAX);
        if window.is_empty() {
            return out;
        }
        out.extend_from_slice(window);
    }
}
