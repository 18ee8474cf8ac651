//! Find out of which types a part's file names are, encoded or not (RFC 2047, RFC 2231).
//!
//! In: a field with parameters. Out: the types of all names that some reader of mail would make of
//! it. Charsets are mail-parser's. Linear in the length of the field.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use mail_parser::decoders::charsets::map::charset_decoder;
use memchr::{memchr, memmem};

use crate::policy::checks::parameters::{Comments, Parameter, parse};

/// Parameters that name a file.
const NAMES: [&[u8]; 2] = [b"filename", b"name"];

/// Base64 as it comes: with its padding or not.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Those of `types` that files named in `value` have.
pub(super) fn refused(value: &[u8], types: &BTreeSet<Box<str>>) -> Vec<Box<str>> {
    let mut found = Vec::new();
    for comments in [Comments::Are, Comments::AreNot] {
        let parameters = parse(value, comments).parameters;
        let readings = NAMES.iter().flat_map(|name| readings(&parameters, name));
        for extension in readings.flat_map(|text| extensions(&text)) {
            if let Some(known) = types.get(extension.as_str())
                && !found.contains(known)
            {
                found.push(known.clone());
            }
        }
    }
    found
}

/// What the parameter of this name may be read as.
pub(super) fn readings(parameters: &[Parameter], name: &[u8]) -> Vec<String> {
    let named = parameters.iter().filter(|one| one.name == name);
    let (mut pieces, whole): (Vec<_>, Vec<_>) = named.partition(|one| one.section.is_some());
    let mut texts = Vec::new();
    for one in whole {
        if one.is_extended {
            texts.push(extended(&one.value));
        }
        texts.push(String::from_utf8_lossy(&one.value).into_owned());
        texts.extend(decoded_words(&one.value));
    }
    pieces.sort_by_key(|one| one.section);
    let in_order = pieces.iter().zip(0..).all(|(one, number)| one.section == Some(number));
    let mut joined = Vec::new();
    for one in &pieces {
        match one.is_extended {
            true => joined.extend(octets(&one.value, b'%')),
            false => joined.extend_from_slice(&one.value),
        }
        if !in_order {
            // Some stop where a piece is missing or there twice, others do not.
            texts.push(last_of(&joined));
            texts.push(last_of(&one.value));
        }
    }
    match pieces.first() {
        Some(first) if first.is_extended => texts.push(in_charset(&joined)),
        Some(_) => texts.extend(decoded_words(&joined)),
        None => {}
    }
    texts.push(String::from_utf8_lossy(&joined).into_owned());
    texts
}

/// The end of a text, in which its extension is.
fn last_of(text: &[u8]) -> String {
    const ENOUGH: usize = 2 * crate::base::limits::CHECK_TYPE_MAX;
    String::from_utf8_lossy(&text[text.len().saturating_sub(ENOUGH)..]).into_owned()
}

/// What stands behind the last dot of a name, in lower case. Whoever saves it may take off what is
/// at its end and may not be there, and end it at a control character.
fn extensions(name: &str) -> Vec<String> {
    let extension = |text: &str| {
        let text = text.trim_end_matches(|c: char| !c.is_alphanumeric());
        text.rsplit_once('.').map(|(_, extension)| extension.to_lowercase())
    };
    name.split(char::is_control).filter_map(extension).collect()
}

/// An extended value: `charset'language'octets`.
fn extended(value: &[u8]) -> String {
    in_charset(&octets(value, b'%'))
}

/// The same, its octets decoded.
fn in_charset(value: &[u8]) -> String {
    let mut parts = value.splitn(3, |octet| *octet == b'\'');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(charset), Some(_), Some(text)) => decode(charset, text),
        _ => String::from_utf8_lossy(value).into_owned(),
    }
}

/// Text in a charset; in one that nobody knows, as UTF-8.
fn decode(charset: &[u8], text: &[u8]) -> String {
    match charset_decoder(charset) {
        Some(decoder) => decoder(text),
        None => String::from_utf8_lossy(text).into_owned(),
    }
}

/// Text in which octets may stand as `mark` and two hexadecimal digits.
fn octets(text: &[u8], mark: u8) -> Vec<u8> {
    let digit = |octet: &u8| char::from(*octet).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.first_chunk().and_then(|[high, low]| Some((digit(high)?, digit(low)?)));
        rest = behind;
        match digits {
            Some((high, low)) if *first == mark => {
                octets.push(16 * high + low);
                rest = &behind[2..];
            }
            _ => octets.push(*first),
        }
    }
    octets
}

/// What a text with encoded words says (RFC 2047), if it has any. Readers of mail take them inside
/// of quotes too, whatever §5 says.
fn decoded_words(text: &[u8]) -> Option<String> {
    let mut rest = text;
    let (mut decoded, mut blanks_only) = (None::<String>, false);
    while let Some(at) = memmem::find(rest, b"=?") {
        let between = &rest[..at];
        let Some((word, behind)) = word(&rest[at + 2..]) else {
            decoded.get_or_insert_default().push_str(&String::from_utf8_lossy(&rest[..at + 2]));
            (rest, blanks_only) = (&rest[at + 2..], false);
            continue;
        };
        let text = decoded.get_or_insert_default();
        //= RFC 2047 §6.2
        //# any 'linear-white-space' that separates a pair of adjacent 'encoded-word's is ignored.
        if !blanks_only || !between.trim_ascii().is_empty() {
            text.push_str(&String::from_utf8_lossy(between));
        }
        text.push_str(&word);
        (rest, blanks_only) = (behind, true);
    }
    let mut text = decoded?;
    text.push_str(&String::from_utf8_lossy(rest));
    Some(text)
}

