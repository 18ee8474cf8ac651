//! Milters that say what they may not, and say it without end.

use proptest::prelude::*;

use super::*;
use crate::base::limits::{MILTER_PACKET_MAX, MILTER_PROGRESS_MAX};

#[test]
fn what_is_not_the_protocol_is_a_failure() {
    let letter = letter(&visitor(25_000), &[b"Hello\r\n"]);
    let at_mail: [(u8, &[u8]); 6] = [
        (b'h', b"X-A\0one\0"),
        (b'b', b"body"),
        (b's', b""),
        (b'z', b""),
        (b'O', b""),
        (b'y', b"250 fine\0"),
    ];
    for (what, data) in at_mail {
        let mut client = begun(&letter, 6, 0);
        output(&mut client, Some(&letter));
        say(&mut client, &[(b'c', b""), (b'c', b""), (what, data)]);
        let why = failure(&mut client);
        assert!(matches!(why, Failure::Protocol(_, Stage::Mail)), "{}: {why}", what as char);
        assert!(client.is_over() && output(&mut client, Some(&letter)).is_empty());
    }
    let at_end: [(u8, &[u8]); 5] =
        [(b'h', b"X A\0one\0"), (b's', b""), (b'z', b""), (b'i', b"\0"), (b'b', b"\0")];
    for (what, data) in at_end {
        let mut client = begun(&letter, 6, SILENT);
        output(&mut client, Some(&letter));
        say(&mut client, &[(what, data), (b'c', b"")]);
        let why = failure(&mut client);
        assert!(matches!(why, Failure::Protocol(_, Stage::End)), "{}: {why}", what as char);
    }
}

#[test]
fn words_that_answer_nothing_are_a_failure() {
    let letter = letter(&visitor(25_000), &[]);
    let mut early = Client::new(OPTIONS, start());
    early.handle_connected();
    early.begin(&letter.visitor, start());
    let words = [options(6, 0), packet(b'c', b"")].concat();
    early.handle_bytes(&words, start());
    assert!(matches!(failure(&mut early), Failure::Protocol(..)), "nothing was told");
    let mut late = begun(&letter, 6, SILENT);
    output(&mut late, Some(&letter));
    late.handle_bytes(&[packet(b'c', b""), packet(b'c', b"")].concat(), start());
    assert_eq!(verdict(&mut late), Some(Verdict::Accept), "what it said before stands");
    assert!(late.is_over());
    let mut half = begun(&letter, 6, SILENT);
    output(&mut half, Some(&letter));
    half.handle_bytes(&[packet(b'c', b""), vec![0]].concat(), start());
    assert_eq!(verdict(&mut half), Some(Verdict::Accept));
    assert!(half.is_over(), "what has begun belongs to no message");
}

#[test]
fn progress_and_bodies_have_an_end() {
    let letter = letter(&visitor(25_000), &[]);
    let mut endless = begun(&letter, 6, SILENT);
    output(&mut endless, Some(&letter));
    (0..MILTER_PROGRESS_MAX).for_each(|_| say(&mut endless, &[(b'p', b"")]));
    assert_eq!(endless.poll_event(), None);
    say(&mut endless, &[(b'p', b"")]);
    assert!(matches!(failure(&mut endless), Failure::Protocol("endless progress", _)));
    let mut large = begun(&letter, 6, SILENT);
    output(&mut large, Some(&letter));
    let chunk = vec![b'x'; MILTER_CHUNK_MAX];
    for _ in 0..OPTIONS.body_max as usize / chunk.len() {
        say(&mut large, &[(b'b', &chunk)]);
        assert!(!large.is_over());
    }
    assert!(large.memory() < 2 * OPTIONS.body_max as usize + 2 * MILTER_PACKET_MAX);
    say(&mut large, &[(b'b', &chunk)]);
    assert!(matches!(failure(&mut large), Failure::Protocol(..)));
    assert!(large.memory() <= 2 * (MILTER_PACKET_MAX + 4), "and it is let go");
}

proptest! {
    #[test]
    fn no_words_break_it(words in proptest::collection::vec(any::<u8>(), 0..400), agreed: bool) {
        let letter = letter(&visitor(25_000), &[b"Hello\r\n"]);
        let mut client = Client::new(OPTIONS, start());
        client.handle_connected();
        client.begin(&letter.visitor, start());
        if agreed {
            client.handle_bytes(&options(6, 0), start());
        }
        output(&mut client, Some(&letter));
        client.handle_bytes(&words, start());
        output(&mut client, Some(&letter));
    }

    #[test]
    fn no_packets_break_it(
        packets in proptest::collection::vec(
            (
                prop::sample::select(&b"casdrtyfhimb+-2eqp4lz"[..]),
                proptest::collection::vec(any::<u8>(), 0..40),
            ),
            0..40,
        ),
    ) {
        let letter = letter(&visitor(25_000), &[b"Hello\r\n"]);
        let mut client = begun(&letter, 6, SILENT);
        output(&mut client, Some(&letter));
        for (what, data) in packets {
            client.handle_bytes(&packet(what, &data), start());
            output(&mut client, Some(&letter));
        }
        client.handle_lost("the end");
        prop_assert!(client.is_over() && client.poll_event().is_some());
    }
}
