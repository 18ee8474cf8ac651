//! A resolver with the sockets, servers and clock around it.
//!
//! Invariant, checked at every step: a socket is opened once and closed once, and nobody who asked
//! hears twice.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SOA, TXT};
use hickory_proto::rr::{Name as WireName, RData, Record};
use relay_fast::base::prng::Prng;
use relay_fast::base::time::Monotonic;
use relay_fast::dns::{
    Answer, ExchangeId, Finding, Kind, Name, Options, Question, Records, Resolver, Transmit,
    Transport,
};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const ATTEMPTS: u32 = 2;

/// Two servers, as in resolv.conf.
pub(crate) fn two_servers() -> [SocketAddr; 2] {
    ["192.0.2.1:53".parse().unwrap(), "192.0.2.2:53".parse().unwrap()]
}

pub(crate) fn options(servers: &[SocketAddr]) -> Options {
    Options { servers: servers.to_vec(), timeout: TIMEOUT, attempts: ATTEMPTS, trust_ad: false }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn question(text: &str, kind: Kind) -> Question {
    Question { name: name(text), kind }
}

pub(crate) struct World {
    pub(crate) resolver: Resolver<u32>,
    pub(crate) now: Monotonic,
    sent: VecDeque<Transmit>,
    open: HashSet<ExchangeId>,
    closed: HashSet<ExchangeId>,
    answers: HashMap<u32, Arc<Answer>>,
}

impl World {
    pub(crate) fn new(servers: &[SocketAddr]) -> Self {
        Self::with(options(servers), 1)
    }

    pub(crate) fn with(options: Options, seed: u64) -> Self {
        Self {
            resolver: Resolver::new(options, Prng::from_number(seed)),
            now: Monotonic(0),
            sent: VecDeque::new(),
            open: HashSet::new(),
            closed: HashSet::new(),
            answers: HashMap::new(),
        }
    }

    /// Ask; what is known at once is given at once.
    pub(crate) fn ask(&mut self, text: &str, kind: Kind, waiter: u32) -> Option<Arc<Answer>> {
        let answer = self.resolver.lookup(question(text, kind), waiter, self.now);
        self.settle();
        answer
    }

    /// Pull everything out of the machine.
    pub(crate) fn settle(&mut self) {
        while let Some(transmit) = self.resolver.poll_transmit() {
            assert!(self.open.insert(transmit.exchange), "a socket opened twice");
            assert!(!self.closed.contains(&transmit.exchange), "an id given twice");
            self.sent.push_back(transmit);
        }
        while let Some(exchange) = self.resolver.poll_closed() {
            assert!(self.open.remove(&exchange), "a socket closed that was not open");
            self.closed.insert(exchange);
        }
        while let Some((waiter, answer)) = self.resolver.poll_answer() {
            assert!(self.answers.insert(waiter, answer).is_none(), "{waiter} heard twice");
        }
    }

    /// Answer all queries, those that follow included; all answers that came of it.
    pub(crate) fn run(&mut self, mut zone: impl FnMut(&str, &mut Message)) -> Vec<Arc<Answer>> {
        let mut answers = Vec::new();
        while let Some(transmit) = self.resolver.poll_transmit().or_else(|| self.sent.pop_front()) {
            let mut message = response_to(&transmit);
            zone(&asked_name(&transmit), &mut message);
            let bytes = message.to_vec().unwrap();
            self.resolver.handle_datagram(transmit.exchange, &bytes, self.now);
            answers.extend(std::iter::from_fn(|| self.resolver.poll_answer()).map(|(_, a)| a));
        }
        answers
    }

    /// The next query that went out.
    pub(crate) fn sent(&mut self) -> Transmit {
        self.sent.pop_front().expect("a query was sent")
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.sent.is_empty()
    }

    pub(crate) fn open_sockets(&self) -> usize {
        self.open.len()
    }

    /// What `waiter` heard.
    pub(crate) fn heard(&self, waiter: u32) -> Option<&Answer> {
        self.answers.get(&waiter).map(Arc::as_ref)
    }

    pub(crate) fn finding(&self, waiter: u32) -> &Finding {
        &self.heard(waiter).expect("an answer came").finding
    }

    /// Bring the octets of an answer to the socket of `to`.
    pub(crate) fn bring(&mut self, to: &Transmit, bytes: &[u8]) {
        match to.transport {
            Transport::Udp => self.resolver.handle_datagram(to.exchange, bytes, self.now),
            Transport::Tcp => {
                let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                self.resolver.handle_tcp_bytes(to.exchange, &length, self.now);
                self.resolver.handle_tcp_bytes(to.exchange, bytes, self.now);
            }
        }
        self.settle();
    }

    /// Answer `to` with what `fill` makes of an empty response.
    pub(crate) fn answer(&mut self, to: &Transmit, fill: impl FnOnce(&mut Message)) {
        let mut message = response_to(to);
        fill(&mut message);
        self.bring(to, &message.to_vec().unwrap());
    }

    pub(crate) fn fail(&mut self, exchange: &Transmit, why: &str) {
        self.resolver.handle_failed(exchange.exchange, why, self.now);
        self.settle();
    }

    /// Let time pass, stopping at each deadline on the way.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.resolver.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(deadline);
            self.resolver.handle_deadline(self.now);
            self.settle();
            let next = self.resolver.deadline();
            assert!(next.is_none_or(|next| next > self.now), "a deadline that stays");
        }
        self.now = end;
    }

    /// Let `server` answer all queries until nothing is under way; `None` is silence.
    pub(crate) fn serve(&mut self, mut server: impl FnMut(&Transmit, &mut Message) -> bool) {
        loop {
            while let Some(transmit) = self.sent.pop_front() {
                let mut message = response_to(&transmit);
                if server(&transmit, &mut message) {
                    self.bring(&transmit, &message.to_vec().unwrap());
                }
            }
            let Some(deadline) = self.resolver.deadline() else { return };
            self.pass(deadline.since(self.now));
        }
    }
}

