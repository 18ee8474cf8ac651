//! Measure a whole transaction of 10 KB in memory: the receiving machine, the sending one, both.

#![allow(missing_docs, reason = "the macros write functions without words")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use relay_fast::base::ids::MessageId;
use relay_fast::base::time::Monotonic;
use relay_fast::smtp::answer::Answer;
use relay_fast::smtp::client::{self, Client, Transaction};
use relay_fast::smtp::server::{self, Event, Session};

#[path = "support/mail.rs"]
mod mail;

const NOW: Monotonic = Monotonic(0);

/// The receiving side, to which everyone says yes.
struct Server {
    session: Session,
    output: Vec<u8>,
    messages: usize,
}

impl Server {
    fn new() -> Self {
        let options = Arc::new(server::Options::new("mx.example"));
        Self { session: Session::new(options, NOW), output: Vec::new(), messages: 0 }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            rest = &rest[self.session.handle_bytes(rest, NOW)..];
            while let Some(event) = self.session.poll_event() {
                self.answer(event);
            }
            if rest.is_empty() {
                break;
            }
        }
        self.session.take_output(&mut self.output);
    }

    fn answer(&mut self, event: Event) {
        let answer = match event {
            Event::Mail => Answer::SENDER_OK,
            Event::Rcpt => Answer::RECIPIENT_OK,
            Event::Content => Answer::GO_ON,
            Event::End => {
                black_box((self.session.take_content(), self.session.take_envelope()));
                self.messages += 1;
                Answer::stored(MessageId(1))
            }
            Event::ContentFull => return drop(black_box(self.session.take_content())),
            Event::Aborted => unreachable!("nothing goes wrong"),
        };
        self.session.answer(answer, NOW);
    }
}

fn client(chunking: bool) -> Client {
    let options = client::Options {
        hello: "relay.example".into(),
        deadlines: client::Deadlines::default(),
        use_pipelining: true,
        use_chunking: chunking,
    };
    Client::new(Arc::new(options), NOW)
}

/// What the client says, with the content that it asks for.
fn speak(client: &mut Client, content: &[u8], into: &mut Vec<u8>) {
    while let Some(offset) = client.wants_content() {
        let offset = usize::try_from(offset).expect("small content");
        client.push_content(&content[offset..], NOW);
    }
    client.take_output(into);
    while let Some(event) = client.poll_event() {
        black_box(event);
    }
}

/// Let the two talk until neither has anything more to say.
fn talk(client: &mut Client, server: &mut Server, content: &[u8], wire: &mut Vec<u8>) {
    loop {
        wire.clear();
        speak(client, content, wire);
        if !wire.is_empty() {
            server.hear(wire);
        }
        if server.output.is_empty() {
            return;
        }
        let replies = std::mem::take(&mut server.output);
        client.handle_bytes(&replies, NOW);
        server.output = replies;
        server.output.clear();
    }
}

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
    let content = mail::content(10 * 1024);
    let transaction = Transaction {
        envelope: Arc::new(mail::envelope()),
        recipients: vec![0],
        content_bytes: content.len() as u64,
        has_eight_bit: false,
        header_has_eight_bit: false,
    };
    let mut group = criterion.benchmark_group("send and receive 10 KB");
    group.throughput(Throughput::Elements(1));
    for (name, chunking) in [("DATA", false), ("BDAT", true)] {
        let (mut client, mut server) = (client(chunking), Server::new());
        let mut wire = Vec::new();
        server.hear(b"");
        talk(&mut client, &mut server, &content, &mut wire);
        client.handle_bytes(&std::mem::take(&mut server.output), NOW);
        talk(&mut client, &mut server, &content, &mut wire);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let before = server.messages;
                client.begin(transaction.clone(), NOW);
                talk(&mut client, &mut server, &content, &mut wire);
                assert_eq!(server.messages, before + 1);
            });
        });
    }
    group.finish();
}

fn send(criterion: &mut Criterion) {
    let content = mail::content(10 * 1024);
    let transaction = Transaction {
        envelope: Arc::new(mail::envelope()),
        recipients: vec![0],
        content_bytes: content.len() as u64,
        has_eight_bit: false,
        header_has_eight_bit: false,
    };
    let hello = "220 mx\r\n250-mx\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250 CHUNKING\r\n";
    let conversations = [
        ("DATA", false, vec!["250 ok\r\n250 ok\r\n354 go\r\n", "250 stored\r\n"]),
        ("BDAT", true, vec!["250 ok\r\n250 ok\r\n250 stored\r\n"]),
    ];
    let mut group = criterion.benchmark_group("send 10 KB");
    group.throughput(Throughput::Elements(1));
    for (name, chunking, replies) in conversations {
        let mut client = client(chunking);
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
