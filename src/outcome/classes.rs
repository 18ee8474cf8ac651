//! Say what kind of refusal a reply is: why a recipient waits or bounced, in few, standard classes.
//!
//! In: what an attempt came to; rules. Out: a [`Class`] and the rule that says so. Invariant: rules
//! are tried in order, an operator's own before those that are shipped, and the first that fits
//! counts; what a peer says is looked at for `CLASS_TEXT_MAX` octets, in time that grows with them
//! alone, whatever the rules. Lives on: all shards, shared; a reload makes another.
//!
//! Replies are written for people, and their codes are often wrong (`5.7.1` is whatever somebody's
//! policy is, `5.1.1` an unknown user or a full mailbox). So words go before codes where the words
//! are telling; `classes/shipped.toml` has the rules, with where their words come from.

mod rules;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use regex::{RegexSet, RegexSetBuilder};

use crate::base::limits::{CLASS_RULES_BYTES_MAX, CLASS_TEXT_MAX};
use crate::base::text::head;
use crate::mail::outcome::{Reason, Stage};
use crate::mail::status::EnhancedStatus;
use crate::outcome::classes::rules::Rule;

pub use crate::mail::class::Class;
pub use rules::RulesError;

/// The rules that come with the program.
pub const SHIPPED: &str = include_str!("classes/shipped.toml");

/// What is known of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The peer's reply code; `None` where no peer spoke.
    pub code: Option<u16>,
    /// The status, if there is one.
    pub status: Option<EnhancedStatus>,
    /// The peer's words, or ours.
    pub text: &'a str,
    /// Who said so, as `mx1.example.net[192.0.2.1]:25`.
    pub peer: &'a str,
}

impl<'a> Refusal<'a> {
    /// What an attempt came to.
    pub fn of(reason: &'a Reason) -> Self {
        let (code, text) = match &reason.reply {
            Some(reply) => (Some(reply.code.as_u16()), &*reply.text),
            None => (None, &*reason.detail),
        };
        Self { code, status: Some(reason.status), text, peer: &reason.peer }
    }
}

/// A class, and what says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'r> {
    /// The class.
    pub class: Class,
    /// The name of the rule; `None` where none fits.
    pub rule: Option<&'r str>,
}

/// The rules, ready for use.
#[derive(Debug)]
pub struct Classifier {
    rules: Vec<Rule>,
    /// All patterns of words; each belongs to the rule at its place in `words_of`.
    words: RegexSet,
    words_of: Vec<usize>,
    /// The same of peers.
    peers: RegexSet,
    peers_of: Vec<usize>,
}

impl Classifier {
    /// By the shipped rules alone; made once.
    pub fn shipped() -> Arc<Self> {
        static SHIPPED: OnceLock<Arc<Classifier>> = OnceLock::new();
        let new = || Arc::new(Self::new(None).expect("a test reads the shipped rules"));
        SHIPPED.get_or_init(new).clone()
    }

    /// By rules of an operator's, if there are any, and then the shipped ones.
    pub fn new(own: Option<&str>) -> Result<Self, RulesError> {
        let mut all = own.map_or_else(|| Ok(Vec::new()), rules::read)?;
        all.extend(rules::read(SHIPPED)?);
        let (mut words, mut words_of) = (Vec::new(), Vec::new());
        let (mut peers, mut peers_of) = (Vec::new(), Vec::new());
        for (place, rule) in all.iter_mut().enumerate() {
            for pattern in std::mem::take(&mut rule.words) {
                words.push(pattern);
                words_of.push(place);
            }
            for pattern in std::mem::take(&mut rule.peers) {
                peers.push(pattern);
                peers_of.push(place);
            }
        }
        let set = |patterns: &[String]| {
            let mut builder = RegexSetBuilder::new(patterns);
            builder.case_insensitive(true).size_limit(CLASS_RULES_BYTES_MAX).build()
        };
        let (words, peers) = (set(&words)?, set(&peers)?);
        Ok(Self { rules: all, words, words_of, peers, peers_of })
    }

    /// The class of what an attempt came to.
    pub fn class(&self, reason: &Reason) -> Class {
        match &reason.reply {
            Some(_) => self.find(&Refusal::of(reason)).class,
            None => unanswered(reason.stage, reason.status),
        }
    }

    /// The class of a refusal, and the rule that says so.
    pub fn find(&self, refusal: &Refusal<'_>) -> Found<'_> {
        let text = head(refusal.text, CLASS_TEXT_MAX);
        let hits = |set: &RegexSet, of: &[usize], text: &str| {
            let mut hit = vec![false; if of.is_empty() { 0 } else { self.rules.len() }];
            if !of.is_empty() {
                set.matches(text).iter().for_each(|pattern| hit[of[pattern]] = true);
            }
            hit
        };
        let words = hits(&self.words, &self.words_of, text);
        let peers = hits(&self.peers, &self.peers_of, head(refusal.peer, CLASS_TEXT_MAX));
        let is_hit = |hit: &[bool], place: usize| hit.get(place).copied().unwrap_or(false);
        let fits = |(place, rule): &(usize, &Rule)| {
            (!rule.has_words || is_hit(&words, *place))
                && (!rule.has_peers || is_hit(&peers, *place))
                && rule.fits(refusal.code, refusal.status)
        };
        let rule = self.rules.iter().enumerate().find(fits).map(|(_, rule)| rule);
        match rule {
            Some(rule) => Found { class: rule.class, rule: Some(&rule.name) },
            None => Found { class: Class::Other, rule: None },
        }
    }
}

/// Where no peer spoke: by how far it came, and our own status (`outcome::judge`).
fn unanswered(stage: Stage, status: EnhancedStatus) -> Class {
    match (status.subject, status.detail) {
        (1, 2 | 10) => Class::BadDomain,
        (4, 6) => Class::Routing,
        (4, 7) | (7, 0) => Class::GivenUp,
        (4, 4) if status.class == 5 => Class::Routing,
        (4, _) => Class::NoAnswer,
        (5, _) => Class::Protocol,
        (6, _) | (3, 4) => Class::Content,
        (7, 1) if stage == Stage::Route => Class::Suppressed,
        (7, 5 | 10 | 30) => Class::Tls,
        _ if stage == Stage::Tls => Class::Tls,
        _ => Class::Other,
    }
}
