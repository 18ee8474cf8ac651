//! Floor 2: SMTP, bytes ⇄ meaning: both sides of a session as machines without I/O.

pub mod client;
pub mod peer_reply;
pub mod stuffing;
