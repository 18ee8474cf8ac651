//! TLS of the harness: rustls over its own sockets, so that what judges the relay's TLS has none of
//! the relay's code.

mod certificate;
mod client;
mod stream;

use std::sync::Arc;

use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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

/// A new password, of 24 letters, digits, hyphens and underscores.
pub(crate) fn secret() -> Result<String> {
    let mut octets = [0; 18];
    let filled = provider().secure_random.fill(&mut octets);
    filled.map_err(|_| anyhow!("no randomness for a password"))?;
    Ok(URL_SAFE_NO_PAD.encode(octets))
}
