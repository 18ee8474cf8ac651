//! Content and envelopes to measure with, and how much of them.

#![allow(dead_code, reason = "each benchmark uses a part")]

use relay_fast::mail::address::{Mailbox, ReversePath};
use relay_fast::mail::envelope::{Envelope, Recipient};

/// `full`, or a little where criterion only looks whether the benchmark runs.
pub(crate) fn size(full: usize) -> usize {
    let is_test = std::env::args().any(|argument| argument == "--test");
    if is_test { full.min(1_000) } else { full }
}

/// About so many octets of a campaign's mail: a header, then lines of 76 octets, of which one in
/// twenty begins with a dot.
pub(crate) fn content(octets: usize) -> Vec<u8> {
    let mut content = String::from(
        "From: News <news@sender.example>\r\nTo: someone@customer.example\r\nSubject: This week\r\n\
         Date: Tue, 24 Nov 2026 03:41:01 +0000\r\nMessage-ID: <1@sender.example>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/html; charset=us-ascii\r\n\r\n",
    );
    let line = "<p>0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.</p>";
    for number in 0.. {
        if content.len() >= octets {
            break;
        }
        content.push_str(if number % 20 == 19 { ".p" } else { "  " });
        content.push_str(line);
        content.push_str("\r\n");
    }
    content.into_bytes()
}

/// A campaign's envelope: one recipient.
pub(crate) fn envelope() -> Envelope {
    let mailbox = |text| Mailbox::parse(text, false).expect("an address");
    let recipient = Recipient::plain(mailbox("someone@customer.example"));
    Envelope::plain(
        ReversePath(Some(mailbox("bounce+someone=customer.example@sender.example"))),
        vec![recipient],
    )
}
