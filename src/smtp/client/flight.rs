//! One transaction under way: what is sent next, and what each reply means for whom.
//!
//! In: replies, each with the command that it answers; content. Out: commands; at the end a result
//! for each recipient. Invariant: a recipient's fate goes from `Waiting` over `Asked` to `Settled`,
//! and back to `Waiting` only when the peer has no room for it in this round.
//!
//! A transaction takes several rounds (MAIL to the reply to the content) when the peer takes fewer
//! recipients at a time than it has: by LIMITS (RFC 9422), or by 452 (RFC 5321 §4.5.3.1.10).

use crate::base::limits::CONTENT_WINDOW;
use crate::mail::address::Domain;
use crate::mail::envelope::{BodyType, Recipient};
use crate::mail::outcome::{Failure, Stage};
use crate::mail::status::{Reply, Severity};
use crate::smtp::client::command::{write_mail, write_rcpt};
use crate::smtp::client::refusal::{Refusal, is_too_many, refusal};
use crate::smtp::client::wire::{Command, Wire};
use crate::smtp::client::{PeerExtensions, Settled, Transaction, capability};
use crate::smtp::stuffing::Stuffing;

mod asking;
mod settling;

/// What of the peer's offer is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use<'a> {
    pub(super) extensions: &'a PeerExtensions,
    pub(super) pipelining: bool,
    pub(super) chunking: bool,
}

/// Why the connection cannot go on; `None`: nobody failed, but it is of no more use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) Option<Failure>);

/// Where a recipient stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    Asked,
    Accepted,
    Settled,
}

/// What is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Reset,
    Mail,
    /// RCPT of the recipient at this place of the round.
    Rcpt(usize),
    /// DATA, or BDAT with its first octets.
    Body,
    /// Nothing, until DATA is answered.
    AwaitGo,
    /// Content; for BDAT, its header before the first of it.
    Content,
    /// Nothing: all that is left are replies.
    Done,
}

/// How the content goes out.
#[derive(Debug)]
enum Body {
    Data(Stuffing),
    Chunk,
}

/// A transaction under way.
#[derive(Debug)]
pub(super) struct Flight {
    transaction: Transaction,
    /// It ends with the recipients: no content is to follow.
    only_asks: bool,
    fates: Vec<Fate>,
    results: Vec<(u16, Settled)>,
    /// Places in `transaction.recipients` of those that this round asks for.
    round: Vec<usize>,
    step: Step,
    body: Body,
    content_sent: u64,
    /// The peer refused this round's MAIL, so it holds no transaction.
    mail_refused: bool,
    /// The peer holds the beginning of a transaction that was not finished.
    reset_owed: bool,
    /// Commands of its own that are not answered, and how many of them decide who gets the content.
    unanswered: usize,
    undecided: usize,
    /// All of the content went out, its end included.
    content_is_out: bool,
}

impl Flight {
    /// Settle at once whom the peer cannot take, and get ready to ask for the others.
    pub(super) fn new(
        transaction: Transaction,
        reset_owed: bool,
        extensions: &PeerExtensions,
    ) -> Self {
        let count = transaction.recipients.len();
        let mut flight = Self {
            fates: vec![Fate::Waiting; count],
            results: Vec::with_capacity(count),
            round: Vec::with_capacity(count),
            step: Step::Done,
            body: Body::Chunk,
            content_sent: 0,
            mail_refused: false,
            reset_owed,
            unanswered: 0,
            undecided: 0,
            content_is_out: false,
            only_asks: false,
            transaction,
        };
        let lacks_for_all = capability::lacks_for_all(&flight.transaction, extensions);
        for place in 0..count {
            let lacks = lacks_for_all.clone();
            let recipient = flight.recipient(place);
            if let Some(lack) = lacks.or_else(|| capability::lacks_for(recipient, extensions)) {
                flight.refuse(place, Stage::Mail, lack);
            }
        }
        flight
    }

    /// Begin a round with those who wait, as many as the peer takes; somebody must.
    pub(super) fn start_round(&mut self, using: Use<'_>) {
        self.choose_round(using.extensions);
        assert!(!self.round.is_empty(), "a round for nobody");
        let is_binary = self.transaction.envelope.body_type == BodyType::BinaryMime;
        let chunks = using.extensions.chunking && (using.chunking || is_binary);
        self.body = if chunks { Body::Chunk } else { Body::Data(Stuffing::default()) };
        self.step = if self.reset_owed { Step::Reset } else { Step::Mail };
        self.content_sent = 0;
        self.content_is_out = false;
        self.mail_refused = false;
    }

