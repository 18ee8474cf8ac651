//! Hold an SPF record against its grammar (RFC 7208 §12), which the library takes less strictly.
//!
//! In: a record. Out: what of it the library is to see, or nothing where some of it is wrong:
//! check_host() is then "permerror" (§4.6), wherever in the record that is. Modifiers that nobody
//! knows are checked and left out (§6), and so is the explanation for people. Invariant: linear in
//! the record.

use std::net::{Ipv4Addr, Ipv6Addr};

const VERSION: &[u8] = b"v=spf1";

/// The record, if all of it is right.
pub(super) fn clean(record: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(record).ok()?;
    let (version, terms) = text.split_at_checked(VERSION.len())?;
    let is_spf = version.as_bytes().eq_ignore_ascii_case(VERSION);
    if !is_spf || !(terms.is_empty() || terms.starts_with(' ')) {
        return None;
    }
    let mut out = VERSION.to_vec();
    let (mut redirects, mut explanations) = (0, 0);
    for term in terms.split(' ').filter(|term| !term.is_empty()) {
        match kind(term)? {
            Term::Directive => {}
            Term::Redirect => redirects += 1,
            Term::Explanation => explanations += 1,
            Term::Unknown => continue,
        }
        out.push(b' ');
        out.extend_from_slice(term.as_bytes());
    }
    //= RFC 7208 §6
    //# Modifiers … "redirect" and "exp" … MUST NOT appear in a record more than once each.
    (redirects <= 1 && explanations <= 1).then_some(out)
}

enum Term {
    Directive,
    Redirect,
    Explanation,
    /// A modifier that nobody knows.
    Unknown,
}

/// What a term is, if it is right.
fn kind(term: &str) -> Option<Term> {
    // A modifier's name ends with `=`, and what a mechanism's ends with comes before any of it.
    let end = term.find(['=', ':', '/']).unwrap_or(term.len());
    let (name, rest) = term.split_at(end);
    if let Some(value) = rest.strip_prefix('=') {
        return match name.to_ascii_lowercase().as_str() {
            "redirect" => is_domain_spec(value).then_some(Term::Redirect),
            "exp" => is_domain_spec(value).then_some(Term::Explanation),
            _ => (is_name(name) && is_macro_string(value)).then_some(Term::Unknown),
        };
    }
    let name = name.strip_prefix(['+', '-', '?', '~']).unwrap_or(name);
    let argument = rest.strip_prefix(':');
    let is_right = match name.to_ascii_lowercase().as_str() {
        "all" => rest.is_empty(),
        "include" | "exists" => argument.is_some_and(is_domain_spec),
        "a" | "mx" => match argument {
            Some(argument) => {
                let (domain, lengths) = without_lengths(argument);
                is_domain_spec(domain) && are_lengths(lengths)
            }
            None => are_lengths(rest),
        },
        "ptr" => rest.is_empty() || argument.is_some_and(is_domain_spec),
        "ip4" => argument.is_some_and(|network| {
            let (address, length) = network.split_once('/').unwrap_or((network, "32"));
            address.parse::<Ipv4Addr>().is_ok() && is_length(length, 32)
        }),
        "ip6" => argument.is_some_and(|network| {
            let (address, length) = network.split_once('/').unwrap_or((network, "128"));
            address.parse::<Ipv6Addr>().is_ok() && is_length(length, 128)
        }),
        _ => false,
    };
    is_right.then_some(Term::Directive)
}

/// `name`: a modifier's.
fn is_name(name: &str) -> bool {
    let is_octet = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && name.bytes().all(is_octet)
}

/// A domain-spec, and the dual-cidr-length behind it: slashes may be in both.
fn without_lengths(argument: &str) -> (&str, &str) {
    let before = |text: &str, slash: &str| {
        let at = text.rfind(slash)?;
        let digits = &text[at + slash.len()..];
        (!digits.is_empty() && digits.bytes().all(|one| one.is_ascii_digit())).then_some(at)
    };
    let six = before(argument, "//").unwrap_or(argument.len());
    let four = before(&argument[..six], "/").unwrap_or(six);
    argument.split_at(four)
}

/// `dual-cidr-length`, or nothing.
fn are_lengths(text: &str) -> bool {
    let (four, six) = match text.split_once("//") {
        Some((four, six)) => (four, Some(six)),
        None => (text, None),
    };
    let is_four = match four.strip_prefix('/') {
        Some(length) => is_length(length, 32),
        None => four.is_empty(),
    };
    is_four && six.is_none_or(|length| is_length(length, 128))
}

/// `"0" / %x31-39 0*2DIGIT`, and no more than `most`.
fn is_length(text: &str, most: u32) -> bool {
    let is_number = text.bytes().all(|octet| octet.is_ascii_digit()) && text.len() <= 3;
    let leads = text == "0" || !text.starts_with('0');
    is_number && leads && text.parse::<u32>().is_ok_and(|length| length <= most)
}

