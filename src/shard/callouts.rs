//! Ask upstream relays about recipients: drive the questions over the platform's sockets.
//!
//! In: recipients that are to be asked about; what came of lookups and connections; time. Out: what
//! was found, to `Common::callouts`. Invariant: whoever is taken from there is answered there,
//! once, whatever becomes of connections; a question goes where mail for that recipient would go.
//! Lives on: the shard whose clients name the recipients.
//!
//! How upstream relays do is learnt here apart from deliveries: a server that takes no question may
//! take mail, and none is to wait for that.

mod line;

use std::collections::BTreeMap;
use std::mem;
use std::net::{IpAddr, SocketAddr};

use hashbrown::HashMap;

use crate::base::limits::{
    CALLOUT_CONNECTIONS_EACH_MAX, CALLOUT_CONNECTIONS_MAX, DNS_FAILURE_TTL, TLS_CLEAR_FOR,
};
use crate::base::time::Monotonic;
use crate::egress::asking::{Action, Asking, Gone};
use crate::egress::domain_hash;
use crate::egress::health::{GroupHealth, Purpose, Signal, Standing};
use crate::egress::source::Sources;
use crate::egress::upstream::Choice;
use crate::mail::address::Mailbox;
use crate::mail::outcome::{Failure, Stage};
use crate::mail::route::{PoolId, Route, TlsLevel, UpstreamId};
use crate::outcome::counters::Count;
use crate::outcome::judge::{Scope, Verdict, judge};
use crate::policy::recipients::{Finding, refused, unfit};
use crate::shard::Shard;
use crate::shard::callouts::line::{Line, Use, Way};
use crate::shard::connections::Connections;
use crate::shard::context::Context;
use crate::shard::lookup::{Found, Lookups, Outcome, Target};
use crate::shard::platform::{ConnectionId, Platform};
use crate::shard::settings::Settings;
use crate::shard::settling::{is_transient, signal_of};
use crate::smtp::client::{Event, Settled};
use crate::tls::PeerName;

/// A shard's questions about recipients.
#[derive(Debug)]
pub(crate) struct Callers {
    /// Those that were asked since the configuration is in force.
    relays: BTreeMap<UpstreamId, Relay>,
    lines: Connections<Line>,
    health: Vec<GroupHealth>,
    /// Whose addresses are being looked up.
    finding: HashMap<Target, Vec<UpstreamId>>,
    /// Some relay may have something to do,
    stirred: bool,
    /// or will have then.
    wake: Option<Monotonic>,
}

#[derive(Debug)]
struct Relay {
    asking: Asking<ConnectionId>,
    sources: Sources,
    /// TLS did not come about: until then connections are in clear, where they may be.
    clear_until: Monotonic,
}

