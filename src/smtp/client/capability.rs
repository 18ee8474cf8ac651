//! Say what the peer cannot carry, before any of it is sent.
//!
//! A relay that does not convert content has two choices: send what was declared, or give it back
//! (RFC 6152 §3, RFC 6531 §3.5, RFC 3030 §3). Ours never sends it as something else.

use crate::mail::envelope::{BodyType, Recipient, TlsWish};
use crate::mail::handling::Late;
use crate::mail::outcome::Failure;
use crate::mail::status::{EnhancedStatus, REQUIRETLS_NEEDED};
use crate::smtp::client::{PeerExtensions, Transaction};

const TOO_BIG: EnhancedStatus = EnhancedStatus::new(5, 3, 4);
/// Features that the message asks for (RFC 3463 §3.4).
const NOT_CAPABLE: EnhancedStatus = EnhancedStatus::new(5, 3, 3);
const CONVERSION_NEEDED: EnhancedStatus = EnhancedStatus::new(5, 6, 3);
const UTF8_NEEDED: EnhancedStatus = EnhancedStatus::new(5, 6, 7);

/// Why the peer cannot take `transaction` for anyone.
pub(super) fn lacks_for_all(
    transaction: &Transaction,
    extensions: &PeerExtensions,
) -> Option<Failure> {
    let envelope = &transaction.envelope;
    let limit = extensions.size.filter(|limit| *limit > 0).unwrap_or(u64::MAX);
    if transaction.content_bytes > limit {
        let bytes = transaction.content_bytes;
        let detail = format!("takes at most {limit} octets, and this message has {bytes}");
        return Some(incapable(TOO_BIG, &detail));
    }
    let takes_binary = extensions.binary_mime && extensions.chunking;
    if envelope.body_type == BodyType::BinaryMime && !takes_binary {
        return Some(incapable(CONVERSION_NEEDED, "does not offer BINARYMIME"));
    }
    if envelope.tls == TlsWish::Required && !extensions.require_tls {
        return Some(incapable(REQUIRETLS_NEEDED, "does not offer REQUIRETLS"));
    }
    // Nobody would return it when it is late.
    let is_returned = transaction.by.is_some_and(|by| by.late == Late::Return);
    if is_returned && !extensions.deliver_by {
        return Some(incapable(NOT_CAPABLE, "does not offer DELIVERBY"));
    }
    let utf8_header = envelope.smtp_utf8 && transaction.header_has_eight_bit;
    let utf8_sender = !transaction.sender().is_ascii();
    if (utf8_header || utf8_sender) && !extensions.smtp_utf8 {
        return Some(incapable(UTF8_NEEDED, "does not offer SMTPUTF8"));
    }
    if transaction.has_eight_bit && !extensions.eight_bit_mime {
        return Some(incapable(CONVERSION_NEEDED, "does not offer 8BITMIME"));
    }
    None
}

/// Why the peer cannot take anything for `recipient`.
pub(super) fn lacks_for(recipient: &Recipient, extensions: &PeerExtensions) -> Option<Failure> {
    let needs_utf8 = !recipient.forward_path.as_str().is_ascii();
    (needs_utf8 && !extensions.smtp_utf8).then(|| incapable(UTF8_NEEDED, "does not offer SMTPUTF8"))
}

fn incapable(status: EnhancedStatus, detail: &str) -> Failure {
    Failure::Incapable { status, detail: detail.into() }
}
