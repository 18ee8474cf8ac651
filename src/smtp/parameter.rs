//! Read the parameters of MAIL and RCPT (RFC 1870, 2852, 3030, 3461, 4865, 6152, 6531,
//! 6533, 6710, 8689).
//!
//! In: what follows the path. Out: typed parameters, or the answer that refuses them.
//! Invariant: an unknown parameter is 555, a known one given twice or malformed is 501, and what
//! came in xtext is decoded to printable octets, since it goes into header fields of a DSN.

mod by;

use std::time::Duration;

use crate::base::limits::{AUTH_PARAMETER_MAX, ENVID_MAX, ORCPT_MAX};
use crate::base::time::WallTime;
use crate::mail::address::Mailbox;
use crate::mail::envelope::{BodyType, Notify, OriginalRecipient, Ret};
use crate::mail::handling::{By, Hold, Priority};
use crate::smtp::answer::Answer;
use crate::smtp::extension::Offered;

/// What MAIL asks for beside its reverse-path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// SIZE, in octets.
    pub size: Option<u64>,
    /// BODY.
    pub body_type: Option<BodyType>,
    /// SMTPUTF8.
    pub smtp_utf8: bool,
    /// REQUIRETLS.
    pub require_tls: bool,
    /// MT-PRIORITY.
    pub priority: Option<Priority>,
    /// HOLDFOR or HOLDUNTIL.
    pub hold: Option<Hold>,
    /// BY.
    pub by: Option<By>,
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID, decoded.
    pub envelope_id: Option<Box<str>>,
    /// AUTH was given: who submitted the message first, as the client has it. Nobody here believes
    /// it, and so it is not kept (RFC 4954 §5: it goes no further than trust does).
    pub auth: Option<()>,
}

impl MailParameters {
    /// Read `*( SP esmtp-param )`.
    pub fn parse(text: &str, offered: Offered) -> Result<Self, Answer> {
        let mut read = Self::default();
        for word in words(text)? {
            match split(word) {
                (name, Some(value)) if name.eq_ignore_ascii_case("SIZE") => {
                    once(&mut read.size, number(value))?;
                }
                (name, Some(value)) if name.eq_ignore_ascii_case("BODY") => {
                    once(&mut read.body_type, body_type(value, offered))?;
                }
                (name, value) if offered.smtp_utf8 && name.eq_ignore_ascii_case("SMTPUTF8") => {
                    flag(&mut read.smtp_utf8, value)?;
                }
                (name, value) if offered.require_tls && name.eq_ignore_ascii_case("REQUIRETLS") => {
                    flag(&mut read.require_tls, value)?;
                }
                (name, Some(value))
                    if offered.priority && name.eq_ignore_ascii_case("MT-PRIORITY") =>
                {
                    once(&mut read.priority, priority(value))?;
                }
                (name, Some(value)) if offered.hold_seconds > 0 && is_hold(name) => {
                    once(&mut read.hold, hold(name, value, offered.hold_seconds))?;
                }
                (name, Some(value)) if offered.deliver_by && name.eq_ignore_ascii_case("BY") => {
                    once(&mut read.by, by::by(value))?;
                }
                (name, Some(value)) if name.eq_ignore_ascii_case("RET") => {
                    once(&mut read.ret, ret(value))?;
                }
                (name, Some(value)) if name.eq_ignore_ascii_case("ENVID") => {
                    once(&mut read.envelope_id, envelope_id(value))?;
                }
                (name, value) if offered.auth && name.eq_ignore_ascii_case("AUTH") => {
                    once(&mut read.auth, value.and_then(submitter))?;
                }
                (name, _) => return Err(refused(name, &["SIZE", "BODY", "RET", "ENVID"])),
            }
        }
        Ok(read)
    }
}

/// What RCPT asks for beside its forward-path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcptParameters {
    /// NOTIFY.
    pub notify: Notify,
    /// ORCPT.
    pub original: Option<OriginalRecipient>,
}

