//! Find what may tell which message a report is about: what it returns of that message.
//!
//! In: a report. Out: ids, the reverse-path and addresses of the message that it speaks of.
//! Invariant: none of it is vouched for; at most `FEEDBACK_CANDIDATES_MAX` addresses.

use crate::base::limits::{FEEDBACK_CANDIDATES_MAX, FEEDBACK_ID_MAX, FEEDBACK_TEXT_MAX};
use crate::mail::address::Mailbox;
use crate::outcome::feedback::fields::{Fields, mailbox, split_header};
use crate::outcome::feedback::{Report, clean};

/// What a report says of the message that it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Its Message-ID, with brackets.
    pub message_id: Option<Box<str>>,
    /// ENVID, as the sender gave it (RFC 3464 §2.2.1).
    pub envelope_id: Option<Box<str>>,
    /// Its reverse-path.
    pub reverse_path: Option<Mailbox>,
    /// CFBL-Feedback-ID (RFC 9477 §4.2).
    pub feedback_id: Option<Box<str>>,
    /// Whom it may have been for: what its header says.
    pub recipients: Vec<Mailbox>,
}

/// Parts that are a message, or its header.
const RETURNED: [&str; 6] = [
    "message/rfc822",
    // As RFC 9477's examples have it.
    "text/rfc822",
    "message/global",
    "text/rfc822-headers",
    "message/global-headers",
    "message/rfc822-headers",
];

/// Fields that name a recipient of a message.
const NAMING: [&str; 7] = [
    "X-HmXmrOriginalRecipient",
    "X-Original-To",
    "Delivered-To",
    "Envelope-To",
    "X-Failed-Recipients",
    "To",
    "Cc",
];

impl Traces {
    pub(super) fn find(report: &Report<'_>) -> Self {
        let mut traces = Self::default();
        let is_returned = |kind: &str| RETURNED.contains(&kind);
        let returned = report.parts.iter().rfind(|part| is_returned(&part.kind));
        if let Some(part) = returned {
            let message = part.octets(FEEDBACK_TEXT_MAX);
            traces.read(Fields::of(split_header(&message).0));
        } else {
            // Who returns it among words for people, does so with its lines as they are.
            for part in &report.parts {
                if part.kind.starts_with("text/") {
                    traces.read(Fields::of(part.text().as_bytes()));
                }
            }
        }
        if traces.message_id.is_none() {
            traces.message_id = report.fields.get("In-Reply-To").and_then(|id| message_id(&id));
        }
        traces
    }

    fn read(&mut self, fields: Fields<'_>) {
        for field in fields.iter() {
            if field.is("Message-ID") && self.message_id.is_none() {
                self.message_id = message_id(&field.value);
            } else if field.is("Return-Path") && self.reverse_path.is_none() {
                self.reverse_path = mailbox(&field.value);
            } else if field.is("CFBL-Feedback-ID") && self.feedback_id.is_none() {
                self.feedback_id = Some(without_blanks(&field.value));
            } else if NAMING.iter().any(|name| field.is(name)) {
                self.add(field.value.split(',').filter_map(mailbox));
            }
        }
    }

    /// Addresses that may be the recipient's.
    pub(super) fn add(&mut self, recipients: impl Iterator<Item = Mailbox>) {
        for recipient in recipients.take(FEEDBACK_CANDIDATES_MAX) {
            let is_full = self.recipients.len() >= FEEDBACK_CANDIDATES_MAX;
            if !is_full && !self.recipients.contains(&recipient) {
                self.recipients.push(recipient);
            }
        }
    }
}

/// What is in the first brackets.
fn message_id(value: &str) -> Option<Box<str>> {
    let start = value.find('<')?;
    let end = start + value[start..].find('>')?;
    Some(clean(&value[start..=end], FEEDBACK_ID_MAX)).filter(|id| id.contains('@'))
}

/// RFC 9477 §4.2: blanks are no part of an id, wherever it is folded.
fn without_blanks(value: &str) -> Box<str> {
    let id: String = value.chars().filter(|c| !c.is_whitespace()).collect();
    clean(&id, FEEDBACK_ID_MAX)
}
