//! Write MAIL and RCPT with the parameters that the peer understands.
//!
//! In: the envelope and the peer's extensions. Out: command lines. Invariant: a parameter is sent
//! only where its extension is offered (RFC 5321 §2.2.1); nothing but a path, whose type proves it
//! well-formed, is written as it came: all else is encoded, so no value can end a line.

use std::io::Write;

use crate::mail::envelope::{BodyType, Notify, OriginalRecipient, Recipient, Ret, TlsWish};
use crate::mail::handling::{By, Late};
use crate::smtp::client::{PeerExtensions, Transaction};

/// Append `MAIL FROM:<…>` and its parameters.
pub(super) fn write_mail(
    transaction: &Transaction,
    extensions: &PeerExtensions,
    into: &mut Vec<u8>,
) {
    let envelope = &transaction.envelope;
    write(into, format_args!("MAIL FROM:<{}>", transaction.sender()));
    if extensions.size.is_some() && transaction.content_bytes > 0 {
        write(into, format_args!(" SIZE={}", transaction.content_bytes));
    }
    if extensions.binary_mime && envelope.body_type == BodyType::BinaryMime {
        into.extend_from_slice(b" BODY=BINARYMIME");
    } else if extensions.eight_bit_mime
        && (transaction.has_eight_bit || envelope.body_type == BodyType::EightBitMime)
    {
        into.extend_from_slice(b" BODY=8BITMIME");
    }
    if extensions.smtp_utf8 && envelope.smtp_utf8 {
        into.extend_from_slice(b" SMTPUTF8");
    }
    if extensions.require_tls && envelope.tls == TlsWish::Required {
        into.extend_from_slice(b" REQUIRETLS");
    }
    let priority = envelope.handling.as_ref().map_or(0, |handling| handling.priority.value());
    if extensions.priority && priority != 0 {
        write(into, format_args!(" MT-PRIORITY={priority}"));
    }
    if let Some(By { seconds, late, trace }) = transaction.by.filter(|_| extensions.deliver_by) {
        let mode = if late == Late::Return { "R" } else { "N" };
        write(into, format_args!(" BY={seconds};{mode}{}", if trace { "T" } else { "" }));
    }
    if extensions.dsn {
        match envelope.ret {
            Some(Ret::Full) => into.extend_from_slice(b" RET=FULL"),
            Some(Ret::Headers) => into.extend_from_slice(b" RET=HDRS"),
            None => {}
        }
        if let Some(envelope_id) = &envelope.envelope_id {
            into.extend_from_slice(b" ENVID=");
            write_xtext(envelope_id, into);
        }
    }
    into.extend_from_slice(b"\r\n");
}

/// Append `RCPT TO:<…>` and its parameters.
pub(super) fn write_rcpt(recipient: &Recipient, extensions: &PeerExtensions, into: &mut Vec<u8>) {
    write(into, format_args!("RCPT TO:{}", recipient.forward_path));
    if extensions.dsn {
        write_notify(recipient.notify, into);
        if let Some(original) = &recipient.original {
            write_original(original, into);
        }
    }
    into.extend_from_slice(b"\r\n");
}

/// RFC 3461 §4.1.
fn write_notify(notify: Notify, into: &mut Vec<u8>) {
    let (success, failure, delay) = match notify {
        Notify::Default => return,
        Notify::Never => return into.extend_from_slice(b" NOTIFY=NEVER"),
        Notify::When { success, failure, delay } => (success, failure, delay),
    };
    let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
    let mut separator = " NOTIFY=";
    for (_, word) in words.iter().filter(|(asked, _)| *asked) {
        write(into, format_args!("{separator}{word}"));
        separator = ",";
    }
}

/// RFC 3461 §4.2; RFC 6533 §3 for the address type utf-8.
fn write_original(original: &OriginalRecipient, into: &mut Vec<u8>) {
    into.extend_from_slice(b" ORCPT=");
    write_xtext(&original.kind, into);
    into.push(b';');
    if original.kind.eq_ignore_ascii_case("utf-8") {
        write_utf8_address(&original.address, into);
    } else {
        write_xtext(&original.address, into);
    }
}

