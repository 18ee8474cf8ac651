//! Measure a whole transaction of 10 KB in memory: the receiving machine, the sending one, both.

#![allow(missing_docs, reason = "the macros write functions without words")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "support/mail.rs"]
mod mail;
#[path = "support/pair.rs"]
mod pair;

use pair::{NOW, Pair, Server, client, speak, transaction};

fn receive(criterion: &mut Criterion) {
    let content = mail::content(10 * 1024);
    let text = String::from_utf8(content.clone()).expect("text");
    let commands = "MAIL FROM:<bounce+someone=customer.example@sender.example> SIZE=10300\r\n\
                    RCPT TO:<someone@customer.example>\r\n";
    let stuffed = text.replace("\r\n.", "\r\n..");
    let conversations = [
        ("DATA", vec![format!("{commands}DATA\r\n"), format!("{stuffed}.\r\n")]),
        ("BDAT", vec![format!("{commands}BDAT {} LAST\r\n{text}", text.len())]),
    ];
    let mut group = criterion.benchmark_group("receive 10 KB");
    group.throughput(Throughput::Elements(1));
    for (name, pieces) in &conversations {
        let mut server = Server::new();
        server.hear(b"EHLO client.example\r\n");
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                server.output.clear();
                let before = server.messages;
                pieces.iter().for_each(|piece| server.hear(black_box(piece.as_bytes())));
                assert_eq!(server.messages, before + 1);
            });
        });
    }
    group.finish();
}

fn both(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send and receive 10 KB");
    group.throughput(Throughput::Elements(1));
    for (name, chunking) in [("DATA", false), ("BDAT", true)] {
        let mut pair = Pair::new(true, chunking);
        group.bench_function(name, |bencher| bencher.iter(|| pair.send()));
    }
    group.finish();
}

fn send(criterion: &mut Criterion) {
    let content = mail::content(10 * 1024);
    let transaction = transaction(&content);
    let hello = "220 mx\r\n250-mx\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250 CHUNKING\r\n";
    let conversations = [
        ("DATA", false, vec!["250 ok\r\n250 ok\r\n354 go\r\n", "250 stored\r\n"]),
        ("BDAT", true, vec!["250 ok\r\n250 ok\r\n250 stored\r\n"]),
    ];
    let mut group = criterion.benchmark_group("send 10 KB");
    group.throughput(Throughput::Elements(1));
    for (name, chunking, replies) in conversations {
        let mut client = client(true, chunking);
        let mut wire = Vec::new();
        client.handle_bytes(hello.as_bytes(), NOW);
        speak(&mut client, &content, &mut wire);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                wire.clear();
                client.begin(transaction.clone(), NOW);
                for reply in &replies {
                    speak(&mut client, &content, &mut wire);
                    client.handle_bytes(black_box(reply.as_bytes()), NOW);
                }
                speak(&mut client, &content, &mut wire);
                assert!(client.is_ready());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, receive, send, both);
criterion_main!(benches);
