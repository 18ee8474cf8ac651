//! Look names up: one machine for all lookups of a shard.
//!
//! In: questions with whoever waits for them, bytes from name servers, the time. Out: queries to
//! send, answers, exchanges that are over.
//!
//! A lookup asks one server at a time and goes to the next when it fails; one *exchange* is one
//! query on one socket. Lookups of the same question are one; beyond `DNS_IN_FLIGHT_MAX` they stand
//! in line, at most `DNS_LINE_WAIT_MAX`. Each lookup ends: for each name of a CNAME chain that
//! needs a query of its own, each server is asked at most `attempts` times over UDP, and once more
//! over TCP for each of these. Everyone who waits hears of it once. Lives on: one shard.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::base::limits::{
    DNS_CNAME_MAX, DNS_FAILURE_TTL, DNS_IN_FLIGHT_MAX, DNS_LINE_WAIT_MAX, DNS_TTL_MAX,
    DNS_WAITING_MAX,
};
use crate::base::prng::Prng;
use crate::base::slots::{Slot, Slots};
use crate::base::time::Monotonic;
use crate::dns::answer::{Answer, Question};
use crate::dns::cache::Cache;
use crate::dns::exchange::{Exchange, ExchangeId, Exchanges, Over, Traffic, Transmit, Transport};
use crate::dns::message::{Asked, Case};
use crate::dns::name::Name;
use crate::dns::reading::{Reading, TOO_LONG};
use crate::dns::resolv_conf::Options;
use crate::dns::servers::Servers;

const NO_SERVER: &str = "no name server is configured";
const CROWDED: &str = "too many lookups are waiting for name servers";
/// Why a lookup that an exchange or the line names is there: both end with it.
const ALIVE: &str = "a lookup outlives its exchange and its place in line";

/// What the resolver did since it was made; for `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `lookup`.
    pub lookups: u64,
    /// Of these, answered from the cache.
    pub cached: u64,
    /// Of these, joined to one under way.
    pub joined: u64,
    /// Of these, turned away: too many wait, or there is no server.
    pub turned_away: u64,
    /// Queries that a server failed to answer: silence, SERVFAIL, REFUSED, nonsense, unreachable.
    pub failed: u64,
    /// What went over the network.
    pub traffic: Traffic,
}

/// The lookup machine; `W` is what waits, such as a slot.
#[derive(Debug)]
pub struct Resolver<W> {
    options: Options,
    prng: Prng,
    cache: Cache,
    servers: Servers,
    lookups: Slots<Lookup<W>>,
    by_question: HashMap<Question, Slot>,
    /// Lookups that wait for room in flight, and until when.
    line: VecDeque<(Slot, Monotonic)>,
    exchanges: Exchanges,
    /// Askers in `lookups`.
    waiting: usize,
    answers: VecDeque<(W, Arc<Answer>)>,
    counts: Counts,
}

#[derive(Debug)]
struct Lookup<W> {
    question: Question,
    waiters: Vec<W>,
    /// What is asked for now: the question's name, or where CNAMEs led.
    name: Name,
    links: usize,
    /// The shortest TTL of these CNAMEs.
    ttl: Duration,
    /// Whether all of these CNAMEs are authenticated.
    authentic: bool,
    edns: bool,
    /// Rounds over all servers that are behind us, for the name that is asked for now.
    rounds: u32,
    /// Servers that were asked in this round.
    tried: Vec<SocketAddr>,
    /// How the last query failed.
    failure: String,
}

