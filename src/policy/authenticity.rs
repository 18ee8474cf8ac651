//! Find out whether a message is from whom it says: SPF (RFC 7208), DKIM (RFC 6376), DMARC (RFC
//! 9989, with its tree walk) and ARC (RFC 8617).
//!
//! In: what is known of the session; content; answers of name servers. Out: questions to name
//! servers; in the end [`Results`], with the `Authentication-Results:` field that says them.
//! Invariant: nobody is asked but through those questions, of which there are at most
//! `VERIFY_QUESTIONS_MAX`; what is not answered when the caller gives up is a temporary error.
//! Lives on: the home shard, one a message.
//!
//! The work is mail-auth's. It asks a cache before it asks DNS: ours answers what is known, notes
//! what is not, and the library is run again once that is answered. It is polled once and never
//! pends, since the cache always has something to say. Whether a signature has expired it judges by
//! the machine's clock, which it asks itself.

mod content;
mod known;
mod results;
mod spf;
mod spf_record;
#[cfg(test)]
mod tests;
mod told;

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use mail_auth::common::crypto::HashAlgorithm;
use mail_auth::dkim::Canonicalization;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, MessageAuthenticator, Parameters};

use crate::base::limits::{SIGNATURES_TRIED_MAX, VERIFY_PASSES_MAX};
use crate::dns::{Answer, Question};
use crate::mail::address::Domain;
use crate::policy::authenticity::known::Known;

pub use content::{ContentReader, Facts};
pub use results::{Dmarc, Mode, Results, Verdict};
pub use spf::{Spf, SpfCheck, SpfProgress};

/// The library, which keeps nothing between messages.
pub struct Verifier(MessageAuthenticator);

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    /// One without name servers of its own.
    pub fn new() -> Option<Self> {
        let (config, options) = (ResolverConfig::default(), ResolverOpts::default());
        MessageAuthenticator::new(config, options).ok().map(Self)
    }
}

/// What is known of the session.
#[derive(Clone, Debug)]
pub struct Session {
    /// The client's address.
    pub client: IpAddr,
    /// What it said in EHLO.
    pub hello: Box<str>,
    /// The reverse-path without brackets; empty for the null reverse-path.
    pub reverse_path: Box<str>,
    /// This node, whose results they are.
    pub hostname: Domain,
}

/// A message that is being verified.
#[derive(Debug)]
pub struct Authenticity {
    verifier: Arc<Verifier>,
    session: Session,
    facts: Facts,
    known: Known,
    passes: u32,
}

/// How far it has come.
#[derive(Debug)]
pub enum Progress {
    /// These are to be asked; none twice.
    Ask(Vec<Question>),
    /// Nothing is left to be asked.
    Done(Box<Results>),
}

impl Authenticity {
    /// Of a message whose content has come.
    pub fn new(verifier: Arc<Verifier>, session: Session, facts: Facts) -> Self {
        let known = Known::new(session.client.to_canonical());
        Self { verifier, session, facts, known, passes: 0 }
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        self.facts.header.capacity()
    }

    /// Octets of the content.
    pub fn bytes(&self) -> u64 {
        self.facts.bytes
    }

    /// What was read of the content.
    pub fn into_facts(self) -> Facts {
        self.facts
    }

    /// A name server has answered, or nobody could.
    pub fn handle_answer(&mut self, answer: &Arc<Answer>) {
        self.known.learn(answer);
    }

    /// Whatever is not known by now will not be.
    pub fn give_up(&mut self) {
        self.known.close();
    }

    /// Go through all checks by what is known. To be called again when the questions are answered.
    pub fn advance(&mut self) -> Progress {
        self.passes += 1;
        if self.passes >= VERIFY_PASSES_MAX {
            self.known.close();
        }
        let results = self.check();
        let questions = self.known.take_questions();
        if questions.is_empty() {
            Progress::Done(Box::new(results))
        } else {
            Progress::Ask(questions)
        }
    }

    fn check(&self) -> Results {
        let Session { hello, reverse_path, .. } = &self.session;
        let (known, verifier) = (&self.known, &self.verifier.0);
        let spf = spf::evaluate(&self.verifier, &self.session, known);
        let Some(message) = self.message() else {
            return Results::without_header(&self.session, &spf);
        };
        let dkim = once(verifier.verify_dkim(parameters(&message, known))).unwrap_or_default();
        let domain = match reverse_path.rsplit_once('@') {
            Some((_, domain)) => domain,
            None => hello,
        };
        let dmarc = DmarcParameters::new(&message, &dkim, domain, &spf);
        let dmarc = once(verifier.verify_dmarc(parameters(dmarc, known))).unwrap_or_default();
        let arc = once(verifier.verify_arc(parameters(&message, known))).unwrap_or_default();
        Results::new((&self.session, known), &message, &spf, &dkim, &dmarc, &arc)
    }

    /// The header section as the library reads it, with the hashes of the body that has gone by.
    fn message(&self) -> Option<AuthenticatedMessage<'_>> {
        let mut message = AuthenticatedMessage::parse(&self.facts.header)?;
        message.dkim_headers.truncate(SIGNATURES_TRIED_MAX);
        message.errors.truncate(SIGNATURES_TRIED_MAX);
        for (form, algorithm, _, hash) in &mut message.body_hashes {
            let known = match (*algorithm, *form) {
                (HashAlgorithm::Sha256, Canonicalization::Relaxed) => &self.facts.relaxed,
                (HashAlgorithm::Sha256, Canonicalization::Simple) => &self.facts.simple,
                //= RFC 8301 §3.1
                //# rsa-sha1 MUST NOT be used for signing or verifying.
                (HashAlgorithm::Sha1, _) => &None,
            };
            *hash = known.as_ref().map_or_else(Vec::new, |hash| hash.as_ref().to_vec());
        }
        Some(message)
    }
}

/// What the library is asked, with what is known of DNS.
fn parameters<P>(asked: P, known: &Known) -> Parameters<'_, P, Known, Known, Known, Known, Known> {
    Parameters::new(asked)
        .with_txt_cache(known)
        .with_mx_cache(known)
        .with_ipv4_cache(known)
        .with_ipv6_cache(known)
        .with_ptr_cache(known)
}

/// The result of a future that is ready at once; none of one that would wait.
fn once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
