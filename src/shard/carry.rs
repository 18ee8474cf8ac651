//! Do what sites decide: connect, hand over jobs, close; and tell them what came of it.
//!
//! In: `egress::site`'s actions, events of connections out. Out: reports, and what sites learn.
//! Invariant: a recipient is settled once, whatever number of connections its job went through.
//! Lives on: the owner shard.

use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::limits::{SITE_QUIET_MAX, SITES_MAX};
use crate::base::slots::Slot;
use crate::egress::PooledId;
use crate::egress::cause::{Blame, Cause, Why};
use crate::egress::endpoints::Endpoint;
use crate::egress::health::Signal;
use crate::egress::site::{Action, Origin};
use crate::mail::outcome::{Failure, Stage};
use crate::mail::route::TlsLevel;
use crate::outcome::counters::{Count, Latency};
use crate::outcome::judge::{Verdict, judge};
use crate::queue::DomainId;
use crate::shard::context::Context;
use crate::shard::delivery::{Delivery, JobId, SiteId};
use crate::shard::lookup::Lookups;
use crate::shard::mesh::{Attempted, Crossing, Delays, GivenBack, Settlement};
use crate::shard::outbound::{Outbound, Protection, Through};
use crate::shard::platform::{ConnectionId, IoError, Platform};
use crate::shard::settling::{Settling, Way, is_transient, last_peer, peer_name};
use crate::shard::shaping::learn_from_refusals;
use crate::shard::site_row::SiteRow;
use crate::smtp::client::{Event, Settled};
use crate::tls::PeerName;

impl Delivery {
    /// Ask every site that has something to decide, until none has.
    pub(crate) fn drive<P: Platform>(&mut self, lookups: &mut Lookups, cx: &mut Context<'_, P>) {
        if let Some(roster) = &cx.settings.warm_up {
            self.shared.warm_up.see(cx.now, roster);
        }
        let mut due = Vec::new();
        self.wakes.expire(cx.mono(), &mut due);
        for id in due {
            if let Some(row) = self.sites.get_mut(id.0) {
                row.armed = None;
                self.stir(id);
            }
        }
        while let Some(id) = self.stirred.pop() {
            self.ask_site(id, lookups, cx);
        }
    }

    /// When `drive` is to be called again without an event.
    pub(crate) fn deadline(&self) -> Option<crate::base::time::Monotonic> {
        self.wakes.next()
    }

    /// Do what a site decides, until it has nothing more to decide.
    fn ask_site<P: Platform>(
        &mut self,
        id: SiteId,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        loop {
            let may_connect = self.outbound.len() < cx.settings.connections_max;
            let Some(row) = self.sites.get_mut(id.0) else { return };
            row.stirred = false;
            match row.site.poll(cx.mono(), may_connect, &mut cx.common.prng) {
                Some(action) => self.act(id, action, lookups, cx),
                None => break,
            }
        }
        self.set_wake(id, cx);
    }

    /// See that a site is asked again when it wants, or forgotten once it was quiet for long.
    fn set_wake<P: Platform>(&mut self, id: SiteId, cx: &Context<'_, P>) {
        let crowded = self.sites.len() > SITES_MAX / 2;
        let Some(row) = self.sites.get_mut(id.0) else { return };
        if !row.site.is_idle() {
            row.quiet_since = cx.mono();
        }
        // Where there are many, those that are quiet make room at once.
        let quiet_max = if crowded { Duration::ZERO } else { SITE_QUIET_MAX };
        let forget_at = row.quiet_since + quiet_max;
        if row.site.is_idle() && cx.mono() >= forget_at {
            return self.forget(id, cx.mono());
        }
        let due = row.site.next_due().unwrap_or(forget_at);
        if row.armed.is_none_or(|armed| due < armed) {
            row.armed = Some(due);
            self.wakes.insert(due, id);
        }
    }

    fn act<P: Platform>(
        &mut self,
        id: SiteId,
        action: Action<JobId>,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        match action {
            Action::Connect { connection, endpoint, source } => {
                self.connect(id, connection, (&endpoint, source), cx);
            }
            Action::Assign { connection, job } => self.assign(id, connection, job, cx),
            Action::Close { connection } => {
                if let Some(connection) = self.detach(id, connection)
                    && let Some(outbound) = self.outbound.get_mut(connection)
                {
                    outbound.quit(cx);
                    self.let_go(connection, cx);
                }
            }
            Action::Defer { job, cause } => {
                if cause.stage <= Stage::Tls {
                    self.signal(id, self.purpose(job), Signal::Unreachable, cx);
                }
                self.defer(id, job, &cause, lookups, cx);
            }
            Action::GiveBack { job, why, until } => {
                let suspended = matches!(why, Why::Suspended { .. });
                if !(suspended && self.reroute(job, lookups, cx)) {
                    self.refuse(job, &why, until, cx);
                }
            }
            Action::CallBack { to: Origin { home, domain }, room } => {
                let domain = DomainId(Slot::from_bits(domain));
                cx.post(home, Crossing::Resume { domain, room });
            }
        }
    }

