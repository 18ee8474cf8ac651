//! Decide what one shard does next at one site: connect, assign, close, defer, give back.
//!
//! In: jobs (recipients of one message, for one transaction), what became of connections, `now`.
//! Out: [`Action`]s, which the shard maps to I/O one by one until `poll` has none left.
//!
//! Where a message is sent and its reply awaited, another may follow on its connection: it does if
//! the site takes no further connection, or the reply usually comes sooner than a greeting.
//!
//! A site is *unproven* until a connection was ready: then, and while it is suspended, there is one
//! connection attempt at a time however much waits, since what a thousand attempts would find out
//! one does. Once proven, its window grows by one with each message taken, up to the limits. When
//! every endpoint has failed, the one job that this was for is deferred, all others go back to
//! their homes uncounted, and the site is suspended, each time for longer.
//!
//! Invariant: a job pushed comes back exactly once: by `Assign` and then `on_done`, by `Defer`, or
//! by `GiveBack`; or, after `Assign` and `on_failed`, by a further one of the three.
//! Lives on: one shard, as an owner; what holds over all shards is in `throttle`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::ids::ShardId;
use crate::base::limits::{
    BUSY_PAUSE, CONNECTION_LOOK_AGAIN, CONNECTION_YIELD_PAUSE, IDLE_CONNECTION_MAX,
    SITE_SUSPENSION_FIRST, SITE_SUSPENSION_MAX,
};
use crate::base::prng::Prng;
use crate::base::time::Monotonic;
use crate::egress::callbacks::Callbacks;
use crate::egress::cause::{Blame, Busy, Cause, Why};
use crate::egress::endpoints::{Endpoint, Endpoints};
use crate::egress::line::{Line, Sender};
use crate::egress::pool::{Pool, PooledId, Work};
use crate::egress::site::shaped::OutletStanding;
use crate::egress::site::shares::{Names, Shares};
use crate::egress::suspension::Suspension;
use crate::egress::throttle::{SharedSite, SiteLimits};

mod action;
mod connecting;
mod key;
mod shaped;
mod shares;
mod standing;

pub use action::{Action, Origin};
pub use key::{Leads, SiteKey};
pub use shaped::{OutletHere, Shaped};

/// A job in line.
#[derive(Clone, Copy, Debug)]
struct Item<J> {
    job: J,
    /// It has lost a connection already: the next loss is its attempt's outcome.
    lost: bool,
    /// Whose seats it has.
    seats: Names,
}

/// One site in one shard. `J` names a job: an index, a slot.
#[derive(Debug)]
pub struct Site<J> {
    here: ShardId,
    limits: SiteLimits,
    shared: Arc<SharedSite>,
    endpoints: Endpoints,
    line: Line<Item<J>>,
    pool: Pool<Item<J>>,
    suspension: Suspension,
    /// Connections that this shard may have at a time.
    window: u32,
    /// Decided and not polled.
    out: VecDeque<Action<J>>,
    callbacks: Callbacks,
    /// What kept the line waiting when it was last looked at, and when to look again.
    blocked: Option<(Why, Monotonic)>,
    /// Idle connections that another shard may come to need: when to look.
    look_at: Option<Monotonic>,
    /// Messages since another shard began to wait for a connection, or had its turn.
    turn: u32,
    /// After a connection was given up to another shard: no new one before.
    yielded_until: Monotonic,
    /// The last failure since something worked.
    cause: Option<Arc<Cause>>,
    /// Takes no more jobs.
    leaving: bool,
    /// What its sources may do, each by itself; `None`: `limits` hold for all of them together.
    shaped: Option<Box<Shaped>>,
    /// Whoever may have a share of the site alone; `None`: nobody that ever sent here.
    shares: Option<Box<Shares>>,
}

const _: () = assert!(CONNECTION_YIELD_PAUSE.as_millis() > 2 * CONNECTION_LOOK_AGAIN.as_millis());
/// Messages that a shard sends before its connection goes to the next one, where shards outnumber
/// connections.
const TURN_MESSAGES: u32 = 16;

impl<J: Copy> Site<J> {
    /// A site of which nothing is known but its endpoints, at least one.
    pub fn new(
        here: ShardId,
        limits: SiteLimits,
        shared: Arc<SharedSite>,
        endpoints: Vec<Endpoint>,
    ) -> Self {
        let mut site = Self {
            here,
            limits,
            shared,
            endpoints: Endpoints::default(),
            line: Line::default(),
            pool: Pool::default(),
            suspension: Suspension::new(SITE_SUSPENSION_FIRST, SITE_SUSPENSION_MAX),
            window: 1,
            out: VecDeque::new(),
            callbacks: Callbacks::default(),
            blocked: None,
            look_at: None,
            turn: 0,
            yielded_until: Monotonic(0),
            cause: None,
            leaving: false,
            shaped: None,
            shares: None,
        };
        site.set_endpoints(endpoints);
        site
    }

