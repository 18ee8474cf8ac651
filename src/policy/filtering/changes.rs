//! Make the changes to a message that a milter asks for.
//!
//! Invariant: a value makes one field, whatever line ends stand in it; of changes that cannot be
//! made, none is.

use crate::base::limits::RECIPIENTS_MAX;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::envelope::{Envelope, Recipient};
use crate::milter::{Change, Changes, Field, Letter};
use crate::policy::filtering::body::with_line_ends;
use crate::smtp::parameter::RcptParameters;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    /// The content is another.
    pub(super) content: bool,
    /// The message is to be held, for this reason.
    pub(super) quarantine: Option<String>,
}

/// Make `changes` to `letter`; an error is what cannot be done.
pub(super) fn apply(changes: Changes, letter: &mut Letter) -> Result<Applied, &'static str> {
    let mut envelope = letter.envelope.clone();
    changes.list.iter().try_for_each(|change| change_envelope(change, &mut envelope))?;
    let mut new_fields = changes.list.iter().filter_map(new_field);
    if new_fields.any(|field| field.is_none()) {
        return Err("a field that is none");
    }
    letter.envelope = envelope;
    let mut applied = Applied::default();
    for change in changes.list {
        applied.content |= change_header(&change, &mut letter.fields);
        if let Change::Quarantine(reason) = change {
            applied.quarantine = Some(reason);
        }
    }
    if let Some(body) = changes.body {
        letter.body = with_line_ends(body);
        applied.content = true;
    }
    // What follows new fields must not be taken for one of them.
    letter.has_empty_line |= applied.content && !letter.body.is_empty();
    Ok(applied)
}

fn change_envelope(change: &Change, envelope: &mut Envelope) -> Result<(), &'static str> {
    let utf8 = envelope.smtp_utf8;
    match change {
        Change::AddRecipient { path, parameters } => {
            let forward_path = match ForwardPath::split(&bracketed(path), utf8) {
                Ok((path @ ForwardPath::Mailbox(_), "")) => path,
                Ok(_) | Err(_) => return Err("a recipient that is no address"),
            };
            let parameters = format!(" {parameters}");
            let RcptParameters { notify, original } = RcptParameters::parse(&parameters, utf8)
                .map_err(|_| "a recipient's parameters that are none")?;
            let recipients = &mut envelope.recipients;
            if recipients.iter().any(|one| one.forward_path == forward_path) {
                return Ok(());
            }
            if recipients.len() >= RECIPIENTS_MAX {
                return Err("more recipients than a message may have");
            }
            recipients.push(Recipient { forward_path, notify, original });
        }
        Change::DeleteRecipient(path) => {
            let path = bracketed(path);
            let named = &path[1..path.len() - 1];
            envelope
                .recipients
                .retain(|one| !one.forward_path.as_str().eq_ignore_ascii_case(named));
        }
        Change::ReversePath(path) => match ReversePath::split(&bracketed(path), utf8) {
            Ok((path, "")) => envelope.reverse_path = path,
            Ok(_) | Err(_) => return Err("a reverse-path that is none"),
        },
        Change::AddField { .. }
        | Change::InsertField { .. }
        | Change::ChangeField { .. }
        | Change::Quarantine(_) => {}
    }
    Ok(())
}

/// Milters write addresses with and without brackets.
fn bracketed(path: &str) -> String {
    let path = path.trim();
    if path.starts_with('<') && path.ends_with('>') { path.into() } else { format!("<{path}>") }
}

/// The field that a change brings, if it brings one; `None` inside: it is none.
fn new_field(change: &Change) -> Option<Option<Field>> {
    match change {
        Change::AddField { name, value }
        | Change::InsertField { name, value, .. }
        | Change::ChangeField { name, value: Some(value), .. } => Some(field(name, value)),
        Change::ChangeField { value: None, .. }
        | Change::AddRecipient { .. }
        | Change::DeleteRecipient(_)
        | Change::ReversePath(_)
        | Change::Quarantine(_) => None,
    }
}

/// Change the header section; whether it is another now.
fn change_header(change: &Change, fields: &mut Vec<Field>) -> bool {
    let new = new_field(change).flatten();
    match (change, new) {
        (Change::AddField { .. }, Some(new)) => fields.push(new),
        (Change::InsertField { place, .. }, Some(new)) => {
            // At 0 is the `Received:` field that the relay puts before all of them.
            let place = usize::try_from(*place).unwrap_or(usize::MAX).saturating_sub(1);
            fields.insert(place.min(fields.len()), new);
        }
        (Change::ChangeField { index, name, .. }, new) => {
            let skipped = usize::try_from(*index).unwrap_or(usize::MAX).saturating_sub(1);
            let mut places =
                (0..fields.len()).filter(|place| fields[*place].name().eq_ignore_ascii_case(name));
            match (places.nth(skipped), new) {
                (Some(place), Some(new)) => fields[place] = new,
                (Some(place), None) => drop(fields.remove(place)),
                // As sendmail and Postfix do.
                (None, Some(new)) => fields.push(new),
                (None, None) => return false,
            }
        }
        _ => return false,
    }
    true
}

/// `name:value` as a field: each line after the first is made to continue it, empty ones are left
/// out.
fn field(name: &[u8], value: &[u8]) -> Option<Field> {
    let mut text = [name, b":"].concat();
    let mut lines = value.split(|octet| matches!(octet, b'\r' | b'\n'));
    text.extend_from_slice(lines.next().unwrap_or_default());
    for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
        text.extend_from_slice(b"\r\n");
        if !matches!(line[0], b' ' | b'\t') {
            text.push(b' ');
        }
        text.extend_from_slice(line);
    }
    text.extend_from_slice(b"\r\n");
    Field::new(text).filter(|_| !value.contains(&0))
}
