//! Command lines: the same at every split, and what is read of one is what it says when written.
//!
//! Input: what is offered, cuts; then octets of a session's lines.

use std::fmt::Write;

use relay_fast::base::limits::{COMMAND_LINE_MAX, DOMAIN_MAX, ENVID_MAX, ORCPT_MAX};
use relay_fast::mail::envelope::{BodyType, Notify, Recipient, Ret};
use relay_fast::mail::handling::Hold;
use relay_fast::smtp::command::{self, Hello, Verb};
use relay_fast::smtp::extension::Offered;
use relay_fast::smtp::line::{LineFault, LineReader, Read};
use relay_fast::smtp::parameter::MailParameters;
use relay_fast::smtp::xclient::Attributes;

use super::cuts::Cuts;
use super::taken::assert_clean;

/// The check.
pub(crate) fn check(data: &[u8]) {
    let Some((&[flags, cuts], octets)) = data.split_first_chunk() else { return };
    let offered = Offered {
        chunking: flags & 1 == 0,
        binary_mime: flags & 2 == 0,
        smtp_utf8: flags & 4 == 0,
        auth: flags & 8 == 0,
        require_tls: flags & 16 == 0,
        priority: flags & 32 == 0,
        hold_seconds: if flags & 64 == 0 { 3_600 } else { 0 },
        deliver_by: flags & 128 == 0,
    };
    let lines = lines(octets, Cuts::Free(0));
    assert_eq!(lines, self::lines(octets, Cuts::LinesAnd(cuts)), "a split matters");
    for line in lines.iter().flatten() {
        assert!(line.len() <= COMMAND_LINE_MAX - 2);
        assert!(!line.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)));
        if let Ok(text) = std::str::from_utf8(line) {
            read(text, offered);
        }
    }
}

fn lines(octets: &[u8], cuts: Cuts) -> Vec<Result<Vec<u8>, LineFault>> {
    let (mut reader, mut lines) = (LineReader::default(), Vec::new());
    for mut piece in cuts.pieces(octets) {
        while !piece.is_empty() {
            let (used, read) = reader.read(piece);
            match read {
                Read::Partial => assert!(used > 0, "it neither reads on nor says why"),
                Read::Line(line) => {
                    lines.push(Ok(line.to_vec()));
                    reader.reuse(line);
                }
                // Who never ends a line is cut off, at the end of some piece.
                Read::Refused(LineFault::Endless, _) => return lines,
                Read::Refused(fault, _) => lines.push(Err(fault)),
            }
            piece = &piece[used..];
        }
    }
    lines
}

fn read(line: &str, offered: Offered) {
    let (verb, arguments) = Verb::split(line);
    let word = line.split(' ').next().unwrap_or_default();
    assert!(verb == Verb::Unknown || verb == Verb::Http || word.trim_end().len() >= 4);
    match verb {
        Verb::Mail => mail(arguments, offered),
        Verb::Rcpt => {
            rcpt(arguments, false);
            rcpt(arguments, true);
        }
        Verb::Ehlo | Verb::Helo => {
            if let Ok(hello) = Hello::parse(arguments, true) {
                let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._:[]".contains(&octet);
                assert!((1..=DOMAIN_MAX).contains(&hello.name.len()));
                assert!(hello.name.bytes().all(plain) && *hello.name == *arguments);
            }
        }
        Verb::Bdat => {
            if let Some(chunk) = command::bdat(arguments) {
                let last = if chunk.last { " LAST" } else { "" };
                assert_eq!(command::bdat(&format!("{}{last}", chunk.bytes)), Some(chunk));
            }
        }
        Verb::Xclient => {
            if let Some(said) = Attributes::parse(arguments) {
                said.hello.iter().for_each(|name| assert_clean(name));
                let login = said.login.iter().flatten();
                login.for_each(|name| assert!(!name.as_str().is_empty()));
                let again = said.clone().and(said.clone());
                assert_eq!(again, said);
            }
        }
        _ => {}
    }
}

