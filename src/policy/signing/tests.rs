//! What is signed, by whom, and that it does not matter how it came. Whether it verifies is asked
//! of other software: `tests/peers/signing.rs`.

use std::sync::{Arc, OnceLock};

use super::*;

const NOW: WallTime = WallTime(1_795_491_661_007);
const HEADER_MAX: usize = 256 * 1024;

fn key(algorithm: Algorithm) -> Arc<PrivateKey> {
    static RSA: OnceLock<Arc<PrivateKey>> = OnceLock::new();
    static ED25519: OnceLock<Arc<PrivateKey>> = OnceLock::new();
    let made = match algorithm {
        Algorithm::Rsa => &RSA,
        Algorithm::Ed25519 => &ED25519,
    };
    made.get_or_init(|| Arc::new(PrivateKey::generate(algorithm).unwrap())).clone()
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn signer(name: &str, selector: &str, subdomains: bool, algorithm: Algorithm) -> Signer {
    let selector = Selector::parse(selector).unwrap();
    let (identities, tenants) = (Box::default(), Box::default());
    let (domain, key) = (domain(name), key(algorithm));
    Signer { domain, selector, subdomains, identities, tenants, key }
}

fn signers() -> Arc<Signers> {
    Arc::new(Signers::new([
        signer("example.com", "r", false, Algorithm::Rsa),
        signer("example.com", "e", true, Algorithm::Ed25519),
        signer("esp.example", "esp", false, Algorithm::Ed25519),
    ]))
}

fn unsigned(pieces: &[&[u8]], reverse: Option<&str>) -> Unsigned {
    let mut signing = Signing::new(signers(), reverse.map(domain), HEADER_MAX);
    pieces.iter().for_each(|piece| signing.push(piece));
    signing.finish(NOW)
}

fn sign(pieces: &[&[u8]], reverse: Option<&str>) -> String {
    let mut unsigned = unsigned(pieces, reverse);
    while unsigned.left() > 0 {
        unsigned.sign_one().unwrap();
    }
    String::from_utf8(unsigned.into_fields()).unwrap()
}

/// The selectors of the signatures that a message with this header gets.
fn selectors(header: &str, reverse: Option<&str>) -> Vec<String> {
    let text = sign(&[format!("{header}\r\n\r\nbody\r\n").as_bytes()], reverse);
    let tags = text.split("; s=").skip(1);
    tags.map(|rest| rest.split(';').next().unwrap().to_owned()).collect()
}

#[test]
fn a_client_that_is_bound_to_domains_gets_no_others_signatures() {
    let bound = |to: Option<&str>| {
        let mut set = DomainSet::default();
        to.into_iter().for_each(|one| set.insert(domain(one)));
        let signing = Signing::new(signers(), Some(domain("esp.example")), HEADER_MAX);
        let mut signing = signing.bound_to(to.map(|_| Arc::new(set)));
        signing.push(b"From: <a@example.com>\r\n\r\nbody\r\n");
        signing.finish(NOW).left()
    };
    assert_eq!(bound(None), 2);
    assert_eq!(bound(Some("example.com")), 2);
    assert_eq!(bound(Some("esp.example")), 1, "that of its reverse-path");
    assert_eq!(bound(Some("else.example")), 0);
}

const MESSAGE: &str = "Received: from a by b\r\nFrom: Bill <bill@example.com>\r\n\
    To: joe@example.net,\r\n\tjim@example.net\r\nSubject: TPS   Report\r\nSUBJECT : two\r\n\
    Date: Mon, 23 Nov 2026 09:00:00 +0000\r\nX-Own: 1\r\nReferences: <a@b>\r\n\r\n\
    Hello\r\n  there \t\r\n\r\nyou\r\n\r\n\r\n";

#[test]
fn the_same_wherever_content_is_cut() {
    let whole = sign(&[MESSAGE.as_bytes()], None);
    for first in 0..=MESSAGE.len() {
        let (a, b) = MESSAGE.as_bytes().split_at(first);
        let (b, c) = b.split_at(b.len().min(3));
        // Ed25519 and PKCS#1 signatures have no random part.
        assert_eq!(sign(&[a, b, c], None), whole, "{first}");
    }
    let octets: Vec<&[u8]> = MESSAGE.as_bytes().chunks(1).collect();
    assert_eq!(sign(&octets, None), whole);
}

//= RFC 6376 §5.4.2, type=test
//# a signer MAY include more references to a header field name in h= than there are fields of that
//# name, so that none can be added
//= RFC 8301 §3.1, type=test
//# Signers MUST sign using rsa-sha256.
#[test]
fn fields_name_what_is_signed_and_one_more_of_each() {
    let text = sign(&[MESSAGE.as_bytes()], None);
    let fields: Vec<&str> = text.split("DKIM-Signature: ").skip(1).collect();
    assert_eq!(fields.len(), 2);
    let expected = [
        "v=1; a=rsa-sha256; c=relaxed/relaxed; t=1795491661;",
        "d=example.com; s=r;",
        "h=from:from:to:to:cc:subject:subject:subject:date:date:reply-to:",
        "mime-version:content-type:list-unsubscribe:list-unsubscribe-post:",
        "references;",
        "bh=",
    ]
    .join("\r\n\t");
    assert!(fields[0].starts_with(&expected), "{text}");
    assert!(fields[1].starts_with("v=1; a=ed25519-sha256; "), "{text}");
    assert!(!text.contains("l=") || text.contains("bh="), "{text}");
    assert!(!text.split([';', '\t', ' ']).any(|tag| tag.starts_with("l=")), "{text}");
    assert!(text.ends_with("\r\n") && text.split("\r\n").all(|line| line.len() <= 78), "{text}");
}

#[test]
fn keys_are_those_of_the_from_domain_then_of_the_reverse_path() {
    for (header, reverse, expected) in [
        ("From: a@example.com", None, &["r", "e"][..]),
        ("From: a@EXAMPLE.COM", Some("esp.example"), &["r", "e"]),
        ("From: a@sub.sub.example.com", None, &["e"]),
        ("From: a@badexample.com", None, &[]),
        ("From: a@sub.esp.example", None, &[]),
        ("From: a@sub.esp.example", Some("esp.example"), &["esp"]),
        ("From: a@other.example", Some("x.example.com"), &["e"]),
        ("From: \"b@esp.example\" <a@example.com>", None, &["r", "e"]),
        ("From: a@example.com (b@esp.example)", None, &["r", "e"]),
        ("From: \"a, b\" <a@esp.example>, c@example.com", None, &["esp"]),
        ("From:\r\n =?utf-8?q?J=C3=B6?= <a\r\n @esp.example>", None, &["esp"]),
        ("FROM : <a@esp.example>", None, &["esp"]),
        ("From: nobody", Some("esp.example"), &["esp"]),
        ("Sender: a@example.com", Some("example.com"), &[]),
        ("From: a@example.com\r\nFrom: a@example.com", Some("example.com"), &[]),
    ] {
        assert_eq!(selectors(header, reverse), expected, "{header}");
    }
}

#[test]
fn what_has_no_header_to_speak_of_is_not_signed() {
    for content in
        ["", "\r\n", "\r\nFrom: a@example.com\r\n\r\n", "text\r\n\r\nFrom: a@example.com"]
    {
        assert_eq!(unsigned(&[content.as_bytes()], Some("example.com")).left(), 0, "{content:?}");
    }
    // All header, and no body.
    for content in ["From: a@example.com", "From: a@example.com\r\n", "From: a@example.com\r\n\r\n"]
    {
        let text = sign(&[content.as_bytes()], None);
        // The hash of nothing.
        assert!(text.contains("bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;"), "{text}");
    }
}

#[test]
fn what_passes_a_bound_is_not_signed() {
    let long = format!("From: a@example.com\r\nX: {}\r\n\r\n", "x".repeat(HEADER_MAX));
    assert_eq!(unsigned(&[long.as_bytes()], None).left(), 0);
    let fields = |count: usize| {
        let many = "To: a@example.net\r\n".repeat(count);
        unsigned(&[format!("From: a@example.com\r\n{many}\r\n").as_bytes()], None).left()
    };
    assert_eq!((fields(40), fields(100)), (2, 0));
    let mut signing = Signing::new(signers(), None, HEADER_MAX);
    signing.push(&vec![b'x'; 2 * HEADER_MAX]);
    assert_eq!(signing.memory(), 0, "what is not signed is not kept");
}

#[test]
fn a_key_is_read_back_as_it_was_written() {
    for algorithm in [Algorithm::Rsa, Algorithm::Ed25519] {
        let key = key(algorithm);
        let pem = key.to_pem().unwrap();
        let again = PrivateKey::from_pem(&format!("# mine\n{pem}")).unwrap();
        assert_eq!((again.algorithm(), again.record()), (algorithm, key.record()));
        assert!(pem.lines().all(|line| line.len() <= 64));
        let shown = format!("{again:?}");
        assert!(shown.len() < 30, "{shown}");
    }
}

#[test]
fn what_is_no_key_is_told_by_what_it_is() {
    let pem = key(Algorithm::Ed25519).to_pem().unwrap();
    let cut = &pem[..pem.len() - 30];
    for (text, wrong) in [
        ("", KeyError::NoKey),
        ("k=rsa; p=MIIB", KeyError::NoKey),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", KeyError::NoKey),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", KeyError::Public),
        ("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", KeyError::Kind),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", KeyError::Kind),
        ("-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----\n", KeyError::Damaged),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n", KeyError::Encrypted),
        (cut, KeyError::Damaged),
    ] {
        assert_eq!(PrivateKey::from_pem(text).unwrap_err(), wrong, "{text}");
    }
}

