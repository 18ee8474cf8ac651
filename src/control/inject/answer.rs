//! What whoever hands in mail is told: of each recipient, and all in all.
//!
//! A refusal says what SMTP would say, and means the same: 4yz to come again with it, 5yz never.

use serde::{Deserialize, Serialize};

use crate::control::inject::request::Wrong;
use crate::mail::status::{Reply, Severity};

/// What came of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// As HTTP says it: 200 where some recipient was accepted; 503: all may be sent again; else
    /// 4xx.
    pub status: u16,
    /// Why nothing of it was looked at, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Recipients whose message is on stable storage.
    pub accepted: usize,
    /// Those whose is not.
    pub refused: usize,
    /// Each, in the order of the request.
    pub recipients: Vec<Told>,
}

/// What came of a recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// As it was written.
    pub to: String,
    /// The message that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why it has none: a reply of SMTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// Whether it may be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temporary: Option<bool>,
}

impl Told {
    pub(super) fn stored(to: String, id: String) -> Self {
        Self { to, id: Some(id), ..Self::default() }
    }

    pub(super) fn refused(to: String, reply: &Reply) -> Self {
        let temporary = Some(reply.code.severity() == Severity::Transient);
        Self { to, reply: Some(reply.to_string()), temporary, ..Self::default() }
    }
}

impl Outcome {
    /// Of what came of each recipient.
    pub(super) fn new(recipients: Vec<Told>) -> Self {
        let accepted = recipients.iter().filter(|told| told.id.is_some()).count();
        let refused = recipients.len() - accepted;
        let is_temporary = recipients.iter().any(|told| told.temporary == Some(true));
        let status = match (accepted, is_temporary) {
            (1.., _) => 200,
            (0, true) => 503,
            (0, false) => 422,
        };
        Self { status, error: None, accepted, refused, recipients }
    }

    /// Of a request that is refused whole.
    pub(super) fn wrong(Wrong(status, words): Wrong) -> Self {
        Self { status, error: Some(words), ..Self::default() }
    }

    /// Of several requests together.
    pub(super) fn status_of(all: &[Self]) -> u16 {
        let has = |status: u16| all.iter().any(|one| one.status == status);
        [200, 503]
            .into_iter()
            .find(|status| has(*status))
            .unwrap_or_else(|| all.iter().map(|one| one.status).min().unwrap_or(422))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::answer::Answer;

    fn told(answer: Option<Answer>) -> Told {
        match answer {
            None => Told::stored("a@a.example".to_owned(), "1".to_owned()),
            Some(answer) => Told::refused("a@a.example".to_owned(), &answer.into()),
        }
    }

    #[test]
    fn a_status_means_what_replies_mean() {
        let (busy, never) = (Some(Answer::TENANT_OUTRAN), Some(Answer::BAD_RECIPIENT));
        for (answers, status) in [
            (vec![None, None], 200),
            (vec![None, busy.clone(), never.clone()], 200),
            (vec![busy.clone(), never.clone()], 503),
            (vec![never.clone()], 422),
        ] {
            let outcome = Outcome::new(answers.iter().cloned().map(told).collect());
            assert_eq!(outcome.status, status, "{answers:?}");
        }
        let told = told(busy);
        assert_eq!(told.temporary, Some(true));
        assert!(told.reply.is_some_and(|reply| reply.starts_with("452 4.3.1 ")));
        let with = |status| Outcome { status, ..Outcome::default() };
        for (all, status) in
            [(vec![422, 200], 200), (vec![422, 503, 403], 503), (vec![422, 403], 403)]
        {
            assert_eq!(Outcome::status_of(&all.into_iter().map(with).collect::<Vec<_>>()), status);
        }
    }
}
