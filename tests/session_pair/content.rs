//! Content: what goes in at one end comes out at the other, octet for octet.

use relay_fast::base::limits::{CONTENT_WINDOW, RECORD_CONTENT_MAX};
use relay_fast::base::prng::Prng;
use relay_fast::mail::envelope::BodyType;
use relay_fast::smtp::extension::Offered;

use crate::sender::{envelope, transaction};
use crate::session_pair::conversation::{Conversation, Mode};
use crate::session_pair::pair::{Cut, Outcome};

const FROM: &str = "s@a.example";
const ONE: &[&str] = &["r@b.example"];

fn sent(content: impl AsRef<[u8]>) -> Conversation {
    let content = content.as_ref();
    Conversation::new().begins(FROM, ONE, content).delivers(ONE, content)
}

#[test]
fn a_message_for_one_arrives() {
    let outcome = sent("Subject: x\r\n\r\nhello\r\n").quits().tells(&[
        "ready",
        "settled 0 stored",
        "ready",
        "closed []",
    ]);
    assert_eq!(outcome.over, (true, true));
    assert!(outcome.down.ends_with("221 2.0.0 mx.example Bye\r\n"), "{}", outcome.down);
}

#[test]
fn an_empty_message_arrives() {
    sent("").tells(&["ready", "settled 0 stored", "ready"]);
    sent("\r\n").tells(&["ready", "settled 0 stored", "ready"]);
}

//= RFC 5321 §4.5.2, type=test
//# Without some provision for data transparency, the character sequence "<CRLF>.<CRLF>" ends the
//# mail text and cannot be sent by the user.
#[test]
fn dots_arrive_wherever_they_stand() {
    let content = ".\r\n..\r\n.a\r\n...b\r\nc.\r\n.d.\r\n\r\n.\r\n\r\n..\r\n. \r\n.\r\n.\r\n";
    sent(content).tells(&["ready", "settled 0 stored", "ready"]);
    let text = "ab\r\nc\r\n";
    for place in [0, 1, 4] {
        for dots in [".", "\r\n.\r\n"] {
            let content = format!("{}{dots}{}", &text[..place], &text[place..]);
            sent(content).tells(&["ready", "settled 0 stored", "ready"]);
        }
    }
}

/// All texts of up to six lines, dots and letters, one message after another on one connection.
#[test]
fn every_short_text_arrives() {
    const PARTS: [&str; 3] = [".", "x", "\r\n"];
    let texts = (0..3usize.pow(6)).map(|number| {
        let part = |place| PARTS[number / 3usize.pow(place) % 3];
        format!("{}\r\n", (0..6).map(part).collect::<String>())
    });
    let texts: Vec<String> = texts.collect();
    let all = texts.iter().fold(Conversation::new(), |all, text| all.begins(FROM, ONE, text));
    for mode in Mode::ALL {
        let arrives = |outcome: Outcome| {
            let arrived = outcome.messages.iter().map(|message| &message.content[..]);
            assert!(arrived.eq(texts.iter().map(String::as_bytes)), "{mode:?}");
        };
        arrives(all.play(mode, Cut::Nowhere, Cut::Nowhere, false));
        arrives(all.play(mode, Cut::Everywhere, Cut::Everywhere, true));
    }
}

//= RFC 5321 §4.1.1.4, type=test
//# The mail data may contain any of the 128 ASCII character codes
//= RFC 6152 §3, type=test
//# A server that supports the 8-bit MIME transport service extension shall preserve all bits in
//# each octet passed using the DATA command.
#[test]
fn every_octet_but_nul_arrives() {
    let mut content: Vec<u8> = (1..=255).filter(|octet| !b"\r\n".contains(octet)).collect();
    content.extend_from_slice(b"\r\n");
    let outcome = sent(&content).tells(&["ready", "settled 0 stored", "ready"]);
    assert_eq!(outcome.messages[0].envelope.body_type, BodyType::EightBitMime);
    assert!(outcome.up.contains(" BODY=8BITMIME"), "{}", outcome.up);
    let controls: Vec<u8> = content.iter().copied().filter(u8::is_ascii).collect();
    let outcome = sent(controls).tells(&["ready", "settled 0 stored", "ready"]);
    assert_eq!(outcome.messages[0].envelope.body_type, BodyType::SevenBit);
    assert!(!outcome.up.contains("BODY="), "{}", outcome.up);
}