/// The word that `text` begins with behind its `=?`, and what follows it.
fn word(text: &[u8]) -> Option<(String, &[u8])> {
    let (charset, rest) = text.split_at(memchr(b'?', text)?);
    let (encoding, rest) = rest[1..].split_at(memchr(b'?', &rest[1..])?);
    let (data, rest) = rest[1..].split_at(memchr(b'?', &rest[1..])?);
    let behind = rest[1..].strip_prefix(b"=")?;
    let octets = match encoding {
        b"b" | b"B" => {
            let digits = data.iter().filter(|octet| !octet.is_ascii_whitespace()).copied();
            LENIENT.decode(digits.collect::<Vec<_>>()).ok()?
        }
        b"q" | b"Q" => {
            let blanks = data.iter().map(|octet| if *octet == b'_' { b' ' } else { *octet });
            octets(&blanks.collect::<Vec<_>>(), b'=')
        }
        _ => return None,
    };
    // RFC 2231 §5: a language may follow the charset.
    let charset = charset.split(|octet| *octet == b'*').next().unwrap_or(charset);
    Some((decode(charset, &octets), behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_in(value: &str) -> String {
        let types = ["exe", "js"].map(Box::from).into();
        refused(value.as_bytes(), &types).join(" ")
    }

    #[test]
    fn the_last_extension_counts() {
        for (value, expected) in [
            ("attachment; filename=a.exe", "exe"),
            ("attachment; filename=\"a b.pdf.EXE\"", "exe"),
            ("attachment; filename=a.exe.pdf", ""),
            ("attachment; filename=exe", ""),
            ("attachment; filename=.js", "js"),
            ("application/x; name=a.js", "js"),
            ("attachment; size=3; other=a.exe", ""),
            ("attachment; filename=a.txt; filename=b.exe", "exe"),
            ("attachment; filename=a.js; name=b.exe", "js exe"),
            ("attachment; filename=a.json", ""),
        ] {
            assert_eq!(refused_in(value), expected, "{value}");
        }
    }

    #[test]
    fn what_a_saved_name_loses_hides_no_type() {
        for value in [
            "attachment; filename=\"a.exe. . \"",
            "attachment; filename=\"a.exe\u{0}.txt\"",
            "attachment; filename='a.exe'",
            "attachment; filename=a.exe (1)",
            "attachment; filename=a(1.exe",
            "attachment filename=a.exe",
            "attachment; filename=\"a.exe",
        ] {
            assert_eq!(refused_in(value), "exe", "{value:?}");
        }
    }

    //= RFC 2231 §4, type=test
    //# an asterisk at the end of a parameter name acts as an indicator that character set and
    //# language information may appear at the beginning of the parameter value.
    #[test]
    fn extended_names_are_decoded() {
        for value in [
            "attachment; filename*=utf-8''a%2Eexe",
            "attachment; filename*=UTF-8'de'%C3%A4.ex%65",
            "attachment; filename*=utf-16be''%00a%00.%00e%00x%00e",
            "attachment; filename*=nothing-known''a.exe",
            "attachment; filename*=a%2eexe",
            "attachment; filename*0=\"a.\"; filename*1=ex; filename*2=e",
            "attachment; filename*1=ex; filename*2=e; filename*0=a.",
            "attachment; filename*0*=utf-8''a%2E; filename*1=exe",
            "attachment; filename*0*=utf-7''a; filename*1*=+AC4-exe",
            "attachment; filename*0=a.exe; filename*2=.txt",
            "attachment; filename*0=a.txt; filename*0=a.exe; filename*1=x",
        ] {
            assert_eq!(refused_in(value), "exe", "{value}");
        }
        assert_eq!(refused_in("attachment; filename*0=long.js; filename*1=on"), "");
        assert_eq!(refused_in("attachment; filename*0=a%2E; filename*1=exe"), "");
    }

    //= RFC 2047 §2, type=test
    //# encoded-word = "=?" charset "?" encoding "?" encoded-text "?="
    #[test]
    fn encoded_words_are_decoded() {
        for value in [
            "attachment; filename=\"=?utf-8?B?YS5leGU=?=\"",
            "attachment; filename==?utf-8?b?YS5leGU?=",
            "attachment; filename=\"=?iso-8859-1*de?q?=E4_a=2Eexe?=\"",
            "attachment; filename=\"=?utf-8?Q?a.e?= =?utf-8?Q?xe?=\"",
            "attachment; filename=\"=?x =?utf-8?Q?a.exe?=\"",
            "attachment; filename=\"=?utf-16be?B?AC4AZQB4AGU=?=\"",
            "attachment; filename*0=\"=?utf-8?Q?a.e\"; filename*1=\"xe?=\"",
        ] {
            assert_eq!(refused_in(value), "exe", "{value}");
        }
        for value in [
            "a; name=\"=?utf-8?Q?a=2Eexe?\"",
            "a; name=\"=?\"",
            "a; name=\"=?utf-8?Q?a.exe?=.txt\"",
        ] {
            assert_eq!(refused_in(value), "", "{value}");
        }
    }

    /// As much of it as a field may have, in the forms that cost most.
    #[test]
    fn what_costs_most_is_gone_through() {
        for piece in ["=?", "=?a?q?", "(", "\"", ";", "filename*0=;", "name=.exe;", "a*1=\"=?b?b?"]
        {
            let value = piece.repeat(crate::base::limits::CHECK_FIELD_MAX / piece.len());
            let expected = if piece.contains("exe") { "exe" } else { "" };
            assert_eq!(refused_in(&value), expected, "{piece}");
        }
    }
}
