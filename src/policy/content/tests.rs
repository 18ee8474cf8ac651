//! Facts about content, whatever the pieces are that it comes in.

use proptest::prelude::*;

use super::*;

fn facts(content: &[u8]) -> ContentFacts {
    let mut scan = ContentScan::new();
    scan.push(content);
    scan.facts()
}

/// How many `Received:` fields, and how many octets of header section.
fn seen(content: &str) -> (u32, u64) {
    let facts = facts(content.as_bytes());
    assert_eq!(facts.bytes, content.len() as u64);
    (facts.received, facts.header_bytes)
}

const LIMITS: ContentLimits = ContentLimits { header_bytes: 1_000, received: 50 };

/// Content of every shape that a header section can end in.
const SAMPLES: &[&[u8]] = &[
    b"",
    b"\r\n",
    b"\r\nReceived: in the body\r\n",
    b"Subject: x\r\n\r\nReceived: in the body\r\n",
    b"Received: a\r\nReceived: b\r\n\tby c\r\n\r\nbody\r\n",
    b"RECEIVED : a\r\nreceived\t: b\r\nReceived:\r\n\r\n",
    b"Received-SPF: pass\r\nX-Received: no\r\nReceive: no\r\nReceivedd: no\r\n\r\n",
    b"Subject: x\r\n Received: folded\r\n\tReceived: folded\r\nReceived: a\r\n\r\n",
    b"just a line\r\nReceived: behind it\r\n",
    b"Received",
    b"Received: a",
    b"Received: a\r\n\r",
    b"Subject: \xc3\xa9\r\n\r\nbody\r\n",
    b"Subject: e\r\n\r\n\xc3\xa9\r\n",
    b"Subj\xc3\xa9ct: e\r\n\r\nplain\r\n",
    b": no name\r\n\r\n",
    b" folded at the very start\r\nReceived: a\r\n\r\n",
    b"From someone Mon Jan  1\r\nReceived: a\r\n\r\n",
    b"TLS-Required: No\r\nTLS-Received: a\r\n\r\n",
    b"Tls-Required:\t no \r\nReceived: a\r\n\r\n",
    b"TLS-Required: None\r\nReceived : a\r\n\r\n",
];

#[test]
fn received_fields_are_counted_in_the_header_section_and_nowhere_else() {
    assert_eq!(seen("Received: a\r\nReceived: b\r\nSubject: c\r\n\r\nReceived: d\r\n").0, 2);
    assert_eq!(seen("Received: without an end").0, 1);
    assert_eq!(seen("Received").0, 0);
}

//= RFC 5322 §1.2.2, type=test
//# or by a case-insensitive literal value enclosed in quotation marks
#[test]
fn field_names_are_the_same_in_any_case() {
    let content = "RECEIVED: a\r\nreceived: b\r\nrEcEiVeD: c\r\n\r\n";
    assert_eq!(seen(content), (3, content.len() as u64));
}

//= RFC 5322 §4.5.7, type=test
//# obs-received = "Received" *WSP ":" *received-token CRLF
#[test]
fn old_mail_may_have_white_space_before_the_colon() {
    assert_eq!(seen("Received : a\r\nReceived \t : b\r\n\r\n").0, 2);
    assert_eq!(seen("Received x: a\r\nReceived: behind\r\n\r\n").0, 0, "but nothing else");
}

#[test]
fn names_that_only_begin_or_end_alike_are_others() {
    let others = "Received-SPF: a\r\nX-Received: b\r\nReceive: c\r\nReceivedd: d\r\n";
    assert_eq!(seen(&format!("{others}Received: e\r\n\r\n")).0, 1);
}

//= RFC 5322 §2.2.3, type=test
//# Unfolding is accomplished by simply removing any CRLF that is immediately followed by WSP.
#[test]
fn folded_lines_belong_to_their_field() {
    let content = "Received: a\r\n\tReceived: b\r\n Received: c\r\nTo: x\r\n  Received: d\r\n\r\n";
    assert_eq!(seen(content), (1, content.len() as u64));
}

