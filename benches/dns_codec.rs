//! Measure a question to a name server: write the query, read the response.
//!
//! Both through the resolver, so that the checks against forgers and the cache are in the figures.

#![allow(missing_docs, reason = "the macros write functions without words")]

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::{A, CNAME, MX};
use hickory_proto::rr::{Name as WireName, RData, Record};

use relay_fast::base::prng::Prng;
use relay_fast::base::time::Monotonic;
use relay_fast::dns::{
    ExchangeId, Finding, Kind, Name, Options, Question, Records, Resolver, Transmit,
};

/// Seconds; from one question to the next more pass, so that none is answered from the cache.
const TTL: u32 = 60;
const RECORDS: u8 = 4;

fn wire(text: &str) -> WireName {
    WireName::from_ascii(text).expect("a name")
}

fn address(number: u8) -> RData {
    RData::A(A(Ipv4Addr::new(203, 0, 113, number)))
}

/// The domain is an alias; what it is an alias of has four records of the kind.
fn answers(asked: &WireName, kind: Kind) -> Vec<Record> {
    let target = wire("mail.hosting.example.");
    let mut answers =
        vec![Record::from_rdata(asked.clone(), TTL, RData::CNAME(CNAME(target.clone())))];
    for number in 1..=RECORDS {
        let host = wire(&format!("mx{number}.hosting.example."));
        let data = if kind == Kind::Mx { RData::MX(MX::new(10, host)) } else { address(number) };
        answers.push(Record::from_rdata(target.clone(), TTL, data));
    }
    answers
}

/// What the name server sends back; beside an answer of MX also the hosts' addresses, which the
/// resolver reads and does not believe.
fn response(transmit: &Transmit, kind: Kind) -> Vec<u8> {
    let query = Message::from_vec(&transmit.query).expect("a query");
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    let asked = query.queries[0].clone();
    message.add_answers(answers(&asked.name, kind));
    if kind == Kind::Mx {
        for number in 1..=RECORDS {
            let host = wire(&format!("mx{number}.hosting.example."));
            message.add_additional(Record::from_rdata(host, TTL, address(number)));
        }
    }
    message.add_query(asked);
    message.to_vec().expect("a message")
}

/// A resolver with one server and one question, asked again and again.
struct Rig {
    resolver: Resolver<()>,
    question: Question,
    now: Monotonic,
}

impl Rig {
    fn new(kind: Kind) -> Self {
        let options = Options {
            servers: vec!["192.0.2.53:53".parse().expect("an address")],
            timeout: Duration::from_secs(5),
            attempts: 1,
            trust_ad: false,
        };
        let name = Name::parse("customer.example").expect("a name");
        Self {
            resolver: Resolver::new(options, Prng::from_number(1)),
            question: Question { name, kind },
            now: Monotonic(0),
        }
    }

    fn ask(&mut self) -> Transmit {
        self.now = self.now + Duration::from_secs(u64::from(TTL) + 1);
        let known = self.resolver.lookup(self.question.clone(), (), self.now);
        assert_eq!(known, None, "it expired");
        self.resolver.poll_transmit().expect("a query")
    }

    fn hear(&mut self, exchange: ExchangeId, bytes: &[u8]) {
        self.resolver.handle_datagram(exchange, bytes, self.now);
        let (_, answer) = self.resolver.poll_answer().expect("it is answered");
        let Finding::Records(records) = &answer.finding else { panic!("{answer:?}") };
        let found = match records {
            Records::Mx(hosts) => hosts.len(),
            Records::A(addresses) => addresses.len(),
            Records::Aaaa(_) | Records::Txt(_) | Records::Ptr(_) | Records::Tlsa(_) => 0,
        };
        assert_eq!(found, usize::from(RECORDS));
        self.resolver.poll_closed().expect("its socket is closed");
    }
}

fn questions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("DNS");
    group.throughput(Throughput::Elements(1));
    for kind in [Kind::Mx, Kind::A] {
        let rig = RefCell::new(Rig::new(kind));
        let waiting = RefCell::new(None::<Transmit>);
        group.bench_function(BenchmarkId::new("write a query", kind), |bencher| {
            let answer_last = || {
                let Some(last) = waiting.take() else { return };
                rig.borrow_mut().hear(last.exchange, &response(&last, kind));
            };
            let ask = |()| *waiting.borrow_mut() = Some(rig.borrow_mut().ask());
            bencher.iter_batched(answer_last, ask, BatchSize::PerIteration);
        });
        let rig = RefCell::new(Rig::new(kind));
        group.bench_function(BenchmarkId::new("read a response", kind), |bencher| {
            let ask = || {
                let transmit = rig.borrow_mut().ask();
                (transmit.exchange, response(&transmit, kind))
            };
            let hear = |(exchange, bytes): (ExchangeId, Vec<u8>)| {
                rig.borrow_mut().hear(exchange, &bytes);
            };
            bencher.iter_batched(ask, hear, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, questions);
criterion_main!(benches);
