//! Which SMTP extensions a listener offers, and which parameters a client may then use.

use clap::ValueEnum;
use serde::Deserialize;

/// An extension that can be turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "UPPERCASE")]
#[value(rename_all = "UPPER")]
pub(crate) enum Extension {
    /// RFC 2920
    Pipelining,
    /// RFC 6152
    #[serde(rename = "8BITMIME")]
    #[value(name = "8BITMIME")]
    EightBitMime,
    /// RFC 6531
    SmtpUtf8,
    /// RFC 3030
    Chunking,
    /// RFC 3461
    Dsn,
    /// RFC 1870
    Size,
    /// RFC 2034
    EnhancedStatusCodes,
    /// RFC 3207
    Starttls,
}

const ALL: [(Extension, &str); 8] = [
    (Extension::Pipelining, "PIPELINING"),
    (Extension::EightBitMime, "8BITMIME"),
    (Extension::SmtpUtf8, "SMTPUTF8"),
    (Extension::Chunking, "CHUNKING"),
    (Extension::Dsn, "DSN"),
    (Extension::Size, "SIZE"),
    (Extension::EnhancedStatusCodes, "ENHANCEDSTATUSCODES"),
    (Extension::Starttls, "STARTTLS"),
];

/// A set of extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extensions(u8);

impl Extensions {
    pub(crate) fn all() -> Self {
        Self(0b1111_1111)
    }

    pub(crate) fn has(self, extension: Extension) -> bool {
        self.0 & (1 << extension as u8) != 0
    }

    pub(crate) fn hide(&mut self, extension: Extension) {
        self.0 &= !(1 << extension as u8);
    }

    /// The reply to EHLO.
    pub(crate) fn ehlo_reply(self, name: &str, size_max: u64) -> Vec<u8> {
        let mut lines = vec![name.to_owned()];
        for (extension, keyword) in ALL {
            if self.has(extension) {
                lines.push(match extension {
                    Extension::Size => format!("{keyword} {size_max}"),
                    Extension::Pipelining
                    | Extension::EightBitMime
                    | Extension::SmtpUtf8
                    | Extension::Chunking
                    | Extension::Dsn
                    | Extension::EnhancedStatusCodes
                    | Extension::Starttls => keyword.to_owned(),
                });
            }
        }
        let mut reply = Vec::new();
        for (place, line) in lines.iter().enumerate() {
            let joint = if place + 1 == lines.len() { ' ' } else { '-' };
            reply.extend_from_slice(format!("250{joint}{line}\r\n").as_bytes());
        }
        reply
    }

    /// Whether a MAIL or RCPT parameter belongs to an extension that is offered.
    pub(crate) fn allow(self, parameter: &[u8]) -> bool {
        let keyword = parameter.split(|&octet| octet == b'=').next().unwrap_or_default();
        let is = |word: &str| keyword.eq_ignore_ascii_case(word.as_bytes());
        if is("SIZE") {
            self.has(Extension::Size)
        } else if is("BODY") {
            self.has(Extension::EightBitMime)
        } else if is("SMTPUTF8") {
            self.has(Extension::SmtpUtf8)
        } else if ["RET", "ENVID", "NOTIFY", "ORCPT"].into_iter().any(is) {
            self.has(Extension::Dsn)
        } else {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_extensions_are_neither_offered_nor_allowed() {
        let mut offers = Extensions::all();
        assert!(offers.allow(b"body=8BITMIME") && offers.allow(b"NOTIFY=NEVER"));
        offers.hide(Extension::EightBitMime);
        offers.hide(Extension::Dsn);
        let reply = String::from_utf8(offers.ehlo_reply("sink.example", 10)).unwrap();
        assert!(reply.starts_with("250-sink.example\r\n250-PIPELINING\r\n"));
        assert!(reply.contains("250-SIZE 10\r\n") && !reply.contains("DSN"));
        assert!(reply.ends_with("ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n"));
        assert!(!offers.allow(b"BODY=8BITMIME") && !offers.allow(b"RET=HDRS"));
        assert!(offers.allow(b"SIZE=5") && !offers.allow(b"XFOO=1"));
    }

    #[test]
    fn each_extension_has_its_own_place() {
        for (place, (extension, _)) in ALL.into_iter().enumerate() {
            assert_eq!(extension as usize, place);
        }
    }
}
