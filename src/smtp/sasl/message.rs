//! Read and write what the messages of all mechanisms have in common: base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Decode base64 with all its padding, and with nothing else in it (RFC 4954 §4: anything more is
/// refused). It may hold a password.
pub(super) fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    STANDARD.decode(text).ok().map(Zeroizing::new)
}

/// Encode in base64.
pub(super) fn encode(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}
