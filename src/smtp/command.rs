//! Read a command line: which command, and with what arguments.
//!
//! In: a line without its CRLF. Out: typed arguments, or the answer that refuses them.
//! Invariant: what is returned is well-formed to the letter of RFC 5321 §4.1.1 and of the extension
//! that defines it; nothing is guessed, so that no two relays can read a line differently.

use crate::base::limits::DOMAIN_MAX;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::envelope::Recipient;
use crate::smtp::answer::Answer;
use crate::smtp::extension::Offered;
use crate::smtp::parameter::{self, MailParameters, RcptParameters};

/// A command by its first word. BDAT counts as two: LAST decides what may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// RFC 5321 §4.1.1.1.
    Ehlo,
    /// RFC 5321 §4.1.1.1.
    Helo,
    /// RFC 5321 §4.1.1.2.
    Mail,
    /// RFC 5321 §4.1.1.3.
    Rcpt,
    /// RFC 5321 §4.1.1.4.
    Data,
    /// RFC 3030 §2, more to come.
    Bdat,
    /// RFC 3030 §2, the last chunk.
    BdatLast,
    /// RFC 5321 §4.1.1.5.
    Rset,
    /// RFC 5321 §4.1.1.6.
    Vrfy,
    /// RFC 5321 §4.1.1.7.
    Expn,
    /// RFC 5321 §4.1.1.8.
    Help,
    /// RFC 5321 §4.1.1.9.
    Noop,
    /// RFC 5321 §4.1.1.10.
    Quit,
    /// RFC 3207.
    StartTls,
    /// RFC 4954.
    Auth,
    /// XCLIENT_README of Postfix.
    Xclient,
    /// GET, POST and the like: a browser has been led here.
    Http,
    /// Anything else.
    Unknown,
}

impl Verb {
    /// Every verb, in the order of the table of `phase.rs`.
    pub const ALL: [Self; 18] = [
        Self::Ehlo,
        Self::Helo,
        Self::Mail,
        Self::Rcpt,
        Self::Data,
        Self::Bdat,
        Self::BdatLast,
        Self::Rset,
        Self::Vrfy,
        Self::Expn,
        Self::Help,
        Self::Noop,
        Self::Quit,
        Self::StartTls,
        Self::Auth,
        Self::Xclient,
        Self::Http,
        Self::Unknown,
    ];

    /// As written on the wire; `BDAT LAST` for the last chunk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ehlo => "EHLO",
            Self::Helo => "HELO",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Bdat => "BDAT",
            Self::BdatLast => "BDAT LAST",
            Self::Rset => "RSET",
            Self::Vrfy => "VRFY",
            Self::Expn => "EXPN",
            Self::Help => "HELP",
            Self::Noop => "NOOP",
            Self::Quit => "QUIT",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Xclient => "XCLIENT",
            Self::Http => "HTTP",
            Self::Unknown => "unknown",
        }
    }

    /// Split a line into its verb, in either case, and what follows the first space. Trailing white
    /// space goes (RFC 5321 §4.1.1). Every BDAT is [`Verb::Bdat`] as yet.
    pub fn split(line: &str) -> (Self, &str) {
        let line = line.trim_end_matches([' ', '\t']);
        let (word, arguments) = line.split_once(' ').unwrap_or((line, ""));
        (Self::from_word(word), arguments)
    }

    fn from_word(word: &str) -> Self {
        let mut upper = [0u8; 8];
        let Some(upper) = upper.get_mut(..word.len()) else {
            return Self::Unknown;
        };
        upper.copy_from_slice(word.as_bytes());
        upper.make_ascii_uppercase();
        match &*upper {
            b"EHLO" => Self::Ehlo,
            b"HELO" => Self::Helo,
            b"MAIL" => Self::Mail,
            b"RCPT" => Self::Rcpt,
            b"DATA" => Self::Data,
            b"BDAT" => Self::Bdat,
            b"RSET" => Self::Rset,
            b"VRFY" => Self::Vrfy,
            b"EXPN" => Self::Expn,
            b"HELP" => Self::Help,
            b"NOOP" => Self::Noop,
            b"QUIT" => Self::Quit,
            b"STARTTLS" => Self::StartTls,
            b"AUTH" => Self::Auth,
            b"XCLIENT" => Self::Xclient,
            b"GET" | b"HEAD" | b"POST" | b"PUT" | b"DELETE" | b"CONNECT" | b"OPTIONS"
            | b"TRACE" | b"PATCH" | b"PRI" => Self::Http,
            _ => Self::Unknown,
        }
    }
}

