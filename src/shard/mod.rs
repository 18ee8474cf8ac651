//! Floor 5: one core's relay: composes everything; generic over `Platform`.
//!
//! A [`Shard`] is a machine: it is fed what happened, acts, and takes a turn. Its parts, in the
//! order in which a message meets them:
//!
//! ```text
//! ingress ─► filters ─► commit ─► dispatch ─► mesh ─► delivery ◄─ lookup
//!                          ▲          ▲                  │
//!                          └─ report ─┴────── mesh ◄─────┘
//! ```
//!
//! Ingress, filters, commit, dispatch and report work for messages whose *home* this shard is;
//! lookup and delivery for destination domains that it *owns*; callouts ask servers behind about
//! recipients that its clients name. Nothing here waits: whatever takes time comes back as an
//! event.

mod callouts;
mod carry;
mod commit;
mod connections;
mod context;
mod delivery;
mod dispatch;
mod drain;
mod early;
mod filters;
mod finding;
mod ingress;
mod journal;
mod load;
mod lookup;
mod memory;
mod notices;
mod operate;
mod outbound;
mod owed;
mod reasons;
mod recovering;
mod refusals;
mod report;
mod requests;
mod returns;
mod screening;
mod securing;
mod settling;
mod shaping;
mod signing;
mod site_row;
mod sites;
mod snapshot;
mod suppressing;
mod tls_told;
mod trace;
mod upstreams;
mod verifying;
mod waits;

pub mod commands;
pub mod injecting;
pub mod mesh;
mod moving;
mod parting;
pub mod platform;
pub mod settings;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::ids::ShardId;
use crate::base::limits::TURN_ROUNDS_MAX;
use crate::base::prng::Prng;
use crate::base::time::{Monotonic, Now};
use crate::egress::diversions::Orders;
use crate::egress::owner::Loads;
use crate::egress::throttle::SharedSites;
use crate::policy::admission::Admission;
use crate::queue::{Pause, Queue, SharedPaces};
use crate::shard::callouts::Callers;
use crate::shard::commands::Answer;
use crate::shard::commit::{Commit, CommitEvent, From};
use crate::shard::context::{Common, Context, Timer};
use crate::shard::delivery::Delivery;
use crate::shard::dispatch::{Home, record_at};
use crate::shard::drain::{Drain, Drained};
use crate::shard::early::EarlyClients;
use crate::shard::filters::Filters;
use crate::shard::ingress::Ingress;
use crate::shard::journal::Journal;
use crate::shard::lookup::Lookups;
use crate::shard::memory::Memory;
use crate::shard::mesh::Crossing;
use crate::shard::operate::Operations;
use crate::shard::platform::{ConnectionId, Event, Machine, Platform, Turn};
use crate::shard::recovering::Recovering;
use crate::shard::settings::Settings;
use crate::spool::log::Log;
use crate::spool::recovery::Recovery;

/// What all shards of a process share: atomics and rarely taken locks, nothing that waits.
#[derive(Debug)]
pub struct Shared {
    /// What each shard carries as an owner.
    pub loads: Arc<Loads>,
    /// Limits that hold over all shards.
    pub sites: Arc<SharedSites>,
    /// The same, of tenants and campaigns.
    paces: Arc<SharedPaces>,
    /// Who has drained.
    drained: Drained,
}

impl Shared {
    /// For a process of so many shards.
    pub fn new(shards: usize) -> Self {
        Self::with(shards, Arc::default())
    }

    /// The same, where somebody else knows the sites too.
    pub fn with(shards: usize, sites: Arc<SharedSites>) -> Self {
        let (paces, drained) = (Arc::default(), Drained::new(shards));
        Self { loads: Arc::new(Loads::new(shards)), sites, paces, drained }
    }
}

/// What a shard starts from.
#[derive(Debug)]
pub struct Start {
    /// Which shard it is.
    pub id: ShardId,
    /// The configuration in force.
    pub settings: Arc<Settings>,
    /// What it shares with the others.
    pub shared: Arc<Shared>,
    /// Its own directory's log first, then those that it adopted, each with its recovery.
    pub logs: Vec<(u16, Log, Recovery)>,
    /// Not to be predicted from outside.
    pub prng: Prng,
    /// The time.
    pub now: Now,
    /// The number of its first event: no run before had it.
    pub first_event: u64,
}