    /// Whether the round has come to its end.
    pub(super) fn is_round_over(&self) -> bool {
        self.step == Step::Done && self.unanswered == 0
    }

    /// Whether another transaction may begin though this one is not settled: all of it went out,
    /// and no reply can make a further round of it.
    pub(super) fn may_be_followed(&self) -> bool {
        // Only who is behind an accepted one is told that there are too many.
        let is_last_round = self.undecided == 0 || self.round.len() == 1;
        self.content_is_out && is_last_round && !self.has_waiting()
    }

    /// Whether what follows has to begin with RSET before this one's reply is known. RFC 3030 §2:
    /// after a failed BDAT the peer's state is indeterminate. After DATA it is none (RFC 5321
    /// §4.1.1.4).
    pub(super) fn may_leave_a_transaction(&self) -> bool {
        matches!(self.body, Body::Chunk)
    }

    /// Whether someone has to be asked for in another round.
    pub(super) fn has_waiting(&self) -> bool {
        self.fates.contains(&Fate::Waiting)
    }

    /// Whether content is still to be pushed.
    pub(super) fn is_sending(&self) -> bool {
        self.step == Step::Content
    }

    /// Whether the next transaction must begin with RSET.
    pub(super) fn is_reset_owed(&self) -> bool {
        self.reset_owed
    }

    /// Every result so far, and every recipient without one.
    pub(super) fn into_results(self) -> (Vec<(u16, Settled)>, Vec<u16>) {
        let fates = self.fates.iter().zip(&self.transaction.recipients);
        let open = fates.filter(|(fate, _)| **fate != Fate::Settled);
        let unsettled = open.map(|(_, recipient)| *recipient).collect();
        (self.results, unsettled)
    }

    /// Send what can be sent without waiting for a reply or for content.
    pub(super) fn advance(&mut self, wire: &mut Wire, using: Use<'_>) {
        while (using.pipelining || wire.unanswered.is_empty()) && self.send_next(wire, using) {}
    }

    fn send(&mut self, wire: &mut Wire, command: Command, line: &[u8]) {
        wire.send(command, line);
        self.unanswered += 1;
        self.undecided += usize::from(command.decides_recipients());
    }

    /// The offset of the content that can be taken now.
    pub(super) fn wants_content(&self, wire: &Wire) -> Option<u64> {
        let has_room = wire.output.len() < CONTENT_WINDOW;
        (self.step == Step::Content && has_room).then_some(self.content_sent)
    }

    /// Take content from the offset that `wants_content` said; returns after as much as fits.
    pub(super) fn push_content(&mut self, window: &[u8], wire: &mut Wire) {
        if window.is_empty() || self.wants_content(wire).is_none() {
            return;
        }
        let left = usize::try_from(self.transaction.content_bytes - self.content_sent);
        let fits = window.len().min(CONTENT_WINDOW).min(left.unwrap_or(usize::MAX));
        let window = &window[..fits];
        if self.content_sent == 0 {
            self.begin_content(wire);
        }
        self.content_sent += fits as u64;
        match &mut self.body {
            Body::Data(stuffing) => stuffing.push(window, &mut wire.output),
            Body::Chunk => wire.output.extend_from_slice(window),
        }
        if self.content_sent == self.transaction.content_bytes {
            self.end_content(wire);
        }
    }

    /// Take in the reply to `command`.
    pub(super) fn handle_reply(
        &mut self,
        command: Command,
        reply: Reply,
        wire: &mut Wire,
    ) -> Result<(), Broken> {
        self.unanswered -= 1;
        self.undecided -= usize::from(command.decides_recipients());
        match command {
            Command::Reset => self.handle_reset_reply(reply),
            Command::Mail => self.handle_mail_reply(reply),
            Command::Rcpt(place) => self.handle_rcpt_reply(place, reply),
            Command::Data => self.handle_data_reply(reply, wire),
            Command::Chunk => self.handle_chunk_reply(reply),
            Command::EndOfData => self.handle_end_reply(reply),
            Command::LoneDot => self.handle_lone_dot_reply(&reply),
            Command::Greeting
            | Command::Ehlo
            | Command::Helo
            | Command::StartTls
            | Command::Quit => unreachable!("{command:?} is not of a transaction"),
        }
    }

