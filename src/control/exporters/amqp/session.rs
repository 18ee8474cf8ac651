//! Publish over one connection of AMQP 0-9-1, each message confirmed.
//!
//! ```text
//! AMQP 0 0 9 1 ─► start ─► tune ─► open ─► channel.open ─► confirm.select ─► ready
//! ready: basic.publish, header, body …  ◄─ basic.return, basic.ack, basic.nack
//! ```
//! In: octets of the broker, messages. Out: octets for the broker; whether it has all of them.
//! Invariant: a message counts as taken once the broker has acknowledged it, and has not returned
//! it. No heartbeats: nothing is waited for without a deadline, and a connection that rests is
//! closed.

use std::collections::{BTreeSet, VecDeque};
use std::mem;

use crate::base::limits::{AMQP_FRAME_MAX, AMQP_FRAME_MIN};
use crate::base::text::harmless;
use crate::control::exporters::amqp::wire::{self, AROUND, Carries, Content};
use crate::control::exporters::octets::Reader;
use crate::control::exporters::secret::Login;

/// Why nothing can be published here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("the broker speaks another version of AMQP than 0-9-1")]
    Version,
    #[error("this is no AMQP 0-9-1: {0}")]
    Foreign(&'static str),
    #[error("the broker takes no PLAIN login, but {0}")]
    Mechanisms(String),
    #[error("the broker closed the {what}: {code} {text}")]
    Closed { what: &'static str, code: u16, text: String },
    #[error("the broker returned an event: {code} {text}, exchange `{exchange}`, key `{key}`")]
    Returned { code: u16, text: String, exchange: String, key: String },
    #[error("the broker could not keep an event (basic.nack)")]
    Refused,
}

/// What is published.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) exchange: &'a str,
    pub(super) key: &'a str,
    /// The same however often it is sent.
    pub(super) id: &'a str,
    pub(super) kind: &'a str,
    pub(super) node: &'a str,
    /// In seconds since 1970.
    pub(super) timestamp: u64,
    pub(super) body: &'a [u8],
}

/// What the broker is to say next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Start,
    Tune,
    Open,
    Channel,
    Confirm,
    Ready,
    /// Nothing that matters.
    Closing,
}

/// One connection, with one channel.
#[derive(Debug)]
pub(super) struct Session {
    phase: Phase,
    login: Login,
    vhost: Box<str>,
    /// What the broker's operator sees.
    name: String,
    input: Vec<u8>,
    /// For the broker.
    pub(super) output: VecDeque<u8>,
    /// Octets of a frame, at most.
    frame: usize,
    /// The number of the last message,
    last: u64,
    /// and those that are not confirmed.
    unconfirmed: BTreeSet<u64>,
    /// What became of one of them, but for being taken.
    fault: Option<Trouble>,
    /// The broker takes nothing at present, and why.
    pub(super) blocked: Option<String>,
}

impl Session {
    pub(super) fn new(login: Login, vhost: &str, name: String) -> Self {
        Self {
            phase: Phase::Start,
            login,
            vhost: vhost.into(),
            name,
            input: Vec::new(),
            output: b"AMQP\0\0\x09\x01".iter().copied().collect(),
            frame: AMQP_FRAME_MIN,
            last: 0,
            unconfirmed: BTreeSet::new(),
            fault: None,
            blocked: None,
        }
    }

    /// Whether messages can be published.
    pub(super) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// What became of all messages; `None`: the broker has not said yet.
    pub(super) fn settled(&mut self) -> Option<Result<(), Trouble>> {
        self.unconfirmed.is_empty().then(|| self.fault.take().map_or(Ok(()), Err))
    }

    /// Publish, once it is ready.
    pub(super) fn publish(&mut self, message: &Message<'_>) {
        assert!(self.is_ready(), "published too early");
        self.last += 1;
        self.unconfirmed.insert(self.last);
        // basic.publish: reserved, exchange, key, and `mandatory`: who routes it nowhere says so.
        let publish = Content::method(60, 40).short(0);
        let publish = publish.shortstr(message.exchange).shortstr(message.key).octet(1);
        self.write(Carries::Method, publish.octets());
        // content-type, headers, delivery-mode, message-id, timestamp, type and app-id.
        let flags = [15, 13, 12, 7, 6, 5, 3].iter().fold(0, |all, bit| all | 1_u16 << bit);
        let header = Content::method(60, 0)
            .longlong(message.body.len() as u64)
            .short(flags)
            .shortstr("application/json")
            .texts(&[("relay-fast-node", message.node)])
            .octet(2)
            .shortstr(message.id)
            .longlong(message.timestamp)
            .shortstr(message.kind)
            .shortstr("relay-fast");
        self.write(Carries::Header, header.octets());
        for part in message.body.chunks(self.frame - AROUND) {
            self.write(Carries::Body, part);
        }
    }

    /// Say goodbye.
    pub(super) fn close(&mut self) {
        self.phase = Phase::Closing;
        let close = Content::method(10, 50).short(200).shortstr("idle").short(0).short(0);
        wire::write(&mut self.output, Carries::Method, 0, close.octets());
    }

    fn write(&mut self, carries: Carries, content: &[u8]) {
        wire::write(&mut self.output, carries, 1, content);
    }