#[test]
fn the_header_section_ends_after_the_empty_line() {
    assert_eq!(seen("A: b\r\n\r\nbody\r\n"), (0, 8));
    assert_eq!(seen("A: b\r\n\r\n"), (0, 8));
    assert_eq!(seen("A: b\r\n"), (0, 6));
    assert_eq!(seen("\r\nReceived: in the body\r\n"), (0, 2));
    assert_eq!(seen(""), (0, 0));
}

/// What never was a header section: the relay passes it on as it came.
#[test]
fn a_bare_body_has_no_header_section_to_speak_of() {
    for body in
        ["Hello there\r\nReceived: x\r\n", "Hi\r\nReceived: x\r\n", ": x\r\nReceived: x\r\n"]
    {
        let (received, header) = seen(body);
        assert_eq!(received, 0, "{body:?}");
        assert!(header <= 8, "{header} octets of {body:?}");
    }
    let facts = facts("Grüße\r\nReceived: x\r\n".as_bytes());
    assert_eq!((facts.received, facts.header_eight_bit || facts.body_eight_bit), (0, true));
}

#[test]
fn eight_bit_octets_are_told_apart_by_where_they_are() {
    let of = |content: &[u8]| {
        let facts = facts(content);
        (facts.header_eight_bit, facts.body_eight_bit)
    };
    assert_eq!(of(b"A: b\r\n\r\nplain\r\n"), (false, false));
    assert_eq!(of(b"A: \xff\r\n\r\nplain\r\n"), (true, false));
    assert_eq!(of(b"A: b\r\n\r\n\x80\r\n"), (false, true));
    assert_eq!(of(b"A: \xc3\xa9\r\n\r\n\xc3\xa9\r\n"), (true, true));
}

//= RFC 5321 §6.3, type=test
//# Simple counting of the number of "Received:" header fields in a message has proven to be an
//# effective, although rarely optimal, method of detecting loops in mail systems.
#[test]
fn one_hop_more_than_the_limit_is_a_loop() {
    let with = |hops: usize| facts(("Received: by x\r\n".repeat(hops) + "\r\n").as_bytes());
    let limits = ContentLimits { header_bytes: u32::MAX, ..LIMITS };
    assert_eq!(with(50).check(limits), Ok(()));
    let refused = with(51).check(limits).expect_err("it loops");
    assert_eq!(refused.code.as_u16(), 554);
    assert_eq!(refused.enhanced.map(|status| status.to_string()).as_deref(), Some("5.4.6"));
    assert_eq!(with(0).check(ContentLimits { received: 0, ..limits }), Ok(()));
    assert!(with(1).check(ContentLimits { received: 0, ..limits }).is_err());
}

#[test]
fn a_header_section_is_refused_as_soon_as_it_is_too_large_and_ever_after() {
    let mut scan = ContentScan::new();
    // One line without an end.
    scan.push(b"X-Huge: ");
    for octets in (9..=1_000u64).chain(1_001..1_100) {
        scan.push(b"x");
        let refused = scan.facts().check(LIMITS).err();
        assert_eq!(refused.is_some(), octets > 1_000, "{octets}");
        if let Some(refused) = refused {
            assert_eq!(refused.code.as_u16(), 552);
            let status = refused.enhanced.map(|status| status.to_string());
            assert_eq!(status.as_deref(), Some("5.3.4"));
        }
    }
    scan.push(b"\r\n\r\nbody\r\n");
    assert!(scan.facts().check(LIMITS).is_err());
}

