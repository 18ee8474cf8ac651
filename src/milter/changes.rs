//! Read the changes that a milter asks for, and bound them.
//!
//! In: packets at the end of the message (`SMFIR_ADDHEADER` and the like). Out: [`Changes`].
//! Invariant: a name of a field is one, no text holds a NUL, a value is as it stands behind the
//! colon (line ends in it are whatever the milter wrote); there are no more of them than
//! `MILTER_CHANGES_MAX`, and the new body is no larger than a message may be.

use crate::base::limits::{
    MAIL_LINE_MAX, MILTER_CHANGES_BYTES_MAX, MILTER_CHANGES_MAX, REPLY_TEXT_MAX,
};
use crate::milter::letter::Body;

/// One thing to be done to a message. Addresses are as the milter wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A field more, behind all others.
    AddField {
        /// Its name.
        name: Vec<u8>,
        /// What stands behind the colon.
        value: Vec<u8>,
    },
    /// A field more, at a place: 0 is the top, 1 behind the field that the relay puts there.
    InsertField {
        /// The place.
        place: u32,
        /// Its name.
        name: Vec<u8>,
        /// What stands behind the colon.
        value: Vec<u8>,
    },
    /// The field of this name that comes at `index`, counted from 1, is another, or goes.
    ChangeField {
        /// Which of its name.
        index: u32,
        /// Its name.
        name: Vec<u8>,
        /// What stands behind the colon; `None`: it goes.
        value: Option<Vec<u8>>,
    },
    /// A recipient more.
    AddRecipient {
        /// Its forward-path.
        path: String,
        /// Parameters as at RCPT.
        parameters: String,
    },
    /// A recipient less.
    DeleteRecipient(String),
    /// Another reverse-path.
    ReversePath(String),
    /// The message is to be held in the queue, for this reason.
    Quarantine(String),
}

/// What a milter asks for in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the order in which they came.
    pub list: Vec<Change>,
    /// What the body is to be.
    pub body: Option<Body>,
}

/// What cannot be asked for, in words.
pub(super) type Wrong = &'static str;

impl Changes {
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.body.is_none()
    }
}

/// The changes of a message that have come so far.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    changes: Changes,
    bytes: usize,
    count: usize,
}

impl Gathered {
    /// All of them.
    pub(super) fn into_changes(self) -> Changes {
        self.changes
    }

    /// Octets of memory held.
    pub(super) fn memory(&self) -> usize {
        self.bytes + self.changes.body.as_ref().map_or(0, Body::memory)
    }

    /// Take one more, if `what` is a change: whether it is. `leads`: values come with the white
    /// space before them. No body is larger than `body_max`.
    pub(super) fn take(
        &mut self,
        what: u8,
        data: &[u8],
        leads: bool,
        body_max: u64,
    ) -> Result<bool, Wrong> {
        let change = match what {
            b'b' => return self.take_body(data, body_max).map(|()| true),
            b'h' => {
                let (name, value) = field(data, leads)?;
                Change::AddField { name, value }
            }
            b'i' => {
                let (place, data) = number(data)?;
                let (name, value) = field(data, leads)?;
                Change::InsertField { place, name, value }
            }
            b'm' => {
                let (index, data) = number(data)?;
                let (name, value) = field(data, leads)?;
                let goes = value.trim_ascii().is_empty();
                Change::ChangeField { index, name, value: (!goes).then_some(value) }
            }
            b'+' => {
                let [path] = texts(data)?;
                Change::AddRecipient { path, parameters: String::new() }
            }
            b'2' => {
                let (path, parameters) = path_and_parameters(data)?;
                Change::AddRecipient { path, parameters }
            }
            b'-' => {
                let [path] = texts(data)?;
                Change::DeleteRecipient(path)
            }
            // Its parameters are those of the transaction that there is already.
            b'e' => Change::ReversePath(path_and_parameters(data)?.0),
            b'q' => {
                let [reason] = texts(data)?;
                let printable = reason.chars().filter(|c| !c.is_control());
                Change::Quarantine(printable.take(REPLY_TEXT_MAX / 4).collect())
            }
            _ => return Ok(false),
        };
        self.count_one(data.len())?;
        self.changes.list.push(change);
        Ok(true)
    }

    fn count_one(&mut self, bytes: usize) -> Result<(), Wrong> {
        self.bytes += bytes;
        self.count += 1;
        if self.count > MILTER_CHANGES_MAX || self.bytes > MILTER_CHANGES_BYTES_MAX {
            return Err("too many changes");
        }
        Ok(())
    }

    fn take_body(&mut self, piece: &[u8], body_max: u64) -> Result<(), Wrong> {
        if piece.contains(&0) {
            return Err("a NUL in the new body");
        }
        if piece.is_empty() {
            // It takes no room, and must not be had for nothing.
            self.count_one(0)?;
        }
        let body = self.changes.body.get_or_insert_default();
        if (body.len() + piece.len()) as u64 > body_max {
            return Err("a new body larger than a message may be");
        }
        body.append(piece);
        Ok(())
    }
}

fn number(data: &[u8]) -> Result<(u32, &[u8]), Wrong> {
    let (number, rest) = data.split_first_chunk::<4>().ok_or("a change without its place")?;
    Ok((u32::from_be_bytes(*number), rest))
}

/// A name and a value.
fn field(data: &[u8], leads: bool) -> Result<(Vec<u8>, Vec<u8>), Wrong> {
    let [name, value] = strings(data)?;
    let is_name = |octet: &u8| matches!(octet, b'!'..=b'9' | b';'..=b'~');
    if name.is_empty() || name.len() > MAIL_LINE_MAX / 2 || !name.iter().all(is_name) {
        return Err("a field without a proper name");
    }
    let space: &[u8] = if leads || value.is_empty() { b"" } else { b" " };
    Ok((name.to_vec(), [space, value].concat()))
}

