//! Take the commands apart that the sink answers: verbs, paths and chunk sizes.

/// The verb in upper case, where it has four letters, and what follows its blank.
pub(crate) fn verb(line: &[u8]) -> Option<([u8; 4], &[u8])> {
    let (verb, rest) = match memchr::memchr(b' ', line) {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, &b""[..]),
    };
    let mut upper: [u8; 4] = verb.try_into().ok()?;
    upper.make_ascii_uppercase();
    Some((upper, rest))
}

/// Octets of a chunk and whether it is the last (RFC 3030 §2).
pub(crate) fn chunk(rest: &[u8]) -> Option<(u64, bool)> {
    let mut words = rest.split(|&octet| octet == b' ');
    let size = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    match words.next() {
        None => Some((size, false)),
        Some(word) => word.eq_ignore_ascii_case(b"LAST").then_some((size, true)),
    }
}

/// The path and the parameters of `FROM:<path> parameters`.
pub(crate) fn path<'a>(rest: &'a [u8], keyword: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (head, rest) = rest.split_at_checked(keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let rest = rest.strip_prefix(b"<")?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, &octet) in rest.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => {
                let parameters = &rest[at + 1..];
                return match parameters.first() {
                    None | Some(b' ') => Some((&rest[..at], parameters)),
                    Some(_) => None,
                };
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_ends_at_the_bracket_that_is_not_quoted() {
        let parts = path(b"to:<\"a>\\\"b\"@c> NOTIFY=NEVER", b"TO:").unwrap();
        assert_eq!(parts, (b"\"a>\\\"b\"@c".as_slice(), b" NOTIFY=NEVER".as_slice()));
        assert_eq!(path(b"FROM:<>", b"FROM:"), Some((b"".as_slice(), b"".as_slice())));
        for wrong in ["FROM:a@b", "FROM:<a@b", "FROM: <a@b>", "FROM:<a@b>x", "FRO", "TO:<a@b>"] {
            assert_eq!(path(wrong.as_bytes(), b"FROM:"), None, "{wrong}");
        }
    }

    #[test]
    fn a_chunk_has_a_size_and_may_be_the_last() {
        assert_eq!(chunk(b"0"), Some((0, false)));
        assert_eq!(chunk(b"86 last"), Some((86, true)));
        for wrong in ["", "x", "-1", "5 FIRST", "99999999999999999999"] {
            assert_eq!(chunk(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn verbs_have_four_letters_in_any_case() {
        assert_eq!(verb(b"mAil FROM:<>"), Some((*b"MAIL", b"FROM:<>".as_slice())));
        assert_eq!(verb(b"QUIT"), Some((*b"QUIT", b"".as_slice())));
        assert_eq!(verb(b"HELLO x"), None);
    }
}
