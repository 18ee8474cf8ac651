//! Guess what was meant by a word that means nothing.

use crate::base::limits::SUGGESTED_MAX;
use crate::config::knobs;
use crate::config::units::Wrong;

/// What is wrong with `key` in a section, if it is neither a knob nor a section there.
pub(super) fn unknown_key(section: &str, key: &str) -> Option<Wrong> {
    let known: Vec<&str> = keys(section).collect();
    if known.contains(&key) {
        return None;
    }
    let wrong = Wrong::new(format!("unknown key `{key}`"));
    Some(match elsewhere(key) {
        Some(place) => wrong.help(place),
        None => nearest(key, known.iter().copied(), wrong),
    })
}

/// Add to `wrong` the word of `known` that is nearest to `word`, if one is near, or all of them.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>, wrong: Wrong) -> Wrong {
    let known: Vec<&str> = known.collect();
    let distance = |candidate: &&&str| strsim::damerau_levenshtein(word, candidate);
    let best = known.iter().min_by_key(distance);
    let near = (word.chars().count() / 3).max(1);
    match best {
        Some(best) if distance(&best) <= near => wrong.help(format!("did you mean `{best}`?")),
        Some(_) if known.len() <= SUGGESTED_MAX => {
            wrong.help(format!("known here: {}", known.join(", ")))
        }
        _ => wrong,
    }
}

/// Keys of knobs and of sections in this section, once each, in the order of the reference.
fn keys(section: &str) -> impl Iterator<Item = &'static str> {
    let mut seen: Vec<&str> = Vec::new();
    for knob in knobs::ALL {
        let key = match knob.section() {
            own if own == section => knob.key(),
            other if section.is_empty() => other.trim_end_matches("[]"),
            _ => continue,
        };
        if !seen.contains(&key) {
            seen.push(key);
        }
    }
    seen.into_iter()
}

/// Where a key belongs that is a knob of other sections.
fn elsewhere(key: &str) -> Option<String> {
    let homes = knobs::ALL.iter().filter(|knob| knob.key() == key);
    let homes: Vec<_> = homes.map(|knob| header(knob.section())).collect();
    (!homes.is_empty()).then(|| format!("`{key}` belongs in {}", homes.join(" or ")))
}

/// How a section begins in the file.
fn header(section: &str) -> String {
    match section.strip_suffix("[]") {
        _ if section.is_empty() => String::from("the top of the file"),
        Some(name) => format!("[[{name}]]"),
        None => format!("[{section}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(section: &str, key: &str) -> String {
        unknown_key(section, key).expect("unknown").help.unwrap_or_default()
    }

    #[test]
    fn a_slip_a_wrong_section_and_nonsense_are_told_apart() {
        assert_eq!(help("spool", "segement_size"), "did you mean `segment_size`?");
        assert_eq!(help("", "lisener"), "did you mean `listener`?");
        assert_eq!(help("", "segment_size"), "`segment_size` belongs in [spool]");
        assert_eq!(help("spool", "cores"), "`cores` belongs in the top of the file");
        assert!(help("queue", "rate").contains("[[upstream]] or [site]"));
        assert_eq!(help("events", "zzzzzz"), "known here: retention, size, file_size, file_age");
    }

    #[test]
    fn every_knob_is_known_where_it_belongs() {
        for knob in knobs::ALL {
            assert_eq!(unknown_key(knob.section(), knob.key()), None, "{}", knob.path);
        }
    }
}