    /// Replace the endpoints, as DNS or the configuration has them now: in order of trial, equal
    /// preferences shuffled. What is known of an address that stays is kept.
    pub fn set_endpoints(&mut self, endpoints: Vec<Endpoint>) {
        self.endpoints.set(endpoints);
    }

    /// Replace the limits; connections above them go as they finish.
    pub fn set_limits(&mut self, limits: SiteLimits) {
        self.limits = limits;
    }

    /// Take a job, or say why not and until when. `probe`: this job is to find out whether the site
    /// works, suspended or not. `sender`: whose it is, of those of its home.
    pub fn push(
        &mut self,
        job: J,
        (origin, sender): (Origin, Sender),
        probe: bool,
        now: Monotonic,
    ) -> Result<(), Busy> {
        if self.leaving {
            return Err(Busy { why: Why::Leaving, until: now + BUSY_PAUSE });
        }
        if let Some((why, until)) = self.pause(now) {
            self.callbacks.add(origin);
            return Err(Busy { why, until });
        }
        if let Some((why, until)) = self.sender_pause(sender, now) {
            return Err(Busy { why, until });
        }
        self.lift(now, probe);
        if let Some(until) = self.suspension.until() {
            self.callbacks.add(origin);
            return Err(Busy { why: self.suspended(), until });
        }
        if self.line.is_full(origin.home, sender) && !probe {
            self.callbacks.add(origin);
            return Err(Busy { why: Why::Full(self.line.len()), until: now + BUSY_PAUSE });
        }
        if let Some(busy) = self.share_is_full(origin.home, sender, now).filter(|_| !probe) {
            return Err(busy);
        }
        self.callbacks.came();
        self.line.push(origin.home, sender, Item { job, lost: false, seats: [0; 2] });
        Ok(())
    }

    /// The job whose turn is next.
    pub fn next_in_line(&self) -> Option<J> {
        self.line.first().map(|item| item.job)
    }

    /// What to do next; `None`: nothing until something happens, or `next_due`. `may_connect`: the
    /// shard has room for another connection.
    pub fn poll(
        &mut self,
        now: Monotonic,
        may_connect: bool,
        prng: &mut Prng,
    ) -> Option<Action<J>> {
        self.lift(now, false);
        if self.out.is_empty() {
            self.decide(now, may_connect, prng);
        }
        self.out.pop_front()
    }

    fn decide(&mut self, now: Monotonic, may_connect: bool, prng: &mut Prng) {
        (self.blocked, self.look_at) = (None, None);
        if self.leaving && !self.line.is_empty() {
            return self.give_back(&Why::Leaving, now);
        }
        if self.shaped.is_some() && self.rest(now) {
            return;
        }
        self.look_at_shares(now);
        let suspended = self.suspension.until().is_some();
        let behind = |site: &mut Self| site.seated(now, Self::assign_behind);
        let action = self
            .seated(now, Self::assign)
            .or_else(|| if self.pool.answers_soon() { behind(self) } else { None })
            .or_else(|| self.connect(now, may_connect, prng))
            .or_else(|| if self.blocked.is_some() { behind(self) } else { None })
            .or_else(|| self.close_idle(now))
            .or_else(|| if suspended { None } else { self.call_back(now) });
        self.out.extend(action);
    }

    fn assign(&mut self, now: Monotonic) -> Option<Action<J>> {
        let connection = self.pool.last_idle().filter(|_| self.line.has_next())?;
        if self.must_yield() {
            self.give_way(now);
            return Some(self.close(connection));
        }
        if self.shaped.is_some() {
            return self.assign_shaped(now);
        }
        if self.is_spent(connection, now) {
            return Some(self.close(connection));
        }
        let item = self.take_from_line(now)?;
        let lent = self.pool.lend(item);
        assert_eq!(lent, connection, "the one used last");
        Some(Action::Assign { connection, job: item.job })
    }

    /// Let a job follow another, whose reply is awaited.
    fn assign_behind(&mut self, now: Monotonic) -> Option<Action<J>> {
        let connection = self.pool.first_open().filter(|_| self.line.has_next())?;
        // What must yield or is spent goes once it is idle. A job that lost its connection may have
        // been why, and is to take no other with it.
        if self.must_yield() || self.is_spent(connection, now) || self.line.is_again() {
            return None;
        }
        if self.shaped.is_some() {
            return self.assign_behind_shaped(now);
        }
        let item = self.take_from_line(now)?;
        let connection = self.pool.lend_behind(item);
        Some(Action::Assign { connection, job: item.job })
    }

