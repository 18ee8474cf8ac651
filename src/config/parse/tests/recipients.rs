//! `[[relay_domain]]`: how it is said who there is.

use super::*;
use crate::config::options::Recipients;
use crate::policy::recipients::Unverified;

/// One section a line of `more`; the first such line is the sixth.
fn sections(more: &[&str]) -> String {
    let group = "[[upstream]]\nname = \"u\"\nhosts = \"h.example\"\n";
    let section = |(number, more): (usize, &&str)| {
        format!("[[relay_domain]]\nupstream = \"u\"\n{more}\ndomains = [\"{number}.example\"]\n")
    };
    more.iter().enumerate().fold(String::from(group), |text, one| text + &section(one))
}

#[test]
fn each_section_says_who_there_is() {
    let text = sections(&[
        "",
        "recipients = \"any\"",
        "recipients = \"/etc/relay-fast/corp.recipients\"",
        "recipients = \"callout\"",
        "recipients = \"callout\"\nunverified = \"defer\"",
    ]);
    let config = read_file(&text);
    let read: Vec<_> = config.relay_domains.iter().map(|one| one.recipients.clone()).collect();
    assert_eq!(
        read,
        [
            Recipients::Any,
            Recipients::Any,
            Recipients::List(std::path::Path::new("/etc/relay-fast/corp.recipients").into()),
            Recipients::Callout(Unverified::Accept),
            Recipients::Callout(Unverified::Defer),
        ]
    );
    let shown = config.describe(Some("relay.toml"));
    assert_eq!(read_file(&shown).relay_domains, config.relay_domains, "{shown}");
}

#[test]
fn what_says_nothing_of_it_is_refused() {
    for (line, expected) in [
        (
            "recipients = \"calout\"",
            "6: `calout` is neither `any`, `callout` nor a path = a path has a `/` in it: \
             \"./calout\"",
        ),
        ("recipients = \"~/corp\"", "6: `~/corp`: nothing is expanded here = write the whole path"),
        ("recipients = true", "6: expected text"),
        (
            "recipients = \"callout\"\nunverified = \"reject\"",
            "7: `reject` is not one of accept, defer",
        ),
        (
            "unverified = \"defer\"",
            "6: `unverified` is about callouts = set `recipients = \"callout\"`, or leave it out",
        ),
        ("recipients = \"./corp\"\nunverified = \"accept\"", "7: `unverified` is about callouts"),
    ] {
        let problems = problems(&sections(&[line]));
        assert!(problems[0].starts_with(expected), "{line}: {problems:?}");
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}
