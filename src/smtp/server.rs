//! Run the receiving side of one SMTP session.
//!
//! In: the client's octets, the time, answers to questions. Out: reply octets, events, a deadline.
//! Invariant: while a question is open nothing more is taken from the client; no reply leaves
//! before the answer it depends on; content is answered with yes only by the caller.
//! Unit: content counts octets after dot-unstuffing (RFC 1870 §3). Lives on: the home shard.
//!
//! ```text
//! loop: handle_bytes ─► poll_event ─► answer        (until all octets are used, or a question
//!                            └─► take_output         waits for something that takes time)
//! ```
//! How a transaction ends: after [`Event::Mail`] follows exactly one of: a negative answer of the
//! caller to it, to `Content` or to `End`; a positive answer to `End`; or [`Event::Aborted`].

mod auth;
mod dialogue;
mod intake;
mod xclient;

use std::sync::Arc;

use crate::base::limits::{
    HANDSHAKE_DEADLINE, MESSAGE_BYTES_DEFAULT, RECIPIENT_BYTES, RECIPIENTS_MAX, SESSION_ERRORS_MAX,
    SESSION_OUTPUT_KEPT, SESSION_OUTPUT_MAX, TEXT_LINE_MAX,
};
use crate::base::time::Monotonic;
use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::handling::{By, Hold};
use crate::smtp::answer::Answer;
use crate::smtp::command::{Chunk, Hello};
use crate::smtp::content::LineEndings;
use crate::smtp::deadline::{ContentDeadline, Deadlines};
use crate::smtp::extension::Offered;
use crate::smtp::line::LineReader;
use crate::smtp::phase::Phase;
use crate::smtp::sasl::{Channel, Exchange, Lookup, Name, Password};
use crate::smtp::xclient::Attributes;

use intake::Intake;
use xclient::Behind;

pub use auth::Auth;

/// What all sessions of a listener have in common.
#[derive(Clone, Debug)]
pub struct Options {
    /// How this node calls itself.
    pub hostname: Box<str>,
    /// SIZE: octets of a message.
    pub message_bytes_max: u64,
    /// RCPTMAX: recipients of a transaction.
    pub recipients_max: usize,
    /// Octets of a text line, CRLF included.
    pub text_line_max: usize,
    /// Errors, since the session last brought a message, before 421.
    pub errors_max: u32,
    /// What to do about a bare CR or LF in content.
    pub line_endings: LineEndings,
    /// Extensions.
    pub extensions: Offered,
    /// What TLS is to the sessions.
    pub security: Security,
    /// How clients can log in.
    pub auth: Auth,
    /// How long a client may take.
    pub deadlines: Deadlines,
}

impl Options {
    /// The defaults of every knob.
    pub fn new(hostname: &str) -> Self {
        Self {
            hostname: hostname.into(),
            message_bytes_max: MESSAGE_BYTES_DEFAULT,
            recipients_max: RECIPIENTS_MAX,
            text_line_max: TEXT_LINE_MAX,
            errors_max: SESSION_ERRORS_MAX,
            line_endings: LineEndings::Strict,
            extensions: Offered::ALL,
            security: Security::Clear,
            auth: Auth::default(),
            deadlines: Deadlines::STANDARD,
        }
    }
}

/// What TLS is to the sessions of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// There is none.
    #[default]
    Clear,
    /// On offer (RFC 3207).
    StartTls,
    /// On offer, and nothing is done without it.
    RequireStartTls,
    /// It comes before the greeting (RFC 8314 §3).
    Implicit,
}

