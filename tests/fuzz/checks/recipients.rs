//! Lists of recipients: who is listed is found in any case, nobody else is; errors have their line.
//!
//! Input: the text of a list.

use relay_fast::mail::address::{Domain, Mailbox};
use relay_fast::policy::recipients::{ListError, RecipientList};

use super::taken::assert_clean;

/// The check.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match RecipientList::parse(&text) {
        Ok(list) => assert_lists(&list, &text),
        Err(ListError::Line { line, what }) => {
            assert!((1..=text.lines().count()).contains(&line));
            let entry = text.lines().nth(line - 1).expect("one of its lines").trim();
            assert!(!entry.is_empty() && !entry.starts_with('#'), "{entry:?}");
            assert!(what.len() < 2_000, "{} octets of complaint", what.len());
            assert_clean(&what);
        }
        Err(ListError::Empty) => assert_eq!(entries(&text).count(), 0),
        Err(ListError::TooMany) => panic!("not in so few octets"),
    }
}

/// Lines that are no comments.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn assert_lists(list: &RecipientList, text: &str) {
    assert_eq!(list.len(), entries(text).count());
    let domains: Vec<Domain> =
        entries(text).filter_map(|one| Domain::parse(one.strip_prefix('@')?).ok()).collect();
    let listed: Vec<Mailbox> =
        entries(text).filter_map(|one| Mailbox::parse(one, true).ok()).collect();
    for entry in &listed {
        assert!(list.has(entry), "{entry:?}");
        let shouted = entry.as_str().to_ascii_uppercase();
        assert!(list.has(&Mailbox::parse(&shouted, true).expect("an address")), "{shouted}");
    }
    let all = domains.iter().chain(listed.iter().map(Mailbox::domain));
    for domain in all {
        // Local parts that hardly anyone lists; the empty one is a local part as any other.
        for local in ["nobody-has-this-name", "\"\"", "\"nobody@domain\""] {
            let text = format!("{local}@{domain}");
            let Ok(stranger) = Mailbox::parse(&text, true) else { continue };
            let is_listed = listed.iter().any(|one| is_same(one, &stranger));
            let expected = domains.contains(domain) || is_listed;
            assert_eq!(list.has(&stranger), expected, "{text}");
        }
    }
}

/// Whether two addresses are one recipient's, by a reading that shares nothing with the list's.
fn is_same(one: &Mailbox, other: &Mailbox) -> bool {
    let plain = |mailbox: &Mailbox| {
        let local = mailbox.local_part();
        let inside = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let mut plain = String::new();
        let mut is_escaped = false;
        for character in inside.unwrap_or(local).chars() {
            is_escaped = inside.is_some() && character == '\\' && !is_escaped;
            if !is_escaped {
                plain.push(character);
            }
        }
        plain.to_lowercase()
    };
    one.domain() == other.domain() && plain(one) == plain(other)
}
