//! Content against a slow reader written from the clause, at every split.

use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules {
    framing: Framing::Dot,
    line_endings: LineEndings::Strict,
    line_max: 1_000,
    bytes_max: u64::MAX,
};

#[derive(Debug, PartialEq, Eq)]
struct Read {
    content: Vec<u8>,
    fault: Option<Fault>,
    ended: bool,
    used: usize,
    eight_bit: bool,
}

/// Decode `input` in pieces of the lengths given, the last of them repeated.
fn read(rules: Rules, input: &[u8], pieces: &[usize]) -> Read {
    let mut decoder = Decoder::new(rules);
    let mut content = Vec::new();
    let (mut used, mut ended) = (0, false);
    let mut piece = 0;
    while used < input.len() && !ended {
        let length = pieces[piece.min(pieces.len() - 1)].max(1);
        piece += 1;
        let end = input.len().min(used.saturating_add(length));
        let (taken, progress) = decoder.decode(&input[used..end], &mut content, usize::MAX);
        ended = progress == Progress::End;
        assert!(ended || taken == end - used, "all is used where there is room");
        used += taken;
    }
    if rules.framing != Framing::Dot {
        decoder.finish(&mut content);
    }
    let fault = decoder.fault();
    if fault.is_none() {
        assert_eq!(decoder.bytes(), content.len() as u64);
    }
    Read { content, fault, ended, used, eight_bit: decoder.is_eight_bit() }
}

fn whole(rules: Rules, input: &[u8]) -> Read {
    read(rules, input, &[usize::MAX])
}

/// What `input` is by the letter of RFC 5321 §4.5.2, octet by octet: its content with bare line
/// endings in place, and where it ends.
fn by_the_letter(input: &[u8]) -> (Vec<u8>, Option<usize>) {
    let mut content = Vec::new();
    let mut at = 0;
    let mut line_start = true;
    while at < input.len() {
        if line_start && input[at..].starts_with(b".\r\n") {
            return (content, Some(at + 3));
        }
        if line_start && input[at] == b'.' {
            at += 1;
            line_start = false;
            continue;
        }
        line_start = input[at..].starts_with(b"\r\n");
        let length = if line_start { 2 } else { 1 };
        content.extend_from_slice(&input[at..at + length]);
        at += length;
    }
    (content, None)
}

/// Every CR or LF that is not part of a CR LF becomes one.
fn normalized(content: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut octets = content.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        match octet {
            b'\r' => {
                octets.next_if_eq(&b'\n');
                lines.extend_from_slice(b"\r\n");
            }
            b'\n' => lines.extend_from_slice(b"\r\n"),
            other => lines.push(other),
        }
    }
    lines
}

//= RFC 5321 §4.5.2, type=test
//# If the line is composed of a single period, it is treated as the end of mail indicator.
#[test]
fn a_single_period_ends_content() {
    let ends = |input: &[u8], content: &[u8], used: usize| {
        let expected =
            Read { content: content.to_vec(), fault: None, ended: true, used, eight_bit: false };
        assert_eq!(whole(RULES, input), expected);
    };
    ends(b".\r\nQUIT\r\n", b"", 3);
    ends(b"a\r\n.\r\nQUIT\r\n", b"a\r\n", 6);
    ends(b"\r\n.\r\n", b"\r\n", 5);
}

//= RFC 5321 §4.5.2, type=test
//# If the first character is a period and there are other characters on the line, the first
//# character is deleted.
#[test]
fn a_stuffed_period_goes_and_no_other() {
    let content = whole(RULES, b"..\r\n...a\r\n.b\r\nc.\r\n..\r\n.\r\n").content;
    assert_eq!(content, b".\r\n..a\r\nb\r\nc.\r\n.\r\n");
}

#[test]
fn a_fault_is_found_and_content_is_read_to_its_true_end() {
    let fault = |input: &[u8]| {
        let read = whole(RULES, input);
        assert!(read.ended && read.used == input.len(), "{input:?}: {read:?}");
        read.fault
    };
    assert_eq!(fault(b"a\nb\r\n.\r\n"), Some(Fault::BareLineEnding));
    assert_eq!(fault(b"a\rb\r\n.\r\n"), Some(Fault::BareLineEnding));
    assert_eq!(fault(b"a\r\r\n.\r\n"), Some(Fault::BareLineEnding));
    assert_eq!(fault(b".\r\r\n.\r\n"), Some(Fault::BareLineEnding));
    assert_eq!(fault(b"a\0b\r\n.\r\n"), Some(Fault::Nul));
    let mut long = vec![b'x'; 998];
    long.extend_from_slice(b"\r\n.\r\n");
    assert_eq!(fault(&long), None);
    long.insert(0, b'x');
    assert_eq!(fault(&long), Some(Fault::LineTooLong));
    long[0] = b'.';
    assert_eq!(fault(&long), None, "a stuffed dot does not count");
}

#[test]
fn a_message_may_have_just_so_many_octets() {
    let rules = Rules { bytes_max: 7, ..RULES };
    assert_eq!(whole(rules, b"..abcd\r\n.\r\n").fault, None);
    assert_eq!(whole(rules, b"..abcde\r\n.\r\n").fault, Some(Fault::TooBig));
}