/// What a session has to say to the shard. What it is about is read from the session itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Question: may this transaction start? See [`Session::envelope`]; SIZE has been checked.
    /// Yes: [`Answer::SENDER_OK`].
    Mail,
    /// Question: may this recipient be added? See [`Session::recipient`]. An accepted one joins
    /// the envelope. Yes: [`Answer::RECIPIENT_OK`].
    Rcpt,
    /// Question, at DATA or a first BDAT: is there room for content? Yes: [`Answer::GO_ON`].
    Content,
    /// Close to `RECORD_CONTENT_MAX` octets of content are ready: [`Session::take_content`], or
    /// nothing more is taken from the client.
    ContentFull,
    /// Question: content is complete; [`Session::take_content`] has the rest of it, and
    /// [`Session::take_envelope`] the envelope, its body type final only now. Yes, and only once
    /// it is on stable storage: [`Answer::stored`].
    End,
    /// The transaction is gone: RSET, EHLO, a refusal of its content, the end of the session. Drop
    /// what was taken. A question that was open is no longer: answers to it have no effect.
    Aborted,
    /// Question: is this password the right one of [`Session::claimed`]? See
    /// [`Session::take_password`]. Yes: [`Answer::AUTHENTICATED`].
    Password,
    /// Question: what is the SCRAM verifier of [`Session::claimed`]? [`Session::verify_by`] gives
    /// it; an answer refuses it.
    Verifier,
    /// The client has proved by that verifier that it is [`Session::claimed`].
    Proved,
    /// It has not.
    Disproved,
    /// Question: may the client that [`Session::presented`] tells of have this session? Yes:
    /// [`Answer::OK`]; it begins again with its greeting.
    Presented,
    /// Send the output that waits, in clear; then the client begins the handshake. Once it is done:
    /// [`Session::secured`].
    StartTls,
}

/// The receiving side of one session.
#[derive(Debug)]
pub struct Session {
    options: Arc<Options>,
    phase: Phase,
    step: Step,
    line: LineReader,
    hello: Option<Hello>,
    transaction: Option<Transaction>,
    /// Content under way; outlives the transaction where refused content is read to its end.
    intake: Option<Intake>,
    event: Option<Event>,
    output: Vec<u8>,
    errors: u32,
    /// The last MAIL was refused: what came behind it in the same group is no further error.
    mail_refused: bool,
    /// All goes through TLS.
    secured: bool,
    /// What a proof is bound to.
    channel: Channel,
    /// Who the client says that it is, or was the last to try to be.
    claimed: Option<Name>,
    /// It is.
    authenticated: bool,
    /// Whether it may speak for others, and what it said of them.
    behind: Behind,
    /// The client has said something: an HTTP verb is now no more than an unknown command.
    opened: bool,
    draining: bool,
    /// The client will send nothing more.
    ended: bool,
    command_due: Monotonic,
    session_due: Monotonic,
}

/// What the next octets are.
#[derive(Debug)]
enum Step {
    /// A command line.
    Command,
    /// Nothing, until the question is answered.
    Asked(Question),
    /// Nothing, until TLS is up; it must be by then.
    Handshake(Monotonic),
    /// A line of a SASL exchange.
    Sasl(Box<Exchange>),
    /// Content after 354.
    Data,
    /// Octets of an accepted chunk.
    Chunk(Chunk),
    /// Octets of a refused chunk, to be followed by the answer that refuses it.
    Skip { left: u64, refusal: Answer, deadline: ContentDeadline },
    /// Nothing: the session is over.
    Over,
}

#[derive(Debug)]
enum Question {
    Mail,
    Rcpt(Recipient),
    /// `early`: octets came behind DATA before it was answered.
    Data {
        early: bool,
    },
    Chunk(Chunk),
    /// None once it was taken.
    Password(Option<Password>),
    Verifier(Box<Lookup>),
    Presented(Box<Attributes>),
    End,
}

#[derive(Debug)]
struct Transaction {
    envelope: Envelope,
    size_declared: Option<u64>,
    hold: Option<Hold>,
    by: Option<By>,
}

impl Session {
    /// A session that begins: 220 is waiting as output, or where TLS comes first, nothing is before
    /// [`Session::secured`].
    pub fn new(options: Arc<Options>, now: Monotonic) -> Self {
        let mut session = Self::begin(options, Phase::Connected, now);
        if session.options.security == Security::Implicit {
            session.step = Step::Handshake(now + HANDSHAKE_DEADLINE);
        } else {
            session.greet();
        }
        session
    }

    fn greet(&mut self) {
        self.output.extend_from_slice(b"220 ");
        self.output.extend_from_slice(self.options.hostname.as_bytes());
        self.output.extend_from_slice(b" ESMTP relay-fast\r\n");
    }