impl Callers {
    /// Nobody has been asked.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            relays: BTreeMap::new(),
            lines: Connections::default(),
            health: settings.new_health(),
            finding: HashMap::new(),
            stirred: false,
            wake: None,
        }
    }

    /// Whether `connection` is one on which recipients are asked about.
    pub(crate) fn has(&mut self, connection: ConnectionId) -> bool {
        self.lines.get_mut(connection).is_some()
    }

    /// When `drive` is to be called again without an event.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        self.wake
    }

    /// Begin anew by other settings: those who wait wait for the answers of others.
    pub(crate) fn reconfigure<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        for id in self.lines.ids() {
            self.lines.remove(id);
            cx.platform.abort(id);
        }
        *self = Self::new(cx.settings);
        cx.common.callouts.restart();
    }

    /// The connection is there.
    pub(crate) fn connected<P: Platform>(&mut self, id: ConnectionId, cx: &mut Context<'_, P>) {
        self.on_line(id, cx, |line, cx| line.connected(cx.mono()));
    }

    /// The peer sent this.
    pub(crate) fn received<P: Platform>(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        cx: &mut Context<'_, P>,
    ) {
        self.on_line(id, cx, |line, cx| line.received(bytes, cx));
    }

    /// The peer will send nothing more.
    pub(crate) fn ended<P: Platform>(&mut self, id: ConnectionId, cx: &mut Context<'_, P>) {
        self.on_line(id, cx, |line, cx| line.ended(cx.mono()));
    }

    /// The connection broke, or did not come about, and is gone.
    pub(crate) fn lost<P: Platform>(
        &mut self,
        id: ConnectionId,
        why: &str,
        cx: &mut Context<'_, P>,
    ) {
        self.ended(id, cx);
        if let Some(line) = self.lines.remove(id) {
            self.closed(id, &line, Some((Stage::Connect, Failure::Connect(why.into()))), cx);
        }
    }

    /// A connection's timer fired, perhaps too early.
    pub(crate) fn timer<P: Platform>(&mut self, id: ConnectionId, cx: &mut Context<'_, P>) {
        self.on_line(id, cx, |line, _| line.fired());
        let Some(line) = self.lines.get_mut(id).filter(|line| line.is_due(cx.mono())) else {
            return;
        };
        match line.use_of {
            Use::Resting => {
                line.part(cx.mono());
                line.pump(cx);
                let relay = self.relays.get_mut(&line.relay);
                relay.map(|relay| relay.asking.on_gone(id));
            }
            Use::Opening | Use::Asking | Use::Parting => {
                cx.platform.abort(id);
                if let Some(line) = self.lines.remove(id) {
                    self.closed(id, &line, Some((Stage::Connect, Failure::TimedOut)), cx);
                }
            }
        }
    }

    /// The addresses of an upstream relay were found, or not.
    pub(crate) fn found<P: Platform>(&mut self, found: &Found, cx: &mut Context<'_, P>) {
        let hosts = match &found.outcome {
            Outcome::Hosts(hosts) => hosts.as_deref().unwrap_or_default(),
            Outcome::Answer(_) => return,
        };
        for id in self.finding.remove(&found.target).unwrap_or_default() {
            let Some(relay) = self.relays.get_mut(&id) else { continue };
            let all = hosts.iter().flat_map(|host| host.addresses.iter().copied());
            let addresses: Vec<IpAddr> = all.collect();
            self.stirred = true;
            if addresses.is_empty() {
                let waited = relay.asking.on_not_found(cx.mono() + DNS_FAILURE_TTL);
                self.give_up(id, waited, "its addresses were not found", cx);
            } else {
                relay.asking.on_found(addresses, cx.mono() + found.holds_for);
            }
        }
    }

    /// Ask about all who are to be asked about, as far as connections go.
    fn drive<P: Platform>(&mut self, lookups: &mut Lookups, cx: &mut Context<'_, P>) {
        let now = cx.mono();
        if cx.common.callouts.deadline().is_some_and(|due| due <= now) {
            cx.common.callouts.handle_deadline(now);
        }
        while let Some(recipient) = cx.common.callouts.poll_ask() {
            self.place(recipient, cx);
        }
        self.stirred |= self.wake.is_some_and(|wake| wake <= now);
        while mem::take(&mut self.stirred) {
            let ids: Vec<UpstreamId> = self.relays.keys().copied().collect();
            ids.into_iter().for_each(|id| self.serve(id, lookups, cx));
        }
        self.wake = self.relays.values().filter_map(|relay| relay.asking.deadline(now)).min();
    }

    /// Bring a recipient to the upstream relay that would have its mail.
    fn place<P: Platform>(&mut self, recipient: Mailbox, cx: &mut Context<'_, P>) {
        let (domain, now) = (recipient.domain(), cx.mono());
        let Route::Group(group) = cx.settings.router.route(domain) else {
            // An operator's route leads past the upstream relays: there is nobody to ask.
            return cx.common.callouts.answered(&recipient, Finding::Known, now);
        };
        let place = usize::from(group.0);
        let settings = &cx.settings.groups[place];
        let chosen = settings.group.choose(domain_hash(domain), &mut self.health[place], now);
        if chosen.choice == Choice::NoneWorks {
            return conclude(&recipient, Finding::Unsure, cx);
        }
        let relay = UpstreamId { group, member: chosen.member };
        let relay = self.relays.entry(relay).or_insert_with(|| {
            let each = usize::try_from(settings.limits.connections).unwrap_or(usize::MAX);
            Relay {
                asking: Asking::new(each.min(CALLOUT_CONNECTIONS_EACH_MAX), now),
                sources: Sources::new(
                    cx.settings.pools.pool(PoolId::DEFAULT).clone(),
                    cx.common.id.index(),
                ),
                clear_until: now,
            }
        });
        relay.asking.push(recipient);
        self.stirred = true;
    }

    /// Do what is next at one upstream relay, until there is nothing.
    fn serve<P: Platform>(
        &mut self,
        id: UpstreamId,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        loop {
            let may_connect = self.lines.len() < CALLOUT_CONNECTIONS_MAX;
            let Some(relay) = self.relays.get_mut(&id) else { return };
            let Some(action) = relay.asking.poll(may_connect, cx.mono()) else { return };
            match action {
                Action::Find => {
                    let members = cx.settings.groups[usize::from(id.group.0)].group.members();
                    let host = members[usize::from(id.member)].host.host.clone();
                    let target = Target::Host(host);
                    self.finding.entry(target.clone()).or_default().push(id);
                    lookups.find(target, cx);
                }
                Action::Connect(address) => self.connect(id, address, cx),
                Action::Ask(line, recipient) if !cx.common.callouts.is_wanted(&recipient) => {
                    relay.asking.on_answered(line);
                    relay.asking.on_ready(line);
                    self.drop_unasked(id, &recipient, cx);
                }
                Action::Ask(line, recipient) => {
                    self.on_line(line, cx, |line, cx| line.ask(recipient, cx.mono()));
                }
                Action::Part(line) => self.on_line(line, cx, |line, cx| line.part(cx.mono())),
            }
        }
    }

    fn connect<P: Platform>(&mut self, id: UpstreamId, address: IpAddr, cx: &mut Context<'_, P>) {
        let Some(relay) = self.relays.get_mut(&id) else { return };
        let group = &cx.settings.groups[usize::from(id.group.0)];
        let host = &group.group.members()[usize::from(id.member)].host;
        let Some((_, member)) = relay.sources.choose(address, cx.now.mono) else {
            let waited = relay.asking.on_failed(cx.mono());
            return self.give_up(id, waited, "no egress source of this address family", cx);
        };
        // Upstream relays are the operator's own: nobody asks them through a proxy.
        let (from, place) = (member.source.bound(), member.place);
        let in_clear = group.tls == TlsLevel::Opportunistic && cx.mono() < relay.clear_until;
        let level = if in_clear { TlsLevel::None } else { group.tls };
        let way = Way {
            options: cx.settings.client(place, level, false),
            level,
            connector: cx.settings.connector(place, level),
            name: PeerName::new(&host.host.to_string(), address),
        };
        let line = cx.platform.connect(SocketAddr::new(address, host.port), from);
        relay.asking.on_connecting(line);
        self.lines.insert(line, Line::new(line, id, way, cx.now.mono));
        self.on_line(line, cx, |_, _| {});
    }

    /// Let something happen to a connection: hear what comes of it, send what it has, and let it go
    /// once it is over.
    fn on_line<P: Platform>(
        &mut self,
        id: ConnectionId,
        cx: &mut Context<'_, P>,
        act: impl FnOnce(&mut Line, &mut Context<'_, P>),
    ) {
        let Some(line) = self.lines.get_mut(id) else { return };
        act(line, cx);
        let mut closed = None;
        while let Some(event) = self.lines.get_mut(id).and_then(Line::poll_event) {
            match event {
                Event::StartTls => {
                    if let Some(line) = self.lines.get_mut(id) {
                        line.start_tls();
                    }
                }
                Event::Ready => self.ready(id, cx.mono()),
                Event::Settled(results) => self.settled(id, results, cx),
                Event::Closed { failure, unsettled: _ } => closed = Some(failure),
            }
        }
        let Some(line) = self.lines.get_mut(id) else { return };
        line.pump(cx);
        if line.is_over()
            && let Some(line) = self.lines.remove(id)
        {
            cx.platform.close(id);
            self.closed(id, &line, closed.flatten(), cx);
        }
    }

    /// The peer is ready for a question.
    fn ready(&mut self, id: ConnectionId, now: Monotonic) {
        let Some(line) = self.lines.get_mut(id) else { return };
        line.rest(now);
        if let Some(relay) = self.relays.get_mut(&line.relay) {
            relay.asking.on_ready(id);
        }
        self.stirred = true;
    }

    /// The peer has said what it has to say of a recipient.
    fn settled<P: Platform>(
        &mut self,
        id: ConnectionId,
        results: Vec<(u16, Settled)>,
        cx: &mut Context<'_, P>,
    ) {
        let Some(relay) = self.lines.get_mut(id).map(|line| line.relay) else { return };
        let asking = self.relays.get_mut(&relay).map(|relay| &mut relay.asking);
        let Some(recipient) = asking.and_then(|asking| asking.on_answered(id)) else { return };
        for (_, result) in results {
            let (finding, signal) = made_of(&result);
            self.tell(relay, signal, "it defers what it is asked", cx);
            conclude(&recipient, finding, cx);
        }
    }

    /// A connection is gone.
    fn closed<P: Platform>(
        &mut self,
        id: ConnectionId,
        line: &Line,
        failure: Option<(Stage, Failure)>,
        cx: &mut Context<'_, P>,
    ) {
        let Some(relay) = self.relays.get_mut(&line.relay) else { return };
        self.stirred = true;
        let failure = failure.unwrap_or((Stage::Quit, Failure::Closed));
        match (relay.asking.on_gone(id), failure) {
            (Gone::Nothing, _) => {}
            // Nobody failed: it may be asked in clear, which it is on another connection.
            (Gone::Opening, (Stage::Tls, _)) if line.is_tls_optional() => {
                relay.clear_until = cx.now.mono + TLS_CLEAR_FOR;
            }
            (Gone::Opening, (_, failure)) => {
                let waited = relay.asking.on_failed(cx.mono());
                self.give_up(line.relay, waited, &failure.to_string(), cx);
            }
            // It was kept for too long, or had been asked enough.
            (Gone::Asking(recipient, 1..), (_, Failure::Closed | Failure::Reply(_))) => {
                relay.asking.push_again(recipient);
            }
            (Gone::Asking(recipient, _), (_, failure)) => {
                self.tell(line.relay, signal_of(&failure), &failure.to_string(), cx);
                conclude(&recipient, Finding::Unsure, cx);
            }
        }
    }

    /// An upstream relay cannot be reached: those who waited for it may be asked about at another.
    fn give_up<P: Platform>(
        &mut self,
        id: UpstreamId,
        waited: Vec<Mailbox>,
        why: &str,
        cx: &mut Context<'_, P>,
    ) {
        if waited.is_empty() {
            return;
        }
        self.tell(id, Signal::Unreachable, why, cx);
        for recipient in waited {
            if cx.common.callouts.is_wanted(&recipient) {
                self.place(recipient, cx);
            } else {
                self.drop_unasked(id, &recipient, cx);
            }
        }
    }

    /// Nobody waits for this any more.
    fn drop_unasked<P: Platform>(
        &mut self,
        id: UpstreamId,
        recipient: &Mailbox,
        cx: &mut Context<'_, P>,
    ) {
        self.health[usize::from(id.group.0)].on_probe_dropped(id.member);
        cx.common.callouts.answered(recipient, Finding::Unsure, cx.now.mono);
    }

    /// What a question told of an upstream relay; `why`, where it went wrong.
    fn tell<P: Platform>(
        &mut self,
        id: UpstreamId,
        signal: Signal,
        why: &str,
        cx: &mut Context<'_, P>,
    ) {
        let health = &mut self.health[usize::from(id.group.0)];
        let purpose = match health.standing(usize::from(id.member), cx.mono()) {
            Standing::Healthy => Purpose::Delivery,
            Standing::Probe | Standing::Ejected => Purpose::Trial,
        };
        let (now, prng) = (cx.now.mono, &mut cx.common.prng);
        if health.report(id.member, purpose, signal, now, prng) {
            let relay = cx.settings.upstream_name(id);
            match signal {
                Signal::Answered => tracing::info!(relay, "recipients can be verified again"),
                Signal::Refused | Signal::Silent | Signal::Unreachable => {
                    tracing::warn!(relay, why, "recipients cannot be verified for a while");
                }
            }
        }
    }
}

