//! Find out whether DNS says of a domain what it must, for mail that this node sends or takes.
//!
//! In: the domain, and what this node is to it ([`Subject`]); answers of name servers; the text of
//! an MTA-STS policy. Out: what is to be asked ([`Want`]); in the end a [`Report`], each finding
//! with the record to publish.
//! Invariant: the report depends on what is answered alone, not on the order; what is not answered
//! could not be checked, and is never taken for right or wrong. Lives on: whoever asks.
//!
//! All is gone through by what is known, which tells what else is to be asked; once that is
//! answered it is gone through again, until nothing is missing.

mod bimi;
mod dane;
mod dkim;
mod dmarc;
mod finding;
mod known;
mod mta_sts;
mod mx;
mod reports;
mod sources;
mod spf;
pub(super) mod tags;
#[cfg(test)]
mod tests;
mod tls_rpt;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashSet;

use crate::base::limits::CHECK_SOURCES_MAX;
use crate::base::time::WallTime;
use crate::dns::{Answer, Name, Question};
use crate::mail::address::Domain;
use crate::policy::authenticity::Verifier;
use crate::policy::domain_check::known::Known;
use crate::policy::domain_check::spf::Senders;
use crate::policy::signing::Signer;
use crate::tls::Chain;

pub use crate::policy::mta_sts::PolicyTrouble;
pub use finding::{Finding, Report, Served, Status, Topic, Verdict};

/// A domain, and what this node is to it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The domain; no address literal.
    pub domain: Domain,
    /// Whether mail from it leaves here: then sources, SPF and keys are looked at too.
    pub sends: bool,
    /// Whether mail for it is taken here from anyone: then its MX hosts should lead here.
    pub takes: bool,
    /// What this node calls itself.
    pub hostname: Domain,
    /// Where its mail leaves from; beyond `CHECK_SOURCES_MAX` they are not looked at. Empty where
    /// that is not known.
    pub sources: Vec<Source>,
    /// Keys that sign for it.
    pub keys: Vec<Arc<Signer>>,
    /// Addresses that are this node's, to see it among MX hosts.
    pub addresses: Vec<IpAddr>,
    /// The certificates that this node shows as an MX host; the first to whoever asks for none.
    pub certificates: Arc<[Chain]>,
    /// Now, which ids of policies are made of.
    pub now: WallTime,
}

/// An address that mail leaves from, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The address.
    pub address: IpAddr,
    /// What EHLO says from there.
    pub hello: Domain,
}

/// What is to be asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// Of a name server.
    Answer(Question),
    /// Of a web server.
    Policy(PolicyWanted),
}

/// The domain's MTA-STS policy as it is served now (RFC 8461 §3.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PolicyWanted {
    /// Whose.
    pub domain: Domain,
    /// Where its policy host is.
    pub addresses: Vec<IpAddr>,
}

/// A check under way.
#[derive(Debug)]
pub struct DomainCheck {
    subject: Subject,
    /// Sources that are not looked at.
    left_out: usize,
    senders: Senders,
    known: Known,
    wants: VecDeque<Want>,
    /// Not answered yet.
    open: HashSet<Want>,
    report: Option<Report>,
}

impl DomainCheck {
    /// A check that has asked nothing yet.
    pub fn new(verifier: &Arc<Verifier>, mut subject: Subject) -> Self {
        let left_out = subject.sources.len().saturating_sub(CHECK_SOURCES_MAX);
        subject.sources.truncate(CHECK_SOURCES_MAX);
        let senders = Senders::new(verifier, &subject);
        let mut check = Self {
            subject,
            left_out,
            senders,
            known: Known::default(),
            wants: VecDeque::new(),
            open: HashSet::new(),
            report: None,
        };
        check.advance();
        check
    }

    /// The next thing to be asked; none twice. More may come after an answer.
    pub fn poll_want(&mut self) -> Option<Want> {
        self.wants.pop_front()
    }

    /// A name server has answered, or nobody could.
    pub fn handle_answer(&mut self, answer: &Arc<Answer>) {
        self.known.learn(answer);
        self.answered(&Want::Answer(answer.question.clone()));
    }

    /// The policy that was wanted is there, or is not.
    pub fn handle_policy(
        &mut self,
        wanted: &PolicyWanted,
        policy: Result<Box<str>, PolicyTrouble>,
    ) {
        self.known.learn_policy(policy);
        self.answered(&Want::Policy(wanted.clone()));
    }

    /// Whatever is not known by now could not be checked. The report is there then.
    pub fn give_up(&mut self) {
        self.known.close();
        self.senders.give_up();
        self.wants.clear();
        self.open.clear();
        if self.report.is_none() {
            self.advance();
        }
    }

    /// What came of it, once nothing is left to be asked.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    fn answered(&mut self, want: &Want) {
        if self.open.remove(want) && self.open.is_empty() && self.report.is_none() {
            self.advance();
        }
    }

    /// Go through everything by what is known.
    fn advance(&mut self) {
        self.senders.advance(&self.known);
        let findings = self.findings();
        let wanted = self.known.take_wanted();
        if let Some(findings) = findings {
            let domain = self.subject.domain.as_str().into();
            self.report = Some(Report { domain, findings });
            return;
        }
        assert!(!wanted.is_empty(), "it waits for nothing");
        self.open.extend(wanted.iter().cloned());
        self.wants.extend(wanted);
    }

    /// All findings in the order of their topics; `None` while something is missing. Each part is
    /// asked before any is waited for.
    fn findings(&self) -> Option<Vec<Finding>> {
        let (subject, known) = (&self.subject, &self.known);
        let mut parts = vec![mx::check(subject, known)];
        if subject.sends {
            parts.push(sources::check(subject, self.left_out, known));
            parts.push(self.senders.check(subject, known));
            parts.push(dkim::check(subject, known));
        }
        parts.push(dmarc::check(subject, known));
        parts.push(mta_sts::check(subject, known));
        parts.push(tls_rpt::check(subject, known));
        parts.push(dane::check(subject, known));
        parts.push(bimi::check(subject, known));
        let all: Option<Vec<Vec<Finding>>> = parts.into_iter().collect();
        let mut findings = all?.concat();
        findings.sort_by_key(|finding| finding.topic);
        Some(findings)
    }
}

impl Subject {
    /// Whether a host is this node.
    fn is_own(&self, host: &Name, addresses: &[IpAddr]) -> bool {
        host.as_str() == self.hostname.as_str()
            || self.sources.iter().any(|source| source.hello.as_str() == host.as_str())
            || addresses.iter().any(|one| self.addresses.contains(one))
    }
}