#[test]
fn selectors_are_labels() {
    for good in ["s1", "2026-q4", "a.b", "with_underscore"] {
        assert_eq!(Selector::parse(good).unwrap().as_str(), good);
    }
    for bad in ["", ".", "a.", "a b", "a;b", "\u{e9}", &"a".repeat(64)] {
        assert!(Selector::parse(bad).is_none(), "{bad:?}");
    }
    let long = Selector::parse(&["a".repeat(60), "b".repeat(60)].join(".")).unwrap();
    assert!(long.record_name(&domain("example.com")).is_some());
    assert!(long.record_name(&domain(&["c".repeat(60), "d".repeat(60)].join("."))).is_none());
}

#[test]
fn a_key_of_some_clients_signs_what_they_send_and_nothing_else() {
    let name = |text: &str| Name::prepare(text.as_bytes()).unwrap();
    let of = |selector: &str, names: &[&str]| Signer {
        identities: names.iter().map(|text| name(text)).collect(),
        ..signer("example.com", selector, false, Algorithm::Ed25519)
    };
    let signers = || {
        let tenants = [of("one", &["app1"]), of("both", &["app1", "app2"]), of("all", &[])];
        let reverse = signer("esp.example", "esp", false, Algorithm::Ed25519);
        Arc::new(Signers::new(tenants.into_iter().chain([reverse])))
    };
    let content = b"From: a@example.com\r\n\r\nbody\r\n";
    let selectors = |identity: Option<&str>, signers: Arc<Signers>| -> Vec<String> {
        let signing = Signing::new(signers, Some(domain("esp.example")), HEADER_MAX);
        let mut signing = signing.of(identity.map(name));
        signing.push(content);
        let mut unsigned = signing.finish(NOW);
        while unsigned.left() > 0 {
            unsigned.sign_one().unwrap();
        }
        let text = String::from_utf8(unsigned.into_fields()).unwrap();
        let tags = text.split("; s=").skip(1);
        tags.map(|rest| rest.split(';').next().unwrap().to_owned()).collect()
    };
    assert_eq!(selectors(Some("app1"), signers()), ["one", "both", "all"]);
    assert_eq!(selectors(Some("app2"), signers()), ["both", "all"]);
    assert_eq!(selectors(Some("App1"), signers()), ["all"]);
    assert_eq!(selectors(None, signers()), ["all"]);
    // Who has no key for its domain has the reverse-path's.
    let only = || {
        let reverse = signer("esp.example", "esp", false, Algorithm::Ed25519);
        Arc::new(Signers::new([of("one", &["app1"]), reverse]))
    };
    assert_eq!(selectors(Some("app2"), only()), ["esp"]);
    // However many there are, a message has no more than it may.
    let many = (0..9).map(|number| of(&format!("s{number}"), &["app1"]));
    assert_eq!(selectors(Some("app1"), Arc::new(Signers::new(many))).len(), SIGNATURES_MAX);
}

