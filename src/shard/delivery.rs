//! Deliver what this shard owns: bring each dispatch to its site, and report what became of it.
//!
//! In: dispatches, and what was looked up for them. Out: one report for each dispatch. What a site
//! does next is `egress::site`'s decision, carried out in `carry.rs`.
//! Invariant: a job is in one place: waiting for a lookup, or with one site. Lives on: the owner.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::base::ids::ShardId;
use crate::base::slots::{Slot, Slots};
use crate::base::time::Monotonic;
use crate::base::wheel::Wheel;
use crate::egress::cause::Why;
use crate::egress::health::GroupHealth;
use crate::egress::line::Sender;
use crate::egress::pools::Pools;
use crate::egress::site::{Leads, Origin, SiteKey};
use crate::egress::throttle::SharedSites;
use crate::egress::upstream::Choice;
use crate::mail::address::Domain;
use crate::mail::envelope::TlsWish;
use crate::mail::handling::{self, Handling};
use crate::mail::outcome::{Failure, Stage};
use crate::mail::route::{PoolId, Route, TlsLevel, UpstreamId};
use crate::shard::connections::Connections;
use crate::shard::context::Context;
use crate::shard::lookup::{Lookups, Target};
use crate::shard::mesh::{Attempted, Crossing, Dispatch, GivenBack, Report, Settlement};
use crate::shard::outbound::Outbound;
use crate::shard::platform::Platform;
use crate::shard::securing::Securing;
use crate::shard::settings::Settings;
use crate::shard::settling::Settling;
use crate::shard::shaping::{shaped, site_name};
use crate::shard::site_row::SiteRow;

/// The port that MX hosts listen on.
pub(super) const SMTP_PORT: u16 = 25;

/// A dispatch that this shard holds, until it is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct JobId(pub(super) Slot);

/// A site in this shard's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SiteId(pub(super) Slot);

/// A shard as the owner of destination domains.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(super) jobs: Slots<Job>,
    pub(super) sites: Slots<SiteRow>,
    pub(super) outbound: Connections<Outbound>,
    /// Sites with something to decide.
    pub(super) stirred: Vec<SiteId>,
    pub(super) wakes: Wheel<SiteId>,
    pub(super) draining: bool,
    /// How the upstream relays do, by group.
    pub(super) health: Vec<GroupHealth>,
    pub(super) by_key: HashMap<SiteKey, SiteId>,
    /// Where the mail of MX domains goes, as long as DNS says so.
    /// By what senders wish of TLS.
    pub(super) routed: [HashMap<Domain, Routed>; TlsWish::ALL.len()],
    /// By which the sites were made that are here.
    pools: Arc<Pools>,
    /// Who waits for what is being looked up.
    pub(super) asking: HashMap<Target, Vec<JobId>>,
    pub(super) securing: Securing,
    pub(super) shared: Arc<SharedSites>,
    pub(super) here: ShardId,
}

/// Where the mail of a domain goes.
#[derive(Debug)]
pub(super) struct Routed {
    pub(super) leads: Leads,
    /// Where it leaves from, unless its sender has a pool.
    pub(super) pool: Option<PoolId>,
    pub(super) until: Monotonic,
}

/// A dispatch under way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) dispatch: Dispatch,
    /// The upstream relay chosen for it, why, and how many were chosen before.
    pub(super) upstream: Option<UpstreamId>,
    pub(super) choice: Choice,
    pub(super) rerouted: u32,
    /// The site that it was brought to last.
    pub(super) site: Option<SiteId>,
    /// What is known of its recipients; the rest is to be tried.
    pub(super) settled: Vec<(u16, Settlement)>,
    /// The pool that an operator chose for it.
    pub(super) diverted_to: Option<PoolId>,
    /// The egress source that it was last to leave from.
    pub(super) source: Option<Arc<str>>,
}

impl Job {
    /// The recipients that are to be tried.
    pub(super) fn unsettled(&self) -> Vec<u16> {
        let all = self.dispatch.departure.recipients.as_slice();
        let is_settled = |index: &u16| self.settled.iter().any(|(settled, _)| settled == index);
        all.iter().copied().filter(|index| !is_settled(index)).collect()
    }

