//! Measure bytes ⇄ meaning: a command, a reply.

#![allow(missing_docs, reason = "the macros write functions without words")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};

use relay_fast::smtp::command::{self, Verb};
use relay_fast::smtp::extension::Offered;
use relay_fast::smtp::peer_reply::ReplyReader;

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command");
    let line =
        "MAIL FROM:<bounce+someone=customer.example@sender.example> SIZE=10240 BODY=8BITMIME";
    group.bench_function("MAIL", |bencher| {
        bencher.iter(|| {
            let (verb, arguments) = Verb::split(black_box(line));
            assert_eq!(verb, Verb::Mail);
            command::mail(arguments, Offered::ALL).expect("well-formed")
        });
    });
    let line =
        "RCPT TO:<someone@customer.example> NOTIFY=FAILURE ORCPT=rfc822;someone@customer.example";
    group.bench_function("RCPT", |bencher| {
        bencher.iter(|| {
            let (verb, arguments) = Verb::split(black_box(line));
            assert_eq!(verb, Verb::Rcpt);
            command::rcpt(arguments, false).expect("well-formed")
        });
    });
    group.finish();
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply");
    let ehlo = "250-mx.customer.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n\
                250-SMTPUTF8\r\n250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n250 DSN\r\n";
    for (name, text) in [("one line", "250 2.1.5 Recipient ok\r\n"), ("EHLO", ehlo)] {
        let mut reader = ReplyReader::default();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut input = black_box(text.as_bytes());
                let reply = reader.handle_bytes(&mut input, |line| {
                    black_box(line);
                });
                reply.expect("a whole reply").expect("a reply")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, commands, replies);
criterion_main!(benches);
