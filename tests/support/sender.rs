//! Drive the sending side of SMTP in memory, on virtual time, as a shard does.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::VecDeque;
use std::sync::Arc;

use relay_fast::base::time::Monotonic;
use relay_fast::mail::address::{Mailbox, ReversePath};
use relay_fast::mail::envelope::{Envelope, Recipient};
use relay_fast::mail::outcome::Failure;
use relay_fast::smtp::client::{Client, Deadlines, Event, Options, Settled, StartTls, Transaction};

pub(crate) fn options(pipelining: bool, chunking: bool) -> Arc<Options> {
    Arc::new(Options {
        hello: "relay.example".into(),
        deadlines: Deadlines::default(),
        use_pipelining: pipelining,
        use_chunking: chunking,
        start_tls: StartTls::Never,
    })
}

pub(crate) fn envelope(recipients: &[&str]) -> Envelope {
    let mailbox = |text: &str| Mailbox::parse(text, true).expect("an address");
    let recipients = recipients.iter().map(|text| Recipient::plain(mailbox(text)));
    Envelope::plain(ReversePath(Some(mailbox("s@a.example"))), recipients.collect())
}

/// `content` for all recipients of `envelope`.
pub(crate) fn transaction(envelope: Envelope, content: &[u8]) -> Transaction {
    let count = u16::try_from(envelope.recipients.len()).expect("few recipients");
    Transaction {
        envelope: Arc::new(envelope),
        reverse_path: None,
        recipients: (0..count).collect(),
        content_bytes: content.len() as u64,
        has_eight_bit: !content.is_ascii(),
        header_has_eight_bit: false,
        by: None,
    }
}

/// The machine, and what a shard would hold for it.
pub(crate) struct Sender {
    pub(crate) client: Client,
    pub(crate) now: Monotonic,
    /// Content is pushed in windows of so many octets.
    pub(crate) window: usize,
    /// What is sent, and how much of it is there already.
    pub(crate) content: Vec<u8>,
    pub(crate) available: usize,
    /// Begun as soon as the machine lets it, behind another that is in flight.
    pub(crate) waiting: VecDeque<(Transaction, Vec<u8>)>,
    /// What was sent.
    pub(crate) heard: Vec<u8>,
    /// The events in short, one a line.
    pub(crate) told: String,
}

impl Sender {
    pub(crate) fn new(options: Arc<Options>, now: Monotonic) -> Self {
        Self {
            client: Client::new(options, now),
            now,
            window: usize::MAX,
            content: Vec::new(),
            available: usize::MAX,
            waiting: VecDeque::new(),
            heard: Vec::new(),
            told: String::new(),
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.client.handle_bytes(bytes, self.now);
        self.settle_down();
    }

    /// What a shard does after each call.
    pub(crate) fn settle_down(&mut self) {
        loop {
            while let Some(start) = self.wanted() {
                let there = self.available.min(self.content.len());
                let end = start.saturating_add(self.window).min(there);
                self.client.push_content(&self.content[start..end], self.now);
            }
            if self.may_begin()
                && let Some((next, content)) = self.waiting.pop_front()
            {
                self.content = content;
                self.client.begin(next, self.now);
                continue;
            }
            let mut output = Vec::new();
            self.client.take_output(&mut output);
            if output.is_empty() {
                break;
            }
            self.heard.extend_from_slice(&output);
        }
        while let Some(event) = self.client.poll_event() {
            self.told.push_str(&describe(&event));
        }
    }

    pub(crate) fn may_begin(&self) -> bool {
        self.client.is_ready() || self.client.may_begin_behind()
    }

    /// Where the content is to go on, if that is there.
    fn wanted(&self) -> Option<usize> {
        let offset = usize::try_from(self.client.wants_content()?).expect("small content");
        (offset < self.available).then_some(offset)
    }
}

/// An event in short, as `settled 0 250 ok, 1 RCPT 550 no`.
pub(crate) fn describe(event: &Event) -> String {
    match event {
        Event::StartTls => "handshake\n".into(),
        Event::Ready => "ready\n".into(),
        Event::Settled(results) => {
            let results: Vec<_> = results.iter().map(describe_result).collect();
            format!("settled {}\n", results.join(", "))
        }
        Event::Closed { failure: None, unsettled } => format!("closed {unsettled:?}\n"),
        Event::Closed { failure: Some((stage, failure)), unsettled } => {
            format!("closed at {stage}: {}; {unsettled:?}\n", describe_failure(failure))
        }
    }
}

fn describe_result((recipient, settled): &(u16, Settled)) -> String {
    match settled {
        Settled::Accepted(reply) => format!("{recipient} {reply}"),
        Settled::Refused { stage, failure } => {
            format!("{recipient} {stage} {}", describe_failure(failure))
        }
    }
}

fn describe_failure(failure: &Failure) -> String {
    if let Failure::Reply(reply) = failure {
        return reply.to_string();
    }
    if let Failure::Incapable { status, detail } = failure {
        return format!("{status} {detail}");
    }
    format!("{failure:?}")
}