    fn connect<P: Platform>(
        &mut self,
        id: SiteId,
        pooled: PooledId,
        (endpoint, source): (&Endpoint, Option<usize>),
        cx: &mut Context<'_, P>,
    ) {
        let behalf = self.sites.get(id.0).and_then(|row| self.behalf(row, endpoint, cx));
        let wanted = self.followed_domain(id, cx);
        let row = self.sites.get_mut(id.0).expect("it has just decided");
        let peer: Box<str> = peer_name(endpoint).into();
        let chosen = match source {
            Some(place) => row.sources.member(place).map(|member| (place, member)),
            None => row.sources.choose(endpoint.address.ip(), cx.now.mono),
        };
        let Some((in_pool, member)) = chosen else {
            let failure = Failure::Connect("no egress source of this address family".into());
            let cause = Cause { stage: Stage::Connect, failure, peer, source: "".into() };
            return row.site.on_failed(
                pooled,
                Blame::Endpoint,
                cause,
                cx.now.mono,
                &mut cx.common.prng,
            );
        };
        let (through, place) = (Through::new(in_pool, &member.source, endpoint), member.place);
        let (to, from) = (through.as_ref().map(|it| it.proxy.at), member.source.bound());
        let name = member.source.name.clone();
        let (level, connector, failed) = row.protection(endpoint, place, cx.settings, cx.now.mono);
        let options = cx.settings.client(place, level, row.tls == TlsLevel::Required);
        let options = row.shape_client(pooled, options);
        let peer_is = PeerName::new(&endpoint.host, endpoint.address.ip());
        // Why there is none is known, and was counted then.
        let behalf = behalf.filter(|_| failed.is_none());
        let protection = Protection::new(level, connector, peer_is, failed);
        let connection = cx.platform.connect(to.unwrap_or(endpoint.address), from);
        row.connections.insert(pooled, connection);
        let names = (peer, name);
        let mut outbound =
            Outbound::new(connection, id, pooled, names, options, protection, cx.now.mono);
        (outbound.behalf, outbound.through) = (behalf, through);
        if let Some(domain) = wanted {
            outbound.follow(&domain, "connecting", cx);
        }
        outbound.pump(cx);
        self.outbound.insert(connection, outbound);
    }

    fn assign<P: Platform>(
        &mut self,
        id: SiteId,
        pooled: PooledId,
        job: JobId,
        cx: &mut Context<'_, P>,
    ) {
        let connection = self.sites.get(id.0).and_then(|row| row.connections.get(&pooled).copied());
        let connection = connection.expect("a site assigns connections that it has");
        let row = self.jobs.get_mut(job.0).expect("a job is held until it is reported");
        let stored = row.dispatch.stored.clone();
        let recipients = row.unsettled();
        let outbound = self.outbound.get_mut(connection).expect("detached when it goes");
        row.source = Some(outbound.source.clone());
        outbound.follow_message(&row.dispatch.domain, (stored.id, recipients.len()), cx);
        outbound.begin(job, stored, recipients, cx);
        self.settle(connection, cx);
    }

    /// Every endpoint of the job's site failed on its behalf: another upstream relay may take it.
    /// Else that was its attempt; but where no upstream relay answers, the message is tried when
    /// the relay is, rather than by its own schedule.
    fn defer<P: Platform>(
        &mut self,
        site: SiteId,
        job: JobId,
        cause: &Cause,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        if self.reroute(job, lookups, cx) {
            return;
        }
        let Some(row) = self.jobs.get_mut(job.0) else { return };
        let waits = judge(cause.stage, &cause.failure).verdict == Verdict::Defer;
        let is_whole = waits && row.settled.is_empty() && cause.stage <= Stage::Hello;
        row.settle_rest(cause.stage, &cause.failure, &cause.peer);
        row.source = Some(cause.source.clone());
        let relay = self.sites.get(site.0).filter(|row| is_whole && row.upstream().is_some());
        let wait = relay.and_then(|row| row.site.why().zip(row.site.suspended_until()));
        let Some((why, until)) = wait else { return self.conclude(job, Some(site), None, cx) };
        let tried = self.attempted(job, Some(site), None, cx);
        let until = cx.now.wall + until.since(cx.mono());
        self.report(
            job,
            Err(GivenBack { why: why.to_string().into(), until, of_sender: false, tried }),
            cx,
        );
    }

