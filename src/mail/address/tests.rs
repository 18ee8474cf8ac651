//! The grammar of addresses, clause by clause.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn domain(text: &str) -> Result<String, AddressError> {
    Domain::parse(text).map(|domain| domain.as_str().to_owned())
}

fn forward(text: &str) -> Option<(String, String)> {
    let (path, rest) = ForwardPath::split(text, false).ok()?;
    Some((path.as_str().to_owned(), rest.to_owned()))
}

//= RFC 5321 §2.4, type=test
//# Mailbox domains follow normal DNS rules and are hence not case sensitive.
#[test]
fn domains_have_one_form() {
    assert_eq!(domain("Example.COM").as_deref(), Ok("example.com"));
    assert_eq!(domain("example.com.").as_deref(), Ok("example.com"));
    assert_eq!(domain("localhost").as_deref(), Ok("localhost"));
    assert_eq!(domain("BÜCHER.example").as_deref(), Ok("xn--bcher-kva.example"));
    assert_eq!(domain("XN--bcher-kva.example"), domain("bücher.example"));
    assert_eq!(domain("例え。テスト").as_deref(), Ok("xn--r8jz45g.xn--zckzah"));
}

//= RFC 5321 §4.1.2, type=test
//# sub-domain = Let-dig [Ldh-str]
#[test]
fn what_is_no_host_name_is_no_domain() {
    let long_label = "x".repeat(64);
    let long_name = format!("{}example", "abcdefg.".repeat(31));
    assert_eq!(long_name.len(), 255);
    let bad = [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "-a.b",
        "a-.b",
        "a_b.c",
        "a b",
        "a@b",
        "a\0b",
        "ü_.example",
        "a\u{2024}b@c",
        "xn--ü",
        "[",
        "[]",
        "a]",
        &long_label,
        &long_name,
    ];
    for text in bad {
        assert_eq!(domain(text), Err(AddressError::Domain), "{text:?}");
    }
    assert!(domain(&"x".repeat(63)).is_ok());
    assert!(domain(&long_name[2..]).is_ok(), "253 octets");
}

//= RFC 5321 §4.1.3, type=test
//# IPv6-address-literal  = "IPv6:" IPv6-addr
#[test]
fn address_literals_are_read_and_have_one_form() {
    let literal = |text: &str| Domain::parse(text).ok().and_then(|domain| domain.literal());
    let address = |text: &str| text.parse::<IpAddr>().ok();
    assert_eq!(literal("[192.0.2.1]"), address("192.0.2.1"));
    assert_eq!(literal("[ipv6:2001:DB8:0:0::1]"), address("2001:db8::1"));
    assert_eq!(domain("[ipv6:2001:DB8:0:0::1]").as_deref(), Ok("[IPv6:2001:db8::1]"));
    assert_eq!(literal("[IPv6:::ffff:192.0.2.1]"), address("::ffff:192.0.2.1"));
    assert_eq!(Domain::from(IpAddr::from([192, 0, 2, 1])).as_str(), "[192.0.2.1]");
    assert_eq!(literal("192.0.2.1"), None, "digits are labels without brackets");
    let bad = [
        "[192.0.2]",
        "[192.0.2.256]",
        "[192.0.2.01]",
        "[2001:db8::1]",
        "[IPv6:192.0.2.1]",
        "[IPv6:fe80::1%eth0]",
        "[x:y]",
        "[192.0.2.1].",
        "[192.0.2.1]x",
        "[ 192.0.2.1]",
    ];
    for text in bad {
        assert_eq!(domain(text), Err(AddressError::Domain), "{text}");
    }
}