impl<W: Copy> Resolver<W> {
    /// A resolver that has asked nothing yet. `prng` must not be predictable from outside.
    pub fn new(options: Options, prng: Prng) -> Self {
        let options = options.in_bounds();
        Self {
            servers: Servers::new(&options.servers),
            options,
            prng,
            cache: Cache::new(),
            lookups: Slots::default(),
            by_question: HashMap::new(),
            line: VecDeque::new(),
            exchanges: Exchanges::default(),
            waiting: 0,
            answers: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Ask as `options` say from now on; what is in flight and in the cache stays.
    pub fn reconfigure(&mut self, options: Options) {
        self.options = options.in_bounds();
        self.servers = Servers::new(&self.options.servers);
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        Counts { traffic: self.exchanges.traffic(), ..self.counts }
    }

    /// Answers kept in the cache.
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    /// Lookups that have not ended.
    pub fn under_way(&self) -> usize {
        self.lookups.len()
    }

    /// Ask. Either the answer is known at once (from the cache, or because nobody can be asked
    /// now), or `poll_answer` gives it for `waiter` later, exactly once.
    #[must_use]
    pub fn lookup(&mut self, question: Question, waiter: W, now: Monotonic) -> Option<Arc<Answer>> {
        self.counts.lookups += 1;
        if let Some(answer) = self.cache.find(&question, now) {
            self.counts.cached += 1;
            return Some(answer);
        }
        if let Some(reason) = self.reason_to_turn_away() {
            self.counts.turned_away += 1;
            return Some(Arc::new(Answer::failure(question, reason, now)));
        }
        self.waiting += 1;
        let under_way = self.by_question.get(&question);
        if let Some(lookup) = under_way.and_then(|slot| self.lookups.get_mut(*slot)) {
            self.counts.joined += 1;
            lookup.waiters.push(waiter);
            return None;
        }
        let slot = self.lookups.insert(Lookup::new(question.clone(), waiter));
        self.by_question.insert(question, slot);
        self.line.push_back((slot, now + DNS_LINE_WAIT_MAX));
        self.fill(now);
        None
    }

    /// The next query to send. Each goes out on a socket of its own from a random port.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.exchanges.poll_transmit()
    }

    /// The next exchange that is over: its socket may be closed, and its id means nothing any more.
    /// Each exchange of `poll_transmit` comes here once, after `handle_failed` too.
    pub fn poll_closed(&mut self) -> Option<ExchangeId> {
        self.exchanges.poll_closed()
    }

    /// The next answer, and who waits for it.
    pub fn poll_answer(&mut self) -> Option<(W, Arc<Answer>)> {
        self.answers.pop_front()
    }

    /// When to call `handle_deadline`.
    pub fn deadline(&self) -> Option<Monotonic> {
        let line = self.line.front().map(|(_, until)| *until);
        [line, self.exchanges.deadline()].into_iter().flatten().min()
    }

    /// A datagram came on the exchange's socket. Nothing happens when it is no answer to its query.
    pub fn handle_datagram(&mut self, exchange: ExchangeId, bytes: &[u8], now: Monotonic) {
        let over = self.exchanges.hear_datagram(exchange, bytes);
        self.proceed(over, now);
    }

    /// Octets came on the exchange's TCP connection; an answer may be cut anywhere between calls.
    pub fn handle_tcp_bytes(&mut self, exchange: ExchangeId, bytes: &[u8], now: Monotonic) {
        let over = self.exchanges.hear_tcp_bytes(exchange, bytes);
        self.proceed(over, now);
    }

    /// The exchange's socket or connection failed or ended; `why` for people.
    pub fn handle_failed(&mut self, exchange: ExchangeId, why: &str, now: Monotonic) {
        let over = self.exchanges.end(exchange, Reading::failed(why, true));
        self.proceed(over, now);
    }

    /// Time has passed.
    pub fn handle_deadline(&mut self, now: Monotonic) {
        while let Some(over) = self.exchanges.expire(now) {
            self.proceed(Some(over), now);
        }
        // Not kept in the cache: that we are busy says nothing about the name.
        while self.line.front().is_some_and(|(_, until)| *until <= now) {
            let Some((slot, _)) = self.line.pop_front() else { break };
            let question = self.lookups.get(slot).expect(ALIVE).question.clone();
            self.tell(slot, &Arc::new(Answer::failure(question, CROWDED, now)));
        }
        self.fill(now);
    }

    fn reason_to_turn_away(&self) -> Option<&'static str> {
        if self.servers.is_empty() {
            return Some(NO_SERVER);
        }
        (self.waiting >= DNS_WAITING_MAX).then_some(CROWDED)
    }

    /// Take lookups out of the line while there is room in flight.
    fn fill(&mut self, now: Monotonic) {
        while self.exchanges.len() < DNS_IN_FLIGHT_MAX {
            let Some((slot, _)) = self.line.pop_front() else { return };
            self.ask_next(slot, now);
        }
    }