    fn tell(&mut self, content: &Content) {
        wire::write(&mut self.output, Carries::Method, 0, content.octets());
    }

    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let mut input = mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let mut read = 0;
        while let Some((frame, length)) = wire::read(&input[read..])? {
            // What is no method belongs to messages that come back: that they do is enough.
            if frame.carries == Carries::Method {
                self.handle_method(frame.content)?;
            }
            read += length;
        }
        input.drain(..read);
        self.input = input;
        Ok(())
    }

    fn handle_method(&mut self, content: &[u8]) -> Result<(), Trouble> {
        let reader = &mut Reader::new(content);
        let read = self.method(reader);
        read.unwrap_or(Err(Trouble::Foreign("a method that ends too early")))
    }

    fn method(&mut self, reader: &mut Reader<'_>) -> Option<Result<(), Trouble>> {
        let id = (reader.short()?, reader.short()?);
        match (id, self.phase) {
            ((10, 50), _) => return Some(Err(closed("connection", reader)?)),
            ((20, 40), _) => return Some(Err(closed("channel", reader)?)),
            (_, Phase::Closing) => {}
            ((10, 10), Phase::Start) => return self.start(reader),
            ((10, 30), Phase::Tune) => self.tune(reader)?,
            ((10, 41), Phase::Open) => {
                self.write(Carries::Method, Content::method(20, 10).shortstr("").octets());
                self.phase = Phase::Channel;
            }
            ((20, 11), Phase::Channel) => {
                self.write(Carries::Method, Content::method(85, 10).octet(0).octets());
                self.phase = Phase::Confirm;
            }
            ((85, 11), Phase::Confirm) => self.phase = Phase::Ready,
            ((10, 60), _) => self.blocked = Some(harmless(&reader.shortstr()?, ' ')),
            ((10, 61), _) => self.blocked = None,
            ((60, 50), Phase::Ready) => {
                let (code, text) = (reader.short()?, harmless(&reader.shortstr()?, ' '));
                let (exchange, key) = (reader.shortstr()?, reader.shortstr()?);
                self.fault = Some(Trouble::Returned { code, text, exchange, key });
            }
            ((60, 80 | 120), Phase::Ready) => {
                let (number, bits) = (reader.longlong()?, reader.octet()?);
                if id.1 == 120 {
                    self.fault = Some(Trouble::Refused);
                }
                return Some(self.confirmed(number, bits & 1 == 1));
            }
            _ => return Some(Err(Trouble::Foreign("a method that is not expected here"))),
        }
        Some(Ok(()))
    }

    /// connection.start: who is there, and how to log in.
    fn start(&mut self, reader: &mut Reader<'_>) -> Option<Result<(), Trouble>> {
        let version = (reader.octet()?, reader.octet()?);
        if version != (0, 9) {
            return Some(Err(Trouble::Version));
        }
        let (_properties, mechanisms) = (reader.longstr()?, reader.longstr()?);
        if !mechanisms.split(|octet| *octet == b' ').any(|one| one == b"PLAIN") {
            let mechanisms = harmless(&String::from_utf8_lossy(mechanisms), ' ');
            return Some(Err(Trouble::Mechanisms(mechanisms)));
        }
        let texts = [
            ("product", "relay-fast"),
            ("version", env!("CARGO_PKG_VERSION")),
            ("connection_name", &self.name),
        ];
        let able = [
            "publisher_confirms",
            "basic.nack",
            "connection.blocked",
            // Else a broker that refuses a login closes without a word.
            "authentication_failure_close",
        ];
        let started = Content::method(10, 11)
            .properties(&texts, &able)
            .shortstr("PLAIN")
            .longstr(&self.login.plain())
            .shortstr("en_US");
        self.tell(&started);
        self.phase = Phase::Tune;
        Some(Ok(()))
    }

    /// connection.tune: agree on bounds, and open.
    fn tune(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let (_channels, frame) = (reader.short()?, reader.long()? as usize);
        // 0 is as long as one likes; a broker takes frames of the least length at any rate.
        let frame = if frame == 0 { AMQP_FRAME_MAX } else { frame };
        self.frame = frame.clamp(AMQP_FRAME_MIN, AMQP_FRAME_MAX);
        let agreed = u32::try_from(self.frame).expect("clamped");
        self.tell(&Content::method(10, 31).short(1).long(agreed).short(0));
        let open = Content::method(10, 40).shortstr(&self.vhost).shortstr("").octet(0);
        self.tell(&open);
        self.phase = Phase::Open;
        Some(())
    }

    fn confirmed(&mut self, number: u64, and_all_before: bool) -> Result<(), Trouble> {
        // 0: all that there are.
        let number = if and_all_before && number == 0 { self.last } else { number };
        if number > self.last {
            return Err(Trouble::Foreign("a confirmation of what was not published"));
        }
        if and_all_before {
            self.unconfirmed = self.unconfirmed.split_off(&(number + 1));
        } else {
            self.unconfirmed.remove(&number);
        }
        Ok(())
    }
}

fn closed(what: &'static str, reader: &mut Reader<'_>) -> Option<Trouble> {
    let (code, text) = (reader.short()?, reader.shortstr()?);
    Some(Trouble::Closed { what, code, text: harmless(&text, ' ') })
}

#[cfg(test)]
mod tests;
