//! What verification came to: the field that says it, and what becomes of the message.
//!
//! In: the library's results. Out: `Authentication-Results:` (RFC 8601), folded, with CRLF; a
//! [`Verdict`] by the listener's [`Mode`]. Invariant: mail is refused only for what its own domain
//! asks (DMARC fails and the policy is reject); nothing is for a temporary error.

use std::fmt;
use std::sync::Arc;

use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dmarc::Policy;
use mail_auth::{
    ArcOutput, AuthenticatedMessage, AuthenticationResults, DkimOutput, DkimResult, DmarcOutput,
    DmarcResult, SpfOutput, SpfResult,
};
use memchr::memchr;

use crate::base::limits::RESULTS_FIELD_MAX;
use crate::mail::status::Reply;
use crate::mail::verified::Verified;
use crate::policy::authenticity::Session;
use crate::policy::authenticity::known::Known;
use crate::policy::authenticity::told;
use crate::policy::reply;
use crate::policy::signing::{Chain, Seal, Signer};

/// What a listener does about what it finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Count and log; the message is left as it came.
    Monitor,
    /// Say it in the message.
    Tag,
    /// And refuse what its domain asks to be refused.
    Reject,
    /// Or keep it, and what its domain asks to be set aside, until an operator has looked at it.
    Quarantine,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken.
    Take,
    /// It is taken, and held in the queue.
    Hold,
    /// It is not taken.
    Refuse(Reply),
}

/// What its domain's DMARC policy says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dmarc {
    /// It is from whom it says.
    Pass,
    /// It is not, and the domain asks for nothing.
    Fail,
    /// It is not, and the domain asks to set it aside.
    FailQuarantine,
    /// It is not, and the domain asks to refuse it.
    FailReject,
    /// There is no policy.
    None,
    /// Nobody knows now.
    TempError,
    /// There is a policy, and it is not right.
    PermError,
}

/// What verification came to.
#[derive(Clone, Debug)]
pub struct Results {
    /// `Authentication-Results:`, with its CRLF.
    pub field: Vec<u8>,
    /// The DMARC result, and what is to follow from it.
    pub dmarc: Dmarc,
    /// The domain of the `From:` field, where DMARC found one.
    pub from_domain: Box<str>,
    /// The SPF result in a word.
    pub spf: &'static str,
    /// DKIM signatures that are right, and all.
    pub signatures: (usize, usize),
    /// The ARC chain that it came with; `None`: nobody knows now.
    pub chain: Option<Chain>,
    /// All of it, for events.
    pub told: Verified,
}

impl Dmarc {
    /// The word for logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail | Self::FailQuarantine | Self::FailReject => "fail",
            Self::None => "none",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }

    fn of(output: &DmarcOutput, is_missing: bool) -> Self {
        //= RFC 9989 §4.10.1
        //# If the Author Domain is a non-existent subdomain, the "np" tag applies.
        // The library cannot be told that a domain has no address since it does not exist.
        let policy = match output.dmarc_record() {
            Some(record) if is_missing && record.np != record.sp && !record.t => record.np,
            Some(_) | None => output.policy(),
        };
        match (output.result(), policy) {
            (DmarcResult::Pass, _) => Self::Pass,
            (DmarcResult::Fail(_), Policy::Reject) => Self::FailReject,
            (DmarcResult::Fail(_), Policy::Quarantine) => Self::FailQuarantine,
            (DmarcResult::Fail(_), Policy::None | Policy::Unspecified) => Self::Fail,
            (DmarcResult::TempError(_), _) => Self::TempError,
            (DmarcResult::PermError(_), _) => Self::PermError,
            (DmarcResult::None, _) => Self::None,
        }
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (right, all) = self.signatures;
        let dmarc = self.dmarc.as_str();
        write!(f, "spf={} dkim={right}/{all} dmarc={dmarc}", self.spf)
    }
}

