//! Hold every reply that the relay gives, and write one on the wire.
//!
//! In: a constant below, or one made for the occasion. Out: `code SP enhanced SP text CRLF`,
//! several lines where the text has several (RFC 5321 §4.2.1).
//! Invariant: whatever the text, what is written is whole lines of printable octets of at most 512
//! octets each (§4.5.3.1.5); every reply carries an enhanced status (RFC 2034 §4) but 220, those to
//! EHLO and HELO, and 3yz, for which RFC 3463 has no class.

use std::borrow::Cow;
use std::io::Write;

use crate::base::ids::MessageId;
use crate::base::limits::ANSWER_TEXT_MAX;
use crate::mail::address::AddressError;
use crate::mail::status::{EnhancedStatus, Reply, ReplyCode, Severity};

/// A reply that we give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The three digits.
    pub code: ReplyCode,
    /// RFC 2034 enhanced status; `None` for 3yz alone.
    pub enhanced: Option<EnhancedStatus>,
    text: Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    Words(Cow<'static, str>),
    Stored(MessageId),
}

impl Answer {
    // --- Asked for and given ---

    /// To MAIL.
    pub const SENDER_OK: Self = Self::known(250, (2, 1, 0), "Sender ok");
    /// To RCPT.
    pub const RECIPIENT_OK: Self = Self::known(250, (2, 1, 5), "Recipient ok");
    /// To DATA. For a first BDAT too: there it means "go on" and nothing is said.
    pub const GO_ON: Self = Self {
        code: ReplyCode::known(354),
        enhanced: None,
        text: Text::Words(Cow::Borrowed("Go on, end with <CRLF>.<CRLF>")),
    };
    /// To BDAT without LAST.
    pub const CHUNK_OK: Self = Self::known(250, (2, 0, 0), "Chunk ok");
    /// To RSET and NOOP.
    pub const OK: Self = Self::known(250, (2, 0, 0), "Ok");
    /// To VRFY (RFC 5321 §3.5.3: 252 where an address is not verified).
    pub const CANNOT_VERIFY: Self =
        Self::known(252, (2, 0, 0), "Cannot verify, will try to deliver");
    /// To HELP.
    pub const HELP: Self =
        Self::known(214, (2, 0, 0), "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT");
    /// To STARTTLS (RFC 3207 §4).
    pub const TLS_GO_ON: Self = Self::known(220, (2, 0, 0), "Go on with TLS");
    /// To AUTH, once it is known who it is.
    pub const AUTHENTICATED: Self = Self::known(235, (2, 7, 0), "Authentication successful");
    /// To QUIT.
    pub const BYE: Self = Self::known(221, (2, 0, 0), "Bye");

    // --- Not in this order, not in this form ---

