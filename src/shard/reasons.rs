//! Put reasons and originals together for DSNs and events.

use crate::base::limits::DSN_ORIGINAL_MAX;
use crate::base::time::WallTime;
use crate::mail::outcome::{Failure, Reason, Stage};
use crate::mail::status::{EnhancedStatus, Reply};
use crate::outcome::judge::judge;
use crate::spool::stored::Stored;

/// Why a recipient expired: the end of its lifetime, or that it is too late for its sender, and
/// what stood in its way.
pub(super) fn expiry(last: Option<Reason>, stored: &Stored, now: WallTime) -> Reason {
    let last = last.unwrap_or_else(|| untried("never tried"));
    let handling = stored.envelope.handling.as_ref();
    let by = handling.and_then(|handling| handling.deliver_by).filter(|by| by.is_over(now));
    let (status, why) = match by {
        // Delivery time expired (RFC 3463 §3.5), for good (RFC 2852).
        Some(by) => {
            let at = by.at.to_rfc5322();
            (EnhancedStatus::new(5, 4, 7), format!("it was to be delivered by {at} or not at all"))
        }
        None => {
            let status = judge(Stage::Route, &Failure::Expired).status;
            (status, "the queue lifetime is over".to_owned())
        }
    };
    let detail = format!("{why}; last: {last}");
    Reason { status, detail: detail.into(), ..last }
}

pub(super) fn untried(detail: &str) -> Reason {
    let status = judge(Stage::Route, &Failure::TimedOut).status;
    Reason { stage: Stage::Route, status, reply: None, detail: detail.into(), peer: "".into() }
}

/// The next hop's acceptance, as a reason to tell.
pub(super) fn taken(reply: &Reply, peer: &str) -> Reason {
    let ok = EnhancedStatus::new(2, 0, 0);
    Reason {
        stage: Stage::Content,
        status: reply.enhanced.unwrap_or(ok),
        reply: Some(reply.clone()),
        detail: "".into(),
        peer: peer.into(),
    }
}

/// As much of a message as a DSN may return, in one piece.
pub(super) fn original(stored: &Stored) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < DSN_ORIGINAL_MAX {
        let window = stored.window(bytes.len() as u64, DSN_ORIGINAL_MAX - bytes.len());
        if window.is_empty() {
            break;
        }
        bytes.extend_from_slice(window);
    }
    bytes
}