/// RFC 3461 §4: printable ASCII but `+` and `=` stands for itself, the rest is `+` and two digits.
fn write_xtext(text: &str, into: &mut Vec<u8>) {
    for octet in text.bytes() {
        match octet {
            b'+' | b'=' | ..=b' ' | 0x7f.. => write(into, format_args!("+{octet:02X}")),
            octet => into.push(octet),
        }
    }
}

/// RFC 6533 §3 utf-8-addr-xtext, which any peer with DSN can carry: `\x{…}` for what is not ASCII.
/// What came so already goes on as it is.
fn write_utf8_address(address: &str, into: &mut Vec<u8>) {
    let mut rest = address;
    while let Some(character) = rest.chars().next() {
        let octets = escape_octets(rest).unwrap_or(character.len_utf8());
        let (piece, behind) = rest.split_at(octets);
        match character {
            '\\' if octets > 1 => into.extend_from_slice(piece.as_bytes()),
            '+' | '=' | '\\' | ..=' ' | '\x7f'.. => {
                write(into, format_args!("\\x{{{:02X}}}", u32::from(character)));
            }
            _ => into.extend_from_slice(piece.as_bytes()),
        }
        rest = behind;
    }
}

/// Octets of the `\x{hex}` that `text` begins with.
fn escape_octets(text: &str) -> Option<usize> {
    let (hex, _) = text.strip_prefix("\\x{")?.split_once('}')?;
    let is_hex = (2..=6).contains(&hex.len()) && hex.bytes().all(|octet| octet.is_ascii_hexdigit());
    is_hex.then_some("\\x{}".len() + hex.len())
}