    /// A command that is none of RFC 5321's.
    pub const UNKNOWN_COMMAND: Self = Self::known(500, (5, 5, 1), "Unknown command");
    /// To all but a few commands, where a listener wants TLS (RFC 3207 §4).
    pub const TLS_FIRST: Self = Self::known(530, (5, 7, 0), "Must issue a STARTTLS command first");
    /// To STARTTLS inside TLS.
    pub const TLS_ALREADY: Self = Self::known(503, (5, 5, 1), "TLS is active already");
    /// A command that this node does not offer.
    pub const NOT_OFFERED: Self = Self::known(502, (5, 5, 1), "Command not offered here");
    /// A command line over the limit.
    pub const LINE_TOO_LONG: Self = Self::known(500, (5, 5, 2), "Command line too long");
    /// A bare CR in a command line.
    pub const BARE_CR: Self = Self::known(500, (5, 5, 2), "Bare CR, lines end with CR LF");
    /// A bare LF in a command line.
    pub const BARE_LF: Self = Self::known(500, (5, 5, 2), "Bare LF, lines end with CR LF");
    /// A NUL in a command line.
    pub const NUL: Self = Self::known(500, (5, 5, 2), "NUL in a command line");
    /// A command line that is not UTF-8.
    pub const NOT_UTF8: Self = Self::known(500, (5, 5, 2), "Command line is not UTF-8");
    /// Arguments that are not those of the command.
    pub const SYNTAX: Self = Self::known(501, (5, 5, 4), "Syntax error in arguments");
    /// EHLO or HELO without a readable name.
    pub const HELLO_NAME: Self = Self::known(501, (5, 5, 4), "Name a domain or address literal");
    /// A parameter of MAIL or RCPT that this node does not offer.
    pub const UNKNOWN_PARAMETER: Self = Self::known(555, (5, 5, 4), "Parameter not recognized");
    /// A known parameter with a malformed value, or given twice.
    pub const BAD_PARAMETER: Self = Self::known(501, (5, 5, 4), "Malformed parameter");
    /// A reverse-path against the grammar.
    pub const BAD_SENDER: Self = Self::known(501, (5, 1, 7), "Malformed reverse-path");
    /// A forward-path against the grammar.
    pub const BAD_RECIPIENT: Self = Self::known(501, (5, 1, 3), "Malformed forward-path");
    /// A path over the limit (RFC 5321 §4.5.3.1.10).
    pub const SENDER_TOO_LONG: Self = Self::known(501, (5, 1, 7), "Reverse-path too long");
    /// A path over the limit (RFC 5321 §4.5.3.1.10).
    pub const RECIPIENT_TOO_LONG: Self = Self::known(501, (5, 1, 3), "Forward-path too long");
    /// Non-ASCII in an address where SMTPUTF8 was not given (RFC 6531 §3.5).
    pub const NEEDS_SMTPUTF8: Self =
        Self::known(553, (5, 6, 7), "Non-ASCII address without SMTPUTF8");
    /// A transaction command before EHLO or HELO.
    pub const HELLO_FIRST: Self = Self::known(503, (5, 5, 1), "EHLO first");
    /// RCPT, DATA or BDAT without MAIL.
    pub const MAIL_FIRST: Self = Self::known(503, (5, 5, 1), "MAIL first");
    /// A command at a place where it has no meaning.
    pub const BAD_SEQUENCE: Self = Self::known(503, (5, 5, 1), "Bad sequence of commands");
    /// MAIL inside a transaction.
    pub const NESTED_MAIL: Self = Self::known(503, (5, 5, 1), "Transaction already begun");
    /// DATA or BDAT with no recipient accepted (RFC 5321 §3.3).
    pub const NO_RECIPIENTS: Self = Self::known(554, (5, 5, 1), "No valid recipients");
    /// DATA where BODY=BINARYMIME (RFC 3030 §3), or after BDAT (§2).
    pub const BDAT_ONLY: Self = Self::known(503, (5, 5, 1), "Only BDAT may follow");

    // --- Who is it (RFC 4954 §4, §6) ---

    /// XCLIENT of a client that speaks for itself.
    pub const NO_PROXY: Self = Self::known(550, (5, 7, 1), "You are not trusted to say this");

    /// AUTH where it is offered within TLS alone.
    pub const AUTH_NEEDS_TLS: Self = Self::known(538, (5, 7, 11), "Must use TLS to authenticate");
    /// AUTH a second time.
    pub const AUTH_ALREADY: Self = Self::known(503, (5, 5, 1), "Authenticated already");
    /// AUTH by a mechanism that is not on offer.
    pub const AUTH_MECHANISM: Self = Self::known(504, (5, 5, 4), "Mechanism not offered here");
    /// The client gave up.
    pub const AUTH_CANCELLED: Self = Self::known(501, (5, 7, 0), "Authentication cancelled");
    /// A response that is not base64, or not what the mechanism has there.
    pub const AUTH_MALFORMED: Self = Self::known(501, (5, 5, 2), "Cannot decode your response");
    /// A response over the limit.
    pub const AUTH_TOO_LONG: Self = Self::known(500, (5, 5, 6), "Authentication line too long");
    /// Wrong, in one of many ways of which none is told.
    pub const AUTH_FAILED: Self = Self::known(535, (5, 7, 8), "Authentication failed");
    /// Nobody has the time to find out.
    pub const AUTH_LATER: Self = Self::known(454, (4, 7, 0), "Busy, authenticate again later");
    /// MAIL where it must be known who it is.
    pub const AUTH_FIRST: Self = Self::known(530, (5, 7, 0), "Authentication required");
    /// MAIL of one that is no longer in the file.
    pub const AUTH_WITHDRAWN: Self = Self::known(421, (4, 7, 0), "Your credentials were withdrawn");

    // --- Limits ---

    /// More recipients than a transaction may have (RFC 5321 §4.5.3.1.10).
    pub const TOO_MANY_RECIPIENTS: Self = Self::known(452, (4, 5, 3), "Too many recipients");
    /// A message over the size limit, declared or received (RFC 1870 §6).
    pub const MESSAGE_TOO_BIG: Self = Self::known(552, (5, 3, 4), "Message too big");
    /// No room for a message now.
    pub const NO_ROOM: Self = Self::known(452, (4, 3, 1), "Insufficient storage");
    /// HOLDFOR or HOLDUNTIL of a client that may not relay (RFC 4865: for submission).
    pub const HOLDS_FOR_OTHERS: Self =
        Self::known(550, (5, 7, 1), "Messages are held for those alone who may relay here");
    /// Its sender has more in the queue than it may.
    pub const TENANT_OUTRAN: Self =
        Self::known(452, (4, 3, 1), "Too many of your messages are waiting here, come again later");
    /// The spool is being opened: this node has just started.
    pub const STARTING: Self = Self::known(451, (4, 3, 2), "Starting, try again in a moment");
    /// A text line over the limit (RFC 5321 §4.5.3.1.10).
    pub const TEXT_LINE_TOO_LONG: Self = Self::known(500, (5, 6, 0), "Text line too long");
    /// A bare CR or LF in content.
    pub const BARE_LINE_ENDING: Self =
        Self::known(554, (5, 6, 0), "Bare CR or LF in content, lines end with CR LF");
    /// A NUL in content that is not BINARYMIME.
    pub const NUL_IN_CONTENT: Self = Self::known(554, (5, 6, 0), "NUL in content");