/// The query inside a transmit.
pub(crate) fn query_of(transmit: &Transmit) -> Message {
    let bytes = match transmit.transport {
        Transport::Udp => &transmit.query[..],
        Transport::Tcp => {
            let (length, rest) = transmit.query.split_first_chunk::<2>().unwrap();
            assert_eq!(usize::from(u16::from_be_bytes(*length)), rest.len());
            rest
        }
    };
    Message::from_vec(bytes).unwrap()
}

/// What was asked for, in lower case without the trailing dot.
pub(crate) fn asked_name(transmit: &Transmit) -> String {
    let text = query_of(transmit).queries[0].name.to_ascii().to_lowercase();
    text.trim_end_matches('.').to_owned()
}

/// An empty response of a recursive server that echoes the question exactly.
pub(crate) fn response_to(transmit: &Transmit) -> Message {
    let query = query_of(transmit);
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    let asked: &Query = &query.queries[0];
    message.add_query(asked.clone());
    message
}

fn record(owner: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(wire(owner), ttl, data)
}

pub(crate) fn wire(text: &str) -> WireName {
    let labels = text.split('.').filter(|label| !label.is_empty());
    WireName::from_labels(labels.map(str::as_bytes)).unwrap()
}

pub(crate) fn a(owner: &str, ttl: u32, address: &str) -> Record {
    record(owner, ttl, RData::A(A(address.parse().unwrap())))
}

pub(crate) fn aaaa(owner: &str, ttl: u32, address: &str) -> Record {
    record(owner, ttl, RData::AAAA(AAAA(address.parse().unwrap())))
}

pub(crate) fn mx(owner: &str, ttl: u32, preference: u16, exchange: &str) -> Record {
    record(owner, ttl, RData::MX(MX::new(preference, wire(exchange))))
}

pub(crate) fn cname(owner: &str, ttl: u32, target: &str) -> Record {
    record(owner, ttl, RData::CNAME(CNAME(wire(target))))
}

pub(crate) fn ptr(owner: &str, ttl: u32, target: &str) -> Record {
    record(owner, ttl, RData::PTR(PTR(wire(target))))
}

pub(crate) fn ns(owner: &str, target: &str) -> Record {
    record(owner, 3_600, RData::NS(NS(wire(target))))
}

pub(crate) fn txt(owner: &str, ttl: u32, strings: &[&str]) -> Record {
    let strings = strings.iter().map(|&text| text.to_owned()).collect();
    record(owner, ttl, RData::TXT(TXT::new(strings)))
}

pub(crate) fn soa(zone: &str, ttl: u32, minimum: u32) -> Record {
    let data = SOA::new(wire("ns.example"), wire("root.example"), 1, 2, 3, 4, minimum);
    record(zone, ttl, RData::SOA(data))
}

pub(crate) fn code(message: &mut Message, code: ResponseCode) {
    message.metadata.response_code = code;
}

pub(crate) fn v4(addresses: &[&str]) -> Finding {
    let parsed = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Finding::Records(Records::A(parsed))
}