/// What the client called itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// A domain or an address literal, unverified, of letters, digits and `-._:[]`: safe in a
    /// `Received:` field.
    pub name: Box<str>,
    /// Said with EHLO, not HELO.
    pub esmtp: bool,
}

impl Hello {
    /// Read the argument of EHLO or HELO.
    ///
    /// Laxer than the grammar in that any run of those characters will do: clients say what they
    /// find, and RFC 5321 §4.1.4 forbids refusing mail for it.
    pub fn parse(arguments: &str, esmtp: bool) -> Result<Self, Answer> {
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._:[]".contains(&octet);
        if arguments.is_empty() || arguments.len() > DOMAIN_MAX || !arguments.bytes().all(plain) {
            return Err(Answer::HELLO_NAME);
        }
        Ok(Self { name: arguments.into(), esmtp })
    }
}

/// MAIL: `FROM:<reverse-path>` and parameters.
pub fn mail(arguments: &str, offered: Offered) -> Result<(ReversePath, MailParameters), Answer> {
    let path = keyword(arguments, "FROM:")?;
    let (path, rest) = ReversePath::split(path, offered.smtp_utf8)
        .map_err(|error| Answer::bad_path(error, false))?;
    let parameters = MailParameters::parse(rest, offered)?;
    // The end of the line says what may stand at its beginning, a route that was dropped included.
    if !parameters.smtp_utf8 && !arguments.is_ascii() {
        return Err(Answer::NEEDS_SMTPUTF8);
    }
    Ok((path, parameters))
}

/// RCPT: `TO:<forward-path>` and parameters.
pub fn rcpt(arguments: &str, utf8: bool) -> Result<Recipient, Answer> {
    let path = keyword(arguments, "TO:")?;
    let (forward_path, rest) =
        ForwardPath::split(path, utf8).map_err(|error| Answer::bad_path(error, true))?;
    let RcptParameters { notify, original } = RcptParameters::parse(rest, utf8)?;
    Ok(Recipient { forward_path, notify, original })
}

/// A chunk that BDAT announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Octets that follow the command line.
    pub bytes: u64,
    /// No more chunks follow.
    pub last: bool,
}

/// BDAT: `size [LAST]` (RFC 3030 §2). `None` where no size can be read, so that nobody can know
/// where the next command begins.
pub fn bdat(arguments: &str) -> Option<Chunk> {
    let (size, last) = match arguments.split_once(' ') {
        None => (arguments, false),
        Some((size, word)) if word.eq_ignore_ascii_case("LAST") => (size, true),
        Some(_) => return None,
    };
    parameter::number(size).map(|bytes| Chunk { bytes, last })
}

