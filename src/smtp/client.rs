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

use crate::base::time::Monotonic;
use crate::mail::envelope::Envelope;
use crate::mail::outcome::{Failure, Stage};
use crate::mail::status::Reply;

mod deadline;
mod extension;

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
        /// Why; `None` after QUIT, or when the peer closed an idle connection.
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
    output: Vec<u8>,
    events: VecDeque<Event>,
    deadline: Option<Monotonic>,
    transactions_done: u32,
}

impl Client {
    /// A machine for a connection that was established at `now`.
    pub fn new(options: Arc<Options>, now: Monotonic) -> Self {
        let deadline = Some(now + options.deadlines.greeting);
        Self {
            options,
            extensions: PeerExtensions::default(),
            output: Vec::new(),
            events: VecDeque::new(),
            deadline,
            transactions_done: 0,
        }
    }

    /// Take in what the peer sent.
    pub fn handle_bytes(&mut self, _bytes: &[u8], _now: Monotonic) {}

    /// Look whether the peer's time is over; calling too early does nothing.
    pub fn handle_deadline(&mut self, _now: Monotonic) {}

    /// The peer will send nothing more, or the connection broke.
    pub fn handle_end(&mut self, _now: Monotonic) {}

    /// Whether `begin` may be called.
    pub fn is_ready(&self) -> bool {
        false
    }

    /// Send `transaction`. Only when `is_ready`.
    pub fn begin(&mut self, _transaction: Transaction, _now: Monotonic) {}

    /// The next offset of the content that the machine can take now.
    pub fn wants_content(&self) -> Option<u64> {
        None
    }

    /// Content from the offset that `wants_content` said. What is more than the machine can hold
    /// is left; ask `wants_content` again.
    pub fn push_content(&mut self, _window: &[u8], _now: Monotonic) {}

    /// Part from the peer in an orderly way: now if idle, else after the transaction in flight.
    pub fn quit(&mut self, _now: Monotonic) {}

    /// Append what is to be sent to `into`.
    pub fn take_output(&mut self, into: &mut Vec<u8>) {
        into.append(&mut self.output);
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
        false
    }

    /// What the peer offers; nothing before the first `Ready`.
    pub fn extensions(&self) -> &PeerExtensions {
        &self.extensions
    }

    /// Transactions that were settled on this connection.
    pub fn transactions_done(&self) -> u32 {
        self.transactions_done
    }
}