fn write(into: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    into.write_fmt(text).expect("a Vec takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::{ForwardPath, Mailbox, ReversePath};
    use crate::mail::envelope::Envelope;
    use crate::mail::handling::{Handling, Priority};
    use std::sync::Arc;

    fn recipient(notify: Notify, original: Option<(&str, &str)>) -> Recipient {
        let mailbox = Mailbox::parse("rené@example.org", true).expect("an address");
        let original = original.map(|(kind, address)| OriginalRecipient {
            kind: kind.into(),
            address: address.into(),
        });
        Recipient { forward_path: ForwardPath::Mailbox(mailbox), notify, original }
    }

    fn mail(change: impl FnOnce(&mut Envelope), extensions: &PeerExtensions) -> String {
        mail_by(change, None, extensions)
    }

    fn mail_by(
        change: impl FnOnce(&mut Envelope),
        by: Option<By>,
        extensions: &PeerExtensions,
    ) -> String {
        let sender = Mailbox::parse("a@example.com", false).expect("an address");
        let mut envelope = Envelope::plain(ReversePath(Some(sender)), Vec::new());
        change(&mut envelope);
        let transaction = Transaction {
            envelope: Arc::new(envelope),
            reverse_path: None,
            recipients: vec![0],
            content_bytes: 1_000,
            has_eight_bit: false,
            header_has_eight_bit: false,
            by,
        };
        let mut line = Vec::new();
        write_mail(&transaction, extensions, &mut line);
        String::from_utf8(line).expect("text")
    }

    fn rcpt(recipient: &Recipient, extensions: &PeerExtensions) -> String {
        let mut line = Vec::new();
        write_rcpt(recipient, extensions, &mut line);
        String::from_utf8(line).expect("text")
    }

    fn everything() -> PeerExtensions {
        PeerExtensions {
            esmtp: true,
            eight_bit_mime: true,
            binary_mime: true,
            smtp_utf8: true,
            dsn: true,
            priority: true,
            size: Some(0),
            ..PeerExtensions::default()
        }
    }

    fn ask_everything(envelope: &mut Envelope) {
        let priority = Priority::new(-4).expect("in range");
        envelope.handling = Handling { priority, ..Handling::default() }.boxed();
        envelope.body_type = BodyType::BinaryMime;
        envelope.smtp_utf8 = true;
        envelope.ret = Some(Ret::Headers);
        envelope.envelope_id = Some("a+b=c d\r\né".into());
    }

    #[test]
    fn parameters_go_only_to_peers_that_offer_them() {
        let plain = PeerExtensions::default();
        assert_eq!(mail(ask_everything, &plain), "MAIL FROM:<a@example.com>\r\n");
        assert_eq!(
            mail(ask_everything, &everything()),
            "MAIL FROM:<a@example.com> SIZE=1000 BODY=BINARYMIME SMTPUTF8 MT-PRIORITY=-4 RET=HDRS \
             ENVID=a+2Bb+3Dc+20d+0D+0A+C3+A9\r\n"
        );
        let asked = recipient(Notify::Never, Some(("rfc822", "x@y")));
        assert_eq!(rcpt(&asked, &plain), "RCPT TO:<rené@example.org>\r\n");
    }

    #[test]
    fn a_time_goes_to_peers_that_keep_it() {
        let offers = PeerExtensions { deliver_by: true, ..PeerExtensions::default() };
        for (seconds, late, trace, said) in
            [(120, Late::Return, false, " BY=120;R"), (-7, Late::Notify, true, " BY=-7;NT")]
        {
            let by = Some(By { seconds, late, trace });
            let line = mail_by(|_| {}, by, &offers);
            assert_eq!(line, format!("MAIL FROM:<a@example.com>{said}\r\n"));
            let line = mail_by(|_| {}, by, &PeerExtensions::default());
            assert_eq!(line, "MAIL FROM:<a@example.com>\r\n");
        }
    }

    #[test]
    fn what_was_not_asked_is_not_said() {
        assert_eq!(mail(|_| {}, &everything()), "MAIL FROM:<a@example.com> SIZE=1000\r\n");
        let silent = recipient(Notify::Default, None);
        assert_eq!(rcpt(&silent, &everything()), "RCPT TO:<rené@example.org>\r\n");
    }

    #[test]
    fn a_null_reverse_path_and_the_bare_postmaster_are_written() {
        let null = |envelope: &mut Envelope| envelope.reverse_path = ReversePath::NULL;
        assert_eq!(mail(null, &PeerExtensions::default()), "MAIL FROM:<>\r\n");
        let postmaster = Recipient {
            forward_path: ForwardPath::Postmaster,
            notify: Notify::Default,
            original: None,
        };
        assert_eq!(rcpt(&postmaster, &everything()), "RCPT TO:<postmaster>\r\n");
    }

    #[test]
    fn notify_and_orcpt_are_passed_on() {
        let when = Notify::When { success: true, failure: false, delay: true };
        let asked = recipient(when, Some(("rfc822", "r e+n@x=y")));
        assert_eq!(
            rcpt(&asked, &everything()),
            "RCPT TO:<rené@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;r+20e+2Bn@x+3Dy\r\n"
        );
        let wide = recipient(Notify::Never, Some(("utf-8", "rené+\\@x")));
        assert_eq!(
            rcpt(&wide, &everything()),
            "RCPT TO:<rené@example.org> NOTIFY=NEVER ORCPT=utf-8;ren\\x{E9}\\x{2B}\\x{5C}@x\r\n"
        );
        let escaped = recipient(Notify::Never, Some(("utf-8", "ren\\x{E9}é\\x{}\\x{g0}@x")));
        assert_eq!(
            rcpt(&escaped, &everything()),
            "RCPT TO:<rené@example.org> NOTIFY=NEVER \
             ORCPT=utf-8;ren\\x{E9}\\x{E9}\\x{5C}x{}\\x{5C}x{g0}@x\r\n"
        );
    }

    #[test]
    fn no_value_can_end_a_line() {
        let hostile = recipient(Notify::Default, Some(("x\r\nRSET", "y\r\nDATA\r\n")));
        let line = rcpt(&hostile, &everything());
        assert_eq!(line.matches(['\r', '\n']).count(), 2, "{line:?}");
        let hostile = recipient(Notify::Default, Some(("utf-8", "y\r\nDATA\u{85}")));
        let line = rcpt(&hostile, &everything());
        assert_eq!(line.matches(['\r', '\n', '\u{85}']).count(), 2, "{line:?}");
    }
}
