//! Read bounces that are written for people: qmail's, Exim's, Exchange's, and others'.
//!
//! In: a report that is nothing else. Out: recipients, and why; `None`: it says of nobody that
//! anything came to nothing. Invariant: nothing is taken from what the report returns of the
//! message, nor from a report that no mail system has written and whose subject is no bounce's.

mod patterns;

use crate::base::limits::{FEEDBACK_REASON_LINES, FEEDBACK_TOLD_MAX};
use crate::base::text::head;
use crate::mail::address::Mailbox;
use crate::mail::status::EnhancedStatus;
use crate::outcome::feedback::fields::mailbox;
use crate::outcome::feedback::{Form, Kind, Report, Told, words_of};

/// What it says, and how. `is_daemon`: it is from a mail system.
pub(super) fn read(report: &Report<'_>, is_daemon: bool) -> Option<(Form, Vec<Told>)> {
    let text = text(report);
    if let Some(said) = qsbmf(&text) {
        return Some((Form::Qsbmf, said));
    }
    let subject = report.fields.text("Subject").unwrap_or_default();
    let failed = report.fields.get("X-Failed-Recipients").unwrap_or_default();
    let failed: Vec<Mailbox> =
        failed.split(',').filter_map(mailbox).take(FEEDBACK_TOLD_MAX).collect();
    let is_daemon = is_daemon || !failed.is_empty();
    let is_list = ["List-Id", "List-Unsubscribe"].iter().any(|name| report.fields.has(name));
    let is_likely = is_daemon || !is_list && patterns::SUBJECT.is_match(&subject);
    if !is_likely || patterns::ANSWER.is_match(&subject) {
        return None;
    }
    let said = said(&text);
    let found = if failed.is_empty() { about(&said, &own(report)) } else { named(&said, failed) };
    let told: Vec<Told> =
        found.into_iter().filter_map(|about| about.told(&said, &subject)).collect();
    // A subject alone may be a parcel's that could not be delivered.
    let is_sure = is_daemon || told.iter().any(|told| told.status.is_some() || told.code.is_some());
    (is_sure && !told.is_empty()).then_some((Form::Words, told))
}

/// What its parts for people say: the plain ones, and those that browsers show where need be.
fn text(report: &Report<'_>) -> String {
    let of = |kind: &str| {
        let parts = report.parts.iter().filter(|part| &*part.kind == kind);
        parts.map(|part| part.text()).collect::<Vec<_>>().join("\n")
    };
    let plain = of("text/plain");
    // One without an address may be a gateway's footer.
    if patterns::ADDRESS.is_match(&plain) { plain } else { plain + "\n" + &of("text/html") }
}

/// Addresses that the report has for itself: none of them is the recipient's.
fn own(report: &Report<'_>) -> Vec<Mailbox> {
    let names = ["From", "Reply-To", "Sender", "To", "Return-Path"];
    names.iter().filter_map(|name| report.fields.get(name).as_deref().and_then(mailbox)).collect()
}

/// The lines before what is returned of the message.
fn said(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim_end);
    lines.take_while(|line| !patterns::RETURNED.is_match(line)).collect()
}

/// A recipient, and what is said of them.
struct About {
    recipient: Option<Mailbox>,
    words: String,
}

impl About {
    /// `None`: nothing says that it came to nothing.
    fn told(self, said: &[&str], subject: &str) -> Option<Told> {
        let all = said.join("\n");
        let whole = format!("{subject}\n{all}");
        let status = status(&self.words).or_else(|| status(&all));
        let code = code(&self.words).or_else(|| code(&all));
        let is_permanent = match (status.map(|status| status.class), code) {
            (Some(class), _) => class == 5,
            (None, Some(code)) => code >= 500,
            (None, None) => false,
        };
        let waits = patterns::WAITING.is_match(&whole) && !patterns::OVER.is_match(&whole);
        let kind = match () {
            () if waits && !is_permanent => Kind::Delayed,
            () if is_permanent || patterns::FAILED.is_match(&whole) => Kind::Bounced,
            () => return None,
        };
        let words = if self.words.trim().is_empty() { all } else { self.words };
        let recipient = self.recipient;
        Some(Told { recipient, status, code, text: words_of(&words), ..Told::new(kind) })
    }
}

