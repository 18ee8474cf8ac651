//! Know which recipients of a relay domain there are, so that others are refused at RCPT.
//!
//! In: for each relay domain, how its recipients are known. Out: of a recipient, how it is to be
//! looked at, and what is answered. Invariant: the longest rule holds, as for routes; nobody is
//! looked at for a domain whose section says nothing of that; `postmaster` is never refused.
//! Lives on: all shards, shared; a reload makes another.
//!
//! A server that takes a message for nobody has to send it back, to a reverse-path that is mostly
//! forged: backscatter (RFC 5321 §6.2). Who refuses at RCPT leaves that to the client.

mod callouts;
mod list;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::mail::address::{Domain, Mailbox};
use crate::mail::status::Reply;
use crate::policy::reply;

pub use callouts::{Callouts, Finding, Standing, busy, deferred, refused, unfit};
pub use list::{ListError, RecipientList};

/// What is done about a recipient of whom the server behind says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unverified {
    /// It is taken: nothing waits elsewhere while the server behind is down.
    #[default]
    Accept,
    /// Its client is to come again.
    Defer,
}

impl Unverified {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Accept, Self::Defer];
}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Defer => "defer",
        })
    }
}

/// How the recipients of a relay domain are known.
#[derive(Clone, Debug)]
pub enum Check {
    /// Those of a list.
    List(Arc<RecipientList>),
    /// Whom the server behind knows; so is done where it says nothing.
    Callout(Unverified),
}

/// By relay domain: how its recipients are known.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    exact: HashMap<Domain, Option<Check>>,
    /// Without the leading dot.
    below: HashMap<Box<str>, Option<Check>>,
    /// Some domain has one.
    has_any: bool,
}

impl Checks {
    /// Of `domain` itself; `None`: nobody is looked at.
    pub fn insert(&mut self, domain: Domain, check: Option<Check>) {
        self.has_any |= check.is_some();
        self.exact.insert(domain, check);
    }

    /// Of every domain below `domain`.
    pub fn insert_below(&mut self, domain: &Domain, check: Option<Check>) {
        self.has_any |= check.is_some();
        self.below.insert(domain.as_str().into(), check);
    }

    /// How it is found out whether there is such a recipient; `None`: it is not, and it is taken.
    /// Costs nothing where no domain asks for it, and else one hash a label.
    pub fn of(&self, recipient: &Mailbox) -> Option<&Check> {
        if !self.has_any {
            return None;
        }
        let domain = recipient.domain();
        let check = self
            .exact
            .get(domain)
            .or_else(|| domain.suffixes().skip(1).find_map(|above| self.below.get(above)));
        check?.as_ref().filter(|_| !is_postmaster(recipient))
    }
}

//= RFC 5321 §4.5.1
//# Any system that includes an SMTP server supporting mail relaying or delivery MUST support the
//# reserved mailbox "postmaster" as a case-insensitive local name.
fn is_postmaster(recipient: &Mailbox) -> bool {
    unquoted(recipient.local_part()).eq_ignore_ascii_case("postmaster")
}

/// A local part without its quotes: `"a\b"` and `ab` are one (RFC 5321 §4.1.2).
pub(in crate::policy) fn unquoted(local: &str) -> Cow<'_, str> {
    let inside = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inside) = inside else { return Cow::Borrowed(local) };
    let mut plain = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        let escaped = if character == '\\' { characters.next() } else { None };
        plain.push(escaped.unwrap_or(character));
    }
    Cow::Owned(plain)
}

//= RFC 3463 §3.2
//# X.1.1 Bad destination mailbox address
/// What is said of a recipient that is in no list.
pub fn not_listed() -> Reply {
    reply(550, (5, 1, 1), "No such recipient here")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    fn check(text: &str) -> Option<Check> {
        Some(Check::List(Arc::new(RecipientList::parse(text).unwrap())))
    }

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text, true).unwrap()
    }

    #[test]
    fn the_longest_rule_holds_even_where_it_asks_for_nothing() {
        let mut checks = Checks::default();
        checks.insert(domain("a.example"), check("of@a.example"));
        checks.insert_below(&domain("a.example"), check("of@below.a.example"));
        checks.insert_below(&domain("open.a.example"), None);
        checks.insert(domain("open.example"), None);
        for (recipient, listed) in [
            ("of@a.example", Some(true)),
            ("of@below.a.example", Some(true)),
            ("of@other.a.example", Some(false)),
            ("of@b.open.a.example", None),
            ("of@open.a.example", Some(false)),
            ("of@open.example", None),
            ("of@example", None),
            ("of@[192.0.2.1]", None),
        ] {
            let recipient = mailbox(recipient);
            let found = checks.of(&recipient).map(|check| match check {
                Check::List(list) => list.has(&recipient),
                Check::Callout(_) => unreachable!("there is none"),
            });
            assert_eq!(found, listed, "{recipient}");
        }
    }

    //= RFC 5321 §4.5.1, type=test
    //# MUST support the reserved mailbox "postmaster" as a case-insensitive local name.
    #[test]
    fn postmaster_is_never_looked_at() {
        let mut checks = Checks::default();
        checks.insert(domain("a.example"), check("someone@a.example"));
        for local in ["postmaster", "PostMaster", "\"postmaster\"", "\"post\\master\""] {
            assert!(checks.of(&mailbox(&format!("{local}@a.example"))).is_none(), "{local}");
        }
        assert!(checks.of(&mailbox("postmaster.x@a.example")).is_some());
    }

    #[test]
    fn quotes_are_no_part_of_a_local_part() {
        for (written, plain) in
            [("a", "a"), ("\"a\"", "a"), ("\"a\\\"b\\\\c d\"", "a\"b\\c d"), ("\"\"", "")]
        {
            assert_eq!(unquoted(written), plain);
        }
    }
}
