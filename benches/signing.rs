//! Measure what a signature costs, beside what the crypto library alone takes for it.
//!
//! The goal is 90% of the library's own rate with RSA-2048 at 10 KB: the last lines say how near
//! each comes. Library and signer are measured in turn, so that both have the same machine.

#![allow(missing_docs, reason = "the macros write functions without words")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use relay_fast::base::time::WallTime;
use relay_fast::mail::address::Domain;
use relay_fast::policy::canonical::body::{BodyHash, Form};
use relay_fast::policy::signing::{Algorithm, PrivateKey, Selector, Signer, Signers, Signing};

#[path = "support/mail.rs"]
mod mail;

const KIB: usize = 1024;
const SIZES: [usize; 4] = [KIB, 10 * KIB, 100 * KIB, KIB * KIB];
/// Octets of a header section.
const HEADER: usize = 256 * KIB;
/// Octets in a piece of content: what is received at a time.
const PIECE: usize = 16 * KIB;
const ALGORITHMS: [(&str, Algorithm); 2] =
    [("RSA-2048", Algorithm::Rsa), ("Ed25519", Algorithm::Ed25519)];

fn signers(algorithm: Algorithm) -> Arc<Signers> {
    Arc::new(Signers::new([Signer {
        domain: Domain::parse("sender.example").expect("a domain"),
        selector: Selector::parse("s").expect("a selector"),
        subdomains: false,
        identities: Box::default(),
        tenants: Box::default(),
        key: Arc::new(PrivateKey::generate(algorithm).expect("a key")),
    }]))
}

/// All that a message needs for its signature.
fn sign(signers: &Arc<Signers>, content: &[u8]) -> Vec<u8> {
    let mut signing = Signing::new(signers.clone(), None, HEADER);
    content.chunks(PIECE).for_each(|piece| signing.push(piece));
    let mut unsigned = signing.finish(WallTime(1_795_491_661_007));
    assert_eq!(unsigned.left(), 1);
    unsigned.sign_one().expect("a signature");
    unsigned.into_fields()
}

/// The library's own signature of a text as long as what a message's signature is over.
fn library(algorithm: Algorithm) -> Box<dyn Fn()> {
    let text = [b'x'; 700];
    match algorithm {
        Algorithm::Rsa => {
            let (pair, random) = (RsaKeyPair::generate(KeySize::Rsa2048), SystemRandom::new());
            let pair = pair.expect("a key");
            Box::new(move || {
                let mut signature = [0; 256];
                pair.sign(&RSA_PKCS1_SHA256, &random, black_box(&text), &mut signature)
                    .expect("a signature");
                black_box(signature);
            })
        }
        Algorithm::Ed25519 => {
            let pair = Ed25519KeyPair::generate().expect("a key");
            Box::new(move || {
                let hash = digest(&SHA256, black_box(&text));
                black_box(pair.sign(hash.as_ref()));
            })
        }
    }
}

fn signatures(criterion: &mut Criterion) {
    for (name, algorithm) in ALGORITHMS {
        let signers = signers(algorithm);
        let mut group = criterion.benchmark_group(name);
        group.bench_function("library", |bencher| bencher.iter(library(algorithm)));
        for size in SIZES {
            let content = mail::content(size);
            group.bench_function(BenchmarkId::new("message", size), |bencher| {
                bencher.iter(|| sign(&signers, black_box(&content)));
            });
        }
        group.finish();
    }
}

/// What of it is not the signature: hashing the body, as it is and in its relaxed form.
fn bodies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("body");
    let plain = b"The quick brown fox jumps over the lazy dog, and then it does so again.\r\n";
    let forms = [("indented", mail::content(100 * KIB)), ("plain", plain.repeat(1_400))];
    for (name, body) in forms {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new("relaxed", name), |bencher| {
            bencher.iter(|| {
                let mut hash = BodyHash::new(Form::Relaxed);
                body.chunks(PIECE).for_each(|piece| hash.push(black_box(piece)));
                hash.finish()
            });
        });
        group.bench_function(BenchmarkId::new("SHA-256", name), |bencher| {
            bencher.iter(|| digest(&SHA256, black_box(&body)));
        });
    }
    group.finish();
}

/// The rate of each beside the library's, in turns.
fn shares(_: &mut Criterion) {
    let rounds = mail::size(2_000);
    for (name, algorithm) in ALGORITHMS {
        let (signers, library) = (signers(algorithm), library(algorithm));
        for size in SIZES {
            let content = mail::content(size);
            let (mut own, mut alone) = (Duration::ZERO, Duration::ZERO);
            for _ in 0..rounds {
                let began = Instant::now();
                black_box(sign(&signers, &content));
                own += began.elapsed();
                let began = Instant::now();
                library();
                alone += began.elapsed();
            }
            let micros = |time: Duration| time.as_secs_f64() * 1e6 / rounds as f64;
            let share = 100.0 * alone.as_secs_f64() / own.as_secs_f64();
            println!(
                "{name} at {size} octets: {:.1} us a message, {:.1} us in the library: {share:.1}%",
                micros(own),
                micros(alone),
            );
        }
    }
}

criterion_group!(benches, signatures, bodies, shares);
criterion_main!(benches);