impl RcptParameters {
    /// Read `*( SP esmtp-param )`; `utf8`: the transaction has SMTPUTF8.
    pub fn parse(text: &str, utf8: bool) -> Result<Self, Answer> {
        let (mut notified, mut original) = (None, None);
        for word in words(text)? {
            match split(word) {
                (name, Some(value)) if name.eq_ignore_ascii_case("NOTIFY") => {
                    once(&mut notified, notify(value))?;
                }
                (name, Some(value)) if name.eq_ignore_ascii_case("ORCPT") => {
                    once(&mut original, original_recipient(value, utf8))?;
                }
                (name, _) => return Err(refused(name, &["NOTIFY", "ORCPT"])),
            }
        }
        Ok(Self { notify: notified.unwrap_or(Notify::Default), original })
    }
}

/// A decimal number of 1 to 20 digits that 64 bits can hold (RFC 1870 §5, RFC 3030 §2).
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit()) && text.len() <= 20;
    if digits { text.parse().ok() } else { None }
}

/// The words after a path: the path must end where they begin.
fn words(text: &str) -> Result<impl Iterator<Item = &str>, Answer> {
    if text.is_empty() || text.starts_with(' ') {
        Ok(text.split(' ').filter(|word| !word.is_empty()))
    } else {
        Err(Answer::SYNTAX)
    }
}

fn split(word: &str) -> (&str, Option<&str>) {
    match word.split_once('=') {
        None => (word, None),
        Some((name, value)) => (name, Some(value)),
    }
}

/// A word that is no parameter of ours: against the grammar, known but without value, or unknown.
fn refused(name: &str, known: &[&str]) -> Answer {
    let mut octets = name.bytes();
    let keyword = octets.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && octets.all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    if !keyword {
        Answer::SYNTAX
    } else if known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        Answer::BAD_PARAMETER
    } else {
        Answer::UNKNOWN_PARAMETER
    }
}

/// Set a parameter that may be given once.
fn once<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), Answer> {
    if place.is_some() || value.is_none() {
        return Err(Answer::BAD_PARAMETER);
    }
    *place = value;
    Ok(())
}

/// Set a parameter that has no value and may be given once.
fn flag(place: &mut bool, value: Option<&str>) -> Result<(), Answer> {
    if *place || value.is_some() {
        return Err(Answer::BAD_PARAMETER);
    }
    *place = true;
    Ok(())
}

/// From -9 to 9 (RFC 6710 §4), no digit too many.
fn priority(value: &str) -> Option<Priority> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_one = digits.len() == 1 && digits.bytes().all(|octet| octet.is_ascii_digit());
    if is_one { Priority::new(value.parse().ok()?) } else { None }
}

fn is_hold(name: &str) -> bool {
    name.eq_ignore_ascii_case("HOLDFOR") || name.eq_ignore_ascii_case("HOLDUNTIL")
}

/// Seconds, no more than are on offer, or a date-time (RFC 4865 §4).
fn hold(name: &str, value: &str, seconds_max: u32) -> Option<Hold> {
    if name.eq_ignore_ascii_case("HOLDUNTIL") {
        return WallTime::from_rfc3339(value).map(Hold::Until);
    }
    let seconds = number(value).filter(|seconds| (1..=seconds_max.into()).contains(seconds))?;
    Some(Hold::For(Duration::from_secs(seconds)))
}

fn body_type(value: &str, offered: Offered) -> Option<BodyType> {
    if value.eq_ignore_ascii_case("7BIT") {
        Some(BodyType::SevenBit)
    } else if value.eq_ignore_ascii_case("8BITMIME") {
        Some(BodyType::EightBitMime)
    } else if value.eq_ignore_ascii_case("BINARYMIME") && offered.takes_binary() {
        Some(BodyType::BinaryMime)
    } else {
        None
    }
}

fn ret(value: &str) -> Option<Ret> {
    if value.eq_ignore_ascii_case("FULL") {
        Some(Ret::Full)
    } else if value.eq_ignore_ascii_case("HDRS") {
        Some(Ret::Headers)
    } else {
        None
    }
}

