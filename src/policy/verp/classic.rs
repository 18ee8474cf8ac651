//! Read what sending platforms have put into reverse-paths since qmail: the recipient, unsigned.
//!
//! `list+user=domain@host`, or with `-` in place of `+` (D. J. Bernstein, "Variable Envelope Return
//! Paths", 1997): the last `=` of the local part stands for the recipient's `@`. Anyone can write
//! one, so what comes back to it says something of a recipient only as far as its sender is
//! believed.

use crate::mail::address::Mailbox;

/// The recipient in the local part of `address`, behind its first `+`, or else its first `-`.
pub fn original_recipient(address: &Mailbox) -> Option<Mailbox> {
    let local = address.local_part();
    let (_, recipient) = local.split_once('+').or_else(|| local.split_once('-'))?;
    let (user, domain) = recipient.rsplit_once('=')?;
    Mailbox::parse(&format!("{user}@{domain}"), true).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipient_stands_behind_the_first_plus_or_else_the_first_hyphen() {
        for (address, expected) in [
            ("news+user=example.com@b.example", Some("user@example.com")),
            ("news-user=example.com@b.example", Some("user@example.com")),
            ("news+a+b=c=example.com@b.example", Some("a+b=c@example.com")),
            ("a-b+first-last=ex-ample.com@b.example", Some("first-last@ex-ample.com")),
            ("news+user@b.example", None),
            ("news@b.example", None),
            ("news+=example.com@b.example", None),
            ("news+user=@b.example", None),
            ("\"news+us er=example.com\"@b.example", None),
        ] {
            let address = Mailbox::parse(address, true).expect("an address");
            let found = original_recipient(&address);
            assert_eq!(found.as_ref().map(Mailbox::as_str), expected, "{address}");
        }
    }
}
