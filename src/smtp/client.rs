//! The sending side of SMTP: one outbound connection from the peer's greeting on.
//!
//! In: the peer's bytes, transactions, content on request. Out: bytes to send, [`Event`]s, a
//! deadline. Invariant: every reply answers the oldest unanswered command, and every recipient of a
//! transaction comes back exactly once, in `Settled` or in `Closed`. Lives on: the owner shard.
//!
//! Where the peer takes PIPELINING, the next transaction may begin while the last reply to the one
//! before is on its way (`may_begin_behind`): RFC 2920 §3.1 lets content be the first in a group of
//! commands. One round trip is then paid for both, and one send.
//!
//! How to drive it: after each call, (1) while `wants_content` says an offset, `push_content` from
//! there; (2) `take_output` and send it; (3) `poll_event` until `None`; (4) arm `deadline`. Ask for
//! content again only when what was taken has been sent: that is the flow control.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::limits::{CLIENT_OUTPUT_KEPT, TRANSACTIONS_IN_FLIGHT_MAX};
use crate::base::time::Monotonic;
use crate::mail::address::Mailbox;
use crate::mail::envelope::Envelope;
use crate::mail::outcome::{Failure, Stage};
use crate::mail::status::Reply;
use crate::smtp::client::flight::{Broken, Flight, Use};
use crate::smtp::client::wire::{Command, Wire};
use crate::smtp::peer_reply::ReplyReader;

mod capability;
mod command;
mod deadline;
mod extension;
mod flight;
mod opening;
mod refusal;
mod wire;

pub use deadline::Deadlines;
pub use extension::PeerExtensions;
pub use opening::StartTls;

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
    /// When to use STARTTLS.
    pub start_tls: StartTls,
}

/// One message for some of its recipients.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The envelope, shared with other transactions.
    pub envelope: Arc<Envelope>,
    /// What MAIL says in place of the envelope's reverse-path.
    pub reverse_path: Option<Mailbox>,
    /// Places in `envelope.recipients`; at least one, none twice.
    pub recipients: Vec<u16>,
    /// Octets of the content as it will be pushed.
    pub content_bytes: u64,
    /// The content holds an octet above 127.
    pub has_eight_bit: bool,
    /// The content's header holds an octet above 127: SMTPUTF8 is needed if the envelope says so.
    pub header_has_eight_bit: bool,
    /// By when it is wanted.
    pub by: Option<crate::mail::handling::By>,
}

impl Transaction {
    /// What MAIL says, without brackets.
    pub fn sender(&self) -> &str {
        self.reverse_path.as_ref().map_or(self.envelope.reverse_path.as_str(), Mailbox::as_str)
    }
}

/// What the machine tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Send what waits, in clear; then begin the handshake. Once it is done:
    /// [`Client::secured`]; if it fails: [`Client::fail_handshake`].
    StartTls,
    /// A transaction may begin: none is in flight.
    Ready,
    /// What came of the oldest transaction, each recipient once. Where none was begun behind it,
    /// `Ready`, `Closed`, or (when the peer takes no more transactions) the end of QUIT follows.
    Settled(Vec<(u16, Settled)>),
    /// The connection is of no more use: send what `take_output` still gives, and close it.
    Closed {
        /// Why; `None` when nobody failed: after QUIT, when the peer ended an idle connection (421
        /// or not), when it takes no more transactions, when it refused content halfway.
        failure: Option<(Stage, Failure)>,
        /// Recipients of the oldest transaction in flight without a result. With a failure it is
        /// theirs; without one they may go out on another connection at once. So may, in any case,
        /// a transaction that was begun behind it, of which no reply has come.
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
    /// All goes through TLS.
    secured: bool,
    /// Transactions under way, oldest first. All but the newest have gone out entirely, so the
    /// oldest is whose replies come, and the newest is whose content is sent.
    flights: VecDeque<Flight>,
    events: VecDeque<Event>,
    deadline: Option<Monotonic>,
    /// The last transaction, now settled, left something at the peer that RSET has to clear.
    reset_owed: bool,
    quit_wanted: bool,
    transactions_begun: u32,
    transactions_done: u32,
}

