//! Lines of the event log, as documented, and back.

use super::*;
use crate::mail::verified::SpfFound;
use proptest::prelude::*;

fn deferred() -> Event<'static> {
    Event {
        sequence: 7,
        time: WallTime(1_795_491_661_007),
        shard: ShardId(3),
        kind: Kind::Deferred,
        id: MessageId(1),
        reverse_path: "s@a.example".into(),
        recipient: "r@b.example".into(),
        domain: "b.example".into(),
        tenant: "acme".into(),
        campaign: "news".into(),
        size: 10_240,
        durability: Durability::Memory,
        site: "mx.b.example".into(),
        peer: "mx.b.example[192.0.2.1]:25".into(),
        milter: "".into(),
        upstream: "".into(),
        source: "192.0.2.9".into(),
        provider: "gmail".into(),
        tls: "TLS1.3".into(),
        stage: Some(Stage::Rcpt),
        code: Some(450),
        status: Some(EnhancedStatus::new(4, 7, 1)),
        class: "greylisted".into(),
        reply: "greylisted\n\"later\"".into(),
        attempt: 2,
        next_attempt: Some(WallTime(1_795_491_721_000)),
        delays: Some(Delays {
            before_queue: Duration::from_micros(1_999),
            in_queue: Duration::from_secs(60),
            connect: Duration::ZERO,
            transmit: Duration::from_millis(42),
        }),
        accept: None,
        verified: None,
        returned: None,
        by: None,
        url: "".into(),
    }
}

fn line(event: &Event<'_>) -> String {
    let mut line = Vec::new();
    event.write_line(&mut line);
    String::from_utf8(line).expect("text")
}

#[test]
fn a_line_is_as_documented() {
    let expected = "{\"sequence\":7,\"time\":\"2026-11-24T03:41:01.007Z\",\"shard\":3,\
        \"kind\":\"deferred\",\"id\":\"0000000000001\",\"reverse_path\":\"s@a.example\",\
        \"recipient\":\"r@b.example\",\"domain\":\"b.example\",\"tenant\":\"acme\",\
        \"campaign\":\"news\",\"size\":10240,\
        \"durability\":\"memory\",\"site\":\"mx.b.example\",\
        \"peer\":\"mx.b.example[192.0.2.1]:25\",\"source\":\"192.0.2.9\",\
        \"provider\":\"gmail\",\"tls\":\"TLS1.3\",\
        \"stage\":\"RCPT\",\"code\":450,\"status\":\"4.7.1\",\
        \"class\":\"greylisted\",\"reply\":\"greylisted\\n\\\"later\\\"\",\"attempt\":2,\
        \"next_attempt\":\"2026-11-24T03:42:01.000Z\",\
        \"delays\":{\"before_queue\":0.001,\"in_queue\":60.0,\"connect\":0.0,\
        \"transmit\":0.042}}\n";
    assert_eq!(line(&deferred()), expected);
}

#[test]
fn a_line_reads_back() {
    let mut event = deferred();
    event.delays = Some(Delays { transmit: Duration::from_millis(1), ..Delays::default() });
    assert_eq!(Event::parse(line(&event).as_bytes()).expect("a line"), event);
    let text = line(&event);
    let parsed = Event::parse(text.as_bytes()).expect("a line");
    assert!(matches!(parsed.recipient, Cow::Borrowed(_)));
}

#[test]
fn what_verification_found_reads_back() {
    let verified = Verified {
        source_ip: "2001:db8::7".parse().expect("an address"),
        header_from: "a.example".into(),
        disposition: "quarantine".into(),
        spf: SpfFound {
            domain: "a.example".into(),
            scope: "mfrom".into(),
            result: "softfail".into(),
        },
        dkim: Vec::new(),
        arc: "none".into(),
        dmarc: "fail".into(),
        policy: None,
    };
    let event = Event {
        kind: Kind::Verified,
        verified: Some(Cow::Owned(verified)),
        delays: None,
        ..deferred()
    };
    let text = line(&event);
    assert!(text.contains("\"verified\":{\"source_ip\":\"2001:db8::7\","), "{text}");
    assert_eq!(Event::parse(text.as_bytes()).expect("a line"), event);
}