    // --- For the shard's and the policy's use ---

    /// The client may not relay to this recipient.
    pub const RELAY_DENIED: Self = Self::known(550, (5, 7, 1), "Relaying denied");
    /// The message could not be stored: the client keeps it.
    pub const NOT_STORED: Self = Self::known(451, (4, 3, 0), "Not stored, try again later");
    /// More than a node or a client may have now.
    pub const TRY_LATER: Self = Self::known(451, (4, 7, 1), "Too much at once, try again later");
    /// Too many `Received:` fields.
    pub const LOOP: Self = Self::known(554, (5, 4, 6), "Too many hops, this message loops");

    // --- And the session closes ---

    /// Too many sessions.
    pub const TOO_MANY_SESSIONS: Self = Self::known(421, (4, 3, 2), "Too many sessions");
    /// This client gets no service.
    pub const NO_SERVICE: Self = Self::known(554, (5, 7, 1), "No service for you here");
    /// Too many errors.
    pub const TOO_MANY_ERRORS: Self = Self::known(421, (4, 7, 0), "Too many errors");
    /// A deadline passed.
    pub const TIMED_OUT: Self = Self::known(421, (4, 4, 2), "Timed out waiting for you");
    /// The node drains.
    pub const DRAINING: Self = Self::known(421, (4, 3, 2), "Service is being closed");
    /// An HTTP client.
    pub const NOT_HTTP: Self = Self::known(421, (4, 7, 0), "This is SMTP, not HTTP");
    /// Where the next command begins cannot be known.
    pub const OUT_OF_STEP: Self = Self::known(421, (4, 5, 0), "Cannot tell your next command");
    /// More commands in one piece than replies can be kept for.
    pub const TOO_MUCH_AT_ONCE: Self = Self::known(421, (4, 7, 0), "Too many commands at once");
    /// Content so far over the limit that its end is not worth waiting for.
    pub const FAR_TOO_BIG: Self = Self::known(421, (4, 3, 4), "Message far too big");

    /// A reply in fixed words; anything malformed does not compile or panics.
    pub const fn known(code: u16, enhanced: (u8, u16, u16), words: &'static str) -> Self {
        let (class, subject, detail) = enhanced;
        assert!(code / 100 == class as u16, "RFC 2034 §4: the classes agree");
        Self {
            code: ReplyCode::known(code),
            enhanced: Some(EnhancedStatus::new(class, subject, detail)),
            text: Text::Words(Cow::Borrowed(words)),
        }
    }

    /// A reply in words made for the occasion; `\n` separates lines.
    pub fn new(code: ReplyCode, enhanced: EnhancedStatus, words: String) -> Self {
        Self { code, enhanced: Some(enhanced), text: Text::Words(Cow::Owned(words)) }
    }

    /// To the end of content, once it is on stable storage: names the message.
    pub const fn stored(message: MessageId) -> Self {
        let enhanced = Some(EnhancedStatus::new(2, 0, 0));
        Self { code: ReplyCode::known(250), enhanced, text: Text::Stored(message) }
    }

    /// What a malformed path is answered with: at MAIL, or at RCPT.
    pub fn bad_path(error: AddressError, recipient: bool) -> Self {
        match (error, recipient) {
            (AddressError::TooLong, false) => Self::SENDER_TOO_LONG,
            (AddressError::TooLong, true) => Self::RECIPIENT_TOO_LONG,
            (AddressError::NeedsUtf8, _) => Self::NEEDS_SMTPUTF8,
            (AddressError::Malformed | AddressError::Domain, false) => Self::BAD_SENDER,
            (AddressError::Malformed | AddressError::Domain, true) => Self::BAD_RECIPIENT,
        }
    }

    /// Whether it says yes: 2yz or 3yz.
    pub fn is_positive(&self) -> bool {
        matches!(self.code.severity(), Severity::Completed | Severity::Intermediate)
    }

