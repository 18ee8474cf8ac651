//! TLS of the harness: rustls over its own sockets, so that what judges the relay's TLS has none of
//! the relay's code.

mod certificate;
mod client;
mod stream;

use std::sync::Arc;

use clap::ValueEnum;
use rustls::crypto::CryptoProvider;
use serde::Deserialize;

pub(crate) use certificate::{Flaw, Identity, Maker, Server};
pub(crate) use client::Client;
pub(crate) use stream::Stream;

/// When a connection is secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Never.
    #[default]
    None,
    /// By STARTTLS (RFC 3207).
    Starttls,
    /// From its first octet on (RFC 8314 §3.3).
    Implicit,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
