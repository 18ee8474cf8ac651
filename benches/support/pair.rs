//! The receiving and the sending machine of SMTP, joined in memory.

#![allow(dead_code, reason = "each benchmark uses a part")]

use std::hint::black_box;
use std::sync::Arc;

use relay_fast::base::ids::MessageId;
use relay_fast::base::time::Monotonic;
use relay_fast::smtp::answer::Answer;
use relay_fast::smtp::client::{self, Client, Transaction};
use relay_fast::smtp::server::{self, Event, Session};

use crate::mail;

pub(crate) const NOW: Monotonic = Monotonic(0);

/// The receiving side, to which everyone says yes.
pub(crate) struct Server {
    session: Session,
    pub(crate) output: Vec<u8>,
    pub(crate) messages: usize,
}

impl Server {
    pub(crate) fn new() -> Self {
        let options = Arc::new(server::Options::new("mx.example"));
        Self { session: Session::new(options, NOW), output: Vec::new(), messages: 0 }
    }

    pub(crate) fn hear(&mut self, bytes: &[u8]) {
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
            Event::Aborted
            | Event::StartTls
            | Event::Password
            | Event::Verifier
            | Event::Proved
            | Event::Disproved
            | Event::Presented => unreachable!("nothing goes wrong"),
        };
        self.session.answer(answer, NOW);
    }
}

/// The sending side, which uses what it may of what is offered.
pub(crate) fn client(pipelining: bool, chunking: bool) -> Client {
    let options = client::Options {
        hello: "relay.example".into(),
        deadlines: client::Deadlines::default(),
        use_pipelining: pipelining,
        use_chunking: chunking,
        start_tls: client::StartTls::Never,
    };
    Client::new(Arc::new(options), NOW)
}

/// What the client says, with the content that it asks for.
pub(crate) fn speak(client: &mut Client, content: &[u8], into: &mut Vec<u8>) {
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
pub(crate) fn talk(client: &mut Client, server: &mut Server, content: &[u8], wire: &mut Vec<u8>) {
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

/// A campaign's message of these octets.
pub(crate) fn transaction(content: &[u8]) -> Transaction {
    Transaction {
        envelope: Arc::new(mail::envelope()),
        reverse_path: None,
        recipients: vec![0],
        content_bytes: content.len() as u64,
        has_eight_bit: false,
        header_has_eight_bit: false,
        by: None,
    }
}

/// Both ends of a connection, and what one of them sends.
pub(crate) struct Pair {
    client: Client,
    pub(crate) server: Server,
    content: Vec<u8>,
    transaction: Transaction,
    wire: Vec<u8>,
}

impl Pair {
    /// Greeted, and ready for the first message.
    pub(crate) fn new(pipelining: bool, chunking: bool) -> Self {
        let content = mail::content(10 * 1024);
        let mut pair = Self {
            client: client(pipelining, chunking),
            server: Server::new(),
            transaction: transaction(&content),
            content,
            wire: Vec::new(),
        };
        pair.server.hear(b"");
        let greeting = std::mem::take(&mut pair.server.output);
        pair.client.handle_bytes(&greeting, NOW);
        pair.talk();
        pair
    }

    /// Send one message.
    pub(crate) fn send(&mut self) {
        let before = self.server.messages;
        self.client.begin(self.transaction.clone(), NOW);
        self.talk();
        assert_eq!(self.server.messages, before + 1);
    }

    fn talk(&mut self) {
        talk(&mut self.client, &mut self.server, &self.content, &mut self.wire);
    }
}
