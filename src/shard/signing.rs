//! Let messages wait for their signatures: one operation with a private key a turn.
//!
//! In: messages that are complete but for their signatures. Out: the same, with the fields in their
//! prefix, to be appended. Invariant: a turn makes one signature at most, so that what other
//! sessions are told waits for no more than one; messages come out in the order they came in.
//! Lives on: each shard, before its log.

use std::collections::VecDeque;

use crate::outcome::counters::Count;
use crate::policy::signing::{SigningFailed, Unsigned};
use crate::shard::Shard;
use crate::shard::commit::{Commit, From, InMemory};
use crate::shard::context::Context;
use crate::shard::platform::Platform;
use crate::spool::log::LogError;
use crate::spool::stored::NewMessage;

/// Messages that wait for their signatures; at most one of each session, and DSNs.
#[derive(Debug, Default)]
pub(crate) struct SigningQueue(VecDeque<Job>);

#[derive(Debug)]
struct Job {
    message: NewMessage,
    unsigned: Unsigned,
    from: From,
}

impl Job {
    /// Octets of memory that it holds until it is in the log's hands.
    fn memory(&self) -> usize {
        self.message.content.capacity() + self.unsigned.memory()
    }
}

/// A message that has its signatures, or cannot have them.
#[derive(Debug)]
struct Signed {
    message: NewMessage,
    made: Result<(), SigningFailed>,
    from: From,
}

impl SigningQueue {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Commit {
    /// As [`Commit::message`], once the message has been signed.
    pub(crate) fn sign_and_store(
        &mut self,
        message: NewMessage,
        unsigned: Unsigned,
        from: From,
        cx: &Context<'_, impl Platform>,
    ) -> Result<Option<InMemory>, (LogError, From)> {
        if unsigned.left() == 0 {
            return self.message(message, from, cx.mono());
        }
        let job = Job { message, unsigned, from };
        self.memory.gathered(0, job.memory());
        self.signing.0.push_back(job);
        Ok(None)
    }

    /// Make one signature. What comes out is a message that lacks no other, or cannot be signed.
    fn sign_one<P: Platform>(&mut self, cx: &mut Context<'_, P>) -> Option<Signed> {
        let job = self.signing.0.front_mut()?;
        let before = job.memory();
        let made = job.unsigned.sign_one();
        self.memory.gathered(before, job.memory());
        let count = if made.is_ok() { Count::Signatures } else { Count::SignaturesFailed };
        cx.common.counters.increment(count);
        if made.is_ok() && job.unsigned.left() > 0 {
            return None;
        }
        let job = self.signing.0.pop_front()?;
        self.memory.gathered(job.memory(), 0);
        let Job { mut message, unsigned, from } = job;
        if made.is_ok() {
            message.prefix.extend_from_slice(&unsigned.into_fields());
        }
        Some(Signed { message, made, from })
    }
}

impl Shard {
    /// Make the next signature, if one is to be made.
    pub(super) fn sign<P: Platform>(&mut self, platform: &mut P) {
        if self.commit.signing.is_empty() {
            return;
        }
        let now = platform.now();
        let cx = &mut Context { now, platform, settings: &self.settings, common: &mut self.common };
        let Some(Signed { message, made, from }) = self.commit.sign_one(cx) else { return };
        match from {
            From::Session(connection) | From::Held(connection, _) => {
                self.ingress.signed(connection, message, made, from, &mut self.commit, cx);
            }
            From::Dsn(about) => {
                // What we say of mail is better said unsigned than not at all.
                self.home.store_dsn(message, about, &mut self.commit, cx);
            }
            From::Control(request) => self.store_submitted(message, made, request, platform),
            From::Answered => unreachable!("nothing is promised before it is signed"),
        }
    }
}
