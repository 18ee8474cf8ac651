//! Find the hosts behind a name: drive the resolver's machines over the platform's sockets.
//!
//! In: targets to find; what came on DNS sockets. Out: [`Found`] for each target, once for all who
//! asked meanwhile. Lives on: each shard, for the domains that it owns.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::base::slots::{Slot, Slots};
use crate::base::time::Monotonic;
use crate::dns::{
    Answer, Counts, ExchangeId, HostLookup, HostOutcome, Kind, MxHost, MxLookup, MxOutcome, Name,
    Options, OwnNames, Question, Resolver, Transmit, Transport,
};
use crate::mail::address::Domain;
use crate::mail::outcome::Failure;
use crate::mail::route::Host;
use crate::outcome::counters::Latency;
use crate::shard::connections::Connections;
use crate::shard::context::Context;
use crate::shard::delivery::SMTP_PORT;
use crate::shard::platform::{ConnectionId, DatagramId, IoError, Platform};

/// What is to be found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// The MX hosts of a destination domain.
    Mx(Domain),
    /// The addresses of an upstream relay, or of a host that serves policies.
    Host(Host),
    /// What signed DNS says of the certificate of an MX host (RFC 7672 §3).
    Tlsa(Box<str>),
    /// Whether a destination domain has an MTA-STS policy, and which (RFC 8461 §3.1).
    Sts(Domain),
    /// What it says.
    Records(Question),
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// What was asked.
    pub(crate) target: Target,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// How long that may be kept.
    pub(crate) holds_for: Duration,
}

/// What a lookup came to.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Hosts in the order to try, each with an address at least; or why there are none.
    Hosts(Result<Vec<MxHost>, Failure>),
    /// The answer to the one question.
    Answer(Arc<Answer>),
}

/// A shard's lookups.
#[derive(Debug)]
pub(crate) struct Lookups {
    resolver: Resolver<Slot>,
    own: Arc<OwnNames>,
    under_way: Slots<Lookup>,
    by_target: HashMap<Target, Slot>,
    sockets: HashMap<ExchangeId, Socket>,
    datagrams: HashMap<DatagramId, ExchangeId>,
    streams: Connections<Stream>,
    found: VecDeque<Found>,
    /// To questions that were asked as they are.
    answers: VecDeque<Arc<Answer>>,
}

#[derive(Debug)]
struct Lookup {
    target: Target,
    machine: Machine,
    began: Monotonic,
}

#[derive(Debug)]
enum Machine {
    Mx(MxLookup),
    Host(HostLookup),
    /// One question; asked, or to be asked.
    One(Option<Question>),
}

#[derive(Clone, Copy, Debug)]
enum Socket {
    Datagram(DatagramId),
    Stream(ConnectionId),
}

#[derive(Debug)]
struct Stream {
    exchange: ExchangeId,
    /// Sent once the connection is there.
    query: Vec<u8>,
}

