//! Own checks of content: the same faults at every cut, bounded memory, replies of one line.
//!
//! Input: cuts; then content.

use std::sync::Arc;

use relay_fast::base::limits::{
    CHECK_BOUNDARY_MAX, CHECK_DEPTH_MAX, CHECK_FAULTS_MAX, CHECK_FIELD_MAX, URL_DOMAINS_MAX,
};
use relay_fast::mail::address::Domain;
use relay_fast::policy::checks::{ContentCheck, Fault, Rules, refusal};

use super::cuts::Cuts;

/// The check.
pub(crate) fn check(data: &[u8]) {
    let Some((&cuts, content)) = data.split_first() else { return };
    let types = ["exe", "js", "a"].map(Box::from).into();
    let rules = Arc::new(Rules { types });
    let whole = faults(&rules, &[content]);
    assert_eq!(whole, faults(&rules, &Cuts::Free(cuts).pieces(content)), "a cut matters");
    assert_eq!(whole, faults(&rules, &Cuts::LinesAnd(cuts).pieces(content)), "a cut matters");
    assert!(whole.len() <= CHECK_FAULTS_MAX);
    for (place, fault) in whole.iter().enumerate() {
        assert!(!whole[..place].contains(fault), "{fault} twice");
        if let Fault::Attachment(kind) = fault {
            assert!(rules.types.contains(kind), "{kind} is not refused");
        }
    }
    // Without types to refuse, what is left of them is against the form.
    let form: Vec<_> = whole.iter().filter(|fault| !fault.is_attachment()).collect();
    let without = faults(&Arc::new(Rules::default()), &[content]);
    assert!(without.iter().all(|fault| !fault.is_attachment()));
    let is_whole = whole.len() < CHECK_FAULTS_MAX;
    assert!(!is_whole || without.iter().collect::<Vec<_>>() == form, "{whole:?} {without:?}");
    let led_to = domains(&[content]);
    assert_eq!(led_to, domains(&Cuts::Free(cuts).pieces(content)), "a cut matters");
    assert!(led_to.len() <= URL_DOMAINS_MAX);
    for domain in &led_to {
        assert_eq!(Domain::parse(domain).map(|one| one.as_str() == &**domain), Ok(true));
    }
    match refusal(&whole) {
        None => assert!(whole.is_empty()),
        Some(reply) => assert!(!reply.to_string().contains(['\r', '\n'])),
    }
}

fn faults(rules: &Arc<Rules>, pieces: &[&[u8]]) -> Vec<Fault> {
    let mut check = ContentCheck::new(rules.clone());
    for piece in pieces {
        check.push(piece);
        let most = 4 * CHECK_FIELD_MAX + 2 * CHECK_DEPTH_MAX * CHECK_BOUNDARY_MAX;
        assert!(check.memory() <= most, "{} octets", check.memory());
    }
    check.end()
}

/// Where URLs lead.
fn domains(pieces: &[&[u8]]) -> Vec<Box<str>> {
    let mut check = ContentCheck::with_urls(Arc::default());
    let mut found = Vec::new();
    for piece in pieces {
        check.push(piece);
        found.extend(check.take_domains());
    }
    check.end();
    found.extend(check.take_domains());
    found
}
