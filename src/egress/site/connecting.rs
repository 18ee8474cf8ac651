//! When a site takes a further connection, and when one goes.

use crate::base::limits::{CONNECTION_LOOK_AGAIN, CONNECTION_YIELD_PAUSE, IDLE_CONNECTION_MAX};
use crate::base::prng::Prng;
use crate::base::time::Monotonic;
use crate::egress::cause::Why;
use crate::egress::site::{Action, Site};

impl<J: Copy> Site<J> {
    pub(super) fn connect(
        &mut self,
        now: Monotonic,
        may_connect: bool,
        prng: &mut Prng,
    ) -> Option<Action<J>> {
        let has_idle = self.pool.idle() > 0 && !self.another_outlet_would_send(now);
        if self.wanted() <= self.pool.opening() || has_idle {
            self.stop_waiting();
            // Somebody may wait for its share all the same.
            if !self.line.has_next() {
                self.blocked = self.line.first_aside().cloned().zip(self.share_due());
            }
            return None;
        }
        if !self.endpoints.any_live(now) && self.pool.len() == 0 {
            if !self.suspension.is_proven() {
                self.suspend(now, prng);
                return None;
            }
            // They took no further connection while they carried mail: that is over.
            self.endpoints.revive();
        }
        if let Some(blocked) = self.no_connection(now, may_connect) {
            self.blocked = Some(blocked);
            return None;
        }
        let endpoint = self.endpoints.choose(now).expect("one is live");
        let outlet = match self.take_outlet(endpoint.address.ip(), now) {
            Ok(outlet) => outlet,
            Err(blocked) => {
                self.blocked = Some(blocked);
                self.endpoints.untold(endpoint.address, now);
                self.release(self.pool.len());
                return None;
            }
        };
        let connection = self.pool.connect(endpoint.address, outlet, now);
        Some(Action::Connect { connection, endpoint, source: outlet.map(usize::from) })
    }

    /// What speaks against another connection, and when to look again; none: it has been granted.
    fn no_connection(&mut self, now: Monotonic, may_connect: bool) -> Option<(Why, Monotonic)> {
        let limit = self.limits.connections;
        if self.pool.len() == 0 && self.must_yield() {
            self.give_way(now);
        }
        if let Some(blocked) = self.no_use(now, may_connect) {
            self.stop_waiting();
            return Some(blocked);
        }
        let held = u32::try_from(self.pool.len()).expect("below the limit");
        let granted = self.shared.try_connection(self.here, held, limit);
        (!granted).then_some((Why::Connections(limit), now + CONNECTION_LOOK_AGAIN))
    }

    /// Why this shard has no use for another connection, whatever other shards have.
    fn no_use(&self, now: Monotonic, may_connect: bool) -> Option<(Why, Monotonic)> {
        // What frees these is an event here, after which the shard polls anyway.
        let never = Monotonic(u64::MAX);
        let (held, limit) = (self.pool.len(), self.limits.connections);
        if !self.suspension.is_proven() && self.pool.opening() > 0 {
            Some((Why::Unproven, never))
        } else if held >= limit as usize {
            Some((Why::Connections(limit), never))
        } else if held >= self.window as usize {
            Some((Why::Window(self.window), never))
        } else if !self.endpoints.any_live(now) {
            Some((Why::Endpoints, self.endpoints.next_trial().unwrap_or(never)))
        } else if !may_connect {
            Some((Why::ShardConnections, now + CONNECTION_YIELD_PAUSE))
        } else {
            let yields = now < self.yielded_until;
            yields.then_some((Why::Connections(limit), self.yielded_until))
        }
    }

    /// Connections that nothing needs: idle for long, wanted by another shard, of a suspended site.
    pub(super) fn close_idle(&mut self, now: Monotonic) -> Option<Action<J>> {
        let (oldest, until) = self.pool.idle_until(IDLE_CONNECTION_MAX)?;
        let useless = self.suspension.until().is_some() || self.leaving || self.is_paused(now);
        let above = self.shared.connections() > self.limits.connections;
        let (wanted, scarce) = self.is_wanted(oldest, now);
        if until <= now || useless || above || (wanted && !self.line.has_next()) {
            return Some(self.close(oldest));
        }
        let scarce = scarce || self.shared.connections() == self.limits.connections;
        if !self.line.has_next() && self.shared.others_wait(self.here) {
            self.shared.give_way(self.here);
            return Some(self.close(oldest));
        }
        self.look_at = (!self.line.has_next() && scarce).then_some(now + CONNECTION_YIELD_PAUSE);
        None
    }
}
