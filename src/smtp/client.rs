//! The sending side of SMTP: one outbound connection from the peer's greeting on.
//!
//! In: the peer's bytes, transactions, content on request. Out: bytes to send, [`Event`]s, a
//! deadline. Invariant: every reply answers the oldest unanswered command, and every recipient of a
//! transaction comes back exactly once, in `Settled` or in `Closed`. Lives on: the owner shard.
//!
//! How to drive it: after each call, (1) while `wants_content` says an offset, `push_content` from
//! there; (2) `take_output` and send it; (3) `poll_event` until `None`; (4) arm `deadline`. Ask for
//! content again only when what was taken has been sent: that is the flow control.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::limits::CLIENT_OUTPUT_KEPT;
use crate::base::time::Monotonic;
use crate::mail::envelope::Envelope;
use crate::mail::outcome::{Failure, Stage};
use crate::mail::status::{Reply, Severity};
use crate::smtp::client::flight::{Broken, Flight, Use};
use crate::smtp::client::wire::{Command, Wire};
use crate::smtp::peer_reply::ReplyReader;

mod capability;
mod command;
mod deadline;
mod extension;
mod flight;
mod wire;

pub use deadline::Deadlines;
pub use extension::PeerExtensions;

/// What is the same for many connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Our name in EHLO: a host name or an address literal.
    pub hello: Box<str>,
    /// How long the peer may take.
    pub deadlines: Deadlines,
    /// Use PIPELINING where offered.
    pub use_pipelining: bool,
    /// Use CHUNKING where offered. Content of type BINARYMIME uses it in any case.
    pub use_chunking: bool,
}

/// One message for some of its recipients.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The envelope, shared with other transactions.
    pub envelope: Arc<Envelope>,
    /// Places in `envelope.recipients`; at least one, none twice.
    pub recipients: Vec<u16>,
    /// Octets of the content as it will be pushed.
    pub content_bytes: u64,
    /// The content holds an octet above 127.
    pub has_eight_bit: bool,
    /// The content's header holds an octet above 127: SMTPUTF8 is needed if the envelope says so.
    pub header_has_eight_bit: bool,
}

/// What the machine tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A transaction may begin: the first, or the next one.
    Ready,
    /// What came of the transaction, each recipient once. `Ready`, `Closed`, or (when the peer
    /// takes no more transactions) the end of our QUIT follows.
    Settled(Vec<(u16, Settled)>),
    /// The connection is of no more use: send what `take_output` still gives, and close it.
    Closed {
        /// Why; `None` when nobody failed: after QUIT, when the peer ended an idle connection (421
        /// or not), when it takes no more transactions, when it refused content halfway.
        failure: Option<(Stage, Failure)>,
        /// Recipients of the transaction in flight without a result. With a failure it is theirs;
        /// without one they may go out on another connection at once.
        unsettled: Vec<u16>,
    },
}

/// What a transaction came to for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The peer has taken responsibility; its reply to the content.
    Accepted(Reply),
    /// It has not.
    Refused {
        /// Where.
        stage: Stage,
        /// `Failure::Reply` or `Failure::Incapable`.
        failure: Failure,
    },
}

/// The machine.
#[derive(Debug)]
pub struct Client {
    options: Arc<Options>,
    extensions: PeerExtensions,
    reader: ReplyReader,
    wire: Wire,
    phase: Phase,
    events: VecDeque<Event>,
    deadline: Option<Monotonic>,
    /// The last transaction left something at the peer that RSET has to clear.
    reset_owed: bool,
    quit_wanted: bool,
    transactions_begun: u32,
    transactions_done: u32,
}

/// What the connection is used for now.
#[derive(Debug)]
enum Phase {
    /// Greeting, EHLO, HELO.
    Opening,
    Ready,
    Busy(Box<Flight>),
    Quitting,
    Over,
}

