//! Read rules: TOML, a `[[rule]]` each.
//!
//! ```toml
//! [[rule]]
//! class = "quota"
//! name = "full mailbox"           # shown by `relay-fast classify`
//! words = ['mailbox (is )?full']  # one of these is in the reply; case does not count
//! status = ["x.2.2", "5.2.x"]     # it has one of these, x is any number
//! codes = ["552", "4xx"]          # and one of these
//! peer = ['\.example\.net\[']     # and it comes from one of these
//! ```

use serde::Deserialize;

use crate::base::limits::{CLASS_PATTERN_MAX, CLASS_PATTERNS_MAX, CLASS_RULES_MAX};
use crate::mail::reply_pattern::ReplyPattern;
use crate::mail::status::EnhancedStatus;
use crate::outcome::classes::Class;

/// Why a text has no rules.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RulesError {
    /// It is no TOML of this form; the line is in it.
    #[error("{0}")]
    Form(String),
    /// A rule does not mean anything.
    #[error("rule {number} ({class}): {what}")]
    Rule {
        /// Counted from 1.
        number: usize,
        /// Its class.
        class: Class,
        /// What is wrong with it.
        what: String,
    },
    /// More than there may be.
    #[error("there are more than {CLASS_RULES_MAX} rules, or {CLASS_PATTERNS_MAX} patterns")]
    TooMany,
    /// A pattern is none, or too costly.
    #[error("a pattern cannot be used: {0}")]
    Pattern(#[from] regex::Error),
}

/// A rule. Its patterns are taken out of it, into one set of all.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) class: Class,
    pub(super) name: Box<str>,
    pub(super) words: Vec<String>,
    pub(super) has_words: bool,
    pub(super) peers: Vec<String>,
    pub(super) has_peers: bool,
    status: Vec<ReplyPattern>,
    codes: Vec<ReplyPattern>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Given>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    class: Class,
    name: Option<Box<str>>,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    peer: Vec<String>,
    #[serde(default)]
    status: Vec<String>,
    #[serde(default)]
    codes: Vec<String>,
}

impl Rule {
    /// Whether code and status are among those that it names, if it names any.
    pub(super) fn fits(&self, code: Option<u16>, status: Option<EnhancedStatus>) -> bool {
        (self.codes.is_empty() || self.codes.iter().any(|one| one.fits_code(code)))
            && (self.status.is_empty() || self.status.iter().any(|one| one.fits_status(status)))
    }
}

/// The rules that a text is.
pub(super) fn read(text: &str) -> Result<Vec<Rule>, RulesError> {
    let file: File =
        toml::from_str(text).map_err(|error| RulesError::Form(in_a_line(&error, text)))?;
    let patterns: usize = file.rule.iter().map(|one| one.words.len() + one.peer.len()).sum();
    if file.rule.len() > CLASS_RULES_MAX || patterns > CLASS_PATTERNS_MAX {
        return Err(RulesError::TooMany);
    }
    file.rule.into_iter().zip(1..).map(|(given, number)| rule(given, number)).collect()
}

fn in_a_line(error: &toml::de::Error, text: &str) -> String {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..at].iter().filter(|octet| **octet == b'\n').count() + 1;
    format!("line {line}: {}", error.message())
}

fn rule(given: Given, number: usize) -> Result<Rule, RulesError> {
    let Given { class, name, words, peer: peers, status, codes } = given;
    let wrong = |what: String| RulesError::Rule { number, class, what };
    if words.is_empty() && peers.is_empty() && status.is_empty() && codes.is_empty() {
        return Err(wrong("it fits everything: give it words, status, codes or peer".to_owned()));
    }
    for pattern in words.iter().chain(&peers) {
        if pattern.is_empty() || pattern.len() > CLASS_PATTERN_MAX {
            return Err(wrong(format!("a pattern has 1 to {CLASS_PATTERN_MAX} octets")));
        }
    }
    let all = |texts: &[String], read: fn(&str) -> Option<ReplyPattern>| {
        let read = |text: &String| read(text).ok_or_else(|| wrong(format!("`{text}` is no code")));
        texts.iter().map(read).collect::<Result<Vec<_>, _>>()
    };
    let name = name.unwrap_or_else(|| {
        let first = words.iter().chain(&status).chain(&codes).chain(&peers).next();
        first.map_or("", String::as_str).into()
    });
    Ok(Rule {
        class,
        name,
        has_words: !words.is_empty(),
        has_peers: !peers.is_empty(),
        status: all(&status, ReplyPattern::status)?,
        codes: all(&codes, ReplyPattern::code)?,
        words,
        peers,
    })
}
