//! One SMTP session of the sink, without a socket: bytes in, replies out, pauses and cuts as the
//! listener's script says.
//!
//! In: bytes, cut anywhere. Out: `output`, and what the driver does next. Invariant: a message is
//! recorded if and only if its 250 was put into `output`. Lives on: the sink's thread.

mod answered;
mod chunk;
mod starttls;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::command;
use super::content::{Content, DotReader};
use super::counters::Counters;
use super::extensions::Extension;
use super::recipients::Recipients;
use super::script::{Circumstance, Conduct, Cut, Decision, Stage};
use super::{Manner, Shared};
use starttls::Security;

/// Octets of a command line that are taken.
const COMMAND_MAX: usize = 4_096;

/// What the driver does after `advance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// Send `output`, then read more.
    More,
    /// Send `output`, wait, then call `advance` again.
    Pause(Duration),
    /// Send `output`, then answer the client's handshake and call `secured`.
    Secure,
    /// Send `output`, then read on and never answer.
    Stall,
    /// Send `output`, then close.
    Close,
    /// Send `output`, then cut the connection.
    Cut(Cut),
}

#[derive(Debug)]
enum State {
    Greeting,
    Command,
    Dots(DotReader),
    /// All of the content after DATA is here.
    Ended,
    Chunk {
        left: u64,
        last: bool,
    },
    /// A chunk that nothing is done with: swallowed, then refused.
    Stray {
        left: u64,
    },
}

/// What a reply below 400 brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    None,
    Greeted,
    Hello,
    Secure,
    Mail,
    Rcpt,
    Content,
    Record,
    Quit,
}

/// A reply that waits for its delay to pass.
#[derive(Debug)]
struct Delayed {
    reply: Vec<u8>,
    effect: Effect,
}

/// A listener as its sessions see it.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Its address, as it stands in the received file.
    pub(crate) name: String,
    pub(crate) conduct: Conduct,
    pub(crate) ehlo: Vec<u8>,
    /// The reply to EHLO under TLS.
    pub(crate) ehlo_secured: Vec<u8>,
}

impl Listener {
    pub(crate) fn new(name: String, conduct: Conduct) -> Self {
        let mut under_tls = conduct.offers;
        // RFC 3207 §4.2: it is not offered again.
        under_tls.hide(Extension::Starttls);
        let [ehlo, ehlo_secured] = [conduct.offers, under_tls]
            .map(|offers| offers.ehlo_reply("sink.example", conduct.size_max));
        Self { name, conduct, ehlo, ehlo_secured }
    }
}

/// See the module.
pub(crate) struct Session {
    shared: Rc<Shared>,
    pub(crate) listener: Rc<Listener>,
    place: usize,
    client: IpAddr,
    state: State,
    delayed: Option<Delayed>,
    /// Replies that the driver has not sent yet.
    pub(crate) output: Vec<u8>,
    said_hello: bool,
    security: Security,
    in_transaction: bool,
    reverse_path: Vec<u8>,
    /// Whether a BDAT of this transaction was taken.
    chunked: bool,
    /// What the rules say about the content of this transaction.
    content_rule: Decision,
    /// What refuses the chunk that is coming in; empty for the usual 503.
    refusal: Vec<u8>,
    recipients: Recipients,
    content: Content,
    messages: u32,
}

impl Session {
    /// A session of `client` on the listener at `place` of the sink's list.
    pub(crate) fn new(
        shared: Rc<Shared>,
        listener: Rc<Listener>,
        (place, client): (usize, IpAddr),
    ) -> Self {
        Self {
            shared,
            listener,
            place,
            client,
            state: State::Greeting,
            delayed: None,
            output: Vec::with_capacity(512),
            said_hello: false,
            security: Security::default(),
            in_transaction: false,
            reverse_path: Vec::new(),
            chunked: false,
            content_rule: Decision::default(),
            refusal: Vec::new(),
            recipients: Recipients::default(),
            content: Content::default(),
            messages: 0,
        }
    }

    /// Takes what it can of `input`; returns the octets used and what comes next. With `More`, what
    /// is left is the start of a command line.
    pub(crate) fn advance(&mut self, input: &[u8], now: Instant) -> (usize, Want) {
        let mut used = 0;
        loop {
            if let Some(Delayed { reply, effect }) = self.delayed.take() {
                if let Some(want) = self.reply(&reply, effect) {
                    return (used, want);
                }
                continue;
            }
            let Some((count, want)) = self.step(&input[used..], now) else {
                return (used, Want::More);
            };
            used += count;
            if let Some(want) = want {
                return (used, want);
            }
        }
    }

