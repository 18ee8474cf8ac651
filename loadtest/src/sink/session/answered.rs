//! Write down each answer that decides about a recipient, for now or for good.
//!
//! Out: a line a recipient: client, listener, recipient, reply code, enhanced status. Invariant: an
//! answer that lets the transaction go on is no decision.

use std::io::Write as _;

use super::{Effect, Session};

impl Session {
    /// Notes what a reply decides.
    pub(super) fn note_answer(&self, reply: &[u8], effect: Effect) {
        let taken = reply.first().is_some_and(|&digit| digit < b'4');
        match effect {
            Effect::Record => self.recipients.iter().for_each(|one| self.note(one, reply)),
            Effect::Mail if !taken => self.note(b"-", reply),
            Effect::Rcpt if !taken => self.note(self.recipients.proposed(), reply),
            Effect::Content if !taken => {
                self.recipients.iter().for_each(|one| self.note(one, reply));
            }
            Effect::None | Effect::Greeted | Effect::Hello | Effect::Secure | Effect::Mail => {}
            Effect::Rcpt | Effect::Content | Effect::Quit => {}
        }
    }

    fn note(&self, recipient: &[u8], reply: &[u8]) {
        let (client, listener) = (self.client, &self.listener.name);
        self.shared.answered.append(|out| {
            write!(out, "{client} {listener} ").expect("memory takes every write");
            out.extend(recipient.iter().map(|&octet| if octet <= b' ' { b'_' } else { octet }));
            out.push(b' ');
            out.extend_from_slice(reply.get(..3).unwrap_or(b"000"));
            out.push(b' ');
            out.extend_from_slice(status(reply).unwrap_or(b"-"));
            out.push(b'\n');
        });
    }
}

/// The enhanced status of a reply (RFC 2034), where it has one.
fn status(reply: &[u8]) -> Option<&[u8]> {
    let word = reply.get(4..)?.split(|octet| octet.is_ascii_whitespace()).next()?;
    let is_one = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let mut parts = word.split(|&octet| octet == b'.');
    let is_status = parts.by_ref().take(3).filter(|part| is_one(part)).count() == 3;
    (is_status && parts.next().is_none()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn a_reply_has_a_status_or_none() {
        assert_eq!(status(b"550 5.1.1 No such user\r\n"), Some(&b"5.1.1"[..]));
        assert_eq!(status(b"421-4.7.0\r\n"), Some(&b"4.7.0"[..]));
        for reply in ["250 Ok\r\n", "550 5.1 x\r\n", "550 1.2.3.4\r\n", "354\r\n", "550 ..1\r\n"] {
            assert_eq!(status(reply.as_bytes()), None, "{reply}");
        }
    }
}
