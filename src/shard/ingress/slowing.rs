//! Slow down those who send content while too much of it waits for the disk.
//!
//! All at once, since each may have sent far more than it is read at a time; and let them go on in
//! turn, as many as there is room for.

use crate::shard::commit::Commit;
use crate::shard::context::Context;
use crate::shard::ingress::Ingress;
use crate::shard::platform::{ConnectionId, Platform};

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
