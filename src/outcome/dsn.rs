//! Tell the reverse-path what became of its mail (RFC 3461, 3464, 6522, 6533).
//!
//! In: plain data about a message and some of its recipients. Out: a message about it, and its
//! envelope, which has the null reverse-path. Invariant: what peers and senders wrote cannot break
//! out of its field, its line or its part. Unit: `original_bytes` counts octets of content.

use memchr::memmem;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::envelope::{BodyType, Envelope, Notify, Recipient, TlsWish};
use crate::mail::outcome::Reason;
use crate::outcome::dsn::lines::Lines;
use crate::outcome::dsn::original::Returned;

mod fields;
mod lines;
mod original;
mod text;

pub use crate::base::limits::DSN_ORIGINAL_MAX;

/// What is reported (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Given up.
    Failed,
    /// Not delivered yet; still being tried.
    Delayed,
    /// Handed to a host that will not report on it.
    Relayed,
    /// Delivered.
    Delivered,
}

/// A recipient that is reported on.
#[derive(Clone, Copy, Debug)]
pub struct DsnRecipient<'a> {
    /// Of the envelope.
    pub recipient: &'a Recipient,
    /// What the last attempt came to.
    pub reason: &'a Reason,
    /// When that was.
    pub attempted: WallTime,
}

/// Everything that a DSN is made of.
#[derive(Clone, Copy, Debug)]
pub struct DsnRequest<'a> {
    /// The same for all `recipients`.
    pub action: Action,
    /// This node's name: reporting MTA, and the domain that the DSN comes from.
    pub hostname: &'a str,
    /// The DSN's own id.
    pub id: MessageId,
    /// The id of the message that it is about.
    pub original_id: MessageId,
    /// The envelope of the message that it is about; its reverse-path is not null.
    pub envelope: &'a Envelope,
    /// At least one.
    pub recipients: &'a [DsnRecipient<'a>],
    /// The content's beginning: the header, better all of it; at most `DSN_ORIGINAL_MAX` is used.
    pub original: &'a [u8],
    /// Octets of the whole content.
    pub original_bytes: u64,
    /// When the message came in.
    pub arrival: WallTime,
    /// When the DSN is written.
    pub now: WallTime,
    /// When the queue lifetime ends.
    pub expires: WallTime,
}

/// A DSN, ready for the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dsn {
    /// From the null reverse-path to the original's reverse-path.
    pub envelope: Envelope,
    /// Header and body; CRLF only, lines of at most `MAIL_LINE_MAX`.
    pub content: Vec<u8>,
}

/// Whether the reverse-path of `envelope` is to be told of `action` for `recipient`.
pub fn due(envelope: &Envelope, recipient: &Recipient, action: Action) -> bool {
    //= RFC 5321 §4.5.5
    //# All other types of messages … SHOULD be sent with a valid, non-null reverse-path.
    // What has none is a DSN, or asks for none: so there is never a DSN about a DSN.
    !envelope.reverse_path.is_null()
        && match action {
            Action::Failed => recipient.notify.on_failure(),
            Action::Delayed => recipient.notify.on_delay(),
            Action::Relayed | Action::Delivered => recipient.notify.on_success(),
        }
}

/// What the next hop does itself of what a sender may ask for, as it offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassedOn {
    /// It sends DSNs (RFC 3461 §5.2.1).
    pub dsn: bool,
    /// It returns or tells what is late (RFC 2852).
    pub deliver_by: bool,
}

/// Whether the reverse-path of `envelope` is to be told that `recipient` was passed on: nobody
/// behind does what it asked for, or it asked to know each step.
pub fn is_relayed_due(envelope: &Envelope, recipient: &Recipient, passed_on: PassedOn) -> bool {
    let by = envelope.handling.as_ref().and_then(|handling| handling.deliver_by);
    let of_time = by.is_some_and(|by| by.trace || !passed_on.deliver_by)
        && recipient.notify != Notify::Never
        && !envelope.reverse_path.is_null();
    of_time || (!passed_on.dsn && due(envelope, recipient, Action::Relayed))
}