#[test]
fn chunks_have_no_dots_and_end_where_they_are_said_to() {
    let rules = Rules { framing: Framing::Chunked, ..RULES };
    assert_eq!(whole(rules, b"a\r\n.\r\n..\r\n").content, b"a\r\n.\r\n..\r\n");
    assert_eq!(whole(rules, b"no end of line").content, b"no end of line");
    assert_eq!(whole(rules, b"a\r").fault, Some(Fault::BareLineEnding));
    let binary = Rules { framing: Framing::Binary, line_max: 1, ..RULES };
    let octets: Vec<u8> = (0..=255).collect();
    let read = whole(binary, &octets);
    assert_eq!((read.content, read.fault, read.eight_bit), (octets, None, true));
}

#[test]
fn room_is_never_passed_and_full_loses_nothing() {
    let input = b"\n\n\r\r\na\r\n..b\r\n\r\r\r\n".repeat(50);
    let expected = {
        let rules = Rules { line_endings: LineEndings::Normalize, ..RULES };
        whole(rules, &input).content
    };
    for room in 8..40 {
        let rules = Rules { line_endings: LineEndings::Normalize, ..RULES };
        let mut decoder = Decoder::new(rules);
        let (mut all, mut part, mut used) = (Vec::new(), Vec::new(), 0);
        while used < input.len() {
            let (taken, progress) = decoder.decode(&input[used..], &mut part, room);
            used += taken;
            assert!(part.len() <= room, "{} in room for {room}", part.len());
            assert!(progress == Progress::More || !part.is_empty(), "room {room} is of no use");
            all.append(&mut part);
        }
        assert_eq!(all, expected, "room {room}");
    }
}

/// Input of the octets that decide, and others.
fn telling_octets() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(b"\r\n".to_vec()),
        3 => Just(b".".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => Just(b"\n".to_vec()),
        1 => Just(b"\r\n.\r\n".to_vec()),
        3 => Just(b"a".to_vec()),
        1 => Just("é".as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

#[test]
fn of_several_faults_the_same_counts_however_the_octets_come() {
    let rules = Rules { line_max: 10, bytes_max: 20, ..RULES };
    for (input, expected) in [
        (&b"0123456789012345678901234\r\n.\r\n"[..], Fault::TooBig),
        (b"0123456789012\r\na\nb\r\n.\r\n", Fault::BareLineEnding),
        (b"a\nb\0\r\n0123456789012\r\n.\r\n", Fault::Nul),
        (b"a\n\0\r\n01234567890123456789\r\n.\r\n", Fault::TooBig),
    ] {
        for length in (1..=input.len()).chain([usize::MAX]) {
            assert_eq!(read(rules, input, &[length]).fault, Some(expected), "pieces of {length}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_reads_what_the_clause_says(
        input in telling_octets(),
        pieces in proptest::collection::vec(1usize..6, 1..80),
    ) {
        let (content, end) = by_the_letter(&input);
        let read = read(Rules { line_endings: LineEndings::Normalize, ..RULES }, &input, &pieces);
        prop_assert_eq!(read.ended, end.is_some());
        prop_assert_eq!(read.used, end.unwrap_or(input.len()));
        if read.ended {
            prop_assert_eq!(read.content, normalized(&content));
        }
    }

    #[test]
    fn strict_refuses_what_normalizing_would_change(
        input in telling_octets(),
        pieces in proptest::collection::vec(1usize..6, 1..80),
    ) {
        let (content, end) = by_the_letter(&input);
        let read = read(RULES, &input, &pieces);
        prop_assert_eq!((read.ended, read.used), (end.is_some(), end.unwrap_or(input.len())));
        if read.ended && normalized(&content) == content {
            prop_assert_eq!(read.fault, None);
            prop_assert_eq!(read.eight_bit, !content.is_ascii());
            prop_assert_eq!(read.content, content);
        } else if read.ended {
            prop_assert_eq!(read.fault, Some(Fault::BareLineEnding));
        }
    }

    /// Lines that are read many at a time come to what they come to octet by octet, whatever their
    /// length and what stands among them.
    #[test]
    fn many_lines_at_once_are_what_they_are_one_by_one(
        lines in proptest::collection::vec((0usize..60, "\\.{0,2}a?", 0usize..24), 1..40),
        line_max in 2usize..40,
        pieces in proptest::collection::vec(1usize..400, 1..8),
        chunked in any::<bool>(),
        normalize in any::<bool>(),
    ) {
        let mut input = Vec::new();
        for (kind, start, length) in &lines {
            input.extend_from_slice(start.as_bytes());
            input.extend(std::iter::repeat_n(b'x', *length));
            let end: &[u8] = match kind {
                0 => b"\n",
                1 => b"\r",
                2 => b"\0\r\n",
                _ => b"\r\n",
            };
            input.extend_from_slice(end);
        }
        let rules = Rules {
            framing: if chunked { Framing::Chunked } else { Framing::Dot },
            line_endings: if normalize { LineEndings::Normalize } else { LineEndings::Strict },
            line_max,
            bytes_max: u64::MAX,
        };
        let one_by_one = read(rules, &input, &[1]);
        prop_assert_eq!(&whole(rules, &input).fault, &one_by_one.fault);
        if one_by_one.fault.is_none() {
            prop_assert_eq!(&whole(rules, &input), &one_by_one);
            prop_assert_eq!(&read(rules, &input, &pieces), &one_by_one);
        }
    }
}
