//! What every part of a shard works with: the kernel, the time, and what is set.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::base::ids::ShardId;
use crate::base::prng::Prng;
use crate::base::time::{Monotonic, Now};
use crate::base::wheel::Wheel;
use crate::egress::diversions::Diversions;
use crate::mail::handling::TenantName;
use crate::outcome::counters::Counters;
use crate::policy::attempts::Attempts;
use crate::policy::rates::Rates;
use crate::policy::recipients::Callouts;
use crate::policy::tls_report::Collector;
use crate::shard::mesh::Crossing;
use crate::shard::platform::{ConnectionId, Platform};
use crate::shard::screening::Screening;
use crate::shard::settings::Settings;
use crate::shard::trace::Traces;

/// Lent to a part for the length of one call.
pub(crate) struct Context<'a, P: Platform> {
    /// The kernel.
    pub(crate) platform: &'a mut P,
    /// The time of this turn.
    pub(crate) now: Now,
    /// What is in force.
    pub(crate) settings: &'a Arc<Settings>,
    /// What the parts share.
    pub(crate) common: &'a mut Common,
}

/// What the parts of a shard share, on the shard's own thread.
#[derive(Debug)]
pub(crate) struct Common {
    /// Which shard this is.
    pub(crate) id: ShardId,
    /// Jitter, shuffles, half-open probes.
    pub(crate) prng: Prng,
    /// Deadlines of connections.
    pub(crate) timers: Wheel<Timer>,
    /// Who guesses passwords.
    pub(crate) attempts: Attempts,
    /// Tenants that have more in the queue than they may.
    pub(crate) outran: BTreeSet<TenantName>,
    /// How often strangers came.
    pub(crate) rates: Rates,
    /// What block lists are asked about strangers.
    pub(crate) screening: Screening,
    /// Which recipients servers behind know, and whose clients wait for that.
    pub(crate) callouts: Callouts<ConnectionId>,
    /// How sessions with MX hosts came to TLS, for reports to their domains.
    pub(crate) tls_sessions: Collector,
    /// Whose dialogue is followed.
    pub(crate) traces: Traces,
    /// What operators send by other ways.
    pub(crate) diversions: Diversions,
    /// What is counted.
    pub(crate) counters: Counters,
    /// What this shard sent to itself: it crosses nothing.
    pub(crate) local: VecDeque<Crossing>,
    /// Empty; room for octets on their way into TLS or out of it.
    pub(crate) plain: Vec<u8>,
}

impl Common {
    /// Nothing has happened yet.
    pub(crate) fn new(id: ShardId, prng: Prng, now: Monotonic) -> Self {
        Self {
            id,
            prng,
            timers: Wheel::new(now),
            attempts: Attempts::default(),
            outran: BTreeSet::new(),
            rates: Rates::default(),
            screening: Screening::default(),
            callouts: Callouts::default(),
            tls_sessions: Collector::default(),
            traces: Traces::default(),
            diversions: Diversions::default(),
            counters: Counters::default(),
            local: VecDeque::new(),
            plain: Vec::new(),
        }
    }
}

/// Whose deadline has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A client's session.
    Session(ConnectionId),
    /// A connection to a next hop.
    Outbound(ConnectionId),
    /// A connection to a milter.
    Milter(ConnectionId),
    /// A connection on which recipients are asked about.
    Callout(ConnectionId),
}

impl<P: Platform> Context<'_, P> {
    /// The time for deadlines.
    pub(crate) fn mono(&self) -> Monotonic {
        self.now.mono
    }

    /// Hand `crossing` to a shard; to this one without the mesh.
    pub(crate) fn post(&mut self, to: ShardId, crossing: Crossing) {
        if to == self.common.id {
            self.common.local.push_back(crossing);
        } else {
            self.platform.post(to, crossing);
        }
    }

    /// See that `timer` fires at `deadline` or earlier, given that it is `armed` for some time.
    ///
    /// The wheel forgets nothing and cancels nothing: a timer that fires too early is set again by
    /// whoever it wakes, so a session that moves its deadline with each command sets one timer.
    pub(crate) fn arm(
        &mut self,
        armed: &mut Option<Monotonic>,
        deadline: Option<Monotonic>,
        timer: Timer,
    ) {
        let Some(deadline) = deadline else { return };
        if armed.is_none_or(|at| deadline < at) {
            self.common.timers.insert(deadline, timer);
            *armed = Some(deadline);
        }
    }
}