/// What follows `name`, in either case.
fn keyword<'a>(arguments: &'a str, name: &str) -> Result<&'a str, Answer> {
    match arguments.split_at_checked(name.len()) {
        Some((word, rest)) if word.eq_ignore_ascii_case(name) => Ok(rest),
        Some(_) | None => Err(Answer::SYNTAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 5321 §2.4, type=test
    //# a command verb, an argument value other than a mailbox local-part, and free form text MAY be
    //# encoded in upper case, lower case, or any mixture of upper and lower case
    #[test]
    fn verbs_are_read_in_either_case() {
        assert_eq!(Verb::split("mAiL FROM:<>"), (Verb::Mail, "FROM:<>"));
        assert_eq!(Verb::split("starttls"), (Verb::StartTls, ""));
        assert_eq!(Verb::split("get / HTTP/1.1"), (Verb::Http, "/ HTTP/1.1"));
        for line in ["", " QUIT", "QUITE", "MAIL\tFROM:<>", "STARTTLSX", "é"] {
            assert_eq!(Verb::split(line).0, Verb::Unknown, "{line:?}");
        }
    }

    //= RFC 5321 §4.1.1, type=test
    //# SMTP receivers SHOULD tolerate trailing white space before the terminating <CRLF>.
    #[test]
    fn trailing_white_space_is_nothing() {
        assert_eq!(Verb::split("DATA \t "), (Verb::Data, ""));
    }

    #[test]
    fn verbs_other_than_bdat_are_read_as_they_are_written() {
        for verb in Verb::ALL {
            let word = verb.name().split(' ').next().unwrap_or_default();
            let read = Verb::split(word).0;
            match (verb, read) {
                (Verb::BdatLast, Verb::Bdat) | (Verb::Http, Verb::Unknown) => {}
                _ => assert_eq!(read, verb),
            }
        }
    }

    #[test]
    fn a_chunk_has_a_size_and_perhaps_last() {
        assert_eq!(bdat("0"), Some(Chunk { bytes: 0, last: false }));
        assert_eq!(bdat("86 last"), Some(Chunk { bytes: 86, last: true }));
        for text in ["", "LAST", "-1", "+1", "0x5", "5  LAST", "5 LASTS", "5 LAST 1", "1 2"] {
            assert_eq!(bdat(text), None, "{text:?}");
        }
        assert_eq!(bdat("99999999999999999999"), None, "more than 64 bits");
    }

    #[test]
    fn a_name_at_hello_is_safe_to_copy() {
        for name in ["mx.example.com", "[192.0.2.1]", "[IPv6:2001:db8::1]", "my_host", "x"] {
            assert_eq!(Hello::parse(name, true).map(|hello| hello.name), Ok(name.into()));
        }
        for name in ["", "a b", "a(b)", "a;b", "é", "a\u{1}", &"x".repeat(256)] {
            assert_eq!(Hello::parse(name, true), Err(Answer::HELLO_NAME), "{name:?}");
        }
    }

    //= RFC 5321 §3.3, type=test
    //# spaces are not permitted on either side of the colon following FROM in the MAIL command or
    //# TO in the RCPT command.
    #[test]
    fn no_space_stands_beside_the_colon() {
        let all = Offered::ALL;
        assert!(mail("from:<a@b.example>", all).is_ok());
        assert_eq!(mail("FROM :<a@b.example>", all), Err(Answer::SYNTAX));
        assert_eq!(mail("FROM: <a@b.example>", all), Err(Answer::BAD_SENDER));
        assert_eq!(rcpt("TO: <a@b.example>", false), Err(Answer::BAD_RECIPIENT));
        assert_eq!(rcpt("FROM:<a@b.example>", false), Err(Answer::SYNTAX));
    }

    //= RFC 6531 §3.5, type=test
    //# Non-ASCII addresses not permitted for that sender/recipient
    #[test]
    fn utf8_in_addresses_needs_the_parameter() {
        let all = Offered::ALL;
        assert_eq!(mail("FROM:<ü@b.example>", all), Err(Answer::NEEDS_SMTPUTF8));
        assert!(mail("FROM:<ü@b.example> SMTPUTF8", all).is_ok());
        assert_eq!(rcpt("TO:<ü@b.example>", false), Err(Answer::NEEDS_SMTPUTF8));
        assert!(rcpt("TO:<ü@b.example>", true).is_ok());
        assert_eq!(mail("FROM:<@ü.example:a@b.example>", all), Err(Answer::NEEDS_SMTPUTF8));
        assert!(mail("FROM:<@ü.example:a@b.example> SMTPUTF8", all).is_ok());
        assert_eq!(rcpt("TO:<@ü.example:a@b.example>", false), Err(Answer::NEEDS_SMTPUTF8));
        let without = Offered { smtp_utf8: false, ..all };
        assert_eq!(mail("FROM:<@ü.example:a@b.example>", without), Err(Answer::NEEDS_SMTPUTF8));
        assert_eq!(mail("FROM:<ü@b.example> SMTPUTF8", without), Err(Answer::NEEDS_SMTPUTF8));
    }
}
