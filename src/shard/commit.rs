//! Store messages and outcomes: drive the spool's logs over the platform's disk.
//!
//! In: messages to store, states and ends to note; what came of writes. Out: [`Verdict`]s on the
//! messages. Invariant: a message is `Stored` only against the log's `Accepted`.
//! Lives on: each shard. Its own log takes new messages; logs of directories that it adopted when
//! `--cores` shrank take the outcomes of the messages that lie there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::base::ids::MessageId;
use crate::base::limits::{GATHERING_MAX, LOG_RETRY, OUTCOME_PATIENCE};
use crate::base::slots::Slot;
use crate::base::time::Monotonic;
use crate::mail::durability::Durability;
use crate::outcome::counters::{Count, Latency, Size};
use crate::outcome::dsn::Action;
use crate::shard::context::Context;
use crate::shard::filters::Request as ToFilter;
use crate::shard::memory::Memory;
use crate::shard::mesh::Request;
use crate::shard::owed::Owed;
use crate::shard::platform::{ConnectionId, IoError, Platform};
use crate::shard::reasons::untried;
use crate::shard::signing::SigningQueue;
use crate::shard::verifying::Verifying;
use crate::spool::log::{Accepted, Io, Log, LogError, LogEvent, Refusal, Room};
use crate::spool::segment::{SegmentBytes, SegmentName};
use crate::spool::stored::{EnvelopeAt, NewMessage, RecipientState, Standing, StateAt, Stored};

/// A shard's logs, and the messages that wait for their commit.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Its own directory's first.
    logs: Vec<(u16, Log)>,
    waiting: HashMap<MessageId, Waiting>,
    events: VecDeque<CommitEvent>,
    /// What is to be verified before it is appended.
    pub(crate) verifying: Verifying,
    /// What is to be filtered, and what need not be any more.
    pub(crate) to_filter: VecDeque<ToFilter>,
    /// What is to be signed before it is appended.
    pub(crate) signing: SigningQueue,
    /// What is on its way to the disk.
    pub(crate) memory: Memory,
    /// When a log that is full or failing is tried again.
    retry_at: Option<Monotonic>,
    /// By log: when its commit under way began, and its octets.
    under_way: Vec<(Monotonic, u64)>,
    /// How long a commit takes, by the last ones.
    usual_time: Duration,
    /// By log: when what waits is committed, though more was expected to come with it.
    patient_until: Vec<Option<Monotonic>>,
    /// Sessions in whose transaction the end of content has not come.
    pub(crate) joining: usize,
    /// A segment could not be made, and none could since.
    cramped: bool,
    /// Answered from memory, and their commit failed.
    owed: Owed,
}

/// A message between its append and its commit.
#[derive(Debug)]
struct Waiting {
    stored: Arc<Stored>,
    from: From,
    since: Monotonic,
}

/// Who waits for a message's commit.
#[derive(Debug)]
pub(crate) enum From {
    /// A client, for its 250.
    Session(ConnectionId),
    /// A client, for its 250: the message is not to be tried before an operator releases it, for
    /// this reason.
    Held(ConnectionId, Box<str>),
    /// Nobody: its client was answered from memory. It must be stored all the same.
    Answered,
    /// The queue, to finish those whom a DSN is about.
    Dsn(About),
    /// The control thread, for its answer.
    Control(Box<Request>),
}

impl From {
    /// A client that waits for its 250; its message is held where a reason is given.
    pub(crate) fn session(connection: ConnectionId, held: Option<Box<str>>) -> Self {
        match held {
            None => Self::Session(connection),
            Some(why) => Self::Held(connection, why),
        }
    }
}

/// Proof that a message is in memory and on its way to the disk, and that the listener it came to
/// asks for no more: `durability = "memory"`. Private field: made by [`Commit::message`] alone.
///
/// This is the one exception to the rule that only the log's `Accepted` becomes 250. What follows
/// for the message is in the table of `spool/mod.rs`, rows 2m to 4m.
#[derive(Debug)]
pub(crate) struct InMemory {
    id: MessageId,
}

impl InMemory {
    /// The message.
    pub(crate) fn id(&self) -> MessageId {
        self.id
    }
}

/// Whom a DSN of ours is about.
#[derive(Debug)]
pub(crate) struct About {
    /// The message in the queue.
    pub(crate) message: Slot,
    /// The same, as it is stored.
    pub(crate) stored: Arc<Stored>,
    /// What the DSN says.
    pub(crate) action: Action,
    /// The recipients, by place.
    pub(crate) recipients: Vec<u16>,
}