fn envelope_id(value: &str) -> Option<Box<str>> {
    if value.is_empty() || value.len() > ENVID_MAX { None } else { decode_xtext(value) }
}

/// `<>` or a mailbox, in xtext (RFC 4954 §5).
fn submitter(value: &str) -> Option<()> {
    let decoded = if value.len() > AUTH_PARAMETER_MAX { None } else { decode_xtext(value) }?;
    (&*decoded == "<>" || Mailbox::parse(&decoded, false).is_ok()).then_some(())
}

/// `NEVER`, or one or more of `SUCCESS`, `FAILURE`, `DELAY`, each once (RFC 3461 §4.1).
fn notify(value: &str) -> Option<Notify> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::Never);
    }
    let (mut success, mut failure, mut delay) = (false, false, false);
    for word in value.split(',') {
        let place = if word.eq_ignore_ascii_case("SUCCESS") {
            &mut success
        } else if word.eq_ignore_ascii_case("FAILURE") {
            &mut failure
        } else if word.eq_ignore_ascii_case("DELAY") {
            &mut delay
        } else {
            return None;
        };
        if std::mem::replace(place, true) {
            return None;
        }
    }
    Some(Notify::When { success, failure, delay })
}

/// `addr-type ";" xtext` (RFC 3461 §4.2). The address of type `utf-8` (RFC 6533 §3) stays in its
/// own encoding, `\x{…}` or, with `utf8`, plain.
fn original_recipient(value: &str, utf8: bool) -> Option<OriginalRecipient> {
    let (kind, address) = value.split_once(';')?;
    let atom = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
    if value.len() > ORCPT_MAX || kind.is_empty() || !kind.bytes().all(atom) || address.is_empty() {
        return None;
    }
    let address = if kind.eq_ignore_ascii_case("utf-8") {
        utf8_address(address, utf8)?
    } else {
        decode_xtext(address)?
    };
    Some(OriginalRecipient { kind: kind.into(), address })
}

/// RFC 6533 §3 `utf-8-addr-xtext` or, with `utf8`, `utf-8-addr-unitext`: no white space, no
/// controls, backslashes only in `\x{hex}`.
fn utf8_address(text: &str, utf8: bool) -> Option<Box<str>> {
    let plain = |letter: char| !letter.is_control() && !letter.is_whitespace();
    if !text.chars().all(plain) || (!utf8 && !text.is_ascii()) {
        return None;
    }
    let is_hex = |octet: u8| octet.is_ascii_hexdigit();
    let escapes = text.split('\\').skip(1).all(|after| {
        let hex = after.strip_prefix("x{").and_then(|rest| rest.split_once('}'));
        hex.map(|(hex, _)| hex)
            .filter(|hex| (2..=6).contains(&hex.len()) && hex.bytes().all(is_hex))
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
            .and_then(char::from_u32)
            .is_some_and(|letter| !letter.is_control())
    });
    escapes.then(|| text.into())
}

/// Decode xtext (RFC 3461 §4) whose result must be printable ASCII or space.
fn decode_xtext(text: &str) -> Option<Box<str>> {
    let decoded = String::from_utf8(octets_of_xtext(text)?).ok()?;
    decoded.bytes().all(|octet| matches!(octet, b' '..=b'~')).then(|| decoded.into())
}

/// Decode xtext (RFC 3461 §4): printable ASCII but `+` and `=`, and `+XX` for any octet.
pub(super) fn octets_of_xtext(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'+' => hex_digit(octets.next()?)? << 4 | hex_digit(octets.next()?)?,
            b'=' => return None,
            b'!'..=b'~' => octet,
            _ => return None,
        });
    }
    Some(decoded)
}

