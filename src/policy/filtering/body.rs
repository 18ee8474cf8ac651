//! Bring what a milter wants as body into the form of mail: every line ends with CR LF.

use memchr::memchr2;

use crate::milter::Body;

/// `body` with each bare CR and bare LF made CR LF: a next hop could take them for the end of a
/// line, or of the message.
pub(super) fn with_line_ends(body: Body) -> Body {
    let mut clean = Body::default();
    let mut after_cr = false;
    for piece in body.into_pieces() {
        let mut rest = piece.as_slice();
        while let Some(&first) = rest.first() {
            if after_cr {
                clean.append(b"\r\n");
                after_cr = false;
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
                continue;
            }
            match first {
                b'\r' => after_cr = true,
                b'\n' => clean.append(b"\r\n"),
                _ => {
                    let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                    clean.append(&rest[..end]);
                    rest = &rest[end..];
                    continue;
                }
            }
            rest = &rest[1..];
        }
    }
    if after_cr {
        clean.append(b"\r\n");
    }
    clean
}