    /// Whether it says never: 5yz.
    pub fn is_permanent(&self) -> bool {
        self.code.severity() == Severity::Permanent
    }

    /// Append the reply. `hostname` starts the text of 221 and 421 (RFC 5321 §4.2.3).
    pub fn write(&self, hostname: &str, out: &mut Vec<u8>) {
        match &self.text {
            Text::Words(words) => self.write_words(hostname, words, out),
            Text::Stored(message) => {
                self.write_start(b' ', out);
                write!(out, "Stored as {message}\r\n").expect("a Vec takes all");
            }
        }
    }

    fn write_words(&self, hostname: &str, words: &str, out: &mut Vec<u8>) {
        let mut lines = words.split('\n').peekable();
        while let Some(line) = lines.next() {
            self.write_start(if lines.peek().is_some() { b'-' } else { b' ' }, out);
            if matches!(self.code.as_u16(), 221 | 421) {
                out.extend_from_slice(hostname.as_bytes());
                out.push(b' ');
            }
            let printable = |octet: u8| if matches!(octet, b' '..=b'~') { octet } else { b'?' };
            out.extend(line.bytes().take(ANSWER_TEXT_MAX).map(printable));
            out.extend_from_slice(b"\r\n");
        }
    }

    fn write_start(&self, separator: u8, out: &mut Vec<u8>) {
        push_number(self.code.as_u16(), out);
        out.push(separator);
        if let Some(EnhancedStatus { class, subject, detail }) = self.enhanced {
            push_number(u16::from(class), out);
            out.push(b'.');
            push_number(subject, out);
            out.push(b'.');
            push_number(detail, out);
            out.push(b' ');
        }
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        let Reply { code, enhanced, text } = reply;
        Self { code, enhanced, text: Text::Words(Cow::Owned(text.into_string())) }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        let Answer { code, enhanced, text } = answer;
        let text = match text {
            Text::Words(words) => words.into(),
            Text::Stored(message) => format!("Stored as {message}").into(),
        };
        Self { code, enhanced, text }
    }
}

/// Decimal digits of a number below 1,000, without the machinery of `fmt`.
fn push_number(number: u16, out: &mut Vec<u8>) {
    let digit = |n: u16| b'0' + u8::try_from(n % 10).expect("below ten");
    if number >= 100 {
        out.push(digit(number / 100));
    }
    if number >= 10 {
        out.push(digit(number / 10));
    }
    out.push(digit(number));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(answer: &Answer) -> String {
        let mut out = Vec::new();
        answer.write("mx.example", &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    //= RFC 2034 §4, type=test
    //# The text part of all 2xx, 4xx, and 5xx SMTP responses other than the initial greeting and
    //# any response to HELO or EHLO are prefaced with a status code
    #[test]
    fn replies_are_written_with_code_status_and_text() {
        assert_eq!(written(&Answer::SENDER_OK), "250 2.1.0 Sender ok\r\n");
        assert_eq!(written(&Answer::GO_ON), "354 Go on, end with <CRLF>.<CRLF>\r\n");
        let (code, status) = (ReplyCode::known(550), EnhancedStatus::new(5, 7, 103));
        let answer = Answer::new(code, status, String::from("no"));
        assert_eq!(written(&answer), "550 5.7.103 no\r\n");
        let stored = Answer::stored(MessageId(0));
        assert_eq!(written(&stored), "250 2.0.0 Stored as 0000000000000\r\n");
    }

    //= RFC 5321 §4.2.3, type=test
    //# 221  <domain> Service closing transmission channel
    #[test]
    fn a_reply_that_closes_names_the_host_first() {
        assert_eq!(written(&Answer::BYE), "221 2.0.0 mx.example Bye\r\n");
        assert!(written(&Answer::DRAINING).starts_with("421 4.3.2 mx.example "));
    }

    //= RFC 5321 §4.2.1, type=test
    //# The format for multiline replies requires that every line, except the last, begin with the
    //# reply code, followed immediately by a hyphen
    #[test]
    fn several_lines_are_one_reply_and_nothing_can_forge_another() {
        let words = format!("first\nsecond\r\u{0}é\n{}", "x".repeat(2_000));
        let answer = Answer::new(ReplyCode::known(451), EnhancedStatus::new(4, 7, 1), words);
        let text = written(&answer);
        let lines: Vec<_> = text.split_terminator("\r\n").collect();
        assert_eq!(lines[..2], ["451-4.7.1 first", "451-4.7.1 second????"]);
        assert!(lines[2].starts_with("451 4.7.1 xxx") && lines[2].len() <= 510);
        assert!(text.bytes().all(|octet| matches!(octet, b' '..=b'~' | b'\r' | b'\n')));
    }
}