#[test]
fn suffixes_go_from_the_whole_to_the_last_label() {
    let suffixes = |text: &str| {
        let domain = Domain::parse(text).expect("a domain");
        domain.suffixes().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(suffixes("a.b.c"), ["a.b.c", "b.c", "c"]);
    assert_eq!(suffixes("localhost"), ["localhost"]);
    assert_eq!(suffixes("[192.0.2.1]"), ["[192.0.2.1]"]);
}

//= RFC 5321 §2.4, type=test
//# SMTP implementations MUST take care to preserve the case of mailbox local-parts.
#[test]
fn an_address_is_kept_as_it_was_written() {
    let mailbox = Mailbox::parse("\"A.b\"@Example.COM", false).expect("an address");
    assert_eq!(mailbox.as_str(), "\"A.b\"@Example.COM");
    assert_eq!(mailbox.local_part(), "\"A.b\"");
    assert_eq!(mailbox.domain().as_str(), "example.com");
}

//= RFC 5321 §4.1.2, type=test
//# Local-part = Dot-string / Quoted-string
#[test]
fn local_parts_are_atoms_with_dots_or_quoted() {
    let good = [
        "a",
        "a.b.c",
        "!#$%&'*+-/=?^_`{|}~",
        "a=b+c",
        "\"\"",
        "\"a b\"",
        "\"a@b\"",
        "\"a>b\"",
        "\"a\\\"b\"",
        "\"\\\\\"",
        "\"<>,;:\"",
    ];
    for local in good {
        let text = format!("{local}@b.example");
        let mailbox = Mailbox::parse(&text, false);
        assert_eq!(mailbox.as_ref().map(Mailbox::local_part), Ok(local));
        assert_eq!(forward(&format!("<{text}> X")), Some((text, " X".into())));
    }
    let bad = [
        "",
        ".a",
        "a.",
        "a..b",
        "a b",
        "a,b",
        "a(b)",
        "a\\b",
        "\"",
        "\"a",
        "a\"",
        "\"a\"b",
        "\"a\"b\"",
        "\"\\\"",
        "a\"b\"",
        "\"\t\"",
        "\"\u{7f}\"",
        "a\0",
        "a\r",
        "[a]",
        "a@b",
    ];
    for local in bad {
        assert!(Mailbox::parse(&format!("{local}@b.example"), false).is_err(), "{local:?}");
    }
}

//= RFC 6531 §3.3, type=test
//# atext   =/  UTF8-non-ascii
#[test]
fn utf8_is_taken_where_it_was_announced() {
    let text = "用户.ü@例え.example";
    assert_eq!(Mailbox::parse(text, false), Err(AddressError::NeedsUtf8));
    let mailbox = Mailbox::parse(text, true).expect("an address");
    assert_eq!(mailbox.as_str(), text);
    assert_eq!(mailbox.domain().as_str(), "xn--r8jz45g.example");
    assert!(Mailbox::parse("\"ü \"@b.example", true).is_ok());
    assert_eq!(Mailbox::parse("\"\\ü\"@b.example", true), Err(AddressError::Malformed));
    assert_eq!(Mailbox::parse("a@ü_.example", true), Err(AddressError::Domain));
}

#[test]
fn no_address_has_characters_that_terminals_obey() {
    for control in ('\0'..' ').chain('\x7f'..='\u{9f}') {
        for local in [format!("ü{control}a"), format!("\"ü{control}\""), format!("{control}")] {
            let parsed = Mailbox::parse(&format!("{local}@b.example"), true);
            assert_eq!(parsed, Err(AddressError::Malformed), "{local:?}");
        }
    }
    assert!(Mailbox::parse("ü\u{a0}\u{ad}@b.example", true).is_ok());
}

//= RFC 5321 §4.5.3.1.3, type=test
//# The maximum total length of a reverse-path or forward-path is 256 octets (including the
//# punctuation and element separators).
#[test]
fn paths_may_have_just_so_many_octets() {
    let of_length = |octets: usize| {
        let labels = format!("{}.{}.", "b".repeat(63), "c".repeat(60));
        let rest = octets - "<@>".len() - 64 - labels.len();
        format!("<{}@{labels}{}.{}>", "a".repeat(64), "d".repeat(rest - 4), "e".repeat(3))
    };
    assert_eq!(of_length(256).len(), PATH_MAX);
    assert!(forward(&of_length(256)).is_some());
    assert_eq!(ForwardPath::split(&of_length(257), false), Err(AddressError::TooLong));
    let local = |octets: usize| Mailbox::parse(&format!("{}@b", "a".repeat(octets)), false);
    assert!(local(LOCAL_PART_MAX).is_ok());
    assert_eq!(local(LOCAL_PART_MAX + 1), Err(AddressError::TooLong));
}

//= RFC 5321 §3.3, type=test
//# Servers MUST be prepared to encounter a list of source routes in the forward-path, but they
//# SHOULD ignore the routes
#[test]
fn source_routes_are_dropped() {
    let route = "<@one.example,@[IPv6:2001:db8::1]:joe@three.example>";
    assert_eq!(forward(route), Some(("joe@three.example".into(), String::new())));
    let (path, _) = ReversePath::split("<@one.example:a@b.example>", false).expect("a path");
    assert_eq!(path.as_str(), "a@b.example");
    for text in ["<@one:>", "<@one>", "<@:a@b>", "<@one,two:a@b>", "<@one,:a@b>", "<@o_e:a@b>"] {
        assert_eq!(forward(text), None, "{text}");
    }
}

//= RFC 5321 §2.3.5, type=test
//# The reserved mailbox name "postmaster" may be used in a RCPT command without domain
//# qualification (see Section 4.1.1.3) and MUST be accepted if so used.
#[test]
fn postmaster_needs_no_domain() {
    for text in ["<Postmaster>", "<POSTMASTER>", "<postmaster>"] {
        assert_eq!(ForwardPath::split(text, false), Ok((ForwardPath::Postmaster, "")));
    }
    let (with_domain, _) = ForwardPath::split("<postmaster@b.example>", false).expect("a path");
    assert!(with_domain.domain().is_some());
    assert!(ReversePath::split("<postmaster>", false).is_err());
}

//= RFC 5321 §4.1.2, type=test
//# Reverse-path   = Path / "<>"
#[test]
fn only_the_reverse_path_may_be_null() {
    assert_eq!(ReversePath::split("<> SIZE=1", false), Ok((ReversePath::NULL, " SIZE=1")));
    assert_eq!(ForwardPath::split("<>", false), Err(AddressError::Malformed));
    for text in ["", "<", "a@b", "<a@b", "< >", "<a@b.>", "a <a@b>", "<<a@b>>", "<\"a@b>"] {
        assert!(ReversePath::split(text, false).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_read_reads_back(text in "\\PC{0,80}", utf8: bool) {
        if let Ok((path, _)) = ReversePath::split(&text, utf8) {
            let text = path.to_string();
            let again = ReversePath::split(&text, utf8);
            prop_assert_eq!(again, Ok((path, "")));
        }
    }

    #[test]
    fn paths_of_telling_letters_read_back(text in "<[@a.:,\"\\\\>\\[\\] é-]{0,20}>?", utf8: bool) {
        if let Ok((path, rest)) = ForwardPath::split(&text, utf8) {
            prop_assert!(text.len() > rest.len());
            let text = path.to_string();
            let again = ForwardPath::split(&text, utf8);
            prop_assert_eq!(again, Ok((path, "")));
        }
    }

    #[test]
    fn a_domain_is_always_safe_and_a_fixed_point(text in "[a-zA-Z0-9.ßüÜ例。\\[\\]:_-]{0,40}") {
        if let Ok(domain) = Domain::parse(&text) {
            let safe = |octet: u8| octet.is_ascii_alphanumeric() || b"-.[]:".contains(&octet);
            prop_assert!(domain.as_str().bytes().all(safe));
            let again = Domain::parse(domain.as_str());
            prop_assert_eq!(again, Ok(domain));
        }
    }
}
