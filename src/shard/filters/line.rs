//! One connection to a milter: what the platform and the conversation's machine say to each other.

use crate::base::limits::{CONTENT_BURST, MILTER_IDLE_MAX};
use crate::base::slots::Slot;
use crate::base::time::Monotonic;
use crate::milter::{Address, Client, Letter, Options};
use crate::shard::context::{Context, Timer};
use crate::shard::platform::{ConnectionId, Platform};

/// A connection to a milter.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) client: Client,
    pub(super) address: Address,
    pub(super) state: State,
    /// Something was given to the platform that has not left yet.
    pub(super) is_sending: bool,
    /// The earliest timer that is set for it.
    pub(super) armed: Option<Monotonic>,
    is_connected: bool,
    /// The platform does not know it any more.
    is_gone: bool,
    /// Since when nobody has used it.
    rests_since: Monotonic,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// For whoever comes.
    Idle,
    /// This message.
    Asked(Slot),
    /// Nothing any more.
    Parting,
}

impl Line {
    /// A connection that is being made.
    pub(super) fn new(address: Address, options: Options, now: Monotonic) -> Self {
        Self {
            client: Client::new(options, now),
            address,
            state: State::Idle,
            is_sending: false,
            armed: None,
            is_connected: false,
            is_gone: false,
            rests_since: now,
        }
    }

    /// It is there.
    pub(super) fn connected(&mut self) {
        self.is_connected = true;
        self.client.handle_connected();
    }

    /// It broke.
    pub(super) fn lost(&mut self, why: &str) {
        self.is_gone = true;
        self.client.handle_lost(why);
    }

    /// Its message has been dealt with.
    pub(super) fn rest(&mut self, now: Monotonic) {
        self.state = State::Idle;
        self.rests_since = now;
    }

    /// Part from the milter.
    pub(super) fn part(&mut self) {
        self.state = State::Parting;
        self.client.quit();
    }

    /// Whether the milter's words take so much memory that it matters.
    pub(super) fn holds_much(&self) -> bool {
        self.client.memory() > CONTENT_BURST
    }

    /// Time has passed; its message is to be dealt with by `due`.
    pub(super) fn handle_deadline(&mut self, due: Option<Monotonic>, now: Monotonic) {
        self.client.handle_deadline(now);
        let is_late = due.is_some_and(|due| due <= now);
        if is_late {
            self.client.handle_lost("no time is left for it");
        }
        if self.state == State::Idle && self.rests_since + MILTER_IDLE_MAX <= now {
            self.part();
        }
    }

    /// Send what the conversation says.
    pub(super) fn send<P: Platform>(
        &mut self,
        id: ConnectionId,
        letter: Option<&Letter>,
        cx: &mut Context<'_, P>,
    ) {
        if !self.is_connected || self.is_gone || self.is_sending {
            return;
        }
        let mut output = Vec::new();
        self.client.take_output(letter, &mut output, cx.mono());
        if !output.is_empty() {
            self.is_sending = true;
            cx.platform.send(id, output);
        }
    }

    /// Set its timer; `false` if it is over, and has been let go.
    pub(super) fn settle<P: Platform>(
        &mut self,
        id: ConnectionId,
        due: Option<Monotonic>,
        cx: &mut Context<'_, P>,
    ) -> bool {
        if self.client.is_over() {
            if !self.is_gone {
                self.let_go(id, cx);
            }
            return false;
        }
        let rested = self.rests_since + MILTER_IDLE_MAX;
        let until = match self.state {
            State::Idle | State::Parting => Some(rested),
            State::Asked(_) => due,
        };
        let deadline = self.client.deadline().into_iter().chain(until).min();
        cx.arm(&mut self.armed, deadline, Timer::Milter(id));
        true
    }

    /// With its farewell, where there is one and nothing stands before it.
    fn let_go<P: Platform>(&mut self, id: ConnectionId, cx: &mut Context<'_, P>) {
        let mut farewell = Vec::new();
        self.client.take_output(None, &mut farewell, cx.mono());
        if !self.is_connected || self.is_sending || farewell.is_empty() {
            return cx.platform.abort(id);
        }
        cx.platform.send(id, farewell);
        cx.platform.close(id);
    }
}
