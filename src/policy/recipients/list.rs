//! Hold the recipients of a file, and say whether one is among them.
//!
//! ```text
//! # a comment
//! user@corp.example         this recipient
//! @lists.corp.example       every recipient of that domain, not of those below it
//! ```
//! In: the file's text. Out: whether a recipient is in it; or what is wrong, and in which line.
//! Invariant: a recipient is found in whatever case it is written. RFC 5321 §2.4 leaves the case of
//! a local part to its host; hardly any host tells them apart, and who lists `Jane.Doe` means
//! `jane.doe` too. Costs, a recipient: its octets and four more; found by halving.
//! Lives on: all shards, shared; a reload makes another.

use std::fmt;

use crate::base::limits::RECIPIENTS_LISTED_MAX;
use crate::mail::address::{AddressError, Domain, Mailbox};
use crate::policy::recipients::unquoted;

/// The recipients that there are.
pub struct RecipientList {
    /// `local@domain`, and `domain` for all of one, in the form that is compared, each with a
    /// line's end. A local part may be empty (`""`), so that `@domain` would say either.
    text: Box<str>,
    /// Where each begins, in their order.
    starts: Box<[u32]>,
}

/// What is wrong with a file of recipients, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// This line is no recipient.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// In a few words.
        what: String,
    },
    /// Nobody could have mail: whoever wrote it has come to grief.
    #[error("there is no recipient in it; `@example.com` is every recipient of a domain")]
    Empty,
    /// More recipients than a list may have.
    #[error("it has more than {RECIPIENTS_LISTED_MAX} recipients")]
    TooMany,
}

impl fmt::Debug for RecipientList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipientList({})", self.len())
    }
}

impl RecipientList {
    /// Read the text of a file.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        Self::parse_most(text, RECIPIENTS_LISTED_MAX)
    }

    fn parse_most(text: &str, most: usize) -> Result<Self, ListError> {
        let mut compared = String::with_capacity(text.len());
        let mut starts: Vec<u32> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let entry = line.trim();
            if entry.is_empty() || entry.starts_with('#') {
                continue;
            }
            if starts.len() == most {
                return Err(ListError::TooMany);
            }
            let start = u32::try_from(compared.len()).map_err(|_| ListError::TooMany)?;
            read(entry, &mut compared)
                .map_err(|what| ListError::Line { line: number + 1, what })?;
            compared.push('\n');
            starts.push(start);
        }
        if starts.is_empty() {
            return Err(ListError::Empty);
        }
        starts.sort_unstable_by(|a, b| entry(&compared, *a).cmp(entry(&compared, *b)));
        Ok(Self { text: compared.into(), starts: starts.into() })
    }

    /// Lines that name recipients.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Never: such a list cannot be read.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Whether `recipient` is in it, or all of its domain.
    pub fn has(&self, recipient: &Mailbox) -> bool {
        let mut compared = String::with_capacity(recipient.as_str().len());
        let domain = push(recipient, &mut compared);
        self.contains(&compared) || self.contains(&compared[domain..])
    }

    fn contains(&self, compared: &str) -> bool {
        let place = self.starts.binary_search_by(|start| entry(&self.text, *start).cmp(compared));
        place.is_ok()
    }
}

/// The entry that begins there.
fn entry(text: &str, start: u32) -> &str {
    let rest = &text[start as usize..];
    rest.split_once('\n').map_or(rest, |(entry, _)| entry)
}

/// Append an entry in the form that is compared.
fn read(entry: &str, into: &mut String) -> Result<(), String> {
    if let Some(domain) = entry.strip_prefix('@') {
        let domain =
            Domain::parse(domain).map_err(|_| format!("`{}` is no domain", shown(domain)))?;
        into.push_str(domain.as_str());
        return Ok(());
    }
    let mailbox = Mailbox::parse(entry, true).map_err(|error| match error {
        AddressError::Malformed | AddressError::Domain if entry.contains(char::is_whitespace) => {
            format!("`{}` has more than an address in it", shown(entry))
        }
        AddressError::Malformed
        | AddressError::TooLong
        | AddressError::NeedsUtf8
        | AddressError::Domain => format!("`{}`: {error}", shown(entry)),
    })?;
    push(&mailbox, into);
    Ok(())
}