#[test]
fn a_tenants_key_signs_its_mail_and_nobody_elses() {
    let tenant = |text: &str| TenantName::parse(text).unwrap();
    let of = |selector: &str, tenants: &[&str], identities: &[&str]| Signer {
        tenants: tenants.iter().map(|text| tenant(text)).collect(),
        identities: identities.iter().map(|text| Name::prepare(text.as_bytes()).unwrap()).collect(),
        ..signer("example.com", selector, true, Algorithm::Ed25519)
    };
    let keys =
        [of("acme", &["acme"], &[]), of("both", &["acme", "b"], &[]), of("app", &["b"], &["app"])];
    let signers = Arc::new(Signers::new(keys));
    // Known from the start, or from the header as it comes; the login counts beside it.
    let selectors = |at_first: Option<&str>, said: Option<&str>, login: Option<&str>| {
        let login = login.map(|text| Name::prepare(text.as_bytes()).unwrap());
        let mut signing = Signing::new(signers.clone(), None, HEADER_MAX)
            .of_tenant(at_first.map(tenant))
            .of(login);
        signing.push(b"From: a@news.example.com\r\nTo: ");
        said.into_iter().for_each(|said| signing.set_tenant(&tenant(said)));
        signing.push(b"b@b.example\r\n\r\nbody\r\n");
        let mut unsigned = signing.finish(NOW);
        while unsigned.left() > 0 {
            unsigned.sign_one().unwrap();
        }
        let text = String::from_utf8(unsigned.into_fields()).unwrap();
        let tags = text.split("; s=").skip(1);
        tags.map(|rest| rest.split(';').next().unwrap().to_owned()).collect::<Vec<String>>()
    };
    assert_eq!(selectors(None, None, Some("app")), Vec::<String>::new());
    assert_eq!(selectors(Some("globex"), None, None), Vec::<String>::new());
    assert_eq!(selectors(Some("acme"), None, Some("app")), ["acme", "both"]);
    assert_eq!(selectors(Some("acme"), Some("b"), None), ["both"]);
    assert_eq!(selectors(None, Some("b"), Some("app")), ["both", "app"]);
    assert_eq!(selectors(None, Some("acme"), None), ["acme", "both"]);
}