/// What the logs came to know.
#[derive(Debug)]
pub(crate) enum CommitEvent {
    /// On stable storage, so long after its content was complete: the message may be queued, and
    /// `from` told.
    Stored { stored: Arc<Stored>, directory: u16, accepted: Accepted, from: From, took: Duration },
    /// Not stored, and nothing kept.
    Refused { from: From, why: Refusal },
    /// A recipient's last reply lies there.
    Noted { id: MessageId, recipient: u16, directory: u16, at: StateAt },
    /// To be moved, so that its segment becomes free.
    Move { id: MessageId },
    /// Was moved.
    Moved { id: MessageId, directory: u16, at: EnvelopeAt, states: Vec<(u16, StateAt)> },
}

impl Commit {
    /// The logs of a shard, its own first.
    pub(crate) fn new(logs: Vec<(u16, Log)>, memory: Memory) -> Self {
        assert!(!logs.is_empty(), "a shard has a log of its own");
        let patient_until = vec![None; logs.len()];
        let under_way = vec![Default::default(); logs.len()];
        Self {
            logs,
            waiting: HashMap::new(),
            events: VecDeque::new(),
            verifying: Verifying::default(),
            to_filter: VecDeque::new(),
            signing: SigningQueue::default(),
            memory,
            retry_at: None,
            under_way,
            usual_time: Duration::ZERO,
            patient_until,
            joining: 0,
            cramped: false,
            owed: Owed::default(),
        }
    }

    /// A name for a message to come.
    pub(crate) fn next_id(&mut self) -> MessageId {
        self.own().next_id()
    }

    /// Whether new messages may be admitted.
    pub(crate) fn room(&self) -> Room {
        self.logs[0].1.room()
    }

    /// Whether a client may begin a message: there is room, on the disk and on the way to it.
    pub(crate) fn admission(&self) -> Room {
        let room = self.room();
        if room == Room::Open && self.is_full() { Room::Busy } else { room }
    }

    /// Whether what clients have under way takes no more memory.
    pub(crate) fn is_full(&self) -> bool {
        self.memory.is_full(self.pending() + self.owed.bytes())
    }

    /// Whether clients are to be read no further.
    pub(crate) fn is_pressed(&self) -> bool {
        self.memory.is_pressed(self.pending())
    }

    /// How many of them may go on.
    pub(crate) fn relieved(&self) -> usize {
        self.memory.relieved(self.pending())
    }

    fn pending(&self) -> usize {
        usize::try_from(self.logs[0].1.pending_bytes()).unwrap_or(usize::MAX)
    }

    /// Whether commits of some log fail at present.
    pub(crate) fn is_failing(&self) -> bool {
        self.logs().any(Log::is_failing)
    }

    /// Store a chunk of content ahead of its message.
    pub(crate) fn content(&mut self, id: MessageId, chunk: Vec<u8>) -> Result<(), LogError> {
        self.own().append_content(id, chunk)
    }

    /// Store a message; `Stored` or `Refused` follows, unless it is promised from memory: then what
    /// comes back says so, `from` hears no more, and the message is appended until it is stored.
    pub(crate) fn message(
        &mut self,
        mut message: NewMessage,
        from: From,
        now: Monotonic,
    ) -> Result<Option<InMemory>, (LogError, From)> {
        message.is_quarantined = matches!(from, From::Held(..));
        let (id, durability) = (message.id, message.origin.durability());
        let stored = match self.own().append_message(message) {
            Ok(stored) => stored,
            Err(error) => return Err((error, from)),
        };
        let (from, promised) = match (durability, from) {
            (Durability::Memory, From::Session(_)) => (From::Answered, Some(InMemory { id })),
            // The message itself says that it is held; its reason may follow in the next group.
            (_, From::Held(connection, why)) => {
                self.hold(&stored, &why);
                (From::Held(connection, why), None)
            }
            (Durability::Commit | Durability::Memory, from) => (from, None),
        };
        self.waiting.insert(id, Waiting { stored, from, since: now });
        Ok(promised)
    }

    /// Append why all recipients of a message wait for an operator.
    fn hold(&mut self, stored: &Stored, why: &str) {
        for recipient in (0_u16..).take(stored.envelope.recipients.len()) {
            let reason = Some(untried(why));
            let standing =
                Standing::Pending { attempts: 0, due: stored.received, held: true, reason };
            self.own().append_state(stored.id, &RecipientState { recipient, standing });
        }
    }