/// One core's relay.
#[derive(Debug)]
pub struct Shard {
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    common: Common,
    early: EarlyClients,
    ingress: Ingress,
    commit: Commit,
    home: Home,
    recovering: Recovering,
    operations: Operations,
    lookups: Lookups,
    filters: Filters,
    callers: Callers,
    delivery: Delivery,
    drain: Option<Drain>,
    fired: Vec<Timer>,
}

/// Borrow a context beside the parts.
macro_rules! context {
    ($shard:ident, $platform:ident) => {
        &mut Context {
            now: $platform.now(),
            platform: $platform,
            settings: &$shard.settings,
            common: &mut $shard.common,
        }
    };
}

impl Shard {
    /// A shard that is to find the mail in its directories.
    pub fn new(start: Start) -> Self {
        let Start { id, settings, shared, logs, mut prng, now, first_event } = start;
        let schedule = &settings.schedule;
        let queue = Queue::new(schedule.delay_report_after, schedule.lifetime, settings.hot_bytes);
        let queue = queue.sharing(id, shared.paces.clone());
        let mut home = Home::new(queue, shared.loads.clone(), Journal::new(first_event));
        home.reconfigure(&settings);
        shared.loads.set_excess(settings.shard_excess_percent);
        home.follow(now);
        let split = |(directory, log, recovery)| ((directory, log), (directory, recovery));
        let (opened, recoveries): (Vec<_>, Vec<_>) = logs.into_iter().map(split).unzip();
        let dns_prng = prng.fork();
        Self {
            early: EarlyClients::default(),
            ingress: Ingress::new(Admission::new(settings.admission.clone())),
            commit: Commit::new(opened, Memory::new(settings.memory_bytes)),
            home,
            recovering: Recovering::new(recoveries.into_iter()),
            operations: Operations::default(),
            lookups: Lookups::new(settings.dns.clone(), settings.own_names.clone(), dns_prng),
            filters: Filters::default(),
            callers: Callers::new(&settings),
            delivery: Delivery::new(id, &settings, shared.sites.clone(), now.mono),
            drain: None,
            fired: Vec::new(),
            common: Common::new(id, prng, now.mono),
            settings,
            shared,
        }
    }

    fn crossing<P: Platform>(&mut self, crossing: Crossing, platform: &mut P) {
        match crossing {
            Crossing::Dispatch(dispatch) => {
                let cx = context!(self, platform);
                self.delivery.dispatch(*dispatch, &mut self.lookups, cx);
            }
            Crossing::Report(report) => {
                let cx = context!(self, platform);
                self.home.report(*report, &mut self.commit, cx);
            }
            Crossing::Resume { domain, room } => self.home.resume(domain, room),
            Crossing::Request(request) => self.answer(request, platform),
            Crossing::Reload(settings) => self.reload(settings, platform),
            Crossing::Pauses(pauses) => self.pause(&pauses),
            Crossing::Stir => self.delivery.stir_all(),
            Crossing::Diverted(orders) => self.divert(orders, platform),
            Crossing::Drain => self.start_drain(platform),
        }
    }

    fn reload<P: Platform>(&mut self, settings: Arc<Settings>, platform: &mut P) {
        self.ingress.admission().replace_limits(settings.admission.clone());
        self.commit.memory.set_limit(settings.memory_bytes);
        self.lookups.reconfigure(settings.dns.clone(), settings.own_names.clone());
        self.home.reconfigure(&settings);
        self.settings = settings;
        self.common.diversions = self.settings.diversions(self.common.diversions.orders());
        if !self.settings.tells_of_tls {
            self.common.tls_sessions.clear();
        }
        self.callers.reconfigure(context!(self, platform));
        self.delivery.reconfigure(context!(self, platform));
    }

    fn start_drain<P: Platform>(&mut self, platform: &mut P) {
        if self.drain.is_some() {
            return;
        }
        let cx = context!(self, platform);
        self.drain = Some(Drain::new(cx.mono() + cx.settings.drain_deadline));
        cx.platform.stop_listening();
        self.home.drain();
        self.delivery.drain(cx);
        self.ingress.drain(&mut self.commit, cx);
    }

    fn fire_timers<P: Platform>(&mut self, platform: &mut P) {
        let mut fired = std::mem::take(&mut self.fired);
        self.common.timers.expire(platform.now().mono, &mut fired);
        for timer in fired.drain(..) {
            let cx = context!(self, platform);
            match timer {
                Timer::Session(id) => self.ingress.timer(id, &mut self.commit, cx),
                Timer::Outbound(id) => self.delivery.timer(id, cx),
                Timer::Milter(id) => self.filters.timer(id),
                Timer::Callout(id) => self.callers.timer(id, cx),
            }
        }
        self.fired = fired;
    }

