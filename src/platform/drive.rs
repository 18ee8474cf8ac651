//! Turn one shard's loop: complete, deliver, take a turn, sleep.
//!
//! ```text
//!   ┌► enter the ring, and sleep there if nothing is due ─► settle each completion, deliver its
//!   │                                                       notices ─► mailbox ─► timers ─┐
//!   └── something happened: the machine's turn, bells of other shards ◄──────────────────┘
//! ```
//! One call into the kernel a turn: it submits what the turn asked for and waits for what is next.
//! An idle shard costs nothing: it sleeps until a completion, its bell (a crossing, a finished job)
//! or the next deadline.
//!
//! Invariant: a panic of the machine costs a connection, not the shard.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::base::limits::{
    RING_QUIESCE_MAX, RING_RETRY, TURN_PANICS_MAX, WAKE_BATCH, WAKE_PATIENCE,
};
use crate::base::time::Monotonic;
use crate::platform::gear::{Notice, Tag};
use crate::platform::kernel::{Kernel, Parts};
use crate::platform::ring::{BufferToken, Completion, Kept, OperationId, ReceiveBuffers, Wait};
use crate::shard::platform::{
    ConnectionId, DatagramId, Event, Machine, Platform, PlatformCounters, Turn,
};

/// Why a shard ended before it was drained.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The kernel refused the ring, or a wait on it.
    #[error("io_uring failed under a running shard: {0}")]
    Ring(#[from] io::Error),
    /// The machine's own turn panicked again and again.
    #[error("the shard panicked {TURN_PANICS_MAX} times in a row in its turn")]
    Panics,
}

/// One shard's loop.
pub(super) struct Drive<M> {
    kernel: Kernel,
    buffers: ReceiveBuffers,
    /// None once it is over: then events are dropped.
    machine: Option<Box<M>>,
    completed: Vec<Completion<Tag>>,
    /// The read that completes when the bell is rung.
    bell: Option<OperationId>,
    deadline: Option<Monotonic>,
    turn_panics: u32,
}

impl<M: Machine> Drive<M> {
    /// A loop of this thread.
    pub(super) fn new(parts: Parts<'_>, machine: Box<M>) -> Result<Self, DriveError> {
        let (kernel, buffers) = Kernel::new(parts)?;
        let mut drive = Self {
            kernel,
            buffers,
            machine: Some(machine),
            completed: Vec::new(),
            bell: None,
            deadline: None,
            turn_panics: 0,
        };
        drive.hear_bell(vec![0; size_of::<u64>()]);
        Ok(drive)
    }

    /// Run until the machine is drained; all operations have ended then.
    pub(super) fn run(mut self) -> Result<PlatformCounters, DriveError> {
        let mut turn = self.turn()?;
        while !turn.over {
            self.deadline = earliest(turn.deadline, self.kernel.next_timer());
            if self.look()? || self.is_due() {
                turn = self.turn()?;
            }
        }
        self.machine = None;
        self.finish()
    }

    /// Wait, within bounds, until what the machine gave is written and nothing is under way.
    fn finish(mut self) -> Result<PlatformCounters, DriveError> {
        let give_up = self.kernel.now().mono + RING_QUIESCE_MAX;
        self.kernel.wind_down();
        self.idle_until(give_up, Kernel::is_quiet)?;
        self.kernel.end();
        if let Some(bell) = self.bell.take() {
            self.kernel.gear.ring.cancel(bell, Tag::Nobody);
        }
        let give_up = self.kernel.now().mono + RING_QUIESCE_MAX;
        self.idle_until(give_up, |kernel| kernel.counters().operations == 0)?;
        Ok(self.kernel.counters())
    }

    fn idle_until(
        &mut self,
        give_up: Monotonic,
        reached: impl Fn(&Kernel) -> bool,
    ) -> io::Result<()> {
        while !reached(&self.kernel) && self.kernel.now().mono < give_up {
            self.deadline = earliest(Some(give_up), self.kernel.next_timer());
            self.look()?;
        }
        Ok(())
    }

