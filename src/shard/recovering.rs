//! Bring back what earlier runs left, a little each turn, while new mail is taken and sent.
//!
//! In: segments as they are opened, off the shard's thread. Out: messages for the queue.
//! Invariant: one directory after another; a message comes out once all is known of it. A segment
//! that cannot be opened is tried again: without it nothing that comes after it is sure.
//! Lives on: the home shard.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::ids::MessageId;
use crate::base::limits::{LOG_RETRY, RECOVERED_TURN_MAX};
use crate::base::time::Monotonic;
use crate::outcome::counters::Count;
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::dispatch::Home;
use crate::shard::platform::{IoError, Platform};
use crate::spool::recovery::{Progress, RecoverError, Recovery};
use crate::spool::segment::{SegmentBytes, SegmentName};

/// The recovery of a shard's directories.
#[derive(Debug, Default)]
pub(crate) struct Recovering {
    /// The first one is under way.
    directories: VecDeque<Directory>,
    /// There is more to do at once.
    is_busy: bool,
    /// Could not be opened.
    closed: Vec<SegmentName>,
    /// That was said: it is tried again each second.
    is_told: bool,
    retry_at: Option<Monotonic>,
    /// When the directory under way was begun.
    began: Option<Monotonic>,
}

#[derive(Debug)]
struct Directory {
    number: u16,
    recovery: Recovery,
    /// Messages found so far.
    messages: u64,
    /// It could not be read to its end, and stays so in this run.
    is_broken: bool,
}

impl Recovering {
    /// For these directories.
    pub(crate) fn new(directories: impl Iterator<Item = (u16, Recovery)>) -> Self {
        let directories = directories.map(|(number, recovery)| Directory {
            number,
            recovery,
            messages: 0,
            is_broken: false,
        });
        Self { directories: directories.collect(), is_busy: true, ..Self::default() }
    }

    /// How many directories are not recovered.
    pub(crate) fn left(&self) -> usize {
        self.directories.len()
    }

    /// Whether a message with this name may come to light yet.
    pub(crate) fn may_find(&self, id: MessageId) -> bool {
        self.directories.iter().any(|directory| directory.number == id.directory())
    }

    /// When `drive` is to be called again without an event.
    pub(crate) fn deadline(&self, now: Monotonic) -> Option<Monotonic> {
        self.is_busy.then_some(now).into_iter().chain(self.retry_at).min()
    }

    /// A segment of an earlier run is open, or cannot be opened.
    pub(crate) fn opened<P: Platform>(
        &mut self,
        segment: SegmentName,
        result: Result<Arc<dyn SegmentBytes>, IoError>,
        cx: &Context<'_, P>,
    ) {
        match result {
            Ok(map) => {
                let numbered = |one: &&mut Directory| one.number == segment.directory;
                if let Some(directory) = self.directories.iter_mut().find(numbered) {
                    directory.recovery.handle_opened(segment.number, map);
                    (self.is_busy, self.is_told) = (true, false);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_told, true) {
                    tracing::error!(%segment, %error, "a segment cannot be opened, and is awaited");
                }
                self.closed.push(segment);
                self.retry_at.get_or_insert(cx.mono() + LOG_RETRY);
            }
        }
    }

    /// Do a turn's share.
    pub(crate) fn drive<P: Platform>(
        &mut self,
        commit: &mut Commit,
        home: &mut Home,
        cx: &mut Context<'_, P>,
    ) {
        self.retry(cx);
        let Some(directory) = self.directories.iter_mut().find(|one| !one.is_broken) else {
            self.is_busy = false;
            return;
        };
        let began = *self.began.get_or_insert(cx.now.mono);
        match directory.step(commit, home, cx) {
            Ok(Progress::Waits) => self.is_busy = false,
            Ok(Progress::GoesOn) => self.is_busy = true,
            Ok(Progress::Over) => {
                let (number, messages) = (directory.number, directory.messages);
                directory.tell_of_damage(cx);
                self.directories.retain(|one| one.number != number);
                (self.is_busy, self.began) = (true, None);
                if messages > 0 {
                    let took = cx.mono().since(began);
                    tracing::info!(
                        directory = number,
                        messages,
                        ?took,
                        "messages were found in the spool"
                    );
                }
            }
            Err(error) => {
                directory.is_broken = true;
                (self.is_busy, self.began) = (true, None);
                tracing::error!(%error, "what this spool directory holds stays where it is");
            }
        }
    }

    /// Try again to open what could not be opened.
    fn retry<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        if self.retry_at.is_some_and(|at| at <= cx.mono()) {
            self.retry_at = None;
            self.closed.drain(..).for_each(|segment| cx.platform.open_segment(segment));
        }
    }
}

impl Directory {
    fn step<P: Platform>(
        &mut self,
        commit: &mut Commit,
        home: &mut Home,
        cx: &mut Context<'_, P>,
    ) -> Result<Progress, RecoverError> {
        let directory = self.number;
        while let Some(number) = self.recovery.poll_open() {
            cx.platform.open_segment(SegmentName { directory, number });
        }
        let before = self.messages;
        let (settings, now) = (cx.settings, cx.now.wall);
        let log = commit.log(directory);
        let progress = log.recover(&mut self.recovery, RECOVERED_TURN_MAX, |found| match found {
            Ok(found) => {
                self.messages += 1;
                home.recover(directory, found, settings, now);
            }
            Err(damage) => tracing::error!(%damage, "a queued message cannot be read"),
        });
        cx.common.counters.add(Count::MessagesRecovered, self.messages - before);
        progress
    }

    fn tell_of_damage<P: Platform>(&self, cx: &mut Context<'_, P>) {
        for damage in self.recovery.damage() {
            tracing::error!(%damage, "the spool is damaged");
        }
        for torn in self.recovery.torn() {
            tracing::info!(%torn, "a commit that never ended was left behind");
        }
        let count = self.recovery.damage().len() as u64;
        cx.common.counters.add(Count::SpoolDamaged, count);
    }
}