    fn received<P: Platform>(&mut self, id: ConnectionId, bytes: &[u8], platform: &mut P) {
        let cx = context!(self, platform);
        if self.ingress.has(id) {
            self.ingress.received(id, bytes, &mut self.commit, cx);
        } else if self.lookups.has(id) {
            self.lookups.received(id, bytes, cx);
        } else if self.filters.has(id) {
            self.filters.received(id, bytes, cx.mono());
        } else if self.callers.has(id) {
            self.callers.received(id, bytes, cx);
        } else {
            self.delivery.received(id, bytes, cx);
        }
    }

    /// Act on what the logs came to know.
    fn settle_commits<P: Platform>(&mut self, platform: &mut P) {
        self.commit.listen(context!(self, platform));
        while let Some(event) = self.commit.poll_event() {
            let cx = context!(self, platform);
            match event {
                CommitEvent::Stored { stored, directory, accepted, from, took } => {
                    self.home.accept(&stored, (directory, accepted.at()), took, cx);
                    match from {
                        From::Session(connection) | From::Held(connection, _) => {
                            self.ingress.stored(connection, &accepted, &mut self.commit, cx);
                        }
                        From::Answered => {}
                        From::Dsn(about) => self.home.dsn_stored(&about, &mut self.commit),
                        From::Control(request) => request.answer(Answer::Submitted(stored.id)),
                    }
                }
                CommitEvent::Refused {
                    from: From::Session(connection) | From::Held(connection, _),
                    why,
                } => {
                    self.ingress.refused(connection, why, &mut self.commit, cx);
                }
                CommitEvent::Refused { from: From::Answered, .. } => {
                    unreachable!("what was answered is owed, not refused")
                }
                CommitEvent::Refused { from: From::Dsn(about), why: _ } => {
                    self.home.dsn_refused(&about, &mut self.commit, cx);
                }
                CommitEvent::Refused { from: From::Control(request), why } => {
                    requests::answer_unstored(*request, why);
                }
                CommitEvent::Noted { id, recipient, directory, at } => {
                    self.home.noted(id, recipient, record_at(directory, at));
                }
                CommitEvent::Move { id } => self.home.move_message(id),
                CommitEvent::Moved { id, directory, at, states } => {
                    self.home.moved(id, directory, at, states);
                }
            }
        }
    }

    /// Let nothing of these depart, and everything else.
    pub fn pause(&mut self, pauses: &BTreeSet<Pause>) {
        self.home.queue.set_pauses(pauses);
    }

    /// These go other ways than the configuration says, from the first message on.
    pub fn begin_diverted(&mut self, orders: Arc<Orders>) {
        self.common.diversions = self.settings.diversions(orders);
    }

    /// The same, of one that runs: what waits goes the new ways too.
    fn divert<P: Platform>(&mut self, orders: Arc<Orders>, platform: &mut P) {
        self.begin_diverted(orders);
        self.delivery.divert(context!(self, platform));
        self.home.queue.try_again();
    }

