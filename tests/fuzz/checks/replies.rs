//! Replies of the receiving side, as RFC 5321 §4.2 wants them.

/// Whole replies, each line printable and within 512 octets, each with one code.
pub(crate) fn assert_valid(output: &[u8]) {
    let mut amid = None;
    assert!(output.is_empty() || output.ends_with(b"\r\n"), "half a line");
    for line in output.split_inclusive(|octet| *octet == b'\n') {
        let text = line.strip_suffix(b"\r\n").expect("every line ends with CR LF");
        assert!(line.len() <= 512 && text.iter().all(|octet| matches!(octet, b' '..=b'~')));
        let (code, rest) = text.split_at_checked(3).expect("a code");
        assert!(matches!(code, [b'2'..=b'5', b'0'..=b'5', b'0'..=b'9']), "{code:?}");
        assert!(amid.is_none_or(|before| before == code), "a code that changes");
        amid = match rest {
            [b'-', ..] => Some(code),
            [b' ', ..] => None,
            _ => panic!("neither the last line nor one before it: {text:?}"),
        };
    }
    assert!(amid.is_none(), "a reply without its last line");
}

/// How many messages are said to be stored.
pub(crate) fn stored(output: &[u8]) -> usize {
    let stored = |line: &&[u8]| line.starts_with(b"250 2.0.0 Stored as ");
    output.split(|octet| *octet == b'\n').filter(stored).count()
}
