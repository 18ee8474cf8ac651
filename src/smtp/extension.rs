//! Say in the reply to EHLO which service extensions this node offers.
//!
//! In: what is switched on. Out: the 250 of EHLO, one keyword a line (RFC 5321 §4.1.1.1).
//! Invariant: what is not offered is not accepted either: its commands are 502, its parameters 555.

use std::io::Write;

use crate::base::limits::HOLD_SECONDS_MAX;
use crate::smtp::sasl::Mechanism;
use crate::smtp::xclient;

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
    /// AUTH= at MAIL (RFC 4954 §5); the command itself has switches of its own.
    pub auth: bool,
    /// REQUIRETLS (RFC 8689 §3), where all goes through TLS.
    pub require_tls: bool,
    /// MT-PRIORITY (RFC 6710 §4).
    pub priority: bool,
    /// FUTURERELEASE (RFC 4865 §4): seconds that a message can be held; 0: it is not offered.
    pub hold_seconds: u32,
    /// DELIVERBY (RFC 2852 §4).
    pub deliver_by: bool,
}

/// After all that could be asked for.
const FAR: &str = "9999-12-31T23:59:59Z";

/// What else the reply to EHLO says.
#[derive(Clone, Copy, Debug)]
pub struct Particulars<'a> {
    /// How this node calls itself.
    pub hostname: &'a str,
    /// SIZE.
    pub bytes_max: u64,
    /// RCPTMAX.
    pub recipients_max: usize,
    /// STARTTLS can be said.
    pub start_tls: bool,
    /// All goes through TLS.
    pub is_secured: bool,
    /// How a client can log in; with none, AUTH is not offered.
    pub mechanisms: &'a [Mechanism],
    /// XCLIENT can be said.
    pub xclient: bool,
}

impl Offered {
    /// All that is implemented.
    pub const ALL: Self = Self {
        chunking: true,
        binary_mime: true,
        smtp_utf8: true,
        auth: true,
        require_tls: true,
        priority: true,
        hold_seconds: HOLD_SECONDS_MAX,
        deliver_by: true,
    };

    /// Whether BODY=BINARYMIME is taken: BDAT alone could carry it.
    pub fn takes_binary(self) -> bool {
        self.chunking && self.binary_mime
    }

    /// Append the reply to EHLO: the host's name, then a keyword a line.
    pub fn write(self, particulars: &Particulars<'_>, out: &mut Vec<u8>) {
        let Particulars { hostname, bytes_max, recipients_max, start_tls, .. } = *particulars;
        let Particulars { is_secured, mechanisms, xclient, .. } = *particulars;
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
        if self.require_tls && is_secured {
            out.extend_from_slice(b"250-REQUIRETLS\r\n");
        }
        if self.priority {
            out.extend_from_slice(b"250-MT-PRIORITY\r\n");
        }
        if self.hold_seconds > 0 {
            // The date has no bound of its own.
            write!(out, "250-FUTURERELEASE {} {FAR}\r\n", self.hold_seconds)
                .expect("a Vec takes all");
        }
        if self.deliver_by {
            // No time is too short to be asked for.
            out.extend_from_slice(b"250-DELIVERBY\r\n");
        }
        if !mechanisms.is_empty() {
            out.extend_from_slice(b"250-AUTH");
            for mechanism in mechanisms {
                write!(out, " {}", mechanism.name()).expect("a Vec takes all");
            }
            out.extend_from_slice(b"\r\n");
        }
        if xclient {
            write!(out, "250-{}\r\n", xclient::KEYWORD).expect("a Vec takes all");
        }
        out.extend_from_slice(b"250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n");
        write!(out, "250 LIMITS RCPTMAX={recipients_max}\r\n").expect("a Vec takes all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTICULARS: Particulars<'_> = Particulars {
        hostname: "mx.example",
        bytes_max: 1_000,
        recipients_max: 100,
        start_tls: true,
        is_secured: true,
        mechanisms: &Mechanism::ALL,
        xclient: true,
    };

    //= RFC 5321 §4.1.1.1, type=test
    //# ehlo-ok-rsp = ( "250" SP Domain [ SP ehlo-greet ] CRLF ) / ( "250-" Domain …
    #[test]
    fn every_extension_has_its_line() {
        let mut out = Vec::new();
        Offered::ALL.write(&PARTICULARS, &mut out);
        let expected = "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n\
            250-SMTPUTF8\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-STARTTLS\r\n\
            250-REQUIRETLS\r\n250-MT-PRIORITY\r\n\
            250-FUTURERELEASE 2592000 9999-12-31T23:59:59Z\r\n250-DELIVERBY\r\n\
            250-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n\
            250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n\
            250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 LIMITS RCPTMAX=100\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn what_is_switched_off_is_not_offered() {
        let mut out = Vec::new();
        let less = Offered { priority: false, hold_seconds: 0, deliver_by: false, ..Offered::ALL };
        let offered = Offered { chunking: false, smtp_utf8: false, ..less };
        let particulars = Particulars {
            start_tls: false,
            is_secured: false,
            mechanisms: &[],
            xclient: false,
            ..PARTICULARS
        };
        offered.write(&particulars, &mut out);
        let text = String::from_utf8_lossy(&out).into_owned();
        let off = ["CHUNKING", "BINARYMIME", "SMTPUTF8", "STARTTLS", "REQUIRETLS"];
        assert!(
            off.iter()
                .chain(&["AUTH", "XCLIENT", "MT-PRIORITY", "FUTURERELEASE", "DELIVERBY"])
                .all(|word| !text.contains(word))
        );
    }
}