    /// A reply while the content of DATA is on its way, which answers no command. A refusal is
    /// final, and so is the connection: there is no way to end the content but to complete it.
    pub(super) fn handle_early_reply(&mut self, reply: Reply) -> Broken {
        let is_amid = self.step == Step::Content && matches!(self.body, Body::Data(_));
        match refusal(&reply) {
            Refusal::Yes if is_amid => {
                self.refuse_accepted(Stage::Content, reply);
                Broken(None)
            }
            Refusal::Yes | Refusal::No | Refusal::OutOfPlace => out_of_step(&reply),
        }
    }

    fn recipient(&self, place: usize) -> &Recipient {
        let index = usize::from(self.transaction.recipients[place]);
        &self.transaction.envelope.recipients[index]
    }

    fn choose_round(&mut self, extensions: &PeerExtensions) {
        let most = |limit: Option<u32>| {
            limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
        };
        let recipients_max = most(extensions.recipients_max);
        let domains_max = most(extensions.domains_max);
        let mut domains: Vec<Option<&Domain>> = Vec::new();
        let mut round = std::mem::take(&mut self.round);
        round.clear();
        for place in (0..self.fates.len()).filter(|place| self.fates[*place] == Fate::Waiting) {
            let domain = self.recipient(place).forward_path.domain();
            let is_known = domains_max == usize::MAX || domains.contains(&domain);
            if round.len() == recipients_max || (!is_known && domains.len() == domains_max) {
                continue;
            }
            if !is_known {
                domains.push(domain);
            }
            round.push(place);
        }
        self.round = round;
    }

    /// Send the next command; `false` if it has to wait or there is none.
    fn send_next(&mut self, wire: &mut Wire, using: Use<'_>) -> bool {
        match self.step {
            Step::Reset => {
                self.send(wire, Command::Reset, b"RSET\r\n");
                self.reset_owed = false;
                self.step = Step::Mail;
            }
            Step::Mail => {
                write_mail(&self.transaction, using.extensions, &mut wire.output);
                self.send(wire, Command::Mail, b"");
                self.step = Step::Rcpt(0);
            }
            Step::Rcpt(_) if self.mail_refused => self.step = Step::Done,
            Step::Rcpt(number) => match self.round.get(number).copied() {
                Some(place) => {
                    write_rcpt(self.recipient(place), using.extensions, &mut wire.output);
                    self.send(wire, Command::Rcpt(place), b"");
                    self.fates[place] = Fate::Asked;
                    self.step = Step::Rcpt(number + 1);
                }
                None => self.step = Step::Body,
            },
            Step::Body => return self.send_body(wire),
            Step::Content if self.is_unwanted() => self.step = Step::Body,
            Step::AwaitGo | Step::Content | Step::Done => return false,
        }
        true
    }

    /// Begin the body, or skip it where nobody is left to get it.
    fn send_body(&mut self, wire: &mut Wire) -> bool {
        let is_decided = self.undecided == 0;
        if is_decided && !self.has_accepted() {
            self.reset_owed |= !self.mail_refused;
            self.step = Step::Done;
            return true;
        }
        match self.body {
            _ if self.only_asks => return false,
            Body::Data(_) => {
                self.send(wire, Command::Data, b"DATA\r\n");
                self.step = Step::AwaitGo;
            }
            // What BDAT announces must be sent, wanted or not: announce little, or wait.
            Body::Chunk
                if !is_decided && self.transaction.content_bytes > CONTENT_WINDOW as u64 =>
            {
                return false;
            }
            Body::Chunk => self.await_content(wire),
        }
        true
    }

    fn await_content(&mut self, wire: &mut Wire) {
        self.step = Step::Content;
        if self.transaction.content_bytes == 0 {
            self.begin_content(wire);
            self.end_content(wire);
        }
    }

    fn begin_content(&mut self, wire: &mut Wire) {
        let bytes = self.transaction.content_bytes;
        let reserve = usize::try_from(bytes).unwrap_or(usize::MAX).min(CONTENT_WINDOW);
        wire.output.reserve(reserve + reserve / 16 + 32);
        if matches!(self.body, Body::Chunk) {
            self.send(wire, Command::Chunk, format!("BDAT {bytes} LAST\r\n").as_bytes());
        }
    }

    fn end_content(&mut self, wire: &mut Wire) {
        if let Body::Data(stuffing) = self.body {
            stuffing.finish(&mut wire.output);
            self.send(wire, Command::EndOfData, b"");
        }
        self.content_is_out = true;
        self.step = Step::Done;
    }

