//! What TLS costs a node, its side alone: handshakes in full and resumed, and octets either way.
//!
//! The peer's work is done between the measured parts. One certificate of ECDSA P-256 and one of
//! RSA-2048, which is what most nodes show.

#![allow(clippy::unwrap_used, reason = "in a bench a panic is the report")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm,
};
use relay_fast::base::time::WallTime;
use relay_fast::tls::{Acceptor, Clock, Connector, Identity, PeerName, Roots, Tls};

/// 2026-11-24.
const NOW: WallTime = WallTime(1_795_491_661_000);

/// Octets of a usual message.
const MESSAGE_BYTES: usize = 10_240;

struct Parties {
    roots: Roots,
    clock: Arc<Clock>,
    acceptor: Acceptor,
    connector: Connector,
}

impl Parties {
    /// A server with a certificate of this algorithm, and a client that verifies it.
    fn new(algorithm: &'static SignatureAlgorithm) -> Self {
        let clock = Arc::new(Clock::default());
        clock.set(NOW);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(["mx.example".to_owned()]).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let identity = Identity::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        let roots = Roots::from_pem(pem.as_bytes()).unwrap();
        let acceptor = Acceptor::new(&[identity], None, &clock).unwrap();
        let connector = Connector::verifying(&roots, None, &clock).unwrap();
        Self { roots, clock, acceptor, connector }
    }

    /// Have no session to resume.
    fn forget(&mut self) {
        self.connector = Connector::verifying(&self.roots, None, &self.clock).unwrap();
    }

    /// A connection from the first octet to the last of the handshake; how long each side worked.
    fn shake(&self) -> (Tls, Tls, Spent) {
        let name = PeerName::new("mx.example", IpAddr::V4(Ipv4Addr::LOCALHOST));
        let mut spent = Spent::default();
        let mut client = timed(&mut spent.client, || Tls::connect(&self.connector, name).unwrap());
        let mut server = timed(&mut spent.server, || Tls::accept(&self.acceptor).unwrap());
        let mut plain = Vec::new();
        while client.has_output() || server.has_output() {
            let there = timed(&mut spent.client, || output(&mut client));
            timed(&mut spent.server, || server.handle_bytes(&there, &mut plain).unwrap());
            let back = timed(&mut spent.server, || output(&mut server));
            timed(&mut spent.client, || client.handle_bytes(&back, &mut plain).unwrap());
        }
        assert!(client.is_up() && server.is_up());
        (client, server, spent)
    }
}

/// How long each side worked.
#[derive(Clone, Copy, Default)]
struct Spent {
    server: Duration,
    client: Duration,
}

fn timed<T>(spent: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *spent += start.elapsed();
    result
}

fn output(tls: &mut Tls) -> Vec<u8> {
    let mut octets = Vec::new();
    tls.take_output(&mut octets);
    octets
}

fn handshakes(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake");
    for (name, algorithm) in [("P-256", &PKCS_ECDSA_P256_SHA256), ("RSA-2048", &PKCS_RSA_SHA256)] {
        let mut parties = Parties::new(algorithm);
        let mut measure = |name: String, resume: bool, of: fn(Spent) -> Duration| {
            group.bench_function(name, |b| {
                b.iter_custom(|times| {
                    parties.shake();
                    let shake = |_| {
                        if !resume {
                            parties.forget();
                        }
                        let (client, _, spent) = parties.shake();
                        assert_eq!(client.facts().unwrap().resumed, resume);
                        of(spent)
                    };
                    (0..times).map(shake).sum()
                });
            });
        };
        measure(format!("in, {name}, full"), false, |spent| spent.server);
        measure(format!("in, {name}, resumed"), true, |spent| spent.server);
        measure(format!("out, {name}, full"), false, |spent| spent.client);
        measure(format!("out, {name}, resumed"), true, |spent| spent.client);
    }
    group.finish();
}

fn octets(c: &mut Criterion) {
    let parties = Parties::new(&PKCS_ECDSA_P256_SHA256);
    let (mut client, _, _) = parties.shake();
    let message = vec![b'x'; MESSAGE_BYTES];
    let mut group = c.benchmark_group("message of 10 KiB");
    group.throughput(Throughput::Bytes(MESSAGE_BYTES as u64));
    group.bench_function("to a peer", |b| {
        let mut sealed = Vec::new();
        b.iter(|| {
            sealed.clear();
            client.send(&message);
            client.take_output(&mut sealed);
            black_box(&sealed);
        });
    });
    let (mut client, mut server, _) = parties.shake();
    group.bench_function("from a client", |b| {
        b.iter_custom(|times| {
            let (mut spent, mut plain) = (Duration::ZERO, Vec::new());
            for _ in 0..times {
                client.send(&message);
                let sealed = output(&mut client);
                plain.clear();
                timed(&mut spent, || server.handle_bytes(&sealed, &mut plain).unwrap());
                assert_eq!(plain.len(), MESSAGE_BYTES);
            }
            spent
        });
    });
    group.finish();
}

criterion_group!(benches, handshakes, octets);
criterion_main!(benches);
