//! Put what the library found into what events tell.

use mail_auth::dmarc::{Alignment, Policy};
use mail_auth::{ArcOutput, DkimOutput, DkimResult, DmarcOutput, DmarcResult, SpfOutput};

use crate::mail::verified::{DkimFound, DmarcPolicy, SpfFound, Verified};
use crate::policy::authenticity::Session;
use crate::policy::authenticity::results::{Dmarc, word};

/// A message without what verification can look at.
pub(super) fn bare(session: &Session, spf: &SpfOutput) -> Verified {
    Verified {
        source_ip: session.client,
        header_from: "".into(),
        disposition: "none".into(),
        spf: SpfFound {
            domain: spf.domain().into(),
            scope: if session.reverse_path.is_empty() { "helo" } else { "mfrom" }.into(),
            result: word(spf.result()).into(),
        },
        dkim: Vec::new(),
        arc: "none".into(),
        dmarc: "none".into(),
        policy: None,
    }
}

/// All of it.
pub(super) fn whole(
    (session, spf): (&Session, &SpfOutput),
    dkim: &[DkimOutput<'_>],
    (output, dmarc): (&DmarcOutput, Dmarc),
    arc: &ArcOutput<'_>,
) -> Verified {
    let found = |output: &DkimOutput<'_>| {
        let signature = output.signature()?;
        let result = dkim_word(output.result()).into();
        let (domain, selector) = (signature.d.as_str().into(), signature.s.as_str().into());
        Some(DkimFound { domain, selector, result })
    };
    let policy = output.dmarc_record().map(|record| DmarcPolicy {
        domain: output.domain().into(),
        p: policy_word(record.p).into(),
        sp: policy_word(record.sp).into(),
        np: policy_word(record.np).into(),
        adkim: alignment_word(record.adkim).into(),
        aspf: alignment_word(record.aspf).into(),
        testing: record.t,
        dkim: aligned_word(output.dkim_result()).into(),
        spf: aligned_word(output.spf_result()).into(),
    });
    Verified {
        header_from: output.domain().into(),
        dkim: dkim.iter().filter_map(found).collect(),
        arc: dkim_word(arc.result()).into(),
        dmarc: dmarc.as_str().into(),
        policy,
        ..bare(session, spf)
    }
}

fn dkim_word(result: &DkimResult) -> &'static str {
    match result {
        DkimResult::Pass => "pass",
        DkimResult::Neutral(_) => "neutral",
        DkimResult::Fail(_) => "fail",
        DkimResult::PermError(_) => "permerror",
        DkimResult::TempError(_) => "temperror",
        DkimResult::None => "none",
    }
}

fn aligned_word(result: &DmarcResult) -> &'static str {
    if *result == DmarcResult::Pass { "pass" } else { "fail" }
}

fn policy_word(policy: Policy) -> &'static str {
    match policy {
        Policy::None | Policy::Unspecified => "none",
        Policy::Quarantine => "quarantine",
        Policy::Reject => "reject",
    }
}

fn alignment_word(alignment: Alignment) -> &'static str {
    match alignment {
        Alignment::Relaxed => "r",
        Alignment::Strict => "s",
    }
}
