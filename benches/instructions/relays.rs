//! What is counted: relays in memory, from one message to as many as wanted.

use crate::node::Node;
use crate::pair::Pair;
use crate::parties::Manner;
use crate::spool::Rig;
use crate::waiting::Waiting;

/// A name, and what runs so many messages of 10 KB.
pub(crate) struct Relay {
    pub(crate) name: &'static str,
    pub(crate) run: fn(messages: usize),
}

pub(crate) const ALL: [Relay; 5] = [
    Relay { name: "sessions-data", run: |messages| sessions(false, messages) },
    Relay { name: "sessions-chunking", run: |messages| sessions(true, messages) },
    Relay { name: "spool-and-queue", run: spool_and_queue },
    Relay { name: "shard-data", run: |messages| Node::new(Manner::Data).relay(messages) },
    Relay { name: "shard-chunking", run: |messages| Node::new(Manner::Chunking).relay(messages) },
];

pub(crate) fn named(name: &str) -> Option<&'static Relay> {
    ALL.iter().find(|relay| relay.name == name)
}

/// The receiving and the sending machine, on a connection that is kept: DATA, a command at a time,
/// or PIPELINING and CHUNKING.
fn sessions(is_modern: bool, messages: usize) {
    let mut pair = Pair::new(is_modern, is_modern);
    (0..messages).for_each(|_| pair.send());
}

/// Messages that share a commit, as many as under full load.
const GROUP: usize = 5;
const SEGMENT_BYTES: u32 = 4 * 1024 * 1024;
/// Recipients that wait in the queue meanwhile.
const DEFERRED: usize = 10_000;

/// Append, commit; into the queue, out of it; the outcome goes with the next commit.
fn spool_and_queue(messages: usize) {
    assert!(messages.is_multiple_of(GROUP), "whole groups");
    let mut spool = Rig::new(false, SEGMENT_BYTES);
    spool.commit(true);
    let mut queue = Waiting::new(0, DEFERRED);
    for _ in 0..messages / GROUP {
        assert_eq!(spool.append(GROUP, true), GROUP);
        (0..GROUP).for_each(|_| queue.deliver());
    }
}

/// The CPU as a program sees it: what SIMD code the relay and the C library choose by.
pub(crate) fn cpu() -> String {
    #[cfg(target_arch = "x86_64")]
    let features = [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("ermsb", std::is_x86_feature_detected!("ermsb")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let features: [(&str, bool); 0] = [];
    let known = features.iter().filter(|(_, has)| *has).map(|(name, _)| *name);
    std::iter::once(std::env::consts::ARCH).chain(known).collect::<Vec<_>>().join(" ")
}

/// What the recorded figures are for: what CI builds the benches as.
pub(crate) const GUARDED_BUILD: &str = "optimized, without the runtime";

/// How this program was built: with the runtime the compiler cuts the crate otherwise.
pub(crate) fn build() -> &'static str {
    match (cfg!(debug_assertions), cfg!(feature = "runtime")) {
        (false, false) => GUARDED_BUILD,
        (false, true) => "optimized, with the runtime",
        (true, _) => "not optimized",
    }
}
