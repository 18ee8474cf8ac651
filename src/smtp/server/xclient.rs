//! Let a trusted client speak for the one behind it: XCLIENT, and the session that begins again.
//!
//! Invariant: what the client was and had shown for itself is gone with a XCLIENT that is taken;
//! from the EHLO behind it on the session is that of the one behind, who may say no XCLIENT: a
//! proxy may pass on whatever that one says.

use crate::base::time::Monotonic;
use crate::smtp::answer::Answer;
use crate::smtp::phase::Phase;
use crate::smtp::server::{Event, Question, Session, Step};
use crate::smtp::xclient::Attributes;

/// Whom a session is for.
#[derive(Debug, Default)]
pub(super) struct Behind {
    stage: Stage,
    attributes: Attributes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The client itself.
    #[default]
    Own,
    /// The client itself, as yet.
    Offered,
    /// For the one that was spoken of; more may be said.
    Spoken,
    /// For the one that was spoken of.
    Ended,
}

impl Behind {
    /// Whether XCLIENT is on offer.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Offered | Stage::Spoken)
    }

    /// What is against XCLIENT, whatever its arguments.
    pub(super) fn refusal(&self) -> Option<Answer> {
        (!self.is_open()).then_some(Answer::NO_PROXY)
    }

    /// EHLO or HELO was said.
    pub(super) fn end(&mut self) {
        if self.stage == Stage::Spoken {
            self.stage = Stage::Ended;
        }
    }

    /// What was said of the client was said in clear.
    pub(super) fn forget(&mut self) {
        self.attributes = Attributes::default();
    }

    pub(super) fn hello(&self) -> Option<&str> {
        self.attributes.hello.as_deref()
    }

    pub(super) fn is_esmtp(&self) -> Option<bool> {
        self.attributes.esmtp
    }
}

impl Session {
    /// Offer XCLIENT: this client is trusted to say for whom it connects.
    pub fn offer_xclient(&mut self) {
        self.behind.stage = Stage::Offered;
    }

    /// Whether the session is for another than the client that connected.
    pub fn is_presented(&self) -> bool {
        matches!(self.behind.stage, Stage::Spoken | Stage::Ended)
    }

    /// What [`Event::Presented`] asks about.
    pub fn presented(&self) -> Option<&Attributes> {
        let Step::Asked(Question::Presented(attributes)) = &self.step else { return None };
        Some(attributes)
    }

    pub(super) fn on_xclient(&mut self, arguments: &str, now: Monotonic) {
        match Attributes::parse(arguments) {
            Some(attributes) => {
                self.ask(Question::Presented(Box::new(attributes)), Event::Presented);
            }
            None => self.refuse(&Answer::SYNTAX, now),
        }
    }

    /// The session is that of the one behind: it is greeted.
    pub(super) fn begin_again(&mut self, attributes: Attributes, now: Monotonic) {
        let known = std::mem::take(&mut self.behind.attributes).and(attributes);
        self.claimed = known.login.clone().flatten();
        self.authenticated = self.claimed.is_some();
        self.behind = Behind { stage: Stage::Spoken, attributes: known };
        (self.phase, self.hello) = (Phase::Connected, None);
        self.greet();
        self.await_command(now);
    }
}
