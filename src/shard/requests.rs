//! Answer the control thread: each request once.
//!
//! In: requests. Out: answers, at once, piece by piece, or once a commit has ended. Lives on: each
//! shard.

use crate::base::limits::RECORD_CONTENT_MAX;
use crate::egress::shaping::status::{Order, Verb};
use crate::mail::address::ReversePath;
use crate::mail::envelope::{Envelope, Recipient};
use crate::policy::signing::SigningFailed;
use crate::shard::Shard;
use crate::shard::commands::{Answer, Command, Submission};
use crate::shard::commit::{Commit, From, InMemory};
use crate::shard::context::Context;
use crate::shard::mesh::Request;
use crate::shard::notices::unsigned;
use crate::shard::platform::Platform;
use crate::shard::refusals::answer_to;
use crate::smtp::answer as smtp;
use crate::spool::log::{LogError, Refusal, Room};
use crate::spool::stored::NewMessage;

impl Shard {
    /// Answer `request`, or see that it will be answered.
    pub(super) fn answer<P: Platform>(&mut self, request: Request, platform: &mut P) {
        match &request.command {
            Command::Snapshot => {
                let snapshot = self.snapshot(platform);
                request.answer(Answer::Snapshot(Box::new(snapshot)));
            }
            Command::Waits(id) => {
                let waits = self.delivery.waits(*id);
                request.answer(Answer::Waits(waits));
            }
            Command::Sites { most } => {
                let now = platform.now().mono;
                let standings = self.delivery.standings(*most, &self.settings, now);
                request.answer(Answer::Sites(Box::new(standings)));
            }
            Command::Trace { domain, after } => {
                let now = platform.now().mono;
                let answer = match self.common.traces.watch(domain, *after, now) {
                    Some(page) => Answer::Trace(Box::new(page)),
                    None => Answer::Failed("as many domains are traced as may be".into()),
                };
                request.answer(answer);
            }
            Command::TlsSessions => {
                let tally = self.common.tls_sessions.take();
                request.answer(Answer::TlsSessions(Box::new(tally)));
            }
            Command::Shaping(order) => {
                let answer = self.shaping(order, platform);
                request.answer(answer);
            }
            Command::Visited(visits) => {
                let now = platform.now();
                let (settings, common) = (&self.settings, &mut self.common);
                let cx = &mut Context { now, platform, settings, common };
                visits.iter().for_each(|visit| self.home.journal.tell_visit(visit, cx));
                let told = visits.len() as u64;
                request.answer(Answer::Changed(told));
            }
            Command::Submit(_) => self.submit(request, platform),
            Command::Inject(_) => self.inject(request, platform),
            Command::Show(id)
                if self.recovering.may_find(*id) && self.home.queue.show(*id).is_none() =>
            {
                let words = "the spool is being recovered and the message may be in it: ask again";
                request.answer(Answer::Failed(words.into()));
            }
            Command::List { .. }
            | Command::Show(_)
            | Command::Stats { .. }
            | Command::Campaigns(_)
            | Command::Flush(_)
            | Command::Hold(_)
            | Command::Release(_)
            | Command::Remove(_) => {
                self.operations.start(request, &mut self.home, &mut self.commit);
            }
        }
    }

    /// How sources stand at sites, after what is to be otherwise is so.
    fn shaping<P: Platform>(&mut self, order: &Order, platform: &P) -> Answer {
        if self.settings.shaping.is_none() {
            return Answer::Failed("nothing is shaped: set `file` in [shaping]".into());
        }
        let rows = self.shared.sites.outlets.order(order, platform.now().mono);
        if order.verb != Verb::Status {
            self.delivery.stir_all();
        }
        Answer::Shaping(rows)
    }

    /// Take a message of this node's own. What is sent to a shard that drains is refused: it could
    /// leave before the message is stored.
    fn submit<P: Platform>(&mut self, request: Request, platform: &mut P) {
        let Command::Submit(submission) = &request.command else { return };
        if self.drain.is_some() || self.commit.admission() != Room::Open {
            return request.answer(Answer::Failed("no message is taken now".into()));
        }
        let now = platform.now();
        let cx = &mut Context { now, platform, settings: &self.settings, common: &mut self.common };
        let unsigned = unsigned(&submission.content, cx);
        let (message, ahead) = message(submission, &mut self.commit, cx);
        let id = message.id;
        let mut chunks = ahead.into_iter();
        let stored = match chunks.try_for_each(|chunk| self.commit.content(id, chunk)) {
            Ok(()) => {
                self.commit.sign_and_store(message, unsigned, From::Control(Box::new(request)), cx)
            }
            Err(error) => {
                self.commit.abandon(id);
                Err((error, From::Control(Box::new(request))))
            }
        };
        answer_refused(stored);
    }

    /// Store a message of the control thread's that has been signed, or cannot be: what we say
    /// ourselves is better said unsigned than not at all, the mail of others is not.
    pub(super) fn store_submitted<P: Platform>(
        &mut self,
        message: NewMessage,
        made: Result<(), SigningFailed>,
        request: Box<Request>,
        platform: &P,
    ) {
        if let (Err(error), Command::Inject(_)) = (made, &request.command) {
            tracing::error!(id = %message.id, %error, "not signed, so not taken");
            self.commit.abandon(message.id);
            return request.answer(Answer::Refused(smtp::Answer::NOT_STORED.into()));
        }
        let now = platform.now().mono;
        answer_refused(self.commit.message(message, From::Control(request), now));
    }
}

pub(super) fn answer_refused(stored: Result<Option<InMemory>, (LogError, From)>) {
    if let Err((error, From::Control(request))) = stored {
        let answer = match is_injection(&request) {
            true => Answer::Refused(answer_to(error).into()),
            false => Answer::Failed(error.to_string().into()),
        };
        request.answer(answer);
    }
}

/// What is answered where the log could not store it.
pub(super) fn answer_unstored(request: Request, why: Refusal) {
    let answer = match (is_injection(&request), why) {
        (true, Refusal::Failed) => Answer::Refused(smtp::Answer::NOT_STORED.into()),
        (true, Refusal::Full) => Answer::Refused(smtp::Answer::NO_ROOM.into()),
        (false, why) => Answer::Failed(format!("not stored: {why:?}").into()),
    };
    request.answer(answer);
}

/// Whether whoever asks is told what a client of SMTP is told.
fn is_injection(request: &Request) -> bool {
    matches!(request.command, Command::Inject(_))
}

/// The message to be stored, and what of its content goes before its last chunk.
fn message<P: Platform>(
    submission: &Submission,
    commit: &mut Commit,
    cx: &Context<'_, P>,
) -> (NewMessage, Vec<Vec<u8>>) {
    let envelope = Envelope {
        tls: submission.tls,
        ..Envelope::plain(
            ReversePath(Some(submission.from.clone())),
            vec![Recipient::plain(submission.to.clone())],
        )
    };
    let mut chunks: Vec<_> =
        submission.content.chunks(RECORD_CONTENT_MAX).map(<[u8]>::to_vec).collect();
    let content = chunks.pop().unwrap_or_default();
    let (id, has_eight_bit) = (commit.next_id(), !submission.content.is_ascii());
    (NewMessage::own(id, envelope, content, has_eight_bit, cx.now.wall), chunks)
}
