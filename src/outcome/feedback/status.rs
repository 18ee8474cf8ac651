//! Read delivery status notifications (RFC 3464, RFC 6533), and what is meant to be one.
//!
//! In: a report. Out: what it says of each recipient; `None`: it has no such part. Forgiven: a part
//! of another type, recipients that no empty line divides, addresses without a type, a missing
//! action where there is a status, and the reverse.

use crate::base::limits::{FEEDBACK_ID_MAX, FEEDBACK_TEXT_MAX, FEEDBACK_TOLD_MAX};
use crate::mail::address::Mailbox;
use crate::mail::status::EnhancedStatus;
use crate::outcome::feedback::fields::{Field, Fields, address, line};
use crate::outcome::feedback::parts::Part;
use crate::outcome::feedback::{Kind, Report, Told, Traces, clean, words, words_of};

/// What it says of whom.
pub(super) fn read(report: &Report<'_>, traces: &mut Traces) -> Option<Vec<Told>> {
    let typed = ["message/delivery-status", "message/global-delivery-status"];
    let part = typed.iter().find_map(|kind| report.part(kind));
    let part = part.or_else(|| report.parts.iter().find(|part| looks_like_status(part)))?;
    let text = part.octets(FEEDBACK_TEXT_MAX);
    let mut blocks = Blocks::default();
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        let block = block(&mut rest);
        for field in Fields::of(block).iter() {
            if field.is("Original-Envelope-Id") {
                traces.envelope_id = Some(clean(&field.value, FEEDBACK_ID_MAX));
            }
            blocks.take(&field);
        }
        blocks.end();
    }
    let told: Vec<Told> = blocks.done.into_iter().map(Block::told).collect();
    traces.add(told.iter().flat_map(|told| told.original.iter().chain(&told.recipient)).cloned());
    (!told.is_empty()).then_some(told)
}

/// Lines until an empty one.
fn block<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let all = *rest;
    while !rest.is_empty() {
        let before = all.len() - rest.len();
        let (this, after) = line(rest);
        *rest = after;
        if this.trim_ascii().is_empty() {
            return &all[..before];
        }
    }
    all
}

/// Whether a part of another type has the fields of a status part at its lines' starts.
fn looks_like_status(part: &Part<'_>) -> bool {
    if part.kind.starts_with("message/rfc822") || &*part.kind == "text/html" {
        return false;
    }
    let text = part.octets(FEEDBACK_TEXT_MAX);
    let has = |name: &str| Fields::of(&text).has(name);
    has("Final-Recipient") && (has("Action") || has("Status"))
}

/// The fields of one recipient.
#[derive(Debug, Default)]
struct Block {
    original: Option<Mailbox>,
    last: Option<String>,
    action: Option<Kind>,
    status: Option<EnhancedStatus>,
    diagnostic: Option<String>,
    peer: Option<Box<str>>,
}

#[derive(Debug, Default)]
struct Blocks {
    done: Vec<Block>,
    open: Block,
}

impl Blocks {
    fn take(&mut self, field: &Field<'_>) {
        if field.is("Final-Recipient") {
            // Nothing divides it from the one before.
            if self.open.last.is_some() {
                self.end();
            }
            self.open.last = Some(field.value.clone());
        } else if field.is("Original-Recipient") {
            if self.open.original.is_some() {
                self.end();
            }
            self.open.original = address(&field.value);
        } else if field.is("Action") {
            self.open.action = action(&field.value);
        } else if field.is("Status") {
            self.open.status = words::status(&field.value);
        } else if field.is("Diagnostic-Code") {
            self.open.diagnostic = Some(field.value.clone());
        } else if field.is("Remote-MTA") {
            self.open.peer = Some(clean(behind_type(&field.value), FEEDBACK_ID_MAX));
        }
    }

    /// A recipient's fields are over, if there were any.
    fn end(&mut self) {
        let block = std::mem::take(&mut self.open);
        let is_any = block.last.is_some() || block.original.is_some() || block.action.is_some();
        if is_any && self.done.len() < FEEDBACK_TOLD_MAX {
            self.done.push(block);
        }
    }
}

impl Block {
    fn told(self) -> Told {
        let diagnostic = self.diagnostic.unwrap_or_default();
        let text = behind_type(&diagnostic);
        // X.0.0 says no more than the action; the host's own words may.
        let is_vague = self.status.is_none_or(|status| (status.subject, status.detail) == (0, 0));
        let status = if is_vague { words::status(text).or(self.status) } else { self.status };
        let by_status = match status.map(|status| status.class) {
            Some(2) => Kind::Delivered,
            Some(4) => Kind::Delayed,
            Some(_) => Kind::Bounced,
            None => Kind::Unknown,
        };
        Told {
            kind: self.action.unwrap_or(by_status),
            recipient: self.last.as_deref().and_then(address),
            original: self.original,
            status,
            code: words::code(text),
            text: words_of(text),
            peer: self.peer.unwrap_or_default(),
        }
    }
}

//= RFC 3464 §2.3.3
//# action-value = "failed" / "delayed" / "delivered" / "relayed" / "expanded"
fn action(value: &str) -> Option<Kind> {
    let word = value.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("");
    match word.to_ascii_lowercase().as_str() {
        "failed" | "failure" => Some(Kind::Bounced),
        "delayed" => Some(Kind::Delayed),
        "delivered" => Some(Kind::Delivered),
        "relayed" => Some(Kind::Relayed),
        "expanded" => Some(Kind::Expanded),
        _ => None,
    }
}

/// What follows `smtp;`.
fn behind_type(value: &str) -> &str {
    match value.split_once(';') {
        Some((kind, text)) if !kind.trim().contains([' ', '.', '@']) => text.trim(),
        _ => value.trim(),
    }
}
