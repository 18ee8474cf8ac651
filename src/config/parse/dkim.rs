//! Read what signs: the keys of `[[dkim]]`. The files are read by whoever may.

use std::path::PathBuf;

use crate::base::limits::SIGNATURES_MAX;
use crate::config::knobs;
use crate::config::options::DkimKey;
use crate::config::parse::forms;
use crate::config::reader::{Reader, Section};
use crate::config::units::Wrong;
use crate::mail::address::Domain;
use crate::policy::signing::Selector;
use crate::smtp::sasl::Name;

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
        let identities = identities(reader, &section);
        let (Some(domain), Some(selector), Some(file)) = (domain, selector, file) else { continue };
        let place = selector.place_or(section.place()).clone();
        let (domain, selector) = (domain.value, selector.value);
        match conflict(&keys, &domain, &selector, &identities) {
            Some(wrong) => reader.finder.add(&place, wrong),
            None => {
                let file = PathBuf::from(file.value);
                keys.push(DkimKey { domain, selector, file, subdomains, identities });
            }
        }
    }
    keys
}

/// Whose mail alone a key signs.
fn identities(reader: &mut Reader<'_>, section: &Section<'_>) -> Box<[Name]> {
    let knob = &knobs::DKIM_IDENTITIES;
    let Some(named) = reader.list(section, knob, forms::identity) else {
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
fn conflict(
    keys: &[DkimKey],
    domain: &Domain,
    selector: &Selector,
    identities: &[Name],
) -> Option<Wrong> {
    let Some(name) = selector.record_name(domain) else {
        return Some(Wrong::new(format!("`{selector}._domainkey.{domain}` is too long for DNS")));
    };
    let of_domain: Vec<_> = keys.iter().filter(|key| key.domain == *domain).collect();
    if of_domain.iter().any(|key| key.selector == *selector) {
        return Some(Wrong::new(format!("there are two keys for `{name}`")));
    }
    // Keys of other clients sign other messages.
    let meets = |key: &&&DkimKey| {
        let is_everyones = key.identities.is_empty() || identities.is_empty();
        is_everyones || key.identities.iter().any(|name| identities.contains(name))
    };
    (of_domain.iter().filter(meets).count() >= SIGNATURES_MAX).then(|| {
        let wrong = Wrong::new(format!("`{domain}` has {SIGNATURES_MAX} keys already"));
        wrong.help("each of them signs each message; those that are out of use can go")
    })
}