/// What the connection is used for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Greeting, EHLO, HELO, STARTTLS.
    Opening,
    /// The handshake is under way.
    Handshake,
    /// Transactions, or waiting for one.
    Open,
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
            secured: false,
            flights: VecDeque::new(),
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
            if self.phase == Phase::Handshake {
                return self.refuse_clear(input);
            }
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
            Phase::Quitting => self.close(None),
            Phase::Open if self.is_ready() => self.close(None),
            Phase::Opening | Phase::Handshake | Phase::Open => self.fail(Failure::Closed),
            Phase::Over => {}
        }
    }

    /// Whether `begin` may be called, and no transaction is in flight.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Open && self.flights.is_empty()
    }

    /// Whether `begin` may be called though a transaction is in flight: all of it went out.
    pub fn may_begin_behind(&self) -> bool {
        let Some(last) = self.flights.back() else { return false };
        let is_open = self.phase == Phase::Open && !self.quit_wanted && self.takes_more();
        let has_room = self.flights.len() < TRANSACTIONS_IN_FLIGHT_MAX;
        let pipelining = using(&self.options, &self.extensions).pipelining;
        is_open && has_room && pipelining && last.may_be_followed()
    }

    /// Send `transaction`. Panics when neither `is_ready` nor `may_begin_behind`: its replies would
    /// be taken for another's.
    pub fn begin(&mut self, transaction: Transaction, now: Monotonic) {
        let reset_owed = match self.flights.back() {
            Some(last) => {
                assert!(self.may_begin_behind(), "the transaction before is not sent");
                last.may_leave_a_transaction()
            }
            None => {
                assert!(self.is_ready(), "a transaction begins in {:?}", self.phase);
                self.reset_owed
            }
        };
        let mut flight = Flight::new(transaction, reset_owed, &self.extensions);
        if flight.has_waiting() {
            flight.start_round(using(&self.options, &self.extensions));
            self.transactions_begun += 1;
        }
        self.flights.push_back(flight);
        self.advance(now);
    }

    /// The next offset of the content that the machine can take now. It starts again at 0 when the
    /// peer takes the recipients in several rounds.
    pub fn wants_content(&self) -> Option<u64> {
        self.flights.back()?.wants_content(&self.wire)
    }

    /// Content from the offset that `wants_content` said. What is more than the machine can hold
    /// is left; ask `wants_content` again.
    pub fn push_content(&mut self, window: &[u8], now: Monotonic) {
        if let Some(flight) = self.flights.back_mut() {
            flight.push_content(window, &mut self.wire);
            self.arm_for_content(now);
        }
    }

    /// Part from the peer in an orderly way: now if idle, else after what is in flight.
    pub fn quit(&mut self, now: Monotonic) {
        match self.phase {
            Phase::Handshake => self.close(None),
            Phase::Opening => {
                self.close(None);
                self.wire.output.extend_from_slice(b"QUIT\r\n");
            }
            Phase::Open if self.is_ready() => {
                self.wire.send(Command::Quit, b"QUIT\r\n");
                self.phase = Phase::Quitting;
                self.arm(now);
            }
            Phase::Open => self.quit_wanted = true,
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
        self.phase == Phase::Over
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
            return if self.is_ready() {
                self.close(None);
            } else {
                self.fail(Failure::Reply(reply));
            };
        }
        let Some(command) = command else { return self.handle_surplus(reply) };
        match command {
            Command::Greeting | Command::Ehlo | Command::Helo => {
                self.handle_opening_reply(command, reply, now);
            }
            Command::StartTls => self.handle_start_tls_reply(reply, now),
            Command::Quit => self.close(None),
            Command::Reset | Command::Mail | Command::Rcpt(_) | Command::Data => {
                self.handle_flight_reply(command, reply, now);
            }
            Command::EndOfData | Command::LoneDot | Command::Chunk => {
                self.handle_flight_reply(command, reply, now);
            }
        }
    }

    fn handle_flight_reply(&mut self, command: Command, reply: Reply, now: Monotonic) {
        let Some(flight) = self.flights.front_mut() else {
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
        let broken = match self.flights.front_mut() {
            Some(flight) => flight.handle_early_reply(reply),
            None => Broken(Some(out_of_step(&reply))),
        };
        match broken {
            Broken(Some(failure)) => self.fail(failure),
            Broken(None) => self.close(None),
        }
    }

    /// Send what can be sent; settle what is over, oldest first, or begin its next round where
    /// recipients wait and the peer takes another transaction.
    fn advance(&mut self, now: Monotonic) {
        loop {
            let using = using(&self.options, &self.extensions);
            if let Some(newest) = self.flights.back_mut() {
                newest.advance(&mut self.wire, using);
            }
            let takes_more = self.takes_more();
            match self.flights.front_mut().filter(|oldest| oldest.is_round_over()) {
                None => return self.arm(now),
                Some(oldest) if !oldest.has_waiting() => self.settle(now),
                Some(_) if !takes_more => return self.part(),
                Some(oldest) => {
                    oldest.start_round(using);
                    self.transactions_begun += 1;
                }
            }
        }
    }

    /// RFC 9422 MAILMAX.
    fn takes_more(&self) -> bool {
        let limit = self.extensions.transactions_max.unwrap_or(u32::MAX);
        self.transactions_begun < limit
    }

    /// The oldest transaction has come to its end.
    fn settle(&mut self, now: Monotonic) {
        let flight = self.flights.pop_front().expect("only a transaction is settled");
        let is_last = self.flights.is_empty();
        if is_last {
            self.reset_owed = flight.is_reset_owed();
        }
        let (results, unsettled) = flight.into_results();
        assert!(unsettled.is_empty(), "recipients {unsettled:?} have no result");
        self.transactions_done += 1;
        self.events.push_back(Event::Settled(results));
        if is_last && (self.quit_wanted || !self.takes_more()) {
            self.quit(now);
        } else if is_last {
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
        let stage = match self.wire.unanswered.front() {
            // Whatever goes wrong at QUIT, nothing is lost by it.
            _ if self.phase == Phase::Quitting => return self.close(None),
            Some(command) => command.stage(),
            None if self.phase == Phase::Handshake => Stage::Tls,
            None if self.flights.is_empty() => Stage::Quit,
            None => Stage::Content,
        };
        self.close(Some((stage, failure)));
    }

    /// End: tell what is known, give back the rest. Nothing that waits to be sent goes out.
    fn close(&mut self, failure: Option<(Stage, Failure)>) {
        let mut unsettled = Vec::new();
        self.phase = Phase::Over;
        if let Some(oldest) = self.flights.pop_front() {
            let (results, open) = oldest.into_results();
            unsettled = open;
            if !results.is_empty() {
                self.events.push_back(Event::Settled(results));
            }
        }
        self.events.push_back(Event::Closed { failure, unsettled });
        self.flights.clear();
        self.wire.clear();
        self.deadline = None;
    }

    /// The time of what is unanswered begins now.
    fn arm(&mut self, now: Monotonic) {
        let deadlines = &self.options.deadlines;
        self.deadline = match self.wire.unanswered.front() {
            Some(command) => Some(now + command.patience(deadlines)),
            None if self.flights.is_empty() => None,
            None => Some(now + deadlines.block),
        };
    }

    /// Content went out: what is waited for now is that the peer takes it, then that it answers;
    /// but first its answer to a transaction before, whose time runs.
    fn arm_for_content(&mut self, now: Monotonic) {
        let [flight] = self.flights.make_contiguous() else { return };
        match self.wire.unanswered.front() {
            Some(Command::Chunk) if flight.is_sending() => {
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
