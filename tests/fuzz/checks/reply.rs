//! Replies of a peer: the same at every split, bounded, and safe to show.
//!
//! Input: cuts; then octets of a peer.

use relay_fast::base::limits::{REPLY_LINE_MAX, REPLY_LINES_MAX, REPLY_TEXT_MAX};
use relay_fast::mail::status::Reply;
use relay_fast::smtp::peer_reply::{NotAReply, ReplyReader};

use super::cuts::Cuts;
use super::taken::assert_clean;

type Read = (Vec<Result<Reply, NotAReply>>, Vec<String>, bool);

/// The check.
pub(crate) fn check(data: &[u8]) {
    let Some((&cuts, octets)) = data.split_first() else { return };
    let whole = read(octets, Cuts::Free(0));
    assert_eq!(whole, read(octets, Cuts::LinesAnd(cuts)), "a split matters");
    let (replies, lines, _) = whole;
    compare(octets, &replies);
    lines.iter().for_each(|line| assert_clean(line));
    for reply in replies.iter().flatten() {
        assert_reply(reply);
    }
    for error in replies.iter().filter_map(|reply| reply.as_ref().err()) {
        assert_clean(&error.to_string());
    }
}

/// Beside a slow reading: the codes of all replies up to the first line that is none.
fn compare(octets: &[u8], replies: &[Result<Reply, NotAReply>]) {
    let mut codes = replies.iter().flatten().map(|reply| reply.code.as_u16());
    let (mut amid, mut lines) = (None, 0);
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let Some(line) = line.strip_suffix(b"\n").filter(|it| it.len() < REPLY_LINE_MAX) else {
            break;
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(code) = code(line).filter(|code| amid.is_none_or(|before| before == *code)) else {
            assert!(replies.last().is_some_and(Result::is_err), "{:?}", line.escape_ascii());
            break;
        };
        lines += 1;
        if lines > REPLY_LINES_MAX {
            break;
        }
        amid = (line.get(3) == Some(&b'-')).then_some(code);
        if amid.is_none() {
            let known = if code / 10 % 10 <= 5 { code } else { code / 100 * 100 + 50 };
            assert_eq!(codes.next(), Some(known));
            lines = 0;
        }
    }
    assert_eq!(codes.next(), None, "a reply that nobody gave");
}

/// Of a line that is one of a reply.
fn code(line: &[u8]) -> Option<u16> {
    let (digits, rest) = line.split_at_checked(3)?;
    let fits = matches!(digits, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']);
    let goes_on = matches!(rest.first(), None | Some(b' ' | b'-'));
    (fits && goes_on).then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

fn read(octets: &[u8], cuts: Cuts) -> Read {
    let (mut replies, mut lines) = (Vec::new(), Vec::new());
    let mut reader = ReplyReader::default();
    for mut piece in cuts.pieces(octets) {
        loop {
            match reader.handle_bytes(&mut piece, |line| lines.push(line.to_owned())) {
                Some(Ok(reply)) => replies.push(Ok(reply)),
                Some(Err(error)) => {
                    replies.push(Err(error));
                    return (replies, lines, false);
                }
                None => break,
            }
        }
        assert!(piece.is_empty(), "octets are left");
    }
    (replies, lines, reader.is_amid())
}

fn assert_reply(reply: &Reply) {
    let code = reply.code.as_u16();
    assert!((200..=559).contains(&code) && code / 10 % 10 <= 5);
    assert!(reply.text.len() <= REPLY_TEXT_MAX);
    assert!(reply.text.lines().count() <= REPLY_LINES_MAX);
    reply.text.split('\n').for_each(assert_clean);
    let class = reply.enhanced.map(|status| u16::from(status.class));
    assert!(class.is_none_or(|class| class == code / 100), "another class");
    assert_clean(&reply.to_string().replace('\n', " "));
    // Written as a peer would, it reads back; a class is lost that the text begins with too.
    let mut text = String::new();
    let mut lines = reply.text.split('\n').peekable();
    while let Some(line) = lines.next() {
        let separator = if lines.peek().is_some() { '-' } else { ' ' };
        let status = reply.enhanced.map_or(String::new(), |status| format!("{status} "));
        text.push_str(&format!("{code}{separator}{status}{line}\r\n"));
    }
    if text.len() <= REPLY_LINE_MAX {
        let (again, _, amid) = read(text.as_bytes(), Cuts::Free(0));
        assert!(!amid && again.len() == 1, "{text:?}");
        let again = again[0].as_ref().expect("a reply");
        assert_eq!(again.code, reply.code);
        assert!(reply.enhanced.is_none() || again == reply, "{reply:?} {again:?}");
    }
}
