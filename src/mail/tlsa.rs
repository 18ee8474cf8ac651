//! What DNS says of a host's certificate.

use std::fmt;

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

/// As a zone file has it (RFC 6698 §2.2).
impl fmt::Display for Tlsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.usage, self.selector, self.matching)?;
        self.data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 6698 §2.3, type=test
    //# _443._tcp.www.example.com. IN TLSA ( 1 1 2 92003ba34942dc74152e2f2c408d29ec...
    #[test]
    fn a_record_is_written_as_in_a_zone_file() {
        let data = [0x92, 0x00, 0x3b].into();
        let record = Tlsa { usage: 1, selector: 1, matching: 2, data };
        assert_eq!(record.to_string(), "1 1 2 92003b");
    }
}
