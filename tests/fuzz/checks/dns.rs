//! DNS answers: any octets from a name server, over UDP and TCP, late, forged or none at all.
//!
//! Input: what is looked up, cuts; then what the servers say, query by query. Every lookup ends,
//! each who asked hears once, queries are bounded; what is found stands in an answer section, at
//! the name that was asked for or where CNAMEs led; nothing else is kept.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use relay_fast::base::limits::{
    DNS_CNAME_MAX, DNS_RECORDS_MAX, DNS_TTL_MAX, MX_ADDRESSES_MAX, MX_HOSTS_MAX,
};
use relay_fast::base::prng::Prng;
use relay_fast::base::time::Monotonic;
use relay_fast::dns::{
    Answer, ExchangeId, Finding, HostLookup, HostOutcome, Kind, MxLookup, MxOutcome, Name, Options,
    OwnNames, Question, Records, Resolver, Transmit, Transport,
};
use relay_fast::mail::address::Domain;

use super::cuts::Cuts;
use super::wire::{Heard, question_end};

const NAME: &str = "a.example";
const SERVERS: [&str; 2] = ["192.0.2.1:53", "192.0.2.2:53"];
const ATTEMPTS: u32 = 2;
/// Queries for one question: each name of a chain, each server, each round, over UDP, without EDNS,
/// over TCP, without EDNS there.
const QUERIES_MAX: usize = (DNS_CNAME_MAX + 1) * SERVERS.len() * ATTEMPTS as usize * 4;
/// More than any lookup may take.
const STEPS: usize = 100_000;

/// The check.
pub(crate) fn check(data: &[u8]) {
    let Some((&[what, cuts], said)) = data.split_first_chunk() else { return };
    let mut world = World::new(said, what & 0x80 != 0, cuts);
    match what % 8 {
        6 => world.look_up_domain(),
        7 => world.look_up_host(),
        kind => world.ask(KINDS[usize::from(kind)]),
    }
    world.end();
}

const KINDS: [Kind; 6] = [Kind::A, Kind::Aaaa, Kind::Mx, Kind::Txt, Kind::Ptr, Kind::Tlsa];

/// A resolver, its sockets and its servers.
struct World<'a> {
    resolver: Resolver<u32>,
    prng: Prng,
    now: Monotonic,
    trusts: bool,
    cuts: u8,
    /// What the servers will say.
    said: &'a [u8],
    heard: Heard,
    open: HashSet<ExchangeId>,
    queries: usize,
    questions: HashSet<Question>,
    steps: usize,
}

impl<'a> World<'a> {
    fn new(said: &'a [u8], trusts: bool, cuts: u8) -> Self {
        let servers: Vec<SocketAddr> =
            SERVERS.iter().map(|text| text.parse().expect("an address")).collect();
        let timeout = Duration::from_secs(5);
        let options = Options { servers, timeout, attempts: ATTEMPTS, trust_ad: trusts };
        Self {
            resolver: Resolver::new(options, Prng::from_number(1)),
            prng: Prng::from_number(2),
            now: Monotonic(1_000_000_000),
            trusts,
            cuts,
            said,
            heard: Heard::default(),
            open: HashSet::new(),
            queries: 0,
            questions: HashSet::new(),
            steps: 0,
        }
    }

