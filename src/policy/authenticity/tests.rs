//! Messages against a zone in memory: what is asked, what comes of it, and what is changed.
//! Mail of dkimpy and OpenDKIM, and a real name server: `tests/peers/verifying.rs`.

use std::collections::HashMap;

use super::*;
use crate::base::time::{Monotonic, WallTime};
use crate::dns::{Finding, Kind, MxRecord, Name, Records};
use crate::policy::signing::{Algorithm, PrivateKey, Selector, Signer, Signers, Signing};

mod arc;

const HEADER_MAX: usize = 64 * 1024;

/// Names and what they have; what is missing does not exist, but for `Temporary`.
#[derive(Default)]
struct Zone(HashMap<(String, Kind), Finding>);

impl Zone {
    fn txt(mut self, name: &str, texts: &[&str]) -> Self {
        let texts = texts.iter().map(|text| text.as_bytes().into()).collect();
        self.0.insert((name.into(), Kind::Txt), Finding::Records(Records::Txt(texts)));
        self
    }

    fn a(mut self, name: &str, address: &str) -> Self {
        let records = Records::A(vec![address.parse().unwrap()]);
        self.0.insert((name.into(), Kind::A), Finding::Records(records));
        self
    }

    fn with(mut self, name: &str, kind: Kind, finding: Finding) -> Self {
        self.0.insert((name.into(), kind), finding);
        self
    }

    fn answer(&self, question: &Question) -> Arc<Answer> {
        let key = (question.name.as_str().to_owned(), question.kind);
        let finding = self.0.get(&key).cloned().unwrap_or(Finding::NoSuchName);
        let expires = Monotonic(u64::MAX);
        Arc::new(Answer { question: question.clone(), finding, authenticated: false, expires })
    }
}

fn session(client: &str, reverse_path: &str) -> Session {
    Session {
        client: client.parse().unwrap(),
        hello: "mail.sender.example".into(),
        reverse_path: reverse_path.into(),
        hostname: Domain::parse("mx.relay.example").unwrap(),
    }
}

/// What is passed on of a content that comes in these pieces, and what is known of it.
fn read(pieces: &[&[u8]]) -> (Vec<u8>, Facts) {
    let mut reader = ContentReader::new(Domain::parse("mx.relay.example").ok(), HEADER_MAX);
    let (last, before) = pieces.split_last().unwrap();
    let mut passed: Vec<u8> = before.iter().flat_map(|piece| reader.push(piece.to_vec())).collect();
    let (rest, facts) = reader.end(last.to_vec());
    passed.extend(rest);
    (passed, facts)
}

/// All that is asked about a message, and what comes of it.
fn verify(zone: &Zone, session: Session, content: &str) -> (usize, Results) {
    let (_, facts) = read(&[content.as_bytes()]);
    let verifier = Arc::new(Verifier::new().unwrap());
    let mut message = Authenticity::new(verifier, session, facts);
    let mut asked = 0;
    loop {
        match message.advance() {
            Progress::Done(results) => return (asked, *results),
            Progress::Ask(questions) => {
                asked += questions.len();
                questions.iter().for_each(|question| message.handle_answer(&zone.answer(question)));
            }
        }
    }
}

const PLAIN: &str = "From: Bill <bill@sender.example>\r\nTo: joe@relay.example\r\n\
    Subject: hello\r\nDate: Tue, 24 Nov 2026 03:41:01 +0000\r\n\r\nhello\r\n";

/// A message with signatures of RSA and Ed25519, and the zone with their keys.
fn signed(zone: Zone) -> (Zone, String) {
    let key = |algorithm| Arc::new(PrivateKey::generate(algorithm).unwrap());
    let (rsa, ed25519) = (key(Algorithm::Rsa), key(Algorithm::Ed25519));
    let zone = zone
        .txt("r._domainkey.sender.example", &[&rsa.record()])
        .txt("e._domainkey.sender.example", &[&ed25519.record()]);
    let signer = |selector: &str, key| Signer {
        domain: Domain::parse("sender.example").unwrap(),
        selector: Selector::parse(selector).unwrap(),
        subdomains: false,
        identities: Box::default(),
        tenants: Box::default(),
        key,
    };
    let signers = Arc::new(Signers::new([signer("r", rsa), signer("e", ed25519)]));
    let mut signing = Signing::new(signers, None, HEADER_MAX);
    signing.push(PLAIN.as_bytes());
    let mut unsigned = signing.finish(WallTime(1_795_491_661_007));
    while unsigned.left() > 0 {
        unsigned.sign_one().unwrap();
    }
    let fields = String::from_utf8(unsigned.into_fields()).unwrap();
    (zone, format!("{fields}{PLAIN}"))
}