fn mail(arguments: &str, offered: Offered) {
    let Ok((path, parameters)) = command::mail(arguments, offered) else { return };
    assert_clean(path.as_str());
    assert!(parameters.smtp_utf8 || arguments.is_ascii());
    assert!(offered.smtp_utf8 || !parameters.smtp_utf8);
    assert!(offered.auth || parameters.auth.is_none());
    assert!(offered.require_tls || !parameters.require_tls);
    assert!(offered.takes_binary() || parameters.body_type != Some(BodyType::BinaryMime));
    let mut text = format!("FROM:{path}");
    write_parameters(&parameters, &mut text);
    assert_eq!(command::mail(&text, offered), Ok((path, parameters)), "{text:?}");
}

fn write_parameters(parameters: &MailParameters, text: &mut String) {
    let MailParameters { size, body_type, smtp_utf8, require_tls, .. } = parameters;
    let MailParameters { priority, hold, ret, envelope_id, auth, .. } = parameters;
    if let Some(size) = size {
        write!(text, " SIZE={size}").expect("memory");
    }
    if let Some(body_type) = body_type {
        text.push_str(match body_type {
            BodyType::SevenBit => " BODY=7BIT",
            BodyType::EightBitMime => " BODY=8BITMIME",
            BodyType::BinaryMime => " BODY=BINARYMIME",
        });
    }
    if *smtp_utf8 {
        text.push_str(" SMTPUTF8");
    }
    if *require_tls {
        text.push_str(" REQUIRETLS");
    }
    if let Some(priority) = priority {
        write!(text, " MT-PRIORITY={priority}").expect("memory");
    }
    match hold {
        Some(Hold::For(time)) => write!(text, " HOLDFOR={}", time.as_secs()).expect("memory"),
        Some(Hold::Until(time)) => {
            write!(text, " HOLDUNTIL={}", time.to_rfc3339()).expect("memory");
        }
        None => {}
    }
    match ret {
        Some(Ret::Full) => text.push_str(" RET=FULL"),
        Some(Ret::Headers) => text.push_str(" RET=HDRS"),
        None => {}
    }
    if let Some(id) = envelope_id {
        assert_clean(id);
        assert!(id.is_ascii() && (1..=ENVID_MAX).contains(&id.len()));
        // Where its encoding would be longer than it may be, it came in a shorter one.
        text.push_str(" ENVID=");
        text.push_str(&xtext(id));
    }
    if auth.is_some() {
        text.push_str(" AUTH=<>");
    }
}

fn rcpt(arguments: &str, utf8: bool) {
    let Ok(recipient) = command::rcpt(arguments, utf8) else { return };
    let Recipient { forward_path, notify, original } = &recipient;
    assert_clean(forward_path.as_str());
    assert!(utf8 || arguments.is_ascii());
    let mut text = format!("TO:{forward_path}");
    match notify {
        Notify::Default => {}
        Notify::Never => text.push_str(" NOTIFY=NEVER"),
        Notify::When { success, failure, delay } => {
            let words = [(*success, "SUCCESS"), (*failure, "FAILURE"), (*delay, "DELAY")];
            let words: Vec<_> = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
            write!(text, " NOTIFY={}", words.join(",")).expect("memory");
        }
    }
    if let Some(original) = original {
        assert_clean(&original.kind);
        assert_clean(&original.address);
        assert!(original.kind.len() + original.address.len() < ORCPT_MAX);
        let address = match original.kind.eq_ignore_ascii_case("utf-8") {
            true => original.address.to_string(),
            false => xtext(&original.address),
        };
        write!(text, " ORCPT={};{address}", original.kind).expect("memory");
    }
    assert_eq!(command::rcpt(&text, utf8), Ok(recipient), "{text:?}");
}

/// The shortest encoding (RFC 3461 §4).
fn xtext(text: &str) -> String {
    let encode = |octet: u8| match octet {
        b'+' | b'=' | ..=b' ' | 0x7f.. => format!("+{octet:02X}"),
        octet => char::from(octet).to_string(),
    };
    text.bytes().map(encode).collect()
}
