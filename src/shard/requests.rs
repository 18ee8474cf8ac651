//! Answer the control thread: each request once.
//!
//! In: requests. Out: answers, at once, piece by piece, or once a commit has ended. Lives on: each
//! shard.

use crate::base::limits::RECORD_CONTENT_MAX;
use crate::egress::shaping::status::{Order, Verb};
use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::envelope::{BodyType, Envelope, Notify, Recipient};
use crate::shard::Shard;
use crate::shard::commands::{Answer, Command, Submission};
use crate::shard::commit::{Commit, From, InMemory};
use crate::shard::context::Context;
use crate::shard::mesh::Request;
use crate::shard::notices::unsigned;
use crate::shard::platform::Platform;
use crate::spool::log::{LogError, Room};
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
            Command::TlsSessions => {
                let tally = self.common.tls_sessions.take();
                request.answer(Answer::TlsSessions(Box::new(tally)));
            }
            Command::Shaping(order) => {
                let answer = self.shaping(order, platform);
                request.answer(answer);
            }
            Command::Submit(_) => self.submit(request, platform),
            Command::Show(id)
                if self.recovering.may_find(*id) && self.home.queue.show(*id).is_none() =>
            {
                let words = "the spool is being recovered and the message may be in it: ask again";
                request.answer(Answer::Failed(words.into()));
            }
            Command::List { .. }
            | Command::Show(_)
            | Command::Stats { .. }
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

    /// Store a message of this node's own that has been signed.
    pub(super) fn store_submitted<P: Platform>(
        &mut self,
        message: NewMessage,
        request: Box<Request>,
        platform: &P,
    ) {
        let now = platform.now().mono;
        answer_refused(self.commit.message(message, From::Control(request), now));
    }
}

fn answer_refused(stored: Result<Option<InMemory>, (LogError, From)>) {
    if let Err((error, From::Control(request))) = stored {
        request.answer(Answer::Failed(error.to_string().into()));
    }
}

/// The message to be stored, and what of its content goes before its last chunk.
fn message<P: Platform>(
    submission: &Submission,
    commit: &mut Commit,
    cx: &Context<'_, P>,
) -> (NewMessage, Vec<Vec<u8>>) {
    let envelope = Envelope {
        reverse_path: ReversePath(Some(submission.from.clone())),
        body_type: BodyType::SevenBit,
        smtp_utf8: false,
        tls: submission.tls,
        ret: None,
        envelope_id: None,
        handling: None,
        recipients: vec![Recipient {
            forward_path: ForwardPath::Mailbox(submission.to.clone()),
            notify: Notify::Default,
            original: None,
        }],
    };
    let mut chunks: Vec<_> =
        submission.content.chunks(RECORD_CONTENT_MAX).map(<[u8]>::to_vec).collect();
    let content = chunks.pop().unwrap_or_default();
    let (id, has_eight_bit) = (commit.next_id(), !submission.content.is_ascii());
    (NewMessage::own(id, envelope, content, has_eight_bit, cx.now.wall), chunks)
}