fn sender() -> Zone {
    Zone::default()
        .txt("sender.example", &["google-site=1", "v=spf1 include:_spf.sender.example a mx -all"])
        .txt("_spf.sender.example", &["v=spf1 ip4:192.0.2.0/28 -all"])
        .a("sender.example", "192.0.2.99")
        .with(
            "sender.example",
            Kind::Mx,
            Finding::Records(Records::Mx(vec![MxRecord {
                preference: 10,
                exchange: Name::parse("mx.sender.example").ok(),
            }])),
        )
        .a("mx.sender.example", "192.0.2.98")
        .txt("_dmarc.sender.example", &["v=DMARC1; p=reject"])
}

#[test]
fn a_message_of_whom_it_says_passes_all() {
    let (zone, message) = signed(sender());
    for client in ["192.0.2.7", "192.0.2.99", "192.0.2.98", "::ffff:192.0.2.7"] {
        let (_, results) = verify(&zone, session(client, "bill@sender.example"), &message);
        assert_eq!(results.to_string(), "spf=pass dkim=2/2 dmarc=pass", "{client}");
        let field = String::from_utf8(results.field.clone()).unwrap();
        assert!(field.starts_with("Authentication-Results: mx.relay.example;\r\n\t"), "{field}");
        for word in ["spf=pass", "dkim=pass", "header.s=r", "header.s=e", "dmarc=pass"] {
            assert!(field.contains(word), "{word}: {field}");
        }
        let lines: Vec<_> = field.split("\r\n").collect();
        assert!(lines.iter().skip(1).all(|line| line.is_empty() || line.starts_with('\t')));
        for mode in [Mode::Monitor, Mode::Tag, Mode::Reject, Mode::Quarantine] {
            assert_eq!(results.verdict(mode), Verdict::Take);
        }
    }
}

#[test]
fn one_right_signature_or_spf_is_enough_for_dmarc() {
    let (zone, message) = signed(sender());
    let elsewhere = session("198.51.100.1", "bounce@list.example");
    let (_, results) = verify(&zone, elsewhere.clone(), &message);
    assert_eq!(results.to_string(), "spf=none dkim=2/2 dmarc=pass");
    let (_, results) = verify(&zone, session("192.0.2.7", "bill@sender.example"), PLAIN);
    assert_eq!(results.to_string(), "spf=pass dkim=0/0 dmarc=pass");
    let changed = message.replace("hello\r\n", "hullo\r\n");
    let (_, results) = verify(&zone, elsewhere, &changed);
    assert_eq!(results.to_string(), "spf=none dkim=0/2 dmarc=fail");
    assert_eq!(results.dmarc, Dmarc::FailReject);
    assert_eq!(results.verdict(Mode::Monitor), Verdict::Take);
    assert_eq!(results.verdict(Mode::Tag), Verdict::Take);
    assert_eq!(results.verdict(Mode::Quarantine), Verdict::Hold);
    let Verdict::Refuse(reply) = results.verdict(Mode::Reject) else { panic!("{results}") };
    assert_eq!(reply.to_string(), "550 5.7.26 sender.example asks to refuse mail that fails DMARC");
}

//= RFC 9989 §4.10, type=test
//# the domain's own record, else that of its Organizational Domain, found by a walk up the tree
#[test]
fn policies_are_found_up_the_tree_and_quarantine_is_not_reject() {
    let zone = Zone::default().txt("_dmarc.sender.example", &["v=DMARC1; p=none; sp=quarantine"]);
    let missing = Zone::default().txt("_dmarc.sender.example", &["v=DMARC1; p=none; np=reject"]);
    let nowhere = PLAIN.replace("bill@", "bill@nowhere.");
    let (_, results) = verify(&missing, session("192.0.2.7", "x@else.example"), &nowhere);
    assert_eq!(results.dmarc, Dmarc::FailReject);
    let there = missing.a("nowhere.sender.example", "192.0.2.1");
    let (_, results) = verify(&there, session("192.0.2.7", "x@else.example"), &nowhere);
    assert_eq!(results.dmarc, Dmarc::Fail);
    for (from, dmarc) in [
        ("sender.example", Dmarc::Fail),
        ("a.b.sender.example", Dmarc::FailQuarantine),
        ("other.example", Dmarc::None),
    ] {
        let content = PLAIN.replace("bill@sender.example", &format!("bill@{from}"));
        let (_, results) = verify(&zone, session("192.0.2.7", "x@else.example"), &content);
        assert_eq!(results.dmarc, dmarc, "{from}");
        assert_eq!(results.verdict(Mode::Reject), Verdict::Take, "{from}");
        let holds = results.verdict(Mode::Quarantine) == Verdict::Hold;
        assert_eq!(holds, dmarc == Dmarc::FailQuarantine, "{from}");
    }
}