impl Results {
    /// Of a message in which there is no field at all.
    pub(super) fn without_header(session: &Session, spf: &SpfOutput) -> Self {
        let results = with_spf(session, spf);
        Self {
            field: field(&results, session),
            dmarc: Dmarc::None,
            from_domain: "".into(),
            spf: word(spf.result()),
            signatures: (0, 0),
            chain: Some(Chain::None),
            told: told::bare(session, spf),
        }
    }

    pub(super) fn new(
        (session, known): (&Session, &Known),
        message: &AuthenticatedMessage<'_>,
        spf: &SpfOutput,
        dkim: &[DkimOutput<'_>],
        dmarc: &DmarcOutput,
        arc: &ArcOutput<'_>,
    ) -> Self {
        let from = message.from.first().map_or("", String::as_str);
        let mut results = with_spf(session, spf).with_dkim_results(dkim, from);
        if !dmarc.domain().is_empty() {
            results = results.with_dmarc_result(dmarc);
        }
        if *arc.result() != DkimResult::None {
            results = results.with_arc_result(arc, session.client);
        }
        let verdict = Dmarc::of(dmarc, known.is_missing(dmarc.domain()));
        let right = dkim.iter().filter(|one| *one.result() == DkimResult::Pass).count();
        Self {
            field: field(&results, session),
            dmarc: verdict,
            from_domain: dmarc.domain().into(),
            spf: word(spf.result()),
            signatures: (right, dkim.len()),
            chain: chain(arc.result()),
            told: told::whole((session, spf), dkim, (dmarc, verdict), arc),
        }
    }

    /// The ARC set that says these results; `None` where nobody knows what to say of the chain.
    pub fn seal(&self, signer: Arc<Signer>) -> Option<Seal> {
        let colon = memchr(b':', &self.field)?;
        let results = self.field[colon + 1..].to_vec();
        self.chain.map(|chain| Seal { signer, chain, results })
    }

    /// What becomes of the message on a listener with this mode.
    pub fn verdict(&self, mode: Mode) -> Verdict {
        match (mode, self.dmarc) {
            //= RFC 7372 §3.2
            //# 550 5.7.26: multiple authentication checks failed
            (Mode::Reject, Dmarc::FailReject) => {
                let text = format!("{} asks to refuse mail that fails DMARC", self.from_domain);
                Verdict::Refuse(reply(550, (5, 7, 26), &text))
            }
            (Mode::Quarantine, Dmarc::FailReject | Dmarc::FailQuarantine) => Verdict::Hold,
            (Mode::Monitor | Mode::Tag | Mode::Reject | Mode::Quarantine, _) => Verdict::Take,
        }
    }
}

fn with_spf<'s>(session: &'s Session, spf: &SpfOutput) -> AuthenticationResults<'s> {
    let Session { client, hello, reverse_path, hostname } = session;
    let results = AuthenticationResults::new(hostname.as_str());
    match reverse_path.is_empty() {
        true => results.with_spf_ehlo_result(spf, *client, hello),
        false => results.with_spf_mailfrom_result(spf, *client, reverse_path, hello),
    }
}

/// The field as it is put into a message; without the results where they are longer than any that
/// are meant well.
fn field(results: &AuthenticationResults<'_>, session: &Session) -> Vec<u8> {
    let text = results.to_header();
    if text.len() > RESULTS_FIELD_MAX {
        return format!("Authentication-Results: {}; none\r\n", session.hostname).into_bytes();
    }
    text.into_bytes()
}

fn chain(result: &DkimResult) -> Option<Chain> {
    match result {
        DkimResult::None => Some(Chain::None),
        DkimResult::Pass => Some(Chain::Pass),
        DkimResult::TempError(_) => None,
        DkimResult::Neutral(_) | DkimResult::Fail(_) | DkimResult::PermError(_) => {
            Some(Chain::Fail)
        }
    }
}

pub(super) fn word(result: SpfResult) -> &'static str {
    match result {
        SpfResult::Pass => "pass",
        SpfResult::Fail => "fail",
        SpfResult::SoftFail => "softfail",
        SpfResult::Neutral => "neutral",
        SpfResult::TempError => "temperror",
        SpfResult::PermError => "permerror",
        SpfResult::None => "none",
    }
}