    fn ask(&mut self, kind: Kind) {
        let question = Question { name: Name::parse(NAME).expect("a name"), kind };
        self.questions.insert(question.clone());
        // Two who ask the same, and one who asks behind them.
        assert!(self.resolver.lookup(question.clone(), 1, self.now).is_none());
        assert!(self.resolver.lookup(question.clone(), 2, self.now).is_none());
        let mut answers = Vec::new();
        while self.resolver.under_way() > 0 {
            answers.extend(self.step());
        }
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[0].1, answers[1].1);
        assert_ne!(answers[0].0, answers[1].0);
        let answer = &answers[0].1;
        assert_eq!(answer.question, question);
        let cached = self.resolver.lookup(question, 3, self.now);
        assert_eq!(cached.as_ref(), Some(answer), "it is kept as long as it holds");
    }

    fn look_up_host(&mut self) {
        let name = Name::parse(NAME).expect("a name");
        for kind in [Kind::A, Kind::Aaaa] {
            self.questions.insert(Question { name: name.clone(), kind });
        }
        let mut lookup = HostLookup::new(name);
        let outcome = loop {
            let now = self.now;
            if let Some(outcome) = lookup.advance(&mut self.resolver, &mut self.prng, 1, now) {
                break outcome;
            }
            self.step().iter().for_each(|(_, answer)| lookup.handle_answer(answer));
        };
        if let HostOutcome::Addresses(addresses) = outcome {
            assert_addresses(&addresses);
        }
        assert!(lookup.holds_for(self.now) <= DNS_TTL_MAX);
    }

    fn look_up_domain(&mut self) {
        let own = OwnNames {
            names: vec![Name::parse("own.example").expect("a name")],
            addresses: vec![[192, 0, 2, 99].into()],
        };
        let own_address = own.addresses[0];
        let domain = Domain::parse(NAME).expect("a domain");
        let mut lookup = MxLookup::new(&domain, Arc::new(own));
        let outcome = loop {
            let now = self.now;
            if let Some(outcome) = lookup.advance(&mut self.resolver, &mut self.prng, 1, now) {
                break outcome;
            }
            for (_, answer) in self.step() {
                self.questions.insert(answer.question.clone());
                lookup.handle_answer(&answer, &mut self.prng);
            }
        };
        assert!(lookup.holds_for(self.now) <= DNS_TTL_MAX);
        let MxOutcome::Hosts(hosts) = outcome else { return };
        assert!((1..=MX_HOSTS_MAX).contains(&hosts.len()));
        assert!(hosts.is_sorted_by_key(|host| host.preference));
        for host in &hosts {
            assert_addresses(&host.addresses);
            assert!(!host.addresses.contains(&own_address), "mail to itself");
            assert!(!host.authenticated || self.trusts);
            assert_ne!(&*host.name, "own.example");
        }
    }

    /// One query is answered, or the time for it passes; what is known by it.
    fn step(&mut self) -> Vec<(u32, Arc<Answer>)> {
        self.steps += 1;
        assert!(self.steps < STEPS, "a lookup without end");
        match self.resolver.poll_transmit() {
            Some(query) => {
                self.queries += 1;
                let bound = QUERIES_MAX * (1 + 2 * MX_HOSTS_MAX);
                assert!(self.queries <= bound, "{} queries", self.queries);
                assert!(self.open.insert(query.exchange), "a socket opened twice");
                self.answer(&query);
            }
            None => self.pass(),
        }
        while let Some(exchange) = self.resolver.poll_closed() {
            assert!(self.open.remove(&exchange), "a socket closed that was not open");
        }
        let answers: Vec<_> = std::iter::from_fn(|| self.resolver.poll_answer()).collect();
        answers.iter().for_each(|(_, answer)| self.check_answer(answer));
        answers
    }

    fn pass(&mut self) {
        let due = self.resolver.deadline().expect("whoever waits has a deadline");
        self.now = self.now.max(due);
        self.resolver.handle_deadline(self.now);
        assert!(self.resolver.deadline().is_none_or(|next| next > self.now));
    }

    fn take(&mut self, octets: usize) -> &'a [u8] {
        let (taken, rest) = self.said.split_at(octets.min(self.said.len()));
        self.said = rest;
        taken
    }

    /// What the input has for this query: how, how long, and the octets.
    fn answer(&mut self, query: &Transmit) {
        let &[how, long] = self.take(2) else { return };
        let octets = self.take(usize::from(long));
        let asked = match query.transport {
            Transport::Udp => &query.query[..],
            Transport::Tcp => &query.query[2..],
        };
        let mut message = asked[..question_end(asked)].to_vec();
        match how % 8 {
            0..=3 => {
                // Flags, and how many records each section has.
                let (head, records) = octets.split_at(octets.len().min(5));
                let field = |place: usize| head.get(place).copied().unwrap_or(0);
                message[2..4].copy_from_slice(&[0x80 | field(0), field(1)]);
                message[6..8].copy_from_slice(&[0, field(2)]);
                message[8..10].copy_from_slice(&[0, field(3)]);
                message[10..12].copy_from_slice(&[0, field(4)]);
                message.extend_from_slice(records);
            }
            4 => message = octets.to_vec(),
            5 => {
                message[0] ^= octets.first().copied().unwrap_or(1);
                message[2] |= 0x80;
            }
            6 => return self.resolver.handle_failed(query.exchange, "as told", self.now),
            _ => return,
        }
        self.heard.hear(&message);
        match query.transport {
            Transport::Udp => self.resolver.handle_datagram(query.exchange, &message, self.now),
            Transport::Tcp => {
                let length = u16::try_from(message.len()).expect("a short one").to_be_bytes();
                let stream = [&length, &message[..]].concat();
                for piece in Cuts::LinesAnd(self.cuts).pieces(&stream) {
                    self.resolver.handle_tcp_bytes(query.exchange, piece, self.now);
                }
            }
        }
    }

    fn check_answer(&self, answer: &Answer) {
        assert!(answer.expires <= self.now + DNS_TTL_MAX && answer.expires > self.now);
        assert!(!answer.authenticated || self.trusts, "nobody vouches for it");
        let Finding::Records(records) = &answer.finding else { return };
        let told = self.heard.told(answer.question.name.as_str(), answer.question.kind);
        let found = found(records);
        assert!(found.len() <= DNS_RECORDS_MAX);
        for record in &found {
            assert!(told.contains(record), "{record:?} is not among {told:?}");
        }
    }

    fn end(self) {
        assert_eq!(self.resolver.under_way(), 0);
        assert_eq!(self.resolver.deadline(), None);
        assert!(self.open.is_empty(), "sockets stay open");
        assert!(self.resolver.cached() <= self.questions.len(), "what nobody asked for is kept");
    }
}

/// Records as `Heard` tells them.
fn found(records: &Records) -> Vec<Vec<u8>> {
    match records {
        Records::A(all) => all.iter().map(|one| one.octets().to_vec()).collect(),
        Records::Aaaa(all) => all.iter().map(|one| one.octets().to_vec()).collect(),
        Records::Mx(all) => all
            .iter()
            .map(|mx| {
                let host = mx.exchange.as_ref().map_or("", Name::as_str);
                [&mx.preference.to_be_bytes(), host.as_bytes()].concat()
            })
            .collect(),
        Records::Txt(all) => all.iter().map(|one| one.to_vec()).collect(),
        Records::Ptr(all) => all.iter().map(|one| one.as_str().as_bytes().to_vec()).collect(),
        Records::Tlsa(all) => all
            .iter()
            .map(|one| [&[one.usage, one.selector, one.matching], &*one.data].concat())
            .collect(),
    }
}

fn assert_addresses(addresses: &[IpAddr]) {
    assert!((1..=MX_ADDRESSES_MAX).contains(&addresses.len()));
    for address in addresses {
        assert!(!address.is_unspecified() && !address.is_multicast(), "{address}");
    }
}
