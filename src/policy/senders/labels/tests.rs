//! What passes, what does not, and that cuts change neither.

use super::*;
use crate::base::prng::Prng;

fn names() -> FieldNames {
    FieldNames { tenant: "X-Tenant".into(), campaign: "X-Campaign".into(), keep: false }
}

fn read_in(pieces: &[&[u8]], names: FieldNames) -> (Vec<u8>, Result<Labels, LabelError>) {
    let mut reader = LabelReader::new(names);
    let mut out = Vec::new();
    for piece in pieces {
        out.append(&mut reader.push(piece.to_vec()));
        assert!(reader.memory() <= 512, "no more than a line of ours is held");
    }
    let (mut rest, said) = reader.end();
    out.append(&mut rest);
    (out, said)
}

/// What passes and what was said, the same however it is cut in two, or octet by octet.
fn read(content: &str) -> (String, Result<(String, String), String>) {
    let whole = read_in(&[content.as_bytes()], names());
    for cut in 0..=content.len() {
        let (head, tail) = content.as_bytes().split_at(cut);
        assert_eq!(read_in(&[head, tail], names()), whole, "cut at {cut}");
    }
    let octets: Vec<&[u8]> = content.as_bytes().chunks(1).collect();
    assert_eq!(read_in(&octets, names()), whole);
    let kept = read_in(&octets, FieldNames { keep: true, ..names() });
    assert_eq!((kept.0, &kept.1), (content.as_bytes().to_vec(), &whole.1), "all of it is kept");
    let (out, said) = whole;
    let text = |name: Option<&str>| name.unwrap_or("").to_owned();
    let said = said.map(|said| {
        let tenant = text(said.tenant.as_ref().map(TenantName::as_str));
        (tenant, text(said.campaign.as_ref().map(CampaignName::as_str)))
    });
    (String::from_utf8(out).expect("text"), said.map_err(|error| error.to_string()))
}

fn said(tenant: &str, campaign: &str) -> Result<(String, String), String> {
    Ok((tenant.to_owned(), campaign.to_owned()))
}

#[test]
fn the_fields_are_read_and_taken_out() {
    let (out, labels) = read(
        "From: a@a.example\r\nX-Tenant: acme\r\nSubject: b\r\n c\r\nx-CAMPAIGN:2026/11\r\n\r\nbody",
    );
    assert_eq!(out, "From: a@a.example\r\nSubject: b\r\n c\r\n\r\nbody");
    assert_eq!(labels, said("acme", "2026/11"));
}

#[test]
fn folded_values_and_obsolete_spaces_are_read() {
    let (out, labels) = read("X-Tenant \t:\r\n  acme \r\nX-Campaign:\r\n\tnews\r\nA: b\r\n\r\n");
    assert_eq!((out.as_str(), labels), ("A: b\r\n\r\n", said("acme", "news")));
}

#[test]
fn everything_else_passes_unchanged() {
    for content in [
        "",
        "\r\n",
        "\r\nX-Tenant: acme\r\n",
        "A: b\r\n\r\nX-Tenant: acme\r\nX-Campaign: b\r\n",
        "X-Tenants: a\r\nX-Tenan: b\r\nX-: c\r\nX: d\r\n X-Tenant: e\r\n\r\n",
        "Subject: X-Tenant: acme\r\n X-Campaign: folded\r\n\r\n",
        "X-Tenant\r\nX-Tenant x: a\r\nno field at all\r\n\r\n",
        "\rX-Tenant: a\r\n\r\n",
        "X-Ten",
        "X-Tenant",
        "X-Campaign ",
    ] {
        assert_eq!(read(content), (content.to_owned(), said("", "")), "{content:?}");
    }
}

#[test]
fn a_field_at_the_very_end_is_read() {
    assert_eq!(read("X-Tenant: acme"), (String::new(), said("acme", "")));
    assert_eq!(read("X-Campaign: news\r\n"), (String::new(), said("", "news")));
}

#[test]
fn what_is_no_name_or_there_twice_is_refused() {
    let long = format!("X-Campaign: {}\r\n\r\n", "a".repeat(CAMPAIGN_NAME_MAX + 1));
    let endless = format!("X-Tenant: {}\r\n\r\n", "a".repeat(10_000));
    for (content, words) in [
        ("X-Tenant:\r\n\r\n", "X-Tenant: it is empty"),
        ("X-Tenant: a b\r\n\r\n", "X-Tenant: it has something else than letters"),
        ("X-Tenant: \u{fc}\r\n\r\n", "X-Tenant: it has something else than letters"),
        ("X-Campaign: a\r\n b\r\n\r\n", "X-Campaign: it has something else than letters"),
        (&long, "X-Campaign: it is longer than 128 octets"),
        (&endless, "X-Tenant: it is longer than 64 octets"),
        ("X-Tenant: a\r\nX-Tenant: a\r\n\r\n", "X-Tenant is there twice"),
    ] {
        let (_, labels) = read(content);
        let error = labels.expect_err(content);
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn no_cut_changes_anything() {
    let lines =
        ["X-Tenant: acme\r\n", "X-Campaign: a\r\n", "X-T: b\r\n", " c\r\n", "\r\n", "d\r\n"];
    let mut prng = Prng::from_number(42);
    for _ in 0..200 {
        let count = 1 + prng.next_u64() as usize % 8;
        let content: String = (0..count).map(|_| lines[prng.next_u64() as usize % 6]).collect();
        let _ = read(&content);
    }
}