#[test]
fn what_name_servers_do_not_say_is_a_temporary_error_and_refuses_nothing() {
    let (zone, message) = signed(sender());
    let down = || Finding::Temporary("SERVFAIL".into());
    for (name, kind, expected) in [
        ("sender.example", Kind::Txt, "spf=temperror dkim=2/2 dmarc=pass"),
        ("_spf.sender.example", Kind::Txt, "spf=temperror dkim=2/2 dmarc=pass"),
        ("r._domainkey.sender.example", Kind::Txt, "spf=pass dkim=1/2 dmarc=pass"),
        ("_dmarc.sender.example", Kind::Txt, "spf=pass dkim=2/2 dmarc=temperror"),
    ] {
        let zone = Zone(zone.0.clone()).with(name, kind, down());
        let (_, results) = verify(&zone, session("192.0.2.7", "bill@sender.example"), &message);
        assert_eq!(results.to_string(), expected, "{name}");
        assert_eq!(results.verdict(Mode::Reject), Verdict::Take);
    }
    let zone = Zone(zone.0.clone()).with("sender.example", Kind::A, down());
    let (_, results) = verify(&zone, session("192.0.2.98", "bill@sender.example"), PLAIN);
    assert_eq!(results.spf, "temperror", "the mechanism before the one that would match");
    // Nobody answers at all, and the caller gives up.
    let (_, facts) = read(&[message.as_bytes()]);
    let verifier = Arc::new(Verifier::new().unwrap());
    let mut waits = Authenticity::new(verifier, session("192.0.2.7", "b@sender.example"), facts);
    assert!(matches!(waits.advance(), Progress::Ask(_)));
    waits.give_up();
    let Progress::Done(results) = waits.advance() else { panic!("it still asks") };
    assert_eq!(results.to_string(), "spf=temperror dkim=0/2 dmarc=temperror");
    assert_eq!(results.verdict(Mode::Quarantine), Verdict::Take);
}

//= RFC 7208 §4.6.4, type=test
//# SPF implementations MUST limit the total number of those terms to 10 during SPF evaluation
//# … SHOULD limit "void lookups" to two
#[test]
fn spf_ends_at_its_bounds() {
    let chain = |links: usize| {
        let zone = Zone::default().txt("sender.example", &["v=spf1 include:n1.example -all"]);
        let link = |zone: Zone, number: usize| {
            let record = match number == links {
                true => String::from("v=spf1 ip4:192.0.2.7 -all"),
                false => format!("v=spf1 include:n{}.example -all", number + 1),
            };
            zone.txt(&format!("n{number}.example"), &[&record])
        };
        (1..=links).fold(zone, link)
    };
    let spf = |zone: &Zone| verify(zone, session("192.0.2.7", "bill@sender.example"), PLAIN).1.spf;
    assert_eq!((spf(&chain(10)), spf(&chain(11))), ("pass", "permerror"));
    let voids = |count: usize| {
        let terms: Vec<_> = (0..count).map(|number| format!("a:v{number}.example")).collect();
        let record = format!("v=spf1 {} ip4:192.0.2.7 -all", terms.join(" "));
        Zone::default().txt("sender.example", &[&record])
    };
    assert_eq!((spf(&voids(2)), spf(&voids(3))), ("pass", "permerror"));
    let two = Zone::default().txt("sender.example", &["v=spf1 +all", "v=spf1 -all"]);
    assert_eq!(spf(&two), "permerror");
    let other = Zone::default().txt("sender.example", &["v=spf10 -all", "spf2.0/pra -all"]);
    assert_eq!(spf(&other), "none");
    let exists =
        |records: Zone| records.txt("sender.example", &["v=spf1 exists:%{ir}.x.example -all"]);
    let there = || Zone::default().a("7.2.0.192.x.example", "127.0.0.2");
    assert_eq!((spf(&exists(Zone::default())), spf(&exists(there()))), ("fail", "pass"));
    let v6 = |zone: &Zone| verify(zone, session("2001:db8::1", "b@sender.example"), PLAIN).1.spf;
    let plain = Zone::default().txt("sender.example", &["v=spf1 exists:x.example -all"]);
    assert_eq!((v6(&plain), v6(&plain.a("x.example", "127.0.0.2"))), ("fail", "pass"));
    let loops = Zone::default().txt("sender.example", &["v=spf1 include:sender.example -all"]);
    assert_eq!(spf(&loops), "permerror");
}

