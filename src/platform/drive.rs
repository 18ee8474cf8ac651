//! Turn one shard's loop: complete, deliver, take a turn, sleep.
//!
//! ```text
//!   ┌► enter the ring ─► settle each completion, deliver its notices ─► mailbox ─► timers ─┐
//!   │                                                                                      │
//!   │        something happened: the machine's turn, bells of other shards ◄──────────────┤
//!   │        nothing: say that we sleep, look once more; nothing again: sleep ◄───────────┘
//!   └─────────────────┘
//! ```
//! An idle shard costs nothing: it sleeps in the executor until its bell rings (a completion, a
//! crossing, a finished job) with one ring timer for the next deadline.
//!
//! Invariant: a panic of the machine costs a connection, not the shard.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::base::limits::{RING_QUIESCE_MAX, TURN_PANICS_MAX};
use crate::base::time::Monotonic;
use crate::platform::gear::{Notice, Tag};
use crate::platform::kernel::{Kernel, Parts};
use crate::platform::ring::{Completion, OperationId, ReceiveBuffers, Sleeper};
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
    sleeper: Sleeper,
    timer: Option<(OperationId, Monotonic)>,
    deadline: Option<Monotonic>,
    /// Whoever posts or completes rings: the next look that finds nothing may sleep.
    bell_armed: bool,
    turn_panics: u32,
}

impl<M: Machine> Drive<M> {
    /// A loop of this thread, which must run a glommio executor.
    pub(super) fn new(parts: Parts<'_>, machine: Box<M>) -> Result<Self, DriveError> {
        let (mut kernel, buffers) = Kernel::new(parts)?;
        kernel.gear.ring.wake_on_completion(false);
        let sleeper = Sleeper::new(kernel.mailbox.bell())?;
        Ok(Self {
            kernel,
            buffers,
            machine: Some(machine),
            completed: Vec::new(),
            sleeper,
            timer: None,
            deadline: None,
            bell_armed: false,
            turn_panics: 0,
        })
    }

    /// Run until the machine is drained; all operations have ended then.
    pub(super) async fn run(mut self) -> Result<PlatformCounters, DriveError> {
        let mut turn = self.turn()?;
        while !turn.over {
            self.deadline = earliest(turn.deadline, self.kernel.next_timer());
            if self.look()? || self.is_due() {
                turn = self.turn()?;
                glommio::executor().yield_if_needed().await;
            } else {
                self.wait().await?;
            }
        }
        self.machine = None;
        self.finish().await
    }

    /// Wait, within bounds, until what the machine gave is written and nothing is under way.
    async fn finish(mut self) -> Result<PlatformCounters, DriveError> {
        let give_up = self.kernel.now().mono + RING_QUIESCE_MAX;
        self.kernel.wind_down();
        self.idle_until(give_up, Kernel::is_quiet).await?;
        self.kernel.end();
        if let Some((timer, _)) = self.timer.take() {
            self.kernel.gear.ring.cancel(timer, Tag::Nobody);
        }
        let give_up = self.kernel.now().mono + RING_QUIESCE_MAX;
        self.idle_until(give_up, |kernel| kernel.counters().operations == 0).await?;
        Ok(self.kernel.counters())
    }

    async fn idle_until(
        &mut self,
        give_up: Monotonic,
        reached: impl Fn(&Kernel) -> bool,
    ) -> io::Result<()> {
        loop {
            let happened = self.look()?;
            if reached(&self.kernel) || self.kernel.now().mono >= give_up {
                return Ok(());
            }
            if !happened {
                self.deadline = earliest(Some(give_up), self.kernel.next_timer());
                self.wait().await?;
            }
        }
    }

    /// Whether anything happened that the machine may want a turn for.
    fn look(&mut self) -> io::Result<bool> {
        let mut completed = std::mem::take(&mut self.completed);
        self.kernel.enter(&mut completed)?;
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
        if happened {
            self.disarm_bell();
        }
        Ok(happened)
    }

    fn settle(&mut self, completion: Completion<Tag>) {
        if completion.tag == Tag::Timer {
            self.timer = None;
            return;
        }
        self.kernel.settle(completion, &mut self.buffers);
        self.deliver_notices();
    }

    fn is_due(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= self.kernel.now().mono)
    }

    /// Give the machine its turn, and wake those that it posted to.
    fn turn(&mut self) -> Result<Turn, DriveError> {
        self.disarm_bell();
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

    /// Nothing happened: arm the bell and look once more, then sleep.
    async fn wait(&mut self) -> io::Result<()> {
        if !self.bell_armed {
            self.bell_armed = true;
            self.kernel.gear.ring.wake_on_completion(true);
            self.kernel.mailbox.fall_asleep();
            self.set_timer();
            return Ok(());
        }
        self.kernel.gear.counters.sleeps += 1;
        self.sleeper.sleep().await?;
        self.disarm_bell();
        Ok(())
    }

    fn disarm_bell(&mut self) {
        if std::mem::replace(&mut self.bell_armed, false) {
            self.kernel.mailbox.awake();
            self.kernel.gear.ring.wake_on_completion(false);
        }
    }

    /// Let the ring's timer fire no later than the deadline; earlier is harmless.
    fn set_timer(&mut self) {
        let Some(deadline) = self.deadline else { return };
        let ring = &mut self.kernel.gear.ring;
        match &mut self.timer {
            None => self.timer = Some((ring.timer(deadline, Tag::Timer), deadline)),
            Some((timer, at)) if deadline < *at => {
                // If it has fired meanwhile its completion is there, and it is set anew.
                ring.move_timer(*timer, deadline, Tag::Nobody);
                *at = deadline;
            }
            Some(_) => {}
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
                if knows(&self.kernel, stream) {
                    let bytes = self.buffers.bytes(&buffer, length);
                    let event = Event::Received { connection: ConnectionId(stream), bytes };
                    hand(self.machine.as_deref_mut(), &mut self.kernel, event);
                }
                self.buffers.give_back(buffer);
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
                if self.kernel.questions.is_known(question) {
                    let bytes = self.buffers.bytes(&buffer, length);
                    let event = Event::Datagram { id: DatagramId(question), bytes };
                    hand(self.machine.as_deref_mut(), &mut self.kernel, event);
                }
                self.buffers.give_back(buffer);
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
            // Closed or aborted between the completion and now.
            Notice::Connected { .. }
            | Notice::ConnectFailed { .. }
            | Notice::Ended { .. }
            | Notice::Lost { .. }
            | Notice::Sent { .. }
            | Notice::AskFailed { .. } => {}
        }
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