    /// Messages that were answered from memory, and are kept there since their commit failed.
    pub(crate) fn owed(&self) -> usize {
        self.owed.len()
    }

    /// Messages that were answered from memory and are not on stable storage yet.
    pub(crate) fn in_memory_only(&self) -> usize {
        let answered = |waiting: &&Waiting| matches!(waiting.from, From::Answered);
        self.owed.len() + self.waiting.values().filter(answered).count()
    }

    /// Append what is owed, as far as the disk takes it.
    fn append_owed(&mut self, now: Monotonic) {
        let log = &mut self.logs[0].1;
        while let Some(stored) = self.owed.append_one(log) {
            let waiting = Waiting { stored, from: From::Answered, since: now };
            self.waiting.insert(waiting.stored.id, waiting);
        }
    }

    /// Forget the chunks of a transaction that came to nothing.
    pub(crate) fn abandon(&mut self, id: MessageId) {
        self.own().abandon(id);
    }

    /// The log of a directory, to note outcomes in or to load from.
    pub(crate) fn log(&mut self, directory: u16) -> &mut Log {
        let index = self.index(directory);
        &mut self.logs[index].1
    }

    fn index(&self, directory: u16) -> usize {
        let index = self.logs.iter().position(|(number, _)| *number == directory);
        index.expect("a directory of this shard")
    }

    fn own(&mut self) -> &mut Log {
        &mut self.logs[0].1
    }

    /// A segment is ready, or could not be made.
    pub(crate) fn segment_ready(
        &mut self,
        segment: SegmentName,
        result: Result<Arc<dyn SegmentBytes>, IoError>,
    ) {
        // Tried again each second while the disk is full: said once.
        let cramped = std::mem::replace(&mut self.cramped, result.is_err());
        match &result {
            Err(error) if !cramped => {
                tracing::warn!(%segment, %error, "cannot make a spool segment");
            }
            Ok(_) if cramped => tracing::info!(%segment, "spool segments can be made again"),
            Ok(_) | Err(_) => {}
        }
        let result = result.map_err(|error| error.errno);
        self.log(segment.directory).handle_segment_ready(segment, result);
    }

    /// A commit has ended.
    pub(crate) fn committed<P: Platform>(
        &mut self,
        segment: SegmentName,
        result: Result<(), IoError>,
        cx: &mut Context<'_, P>,
    ) {
        let index = self.index(segment.directory);
        let (began, bytes) = self.under_way[index];
        let took = cx.mono().since(began);
        self.usual_time = (self.usual_time * 7 + took) / 8;
        let succeeded = result.is_ok();
        let log = &mut self.logs[index].1;
        let accepted_before = log.stats().accepted;
        log.handle_committed(segment, result.map_err(|error| error.errno));
        let messages = log.stats().accepted - accepted_before;
        let counters = &mut cx.common.counters;
        counters.record(Latency::Commit, took);
        if !succeeded {
            return counters.increment(Count::SpoolCommitsFailed);
        }
        counters.increment(Count::SpoolCommits);
        counters.measure(Size::GroupBytes, bytes);
        if messages > 0 {
            counters.measure(Size::GroupMessages, messages);
        }
    }

