//! Read who tells domains how TLS with their MX hosts does: `[tls_report]`.

use crate::base::limits::TLS_REPORT_WORDS_MAX;
use crate::config::knob::Knob;
use crate::config::knobs;
use crate::config::parse::forms;
use crate::config::reader::{Reader, Section};
use crate::config::units::Wrong;
use crate::mail::address::Mailbox;
use crate::policy::tls_report::Reporter;

pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> Option<Reporter> {
    let section = reader.table(root, "tls_report");
    let from = reader.text(&section, &knobs::TLS_REPORT_FROM, None, sender);
    let from = from.map(|given| given.value);
    let mut words_of = |knob: &'static Knob| {
        let given = reader.text(&section, knob, None, words)?;
        if from.is_none() {
            let wrong = Wrong::new("nothing is reported").help("set `tls_report.from`");
            reader.finder.add(given.place_or(section.place()), wrong);
        }
        Some(given.value)
    };
    let organization = words_of(&knobs::TLS_REPORT_ORGANIZATION);
    let contact = words_of(&knobs::TLS_REPORT_CONTACT);
    let from = from?;
    Some(Reporter {
        organization: organization.unwrap_or_else(|| from.domain().to_string()).into(),
        contact: contact.unwrap_or_else(|| from.as_str().to_owned()).into(),
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