    /// One command, or one piece of content; nothing when that takes more bytes.
    fn step(&mut self, rest: &[u8], now: Instant) -> Option<(usize, Option<Want>)> {
        match &mut self.state {
            State::Greeting => {
                let usual = b"220 sink.example ESMTP\r\n";
                Some((0, self.answer(Stage::Greeting, usual, Effect::Greeted, now)))
            }
            State::Command => match memchr::memchr(b'\n', rest) {
                Some(end) => Some((end + 1, self.line(&rest[..end], rest.len() > end + 1, now))),
                None if rest.len() > COMMAND_MAX => {
                    self.violation("a command line without end");
                    self.put(b"500 5.5.2 Line too long\r\n");
                    Some((rest.len(), Some(Want::Close)))
                }
                None => None,
            },
            State::Dots(reader) => {
                if rest.is_empty() {
                    return None;
                }
                let (filler, content) = (&self.shared.filler, &mut self.content);
                let (count, ended) = reader.feed(rest, |piece| content.take(piece, filler));
                if ended {
                    self.state = State::Ended;
                }
                Some((count, self.while_content()))
            }
            State::Ended => Some((0, self.end(now))),
            State::Chunk { left, .. } | State::Stray { left } => {
                (*left == 0 || !rest.is_empty()).then(|| self.chunk(rest, now))
            }
        }
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters[self.place]
    }

    fn violation(&self, what: &str) {
        self.shared.violation(self.place, what);
    }

    fn put(&mut self, reply: &[u8]) {
        self.output.extend_from_slice(reply);
    }

    /// Answers at a stage as the script says, or with `usual`.
    fn answer(&mut self, stage: Stage, usual: &[u8], effect: Effect, now: Instant) -> Option<Want> {
        if !self.listener.conduct.has_rules(stage) {
            return self.reply(usual, effect);
        }
        let Decision { delay, reply, cut, behind, .. } = self.decide(stage, now);
        if let Some(cut) = cut {
            return Some(self.cut(cut));
        }
        self.security.behind = behind;
        let reply = reply.unwrap_or_else(|| usual.to_vec());
        if delay.is_zero() {
            return self.reply(&reply, effect);
        }
        self.delayed = Some(Delayed { reply, effect });
        Some(Want::Pause(delay))
    }

    fn cut(&self, cut: Cut) -> Want {
        self.counters().cuts.fetch_add(1, Ordering::Relaxed);
        Want::Cut(cut)
    }

    /// Asks the rules, once for each recipient that the stage is about.
    fn decide(&self, stage: Stage, now: Instant) -> Decision {
        let mut memory = self.shared.memory.borrow_mut();
        let messages = self.messages;
        let conduct = &self.listener.conduct;
        let mut ask = |recipient: &[u8]| {
            let about = Circumstance { recipient, messages, now };
            conduct.decide(stage, &about, &mut memory)
        };
        match stage {
            Stage::Greeting | Stage::Ehlo | Stage::Starttls | Stage::Mail => ask(b""),
            Stage::Rcpt => ask(self.recipients.proposed()),
            Stage::Data | Stage::Content | Stage::End => {
                let mut decision = Decision::default();
                for recipient in self.recipients.iter() {
                    decision = ask(recipient);
                    if decision != Decision::default() {
                        break;
                    }
                }
                decision
            }
        }
    }

    /// Puts a reply out and does what it brings about.
    fn reply(&mut self, reply: &[u8], effect: Effect) -> Option<Want> {
        self.put(reply);
        let positive = reply.first().is_some_and(|&digit| digit < b'4');
        if !positive {
            self.counters().refusals.fetch_add(1, Ordering::Relaxed);
        }
        self.note_answer(reply, effect);
        match effect {
            Effect::None => {}
            Effect::Greeted => self.state = State::Command,
            Effect::Hello if positive => {
                self.said_hello = true;
                self.forget_transaction();
            }
            Effect::Secure if positive => return Some(self.behind_the_reply()),
            Effect::Mail => self.in_transaction = positive,
            Effect::Rcpt => self.recipients.decide(positive),
            Effect::Content if positive => self.state = State::Dots(DotReader::new()),
            Effect::Record => {
                if positive {
                    self.messages += 1;
                    let name = &self.listener.name;
                    let how =
                        Manner { reverse_path: &self.reverse_path, secured: self.security.secured };
                    let recipients = self.recipients.iter();
                    self.shared.record(self.place, name, &self.content, how, recipients);
                }
                self.forget_transaction();
                self.state = State::Command;
            }
            Effect::Quit => return Some(Want::Close),
            Effect::Hello | Effect::Secure | Effect::Content => {}
        }
        let closing = reply.starts_with(b"421") || (effect == Effect::Greeted && !positive);
        closing.then_some(Want::Close)
    }

    fn forget_transaction(&mut self) {
        self.in_transaction = false;
        self.chunked = false;
        self.recipients.clear();
    }