/// Each address that begins a line, with what follows it; or else the first of a line that speaks
/// of delivery; or else nobody in particular.
fn about(said: &[&str], own: &[Mailbox]) -> Vec<About> {
    let is_other = |recipient: &Mailbox| !own.contains(recipient);
    let is_no_helper = |recipient: &Mailbox| {
        is_other(recipient) && !patterns::HELP.is_match(recipient.local_part())
    };
    let at_start = |line: &str| {
        let found = patterns::AT_START.captures(line)?;
        let recipient = mailbox(found.get(1)?.as_str()).filter(is_other)?;
        Some((recipient, line[found.get(0)?.end()..].to_owned()))
    };
    let inside = |line: &str| {
        if !patterns::OF_DELIVERY.is_match(line) {
            return None;
        }
        let mut found = patterns::ADDRESS.find_iter(line);
        let recipient = found.find_map(|found| {
            let is_senders = patterns::OF_SENDER.is_match(tail(&line[..found.start()], 16));
            mailbox(found.as_str()).filter(|one| !is_senders && is_no_helper(one))
        })?;
        Some((recipient, line.to_owned()))
    };
    let mut found = collect(said, at_start);
    if found.is_empty() {
        // Words wrap: what speaks of delivery may be on the line before.
        let joined: Vec<String> = said.windows(2).map(|pair| pair.join(" ")).collect();
        let joined: Vec<&str> =
            joined.iter().map(String::as_str).chain(said.last().copied()).collect();
        found = collect(&joined, inside);
    }
    if found.is_empty() {
        found.push(About { recipient: None, words: String::new() });
    }
    found
}

/// The end of `text` that fits in `max` octets.
fn tail(text: &str, max: usize) -> &str {
    let start = text.len().saturating_sub(max);
    (start..=text.len()).find_map(|start| text.get(start..)).unwrap_or("")
}

fn collect(said: &[&str], read: impl Fn(&str) -> Option<(Mailbox, String)>) -> Vec<About> {
    let mut found: Vec<About> = Vec::new();
    let mut lines = 0;
    for line in said {
        match read(line) {
            Some((recipient, words)) => {
                let known = |about: &About| about.recipient.as_ref() == Some(&recipient);
                if found.len() < FEEDBACK_TOLD_MAX && !found.iter().any(known) {
                    found.push(About { recipient: Some(recipient), words });
                    lines = 0;
                }
            }
            None => {
                if let Some(last) = found.last_mut().filter(|_| lines < FEEDBACK_REASON_LINES) {
                    last.words.push('\n');
                    last.words.push_str(head(line, 512));
                    lines += 1;
                }
            }
        }
    }
    found
}

/// Recipients that a field names, with what the text says of each.
fn named(said: &[&str], failed: Vec<Mailbox>) -> Vec<About> {
    let said = about(said, &[]);
    let words = |recipient: &Mailbox| {
        let of = said.iter().find(|about| about.recipient.as_ref() == Some(recipient));
        of.map(|about| about.words.clone()).unwrap_or_default()
    };
    failed
        .into_iter()
        .map(|recipient| About { words: words(&recipient), recipient: Some(recipient) })
        .collect()
}

/// QSBMF (cr.yp.to/proto/qsbmf.txt): a paragraph that begins with `Hi. This is the`, one for each
/// recipient that begins with `<recipient>:`, one that begins with `---`, and the message.
fn qsbmf(text: &str) -> Option<Vec<Told>> {
    let start = text.trim_start();
    if !start.starts_with("Hi. This is the") {
        return None;
    }
    let mut told: Vec<Told> = Vec::new();
    for paragraph in paragraphs(start).skip(1) {
        if paragraph.starts_with('-') || told.len() == FEEDBACK_TOLD_MAX {
            break;
        }
        let named = paragraph.strip_prefix('<').and_then(|rest| rest.split_once(">:"));
        let Some((address, reason)) = named else { continue };
        let (status, code) = (status(reason), code(reason));
        // It sends no other reports than of failures for good.
        let recipient = mailbox(address);
        let text = words_of(reason);
        told.push(Told { recipient, status, code, text, ..Told::new(Kind::Bounced) });
    }
    (!told.is_empty()).then_some(told)
}

/// Lines between empty ones.
fn paragraphs(text: &str) -> impl Iterator<Item = String> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let mut paragraph = String::new();
        for line in lines.by_ref() {
            if line.trim().is_empty() && !paragraph.is_empty() {
                break;
            }
            paragraph.push_str(line.trim());
            paragraph.push('\n');
        }
        (!paragraph.trim().is_empty()).then_some(paragraph)
    })
}

/// The first enhanced status in a text, of class 4 or 5 if there is one.
pub(super) fn status(text: &str) -> Option<EnhancedStatus> {
    let mut found = patterns::STATUS
        .captures_iter(text)
        .filter_map(|found| found.get(1)?.as_str().parse::<EnhancedStatus>().ok());
    let first = found.next()?;
    if first.class == 2 {
        found.find(|status| status.class != 2).or(Some(first))
    } else {
        Some(first)
    }
}

/// The first reply code of a failure in a text.
pub(super) fn code(text: &str) -> Option<u16> {
    let found = patterns::CODE.captures(text)?;
    found.get(1)?.as_str().parse().ok().filter(|code| (400..=599).contains(code))
}