    /// Take in what happened, and wait for it if nothing is due: whether the machine may want a
    /// turn for it.
    fn look(&mut self) -> io::Result<bool> {
        let mut completed = std::mem::take(&mut self.completed);
        let now = self.kernel.now().mono;
        let longest = self.deadline.map(|deadline| deadline.since(now));
        let may_sleep = longest != Some(Duration::ZERO) && self.kernel.mailbox.fall_asleep();
        let wait = Wait { longest, batch: WAKE_BATCH, patience: WAKE_PATIENCE };
        let entered = self.kernel.enter(may_sleep.then_some(wait), &mut completed);
        self.kernel.mailbox.awake();
        entered?;
        if completed.is_empty() && self.kernel.gear.ring.is_behind() {
            std::thread::sleep(RING_RETRY);
        }
        let mut happened = false;
        for completion in completed.drain(..) {
            happened |= completion.tag != Tag::Nobody;
            self.settle(completion);
        }
        self.completed = completed;
        while let Some(finished) = self.kernel.mailbox.take_finished() {
            happened = true;
            self.kernel.finished(finished);
            self.deliver_notices();
        }
        while let Some(crossing) = self.kernel.mailbox.take_crossing() {
            happened = true;
            self.hand(Event::Crossing(crossing));
            self.deliver_notices();
        }
        happened |= self.kernel.expire_timers();
        self.deliver_notices();
        Ok(happened)
    }

    fn settle(&mut self, completion: Completion<Tag>) {
        if completion.tag == Tag::Bell {
            return self.rang(completion);
        }
        self.kernel.settle(completion, &mut self.buffers);
        self.deliver_notices();
    }

    /// The bell was rung: what was posted is found by looking into the mailbox.
    fn rang(&mut self, completion: Completion<Tag>) {
        let Kept::Bytes(bytes) = completion.kept else { unreachable!("a read keeps its buffer") };
        if self.bell.take().is_some() {
            self.hear_bell(bytes);
        }
    }

    fn hear_bell(&mut self, bytes: Vec<u8>) {
        let Kernel { gear, mailbox, .. } = &mut self.kernel;
        self.bell = Some(gear.ring.read(mailbox.bell(), bytes, Tag::Bell));
    }

