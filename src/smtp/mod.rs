//! Floor 2: SMTP, bytes ⇄ meaning: both sides of a session as machines without I/O.

pub mod answer;
pub mod client;
pub mod command;
pub mod content;
pub mod deadline;
pub mod extension;
pub mod line;
pub mod parameter;
pub mod peer_reply;
pub mod phase;
pub mod proxy;
pub mod sasl;
pub mod server;
pub mod socks;
pub mod stuffing;
pub mod xclient;