    /// What is to be done when nothing happens meanwhile.
    fn deadline(&self, now: Now) -> Option<Monotonic> {
        let busy = !self.operations.is_idle()
            || !self.common.local.is_empty()
            || !self.commit.signing.is_empty()
            || self.home.reports.has_to_read()
            || self.common.screening.is_busy()
            || self.common.callouts.is_busy()
            || self.lookups.has_found()
            || self.filters.is_busy(&self.commit);
        let at_once = busy.then_some(now.mono);
        [
            self.common.timers.next(),
            self.commit.deadline(now.mono),
            self.commit.verifying.deadline(now.mono),
            self.home.deadline(now),
            self.recovering.deadline(now.mono).filter(|_| self.drain.is_none()),
            self.lookups.deadline(),
            self.filters.deadline(),
            self.callers.deadline(),
            self.common.callouts.deadline(),
            self.delivery.deadline(),
            self.drain.as_ref().map(|drain| drain.look_again(now.mono)),
            at_once,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Whether this shard has drained, and all others have.
    fn drained<P: Platform>(&mut self, platform: &mut P) -> bool {
        let Some(drain) = &mut self.drain else { return false };
        let cx = context!(self, platform);
        if drain.is_late(cx.mono()) {
            self.ingress.cut(&mut self.commit, cx);
            self.delivery.cut(cx);
        }
        let idle = self.ingress.is_empty()
            && self.filters.is_idle()
            && self.home.is_idle()
            && self.delivery.is_idle()
            && self.commit.is_idle();
        drain.is_over(idle, &self.shared.drained)
    }
}

impl Machine for Shard {
    fn handle<P: Platform>(&mut self, event: Event<'_>, platform: &mut P) {
        self.home.follow(platform.now());
        if self.is_early() && self.early.handle(&event, self.ingress.admission(), platform) {
            return;
        }
        let cx = context!(self, platform);
        let (ingress, commit) = (&mut self.ingress, &mut self.commit);
        match event {
            Event::Accepted { connection, listener, peer, local: _ } => {
                ingress.accepted(connection, listener, peer, commit, cx);
            }
            Event::Received { connection, bytes } => self.received(connection, bytes, platform),
            Event::Sent { connection: id } => {
                ingress.sent(id);
                self.filters.sent(id);
                self.delivery.sent(id, cx);
            }
            Event::Connected { connection: id, local } => {
                self.lookups.connected(id, cx);
                self.filters.connected(id);
                self.callers.connected(id, cx);
                self.delivery.connected(id, local, cx);
            }
            Event::ConnectFailed { connection: id, error } => {
                let why = error.to_string();
                self.lookups.lost(id, &why, cx);
                self.filters.lost(id, &why);
                self.callers.lost(id, &why, cx);
                self.delivery.connect_failed(id, error, cx);
            }
            Event::Ended { connection: id } => {
                ingress.ended(id, commit, cx);
                if self.lookups.has(id) {
                    cx.platform.abort(id);
                    self.lookups.lost(id, "the server hung up", cx);
                }
                self.filters.ended(id);
                self.callers.ended(id, cx);
                self.delivery.ended(id, cx);
            }
            Event::Lost { connection: id, error } => {
                ingress.lost(id, commit);
                let why = error.to_string();
                self.lookups.lost(id, &why, cx);
                self.filters.lost(id, &why);
                self.callers.lost(id, &why, cx);
                self.delivery.lost(id, cx);
            }
            Event::Datagram { id, bytes } => self.lookups.datagram(id, bytes, cx),
            Event::DatagramFailed { id, error } => self.lookups.datagram_failed(id, error, cx),
            Event::SegmentReady { segment, result } => commit.segment_ready(segment, result),
            Event::SegmentOpened { segment, result } => self.recovering.opened(segment, result, cx),
            Event::Committed { segment, result } => commit.committed(segment, result, cx),
            Event::Populated { ticket } => self.home.populated(ticket, commit, cx),
            Event::PolicyFetched { ticket, result } => {
                self.delivery.policy_fetched(ticket, result, &mut self.lookups, cx);
            }
            Event::Verified { connection, right } => {
                ingress.verified(connection, right, commit, cx)
            }
            Event::LookedUp { connection, found } => {
                ingress.looked_up(connection, found, commit, cx);
            }
            Event::AllLookedUp { ticket, found } => {
                self.home.looked_up(ticket, found, commit, cx);
            }
            Event::Crossing(crossing) => self.crossing(crossing, platform),
        }
    }

    fn turn<P: Platform>(&mut self, platform: &mut P) -> Turn {
        self.home.follow(platform.now());
        self.fire_timers(platform);
        self.lookups.handle_deadline(context!(self, platform));
        self.operations.drive(&mut self.home, &mut self.commit, context!(self, platform));
        if self.drain.is_none() {
            self.recovering.drive(&mut self.commit, &mut self.home, context!(self, platform));
        }
        for _ in 0..TURN_ROUNDS_MAX {
            self.settle_commits(platform);
            self.ingress.relieve(&self.commit, context!(self, platform));
            self.greet_early(platform);
            self.home.drive(&mut self.commit, context!(self, platform));
            self.call_out(platform);
            self.delivery.drive(&mut self.lookups, context!(self, platform));
            // What this shard sent to itself: the next round's work, until there is none.
            let round = self.common.local.len();
            for _ in 0..round {
                if let Some(crossing) = self.common.local.pop_front() {
                    self.crossing(crossing, platform);
                }
            }
            if round == 0 && !self.lookups.has_found() {
                break;
            }
        }
        self.verify(platform);
        self.filter(platform);
        self.sign(platform);
        self.read_reports(platform);
        self.commit.start_io(context!(self, platform));
        let over = self.drained(platform);
        Turn { deadline: self.deadline(platform.now()), over }
    }
}
