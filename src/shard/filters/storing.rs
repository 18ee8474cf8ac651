//! Act on what milters decided: tell of it, and bring what is taken into the log.
//!
//! In: messages that are decided on. Out: answers to their clients, messages handed to the log by
//! way of their signatures. Invariant: a turn gives the log no more of them than `CONTENT_BURST`
//! octets, and none while too much waits for the disk: a large message holds nobody up.

use std::sync::Arc;

use crate::base::limits::CONTENT_BURST;
use crate::mail::status::Reply;
use crate::outcome::event::Kind;
use crate::policy::content::ContentScan;
use crate::policy::filtering::{Decision, join};
use crate::policy::signing::{Signing, Unsigned};
use crate::shard::Shard;
use crate::shard::commit::{Commit, From};
use crate::shard::context::Context;
use crate::shard::filters::{Decided, Filters};
use crate::shard::journal::{Attempt, Said};
use crate::shard::platform::{ConnectionId, Platform};
use crate::shard::refusals::answer_to;
use crate::smtp::answer::Answer;
use crate::spool::log::LogError;
use crate::spool::stored::NewMessage;

/// A message that is taken, on its way into the log.
#[derive(Debug)]
pub(super) struct Storing {
    session: ConnectionId,
    message: NewMessage,
    /// Why it is held, if it is.
    held: Option<Box<str>>,
    /// What has not gone yet, last piece first.
    pieces: Vec<Vec<u8>>,
    /// Reads the content anew, where milters changed it.
    scan: Option<ContentScan>,
    signing: Option<Signing>,
    memory: usize,
}

/// What became of a piece.
enum Put {
    /// More are to come.
    More,
    /// It was the last one.
    Last,
}

impl Storing {
    fn new(decided: Decided) -> Self {
        let Decided { session, mut message, letter, is_changed, signing, decision, .. } = decided;
        let held = match (decision, decided.due_to) {
            (Decision::Hold, Some((milter, why))) => Some(format!("{milter}: {why}").into()),
            (Decision::Hold, None) | (_, _) => decided.held,
        };
        message.envelope = Arc::new(letter.envelope.clone());
        let mut pieces = join(letter);
        pieces.reverse();
        let memory = pieces.iter().map(Vec::capacity).sum();
        let scan = is_changed.then(ContentScan::new);
        Self { session, message, held, pieces, scan, signing, memory }
    }

    /// Hand the next piece on; the last one is left in the message.
    fn put_one(&mut self, commit: &mut Commit) -> Result<Put, LogError> {
        let piece = self.pieces.pop().unwrap_or_default();
        commit.memory.gathered(piece.capacity().min(self.memory), 0);
        self.memory -= piece.capacity().min(self.memory);
        if let Some(scan) = &mut self.scan {
            scan.push(&piece);
        }
        if let Some(signing) = &mut self.signing {
            signing.push(&piece);
        }
        if !self.pieces.is_empty() {
            return commit.content(self.message.id, piece).map(|()| Put::More);
        }
        if let Some(facts) = self.scan.as_ref().map(ContentScan::facts) {
            self.message.has_eight_bit = facts.header_eight_bit || facts.body_eight_bit;
        }
        self.message.content = piece;
        Ok(Put::Last)
    }
}

impl Filters {
    /// Whether there is more to do at once.
    pub(crate) fn is_busy(&self, commit: &Commit) -> bool {
        let can_store = !self.storing.is_empty() && !commit.is_pressed();
        can_store || !commit.to_filter.is_empty() || !self.ready.is_empty()
    }

    fn store(&mut self, decided: Decided, commit: &mut Commit) {
        let storing = Storing::new(decided);
        commit.memory.gathered(0, storing.memory);
        self.storing.push_back(storing);
    }

    /// A session whose message is on its way into the log has no client any more.
    pub(super) fn abandon_storing(&mut self, session: ConnectionId, commit: &mut Commit) {
        let place = self.storing.iter().position(|storing| storing.session == session);
        if let Some(storing) = place.and_then(|place| self.storing.remove(place)) {
            commit.memory.gathered(storing.memory, 0);
            commit.abandon(storing.message.id);
        }
    }
}