    /// Ask the next server, or give up when all rounds are over.
    fn ask_next(&mut self, slot: Slot, now: Monotonic) {
        let lookup = self.lookups.get_mut(slot).expect(ALIVE);
        let mut server = self.servers.choose(&lookup.tried, now);
        if server.is_none() {
            lookup.rounds += 1;
            lookup.tried.clear();
            if lookup.rounds < self.options.attempts {
                server = self.servers.choose(&lookup.tried, now);
            }
        }
        if let Some(server) = server {
            lookup.tried.push(server);
            self.send(slot, server, Transport::Udp, now);
        } else {
            let reason = std::mem::take(&mut lookup.failure);
            self.fail(slot, &reason, now);
        }
    }

    fn send(&mut self, slot: Slot, server: SocketAddr, transport: Transport, now: Monotonic) {
        let lookup = self.lookups.get(slot).expect(ALIVE);
        let question = Question { name: lookup.name.clone(), kind: lookup.question.kind };
        let case = match transport {
            Transport::Udp => Case::Random,
            Transport::Tcp => Case::Lower,
        };
        let asked = Asked::new(&question, case, lookup.edns, &mut self.prng);
        let due = now + self.options.timeout;
        self.exchanges.start(Exchange::new(slot, server, transport, asked, due));
    }

    /// An exchange is over: go on with its lookup. `None` where it goes on itself.
    fn proceed(&mut self, over: Option<Over>, now: Monotonic) {
        let Some(Over { lookup: slot, server, transport, reading }) = over else { return };
        let lookup = self.lookups.get_mut(slot).expect(ALIVE);
        match reading {
            Reading::OverTcp => self.send(slot, server, Transport::Tcp, now),
            Reading::NoEdns => {
                lookup.edns = false;
                self.send(slot, server, transport, now);
            }
            Reading::Failed { said, at_fault } => {
                self.counts.failed += 1;
                lookup.failure = format!("{said} from {}", server.ip());
                if at_fault {
                    self.servers.failed(server, now);
                } else {
                    self.servers.answered(server);
                }
                self.ask_next(slot, now);
            }
            Reading::Broken(reason) => self.fail(slot, reason, now),
            Reading::Alias { target, links, ttl, authentic } => {
                self.servers.answered(server);
                lookup.turn_to(target, links, ttl, authentic && self.options.believes(server));
                if lookup.links > DNS_CNAME_MAX {
                    self.fail(slot, TOO_LONG, now);
                } else {
                    self.ask_next(slot, now);
                }
            }
            Reading::Found { finding, ttl, authentic } => {
                self.servers.answered(server);
                let answer = Answer {
                    question: lookup.question.clone(),
                    finding,
                    authenticated: authentic && lookup.authentic && self.options.believes(server),
                    expires: now + ttl.min(lookup.ttl),
                };
                self.keep_and_tell(slot, answer);
            }
        }
        self.fill(now);
    }

    //= RFC 9520 §3.2
    //# Resolvers MUST cache resolution failures for at least 1 second.
    fn fail(&mut self, slot: Slot, reason: &str, now: Monotonic) {
        let question = self.lookups.get(slot).expect(ALIVE).question.clone();
        let answer = Answer::failure(question, reason, now + DNS_FAILURE_TTL);
        self.keep_and_tell(slot, answer);
    }

    fn keep_and_tell(&mut self, slot: Slot, answer: Answer) {
        let answer = Arc::new(answer);
        self.cache.keep(&answer);
        self.tell(slot, &answer);
    }

    /// End a lookup: all who wait for it hear `answer`.
    fn tell(&mut self, slot: Slot, answer: &Arc<Answer>) {
        let lookup = self.lookups.remove(slot).expect(ALIVE);
        self.by_question.remove(&lookup.question);
        self.waiting -= lookup.waiters.len();
        self.answers.extend(lookup.waiters.into_iter().map(|w| (w, Arc::clone(answer))));
    }
}

impl<W> Lookup<W> {
    fn new(question: Question, waiter: W) -> Self {
        Self {
            name: question.name.clone(),
            question,
            waiters: vec![waiter],
            links: 0,
            ttl: DNS_TTL_MAX,
            authentic: true,
            edns: true,
            rounds: 0,
            tried: Vec::new(),
            failure: NO_SERVER.to_owned(),
        }
    }

    /// Ask for `target` from now on: all servers anew.
    fn turn_to(&mut self, target: Name, links: usize, ttl: Duration, authentic: bool) {
        self.name = target;
        self.links += links;
        self.ttl = self.ttl.min(ttl);
        self.authentic &= authentic;
        self.rounds = 0;
        self.tried.clear();
    }
}