/// What was found of a recipient, once it was asked about.
fn conclude<P: Platform>(recipient: &Mailbox, finding: Finding, cx: &mut Context<'_, P>) {
    let count = match &finding {
        Finding::Known => Count::CalloutsKnown,
        Finding::Unknown(_) => Count::CalloutsUnknown,
        Finding::Unsure => Count::CalloutsUnsure,
    };
    cx.common.counters.increment(count);
    cx.common.callouts.answered(recipient, finding, cx.now.mono);
}

/// What an answer says of the recipient, and of who gave it.
fn made_of(result: &Settled) -> (Finding, Signal) {
    let (stage, failure) = match result {
        Settled::Accepted(_) => return (Finding::Known, Signal::Answered),
        Settled::Refused { stage, failure } => (*stage, failure),
    };
    let judgement = judge(stage, failure);
    let finding = match (judgement.verdict, judgement.scope) {
        (Verdict::Bounce, Scope::Recipient) => {
            let said = if let Failure::Reply(reply) = failure { Some(&reply.text) } else { None };
            let lack = || unfit(judgement.status, &failure.to_string());
            Finding::Unknown(said.map_or_else(lack, |words| refused(judgement.status, words)))
        }
        (Verdict::Bounce | Verdict::Defer, _) => Finding::Unsure,
    };
    let is_sick = stage != Stage::Rcpt && is_transient(failure);
    (finding, if is_sick { Signal::Refused } else { Signal::Answered })
}

impl Shard {
    /// Ask about recipients, and answer the clients that wait for it.
    pub(super) fn call_out<P: Platform>(&mut self, platform: &mut P) {
        loop {
            let now = platform.now();
            let cx =
                &mut Context { now, platform, settings: &self.settings, common: &mut self.common };
            self.callers.drive(&mut self.lookups, cx);
            if let Some(found) = self.lookups.poll_found() {
                self.callers.found(&found, cx);
                self.delivery.found(found, &mut self.lookups, cx);
            } else if let Some((client, finding)) = cx.common.callouts.poll_found() {
                self.ingress.recipient_found(client, &finding, &mut self.commit, cx);
            } else {
                return;
            }
        }
    }
}