impl Shard {
    /// Let messages go on that are being filtered, and act on what was decided.
    pub(in crate::shard) fn filter<P: Platform>(&mut self, platform: &mut P) {
        let now = platform.now();
        let cx = &mut Context { now, platform, settings: &self.settings, common: &mut self.common };
        self.filters.drive(&mut self.commit, cx);
        while let Some(decided) = self.filters.poll_decided() {
            self.act_on(decided, platform);
        }
        self.store_filtered(platform);
    }

    /// Store a message, or answer its client.
    fn act_on<P: Platform>(&mut self, decided: Decided, platform: &mut P) {
        let (session, id) = (decided.session, decided.message.id);
        let refusal = match &decided.decision {
            Decision::Accept => return self.filters.store(decided, &mut self.commit),
            Decision::Hold => {
                self.tell(Kind::Quarantined, &decided, None, platform);
                return self.filters.store(decided, &mut self.commit);
            }
            Decision::Refuse(reply) => {
                self.tell(Kind::Refused, &decided, Some(reply), platform);
                Some(Answer::from(reply.clone()))
            }
            Decision::Discard => {
                self.tell(Kind::Discarded, &decided, None, platform);
                None
            }
        };
        let (now, commit) = (platform.now(), &mut self.commit);
        let cx = &mut Context { now, platform, settings: &self.settings, common: &mut self.common };
        match refusal {
            Some(answer) => self.ingress.refuse(session, id, answer, commit, cx),
            None => self.ingress.answered(session, Answer::stored(id), commit, cx),
        }
    }

    fn store_filtered<P: Platform>(&mut self, platform: &mut P) {
        let now = platform.now();
        let cx = &mut Context { now, platform, settings: &self.settings, common: &mut self.common };
        let mut room = CONTENT_BURST;
        while let Some(first) = self.filters.storing.front_mut() {
            let bytes = first.pieces.last().map_or(0, Vec::len);
            if self.commit.is_pressed() || bytes > room {
                return;
            }
            room -= bytes;
            let put = first.put_one(&mut self.commit);
            if matches!(put, Ok(Put::More)) {
                continue;
            }
            let Some(storing) = self.filters.storing.pop_front() else { return };
            self.commit.memory.gathered(storing.memory, 0);
            let Storing { session, message, held, signing, .. } = storing;
            match put {
                Ok(_) => {
                    let finish = |one: Signing| one.finish(cx.now.wall);
                    let unsigned = signing.map_or_else(Unsigned::default, finish);
                    let (from, commit) = (From::session(session, held), &mut self.commit);
                    self.ingress.sign_and_store(session, (message, unsigned), from, commit, cx);
                }
                Err(error) => {
                    let (answer, commit) = (answer_to(error), &mut self.commit);
                    self.ingress.refuse(session, message.id, answer, commit, cx);
                }
            }
        }
    }

    /// Tell what milters had happen to each recipient of a message.
    fn tell<P: Platform>(
        &mut self,
        kind: Kind,
        decided: &Decided,
        reply: Option<&Reply>,
        platform: &mut P,
    ) {
        let now = platform.now();
        let cx = &mut Context { now, platform, settings: &self.settings, common: &mut self.common };
        let message = &decided.message;
        let stored = message.as_stored(decided.letter.bytes() as u64);
        let due_to = decided.due_to.as_ref();
        let (milter, reason) = due_to.map_or(("", ""), |(milter, why)| (&**milter, why.as_str()));
        let said = reply.map_or(Said::Words(reason), Said::Answered);
        for recipient in (0u16..).take(stored.envelope.recipients.len()) {
            let attempt = Attempt { milter, ..Attempt::default() };
            self.home.journal.tell(kind, &stored, recipient, attempt, said, cx);
        }
    }
}
