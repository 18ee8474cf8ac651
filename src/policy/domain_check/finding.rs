//! What a check of a domain comes to: findings, each with the records that would help.

use std::fmt;

use crate::policy::zone::Record;

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// All is right.
    Pass,
    /// Worth knowing; neither right nor wrong.
    Info,
    /// Mail is taken, and something is worse than it should be.
    Warn,
    /// Nobody could say: a name server is silent or fails. Shown as a warning.
    Unchecked,
    /// Mail is refused or believed less for this.
    Fail,
}

impl Status {
    /// The word that people and programs read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Unchecked => "unchecked",
            Self::Fail => "fail",
        }
    }
}

/// What is looked at, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Hosts that take its mail.
    Mx,
    /// The EHLO name of a source leads to its address.
    Address,
    /// The address of a source leads to a name and back.
    Ptr,
    /// Sources may send for it.
    Spf,
    /// The keys that sign here are published.
    Dkim,
    /// What receivers are asked to do with mail that is not its own.
    Dmarc,
    /// TLS to its MX hosts by a policy.
    MtaSts,
    /// Where failures of TLS are told.
    TlsRpt,
    /// TLS to its MX hosts by signed DNS.
    Dane,
    /// Its logo.
    Bimi,
}

impl Topic {
    /// The word that people and programs read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mx => "mx",
            Self::Address => "address",
            Self::Ptr => "ptr",
            Self::Spf => "spf",
            Self::Dkim => "dkim",
            Self::Dmarc => "dmarc",
            Self::MtaSts => "mta-sts",
            Self::TlsRpt => "tls-rpt",
            Self::Dane => "dane",
            Self::Bimi => "bimi",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub topic: Topic,
    /// The name or address that it is about.
    pub of: Box<str>,
    /// What it means.
    pub status: Status,
    /// What was found, in one line of printable ASCII.
    pub found: String,
    /// Where it is written that it should be otherwise, or so.
    pub reference: &'static str,
    /// What to publish so that this passes.
    pub publish: Vec<Record>,
    /// Whether these replace all records of their names and types that say the same kind of thing.
    pub replaces: bool,
    /// What to serve by HTTPS besides.
    pub serve: Option<Served>,
}

/// A text that a web server is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Where.
    pub url: String,
    /// All of it.
    pub text: String,
}

impl Finding {
    /// Without records. What others wrote into DNS is made printable here.
    pub(super) fn new(
        topic: Topic,
        of: impl fmt::Display,
        status: Status,
        found: impl AsRef<str>,
        reference: &'static str,
    ) -> Self {
        Self {
            topic,
            of: of.to_string().into(),
            status,
            found: printable(found.as_ref()),
            reference,
            publish: Vec::new(),
            replaces: false,
            serve: None,
        }
    }

    /// With records to add.
    #[must_use]
    pub(super) fn add(mut self, records: impl IntoIterator<Item = Record>) -> Self {
        self.publish.extend(records);
        self
    }

    /// With a record to have instead of what is there.
    #[must_use]
    pub(super) fn instead(mut self, record: Record) -> Self {
        self.publish.push(record);
        self.replaces = true;
        self
    }
}

/// What a whole check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of this domain.
    pub domain: Box<str>,
    /// In the order of their topics.
    pub findings: Vec<Finding>,
}

/// The sum of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing fails.
    Well,
    /// Something fails.
    Failed,
    /// Nothing fails, and something could not be checked.
    Unchecked,
}

impl Verdict {
    /// The word that programs read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Failed => "failed",
            Self::Unchecked => "unchecked",
        }
    }
}

impl Report {
    /// The sum: what fails goes before what could not be checked.
    pub fn verdict(&self) -> Verdict {
        match self.findings.iter().map(|finding| finding.status).max() {
            Some(Status::Fail) => Verdict::Failed,
            Some(Status::Unchecked) => Verdict::Unchecked,
            Some(Status::Warn | Status::Info | Status::Pass) | None => Verdict::Well,
        }
    }

    /// Why it fails, in one line; `None` where it does not.
    pub fn failure(&self) -> Option<String> {
        let failing = self.findings.iter().filter(|finding| finding.status == Status::Fail);
        let why: Vec<String> = failing
            .map(|finding| format!("{} {}: {}", finding.topic.as_str(), finding.of, finding.found))
            .collect();
        (!why.is_empty()).then(|| why.join("; "))
    }
}

/// Nothing that a terminal or a log would take for more than text.
fn printable(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}
