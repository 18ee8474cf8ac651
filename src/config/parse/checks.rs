//! Read what a relay checks by itself: `[checks]` and `[[block_list]]`.

use crate::base::limits::{BLOCK_ANSWERS_MAX, BLOCK_LISTS_MAX, CHECK_TYPE_MAX, CHECK_TYPES_MAX};
use crate::config::knobs;
use crate::config::options::{CheckOptions, Listener};
use crate::config::reader::{Reader, Section};
use crate::config::units::Wrong;
use crate::dns::Name;
use crate::policy::block_lists::{Action, AnswerRange, BlockList, Of};

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
    let block_lists = block_lists(reader, root);
    CheckOptions { refuse_attachments, block_lists }
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

fn block_lists(reader: &mut Reader<'_>, root: &Section<'_>) -> Vec<BlockList> {
    let mut lists = Vec::new();
    for section in reader.tables(root, "block_list", "block_list[]") {
        let zone = reader.required(&section, &knobs::BLOCK_LIST_ZONE, zone);
        let of = match reader.choice(&section, &knobs::BLOCK_LIST_OF) {
            "sender" => Of::Sender,
            "hello" => Of::Hello,
            "url" => Of::Url,
            _ => Of::Client,
        };
        let answers = answers(reader, &section);
        let action = match reader.choice(&section, &knobs::BLOCK_LIST_ACTION) {
            "log" => Action::Log,
            _ => Action::Reject,
        };
        if lists.len() == BLOCK_LISTS_MAX {
            let wrong = Wrong::new(format!("there are {BLOCK_LISTS_MAX} block lists already"));
            reader.finder.add(section.place(), wrong);
        } else if let Some(zone) = zone {
            lists.push(BlockList { zone: zone.value, of, answers, action });
        }
    }
    lists
}

fn answers(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<AnswerRange> {
    let knob = &knobs::BLOCK_LIST_ANSWERS;
    let Some(ranges) = reader.list(section, knob, answer_range) else {
        reader.note(section, knob, knob.default_text(), None);
        return vec![AnswerRange::USUAL];
    };
    if let Some(beyond) = ranges.get(BLOCK_ANSWERS_MAX) {
        let wrong = Wrong::new(format!("there are {BLOCK_ANSWERS_MAX} answers already"));
        reader.finder.add(beyond.place_or(section.place()), wrong);
    }
    ranges.into_iter().map(|given| given.value).collect()
}

/// The domain of a block list.
fn zone(text: &str) -> Result<Name, Wrong> {
    match Name::parse(text) {
        Ok(name) if !name.is_address() => Ok(name),
        Ok(_) | Err(_) => Err(Wrong::new(format!("`{text}` is no domain of a block list"))),
    }
}

/// `127.0.0.2`, or `127.0.0.4-127.0.0.11`.
fn answer_range(text: &str) -> Result<AnswerRange, Wrong> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = match (first.trim().parse(), last.trim().parse()) {
        (Ok(first), Ok(last)) => AnswerRange::new(first, last),
        (Ok(_) | Err(_), _) => None,
    };
    range.ok_or_else(|| {
        let wrong = Wrong::new(format!("`{text}` is no answer of a block list"));
        wrong.help("write an address in 127.0.0.0/8, or two with `-` between, the lower one first")
    })
}
