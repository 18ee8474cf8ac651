//! Measure the two choices that a domain's mail takes: owner shard, and upstream relay by weight.

#![allow(missing_docs, reason = "the macros write functions without words")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use relay_fast::base::time::Monotonic;
use relay_fast::egress::domain_hash;
use relay_fast::egress::health::GroupHealth;
use relay_fast::egress::owner::Loads;
use relay_fast::egress::upstream::Group;
use relay_fast::mail::address::Domain;

#[path = "support/mail.rs"]
mod mail;

fn domains(count: usize) -> Vec<Domain> {
    let name = |number| format!("customer{number}.example");
    (0..count).map(|number| Domain::parse(&name(number)).expect("a domain")).collect()
}

fn choices(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("choose");
    group.throughput(Throughput::Elements(1));
    for count in [1, mail::size(1_000_000)] {
        let domains = domains(count);
        let mut each = domains.iter().cycle();
        let mut hash = move || domain_hash(black_box(each.next().expect("without end")));
        for shards in [4, 64] {
            let loads = Loads::new(shards);
            let name = format!("owner of {shards} shards");
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| loads.owner_of(hash(), 0));
            });
        }
        let three = Group::parse("a.example*3,b.example*2,c.example").expect("a list");
        let many: Vec<String> = (1..=64).map(|n| format!("h{n}.example*{n}")).collect();
        let many = Group::parse(&many.join(",")).expect("a list");
        for upstreams in [three, many] {
            let mut health = GroupHealth::new(upstreams.members().len());
            let name = format!("upstream of {}", upstreams.members().len());
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| upstreams.choose(hash(), &mut health, Monotonic(0)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, choices);
criterion_main!(benches);