    /// Take a job out of the line, which is not empty, to be assigned; if the rate lets it.
    fn take_from_line(&mut self, now: Monotonic) -> Option<Item<J>> {
        if let Some(rate) = self.limits.rate
            && let Err(at) = self.shared.try_message(self.here, rate, now)
        {
            self.blocked = Some((Why::Rate(rate), at));
            return None;
        }
        Some(self.pop_line())
    }

    fn pop_line(&mut self) -> Item<J> {
        self.turn = if self.shared.others_wait(self.here) { self.turn + 1 } else { 0 };
        let mut item = self.line.pop().expect("not empty");
        self.take_seated(&mut item);
        item
    }

    /// Whether a connection must go to another shard that waits for one.
    fn must_yield(&self) -> bool {
        if !self.shared.others_wait(self.here) {
            return false;
        }
        match self.shared.share(self.here, self.limits.connections) as usize {
            0 => self.pool.len() > 1 || self.turn >= TURN_MESSAGES,
            share => self.pool.len() > share,
        }
    }

    /// Let another shard that waits have the next connection.
    fn give_way(&mut self, now: Monotonic) {
        self.turn = 0;
        self.yielded_until = now + CONNECTION_YIELD_PAUSE;
        self.shared.give_way(self.here);
    }

    /// Whether limits, which may have been lowered, let a connection carry nothing more.
    fn is_spent(&self, connection: PooledId, now: Monotonic) -> bool {
        let limit = match self.outlet_standing(connection, now) {
            Some(OutletStanding::Open(limit)) => limit,
            Some(OutletStanding::Shut) => return true,
            None => self.limits.messages_per_connection,
        };
        self.pool.messages(connection) >= limit
            || self.shared.connections() > self.limits.connections
    }

    fn call_back(&mut self, now: Monotonic) -> Option<Action<J>> {
        let (to, room) = self.callbacks.next(self.line.len() - self.line.len_aside(), now)?;
        Some(Action::CallBack { to, room })
    }

    fn close(&mut self, connection: PooledId) -> Action<J> {
        self.remove(connection);
        Action::Close { connection }
    }

    fn remove(&mut self, connection: PooledId) -> Option<(std::net::SocketAddr, Work<Item<J>>)> {
        self.release_outlet(connection);
        let removed = self.pool.remove(connection)?;
        self.release(self.pool.len());
        Some(removed)
    }

    fn release(&self, left: usize) {
        self.shared.release(self.here, u32::try_from(left).unwrap_or(u32::MAX));
    }

    /// The connection was greeted and may carry mail.
    pub fn on_ready(&mut self, connection: PooledId, now: Monotonic) {
        let Some(address) = self.pool.address(connection) else {
            return;
        };
        self.pool.greeted(connection, now);
        self.endpoints.succeeded(address);
        self.suspension.prove();
        self.cause = None;
    }

    /// All of what was assigned to the connection is sent: another job may follow behind.
    pub fn on_sent(&mut self, connection: PooledId, now: Monotonic) {
        self.pool.sent(connection, now);
    }

    /// The connection has done what was assigned first and its job's outcome is the shard's matter
    /// now. `keep`: it carries what follows, or may carry another; otherwise nothing follows, and
    /// the shard has ended it, or is about to.
    pub fn on_done(&mut self, connection: PooledId, keep: bool, now: Monotonic) {
        if self.pool.address(connection).is_none() {
            return;
        }
        self.window = self.window.saturating_add(1).min(self.limits.connections.max(1));
        if let Some(done) = self.pool.finish(connection, now) {
            self.unseat(done.seats);
        }
        if !keep {
            self.on_closed(connection, now);
        } else if self.pool.last_idle() == Some(connection) && self.is_spent(connection, now) {
            let close = self.close(connection);
            self.out.push_back(close);
        }
    }

    /// The connection ended and nobody failed: what it carried is tried on another.
    pub fn on_closed(&mut self, connection: PooledId, now: Monotonic) {
        match self.remove(connection) {
            Some((_, Work::Busy { first, behind })) => {
                let items = [Some(first), behind].into_iter().flatten();
                items.for_each(|item| self.line.push_again(item));
            }
            Some((address, Work::Opening)) => self.endpoints.untold(address, now),
            Some((_, Work::Idle(_))) | None => {}
        }
    }

    /// Where a connection leads.
    pub fn address(&self, connection: PooledId) -> Option<SocketAddr> {
        self.pool.address(connection)
    }