    /// The connection is there.
    pub(crate) fn connected<P: Platform>(
        &mut self,
        id: ConnectionId,
        local: SocketAddr,
        cx: &mut Context<'_, P>,
    ) {
        if let Some(outbound) = self.outbound.get_mut(id) {
            outbound.connected(local, cx);
        }
    }

    /// The connection could not be made, and is gone.
    pub(crate) fn connect_failed<P: Platform>(
        &mut self,
        id: ConnectionId,
        error: IoError,
        cx: &mut Context<'_, P>,
    ) {
        self.unconnected(id, Failure::Connect(error.to_string().into()), cx);
    }

    /// The peer sent this.
    pub(crate) fn received<P: Platform>(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        cx: &mut Context<'_, P>,
    ) {
        let Some(outbound) = self.outbound.get_mut(id) else { return };
        match outbound.received(bytes, cx) {
            Ok(()) => self.settle(id, cx),
            Err(why) => self.no_way(id, why, cx),
        }
    }

    /// The peer will send nothing more.
    pub(crate) fn ended<P: Platform>(&mut self, id: ConnectionId, cx: &mut Context<'_, P>) {
        let Some(outbound) = self.outbound.get_mut(id) else { return };
        match outbound.ended(cx) {
            Ok(()) => self.settle(id, cx),
            Err(why) => self.no_way(id, why, cx),
        }
    }

    /// The connection broke, and is gone.
    pub(crate) fn lost<P: Platform>(&mut self, id: ConnectionId, cx: &mut Context<'_, P>) {
        self.ended(id, cx);
        self.outbound.remove(id);
    }

    /// All that was sent has left.
    pub(crate) fn sent<P: Platform>(&mut self, id: ConnectionId, cx: &mut Context<'_, P>) {
        if let Some(outbound) = self.outbound.get_mut(id) {
            outbound.sent(cx);
            self.settle(id, cx);
        }
    }

    /// A connection's timer fired, perhaps too early.
    pub(crate) fn timer<P: Platform>(&mut self, id: ConnectionId, cx: &mut Context<'_, P>) {
        let Some(outbound) = self.outbound.get_mut(id) else { return };
        if outbound.timer(cx) {
            cx.platform.abort(id);
            self.unconnected(id, Failure::TimedOut, cx);
        } else {
            self.settle(id, cx);
        }
    }

    /// Act on what a connection's machine tells, send what it has, and let it go once it is over.
    fn settle<P: Platform>(&mut self, id: ConnectionId, cx: &mut Context<'_, P>) {
        while let Some(event) = self.outbound.get_mut(id).and_then(Outbound::poll_event) {
            match event {
                Event::StartTls => {
                    if let Some(outbound) = self.outbound.get_mut(id) {
                        outbound.start_tls(cx);
                    }
                }
                Event::Ready => self.ready(id, cx),
                Event::Settled(results) => self.carried(id, results, cx),
                Event::Closed { failure, unsettled } => self.closed(id, failure, &unsettled, cx),
            }
        }
        let Some(outbound) = self.outbound.get_mut(id) else { return };
        outbound.pump(cx);
        if outbound.was_sent() {
            let (site, pooled) = (outbound.site, outbound.pooled);
            if let Some(row) = self.sites.get_mut(site.0) {
                row.site.on_sent(pooled, cx.mono());
                self.stir(site);
            }
        }
        self.let_go(id, cx);
    }

    /// Close a connection whose machine has nothing more to say or hear.
    fn let_go<P: Platform>(&mut self, id: ConnectionId, cx: &mut Context<'_, P>) {
        if self.outbound.get_mut(id).is_some_and(|outbound| outbound.is_over()) {
            self.outbound.remove(id);
            cx.platform.close(id);
        }
    }

    /// The peer greeted us, or is free for the next message.
    fn ready<P: Platform>(&mut self, id: ConnectionId, cx: &mut Context<'_, P>) {
        let Some(outbound) = self.outbound.get_mut(id) else { return };
        let (site, pooled) = (outbound.site, outbound.pooled);
        let finished = mem::take(&mut outbound.finished);
        if !finished {
            outbound.greeted(cx.now.mono);
            outbound.tell_ready(cx);
            cx.common.counters.increment(Count::ConnectionsMade);
            cx.common.counters.record(Latency::Connect, outbound.greeted_after);
        }
        if let Some(row) = self.sites.get_mut(site.0) {
            if finished {
                row.site.on_done(pooled, true, cx.mono());
            } else {
                row.site.on_ready(pooled, cx.mono());
            }
        }
        self.stir(site);
    }