/// Write the DSN. Panics without recipients and for a null reverse-path: `due` says no to those.
pub fn compose(request: &DsnRequest<'_>) -> Dsn {
    assert!(!request.recipients.is_empty(), "a DSN about nobody");
    let reverse_path = &request.envelope.reverse_path.0;
    let sender = reverse_path.clone().expect("a DSN goes to a reverse-path");
    let returned = original::cut(request);
    let utf8 = needs_utf8(request, &returned);
    let text = text::write(request, &returned, utf8);
    let status = fields::write(request, utf8);
    let boundary = boundary(request, &[&text, &status, &returned.content]);

    let mut content = Vec::new();
    let has_eight_bit = [&text, &status, &returned.content].iter().any(|part| !part.is_ascii());
    write_header(request, &boundary, has_eight_bit, utf8, &mut content);
    content.extend_from_slice(b"This is a delivery status notification in MIME format.\r\n");
    let charset = if text.is_ascii() { "us-ascii" } else { "utf-8" };
    let kind = format!("text/plain; charset={charset}");
    write_part(&boundary, "Notification", &kind, &text, &mut content);
    let kind = if utf8 { "message/global-delivery-status" } else { "message/delivery-status" };
    write_part(&boundary, "Delivery report", kind, &status, &mut content);
    let description = if returned.is_whole { "Message" } else { "Header of the message" };
    write_part(&boundary, description, returned.kind(utf8), &returned.content, &mut content);
    content.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());

    let is_eight_bit = !content.is_ascii();
    let envelope = Envelope {
        reverse_path: ReversePath::NULL,
        body_type: if is_eight_bit { BodyType::EightBitMime } else { BodyType::SevenBit },
        smtp_utf8: utf8,
        //= RFC 8689 §5
        //# All non-delivery messages resulting from messages with the REQUIRETLS SMTP option …
        //# MUST also specify the REQUIRETLS SMTP option
        tls: match request.envelope.tls {
            TlsWish::Required => TlsWish::Required,
            TlsWish::Unsaid | TlsWish::Waived => TlsWish::Unsaid,
        },
        ret: None,
        envelope_id: None,
        handling: None,
        recipients: vec![Recipient {
            forward_path: ForwardPath::Mailbox(sender),
            notify: Notify::Never,
            original: None,
        }],
    };
    Dsn { envelope, content }
}

/// RFC 6533 §2: the internationalized forms are for what the plain ones cannot say.
fn needs_utf8(request: &DsnRequest<'_>, returned: &Returned) -> bool {
    let is_wide = |recipient: &Recipient| {
        let original = recipient.original.as_ref().map_or("", |original| &original.address);
        !recipient.forward_path.as_str().is_ascii() || !original.is_ascii()
    };
    let envelope = request.envelope;
    !envelope.reverse_path.as_str().is_ascii()
        || request.recipients.iter().any(|about| is_wide(about.recipient))
        || (envelope.smtp_utf8 && returned.has_eight_bit_header)
}

fn write_header(
    request: &DsnRequest<'_>,
    boundary: &str,
    has_eight_bit: bool,
    utf8: bool,
    content: &mut Vec<u8>,
) {
    let hostname = request.hostname;
    let subject = match request.action {
        Action::Failed => "Undelivered Mail Returned to Sender",
        Action::Delayed => "Delayed Mail (still being retried)",
        Action::Relayed | Action::Delivered => "Successful Mail Delivery Report",
    };
    let mut lines = Lines::new(utf8);
    lines.field("From", &format!("Mail Delivery System <MAILER-DAEMON@{hostname}>"));
    lines.field("To", &request.envelope.reverse_path.to_string());
    lines.field("Subject", subject);
    lines.field("Date", &request.now.to_rfc5322());
    lines.field("Message-ID", &format!("<{}@{hostname}>", request.id));
    // RFC 3834 §3.1.5: so that the answer stands beside what it answers.
    if let Some(original) = original::message_id(request.original) {
        lines.field("In-Reply-To", original);
        lines.field("References", original);
    }
    lines.field("Auto-Submitted", "auto-replied");
    lines.field("MIME-Version", "1.0");
    let report = "multipart/report; report-type=delivery-status;";
    lines.field("Content-Type", &format!("{report} boundary=\"{boundary}\""));
    lines.field("Content-Transfer-Encoding", if has_eight_bit { "8bit" } else { "7bit" });
    lines.blank();
    content.extend_from_slice(&lines.into_octets());
}

fn write_part(boundary: &str, description: &str, kind: &str, part: &[u8], content: &mut Vec<u8>) {
    let encoding = if part.is_ascii() { "7bit" } else { "8bit" };
    let header = format!(
        "\r\n--{boundary}\r\nContent-Description: {description}\r\nContent-Type: {kind}\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    content.extend_from_slice(header.as_bytes());
    content.extend_from_slice(part);
}

/// RFC 2046 §5.1: a line that none of the parts contains, whoever wrote them.
fn boundary(request: &DsnRequest<'_>, parts: &[&Vec<u8>]) -> String {
    let mut boundary = format!("=_{}", request.id);
    let mut number = 0;
    while parts.iter().any(|part| memmem::find(part, boundary.as_bytes()).is_some()) {
        number += 1;
        boundary = format!("=_{}_{number}", request.id);
    }
    boundary
}

#[cfg(test)]
mod tests;