    /// One command line, without its LF; `more` says whether bytes follow it already.
    fn line(&mut self, line: &[u8], more: bool, now: Instant) -> Option<Want> {
        let line = match line.strip_suffix(b"\r") {
            Some(line) => line,
            None => {
                self.violation("a command that ends in a bare LF");
                line
            }
        };
        if line.eq_ignore_ascii_case(b"STARTTLS") {
            return self.starttls(more, now);
        }
        let Some((verb, rest)) = command::verb(line) else {
            return self.unknown(line);
        };
        let pipelining = self.listener.conduct.offers.has(Extension::Pipelining);
        if more && !matches!(&verb, b"BDAT") && (!pipelining || matches!(&verb, b"DATA" | b"EHLO"))
        {
            self.violation("bytes after a command that the client had to wait for");
        }
        match &verb {
            b"EHLO" => {
                let listener = Rc::clone(&self.listener);
                let ehlo = match self.security.secured {
                    false => &listener.ehlo,
                    true => &listener.ehlo_secured,
                };
                self.answer(Stage::Ehlo, ehlo, Effect::Hello, now)
            }
            b"HELO" => self.answer(Stage::Ehlo, b"250 sink.example\r\n", Effect::Hello, now),
            b"MAIL" => self.mail(rest, now),
            b"RCPT" => self.rcpt(rest, now),
            b"DATA" => self.data(now),
            b"BDAT" => self.bdat(rest, now),
            b"RSET" => {
                self.forget_transaction();
                self.reply(b"250 2.0.0 Ok\r\n", Effect::None)
            }
            b"NOOP" => self.reply(b"250 2.0.0 Ok\r\n", Effect::None),
            b"VRFY" => self.reply(b"252 2.5.2 Send some mail\r\n", Effect::None),
            b"QUIT" => self.reply(b"221 2.0.0 Bye\r\n", Effect::Quit),
            _ => self.unknown(line),
        }
    }

    fn unknown(&mut self, line: &[u8]) -> Option<Want> {
        self.violation(&format!("the command {:?}", String::from_utf8_lossy(line)));
        self.reply(b"500 5.5.2 What?\r\n", Effect::None)
    }

    fn mail(&mut self, rest: &[u8], now: Instant) -> Option<Want> {
        if !self.said_hello || self.in_transaction {
            return self.reply(b"503 5.5.1 Not now\r\n", Effect::None);
        }
        let Some((path, parameters)) = command::path(rest, b"FROM:") else {
            self.violation("a MAIL command that does not parse");
            return self.reply(b"501 5.5.4 MAIL FROM:<address>\r\n", Effect::None);
        };
        if let Some(refusal) = self.check(parameters) {
            return self.reply(refusal, Effect::None);
        }
        self.reverse_path.clear();
        self.reverse_path.extend_from_slice(path);
        self.answer(Stage::Mail, b"250 2.1.0 Ok\r\n", Effect::Mail, now)
    }

    /// Parameters of MAIL or RCPT against what is offered; a reply where they cannot stand.
    fn check(&self, parameters: &[u8]) -> Option<&'static [u8]> {
        let conduct = &self.listener.conduct;
        for parameter in parameters.split(|&octet| octet == b' ').filter(|word| !word.is_empty()) {
            if !conduct.offers.allow(parameter) {
                let text = String::from_utf8_lossy(parameter);
                self.violation(&format!("the parameter {text:?}, which was not offered"));
                return Some(b"555 5.5.4 Unknown parameter\r\n");
            }
            let size = parameter.strip_prefix(b"SIZE=");
            let size = size.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            if size.is_some_and(|size: u64| size > conduct.size_max) {
                return Some(b"552 5.3.4 Too big\r\n");
            }
        }
        None
    }

    fn rcpt(&mut self, rest: &[u8], now: Instant) -> Option<Want> {
        if !self.in_transaction {
            return self.reply(b"503 5.5.1 MAIL first\r\n", Effect::None);
        }
        let parts = command::path(rest, b"TO:").filter(|(path, _)| !path.is_empty());
        let Some((path, parameters)) = parts else {
            self.violation("an RCPT command that does not parse");
            return self.reply(b"501 5.5.4 RCPT TO:<address>\r\n", Effect::None);
        };
        if let Some(refusal) = self.check(parameters) {
            return self.reply(refusal, Effect::None);
        }
        self.recipients.propose(path);
        self.answer(Stage::Rcpt, b"250 2.1.5 Ok\r\n", Effect::Rcpt, now)
    }

    fn data(&mut self, now: Instant) -> Option<Want> {
        if self.recipients.is_empty() || self.chunked {
            return self.reply(b"503 5.5.1 RCPT first\r\n", Effect::None);
        }
        self.begin_content(now);
        self.answer(Stage::Data, b"354 Go on\r\n", Effect::Content, now)
    }

    fn begin_content(&mut self, now: Instant) {
        self.content.begin(self.reverse_path.is_empty() || self.shared.keeps());
        self.content_rule = if self.listener.conduct.has_rules(Stage::Content) {
            self.decide(Stage::Content, now)
        } else {
            Decision::default()
        };
    }

    /// What the rules say now that more content came in.
    fn while_content(&mut self) -> Option<Want> {
        let rule = &mut self.content_rule;
        if self.content.size < rule.after_bytes {
            return None;
        }
        if let Some(cut) = rule.cut {
            return Some(self.cut(cut));
        }
        let delay = std::mem::take(&mut rule.delay);
        (!delay.is_zero()).then_some(Want::Pause(delay))
    }

    fn end(&mut self, now: Instant) -> Option<Want> {
        self.state = State::Command;
        if self.content.size > self.listener.conduct.size_max {
            return self.reply(b"552 5.3.4 Too big\r\n", Effect::Record);
        }
        self.answer(Stage::End, b"250 2.0.0 Taken\r\n", Effect::Record, now)
    }
}