//= RFC 5321 §4.1.1.4, type=test
//# The only exception to this rule would arise if the message body were passed to the originating
//# SMTP-sender with a final "line" that did not end in <CRLF>; in that case, the originating SMTP
//# system MUST either reject the message as invalid or add <CRLF>
#[test]
fn a_last_line_without_its_end_arrives() {
    let text = "Subject: x\r\n\r\n.no end";
    let told = ["ready", "settled 0 stored", "ready"];
    sent(text).chunking(true).tells(&told);
    Conversation::new()
        .begins(FROM, ONE, text)
        .delivers(ONE, format!("{text}\r\n"))
        .chunking(false)
        .tells(&told);
}

//= RFC 3030 §3, type=test
//# the sender-SMTP MUST NOT, under any circumstances, send binary data
#[test]
fn binary_content_arrives_as_it_is_or_not_at_all() {
    let mut content: Vec<u8> = (0..=255).collect();
    content.extend_from_slice(b"\n.\n\r.\r\r\n.\r\n\0");
    let mut binary = envelope(ONE);
    binary.body_type = BodyType::BinaryMime;
    let sent = Conversation::new().begins_with(transaction(binary, &content), &content);
    let outcome =
        sent.clone().delivers(ONE, &content).tells(&["ready", "settled 0 stored", "ready"]);
    assert_eq!(outcome.messages[0].envelope.body_type, BodyType::BinaryMime);
    for offered in [
        Offered { binary_mime: false, ..Offered::ALL },
        Offered { chunking: false, ..Offered::ALL },
    ] {
        let outcome = sent.clone().server(|options| options.extensions = offered).tells(&[
            "ready",
            "settled 0 MAIL 5.6.3 does not offer BINARYMIME",
            "ready",
        ]);
        assert!(!outcome.up.contains("MAIL"), "nothing of it is sent");
    }
}

#[test]
fn where_chunks_are_not_offered_data_carries_it() {
    let without = Offered { chunking: false, ..Offered::ALL };
    let outcome = sent(".\r\n.x\r\n").server(|options| options.extensions = without).tells(&[
        "ready",
        "settled 0 stored",
        "ready",
    ]);
    assert!(outcome.up.contains("DATA\r\n..\r\n..x\r\n.\r\n"), "{}", outcome.up);
}

#[test]
fn several_transactions_pass_over_one_connection() {
    let told = ["ready", "settled 0 stored", "ready", "settled 0 stored", "ready"];
    let told = [&told[..], &["settled 0 stored", "ready", "closed []"]].concat();
    Conversation::new()
        .begins(FROM, ONE, ".first\r\n")
        .begins("", &["x@b.example"], "second é\r\n")
        .begins("t@a.example", ONE, "")
        .quits()
        .delivers(ONE, ".first\r\n")
        .delivers(&["x@b.example"], "second é\r\n")
        .delivers(ONE, "")
        .tells(&told);
}

/// Larger than a window, and than what the receiving side hands over at a time.
#[test]
fn long_content_arrives_in_pieces_of_any_size() {
    let mut prng = Prng::from_number(9);
    let lines = [".\r\n", "..\r\n", "\r\n", "x\r\n", "0123456789 é.\r\n"];
    let mut content = String::new();
    while content.len() < RECORD_CONTENT_MAX + 3 * CONTENT_WINDOW {
        content.push_str(lines[prng.below(lines.len() as u64) as usize]);
        content.push_str(&"y".repeat(prng.below(900) as usize));
        content.push_str("\r\n");
    }
    let sent = sent(&content);
    for mode in Mode::ALL {
        let whole = sent.play(mode, Cut::Nowhere, Cut::Nowhere, false);
        assert_eq!(whole.told, "ready\nsettled 0 stored\nready\n", "{mode:?}");
        assert!(whole.messages[0].content == content.as_bytes(), "{mode:?}");
        for (seed, most) in [(1, 20), (2, 1_000), (3, 70_000)] {
            let cut = |seed| Cut::Random(Box::new(Prng::from_number(seed)), most);
            let split = sent.play(mode, cut(seed), cut(seed + 10), seed % 2 == 0);
            assert!(split == whole, "{mode:?}, pieces of up to {most}");
        }
    }
}