#[test]
fn what_came_back_reads_back() {
    let returned = Returned {
        what: "bounced".into(),
        form: "dsn".into(),
        original: Some(MessageId(77)),
        vouched: "recipient".into(),
        reported: "other@c.example".into(),
        message_id: "<1@a.example>".into(),
        envelope_id: "".into(),
    };
    let event =
        Event { kind: Kind::BouncedLater, returned: Some(returned), delays: None, ..deferred() };
    let text = line(&event);
    assert!(text.contains("\"kind\":\"bounced-later\""), "{text}");
    let expected = "\"returned\":{\"what\":\"bounced\",\"form\":\"dsn\",\
        \"original\":\"000000000002D\",\"vouched\":\"recipient\",\
        \"reported\":\"other@c.example\",\"message_id\":\"<1@a.example>\"}}";
    assert!(text.trim_end().ends_with(expected), "{text}");
    assert_eq!(Event::parse(text.as_bytes()).expect("a line"), event);
}

#[test]
fn what_links_tell_reads_back() {
    let clicked = Event {
        by: Some(By::Machine),
        url: "https://shop.example/?a=1&b=\"2\"".into(),
        recipient: "r@b.example".into(),
        ..Event::new(Kind::Clicked, MessageId(77), WallTime(1_795_491_661_007), ShardId(1))
    };
    let text = line(&clicked);
    let end = "\"by\":\"machine\",\"url\":\"https://shop.example/?a=1&b=\\\"2\\\"\"}\n";
    assert!(text.contains("\"kind\":\"clicked\"") && text.ends_with(end), "{text}");
    assert_eq!(Event::parse(text.as_bytes()).expect("a line"), clicked);
}

#[test]
fn what_is_not_known_is_left_out() {
    let received = Event {
        kind: Kind::Received,
        reverse_path: "".into(),
        site: "".into(),
        peer: "".into(),
        tls: "".into(),
        stage: None,
        code: None,
        status: None,
        class: "".into(),
        reply: "".into(),
        attempt: 0,
        next_attempt: None,
        delays: None,
        accept: Some(Duration::from_millis(7)),
        ..deferred()
    };
    let text = line(&received);
    assert!(text.ends_with(",\"accept\":0.007}\n"), "{text}");
    assert!(!text.contains("null") && !text.contains("site") && !text.contains("attempt"));
    assert_eq!(Event::parse(text.as_bytes()).expect("a line"), received);
}

#[test]
fn every_stage_and_kind_reads_back() {
    let kinds = [
        Kind::Received,
        Kind::Delivered,
        Kind::Deferred,
        Kind::Bounced,
        Kind::Expired,
        Kind::Removed,
        Kind::Held,
        Kind::Released,
        Kind::Quarantined,
        Kind::Refused,
        Kind::Discarded,
        Kind::Verified,
        Kind::BouncedLater,
        Kind::Complained,
        Kind::Returned,
        Kind::Opened,
        Kind::Clicked,
        Kind::Unsubscribed,
    ];
    for kind in kinds {
        for stage in &Stage::ALL {
            let event = Event { kind, stage: Some(*stage), delays: None, ..deferred() };
            assert_eq!(Event::parse(line(&event).as_bytes()).expect("a line"), event);
        }
    }
}

#[test]
fn lines_of_a_later_version_are_read_and_broken_ones_refused() {
    let text = line(&deferred());
    let later = text.replace("\"shard\":3", "\"shard\":3,\"mood\":{\"x\":[1]}");
    assert!(Event::parse(later.as_bytes()).is_ok());
    let broken = [
        ("\"kind\":\"deferred\"", "\"kind\":\"maybe\""),
        ("2026-11-24T03:41:01.007Z", "yesterday"),
        ("\"RCPT\"", "\"TURN\""),
        ("\"4.7.1\"", "\"9.7.1\""),
        ("0.042", "-0.042"),
        ("0000000000001", "U"),
        ("{\"sequence\":7,", "{"),
    ];
    for (good, bad) in broken {
        assert!(text.contains(good), "{good}");
        assert!(Event::parse(text.replace(good, bad).as_bytes()).is_err(), "{bad}");
    }
    for end in 0..text.len() - 1 {
        assert!(Event::parse(&text.as_bytes()[..end]).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn no_words_break_out_of_their_line(reply in "(?s).{0,60}", recipient in any::<String>()) {
        let event = Event {
            reply: reply.into(),
            recipient: recipient.into(),
            delays: None,
            ..deferred()
        };
        let text = line(&event);
        prop_assert_eq!(text.matches('\n').count(), 1);
        prop_assert_eq!(Event::parse(text.as_bytes()).expect("a line"), event);
    }

    #[test]
    fn no_bytes_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Event::parse(&line);
    }
}
