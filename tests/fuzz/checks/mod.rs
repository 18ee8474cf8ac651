//! What must hold of arbitrary octets: one check a target, for the fuzzer and for `cargo test`.
//!
//! A check panics where something does not hold. It has no state, no clock and no randomness of its
//! own: the same octets, the same result.

mod address;
mod client;
mod command;
mod config;
mod content;
mod cuts;
mod dns;
mod feedback;
mod form;
mod milter;
mod proxy;
mod recipients;
mod replies;
mod reply;
mod script;
mod sent;
mod server;
mod shaping;
mod socks;
mod spool;
mod taken;
mod wire;

/// Every target: its name, which is that of its corpus too, and its check.
pub(crate) const TARGETS: [(&str, fn(&[u8])); 16] = [
    ("server", server::check),
    ("client", client::check),
    ("spool", spool::check),
    ("dns", dns::check),
    ("command", command::check),
    ("content", content::check),
    ("reply", reply::check),
    ("address", address::check),
    ("config", config::check),
    ("proxy", proxy::check),
    ("milter", milter::check),
    ("form", form::check),
    ("recipients", recipients::check),
    ("feedback", feedback::check),
    ("shaping", shaping::check),
    ("socks", socks::check),
];
