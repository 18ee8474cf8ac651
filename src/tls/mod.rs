//! Floor 2: TLS over octets, without I/O: rustls with one crypto provider.
//!
//! ```text
//! Acceptor  (certificates by name, who may show one) ─► Tls ◄─ octets of the connection
//! Connector (who is trusted to be the peer)          ─► Tls ─► octets for it, and plain text
//! ```
//! TLS 1.2 and 1.3. Session keys, tickets and verdicts live in memory only.

mod client;
mod clock;
mod dane;
mod identity;
mod machine;
mod server;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use client::{Connector, PeerName, Roots, RootsError};
pub use clock::Clock;
pub use identity::{Chain, Identity, IdentityError};
pub use machine::{Facts, Fault, Read, Tls, TlsError};
pub use server::Acceptor;

/// The one provider of cryptography: for TLS, signatures and digests alike.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests;
