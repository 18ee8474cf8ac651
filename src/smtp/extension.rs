//! Say in the reply to EHLO which service extensions this node offers.
//!
//! In: what is switched on. Out: the 250 of EHLO, one keyword a line (RFC 5321 §4.1.1.1).
//! Invariant: what is not offered is not accepted either: its commands are 502, its parameters 555.

use std::io::Write;

/// The extensions on offer. Those that only inform (ENHANCEDSTATUSCODES, LIMITS) and those that ask
/// nothing of the next hop (PIPELINING, SIZE, 8BITMIME, DSN) are always on offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// CHUNKING: BDAT (RFC 3030 §2).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030 §3); means nothing without CHUNKING.
    pub binary_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtp_utf8: bool,
}

impl Offered {
    /// All that is implemented.
    pub const ALL: Self = Self { chunking: true, binary_mime: true, smtp_utf8: true };

    /// Whether BODY=BINARYMIME is taken: BDAT alone could carry it.
    pub fn takes_binary(self) -> bool {
        self.chunking && self.binary_mime
    }

    /// Append the reply to EHLO: the host's name, then a keyword a line.
    /// `start_tls`: that too.
    pub fn write(
        self,
        hostname: &str,
        bytes_max: u64,
        recipients_max: usize,
        start_tls: bool,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"250-");
        out.extend_from_slice(hostname.as_bytes());
        out.extend_from_slice(b"\r\n250-PIPELINING\r\n");
        write!(out, "250-SIZE {bytes_max}\r\n").expect("a Vec takes all");
        out.extend_from_slice(b"250-8BITMIME\r\n");
        if self.smtp_utf8 {
            out.extend_from_slice(b"250-SMTPUTF8\r\n");
        }
        if self.chunking {
            out.extend_from_slice(b"250-CHUNKING\r\n");
        }
        if self.takes_binary() {
            out.extend_from_slice(b"250-BINARYMIME\r\n");
        }
        if start_tls {
            out.extend_from_slice(b"250-STARTTLS\r\n");
        }
        out.extend_from_slice(b"250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n");
        write!(out, "250 LIMITS RCPTMAX={recipients_max}\r\n").expect("a Vec takes all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 5321 §4.1.1.1, type=test
    //# ehlo-ok-rsp = ( "250" SP Domain [ SP ehlo-greet ] CRLF ) / ( "250-" Domain …
    #[test]
    fn every_extension_has_its_line() {
        let mut out = Vec::new();
        Offered::ALL.write("mx.example", 1_000, 100, true, &mut out);
        let expected = "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n\
            250-SMTPUTF8\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-STARTTLS\r\n\
            250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 LIMITS RCPTMAX=100\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn what_is_switched_off_is_not_offered() {
        let mut out = Vec::new();
        let offered = Offered { chunking: false, smtp_utf8: false, ..Offered::ALL };
        offered.write("mx.example", 1_000, 100, false, &mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        let off = ["CHUNKING", "BINARYMIME", "SMTPUTF8", "STARTTLS"];
        assert!(off.iter().all(|word| !text.contains(word)));
    }
}