    /// Whether all of them are settled, each once.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.len() == self.dispatch.departure.recipients.as_slice().len()
    }

    /// What the sender wishes of TLS.
    pub(super) fn wish(&self) -> TlsWish {
        self.dispatch.stored.envelope.tls
    }

    /// The site that an upstream relay is for it.
    pub(super) fn upstream_key(&self, upstream: UpstreamId, settings: &Settings) -> SiteKey {
        let leads = match self.wish() {
            TlsWish::Required => Leads::Required(upstream),
            TlsWish::Unsaid | TlsWish::Waived => Leads::Upstream(upstream),
        };
        leads.from(self.pool(settings.pools.of_domain(&self.dispatch.domain), settings))
    }

    /// The pool that it leaves from; `destination`: what its domain or its provider says.
    pub(super) fn pool(&self, destination: Option<PoolId>, settings: &Settings) -> PoolId {
        let handling = self.dispatch.stored.envelope.handling.as_deref();
        self.diverted_to.unwrap_or_else(|| settings.pools.choose(handling, destination))
    }

    /// Settle the others as the judge makes of `failure`.
    pub(super) fn settle_rest(&mut self, stage: Stage, failure: &Failure, peer: &str) {
        let settling = Settling { stage, failure, peer };
        for recipient in self.unsettled() {
            self.settled.push((recipient, settling.settle()));
        }
    }
}

/// Who sends what is handled so, and its share: as in its home's queue.
fn sender(handling: &Handling, settings: &Settings) -> Sender {
    let tenant = handling.tenant.as_ref().map(|name| handling::sender(Some(name), None));
    let tenant = tenant.map_or(0, Sender::all_of);
    let (weight, shares) = (settings.tenants.share(handling), settings.tenants.shares(handling));
    Sender { name: handling.sender(), tenant, weight, shares }
}

impl Delivery {
    /// An owner without work.
    pub(crate) fn new(
        here: ShardId,
        settings: &Settings,
        shared: Arc<SharedSites>,
        now: Monotonic,
    ) -> Self {
        Self {
            jobs: Slots::default(),
            sites: Slots::default(),
            outbound: Connections::default(),
            stirred: Vec::new(),
            wakes: Wheel::new(now),
            draining: false,
            health: settings.new_health(),
            by_key: HashMap::new(),
            routed: Default::default(),
            pools: settings.pools.clone(),
            asking: HashMap::new(),
            securing: Securing::default(),
            shared,
            here,
        }
    }