#[test]
fn signatures_and_questions_are_bounded() {
    let field = |number: usize| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=s{number}.example; s=x;\r\n\
             \th=from; bh=LCa4d7v0SgKBhCZSqZwyMwbCHEBJSfbJSuO3hxEAVGg=; b=AAAA\r\n"
        )
    };
    let many: String = (0..300).map(field).collect();
    let (asked, results) =
        verify(&Zone::default(), session("192.0.2.7", ""), &format!("{many}{PLAIN}"));
    assert_eq!(results.signatures, (0, SIGNATURES_TRIED_MAX));
    assert!(asked < 20, "{asked}");
    let hosts: Vec<_> = (0..200).map(|number| format!("exists:h{number}.example")).collect();
    let record = format!("v=spf1 {} -all", hosts.join(" "));
    let zone = Zone::default().txt("sender.example", &[&record]);
    let (asked, results) = verify(&zone, session("192.0.2.7", "b@sender.example"), PLAIN);
    assert!(asked < 20 && results.spf == "permerror", "{asked} {results}");
}

#[test]
fn whatever_comes_makes_no_field_that_breaks_out() {
    let hello = "a\r\nX-Own: 1 \u{e9}(\"";
    let mut session = session("2001:db8::1", "\"a;\\\"(b\"@sender.example");
    session.hello = hello.into();
    for content in ["", "\r\n", "From\r\n\r\n", "From: a@b, c@d\r\n", "\0\r\n: x\r\n\r\n", PLAIN] {
        let (_, results) = verify(&sender(), session.clone(), content);
        let field = String::from_utf8(results.field).unwrap();
        let field = field.strip_suffix("\r\n").unwrap();
        let mut lines = field.split("\r\n");
        assert!(lines.next().unwrap().starts_with("Authentication-Results: mx.relay.example"));
        assert!(lines.all(|line| line.starts_with('\t')), "{field:?}");
        assert!(!field.replace("\r\n\t", "").contains(['\r', '\n']), "{field:?}");
    }
}

//= RFC 8601 §5, type=test
//# For security reasons, any MTA conforming to this specification MUST delete any discovered
//# instance of this header field that claims, by virtue of its authentication service identifier,
//# to have been added within its trust boundary but that did not come directly from another trusted
//# MTA.
#[test]
fn forged_results_are_taken_out_wherever_content_is_cut() {
    let forged = [
        "Authentication-Results: mx.relay.example; dkim=pass\r\n",
        "authentication-results : MX.Relay.Example; dkim=pass\r\n",
        "Authentication-Results:\r\n (comment (mx) \\) )\r\n\tmx.relay.example 1;\r\n spf=pass\r\n",
        "Authentication-Results: \"mx.relay.example\"; none\r\n",
        "Authentication-Results: mx.relay.example.; none\r\n",
        "Authentication-Results: mx.relay.example(1); none\r\n",
    ];
    let kept = [
        "Authentication-Results: other.example; x=mx.relay.example\r\n",
        "Authentication-Results: sub.mx.relay.example; none\r\n",
        "X-Authentication-Results: mx.relay.example; none\r\n",
        "Authentication-Results: (mx.relay.example) other.example; none\r\n",
    ];
    let body = "Authentication-Results: mx.relay.example; in the body\r\n";
    let mut header = String::from("From: a@b.example\r\n");
    for (number, field) in forged.iter().enumerate() {
        header += field;
        header += kept.get(number).unwrap_or(&"");
    }
    let expected = format!("From: a@b.example\r\n{}\r\n{body}", kept.concat());
    let content = format!("{header}\r\n{body}");
    for cut in 0..=content.len() {
        let (first, second) = content.as_bytes().split_at(cut);
        let (passed, facts) = read(&[first, second]);
        assert_eq!(String::from_utf8(passed).unwrap(), expected, "{cut}");
        assert_eq!(facts.header, format!("{header}\r\n").as_bytes());
    }
    for content in ["", "From: a@b", "From: a@b\r\n", "\r\n", "\r\nbody", "From: a@b\r\n\r\n"] {
        for cut in 0..=content.len() {
            let (first, second) = content.as_bytes().split_at(cut);
            assert_eq!(read(&[first, second]).0, content.as_bytes(), "{content:?} {cut}");
        }
    }
    let huge = format!("X: {}\r\n\r\nbody", "x".repeat(HEADER_MAX + 10));
    assert_eq!(read(&[huge.as_bytes()]).0, huge.as_bytes());
}
