//! Read what a milter says of a message, changes left out.
//!
//! In: a packet. Out: what it means. Invariant: a refusal has a code of 4xx or 5xx and an enhanced
//! status of the same class; its text is bounded, and UTF-8.

use crate::base::limits::REPLY_TEXT_MAX;
use crate::mail::status::{EnhancedStatus, Reply, ReplyCode};
use crate::milter::changes::Changes;

/// What a milter thinks of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// Whether it may go on.
    pub verdict: Verdict,
    /// What is to be changed, where it may.
    pub changes: Changes,
}

/// Whether a message may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Accept,
    /// It may not, and its client is told so.
    Refuse(Reply),
    /// It may not, and its client is told that it did.
    Discard,
}

/// What a packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Go on.
    Continue,
    /// Go on behind the body.
    Skip,
    /// It still works.
    Progress,
    /// That is all it wants to know.
    Final(Verdict),
    /// Something else: a change, or nothing known.
    Other,
}

impl Said {
    /// Read a packet; an error is what is wrong with it.
    pub(super) fn read(what: u8, data: &[u8]) -> Result<Self, &'static str> {
        Ok(match what {
            b'c' => Self::Continue,
            b's' => Self::Skip,
            b'p' => Self::Progress,
            b'a' => Self::Final(Verdict::Accept),
            b'd' => Self::Final(Verdict::Discard),
            b'r' => Self::refuse(550, (5, 7, 1), "Refused by a filter"),
            b't' => Self::refuse(451, (4, 7, 1), "A filter wants you to try again later"),
            // "Cause a connection failure", and sendmail's own word for 421.
            b'f' | b'4' => Self::refuse(421, (4, 7, 1), "A filter wants you to try again later"),
            b'y' => Self::Final(Verdict::Refuse(reply(data)?)),
            _ => Self::Other,
        })
    }

    fn refuse(code: u16, (class, subject, detail): (u8, u16, u16), text: &str) -> Self {
        let enhanced = Some(EnhancedStatus::new(class, subject, detail));
        Self::Final(Verdict::Refuse(Reply {
            code: ReplyCode::known(code),
            enhanced,
            text: text.into(),
        }))
    }
}

/// A whole reply, as `554 5.7.1 Spam`, or of several lines: `554-5.7.1 Spam` first.
fn reply(data: &[u8]) -> Result<Reply, &'static str> {
    let data = data.strip_suffix(b"\0").unwrap_or(data);
    let text = String::from_utf8_lossy(&data[..data.len().min(REPLY_TEXT_MAX)]);
    let mut words = String::with_capacity(text.len());
    let mut first = None;
    for line in text.split(['\r', '\n']).filter(|line| !line.is_empty()) {
        let Some((code, rest)) = line.split_at_checked(3) else {
            // What the bound above left of a line further down.
            first.ok_or("a reply without a code")?;
            break;
        };
        let code: u16 = code.parse().map_err(|_| "a reply without a code")?;
        let rest = match rest.as_bytes().first() {
            None => "",
            Some(b' ' | b'-') => &rest[1..],
            Some(_) => return Err("a reply without a code"),
        };
        let (enhanced, rest) = match EnhancedStatus::parse_prefix(rest) {
            Some((enhanced, rest)) => (Some(enhanced), rest),
            None => (None, rest),
        };
        match first {
            None => first = Some((code, enhanced)),
            Some((before, _)) if before != code => return Err("a reply of several codes"),
            Some(_) => words.push('\n'),
        }
        words.push_str(rest);
    }
    let (number, enhanced) = first.ok_or("a reply without a code")?;
    let code = ReplyCode::new(number).filter(|_| number >= 400).ok_or("a reply that is no no")?;
    let class = if number < 500 { 4 } else { 5 };
    let enhanced = enhanced.filter(|enhanced| enhanced.class == class);
    let enhanced = enhanced.unwrap_or(EnhancedStatus::new(class, 7, 1));
    Ok(Reply { code, enhanced: Some(enhanced), text: words.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(what: u8, data: &[u8]) -> Result<(u16, String, String), &'static str> {
        match Said::read(what, data)? {
            Said::Final(Verdict::Refuse(Reply { code, enhanced, text })) => {
                let enhanced = enhanced.map(|enhanced| enhanced.to_string()).unwrap_or_default();
                Ok((code.as_u16(), enhanced, text.into()))
            }
            said => panic!("{said:?}"),
        }
    }

    #[test]
    fn a_refusal_is_what_the_milter_says() {
        for (data, code, enhanced, text) in [
            (&b"554 5.7.1 Spam\0"[..], 554, "5.7.1", "Spam"),
            (b"550 no thanks", 550, "5.7.1", "no thanks"),
            (b"451\0", 451, "4.7.1", ""),
            (b"550 4.2.0 mixed up\0", 550, "5.7.1", "mixed up"),
            (b"421 4.3.2 leave\0", 421, "4.3.2", "leave"),
            (
                b"550-5.7.0 one\r\n550-5.7.0 two\r\n550 5.7.0 three\0",
                550,
                "5.7.0",
                "one\ntwo\nthree",
            ),
            (b"550 5.7.1 \xFFdd\0", 550, "5.7.1", "\u{FFFD}dd"),
        ] {
            let expected = Ok((code, enhanced.into(), text.into()));
            assert_eq!(refused(b'y', data), expected, "{}", String::from_utf8_lossy(data));
        }
        assert_eq!(refused(b'r', b"").map(|one| one.0), Ok(550));
        assert_eq!(refused(b't', b"").map(|one| (one.0, one.1)), Ok((451, "4.7.1".into())));
        assert_eq!(refused(b'f', b"").map(|one| one.0), Ok(421));
    }

    #[test]
    fn a_refusal_that_is_none_is_not_believed() {
        for data in [
            &b""[..],
            b"\0",
            b"250 2.0.0 fine\0",
            b"354 go on\0",
            b"55",
            b"5x4 odd\0",
            b"5540 odd\0",
            b"600 odd\0",
            b"550-one\r\n551 two\0",
            "55é".as_bytes(),
        ] {
            assert!(Said::read(b'y', data).is_err(), "{}", String::from_utf8_lossy(data));
        }
    }

    #[test]
    fn its_text_is_bounded() {
        let long = [b"550 ", [b'x'; 60_000].as_slice()].concat();
        let (_, _, text) = refused(b'y', &long).expect("a refusal");
        assert_eq!(text.len(), REPLY_TEXT_MAX - 4);
    }
}
