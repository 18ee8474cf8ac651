//! Read who tells domains how TLS with their MX hosts does: `[tls_report]`.

use crate::base::limits::TLS_REPORT_WORDS_MAX;
use crate::config::knobs;
use crate::config::parse::forms;
use crate::config::reader::{Reader, Section};
use crate::config::units::Wrong;
use crate::mail::address::Mailbox;
use crate::policy::tls_report::Reporter;

pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> Option<Reporter> {
    let section = reader.table(root, "tls_report");
    let from = reader.text(&section, &knobs::TLS_REPORT_FROM, None, sender);
    let organization = reader.text(&section, &knobs::TLS_REPORT_ORGANIZATION, None, words);
    let contact = reader.text(&section, &knobs::TLS_REPORT_CONTACT, None, sender);
    let Some(from) = from.map(|given| given.value) else {
        let places = [organization.map(|it| it.place), contact.map(|it| it.place)];
        if let Some(place) = places.into_iter().flatten().next() {
            let wrong = Wrong::new("nothing is reported").help("set `tls_report.from`");
            reader.finder.add(place.as_ref().unwrap_or(section.place()), wrong);
        }
        return None;
    };
    let organization = organization.map(|given| given.value);
    Some(Reporter {
        organization: organization.unwrap_or_else(|| from.domain().to_string()).into(),
        contact: contact.map_or_else(|| from.clone(), |given| given.value),
        from,
    })
}

/// An address that mail is sent from, in a domain that has a name.
fn sender(text: &str) -> Result<Mailbox, Wrong> {
    let mailbox = forms::mailbox(text)?;
    match mailbox.domain().literal() {
        None => Ok(mailbox),
        Some(_) => Err(Wrong::new(format!("`{text}` has no domain to report for"))),
    }
}

fn words(text: &str) -> Result<String, Wrong> {
    let is_right = !text.trim().is_empty()
        && text.len() <= TLS_REPORT_WORDS_MAX
        && !text.chars().any(char::is_control);
    is_right
        .then(|| text.to_owned())
        .ok_or_else(|| Wrong::new(format!("write one line, {TLS_REPORT_WORDS_MAX} octets at most")))
}