/// RFC 3461 §4: `hexchar` has upper-case digits.
fn hex_digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::handling::Late;

    fn mail(text: &str) -> Result<MailParameters, Answer> {
        MailParameters::parse(text, Offered::ALL)
    }

    fn rcpt(text: &str) -> Result<RcptParameters, Answer> {
        RcptParameters::parse(text, false)
    }

    #[test]
    fn every_parameter_of_mail_is_read() {
        let text = " size=1234 BODY=BinaryMIME SMTPUTF8 RequireTLS RET=hdrs ENVID=QQ+2B314 \
            mt-priority=-3 HoldFor=60 by=7;rt";
        let expected = MailParameters {
            size: Some(1_234),
            body_type: Some(BodyType::BinaryMime),
            smtp_utf8: true,
            require_tls: true,
            priority: Priority::new(-3),
            hold: Some(Hold::For(Duration::from_secs(60))),
            by: Some(By { seconds: 7, late: Late::Return, trace: true }),
            ret: Some(Ret::Headers),
            envelope_id: Some("QQ+314".into()),
            auth: None,
        };
        assert_eq!(mail(text), Ok(expected));
        assert_eq!(mail(""), Ok(MailParameters::default()));
    }

    //= RFC 5321 §4.1.1.11, type=test
    //# 555 MAIL FROM/RCPT TO parameters not recognized or not implemented
    #[test]
    fn unknown_parameters_are_told_from_malformed_ones() {
        for text in [" X=1", " AUTHENTIC=<>", " MT-OTHER=1", " NOTIFY=NEVER", " HOLDS=1"] {
            assert_eq!(mail(text), Err(Answer::UNKNOWN_PARAMETER), "{text}");
        }
        let malformed = [
            " SIZE",
            " SIZE=",
            " SIZE=-1",
            " SIZE=1k",
            " SIZE=1 SIZE=1",
            " SIZE=99999999999999999999",
            " SIZE=000000000000000000001",
            " BODY=9BIT",
            " BODY=7BIT BODY=8BITMIME",
            " SMTPUTF8=yes",
            " SMTPUTF8 SMTPUTF8",
            " REQUIRETLS=",
            " REQUIRETLS REQUIRETLS",
            " RET=BOTH",
            " ENVID=",
            " ENVID=a+0",
            " ENVID=a=b",
            " ENVID=+0D+0A",
            " ENVID=+2b",
            " ENVID=+7F",
            " AUTH",
            " AUTH=",
            " AUTH=<> AUTH=<>",
            " AUTH=<a@b.example>",
            " AUTH=a@b=c.example",
        ];
        for text in malformed {
            assert_eq!(mail(text), Err(Answer::BAD_PARAMETER), "{text}");
        }
        assert_eq!(mail("SIZE=1"), Err(Answer::SYNTAX));
        assert_eq!(mail(" -=1"), Err(Answer::SYNTAX));
        assert!(mail(&format!(" ENVID={}", "x".repeat(100))).is_ok());
        assert!(mail(&format!(" ENVID={}", "x".repeat(101))).is_err());
    }

    //= RFC 4954 §5, type=test
    //# AUTH= has "<>" or an addr-spec in xtext
    #[test]
    fn a_submitter_may_be_named() {
        for text in [" AUTH=<>", " AUTH=e+3Dmc2@example.com", " auth=+3C+3E"] {
            assert!(mail(text).is_ok(), "{text}");
        }
        let without = Offered { auth: false, ..Offered::ALL };
        let unknown = MailParameters::parse(" AUTH=<>", without);
        assert_eq!(unknown, Err(Answer::UNKNOWN_PARAMETER));
    }

    #[test]
    fn priorities_and_holds_are_as_their_grammar_has_them() {
        for value in -9..=9 {
            let read = mail(&format!(" MT-PRIORITY={value}")).expect("in range");
            assert_eq!(read.priority, Priority::new(value));
        }
        let until = mail(" HOLDUNTIL=2026-11-24T03:41:01Z").expect("a date");
        assert_eq!(until.hold, Some(Hold::Until(WallTime(1_795_491_661_000))));
        for wrong in [
            "MT-PRIORITY=10",
            "MT-PRIORITY=-10",
            "MT-PRIORITY=+1",
            "MT-PRIORITY=01",
            "MT-PRIORITY=",
            "MT-PRIORITY=1 MT-PRIORITY=1",
            "HOLDFOR=0",
            "HOLDFOR=-1",
            "HOLDFOR=2592001",
            "HOLDUNTIL=tomorrow",
            "HOLDFOR=1 HOLDUNTIL=2026-11-24T03:41:01Z",
        ] {
            assert_eq!(mail(&format!(" {wrong}")), Err(Answer::BAD_PARAMETER), "{wrong}");
        }
        let offered = Offered { priority: false, hold_seconds: 0, ..Offered::ALL };
        for unknown in [" MT-PRIORITY=1", " HOLDFOR=1", " HOLDUNTIL=2026-11-24T03:41:01Z"] {
            let read = MailParameters::parse(unknown, offered);
            assert_eq!(read, Err(Answer::UNKNOWN_PARAMETER), "{unknown}");
        }
    }

    #[test]
    fn parameters_of_switched_off_extensions_are_not_known() {
        let offered =
            Offered { smtp_utf8: false, binary_mime: false, require_tls: false, ..Offered::ALL };
        let unknown = MailParameters::parse(" SMTPUTF8", offered);
        assert_eq!(unknown, Err(Answer::UNKNOWN_PARAMETER));
        let binary = MailParameters::parse(" BODY=BINARYMIME", offered);
        assert_eq!(binary, Err(Answer::BAD_PARAMETER));
    }

    //= RFC 3461 §4.1, type=test
    //# Multiple notify-list-elements, separated by commas, MAY appear in a NOTIFY parameter;
    //# however, the NEVER keyword MUST appear by itself.
    #[test]
    fn notify_is_never_or_some_of_three() {
        let when = |success, failure, delay| Notify::When { success, failure, delay };
        let read = |text: &str| rcpt(text).map(|parameters| parameters.notify);
        assert_eq!(read(""), Ok(Notify::Default));
        assert_eq!(read(" NOTIFY=never"), Ok(Notify::Never));
        assert_eq!(read(" NOTIFY=SUCCESS,delay"), Ok(when(true, false, true)));
        assert_eq!(read(" NOTIFY=FAILURE"), Ok(when(false, true, false)));
        for value in ["", "NEVER,DELAY", "DELAY,DELAY", "DELAY,", "SOMETIMES"] {
            assert_eq!(read(&format!(" NOTIFY={value}")), Err(Answer::BAD_PARAMETER), "{value}");
        }
        assert_eq!(read(" NOTIFY=NEVER NOTIFY=NEVER"), Err(Answer::BAD_PARAMETER));
        assert_eq!(read(" SIZE=1"), Err(Answer::UNKNOWN_PARAMETER));
        assert_eq!(read(" RRVS=1"), Err(Answer::UNKNOWN_PARAMETER));
    }

    #[test]
    fn an_original_recipient_is_decoded_and_printable() {
        let read = |text: &str, utf8| {
            let parameters = RcptParameters::parse(&format!(" ORCPT={text}"), utf8).ok()?;
            parameters.original.map(|original| original.address)
        };
        assert_eq!(read("rfc822;Bob@a.example", false).as_deref(), Some("Bob@a.example"));
        assert_eq!(read("rfc822;a+2Bb+20c@a.example", false).as_deref(), Some("a+b c@a.example"));
        assert_eq!(read("utf-8;ü@a.example", true).as_deref(), Some("ü@a.example"));
        assert_eq!(read("utf-8;\\x{FC}@a.example", false).as_deref(), Some("\\x{FC}@a.example"));
        let bad = [
            "",
            "rfc822",
            "rfc822;",
            ";a",
            "rfc822;a+0Ab",
            "rfc822;+",
            "rfc822;ü@a",
            "r c;a",
            "utf-8;ü@a.example",
            "utf-8;\\n",
            "utf-8;\\x{A}",
            "utf-8;\\x{D800}",
            "utf-8;\\x{+FC}",
            "utf-8;\\x{00000FC}",
        ];
        for text in bad {
            assert_eq!(read(text, false), None, "{text}");
        }
        assert_eq!(read(&format!("rfc822;{}", "x".repeat(500)), false), None);
    }
}
