//! Find out what SPF (RFC 7208) says of a client, without a message of its.
//!
//! In: a session as it could be; answers of name servers. Out: questions to them; in the end the
//! result. Bounded as in a message's verification. Lives on: whoever asks.

use std::sync::Arc;

use mail_auth::spf::verify::SpfParameters;
use mail_auth::{SpfOutput, SpfResult};

use crate::base::limits::VERIFY_PASSES_MAX;
use crate::dns::{Answer, Question};
use crate::policy::authenticity::known::Known;
use crate::policy::authenticity::{Session, Verifier, once, parameters};

/// What SPF says of a client (RFC 7208 §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spf {
    /// It may send for the domain.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// The domain does not say.
    Neutral,
    /// The domain has no record.
    None,
    /// Nobody knows now.
    TempError,
    /// There is a record, or more, and it is not right.
    PermError,
}

impl Spf {
    /// The word of RFC 7208.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::None => "none",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl From<SpfResult> for Spf {
    fn from(result: SpfResult) -> Self {
        match result {
            SpfResult::Pass => Self::Pass,
            SpfResult::Fail => Self::Fail,
            SpfResult::SoftFail => Self::SoftFail,
            SpfResult::Neutral => Self::Neutral,
            SpfResult::None => Self::None,
            SpfResult::TempError => Self::TempError,
            SpfResult::PermError => Self::PermError,
        }
    }
}

/// A check under way.
#[derive(Debug)]
pub struct SpfCheck {
    verifier: Arc<Verifier>,
    session: Session,
    known: Known,
    passes: u32,
}

/// How far it has come.
#[derive(Debug, PartialEq, Eq)]
pub enum SpfProgress {
    /// These are to be asked; none twice.
    Ask(Vec<Question>),
    /// Nothing is left to be asked.
    Done(Spf),
}

impl SpfCheck {
    /// Of the reverse-path of `session`, or where that is null, of what it said in EHLO.
    pub fn new(verifier: Arc<Verifier>, session: Session) -> Self {
        let known = Known::new(session.client.to_canonical());
        Self { verifier, session, known, passes: 0 }
    }

    /// A name server has answered, or nobody could.
    pub fn handle_answer(&mut self, answer: &Arc<Answer>) {
        self.known.learn(answer);
    }

    /// Whatever is not known by now will not be.
    pub fn give_up(&mut self) {
        self.known.close();
    }

    /// Go through the check by what is known. To be called again when the questions are answered.
    pub fn advance(&mut self) -> SpfProgress {
        self.passes += 1;
        if self.passes >= VERIFY_PASSES_MAX {
            self.known.close();
        }
        let output = evaluate(&self.verifier, &self.session, &self.known);
        let questions = self.known.take_questions();
        if questions.is_empty() {
            SpfProgress::Done(output.result().into())
        } else {
            SpfProgress::Ask(questions)
        }
    }
}

//= RFC 7208 §4.6.4
//# SPF implementations SHOULD limit "void lookups" to two.
/// What SPF says of `session` by what is known.
pub(super) fn evaluate(verifier: &Verifier, session: &Session, known: &Known) -> SpfOutput {
    let Session { client, hello, reverse_path, hostname } = session;
    let host = hostname.as_str();
    let asked = match reverse_path.is_empty() {
        true => SpfParameters::verify_ehlo(*client, hello, host),
        false => SpfParameters::verify_mail_from(*client, hello, host, reverse_path),
    };
    known.begin_spf();
    let output = once(verifier.0.verify_spf(parameters(asked, known)));
    let output = output.unwrap_or_else(|| SpfOutput::new(String::new()));
    match known.end_spf() {
        Some(result) if output.result() != SpfResult::None => output.with_result(result),
        Some(_) | None => output,
    }
}