    /// Whether no dispatch is held and no connection is open.
    pub(crate) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.outbound.is_empty()
    }

    /// Connections that are open or being opened.
    pub(crate) fn connections(&self) -> usize {
        self.outbound.len()
    }

    /// Deliver this, and report.
    pub(crate) fn dispatch<P: Platform>(
        &mut self,
        dispatch: Dispatch,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        let handling = dispatch.stored.envelope.handling.as_deref();
        let (route, diverted_to) = cx.common.diversions.way(&dispatch.domain, handling);
        let route = route.unwrap_or_else(|| cx.settings.router.route(&dispatch.domain));
        let job = JobId(self.jobs.insert(Job {
            dispatch,
            upstream: None,
            choice: Choice::Works,
            rerouted: 0,
            site: None,
            settled: Vec::new(),
            diverted_to,
            source: None,
        }));
        if self.draining {
            return self.give_back(job, "the node drains", Duration::ZERO, cx);
        }
        match route {
            Route::Group(group) => self.bring_to_upstream(job, group, lookups, cx),
            Route::Mx(level) => self.bring_to_mx(job, level, lookups, cx),
        }
    }

    fn bring_to_mx<P: Platform>(
        &mut self,
        job: JobId,
        level: TlsLevel,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        let Some(row) = self.jobs.get(job.0) else { return };
        let (domain, wish) = (&row.dispatch.domain, row.wish());
        let known = self.routed[wish.place()].get(domain);
        let known = known.filter(|routed| routed.until > cx.mono());
        let from = |routed: &Routed| row.pool(routed.pool, cx.settings);
        match known.map(|routed| routed.leads.clone().from(from(routed))) {
            Some(key) if self.by_key.contains_key(&key) => self.push(&key, job, cx),
            _ if self.securing.join(domain, level.with(wish), job) => {}
            _ => self.ask(Target::Mx(domain.clone()), job, lookups, cx),
        }
    }

    pub(super) fn ask<P: Platform>(
        &mut self,
        target: Target,
        job: JobId,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        self.asking.entry(target.clone()).or_default().push(job);
        lookups.find(target, cx);
    }

    /// Bring a job to its site; back to its home if that has no room.
    pub(super) fn push<P: Platform>(&mut self, key: &SiteKey, job: JobId, cx: &mut Context<'_, P>) {
        let id = self.by_key[key];
        let row = self.jobs.get_mut(job.0).expect("a job is held until it is reported");
        row.site = Some(id);
        let origin =
            Origin { home: row.dispatch.home, domain: row.dispatch.departure.domain.0.to_bits() };
        let handling = row.dispatch.stored.envelope.handling.as_deref();
        let sender = handling.map_or(Sender::NOBODY, |handling| sender(handling, cx.settings));
        let probe = row.choice == Choice::Probe;
        let site = &mut self.sites.get_mut(id.0).expect("known by its key").site;
        match site.push(job, (origin, sender), probe, cx.mono()) {
            Ok(()) => self.stir(id),
            Err(busy) => self.refuse(job, &busy.why, busy.until, cx),
        }
    }

    /// See that `id` is asked what it wants, this turn.
    pub(super) fn stir(&mut self, id: SiteId) {
        if let Some(row) = self.sites.get_mut(id.0)
            && !row.stirred
        {
            row.stirred = true;
            self.stirred.push(id);
        }
    }

    /// Whether a job waits for a lookup.
    pub(super) fn is_asking(&self, job: JobId) -> bool {
        self.securing.has(job) || self.asking.values().any(|jobs| jobs.contains(&job))
    }

    /// The site that a job was brought to.
    pub(super) fn site_of(&self, job: &Job) -> Option<&SiteRow> {
        self.sites.get(job.site?.0)
    }

    /// Jobs that connections carry; and the peer, if its reply to another is awaited first.
    pub(super) fn on_connections(&self) -> impl Iterator<Item = (JobId, Option<&str>)> {
        self.outbound.values().flat_map(|row| {
            let places = row.carried.iter().enumerate();
            places.map(|(place, carried)| (carried.job, (place > 0).then_some(&*row.peer)))
        })
    }

    /// Give back the jobs that wait for a lookup.
    pub(super) fn give_back_asking<P: Platform>(&mut self, why: &str, cx: &mut Context<'_, P>) {
        let mut waiting: Vec<JobId> = self.asking.drain().flat_map(|(_, jobs)| jobs).collect();
        waiting.append(&mut self.securing.take_jobs());
        for job in waiting {
            self.give_back(job, why, Duration::ZERO, cx);
        }
    }

    /// The site with this key, if there is one.
    pub(super) fn site(&self, key: &SiteKey) -> Option<&SiteRow> {
        self.sites.get(self.by_key.get(key)?.0)
    }

    /// The upstream relay that a site is, by the configuration in force.
    pub(super) fn upstream_of(&self, id: SiteId) -> Option<UpstreamId> {
        let row = self.sites.get(id.0)?;
        // That it cannot do what a message requires does not make a relay sick.
        let Leads::Upstream(upstream) = row.key.leads else { return None };
        (self.by_key.get(&row.key) == Some(&id)).then_some(upstream)
    }

    /// Work by other settings from now on. Upstream relays may be others: their sites begin anew,
    /// and what is under way to the former ones tells nothing of the new.
    pub(crate) fn reconfigure<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        let slots: Vec<Slot> = self.jobs.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let row = self.jobs.get_mut(slot).expect("listed just now");
            (row.upstream, row.choice) = (None, Choice::Works);
        }
        self.give_back_asking("the configuration has changed", cx);
        self.health = cx.settings.new_health();
        self.routed.iter_mut().for_each(HashMap::clear);
        // A pool of the same number may be another: what is open to its former sources is not for
        // its mail.
        let same_pools = self.pools == cx.settings.pools;
        self.pools = cx.settings.pools.clone();
        let ids: Vec<SiteId> = self.sites.iter().map(|(slot, _)| SiteId(slot)).collect();
        for id in ids {
            let Some(row) = self.sites.get_mut(id.0) else { continue };
            if row.upstream().is_some() || !same_pools {
                row.site.leave(cx.now.mono);
                if self.by_key.get(&row.key) == Some(&id) {
                    self.by_key.remove(&row.key);
                }
            } else {
                let limits = cx.settings.mx_limits;
                row.site.set_limits(limits);
                let (named, shared) = ((&*row.name, limits), (&*self.shared, self.here.index()));
                row.site.shape(shaped(&row.key, named, shared, cx.settings, cx.now.mono));
            }
            self.stir(id);
        }
    }

    /// Operators send mail by other ways from now on: what is in line, and what waits for a lookup,
    /// goes back to its home, and from there by its new way.
    pub(crate) fn divert<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        self.give_back_asking("operators divert mail", cx);
        let ids: Vec<SiteId> = self.sites.iter().map(|(slot, _)| SiteId(slot)).collect();
        for id in ids {
            if let Some(row) = self.sites.get_mut(id.0) {
                row.site.give_line_back(cx.now.mono);
            }
            self.stir(id);
        }
    }

    /// Forget a site at which nothing has happened for long.
    pub(super) fn forget(&mut self, id: SiteId, now: Monotonic) {
        if let Some(row) = self.sites.remove(id.0) {
            if self.by_key.get(&row.key) == Some(&id) {
                self.by_key.remove(&row.key);
            }
            let is_shaped = row.site.shaped().is_some();
            drop(row.site);
            self.shared.forget(&row.key);
            if is_shaped {
                self.shared.outlets.forget(&site_name(&row.key, &row.name), now);
            }
        }
    }

    /// A failure before any peer was asked, or of a whole site, for all recipients of a job.
    pub(super) fn settle_all<P: Platform>(
        &mut self,
        job: JobId,
        stage: Stage,
        failure: &Failure,
        cx: &mut Context<'_, P>,
    ) {
        let Some(row) = self.jobs.get(job.0) else { return };
        let recipients = row.dispatch.departure.recipients.as_slice();
        let settling = Settling { stage, failure, peer: "" };
        let recipients = recipients.iter().map(|index| (*index, settling.settle())).collect();
        let attempted = Attempted {
            recipients,
            peer: "".into(),
            site: "".into(),
            upstream: None,
            source: None,
            provider: None,
            tls: None,
            delays: Default::default(),
        };
        self.report(job, Ok(attempted), cx);
    }

    /// Hand a job back to its home, not attempted; to come back after about so long. Where some of
    /// its recipients are settled that was its attempt, and the others are deferred.
    pub(super) fn give_back<P: Platform>(
        &mut self,
        job: JobId,
        why: &str,
        after: Duration,
        cx: &mut Context<'_, P>,
    ) {
        self.hand_back(job, (why, false), after, cx);
    }

    /// Hand a job back that a site does not take now.
    pub(super) fn refuse<P: Platform>(
        &mut self,
        job: JobId,
        why: &Why,
        until: Monotonic,
        cx: &mut Context<'_, P>,
    ) {
        // Where there is one pool, what its sources cannot send nobody can.
        let of_sources = matches!(why, Why::SourcesPaused(_) | Why::WarmUp(_));
        let of_pool = of_sources && cx.settings.pools.all.len() > 1;
        let of_sender = of_pool || matches!(why, Why::SenderPaused(_) | Why::Share { .. });
        self.hand_back(job, (&why.to_string(), of_sender), until.since(cx.mono()), cx);
    }

    fn hand_back<P: Platform>(
        &mut self,
        job: JobId,
        (why, of_sender): (&str, bool),
        after: Duration,
        cx: &mut Context<'_, P>,
    ) {
        let Some(row) = self.jobs.get_mut(job.0) else { return };
        if !row.settled.is_empty() {
            row.settle_rest(Stage::Connect, &Failure::Connect(why.into()), "");
            return self.conclude(job, None, None, cx);
        }
        let until = cx.now.wall + after;
        let given_back = GivenBack { why: why.into(), until, of_sender, tried: None };
        self.report(job, Err(given_back), cx);
    }

    /// Tell the home of a job what became of it.
    pub(super) fn report<P: Platform>(
        &mut self,
        job: JobId,
        result: Result<Attempted, GivenBack>,
        cx: &mut Context<'_, P>,
    ) {
        let Some(Job { dispatch, upstream, choice, .. }) = self.jobs.remove(job.0) else { return };
        if let Some(upstream) = upstream {
            self.drop_probe(upstream, choice);
        }
        let Dispatch { home, departure, stored, .. } = dispatch;
        let report = Report { owner: self.here, departure, stored, result };
        cx.post(home, Crossing::Report(Box::new(report)));
    }
}
