//! Slow down those who send content while too much of it waits for the disk.
//!
//! All at once, since each may have sent far more than it is read at a time; and let them go on in
//! turn, as many as there is room for.

use crate::base::limits::SESSION_HELD_MAX;
use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::ingress::{Inbound, Ingress};
use crate::shard::platform::{ConnectionId, Platform};

impl Inbound {
    /// Keep what came behind a question that is being answered; no more than a bound.
    pub(super) fn hold<P: Platform>(&mut self, bytes: &[u8], cx: &mut Context<'_, P>) {
        self.held.extend_from_slice(bytes);
        if !self.paused && self.held.len() > SESSION_HELD_MAX {
            self.paused = true;
            cx.platform.pause(self.client.connection);
        }
    }

    /// Read on, unless something else speaks against it.
    pub(super) fn resume<P: Platform>(&self, cx: &mut Context<'_, P>) {
        if !self.paused && !self.slowed {
            cx.platform.resume(self.client.connection);
        }
    }
}

impl Ingress {
    /// Read nobody on who sends content, if too much of it waits; `connection` has just sent some.
    pub(super) fn slow<P: Platform>(
        &mut self,
        connection: ConnectionId,
        commit: &Commit,
        cx: &mut Context<'_, P>,
    ) {
        let was_pressed = std::mem::replace(&mut self.pressed, commit.is_pressed());
        if !self.pressed {
            return;
        }
        let ids = if was_pressed { vec![connection] } else { self.sessions.ids() };
        for connection in ids {
            let Some(inbound) = self.sessions.get_mut(connection) else { continue };
            if inbound.receiving.is_some() && !inbound.slowed {
                inbound.slowed = true;
                self.slowed.push_back(connection);
                cx.platform.pause(connection);
            }
        }
    }

    /// Read on those who were slowed, as many as there is room for.
    pub(crate) fn relieve<P: Platform>(&mut self, commit: &Commit, cx: &mut Context<'_, P>) {
        if self.slowed.is_empty() {
            return;
        }
        for _ in 0..commit.relieved() {
            let Some(connection) = self.slowed.pop_front() else { return };
            if let Some(inbound) = self.sessions.get_mut(connection) {
                inbound.slowed = false;
                inbound.resume(cx);
            }
        }
    }
}
