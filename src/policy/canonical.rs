//! The relaxed form that signatures are made of (RFC 6376 §3.4): what may change on the way is
//! taken out.

pub mod body;
pub mod header;
