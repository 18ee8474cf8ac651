//! Addresses: what is accepted cannot break a line or a path, and reads back as itself.
//!
//! Input: whether UTF-8 is allowed; then the text of a mailbox or of a path.

use relay_fast::base::limits::{DOMAIN_NAME_MAX, LABEL_MAX, LOCAL_PART_MAX, PATH_MAX};
use relay_fast::mail::address::{Domain, ForwardPath, Mailbox, ReversePath};

use super::taken::assert_clean;

/// The check.
pub(crate) fn check(data: &[u8]) {
    let Some((&flags, rest)) = data.split_first() else { return };
    let utf8 = flags & 1 == 1;
    let text = String::from_utf8_lossy(rest);
    if let Ok(mailbox) = Mailbox::parse(&text, utf8) {
        assert_eq!(mailbox.as_str(), text);
        assert_mailbox(&mailbox, utf8);
    }
    if let Ok(domain) = Domain::parse(&text) {
        assert_domain(&domain);
    }
    if let Ok((path, rest)) = ReversePath::split(&text, utf8) {
        assert!(text.ends_with(rest));
        let printed = format!("{path}{rest}");
        assert_eq!(ReversePath::split(&printed, utf8), Ok((path.clone(), rest)), "{printed:?}");
        assert_eq!(path.is_null(), path.as_str().is_empty());
        path.0.iter().for_each(|mailbox| assert_mailbox(mailbox, utf8));
    }
    if let Ok((path, rest)) = ForwardPath::split(&text, utf8) {
        let printed = format!("{path}{rest}");
        assert_eq!(ForwardPath::split(&printed, utf8), Ok((path.clone(), rest)), "{printed:?}");
        match &path {
            ForwardPath::Mailbox(mailbox) => assert_mailbox(mailbox, utf8),
            ForwardPath::Postmaster => assert_eq!(path.domain(), None),
        }
    }
}

fn assert_mailbox(mailbox: &Mailbox, utf8: bool) {
    let text = mailbox.as_str();
    assert_clean(text);
    assert!(utf8 || text.is_ascii());
    assert!(text.len() <= PATH_MAX - 2);
    let (local, domain) = text.rsplit_once('@').expect("local@domain");
    assert_eq!(mailbox.local_part(), local);
    assert!((1..=LOCAL_PART_MAX).contains(&local.len()));
    assert!(local.starts_with('"') || !local.contains([' ', '"', '<', '>', '\\', '@', ',']));
    assert_eq!(Domain::parse(domain).as_ref(), Ok(mailbox.domain()));
    assert_domain(mailbox.domain());
    assert_eq!(Mailbox::parse(text, utf8).as_ref(), Ok(mailbox));
}

fn assert_domain(domain: &Domain) {
    let text = domain.as_str();
    assert_eq!(Domain::parse(text).as_ref(), Ok(domain), "{text:?} is another one's");
    let suffixes: Vec<_> = domain.suffixes().collect();
    assert!(suffixes.iter().all(|suffix| text.ends_with(suffix)));
    if let Some(address) = domain.literal() {
        assert!(text.starts_with('[') && text.ends_with(']'));
        assert_eq!(Domain::from(address), *domain);
        assert_eq!(suffixes, [text]);
        return;
    }
    assert!((1..=DOMAIN_NAME_MAX).contains(&text.len()));
    let plain = |octet: u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-');
    for label in text.split('.') {
        assert!((1..=LABEL_MAX).contains(&label.len()) && label.bytes().all(plain), "{text:?}");
        assert!(!label.starts_with('-') && !label.ends_with('-'), "{text:?}");
    }
    assert_eq!(suffixes.len(), text.split('.').count());
}