    /// A session that is not to be: it says `answer` instead of 220, and is over with 421; with
    /// 554 it waits for QUIT, as RFC 5321 §3.1 wants it.
    pub fn refused(options: Arc<Options>, answer: Answer, now: Monotonic) -> Self {
        let mut session = Self::begin(options, Phase::Refused, now);
        if session.options.security == Security::Implicit {
            // It listens for a handshake; there is nothing that it would read.
            session.step = Step::Over;
            return session;
        }
        if answer.code.as_u16() == 421 {
            session.step = Step::Over;
        }
        session.say(&answer);
        session
    }

    fn begin(options: Arc<Options>, phase: Phase, now: Monotonic) -> Self {
        let command_due = now + options.deadlines.command;
        let session_due = now + options.deadlines.session;
        Self {
            options,
            phase,
            step: Step::Command,
            line: LineReader::default(),
            hello: None,
            transaction: None,
            intake: None,
            event: None,
            output: Vec::new(),
            errors: 0,
            mail_refused: false,
            secured: false,
            channel: Channel(None),
            claimed: None,
            authenticated: false,
            behind: Behind::default(),
            opened: false,
            draining: false,
            ended: false,
            command_due,
            session_due,
        }
    }

    /// Take octets of the client; returns how many. The caller keeps the rest, and calls again once
    /// it has polled the event and answered the question that stopped it. All are taken, and
    /// ignored, once the session is over. Cuts the session where the commands in `bytes` make more
    /// than `SESSION_OUTPUT_MAX` octets of replies.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Monotonic) -> usize {
        let mut used = 0;
        while used < bytes.len() && self.event.is_none() {
            if self.output.len() > SESSION_OUTPUT_MAX {
                self.close(&Answer::TOO_MUCH_AT_ONCE);
            }
            let rest = &bytes[used..];
            used += match &self.step {
                Step::Command => self.handle_command(rest, now),
                Step::Sasl(_) => self.handle_sasl(rest, now),
                Step::Data => self.handle_data(rest, now),
                Step::Chunk(_) => self.handle_chunk(rest, now),
                Step::Skip { .. } => self.handle_skip(rest, now),
                Step::Asked(_) | Step::Handshake(_) => return used,
                Step::Over => return bytes.len(),
            };
        }
        used
    }

    /// The handshake is done: all octets from now on went through TLS. The session knows nothing of
    /// what the client said before (RFC 3207 §4.2). No effect where none was awaited.
    pub fn secured(&mut self, now: Monotonic) {
        if !matches!(self.step, Step::Handshake(_)) {
            return;
        }
        self.secured = true;
        (self.phase, self.hello) = (Phase::Connected, None);
        (self.claimed, self.authenticated) = (None, false);
        self.behind.forget();
        if self.options.security == Security::Implicit {
            self.greet();
        }
        self.await_command(now);
    }

    /// Whether the handshake is what the next octets are for.
    pub fn awaits_handshake(&self) -> bool {
        matches!(self.step, Step::Handshake(_))
    }

    /// Whether all goes through TLS.
    pub fn is_secured(&self) -> bool {
        self.secured
    }

    /// The time has come that [`Session::deadline`] gave: 421 and the end. Nothing if it has not.
    pub fn handle_deadline(&mut self, now: Monotonic) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.close(&Answer::TIMED_OUT);
        }
    }

    /// The client will send nothing more; call it once all its octets have been taken. The session
    /// is over then, unless complete content waits for its answer.
    pub fn handle_end(&mut self) {
        self.ended = true;
        if !matches!(self.step, Step::Asked(Question::End)) {
            self.abort();
            self.step = Step::Over;
        }
    }

    /// The node drains: 421 at the next command, which is at once where none is being answered.
    /// Content that has begun may come to its end and be answered.
    pub fn handle_drain(&mut self, now: Monotonic) {
        self.draining = true;
        if matches!(self.step, Step::Command) {
            self.await_command(now);
        }
    }

    /// What the session has to say. A question stays open until it is answered.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// Answer the open question. 421 says no and closes the session. Without an open question, as
    /// after [`Event::Aborted`], nothing happens.
    pub fn answer(&mut self, answer: Answer, now: Monotonic) {
        let step = std::mem::replace(&mut self.step, Step::Command);
        if let Step::Asked(question) = step {
            self.answer_question(question, &answer, now);
        } else {
            self.step = step;
        }
    }

    /// Whether replies wait to be sent.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Append the replies that wait to be sent; those to pipelined commands come together.
    pub fn take_output(&mut self, into: &mut Vec<u8>) {
        into.append(&mut self.output);
        if self.output.capacity() > SESSION_OUTPUT_KEPT {
            self.output = Vec::new();
        }
    }

    /// When to call [`Session::handle_deadline`]. None while a question is open: the relay is the
    /// one to act then.
    pub fn deadline(&self) -> Option<Monotonic> {
        match &self.step {
            Step::Command | Step::Sasl(_) => Some(self.command_due.min(self.patience_ends())),
            Step::Data | Step::Chunk(_) => self.intake.as_ref().map(Intake::deadline),
            Step::Skip { deadline, .. } => Some(deadline.at()),
            Step::Handshake(due) => Some(*due),
            Step::Asked(_) | Step::Over => None,
        }
    }

    /// When even a client that says one command after the other is cut.
    fn patience_ends(&self) -> Monotonic {
        match (&self.transaction, &self.intake) {
            (None, _) => self.session_due,
            (Some(_), None) => self.session_due + self.options.deadlines.content,
            (Some(_), Some(between_chunks)) => between_chunks.whole_due(),
        }
    }

    /// Whether nothing more will come: send the output, then close.
    pub fn is_over(&self) -> bool {
        matches!(self.step, Step::Over)
    }

    /// The transaction's envelope, from [`Event::Mail`] on. It has no recipients at first.
    pub fn envelope(&self) -> Option<&Envelope> {
        self.transaction.as_ref().map(|transaction| &transaction.envelope)
    }

    /// How long the client wants the message held.
    pub fn hold(&self) -> Option<Hold> {
        self.transaction.as_ref().and_then(|transaction| transaction.hold)
    }

    /// By when the client wants the message delivered.
    pub fn by(&self) -> Option<By> {
        self.transaction.as_ref().and_then(|transaction| transaction.by)
    }

    /// Take the envelope away, once, at [`Event::End`]: at least one recipient, body type final.
    ///
    /// Panics when content is not complete, or when it has been taken.
    pub fn take_envelope(&mut self) -> Envelope {
        assert!(matches!(self.step, Step::Asked(Question::End)), "content is not complete");
        self.transaction.take().expect("the envelope has not been taken").envelope
    }

    /// The recipient that [`Event::Rcpt`] asks about.
    pub fn recipient(&self) -> Option<&Recipient> {
        match &self.step {
            Step::Asked(Question::Rcpt(recipient)) => Some(recipient),
            Step::Asked(_)
            | Step::Command
            | Step::Sasl(_)
            | Step::Data
            | Step::Chunk(_)
            | Step::Skip { .. }
            | Step::Handshake(_)
            | Step::Over => None,
        }
    }

    /// SIZE of the transaction, if given: octets the client expects to send.
    pub fn size_declared(&self) -> Option<u64> {
        self.transaction.as_ref().and_then(|transaction| transaction.size_declared)
    }

    /// Take the content that has come since it was last taken; at most `RECORD_CONTENT_MAX` octets.
    /// Without a `ContentFull` too, where memory is short.
    pub fn take_content(&mut self) -> Vec<u8> {
        self.intake.as_mut().map(Intake::take).unwrap_or_default()
    }

    /// Octets of content that have come since it was last taken.
    pub fn content_waiting(&self) -> usize {
        self.intake.as_ref().map_or(0, Intake::waiting)
    }

    /// Octets of memory that the transaction holds: content that was not taken, recipients.
    pub fn memory(&self) -> usize {
        let recipients = self.envelope().map_or(0, |envelope| envelope.recipients.len());
        self.intake.as_ref().map_or(0, Intake::held) + recipients * RECIPIENT_BYTES
    }

    /// Octets of content so far, taken ones included.
    pub fn content_bytes(&self) -> u64 {
        self.intake.as_ref().map_or(0, Intake::bytes)
    }

    /// What the client called itself; empty before EHLO and HELO. Safe in a header field.
    pub fn hello(&self) -> &str {
        let own = self.hello.as_ref().map_or("", |hello| &*hello.name);
        self.behind.hello().unwrap_or(own)
    }

    /// Whether the client said EHLO, not HELO.
    pub fn is_esmtp(&self) -> bool {
        let own = self.hello.as_ref().is_some_and(|hello| hello.esmtp);
        self.behind.is_esmtp().unwrap_or(own)
    }
}
