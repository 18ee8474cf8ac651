//! What a reply means where one class of replies is wanted.

use crate::mail::status::{Reply, Severity};

/// What a reply says to a command that wants 2yz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    No,
    Yes,
    /// 3yz.
    OutOfPlace,
}

pub(super) fn refusal(reply: &Reply) -> Refusal {
    match reply.code.severity() {
        Severity::Completed => Refusal::No,
        Severity::Intermediate => Refusal::OutOfPlace,
        Severity::Transient | Severity::Permanent => Refusal::Yes,
    }
}

/// RFC 5321 §4.5.3.1.10: 452 is "too many recipients", and so is 552 from those who follow RFC 821;
/// unless the enhanced status says that it is about something else.
pub(super) fn is_too_many(reply: &Reply) -> bool {
    let is_code = matches!(reply.code.as_u16(), 452 | 552);
    is_code && reply.enhanced.is_none_or(|status| (status.subject, status.detail) == (5, 3))
}