/// `domain-spec = macro-string domain-end`.
fn is_domain_spec(text: &str) -> bool {
    let Some(ends_with_macro) = macro_string(text) else { return false };
    if ends_with_macro {
        return true;
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    text.rsplit_once('.').is_some_and(|(_, label)| is_top_label(label))
}

/// Letters, digits and hyphens between them, not digits alone.
fn is_top_label(label: &str) -> bool {
    let is_octet = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
    !label.is_empty()
        && label.bytes().all(is_octet)
        && !label.bytes().all(|octet| octet.is_ascii_digit())
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_macro_string(text: &str) -> bool {
    macro_string(text).is_some()
}

/// Whether a `macro-string` ends with a `macro-expand`; `None` where it is none.
fn macro_string(text: &str) -> Option<bool> {
    let (mut rest, mut ends_with_macro) = (text, false);
    while let Some(first) = rest.bytes().next() {
        if first != b'%' {
            if !first.is_ascii_graphic() {
                return None;
            }
            (rest, ends_with_macro) = (&rest[1..], false);
            continue;
        }
        rest = match rest.as_bytes().get(1)? {
            b'%' | b'_' | b'-' => &rest[2..],
            b'{' => {
                let (inner, behind) = rest[2..].split_once('}')?;
                is_macro(inner).then_some(behind)?
            }
            _ => return None,
        };
        ends_with_macro = true;
    }
    Some(ends_with_macro)
}

//= RFC 7208 §7.2
//# The following macro letters are allowed only in "exp" text: c, r, t
/// `macro-letter transformers *delimiter`.
fn is_macro(inner: &str) -> bool {
    let Some(letter) = inner.bytes().next() else { return false };
    if !b"slodiphv".contains(&letter.to_ascii_lowercase()) {
        return false;
    }
    let behind = inner[1..].trim_start_matches(|one: char| one.is_ascii_digit());
    let digits = &inner[1..inner.len() - behind.len()];
    // RFC 7208 §7.3: the digit must not be zero.
    let is_count = digits.is_empty() || digits.bytes().any(|digit| digit != b'0');
    let delimiters = behind.strip_prefix(['r', 'R']).unwrap_or(behind);
    is_count && delimiters.bytes().all(|octet| b".-+,/_=".contains(&octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The rest is the public test suite's: `tests/spf.rs`.
    #[test]
    fn what_is_right_is_kept_but_for_unknown_modifiers() {
        for (record, kept) in [
            ("v=spf1", "v=spf1"),
            ("V=SPF1 -all ", "v=spf1 -all"),
            ("v=spf1 a  mx/24//64 moo.x-1=%{d}:y/ redirect=_spf.%{d}", {
                "v=spf1 a mx/24//64 redirect=_spf.%{d}"
            }),
            ("v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/0 ~all exp=e.example", {
                "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/0 ~all exp=e.example"
            }),
            ("v=spf1 exists:%{ir}.%{l1r+-}._spf.%{d2} ?ptr:a.example.", {
                "v=spf1 exists:%{ir}.%{l1r+-}._spf.%{d2} ?ptr:a.example."
            }),
        ] {
            assert_eq!(clean(record.as_bytes()).as_deref(), Some(kept.as_bytes()), "{record}");
        }
    }

    #[test]
    fn what_is_wrong_is_wrong_wherever_it_stands() {
        for record in [
            "v=spf10 -all",
            "v=spf1\t-all",
            "v=spf1 ip4:192.0.2.1 foo",
            "v=spf1 -all all:x",
            "v=spf1 include:",
            "v=spf1 include:com",
            "v=spf1 a:example.123",
            "v=spf1 a:example.-x",
            "v=spf1 a/33",
            "v=spf1 a/032",
            "v=spf1 a//129",
            "v=spf1 a:b.example/24/24",
            "v=spf1 ip4:192.0.2",
            "v=spf1 ip4:192.0.2.1/",
            "v=spf1 ip6:192.0.2.1",
            "v=spf1 exists:%{x}.example.com",
            "v=spf1 exists:%{d0}.example.com",
            "v=spf1 exists:%d.example.com",
            "v=spf1 exists:%{d.example.com",
            "v=spf1 exists:%{c}.example.com",
            "v=spf1 =x",
            "v=spf1 1x=y",
            "v=spf1 redirect=a.example redirect=b.example",
            "v=spf1 exp=a.example exp=b.example",
            "v=spf1 x=\u{e9}",
        ] {
            assert_eq!(clean(record.as_bytes()), None, "{record}");
        }
        assert_eq!(clean(b"v=spf1 x=\xff"), None);
    }
}