    fn has_accepted(&self) -> bool {
        self.fates.contains(&Fate::Accepted)
    }

    /// BDAT was prepared before the recipients were known, and there turned out to be none.
    fn is_unwanted(&self) -> bool {
        let is_begun = self.content_sent > 0 || matches!(self.body, Body::Data(_));
        !is_begun && self.undecided == 0 && !self.has_accepted()
    }

    fn handle_reset_reply(&mut self, reply: Reply) -> Result<(), Broken> {
        match refusal(&reply) {
            Refusal::No => Ok(()),
            Refusal::Yes => Err(Broken(Some(Failure::Reply(reply)))),
            Refusal::OutOfPlace => Err(out_of_step(&reply)),
        }
    }

    fn handle_mail_reply(&mut self, reply: Reply) -> Result<(), Broken> {
        match refusal(&reply) {
            Refusal::No => {}
            Refusal::OutOfPlace => return Err(out_of_step(&reply)),
            Refusal::Yes => {
                self.mail_refused = true;
                for place in 0..self.fates.len() {
                    if self.fates[place] != Fate::Settled {
                        self.refuse(place, Stage::Mail, Failure::Reply(reply.clone()));
                    }
                }
            }
        }
        Ok(())
    }

    fn handle_rcpt_reply(&mut self, place: usize, reply: Reply) -> Result<(), Broken> {
        let refusal = refusal(&reply);
        match (self.fates[place], refusal) {
            (_, Refusal::OutOfPlace) => return Err(out_of_step(&reply)),
            // MAIL was refused; so is this, whatever the peer says.
            (Fate::Settled, Refusal::Yes | Refusal::No) => {}
            (_, Refusal::No) if self.only_asks => self.settle(place, Settled::Accepted(reply)),
            (_, Refusal::No) => self.fates[place] = Fate::Accepted,
            (_, Refusal::Yes) if self.has_accepted() && is_too_many(&reply) => {
                self.fates[place] = Fate::Waiting;
            }
            (_, Refusal::Yes) => self.refuse(place, Stage::Rcpt, Failure::Reply(reply)),
        }
        Ok(())
    }

    fn handle_data_reply(&mut self, reply: Reply, wire: &mut Wire) -> Result<(), Broken> {
        match reply.code.severity() {
            Severity::Completed => return Err(out_of_step(&reply)),
            Severity::Intermediate if self.has_accepted() => {
                self.await_content(wire);
            }
            Severity::Intermediate => {
                self.send(wire, Command::LoneDot, b".\r\n");
                self.step = Step::Done;
            }
            Severity::Transient | Severity::Permanent => {
                self.refuse_accepted(Stage::Data, reply);
                self.reset_owed |= !self.mail_refused;
                self.step = Step::Done;
            }
        }
        Ok(())
    }

    fn handle_end_reply(&mut self, reply: Reply) -> Result<(), Broken> {
        match refusal(&reply) {
            Refusal::OutOfPlace => return Err(out_of_step(&reply)),
            Refusal::No => self.accept_accepted(&reply),
            Refusal::Yes => self.refuse_accepted(Stage::Content, reply),
        }
        Ok(())
    }

    /// Whatever became of it, it was nobody's, and the transaction is over.
    fn handle_lone_dot_reply(&mut self, reply: &Reply) -> Result<(), Broken> {
        match refusal(reply) {
            Refusal::OutOfPlace => Err(out_of_step(reply)),
            Refusal::No | Refusal::Yes => Ok(()),
        }
    }

    /// RFC 3030 §2: after a failed BDAT the peer's state is indeterminate, so RSET must follow.
    fn handle_chunk_reply(&mut self, reply: Reply) -> Result<(), Broken> {
        let is_complete = self.step == Step::Done;
        match refusal(&reply) {
            Refusal::OutOfPlace => return Err(out_of_step(&reply)),
            Refusal::No if !is_complete => return Err(out_of_step(&reply)),
            Refusal::No => self.accept_accepted(&reply),
            Refusal::Yes => {
                self.refuse_accepted(Stage::Content, reply);
                self.reset_owed |= !self.mail_refused;
            }
        }
        // Refused amid a long chunk: the rest of it is not worth sending.
        if is_complete { Ok(()) } else { Err(Broken(None)) }
    }
}

fn out_of_step(reply: &Reply) -> Broken {
    Broken(Some(Failure::Protocol(format!("reply out of step: {reply}").into())))
}
