//! Floor 3: what may come in, and what is added to it.
//!
//! In: addresses, paths, counters and content, as values. Out: verdicts that carry their reply.

pub mod admission;
pub mod attempts;
pub mod authenticity;
pub mod block_lists;
pub mod canonical;
pub mod checks;
pub mod content;
pub mod credentials;
pub mod domain_check;
pub mod filtering;
pub mod gate;
pub mod links;
pub mod mta_sts;
pub mod pace;
pub mod rates;
pub mod recipients;
pub mod relay;
pub mod repeats;
pub mod returns;
pub mod senders;
pub mod signing;
pub mod suppression;
pub mod tls_report;
pub mod verp;
pub mod zone;

use crate::mail::status::{EnhancedStatus, Reply, ReplyCode};

/// A reply of ours; code and status are literals here, so they are in range.
fn reply(code: u16, (class, subject, detail): (u8, u16, u16), text: &str) -> Reply {
    Reply {
        code: ReplyCode::new(code).expect("a literal code of RFC 5321"),
        enhanced: Some(EnhancedStatus::new(class, subject, detail)),
        text: text.into(),
    }
}
