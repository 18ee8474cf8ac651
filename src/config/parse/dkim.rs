//! Read what signs: the keys of `[[dkim]]`. The files are read by whoever may.

use std::fmt::Display;
use std::path::PathBuf;

use crate::base::limits::SIGNATURES_MAX;
use crate::config::knob::Knob;
use crate::config::knobs;
use crate::config::options::DkimKey;
use crate::config::parse::forms;
use crate::config::reader::{Reader, Section};
use crate::config::units::Wrong;
use crate::mail::address::Domain;

/// The keys, and whose seals.
pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> (Vec<DkimKey>, Option<Domain>) {
    let keys = keys(reader, root);
    let arc = arc(reader, root, &keys);
    (keys, arc)
}

fn keys(reader: &mut Reader<'_>, root: &Section<'_>) -> Vec<DkimKey> {
    let mut keys: Vec<DkimKey> = Vec::new();
    for section in reader.tables(root, "dkim", "dkim[]") {
        let domain = reader.required(&section, &knobs::DKIM_DOMAIN, forms::signing_domain);
        let selector = reader.required(&section, &knobs::DKIM_SELECTOR, forms::selector);
        let file = reader.required(&section, &knobs::DKIM_KEY, forms::path);
        let subdomains = reader.choice(&section, &knobs::DKIM_SUBDOMAINS) == "yes";
        let identities = names(reader, &section, &knobs::DKIM_IDENTITIES, forms::identity);
        let tenants = names(reader, &section, &knobs::DKIM_TENANTS, forms::tenant_name);
        let (Some(domain), Some(selector), Some(file)) = (domain, selector, file) else { continue };
        let place = selector.place_or(section.place()).clone();
        let (domain, selector) = (domain.value, selector.value);
        let file = PathBuf::from(file.value);
        let key = DkimKey { domain, selector, file, subdomains, identities, tenants };
        match conflict(&keys, &key) {
            Some(wrong) => reader.finder.add(&place, wrong),
            None => keys.push(key),
        }
    }
    keys
}

/// Whose mail alone a key signs.
fn names<T: Display>(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    knob: &'static Knob,
    parse: impl Fn(&str) -> Result<T, Wrong>,
) -> Box<[T]> {
    let Some(named) = reader.list(section, knob, parse) else {
        reader.note(section, knob, knob.default_text(), None);
        return Box::default();
    };
    named.into_iter().map(|given| given.value).collect()
}

/// The domain that seals, of which there must be a key.
fn arc(reader: &mut Reader<'_>, root: &Section<'_>, keys: &[DkimKey]) -> Option<Domain> {
    let section = reader.table(root, "arc");
    let given = reader.text(&section, &knobs::ARC_DOMAIN, None, forms::signing_domain)?;
    if keys.iter().all(|key| key.domain != given.value) {
        let wrong = Wrong::new(format!("`{}` has no key", given.value));
        let wrong = wrong.help("it seals with its key of [[dkim]], the first RSA one of several");
        reader.finder.add(given.place_or(section.place()), wrong);
    }
    Some(given.value)
}

/// What speaks against a further key.
fn conflict(keys: &[DkimKey], key: &DkimKey) -> Option<Wrong> {
    let DkimKey { domain, selector, .. } = key;
    let Some(name) = selector.record_name(domain) else {
        return Some(Wrong::new(format!("`{selector}._domainkey.{domain}` is too long for DNS")));
    };
    let of_domain: Vec<_> = keys.iter().filter(|key| key.domain == *domain).collect();
    if of_domain.iter().any(|key| key.selector == *selector) {
        return Some(Wrong::new(format!("there are two keys for `{name}`")));
    }
    // Keys of other clients, and of other tenants, sign other messages.
    let meets = |other: &&&DkimKey| {
        meet(&other.identities, &key.identities) && meet(&other.tenants, &key.tenants)
    };
    (of_domain.iter().filter(meets).count() >= SIGNATURES_MAX).then(|| {
        let wrong = Wrong::new(format!("`{domain}` has {SIGNATURES_MAX} keys already"));
        wrong.help("each of them signs each message; those that are out of use can go")
    })
}

/// Whether a message can be of both of these, of which none is everybody.
fn meet<T: PartialEq>(some: &[T], others: &[T]) -> bool {
    some.is_empty() || others.is_empty() || some.iter().any(|one| others.contains(one))
}