fn path_and_parameters(data: &[u8]) -> Result<(String, String), Wrong> {
    match texts(data) {
        Ok([path]) => Ok((path, String::new())),
        Err(_) => texts(data).map(|[path, parameters]| (path, parameters)),
    }
}

fn texts<const N: usize>(data: &[u8]) -> Result<[String; N], Wrong> {
    let texts = strings(data)?.map(|text| String::from_utf8(text.to_vec()));
    if texts.iter().any(Result::is_err) {
        return Err("text that is not UTF-8");
    }
    Ok(texts.map(Result::unwrap_or_default))
}

/// `N` strings, each with the NUL that ends it; the last one may lack it.
fn strings<const N: usize>(data: &[u8]) -> Result<[&[u8]; N], Wrong> {
    let data = data.strip_suffix(b"\0").unwrap_or(data);
    let found: Vec<&[u8]> = data.splitn(N + 1, |octet| *octet == 0).collect();
    found.try_into().map_err(|_| "not as many texts as there have to be")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(packets: &[(u8, &[u8])]) -> Result<Changes, Wrong> {
        let mut changes = Gathered::default();
        for (what, data) in packets {
            assert!(changes.take(*what, data, false, 100)?, "{} is a change", *what as char);
        }
        Ok(changes.into_changes())
    }

    #[test]
    fn changes_are_read_in_their_order() {
        let changes = take(&[
            (b'h', b"X-A\0one\0"),
            (b'i', b"\0\0\0\x01X-B\0two\n three\0"),
            (b'm', b"\0\0\0\x02X-C\0\0"),
            (b'm', b"\0\0\0\x01Subject\0new"),
            (b'+', b"<a@b.example>\0"),
            (b'2', b"<c@b.example>\0NOTIFY=NEVER\0"),
            (b'-', b"<d@b.example>\0"),
            (b'e', b"<e@b.example>\0BODY=8BITMIME\0"),
            (b'b', b"first "),
            (b'q', b"looks\r\nodd\0"),
            (b'b', b"second"),
        ])
        .expect("all of them are well-formed");
        let field = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
        let ((a, one), (b, two), (subject, new)) =
            (field(b"X-A", b" one"), field(b"X-B", b" two\n three"), field(b"Subject", b" new"));
        assert_eq!(
            changes.list,
            [
                Change::AddField { name: a, value: one },
                Change::InsertField { place: 1, name: b, value: two },
                Change::ChangeField { index: 2, name: b"X-C".to_vec(), value: None },
                Change::ChangeField { index: 1, name: subject, value: Some(new) },
                Change::AddRecipient { path: "<a@b.example>".into(), parameters: "".into() },
                Change::AddRecipient {
                    path: "<c@b.example>".into(),
                    parameters: "NOTIFY=NEVER".into()
                },
                Change::DeleteRecipient("<d@b.example>".into()),
                Change::ReversePath("<e@b.example>".into()),
                Change::Quarantine("looksodd".into()),
            ]
        );
        assert_eq!(changes.body.expect("a body").pieces().concat(), b"first second");
    }

    #[test]
    fn white_space_before_a_value_is_the_milters_where_that_was_agreed() {
        let mut changes = Gathered::default();
        assert_eq!(changes.take(b'h', b"X-A\0\tone\0", true, 0), Ok(true));
        let expected = Change::AddField { name: b"X-A".to_vec(), value: b"\tone".to_vec() };
        assert_eq!(changes.into_changes().list, [expected]);
    }

    #[test]
    fn what_no_message_can_hold_is_refused() {
        for (what, data) in [
            (b'h', &b"X-A\0"[..]),
            (b'h', b"X-A\0one\0two\0"),
            (b'h', b"\0one\0"),
            (b'h', b"X A\0one\0"),
            (b'h', b"X-A:\0one\0"),
            (b'h', b"X-\xE9\0one\0"),
            (b'h', b"X-A\r\nEvil\0one\0"),
            (b'i', b"\0\0\0"),
            (b'i', b"\0\0\0\x01"),
            (b'm', b""),
            (b'+', b"<\xFF@b.example>\0"),
            (b'+', b"<a@b.example>\0b\0"),
            (b'b', b"a\0b"),
            (b'b', &[b'x'; 101]),
        ] {
            assert!(take(&[(what, data)]).is_err(), "{} {data:?}", what as char);
        }
        assert_eq!(Gathered::default().take(b'c', b"", false, 100), Ok(false), "not a change");
    }

    #[test]
    fn there_is_an_end_to_them() {
        let mut small = Gathered::default();
        let one = |changes: &mut Gathered, data: &[u8]| changes.take(b'h', data, false, 100);
        for _ in 0..MILTER_CHANGES_MAX {
            assert_eq!(one(&mut small, b"X-A\0one\0"), Ok(true));
        }
        assert!(one(&mut small, b"X-A\0one\0").is_err());
        let large = [b"X-A\0", [b'x'; 60_000].as_slice(), b"\0"].concat();
        let mut changes = Gathered::default();
        let taken = (0..).take_while(|_| one(&mut changes, &large).is_ok()).count();
        assert_eq!(taken, MILTER_CHANGES_BYTES_MAX / large.len());
        let mut empty = Gathered::default();
        let endless = (0..).take_while(|_| empty.take(b'b', b"", false, 100).is_ok()).count();
        assert_eq!(endless, MILTER_CHANGES_MAX);
    }
}
