//! Read where bounces and complaints come back to: `[bounces]`, `[complaints]`.

use std::path::PathBuf;

use crate::base::limits::{VERP_COMPLAINTS_MAX, VERP_LOCAL_MAX};
use crate::config::knobs;
use crate::config::options::ReturnOptions;
use crate::config::parse::forms;
use crate::config::reader::{Reader, Section};
use crate::config::units::Wrong;
use crate::mail::address::Mailbox;
use crate::policy::returns::Mode;
use crate::policy::verp::Verp;

/// The file of rules, and what comes back.
pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
) -> (Option<PathBuf>, Option<ReturnOptions>) {
    let section = reader.table(root, "bounces");
    let rules = reader.text(&section, &knobs::BOUNCE_RULES, None, forms::path);
    (rules.map(|given| given.value.into()), returns(reader, root, &section))
}

fn returns(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
    bounces: &Section<'_>,
) -> Option<ReturnOptions> {
    let address = reader.text(bounces, &knobs::BOUNCE_ADDRESS, None, forms::mailbox);
    let secrets = reader.text(bounces, &knobs::BOUNCE_SECRETS, None, forms::path);
    let mode = match reader.choice(bounces, &knobs::BOUNCE_VERP) {
        "off" => Mode::Off,
        "recipient" => Mode::Recipient,
        _ => Mode::Message,
    };
    let lifetime = reader.duration(bounces, &knobs::BOUNCE_LIFETIME).value;
    let classic = reader.choice(bounces, &knobs::BOUNCE_CLASSIC) == "yes";
    let forward_to = reader.text(bounces, &knobs::BOUNCE_FORWARD, None, forms::mailbox);
    let section = reader.table(root, "complaints");
    let complaints = reader.list(&section, &knobs::COMPLAINT_ADDRESSES, forms::mailbox);
    if complaints.is_none() {
        reader.note(&section, &knobs::COMPLAINT_ADDRESSES, "[]".into(), None);
    }
    let announces = reader.choice(&section, &knobs::COMPLAINT_CFBL) == "yes";
    let complaints = complaints.unwrap_or_default();
    if announces && complaints.is_empty() {
        let wrong = Wrong::new("`cfbl` has no address to tell");
        reader.finder.add(section.place(), wrong.help("set `complaints.addresses`"));
    }
    if let Some(further) = complaints.get(VERP_COMPLAINTS_MAX) {
        let wrong = Wrong::new(format!("there are more than {VERP_COMPLAINTS_MAX} addresses"));
        reader.finder.add(further.place_or(section.place()), wrong);
    }
    let (Some(address), Some(secrets)) = (&address, &secrets) else {
        let (missing, set) = match &address {
            Some(address) => ("bounces.secrets", address.place.as_ref()),
            None => ("bounces.address", secrets.as_ref().and_then(|it| it.place.as_ref())),
        };
        let complaint = complaints.first().and_then(|given| given.place.as_ref());
        let forward = forward_to.as_ref().and_then(|given| given.place.as_ref());
        if let Some(place) = set.or(complaint).or(forward) {
            let wrong = Wrong::new("nothing comes back").help(format!("set `{missing}`"));
            reader.finder.add(place, wrong);
        }
        return None;
    };
    if let Some(wrong) = unfit(&address.value) {
        reader.finder.add(address.place_or(bounces.place()), wrong);
    }
    Some(ReturnOptions {
        address: address.value.clone(),
        secrets: secrets.value.clone().into(),
        mode,
        lifetime,
        classic,
        forward_to: forward_to.map(|given| given.value),
        complaints: complaints.into_iter().map(|given| given.value).collect(),
        announces,
    })
}

/// Why tokens do not fit into an address, or it has no domain that has a name.
fn unfit(address: &Mailbox) -> Option<Wrong> {
    if address.domain().literal().is_some() {
        return Some(Wrong::new(format!("`{address}` has no domain that others can write to")));
    }
    (!Verp::fits(address)).then(|| {
        let wrong = Wrong::new(format!("no token fits behind `{}`", address.local_part()));
        wrong.help(format!("{VERP_LOCAL_MAX} characters at most, without quotes"))
    })
}