/// As much of a line as says which one it is.
fn shown(entry: &str) -> String {
    entry.chars().take(80).flat_map(char::escape_debug).collect()
}

/// Append a recipient in the form that is compared; returns where its domain begins.
fn push(mailbox: &Mailbox, into: &mut String) -> usize {
    let local = unquoted(mailbox.local_part());
    into.extend(local.chars().flat_map(char::to_lowercase));
    into.push('@');
    let domain = into.len();
    into.push_str(mailbox.domain().as_str());
    domain
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# corp\n\nuser@corp.example\r\n  Jane.Doe@Corp.Example  \n\
        @lists.corp.example\n\"with space\"@corp.example\nuser@corp.example\n\
        rené@bücher.example\n\"pl\\ain\"@corp.example\na+tag@corp.example\n";

    fn has(recipient: &str) -> bool {
        let list = RecipientList::parse(LIST).unwrap();
        list.has(&Mailbox::parse(recipient, true).unwrap())
    }

    //= RFC 5321 §2.4, type=test
    //# The local-part of a mailbox MUST BE treated as case sensitive.
    /// By those who are its host; the list is what the operator says that they do.
    #[test]
    fn a_recipient_is_found_in_any_case_and_in_any_quotes() {
        for recipient in [
            "user@corp.example",
            "USER@CORP.EXAMPLE",
            "jane.doe@corp.example",
            "\"user\"@corp.example",
            "\"us\\er\"@corp.example",
            "\"With Space\"@corp.example",
            "plain@corp.example",
            "RENÉ@xn--bcher-kva.example",
            "a+tag@corp.example",
            "anyone@lists.corp.example",
            "\"any@one\"@LISTS.corp.example",
        ] {
            assert!(has(recipient), "{recipient}");
        }
    }

    #[test]
    fn who_is_not_in_it_is_not_found_by_any_trick() {
        for recipient in [
            "use@corp.example",
            "user2@corp.example",
            "user@corp.example.net",
            "user@lists.corp.example.net",
            "user@below.lists.corp.example",
            "a@corp.example",
            "a+other@corp.example",
            "user+tag@corp.example",
            "user%corp.example@other.example",
            "\"user@corp.example\"@other.example",
            "\"x@lists.corp.example\"@corp.example",
            "\" user\"@corp.example",
        ] {
            assert!(!has(recipient), "{recipient}");
        }
    }

    #[test]
    fn an_empty_local_part_is_one_recipient_and_not_the_whole_domain() {
        let list = RecipientList::parse("\"\"@corp.example").expect("a list");
        let has = |recipient| list.has(&Mailbox::parse(recipient, false).expect("an address"));
        assert!(has("\"\"@corp.example") && !has("user@corp.example"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let nobody = "there is no recipient in it; `@example.com` is every recipient of a domain";
        for (text, expected) in [
            ("user@a.example\nuser\n", "line 2: `user`: malformed address"),
            ("\n\n@a..example", "line 3: `a..example` is no domain"),
            ("user@a.example OK", "line 1: `user@a.example OK` has more than an address in it"),
            ("us er@a.example", "line 1: `us er@a.example` has more than an address in it"),
            ("a\u{7}@a.example", "line 1: `a\\u{7}@a.example`: malformed address"),
            ("@a.ex\rample", "line 1: `a.ex\\rample` is no domain"),
            ("# nobody\n", nobody),
            ("", nobody),
        ] {
            let error = RecipientList::parse(text).expect_err(text);
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_list_has_so_many_recipients_at_most() {
        let three = "a@b.c\n# a comment\nd@b.c\n\ne@b.c\n";
        assert_eq!(RecipientList::parse_most(three, 3).map(|list| list.len()), Ok(3));
        assert_eq!(RecipientList::parse_most(three, 2).unwrap_err(), ListError::TooMany);
    }

    #[test]
    fn each_of_many_is_found_and_nobody_between_them() {
        let even = |number: u32| format!("user{}@corp.example\n", number * 2);
        let text: String = (0..5_000).rev().map(even).collect();
        let list = RecipientList::parse(&text).unwrap();
        for number in 0..10_000 {
            let recipient = Mailbox::parse(&format!("User{number}@corp.example"), false).unwrap();
            assert_eq!(list.has(&recipient), number % 2 == 0, "{recipient}");
        }
    }
}
