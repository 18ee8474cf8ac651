//! What content must be, by the octets that carried it: a slow reading beside the relay's fast one.

/// How content came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// DATA.
    Dot,
    /// BDAT, text.
    Chunked,
    /// BDAT, any octets.
    Binary,
}

/// No control character, and nothing that ends a path early.
pub(crate) fn assert_clean(address: &str) {
    assert!(!address.contains(char::is_control), "{address:?}");
}

/// CR and LF in pairs alone, no NUL, no line over its limit.
pub(crate) fn assert_text(content: &[u8], line_max: usize) {
    assert!(!content.contains(&0), "a NUL");
    let lines = split(content);
    assert!(lines.iter().all(|line| line.len() <= line_max), "a line over its limit");
    assert_whole_ends(content);
}

/// CR and LF in pairs alone.
pub(crate) fn assert_whole_ends(content: &[u8]) {
    let bare = |octet: &u8| matches!(octet, b'\r' | b'\n');
    assert!(!split(content).concat().iter().any(bare), "a bare line ending");
}

/// Whether the last command in `sent` is DATA, not BDAT.
pub(crate) fn is_data(sent: &[u8]) -> bool {
    let last = |word: &[u8]| sent.windows(4).rposition(|part| part.eq_ignore_ascii_case(word));
    last(b"DATA") > last(b"BDAT")
}

/// The content that `sent[begun..used]` carried. Panics where it cannot have ended there.
pub(crate) fn content(
    sent: &[u8],
    begun: usize,
    used: usize,
    framing: Framing,
    normalize: bool,
) -> Vec<u8> {
    match framing {
        Framing::Dot => data(&sent[begun..used], normalize),
        Framing::Chunked if normalize => whole_ends(&chunks(sent, begun, used)),
        Framing::Chunked | Framing::Binary => chunks(sent, begun, used),
    }
}

//= RFC 5321 §4.5.2
//# If the first character is a period and there are other characters on the line, the first
//# character is deleted.
fn data(raw: &[u8], normalize: bool) -> Vec<u8> {
    let text = match raw.strip_suffix(b"\r\n.\r\n") {
        Some(text) => [text, b"\r\n"].concat(),
        None if raw == b".\r\n" => Vec::new(),
        None => panic!("it ends without an end of data: {raw:?}"),
    };
    let mut content = Vec::new();
    let mut lines = split(&text);
    // What is behind the last CR LF is nothing.
    assert_eq!(lines.pop(), Some(&b""[..]));
    for line in lines {
        assert_ne!(line, b".", "it ended before");
        let line = line.strip_prefix(b".").unwrap_or(line);
        content.extend(if normalize { whole_ends(line) } else { line.to_vec() });
        content.extend_from_slice(b"\r\n");
    }
    content
}

/// The chunks from the one whose command ends at `at`; between them are lines of other commands.
fn chunks(sent: &[u8], begun: usize, used: usize) -> Vec<u8> {
    let mut content = Vec::new();
    let last = sent[..begun].windows(4).rposition(|part| part.eq_ignore_ascii_case(b"BDAT"));
    let (mut command, mut at) = (&sent[last.expect("BDAT")..begun], begun);
    loop {
        let text = std::str::from_utf8(command).expect("a command").trim_end();
        let mut words = text.split(' ').skip(1);
        let size = words.next().and_then(|size| size.parse().ok()).expect("a size");
        let chunk = sent.get(at..).and_then(|rest| rest.get(..size)).expect("a whole chunk");
        content.extend_from_slice(chunk);
        at += size;
        if words.next().is_some() {
            assert_eq!(at, used, "it ends behind the last chunk");
            return content;
        }
        loop {
            let rest = &sent[at..used];
            let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a command") + 2;
            at += end;
            command = &rest[..end];
            if command.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"BDAT ")) {
                break;
            }
        }
    }
}

/// Each bare CR or LF becomes a CR LF.
pub(crate) fn whole_ends(text: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    for (place, line) in split(text).into_iter().enumerate() {
        if place > 0 {
            whole.extend_from_slice(b"\r\n");
        }
        for octet in line {
            match octet {
                b'\r' | b'\n' => whole.extend_from_slice(b"\r\n"),
                octet => whole.push(*octet),
            }
        }
    }
    whole
}

/// What is between CR LFs.
fn split(text: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut rest) = (Vec::new(), text);
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    lines
}
