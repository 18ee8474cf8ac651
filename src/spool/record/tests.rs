//! What is encoded decodes to the same; nothing else panics.

use super::*;
use crate::base::prng::Prng;

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text, true).expect("well-formed")
}

fn envelope(recipients: usize) -> Envelope {
    let recipient = |n: usize| Recipient {
        forward_path: match n % 5 {
            4 => ForwardPath::Postmaster,
            _ => ForwardPath::Mailbox(mailbox(&format!("user{n}@example{n}.com"))),
        },
        notify: match n % 4 {
            0 => Notify::Default,
            1 => Notify::Never,
            2 => Notify::When { success: true, failure: false, delay: true },
            _ => Notify::When { success: false, failure: true, delay: false },
        },
        original: n.is_multiple_of(3).then(|| OriginalRecipient {
            kind: "rfc822".into(),
            address: format!("was{n}@example.org").into(),
        }),
    };
    Envelope {
        reverse_path: ReversePath(Some(mailbox("sender@example.org"))),
        body_type: BodyType::EightBitMime,
        smtp_utf8: true,
        tls: TlsWish::Unsaid,
        ret: Some(Ret::Headers),
        envelope_id: Some("QQ314159".into()),
        handling: None,
        recipients: (0..recipients).map(recipient).collect(),
    }
}

const EXTENTS: [Extent; 2] = [
    Extent { segment: 1, offset: 2, bytes: 1_000, crc: 4 },
    Extent { segment: 5, offset: 6, bytes: 234, crc: 8 },
];

fn head(origin: Origin) -> MessageHead<'static> {
    MessageHead {
        received: WallTime(1_795_491_661_007),
        intake: Duration::from_millis(1_234),
        content_bytes: 1_234,
        has_eight_bit: true,
        is_quarantined: origin == Origin::Own,
        origin,
        prefix: b"Received: from x\r\n",
    }
}

fn encoded(head: &MessageHead<'_>, envelope: &Envelope) -> Vec<u8> {
    let mut out = Vec::new();
    encode_message(head, envelope, EXTENTS.len(), &mut out).expect("fits");
    EXTENTS.iter().for_each(|extent| extent.encode(&mut out));
    out
}

#[test]
fn messages_read_back() {
    let v4 = Origin::Client {
        peer: "192.0.2.7".parse().unwrap(),
        listener: 3,
        durability: Durability::Memory,
    };
    let v6 = Origin::Client {
        peer: "2001:db8::7".parse().unwrap(),
        listener: 65_535,
        durability: Durability::Commit,
    };
    let null = Envelope::plain(ReversePath::NULL, envelope(1).recipients);
    let binary = Envelope {
        body_type: BodyType::BinaryMime,
        ret: Some(Ret::Full),
        envelope_id: Some("".into()),
        ..null.clone()
    };
    for origin in [Origin::Own, Origin::Injected, v4, v6] {
        let wishes = TlsWish::ALL.map(|tls| Envelope { tls, ..null.clone() });
        let others = [envelope(1), envelope(RECIPIENTS_MAX), binary.clone()];
        let handlings = handling::tests::some().into_iter();
        let handled =
            handlings.map(|handling| Envelope { handling: handling.boxed(), ..envelope(2) });
        for envelope in wishes.into_iter().chain(others).chain(handled) {
            let head = head(origin);
            let bytes = encoded(&head, &envelope);
            let view = MessageView::decode(&bytes).expect("valid");
            assert_eq!(view.head(), Some(head.clone()));
            assert_eq!(view.envelope(), Some(envelope));
            assert!(view.extents().eq(EXTENTS));
            assert_eq!(view.bytes(), 1_234 + head.prefix.len() as u64);
        }
    }
}

#[test]
fn a_moved_message_is_the_same_but_for_states_and_extents() {
    let (head, envelope) = (head(Origin::Own), envelope(3));
    let bytes = encoded(&head, &envelope);
    let mut moved = Vec::new();
    let old = MessageView::decode(&bytes).expect("valid");
    old.encode_moved(b"states", 1, &mut moved);
    let whole = Extent { segment: 9, offset: 9, bytes: 1_234, crc: 9 };
    whole.encode(&mut moved);
    let view = MessageView::decode(&moved).expect("valid");
    assert_eq!((view.head(), view.envelope()), (Some(head), Some(envelope)));
    assert!(view.extents().eq([whole]));
    let at = view.states_offset();
    assert_eq!((view.states, &moved[at..at + 6]), (&b"states"[..], &b"states"[..]));
}

#[test]
fn what_is_too_large_is_refused_and_leaves_nothing() {
    let mut out = vec![1, 2, 3];
    let mut many = envelope(RECIPIENTS_MAX + 1);
    let own = head(Origin::Own);
    assert_eq!(encode_message(&own, &many, 1, &mut out), Err(DoesNotFit));
    many.recipients.clear();
    assert_eq!(encode_message(&own, &many, 1, &mut out), Err(DoesNotFit), "no recipient");
    let prefix = vec![b'x'; PREFIX_MAX + 1];
    let long = MessageHead { prefix: &prefix, ..head(Origin::Own) };
    assert_eq!(encode_message(&long, &envelope(1), 1, &mut out), Err(DoesNotFit));
    let mut original = envelope(1);
    let address = "x".repeat(ORIGINAL_MAX).into();
    original.recipients[0].original = Some(OriginalRecipient { kind: "rfc822".into(), address });
    assert_eq!(encode_message(&own, &original, 1, &mut out), Err(DoesNotFit));
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn no_octets_make_decoding_panic() {
    let valid = encoded(&head(Origin::Own), &envelope(7));
    for cut in 0..valid.len() {
        assert!(MessageView::decode(&valid[..cut]).is_none(), "cut at {cut}");
    }
    for seed in 0..20_000 {
        let mut prng = Prng::from_number(seed);
        let mut bytes = valid.clone();
        for _ in 0..=prng.below(4) {
            let place = usize::try_from(prng.below(bytes.len() as u64)).unwrap();
            bytes[place] = prng.next_u64().to_le_bytes()[0];
        }
        if let Some(view) = MessageView::decode(&bytes) {
            let _ = (view.head(), view.envelope(), view.extents().count());
        }
    }
}
