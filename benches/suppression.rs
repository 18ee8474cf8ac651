//! Measure what suppression lists cost a recipient that is on none, at RCPT, by the size of a list.

#![allow(missing_docs, reason = "the macros write functions without words")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use relay_fast::base::time::WallTime;
use relay_fast::mail::address::Mailbox;
use relay_fast::mail::handling::TenantName;
use relay_fast::policy::suppression::{
    Entries, Entry, Filter, ListName, Lists, Suppression, Unreadable,
};

#[path = "support/mail.rs"]
mod mail;

/// Nothing is looked up.
#[derive(Debug)]
struct Nothing;

impl Entries for Nothing {
    fn entry(&self, _: &ListName, _: &str) -> Result<Option<Entry>, Unreadable> {
        Ok(None)
    }
}

fn suppression(count: usize) -> Arc<Suppression> {
    let suppression = Arc::new(Suppression::new(Arc::new(Nothing), count as u64));
    let filter = Filter::with_room(count as u64, 7);
    for number in 0..count {
        filter.insert("global", &format!("user{number}@customer{}.example", number % 997));
    }
    suppression.set_filter(filter, false);
    suppression
}

fn lookups(criterion: &mut Criterion) {
    let mailbox = |number| Mailbox::parse(&format!("Reader{number}@mail{number}.example"), false);
    let recipients: Vec<Mailbox> =
        (0..mail::size(100_000)).map(|number| mailbox(number).expect("an address")).collect();
    let tenant = TenantName::parse("shop-1").expect("a name");
    let mut group = criterion.benchmark_group("suppression");
    group.throughput(Throughput::Elements(1));
    for count in [0, 1_000, 1_000_000, 10_000_000] {
        // A try has fewer, under the same names.
        let suppression = suppression(mail::size(count));
        for (name, tenant) in [("global", None), ("global and a tenant's", Some(&tenant))] {
            let mut each = recipients.iter().cycle();
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    let recipient = black_box(each.next().expect("without end"));
                    suppression.suspects(recipient, Lists { tenant }, WallTime(0)).is_some()
                });
            });
        }
        let in_vain = recipients.iter().filter(|recipient| {
            suppression.suspects(recipient, Lists::default(), WallTime(0)).is_some()
        });
        println!("{count} entries: {} of {} in vain", in_vain.count(), recipients.len());
    }
    group.finish();
}

criterion_group!(benches, lookups);
criterion_main!(benches);