    /// Take in what the logs came to know.
    pub(crate) fn listen<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        for index in 0..self.logs.len() {
            while let Some(event) = self.logs[index].1.poll_event() {
                self.take_in(self.logs[index].0, event, cx);
            }
        }
    }

    /// Start the I/O that the logs ask for: once a turn, at its end, so that all that was appended
    /// in the turn makes one commit group.
    pub(crate) fn start_io<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        self.retry(cx);
        self.append_owed(cx.mono());
        for index in 0..self.logs.len() {
            if self.expects_more(index, cx.mono()) {
                continue;
            }
            while let Some(io) = self.logs[index].1.poll_io() {
                self.start(io, cx);
            }
        }
    }

    /// Whether what waits in a log waits a little longer, since more may come with it.
    fn expects_more(&mut self, index: usize, now: Monotonic) -> bool {
        let log = &self.logs[index].1;
        let patience = if log.is_patient() {
            OUTCOME_PATIENCE
        } else if log.is_gathering() && (self.joining > 0 || !self.signing.is_empty()) {
            self.usual_time.min(GATHERING_MAX)
        } else {
            Duration::ZERO
        };
        let until = self.patient_until[index].map_or(now + patience, |at| at.min(now + patience));
        let waits = now < until;
        self.patient_until[index] = waits.then_some(until);
        waits
    }

    /// The next thing that the logs came to know.
    pub(crate) fn poll_event(&mut self) -> Option<CommitEvent> {
        self.events.pop_front()
    }

    /// When `start_io` is to be called again without an event.
    pub(crate) fn deadline(&self, now: Monotonic) -> Option<Monotonic> {
        let patient = self.patient_until.iter().copied().flatten();
        // Starting a commit can refuse messages: their clients are answered in a turn that nothing
        // else may ask for.
        let is_news = self.logs.iter().any(|(_, log)| log.has_events());
        self.retry_at.into_iter().chain(patient).chain(is_news.then_some(now)).min()
    }

    /// Whether all that was given is on stable storage, or refused.
    pub(crate) fn is_idle(&self) -> bool {
        let nothing_waits = self.verifying.is_empty()
            && self.to_filter.is_empty()
            && self.signing.is_empty()
            && self.waiting.is_empty()
            && self.owed.len() == 0;
        nothing_waits && self.logs.iter().all(|(_, log)| log.is_idle())
    }

    /// The figures of all logs.
    pub(crate) fn logs(&self) -> impl Iterator<Item = &Log> {
        self.logs.iter().map(|(_, log)| log)
    }

    fn start<P: Platform>(&mut self, io: Io, cx: &mut Context<'_, P>) {
        match io {
            Io::Create { segment, bytes, is_for_admission } => {
                let keep_free = if is_for_admission { cx.settings.reserve_bytes } else { 0 };
                cx.platform.create_segment(segment, bytes, keep_free);
            }
            Io::Commit { segment, offset, buffers } => {
                let bytes = buffers.iter().map(|buffer| buffer.len() as u64).sum();
                cx.common.counters.add(Count::SpoolBytes, bytes);
                let index = self.index(segment.directory);
                self.under_way[index] = (cx.mono(), bytes);
                cx.platform.commit(segment, offset, buffers);
            }
            Io::Remove { segment } => cx.platform.remove_segment(segment),
        }
    }

    fn take_in<P: Platform>(&mut self, directory: u16, event: LogEvent, cx: &mut Context<'_, P>) {
        match event {
            LogEvent::Accepted(accepted) => {
                let waiting = self.waiting.remove(&accepted.id()).expect("appended by this shard");
                let (stored, from) = (waiting.stored, waiting.from);
                let took = match from {
                    // It had its 250 as soon as it was appended.
                    From::Answered => Duration::ZERO,
                    From::Session(_) | From::Held(..) | From::Dsn(_) | From::Control(_) => {
                        cx.mono().since(waiting.since)
                    }
                };
                if !matches!(from, From::Dsn(_) | From::Control(_)) {
                    cx.common.counters.record(Latency::Accept, took);
                }
                let stored = CommitEvent::Stored { stored, directory, accepted, from, took };
                self.events.push_back(stored);
            }
            LogEvent::Refused { id, why } => {
                let waiting = self.waiting.remove(&id).expect("appended by this shard");
                match waiting.from {
                    From::Answered => self.owed.push(waiting.stored),
                    from
                    @ (From::Session(_) | From::Held(..) | From::Dsn(_) | From::Control(_)) => {
                        self.events.push_back(CommitEvent::Refused { from, why });
                    }
                }
            }
            LogEvent::Noted { id, recipient, at } => {
                self.events.push_back(CommitEvent::Noted { id, recipient, directory, at });
            }
            LogEvent::Move { id } => self.events.push_back(CommitEvent::Move { id }),
            LogEvent::Moved { id, at, states } => {
                self.events.push_back(CommitEvent::Moved { id, directory, at, states });
            }
            LogEvent::Unhealthy { segment, errno } => {
                let error = IoError { errno };
                tracing::error!(%segment, %error, "a commit failed: its segment is sealed");
            }
            LogEvent::Healthy => {
                tracing::info!(directory, "commits succeed again");
            }
        }
    }

    /// While a log cannot write what it has, adopted ones too, try again each [`LOG_RETRY`].
    fn retry<P: Platform>(&mut self, cx: &Context<'_, P>) {
        if !self.logs.iter().any(|(_, log)| log.wants_retry()) {
            self.retry_at = None;
            return;
        }
        match self.retry_at {
            Some(at) if cx.mono() < at => {}
            Some(_) => {
                self.retry_at = Some(cx.mono() + LOG_RETRY);
                self.logs.iter_mut().for_each(|(_, log)| log.retry());
            }
            None => self.retry_at = Some(cx.mono() + LOG_RETRY),
        }
    }
}
