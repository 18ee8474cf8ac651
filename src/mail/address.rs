//! Addresses as types: a path that exists is well-formed (RFC 5321 §4.1.2, RFC 6531 §3.3).
//!
//! The text of an address is kept as the client gave it (source routes dropped, RFC 5321 §4.1.1.3),
//! since only the destination may interpret a local part. [`Domain`] is the form that routing uses:
//! lower case, internationalized labels as A-labels, no trailing dot.

use std::fmt;
use std::net::IpAddr;