impl Lookups {
    /// Lookups that ask as `options` say; `own` are the names and addresses of this node.
    pub(crate) fn new(options: Options, own: Arc<OwnNames>, prng: crate::base::prng::Prng) -> Self {
        Self {
            resolver: Resolver::new(options, prng),
            own,
            under_way: Slots::default(),
            by_target: HashMap::new(),
            sockets: HashMap::new(),
            datagrams: HashMap::new(),
            streams: Connections::default(),
            found: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// Ask as `options` say from now on.
    pub(crate) fn reconfigure(&mut self, options: Options, own: Arc<OwnNames>) {
        self.resolver.reconfigure(options);
        self.own = own;
    }

    /// Find `target`: `poll_found` tells, perhaps at once. Joins a lookup under way.
    pub(crate) fn find<P: Platform>(&mut self, target: Target, cx: &mut Context<'_, P>) {
        if self.by_target.contains_key(&target) {
            return;
        }
        match self.machine(&target) {
            Ok(machine) => {
                let lookup = Lookup { target: target.clone(), machine, began: cx.mono() };
                let slot = self.under_way.insert(lookup);
                self.by_target.insert(target, slot);
                self.advance(slot, None, cx);
                self.exchange(cx);
            }
            Err(hosts) => {
                let outcome = Outcome::Hosts(hosts);
                self.found.push_back(Found { target, outcome, holds_for: Duration::MAX });
            }
        }
    }

    /// Ask this: `poll_answer` tells, perhaps at once. Joins a lookup under way.
    pub(crate) fn ask<P: Platform>(&mut self, question: Question, cx: &mut Context<'_, P>) {
        self.find(Target::Records(question), cx);
    }

    /// The next answer to what was asked.
    pub(crate) fn poll_answer(&mut self) -> Option<Arc<Answer>> {
        self.answers.pop_front()
    }

    /// The machine for `target`, or the answer that needs none.
    fn machine(&self, target: &Target) -> Result<Machine, Result<Vec<MxHost>, Failure>> {
        match target {
            Target::Records(question) => Ok(Machine::One(Some(question.clone()))),
            Target::Mx(domain) => Ok(Machine::Mx(MxLookup::new(domain, self.own.clone()))),
            Target::Host(host @ Host::Address(address)) => Err(Ok(vec![MxHost {
                name: host.to_string().into(),
                preference: 0,
                addresses: vec![*address],
                authenticated: false,
            }])),
            Target::Host(Host::Name(name)) => match Name::parse(name) {
                Ok(name) => Ok(Machine::Host(HostLookup::new(name))),
                Err(_) => Err(Err(Failure::NoSuchDomain)),
            },
            Target::Tlsa(host) => one(&format!("_{SMTP_PORT}._tcp.{host}"), Kind::Tlsa),
            Target::Sts(domain) => one(&format!("_mta-sts.{domain}"), Kind::Txt),
        }
    }

    /// The next target that was found, or not.
    pub(crate) fn poll_found(&mut self) -> Option<Found> {
        self.found.pop_front()
    }

    /// Whether a target was found, or not, that nobody has been told of.
    pub(crate) fn has_found(&self) -> bool {
        !self.found.is_empty()
    }

    /// What the resolver did so far.
    pub(crate) fn counts(&self) -> Counts {
        self.resolver.counts()
    }

    /// When to call `handle_deadline`.
    pub(crate) fn deadline(&self) -> Option<Monotonic> {
        self.resolver.deadline()
    }

    /// Time has passed.
    pub(crate) fn handle_deadline<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        if self.resolver.deadline().is_some_and(|at| at <= cx.mono()) {
            self.resolver.handle_deadline(cx.mono());
            self.exchange(cx);
        }
    }

    /// A datagram came; `false` if it is not one of ours.
    pub(crate) fn datagram<P: Platform>(
        &mut self,
        id: DatagramId,
        bytes: &[u8],
        cx: &mut Context<'_, P>,
    ) {
        if let Some(exchange) = self.datagrams.get(&id) {
            self.resolver.handle_datagram(*exchange, bytes, cx.mono());
            self.exchange(cx);
        }
    }

    /// A question's socket failed.
    pub(crate) fn datagram_failed<P: Platform>(
        &mut self,
        id: DatagramId,
        error: IoError,
        cx: &mut Context<'_, P>,
    ) {
        if let Some(exchange) = self.datagrams.remove(&id) {
            self.sockets.remove(&exchange);
            self.resolver.handle_failed(exchange, &error.to_string(), cx.mono());
            self.exchange(cx);
        }
    }

    /// Whether `connection` is a lookup's.
    pub(crate) fn has(&mut self, connection: ConnectionId) -> bool {
        self.streams.get_mut(connection).is_some()
    }

    /// The connection to a name server is there.
    pub(crate) fn connected<P: Platform>(&mut self, id: ConnectionId, cx: &mut Context<'_, P>) {
        if let Some(stream) = self.streams.get_mut(id) {
            cx.platform.send(id, std::mem::take(&mut stream.query));
        }
    }

    /// A name server sent this.
    pub(crate) fn received<P: Platform>(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        cx: &mut Context<'_, P>,
    ) {
        if let Some(stream) = self.streams.get_mut(id) {
            self.resolver.handle_tcp_bytes(stream.exchange, bytes, cx.mono());
            self.exchange(cx);
        }
    }

    /// A connection to a name server failed, broke or ended, and is gone.
    pub(crate) fn lost<P: Platform>(
        &mut self,
        id: ConnectionId,
        why: &str,
        cx: &mut Context<'_, P>,
    ) {
        if let Some(stream) = self.streams.remove(id) {
            self.sockets.remove(&stream.exchange);
            self.resolver.handle_failed(stream.exchange, why, cx.mono());
            self.exchange(cx);
        }
    }

    /// Pass on what the resolver wants sent and closed, and what it has answered.
    fn exchange<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        while let Some((slot, answer)) = self.resolver.poll_answer() {
            self.advance(slot, Some(&answer), cx);
        }
        while let Some(transmit) = self.resolver.poll_transmit() {
            self.transmit(transmit, cx);
        }
        while let Some(exchange) = self.resolver.poll_closed() {
            match self.sockets.remove(&exchange) {
                Some(Socket::Datagram(id)) => {
                    self.datagrams.remove(&id);
                    cx.platform.forget(id);
                }
                Some(Socket::Stream(id)) => {
                    self.streams.remove(id);
                    cx.platform.abort(id);
                }
                None => {}
            }
        }
    }

