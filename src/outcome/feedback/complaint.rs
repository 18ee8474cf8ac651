//! Read feedback reports: ARF (RFC 5965), as CFBL sends it too (RFC 9477).
//!
//! In: a report. Out: a complaint for each recipient that it names, or one about nobody in
//! particular; `None`: it is no feedback report. A recipient that was redacted (RFC 6590) is none.

use memchr::memmem;

use crate::base::limits::{FEEDBACK_ID_MAX, FEEDBACK_TEXT_MAX};
use crate::mail::address::Mailbox;
use crate::outcome::feedback::fields::{Fields, address, mailbox};
use crate::outcome::feedback::parts::Part;
use crate::outcome::feedback::{Complaint, Kind, Report, Told, Traces, clean, words_of};

/// What it complains about, for whom.
pub(super) fn read(report: &Report<'_>, traces: &mut Traces) -> Option<Vec<Told>> {
    let part = report.part("message/feedback-report");
    let part = part.or_else(|| report.parts.iter().find(|part| looks_like_feedback(part)));
    let Some(part) = part else { return of_hotmail(report, traces) };
    let text = part.octets(FEEDBACK_TEXT_MAX);
    let fields = Fields::of(&text);
    let kind = Kind::Complaint(complaint(&fields.get("Feedback-Type").unwrap_or_default()));
    if let Some(reverse_path) = fields.get("Original-Mail-From").and_then(|path| address(&path)) {
        traces.reverse_path = Some(reverse_path);
    }
    if let Some(id) = fields.get("Original-Envelope-Id") {
        traces.envelope_id = Some(clean(&id, FEEDBACK_ID_MAX));
    }
    let named: Vec<Mailbox> =
        fields.all("Original-Rcpt-To").filter_map(|path| address(&path)).collect();
    traces.add(named.iter().cloned());
    // A complaint is its recipient's; where the report keeps to itself who that is, the message
    // says whom it was for, if it was for one.
    let named = if named.is_empty() { only(&traces.recipients) } else { named };
    let source = fields.get("User-Agent").unwrap_or_default();
    let peer = fields.get("Reporting-MTA").unwrap_or_default();
    let peer = peer.split_once(';').map_or(&*peer, |(_, host)| host);
    let told = |recipient: Option<Mailbox>| Told {
        recipient,
        text: words_of(&source),
        peer: clean(peer, FEEDBACK_ID_MAX),
        ..Told::new(kind)
    };
    if named.is_empty() {
        return Some(vec![told(None)]);
    }
    Some(named.into_iter().map(Some).map(told).collect())
}

fn only(recipients: &[Mailbox]) -> Vec<Mailbox> {
    if recipients.len() == 1 { recipients.to_vec() } else { Vec::new() }
}

/// Whether a part of another type begins as a feedback report does.
fn looks_like_feedback(part: &Part<'_>) -> bool {
    let is_likely = !part.kind.starts_with("message/") && &*part.kind != "text/html";
    let beginning = part.octets(FEEDBACK_ID_MAX);
    let has = |name: &str| Fields::of(&beginning).has(name);
    is_likely
        && memmem::find(&beginning, b"Feedback-Type").is_some()
        && has("Feedback-Type")
        && (has("Version") || has("User-Agent"))
}

/// Outlook's "Junk Mail Reporting Program" sends the message alone, with its recipient in a field
/// of its own.
fn of_hotmail(report: &Report<'_>, traces: &Traces) -> Option<Vec<Told>> {
    let message = report.part("message/rfc822")?.octets(FEEDBACK_TEXT_MAX);
    let recipient = Fields::of(&message).get("X-HmXmrOriginalRecipient")?;
    let recipient = mailbox(&recipient).or_else(|| traces.recipients.first().cloned());
    Some(vec![Told { recipient, ..Told::new(Kind::Complaint(Complaint::Abuse)) }])
}

/// RFC 5965 §7.3: what is not known is taken for `other`.
fn complaint(value: &str) -> Complaint {
    match value.trim().to_ascii_lowercase().as_str() {
        "abuse" | "complaint" | "spam" => Complaint::Abuse,
        "fraud" | "phishing" => Complaint::Fraud,
        "virus" => Complaint::Virus,
        "opt-out" | "opt-out-list" | "unsubscribe" => Complaint::OptOut,
        "not-spam" => Complaint::NotSpam,
        "auth-failure" | "dkim" | "dmarc" => Complaint::AuthFailure,
        _ => Complaint::Other,
    }
}