#[test]
fn a_huge_body_and_a_huge_name_are_no_trouble() {
    let mut scan = ContentScan::new();
    scan.push(b"A: b\r\n\r\n");
    (0..100).for_each(|_| scan.push(&[b'x'; 65_536]));
    assert_eq!((scan.facts().header_bytes, scan.facts().check(LIMITS)), (8, Ok(())));
    let mut scan = ContentScan::new();
    (0..100).for_each(|_| scan.push(&[b'r'; 100]));
    assert_eq!(scan.facts().header_bytes, 10_000, "a name without an end");
    assert!(scan.facts().check(LIMITS).is_err());
}

#[test]
fn facts_are_the_same_wherever_one_cut_is() {
    for sample in SAMPLES {
        let whole = facts(sample);
        for cut in 0..=sample.len() {
            let mut scan = ContentScan::new();
            scan.push(&sample[..cut]);
            scan.push(&sample[cut..]);
            assert_eq!(scan.facts(), whole, "{} cut at {cut}", sample.escape_ascii());
        }
        let mut scan = ContentScan::new();
        sample.iter().for_each(|octet| scan.push(&[*octet]));
        assert_eq!(scan.facts(), whole, "{} octet by octet", sample.escape_ascii());
    }
}

/// Count them the slow way: unfold, then look at each line up to the empty one.
fn received_by_hand(content: &str) -> usize {
    let header = format!("\r\n{content}");
    let header = header.split("\r\n\r\n").next().expect("one part at least");
    let unfolded = header.replace("\r\n ", " ").replace("\r\n\t", " ");
    let is_received = |line: &&str| {
        let name = line.split(':').next().expect("one part at least");
        name.trim_end_matches([' ', '\t']).eq_ignore_ascii_case("received")
    };
    unfolded.split("\r\n").filter(is_received).count()
}

fn field() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["Received", "RECEIVED", "received ", "To", "X-Received"]);
    let value = prop::collection::vec("[ -~]{0,20}", 1..4);
    (name, value).prop_map(|(name, value)| format!("{name}: {}\r\n", value.join("\r\n\t")))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn facts_are_those_of_the_whole_whatever_the_pieces(
        fields in prop::collection::vec(field(), 0..8),
        body in "(\r\n[a-z: \r\n]{0,40}|)",
        cuts in prop::collection::vec(0usize..400, 0..12),
    ) {
        let content = fields.concat() + &body;
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (content.len() + 1)).collect();
        cuts.sort_unstable();
        let mut scan = ContentScan::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([content.len()]) {
            scan.push(&content.as_bytes()[from..cut]);
            from = cut;
        }
        prop_assert_eq!(scan.facts(), facts(content.as_bytes()));
        prop_assert_eq!(scan.facts().received as usize, received_by_hand(&content));
    }

    #[test]
    fn no_octets_at_all_upset_it(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..10)) {
        let mut scan = ContentScan::new();
        pieces.iter().for_each(|piece| scan.push(piece));
        prop_assert_eq!(scan.facts(), facts(&pieces.concat()));
        prop_assert!(scan.facts().header_bytes <= scan.facts().bytes);
    }
}

//= RFC 8689 §5, type=test
//# tls-required-field = "TLS-Required:" [FWS] "No" CRLF
#[test]
fn a_sender_waives_tls_in_the_header_and_nowhere_else() {
    let waived = |content: &str| facts(content.as_bytes()).tls_waived;
    for yes in ["TLS-Required: No", "tls-required:no", "TLS-REQUIRED :\tNO ", "TLS-Required:  nO\t"]
    {
        assert!(waived(&format!("Received: a\r\n{yes}\r\n\r\nbody\r\n")), "{yes}");
    }
    for no in [
        "TLS-Required: Nope",
        "TLS-Required: N o",
        "TLS-Required: Yes",
        "TLS-Required:",
        "TLS-Required",
        "TLS-Require: No",
        "X-TLS-Required: No",
        "TLS-Required-Not: No",
        "Subject: x\r\n TLS-Required: No",
        "\r\nTLS-Required: No",
    ] {
        assert!(!waived(&format!("{no}\r\nTo: b\r\n\r\nTLS-Required: No\r\n")), "{no}");
    }
}