    /// A transaction came to its end.
    fn carried<P: Platform>(
        &mut self,
        id: ConnectionId,
        results: Vec<(u16, Settled)>,
        cx: &mut Context<'_, P>,
    ) {
        let Some(outbound) = self.outbound.get_mut(id) else { return };
        let Some(carried) = outbound.finish() else { return };
        outbound.finished = outbound.carried.is_empty();
        let passed_on = outbound.passes_on();
        let Some(row) = self.jobs.get_mut(carried.job.0) else { return };
        let first = row.settled.len();
        let (mut taken, mut refused) = (false, false);
        let mut signal = Signal::Answered;
        for (recipient, result) in results {
            let settlement = match result {
                Settled::Accepted(reply) => {
                    taken = true;
                    Settlement::Delivered { reply, passed_on }
                }
                Settled::Refused { stage, failure } => {
                    refused = true;
                    if stage != Stage::Rcpt && is_transient(&failure) {
                        signal = Signal::Refused;
                    }
                    Settling { stage, failure: &failure, peer: &outbound.peer }.settle()
                }
            };
            row.settled.push((recipient, settlement));
        }
        if refused && let Some(site) = self.sites.get(outbound.site.0) {
            let (domain, pooled) = (&row.dispatch.domain, outbound.pooled);
            let handling = row.dispatch.stored.envelope.handling.clone();
            let of = (domain, handling.as_deref());
            learn_from_refusals(site, pooled, of, &mut row.settled[first..], cx);
        }
        if !row.is_settled() {
            // The connection ends before the others had their turn: `Closed` follows.
            outbound.finished = false;
            outbound.carried.push_front(carried);
            return;
        }
        if !outbound.finished
            && let Some(site) = self.sites.get_mut(outbound.site.0)
        {
            site.site.on_done(outbound.pooled, true, cx.now.mono);
        }
        let counters = &mut cx.common.counters;
        counters.increment(Count::TransactionsSent);
        counters.record(Latency::Transmit, cx.now.mono.since(carried.began));
        if taken {
            counters.add(Count::BytesSent, row.dispatch.stored.bytes());
        }
        let (site, way) = (outbound.site, Way::of(outbound, &carried));
        self.signal(site, self.purpose(carried.job), signal, cx);
        self.conclude(carried.job, Some(site), Some(way), cx);
    }

    /// A site lets a connection go: nothing that becomes of it concerns the site any more.
    fn detach(&mut self, id: SiteId, pooled: PooledId) -> Option<ConnectionId> {
        self.sites.get_mut(id.0)?.connections.remove(&pooled)
    }

    /// Report a job all of whose recipients are settled.
    pub(super) fn conclude<P: Platform>(
        &mut self,
        job: JobId,
        site: Option<SiteId>,
        way: Option<Way>,
        cx: &mut Context<'_, P>,
    ) {
        if let Some(attempted) = self.attempted(job, site, way, cx) {
            self.report(job, Ok(attempted), cx);
        }
    }

    /// What the attempt came to for a job all of whose recipients are settled.
    fn attempted<P: Platform>(
        &mut self,
        job: JobId,
        site: Option<SiteId>,
        way: Option<Way>,
        cx: &Context<'_, P>,
    ) -> Option<Attempted> {
        let row = self.jobs.get_mut(job.0)?;
        let recipients = mem::take(&mut row.settled);
        let mut site = site.and_then(|site| self.sites.get_mut(site.0));
        if let Some(row) = &mut site {
            row.note_refusal(recipients.last().map(|(_, settlement)| settlement), cx.now.wall);
        }
        let site = site.as_deref();
        let upstream = site.and_then(SiteRow::upstream_name);
        let provider = site.and_then(|row| row.site.shaped()?.provider.clone());
        let source = row.source.take();
        let departed = row.dispatch.departed;
        let (peer, tls, delays) = match &way {
            Some(way) => {
                let transmit = cx.mono().since(way.began);
                let connect = way.connect;
                let queue = way.began.since(departed).saturating_sub(connect);
                (way.peer.clone(), way.tls.clone(), Delays { queue, connect, transmit })
            }
            None => (last_peer(&recipients), None, Delays::default()),
        };
        let site = site.map_or("".into(), |row| row.name.clone());
        Some(Attempted { recipients, peer, site, upstream, source, provider, tls, delays })
    }
}
