//! What is known of DNS so far, and what is still wanted.
//!
//! Whoever looks for an answer that is not there has asked for it by that. Invariant: nothing is
//! wanted twice, and no more than `CHECK_QUESTIONS_MAX`; beyond, and once closed, what is not known
//! could not be checked.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::base::limits::CHECK_QUESTIONS_MAX;
use crate::dns::{Answer, Finding, Kind, Name, Question, Records};
use crate::policy::domain_check::{PolicyTrouble, PolicyWanted, Want};

/// Answers.
#[derive(Debug, Default)]
pub(super) struct Known {
    answers: HashMap<Question, Arc<Answer>>,
    policy: Option<Result<Box<str>, PolicyTrouble>>,
    wanted: RefCell<Vec<Want>>,
    asked: RefCell<HashSet<Question>>,
    policy_asked: Cell<bool>,
    closed: Cell<bool>,
}

/// What is known of a question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'a> {
    Known(&'a Arc<Answer>),
    /// The answer is still to come.
    Pending,
    /// It is not to come: why.
    Never(&'static str),
}

/// What is known of a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen<'a> {
    /// It has records; whether DNSSEC vouches for that.
    Records(&'a Records, bool),
    /// It has none of this kind.
    Nothing,
    /// There is no such name.
    NoName,
    /// Nobody can say: why.
    Unknown(&'a str),
}

/// Addresses of a host.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    pub(super) all: Vec<IpAddr>,
    /// Whether DNSSEC vouches for all that is known of them.
    pub(super) vouched: bool,
    /// Why some may be missing.
    pub(super) unknown: Option<String>,
}

const IN_VAIN: &str = "not answered in time";
const TOO_MANY: &str = "more questions than one check may ask";

impl Known {
    pub(super) fn learn(&mut self, answer: &Arc<Answer>) {
        self.answers.insert(answer.question.clone(), answer.clone());
    }

    pub(super) fn learn_policy(&mut self, policy: Result<Box<str>, PolicyTrouble>) {
        self.policy = Some(policy);
    }

    /// Want nothing more.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.wanted.borrow_mut().clear();
    }

    /// What came up since this was last called.
    pub(super) fn take_wanted(&self) -> Vec<Want> {
        self.wanted.take()
    }

    /// The answer to a question; where it is not known, it is wanted now.
    pub(super) fn find(&self, question: &Question) -> Found<'_> {
        if let Some(answer) = self.answers.get(question) {
            return Found::Known(answer);
        }
        if self.closed.get() {
            return Found::Never(IN_VAIN);
        }
        let mut asked = self.asked.borrow_mut();
        if asked.contains(question) {
            return Found::Pending;
        }
        if asked.len() >= CHECK_QUESTIONS_MAX {
            return Found::Never(TOO_MANY);
        }
        asked.insert(question.clone());
        self.wanted.borrow_mut().push(Want::Answer(question.clone()));
        Found::Pending
    }

    /// What is known of a name; `None` where the answer is still to come.
    pub(super) fn see(&self, name: &Name, kind: Kind) -> Option<Seen<'_>> {
        let answer = match self.find(&Question { name: name.clone(), kind }) {
            Found::Known(answer) => answer,
            Found::Pending => return None,
            Found::Never(why) => return Some(Seen::Unknown(why)),
        };
        Some(match &answer.finding {
            Finding::Records(records) => Seen::Records(records, answer.authenticated),
            Finding::NoRecords => Seen::Nothing,
            Finding::NoSuchName => Seen::NoName,
            Finding::Temporary(reason) => Seen::Unknown(reason),
        })
    }

    /// The text records of a name that may be none: none are there then. Or why nobody knows.
    pub(super) fn texts(&self, name: &str) -> Option<Result<Vec<&[u8]>, &str>> {
        let Ok(name) = Name::parse(name) else { return Some(Ok(Vec::new())) };
        Some(match self.see(&name, Kind::Txt)? {
            Seen::Records(Records::Txt(texts), _) => Ok(texts.iter().map(|it| &**it).collect()),
            Seen::Records(..) | Seen::Nothing | Seen::NoName => Ok(Vec::new()),
            Seen::Unknown(reason) => Err(reason),
        })
    }

    /// The addresses of a host, of both families.
    pub(super) fn addresses(&self, host: &Name) -> Option<Addresses> {
        let both = [self.see(host, Kind::A), self.see(host, Kind::Aaaa)];
        let mut addresses = Addresses { all: Vec::new(), vouched: true, unknown: None };
        for seen in both {
            match seen? {
                Seen::Records(Records::A(v4), vouched) => {
                    addresses.all.extend(v4.iter().map(|&one| IpAddr::V4(one)));
                    addresses.vouched &= vouched;
                }
                Seen::Records(Records::Aaaa(v6), vouched) => {
                    addresses.all.extend(v6.iter().map(|&one| IpAddr::V6(one)));
                    addresses.vouched &= vouched;
                }
                Seen::Records(..) | Seen::Nothing | Seen::NoName => {}
                Seen::Unknown(reason) => addresses.unknown = Some(reason.to_owned()),
            }
        }
        addresses.vouched &= !addresses.all.is_empty();
        Some(addresses)
    }

    /// The policy that is served, if that is known; else it is wanted now.
    pub(super) fn policy(&self, wanted: PolicyWanted) -> Option<Result<&str, PolicyTrouble>> {
        if let Some(policy) = &self.policy {
            return Some(policy.as_deref().map_err(Clone::clone));
        }
        if self.closed.get() {
            return Some(Err(PolicyTrouble::Unknown(IN_VAIN.into())));
        }
        if !self.policy_asked.replace(true) {
            self.wanted.borrow_mut().push(Want::Policy(wanted));
        }
        None
    }
}