    /// The connection could not be opened, or ended with its job undone; the shard has closed it.
    /// The job is tried again on another connection where `blame` lets it, else it is deferred. One
    /// that followed behind it had no answer, and is tried again.
    pub fn on_failed(
        &mut self,
        connection: PooledId,
        blame: Blame,
        cause: Cause,
        now: Monotonic,
        prng: &mut Prng,
    ) {
        let reused = self.pool.messages_before(connection) > 0;
        let Some((address, work)) = self.remove(connection) else {
            return;
        };
        let cause = Arc::new(cause);
        self.cause = Some(cause.clone());
        let opening = matches!(work, Work::Opening);
        if let Work::Busy { first, behind } = work {
            self.try_again(first, blame == Blame::Connection && !reused, &cause);
            behind.into_iter().for_each(|item| self.line.push_again(item));
        }
        if blame == Blame::Endpoint || opening {
            self.endpoints.failed(address, now);
            self.window = (self.window / 2).max(1);
        }
        let none_left = self.pool.len() == 0 && !self.endpoints.any_live(now);
        if blame == Blame::Site || (none_left && (opening || blame == Blame::Endpoint)) {
            self.line.let_back(|_| true);
            if let Some(Item { job, seats, .. }) = self.line.pop() {
                self.unseat(seats);
                self.out.push_back(Action::Defer { job, cause });
            }
            self.suspend(now, prng);
        }
    }

    /// Put a job that lost its connection before all others. `counts`: once only; a connection that
    /// carried mail before and was closed as we used it again says nothing about the job.
    fn try_again(&mut self, item: Item<J>, counts: bool, cause: &Arc<Cause>) {
        if counts && item.lost {
            self.unseat(item.seats);
            self.out.push_back(Action::Defer { job: item.job, cause: cause.clone() });
        } else {
            self.line.push_again(Item { lost: item.lost || counts, ..item });
        }
    }

    /// Leave the site alone for a while and give back what waits.
    fn suspend(&mut self, now: Monotonic, prng: &mut Prng) {
        let until = self.suspension.suspend(now, prng);
        self.window = 1;
        let why = self.suspended();
        self.give_back(&why, until);
    }

    fn give_back(&mut self, why: &Why, until: Monotonic) {
        self.line.let_back(|_| true);
        while let Some(Item { job, seats, .. }) = self.line.pop() {
            self.unseat(seats);
            self.out.push_back(Action::GiveBack { job, why: why.clone(), until });
        }
        self.stop_waiting();
        self.stop_waiting_for_shares();
    }

    /// End a suspension whose time is over: all endpoints may be tried again, one at a time.
    fn lift(&mut self, now: Monotonic, at_once: bool) {
        if self.suspension.lift(now, at_once) {
            self.endpoints.revive();
        }
    }

    fn suspended(&self) -> Why {
        Why::Suspended { failures: self.suspension.failures(), cause: self.cause.clone() }
    }

    /// Take no more jobs, give back those that wait, close what is idle. Busy connections finish.
    pub fn leave(&mut self, now: Monotonic) {
        self.leaving = true;
        self.give_back(&Why::Leaving, now);
    }

    /// Give back the jobs that wait: they may have another way now.
    pub fn give_line_back(&mut self, now: Monotonic) {
        self.give_back(&Why::Diverted, now);
    }

    /// When to poll next if nothing happens before.
    pub fn next_due(&self) -> Option<Monotonic> {
        if !self.out.is_empty() {
            return Some(Monotonic(0));
        }
        let blocked = self.blocked.as_ref().map(|(_, at)| *at).filter(|at| at.0 < u64::MAX);
        let idle = self.pool.idle_until(IDLE_CONNECTION_MAX).map(|(_, until)| until);
        let calls = self.suspension.until().filter(|_| !self.callbacks.is_empty());
        let calls = calls.or_else(|| self.callbacks.next_due());
        [blocked, self.look_at, idle, calls, self.share_due()].into_iter().flatten().min()
    }
}

/// Connections that were still open count no more: the shard that ends a site ends them too.
impl<J> Drop for Site<J> {
    fn drop(&mut self) {
        if let Some(shaped) = &self.shaped {
            self.pool.outlets().for_each(|outlet| shaped.release(outlet));
        }
        if let Some(shares) = &mut self.shares {
            shares.end(self.here, &self.shared);
        }
        for left in (0..self.pool.len()).rev() {
            self.shared.release(self.here, u32::try_from(left).unwrap_or(u32::MAX));
        }
        self.stop_waiting();
    }
}

#[cfg(test)]
mod tests;