    fn is_due(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= self.kernel.now().mono)
    }

    /// Give the machine its turn, and wake those that it posted to.
    fn turn(&mut self) -> Result<Turn, DriveError> {
        self.kernel.gear.counters.turns += 1;
        let Self { machine: Some(machine), kernel, .. } = self else {
            return Ok(Turn { deadline: None, over: true });
        };
        let turn = catch_unwind(AssertUnwindSafe(|| machine.turn(kernel)));
        self.deliver_notices();
        self.kernel.ring_bells();
        match turn {
            Ok(turn) => {
                self.turn_panics = 0;
                Ok(turn)
            }
            Err(_) => {
                self.kernel.gear.counters.panics += 1;
                self.turn_panics += 1;
                tracing::error!("caught a panic in a shard's turn; going on");
                let again = self.turn_panics < TURN_PANICS_MAX;
                let now = Turn { deadline: Some(Monotonic(0)), over: false };
                if again { Ok(now) } else { Err(DriveError::Panics) }
            }
        }
    }

    fn deliver_notices(&mut self) {
        while let Some(notice) = self.kernel.gear.notices.pop_front() {
            self.deliver(notice);
        }
    }

    /// Turn a notice into an event, unless the machine let go of what it is about.
    fn deliver(&mut self, notice: Notice) {
        let knows = |kernel: &Kernel, stream| kernel.streams.is_known(stream);
        match notice {
            Notice::Accepted { stream, listener, peer, local } => {
                let connection = ConnectionId(stream);
                self.hand(Event::Accepted { connection, listener, peer, local });
            }
            Notice::Connected { stream, local } if knows(&self.kernel, stream) => {
                self.hand(Event::Connected { connection: ConnectionId(stream), local });
            }
            Notice::ConnectFailed { stream, error } if self.kernel.streams.bury(stream) => {
                self.hand(Event::ConnectFailed { connection: ConnectionId(stream), error });
            }
            Notice::Received { stream, buffer, length } => {
                let connection = knows(&self.kernel, stream).then_some(ConnectionId(stream));
                self.lend(buffer, length, connection, |connection, bytes| Event::Received {
                    connection,
                    bytes,
                });
            }
            Notice::Held { stream } => {
                if let Some(bytes) = self.kernel.take_held(stream) {
                    let connection = ConnectionId(stream);
                    self.hand(Event::Received { connection, bytes: &bytes });
                    self.kernel.held_delivered(stream);
                }
            }
            Notice::Ended { stream } if knows(&self.kernel, stream) => {
                self.hand(Event::Ended { connection: ConnectionId(stream) });
            }
            Notice::Lost { stream, error } if self.kernel.streams.bury(stream) => {
                self.hand(Event::Lost { connection: ConnectionId(stream), error });
            }
            Notice::Sent { stream } if knows(&self.kernel, stream) => {
                self.hand(Event::Sent { connection: ConnectionId(stream) });
            }
            Notice::Answered { question, buffer, length } => {
                let known = self.kernel.questions.is_known(question);
                let id = known.then_some(DatagramId(question));
                self.lend(buffer, length, id, |id, bytes| Event::Datagram { id, bytes });
            }
            Notice::AskFailed { question, error } if self.kernel.questions.bury(question) => {
                self.hand(Event::DatagramFailed { id: DatagramId(question), error });
            }
            Notice::SegmentReady { segment, result } => {
                self.hand(Event::SegmentReady { segment, result });
            }
            Notice::SegmentOpened { segment, result } => {
                self.hand(Event::SegmentOpened { segment, result });
            }
            Notice::Committed { segment, result } => {
                self.hand(Event::Committed { segment, result });
            }
            Notice::Populated { ticket } => self.hand(Event::Populated { ticket }),
            Notice::PolicyFetched { ticket, result } => {
                self.hand(Event::PolicyFetched { ticket, result });
            }
            Notice::Verified { connection, right } => {
                self.hand(Event::Verified { connection, right });
            }
            Notice::Happened(event) => self.hand(event),
            // Closed or aborted between the completion and now.
            Notice::Connected { .. }
            | Notice::ConnectFailed { .. }
            | Notice::Ended { .. }
            | Notice::Lost { .. }
            | Notice::Sent { .. }
            | Notice::AskFailed { .. } => {}
        }
    }

    /// Give the machine octets for `whom`, if it knows whom, and take their buffer back.
    fn lend<T>(
        &mut self,
        buffer: BufferToken,
        length: usize,
        whom: Option<T>,
        event: impl for<'b> FnOnce(T, &'b [u8]) -> Event<'b>,
    ) {
        if let Some(whom) = whom {
            let event = event(whom, self.buffers.bytes(&buffer, length));
            hand(self.machine.as_deref_mut(), &mut self.kernel, event);
        }
        self.buffers.give_back(buffer);
    }

    fn hand(&mut self, event: Event<'_>) {
        hand(self.machine.as_deref_mut(), &mut self.kernel, event);
    }
}

/// Hand an event to the machine; a panic costs its connection.
fn hand<M: Machine>(machine: Option<&mut M>, kernel: &mut Kernel, event: Event<'_>) {
    let Some(machine) = machine else { return };
    let connection = event.connection();
    let caught = catch_unwind(AssertUnwindSafe(|| machine.handle(event, kernel)));
    if caught.is_err() {
        kernel.gear.counters.panics += 1;
        tracing::error!(?connection, "caught a panic; its connection is aborted");
        if let Some(connection) = connection {
            kernel.abort(connection);
        }
    }
}

fn earliest(one: Option<Monotonic>, other: Option<Monotonic>) -> Option<Monotonic> {
    one.into_iter().chain(other).min()
}
