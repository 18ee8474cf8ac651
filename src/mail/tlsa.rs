//! What DNS says of a host's certificate.

/// One TLSA record (RFC 6698 §2.1), its numbers as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    /// What the certificate is: 2 an authority, 3 the host's own.
    pub usage: u8,
    /// What of it is meant: 0 all, 1 its public key.
    pub selector: u8,
    /// How it is given: 0 as it is, 1 by its SHA-256, 2 by its SHA-512.
    pub matching: u8,
    /// That.
    pub data: Box<[u8]>,
}