impl Client {
    /// A machine for a connection that was established at `now`.
    pub fn new(options: Arc<Options>, now: Monotonic) -> Self {
        let mut client = Self {
            options,
            extensions: PeerExtensions::default(),
            reader: ReplyReader::default(),
            wire: Wire::default(),
            phase: Phase::Opening,
            events: VecDeque::new(),
            deadline: None,
            reset_owed: false,
            quit_wanted: false,
            transactions_begun: 0,
            transactions_done: 0,
        };
        client.wire.send(Command::Greeting, b"");
        client.arm(now);
        client
    }

    /// Take in what the peer sent.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Monotonic) {
        let mut input = bytes;
        while !self.is_over() {
            let is_ehlo = self.wire.unanswered.front() == Some(&Command::Ehlo);
            let extensions = &mut self.extensions;
            let each_line = |line: &str| {
                if is_ehlo {
                    extensions.handle_line(line);
                }
            };
            match self.reader.handle_bytes(&mut input, each_line) {
                Some(Ok(reply)) => self.handle_reply(reply, now),
                Some(Err(error)) => self.fail(Failure::Protocol(error.to_string().into())),
                None => return,
            }
        }
    }

    /// Look whether the peer's time is over; calling too early does nothing.
    pub fn handle_deadline(&mut self, now: Monotonic) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.fail(Failure::TimedOut);
        }
    }

    /// The peer will send nothing more, or the connection broke.
    pub fn handle_end(&mut self, _now: Monotonic) {
        match self.phase {
            Phase::Opening | Phase::Busy(_) => self.fail(Failure::Closed),
            Phase::Ready | Phase::Quitting => self.close(None),
            Phase::Over => {}
        }
    }

    /// Whether `begin` may be called.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Send `transaction`. Panics when not `is_ready`: its reply would be taken for another's.
    pub fn begin(&mut self, transaction: Transaction, now: Monotonic) {
        assert!(self.is_ready(), "a transaction begins in {:?}", self.phase);
        let flight = Flight::new(transaction, self.reset_owed, &self.extensions);
        self.phase = Phase::Busy(Box::new(flight));
        self.next_round(now);
    }

    /// The next offset of the content that the machine can take now. It starts again at 0 when the
    /// peer takes the recipients in several rounds.
    pub fn wants_content(&self) -> Option<u64> {
        match &self.phase {
            Phase::Busy(flight) => flight.wants_content(&self.wire),
            Phase::Opening | Phase::Ready | Phase::Quitting | Phase::Over => None,
        }
    }

    /// Content from the offset that `wants_content` said. What is more than the machine can hold
    /// is left; ask `wants_content` again.
    pub fn push_content(&mut self, window: &[u8], now: Monotonic) {
        if let Phase::Busy(flight) = &mut self.phase {
            flight.push_content(window, &mut self.wire);
            self.arm_for_content(now);
        }
    }

    /// Part from the peer in an orderly way: now if idle, else after the transaction in flight.
    pub fn quit(&mut self, now: Monotonic) {
        match self.phase {
            Phase::Opening => {
                self.close(None);
                self.wire.output.extend_from_slice(b"QUIT\r\n");
            }
            Phase::Ready => {
                self.wire.send(Command::Quit, b"QUIT\r\n");
                self.phase = Phase::Quitting;
                self.arm(now);
            }
            Phase::Busy(_) => self.quit_wanted = true,
            Phase::Quitting | Phase::Over => {}
        }
    }

    /// Whether `take_output` has something to give.
    pub fn has_output(&self) -> bool {
        !self.wire.output.is_empty()
    }

    /// Append what is to be sent to `into`; an empty `into` is replaced without copying.
    pub fn take_output(&mut self, into: &mut Vec<u8>) {
        let Wire { output, resting, .. } = &mut self.wire;
        if into.is_empty() {
            *into = std::mem::replace(output, std::mem::take(resting));
        } else {
            into.append(output);
        }
    }

    /// Give room for what is sent next, content above all: an empty buffer that was used before. It
    /// goes with the next `take_output`, so that content is not copied and needs no new memory.
    pub fn lend_buffer(&mut self, mut buffer: Vec<u8>) {
        let Wire { output, resting, .. } = &mut self.wire;
        buffer.append(output);
        let small = std::mem::replace(output, buffer);
        if small.capacity() <= CLIENT_OUTPUT_KEPT {
            *resting = small;
        }
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call `handle_deadline`; `None` while idle.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.deadline
    }

    /// Whether `Closed` was told or waits to be.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// What the peer offers; nothing before the first `Ready`.
    pub fn extensions(&self) -> &PeerExtensions {
        &self.extensions
    }

    /// Transactions that were settled on this connection.
    pub fn transactions_done(&self) -> u32 {
        self.transactions_done
    }

    fn handle_reply(&mut self, reply: Reply, now: Monotonic) {
        let command = self.wire.unanswered.front().copied();
        // RFC 5321 §3.8: 421 may come at any time, and means that the peer is leaving.
        if reply.code.as_u16() == 421 {
            return match self.phase {
                Phase::Ready => self.close(None),
                Phase::Opening | Phase::Busy(_) | Phase::Quitting | Phase::Over => {
                    self.fail(Failure::Reply(reply));
                }
            };
        }
        let Some(command) = command else { return self.handle_surplus(reply) };
        match command {
            Command::Greeting | Command::Ehlo | Command::Helo => {
                self.handle_opening_reply(command, reply, now);
            }
            Command::Quit => self.close(None),
            Command::Reset | Command::Mail | Command::Rcpt(_) | Command::Data => {
                self.handle_flight_reply(command, reply, now);
            }
            Command::EndOfData | Command::LoneDot | Command::Chunk => {
                self.handle_flight_reply(command, reply, now);
            }
        }
    }

    /// RFC 5321 §3.1, §3.2. Whoever refuses us here is told QUIT (§4.1.1.10), not argued with.
    fn handle_opening_reply(&mut self, command: Command, reply: Reply, now: Monotonic) {
        let severity = reply.code.severity();
        let line = match (command, severity) {
            (_, Severity::Intermediate) => return self.fail(out_of_step(&reply)),
            (Command::Greeting, Severity::Completed) => "EHLO",
            (Command::Ehlo, Severity::Permanent) => "HELO",
            (_, Severity::Completed) => return self.open(command, now),
            (_, Severity::Transient | Severity::Permanent) => {
                self.fail(Failure::Reply(reply));
                return self.wire.output.extend_from_slice(b"QUIT\r\n");
            }
        };
        self.extensions = PeerExtensions::default();
        let next = if line == "EHLO" { Command::Ehlo } else { Command::Helo };
        self.wire.unanswered.pop_front();
        self.wire.send(next, format!("{line} {}\r\n", self.options.hello).as_bytes());
        self.arm(now);
    }

    /// EHLO or HELO was taken.
    fn open(&mut self, command: Command, now: Monotonic) {
        self.extensions.esmtp = command == Command::Ehlo;
        self.wire.unanswered.pop_front();
        self.phase = Phase::Ready;
        self.events.push_back(Event::Ready);
        self.arm(now);
    }

    fn handle_flight_reply(&mut self, command: Command, reply: Reply, now: Monotonic) {
        let Phase::Busy(flight) = &mut self.phase else {
            unreachable!("{command:?} is unanswered in {:?}", self.phase)
        };
        match flight.handle_reply(command, reply, &mut self.wire) {
            Ok(()) => {
                self.wire.unanswered.pop_front();
                self.advance(now);
            }
            Err(Broken(Some(failure))) => self.fail(failure),
            Err(Broken(None)) => self.close(None),
        }
    }

    /// A reply that answers no command: the peer is out of step, or refuses content halfway.
    fn handle_surplus(&mut self, reply: Reply) {
        let broken = match &mut self.phase {
            Phase::Busy(flight) => flight.handle_early_reply(reply),
            Phase::Opening | Phase::Ready | Phase::Quitting | Phase::Over => {
                Broken(Some(out_of_step(&reply)))
            }
        };
        match broken {
            Broken(Some(failure)) => self.fail(failure),
            Broken(None) => self.close(None),
        }
    }

    /// Send what can be sent; when the round is over, begin the next one or settle.
    fn advance(&mut self, now: Monotonic) {
        let using = using(&self.options, &self.extensions);
        let Phase::Busy(flight) = &mut self.phase else { return };
        flight.advance(&mut self.wire, using);
        if flight.is_round_over(&self.wire) {
            self.reset_owed = flight.is_reset_owed();
            return self.next_round(now);
        }
        self.arm(now);
    }

    /// Begin a round where recipients wait and the peer takes another transaction; else settle.
    fn next_round(&mut self, now: Monotonic) {
        let takes_more = self.takes_more();
        let Phase::Busy(flight) = &mut self.phase else { return };
        if !flight.has_waiting() {
            return self.settle(now);
        }
        if !takes_more {
            return self.part();
        }
        let using = using(&self.options, &self.extensions);
        flight.start_round(using);
        self.transactions_begun += 1;
        self.advance(now);
    }

    /// RFC 9422 MAILMAX.
    fn takes_more(&self) -> bool {
        let limit = self.extensions.transactions_max.unwrap_or(u32::MAX);
        self.transactions_begun < limit
    }

    fn settle(&mut self, now: Monotonic) {
        let Phase::Busy(flight) = std::mem::replace(&mut self.phase, Phase::Ready) else {
            unreachable!("only a transaction is settled")
        };
        let (results, unsettled) = flight.into_results();
        assert!(unsettled.is_empty(), "recipients {unsettled:?} have no result");
        self.transactions_done += 1;
        self.events.push_back(Event::Settled(results));
        self.arm(now);
        if self.quit_wanted || !self.takes_more() {
            self.quit(now);
        } else {
            self.events.push_back(Event::Ready);
        }
    }

    /// The peer takes no further transaction, but not everyone had a turn.
    fn part(&mut self) {
        self.close(None);
        self.wire.output.extend_from_slice(b"QUIT\r\n");
    }

    /// End for `failure` at the stage of whatever is unanswered.
    fn fail(&mut self, failure: Failure) {
        let stage = match (&self.phase, self.wire.unanswered.front()) {
            // Whatever goes wrong at QUIT, nothing is lost by it.
            (Phase::Quitting, _) => return self.close(None),
            (_, Some(command)) => command.stage(),
            (Phase::Busy(_), None) => Stage::Content,
            (_, None) => Stage::Quit,
        };
        self.close(Some((stage, failure)));
    }

    /// End: tell what is known, give back the rest. Nothing that waits to be sent goes out.
    fn close(&mut self, failure: Option<(Stage, Failure)>) {
        let mut unsettled = Vec::new();
        if let Phase::Busy(flight) = std::mem::replace(&mut self.phase, Phase::Over) {
            let (results, open) = flight.into_results();
            unsettled = open;
            if !results.is_empty() {
                self.events.push_back(Event::Settled(results));
            }
        }
        self.events.push_back(Event::Closed { failure, unsettled });
        self.wire.clear();
        self.deadline = None;
    }

    /// The time of what is unanswered begins now.
    fn arm(&mut self, now: Monotonic) {
        let deadlines = &self.options.deadlines;
        self.deadline = match (&self.phase, self.wire.unanswered.front()) {
            (_, Some(command)) => Some(now + command.patience(deadlines)),
            (Phase::Busy(_), None) => Some(now + deadlines.block),
            (_, None) => None,
        };
    }

    fn is_sending(&self) -> bool {
        matches!(&self.phase, Phase::Busy(flight) if flight.is_sending())
    }

    /// Content went out: what is waited for now is that the peer takes it, then that it answers.
    fn arm_for_content(&mut self, now: Monotonic) {
        match self.wire.unanswered.front() {
            Some(Command::Chunk) if self.is_sending() => {
                self.deadline = Some(now + self.options.deadlines.block);
            }
            None | Some(Command::Chunk | Command::EndOfData) => self.arm(now),
            Some(_) => {}
        }
    }
}

fn using<'a>(options: &Options, extensions: &'a PeerExtensions) -> Use<'a> {
    let pipelining = options.use_pipelining && extensions.pipelining;
    Use { extensions, pipelining, chunking: options.use_chunking }
}

fn out_of_step(reply: &Reply) -> Failure {
    Failure::Protocol(format!("reply out of step: {reply}").into())
}
