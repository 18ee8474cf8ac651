//! Read what a relay checks by itself: `[checks]`.

use crate::base::limits::{CHECK_TYPE_MAX, CHECK_TYPES_MAX};
use crate::config::knobs;
use crate::config::options::{CheckOptions, Listener};
use crate::config::reader::{Reader, Section};
use crate::config::units::Wrong;

pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
    listeners: &[Listener],
) -> CheckOptions {
    let section = reader.table(root, "checks");
    let knob = &knobs::REFUSE_ATTACHMENTS;
    let types = reader.list(&section, knob, extension).unwrap_or_else(|| {
        reader.note(&section, knob, knob.default_text(), None);
        Vec::new()
    });
    if let Some(beyond) = types.get(CHECK_TYPES_MAX) {
        let wrong = Wrong::new(format!("there are {CHECK_TYPES_MAX} types already"));
        reader.finder.add(beyond.place_or(section.place()), wrong);
    }
    let is_used = listeners.iter().any(|listener| listener.checks.is_some());
    if let (false, Some(first)) = (is_used, types.first()) {
        let wrong = Wrong::new("no listener checks anything");
        let wrong = wrong.help("set `checks` of a [[listener]]");
        reader.finder.add(first.place_or(section.place()), wrong);
    }
    let refuse_attachments = types.into_iter().map(|given| given.value.into()).collect();
    CheckOptions { refuse_attachments }
}

/// The extension of a file's name.
fn extension(text: &str) -> Result<String, Wrong> {
    let bare = text.strip_prefix('.').unwrap_or(text);
    let is_one = !bare.is_empty()
        && bare.len() <= CHECK_TYPE_MAX
        && bare.bytes().all(|octet| octet.is_ascii_alphanumeric());
    if !is_one || bare.len() < text.len() {
        let wrong = Wrong::new(format!("`{text}` is no extension of a file's name"));
        return Err(wrong.help("write what stands behind its last dot, as `exe`"));
    }
    Ok(bare.to_ascii_lowercase())
}