    fn transmit<P: Platform>(&mut self, transmit: Transmit, cx: &mut Context<'_, P>) {
        let exchange = transmit.exchange;
        let socket = match transmit.transport {
            Transport::Udp => {
                let id = cx.platform.ask(transmit.server, &transmit.query);
                self.datagrams.insert(id, exchange);
                Socket::Datagram(id)
            }
            Transport::Tcp => {
                let id = cx.platform.connect(transmit.server, None);
                self.streams.insert(id, Stream { exchange, query: transmit.query });
                Socket::Stream(id)
            }
        };
        self.sockets.insert(exchange, socket);
    }

    /// Let a lookup go on, with an answer if one came.
    fn advance<P: Platform>(
        &mut self,
        slot: Slot,
        answer: Option<&Arc<Answer>>,
        cx: &mut Context<'_, P>,
    ) {
        let Some(lookup) = self.under_way.get_mut(slot) else { return };
        let (resolver, prng, now) = (&mut self.resolver, &mut cx.common.prng, cx.now.mono);
        let ended = match &mut lookup.machine {
            Machine::Mx(machine) => {
                if let Some(answer) = answer {
                    machine.handle_answer(answer, prng);
                }
                let outcome = machine.advance(resolver, prng, slot, now);
                outcome.map(|it| (Outcome::Hosts(mx_hosts(it)), machine.holds_for(now)))
            }
            Machine::Host(machine) => {
                if let Some(answer) = answer {
                    machine.handle_answer(answer);
                }
                let outcome = machine.advance(resolver, prng, slot, now);
                let name = machine.name().as_str().into();
                outcome.map(|it| (Outcome::Hosts(host_addresses(name, it)), machine.holds_for(now)))
            }
            Machine::One(question) => {
                let known = question.take().and_then(|it| resolver.lookup(it, slot, now));
                let answer = answer.cloned().or(known);
                answer.map(|it| (Outcome::Answer(it.clone()), it.expires.since(now)))
            }
        };
        if let Some((outcome, holds_for)) = ended {
            let lookup = self.under_way.remove(slot).expect("looked up above");
            self.by_target.remove(&lookup.target);
            if answer.is_some() {
                cx.common.counters.record(Latency::Lookup, now.since(lookup.began));
            }
            match (lookup.target, outcome) {
                (Target::Records(_), Outcome::Answer(answer)) => self.answers.push_back(answer),
                (target, outcome) => self.found.push_back(Found { target, outcome, holds_for }),
            }
        }
    }
}

/// The one question; a name that cannot be asked for has no records.
fn one(name: &str, kind: Kind) -> Result<Machine, Result<Vec<MxHost>, Failure>> {
    let name = Name::parse(name).map_err(|_| Err(Failure::NoSuchDomain))?;
    Ok(Machine::One(Some(Question { name, kind })))
}

fn mx_hosts(outcome: MxOutcome) -> Result<Vec<MxHost>, Failure> {
    match outcome {
        MxOutcome::Hosts(hosts) => Ok(hosts),
        MxOutcome::NoSuchDomain => Err(Failure::NoSuchDomain),
        MxOutcome::NullMx => Err(Failure::NullMx),
        MxOutcome::Loop => Err(Failure::Loop),
        MxOutcome::Temporary(reason) => Err(Failure::Dns(reason)),
    }
}

/// An upstream relay without an address is a mistake in the configuration or in DNS, not the
/// message's fault: it waits.
fn host_addresses(name: Box<str>, outcome: HostOutcome) -> Result<Vec<MxHost>, Failure> {
    match outcome {
        HostOutcome::Addresses(addresses) => {
            Ok(vec![MxHost { name, preference: 0, addresses, authenticated: false }])
        }
        HostOutcome::NoAddress => Err(Failure::Dns(format!("{name} has no address").into())),
        HostOutcome::Temporary(reason) => Err(Failure::Dns(reason)),
    }
}
