//! No octets make two relays see different messages: every known way to smuggle one, both knobs.
//!
//! Known: SEC Consult 2023 (CVE-2023-51764, -51765, -51766) and what followed. The attacker's text
//! passes one server as content and is read as end of data and commands by the next.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut, match and unwrap freely"
)]

use proptest::prelude::*;

use relay_fast::base::prng::Prng;
use relay_fast::mail::envelope::BodyType;
use relay_fast::smtp::content::LineEndings;
use relay_fast::smtp::server::Options;

#[path = "support/session.rs"]
mod session;

use session::{Server, code, codes, options};

/// What looks like end of data, and is not.
const FALSE_ENDS: [&str; 24] = [
    "\n.\n",
    "\n.\r",
    "\n.\r\n",
    "\r.\r",
    "\r.\n",
    "\r.\r\n",
    "\r\n.\n",
    "\r\n.\r",
    "\r\n.\r\r\n",
    "\r\n.\n\r\n",
    "\r\n\r.\r\n",
    "\r\n\n.\r\n",
    "\r\r\n.\r\r\n",
    "\r\n.\0\r\n",
    "\r\n\0.\r\n",
    "\r\0\n.\r\n",
    "\r\n.\r\0\n",
    "\r\n. \r\n",
    "\r\n.\t\r\n",
    "\r\n.\u{85}",
    "\u{2028}.\u{2028}",
    "\u{b}.\u{b}",
    "\n\n.\n\n",
    "\r\n..\r\n",
];

const SMUGGLED: &str = "MAIL FROM:<evil@a.example>\r\nRCPT TO:<c@c.example>\r\nDATA\r\nevil\r\n";

fn normalizing() -> Options {
    Options { line_endings: LineEndings::Normalize, ..options() }
}

/// Whether text has CRs and LFs in pairs alone.
fn has_whole_line_ends(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content).replace("\r\n", "");
    !text.contains(['\r', '\n'])
}

/// Send content in pieces; returns the reply to its one true end.
fn send_content(options: Options, content: &str, prng: &mut Prng) -> (Server, String) {
    let mut server = Server::new(options).past_hello();
    server.codes(&["MAIL FROM:<a@a.example> BODY=8BITMIME", "RCPT TO:<b@b.example>"]);
    assert_eq!(code(&server.send("DATA\r\n")), 354);
    let mut rest = content.as_bytes();
    let mut reply = String::new();
    while !rest.is_empty() {
        let length = usize::try_from(prng.below(5)).expect("small") + 1;
        let (piece, after) = rest.split_at(length.min(rest.len()));
        assert_eq!(reply, "", "an answer before the end of {content:?}");
        reply = server.send(piece);
        rest = after;
    }
    (server, reply)
}

//= RFC 5321 §4.1.1.4, type=test
//# In particular, the sequence "<LF>.<LF>" (bare line feeds, without carriage returns) MUST NOT be
//# treated as equivalent to <CRLF>.<CRLF> as the end of mail data indication.
#[test]
fn nothing_but_the_true_end_ends_content() {
    for end in FALSE_ENDS {
        for seed in 0..20 {
            let mut prng = Prng::from_number(seed);
            let content = format!("first{end}{SMUGGLED}\r\n.\r\n");
            for options in [options(), normalizing()] {
                let (mut server, reply) = send_content(options, &content, &mut prng);
                assert!(server.messages.len() <= 1, "{end:?}, seed {seed}");
                assert!([250, 554].contains(&code(&reply)), "{end:?}, seed {seed}: {reply}");
                assert_eq!(code(&server.send("NOOP\r\n")), 250, "{end:?}, seed {seed}");
            }
        }
    }
}

#[test]
fn strict_refuses_every_false_end_made_of_bare_octets() {
    for end in FALSE_ENDS {
        let bare = !has_whole_line_ends(end.as_bytes()) || end.contains('\0');
        let content = format!("first{end}{SMUGGLED}\r\n.\r\n");
        let (server, reply) = send_content(options(), &content, &mut Prng::from_number(1));
        assert_eq!(code(&reply), if bare { 554 } else { 250 }, "{end:?}: {reply}");
        assert_eq!(server.messages.is_empty(), bare, "{end:?}");
        assert!(!bare || reply.contains(" 5.6.0 "), "{reply}");
    }
}

#[test]
fn normalize_passes_on_whole_line_ends_alone() {
    for end in FALSE_ENDS {
        let content = format!("first{end}{SMUGGLED}\r\n.\r\n");
        let (server, reply) = send_content(normalizing(), &content, &mut Prng::from_number(1));
        if end.contains('\0') {
            assert_eq!(code(&reply), 554, "{end:?}: a NUL is refused by either knob");
            assert!(server.messages.is_empty());
            continue;
        }
        assert_eq!(code(&reply), 250, "{end:?}: {reply}");
        let content = &server.messages[0].content;
        assert!(has_whole_line_ends(content), "{end:?}: {content:?}");
        let text = String::from_utf8_lossy(content);
        assert!(text.contains("evil@a.example"), "one message, whole: {text:?}");
    }
}

#[test]
fn normalized_content_keeps_its_dots() {
    let cases = [
        ("a\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\n..b\r\n.\r\n", "a\r\n..b\r\n"),
        ("a\r.b\r\n.\r\n", "a\r\n.b\r\n"),
        ("a\r\n.\nb\r\n.\r\n", "a\r\n\r\nb\r\n"),
        ("a\r\r\nb\r\n.\r\n", "a\r\n\r\nb\r\n"),
    ];
    for (input, content) in cases {
        let (server, _) = send_content(normalizing(), input, &mut Prng::from_number(3));
        let stored = String::from_utf8_lossy(&server.messages[0].content).into_owned();
        assert_eq!(stored, content, "{input:?}");
    }
}

#[test]
fn chunks_are_held_to_the_same_lines() {
    for text in ["a\nb\r\n", "a\rb\r\n", "a\0b\r\n", "a\r", "\n.\n", "\n"] {
        for options in [options(), normalizing()] {
            let strict = options.line_endings == LineEndings::Strict;
            let mut server = Server::new(options).past_hello();
            server.codes(&["MAIL FROM:<a@a.example>", "RCPT TO:<b@b.example>"]);
            let reply = server.send(format!("BDAT {} LAST\r\n{text}", text.len()));
            if strict || text.contains('\0') {
                assert_eq!(code(&reply), 554, "{text:?}");
                assert!(server.messages.is_empty());
            } else {
                assert_eq!(code(&reply), 250, "{text:?}");
                assert!(has_whole_line_ends(&server.messages[0].content), "{text:?}");
            }
        }
    }
}

/// Binary content may hold anything; it is marked, and only BDAT can carry it on.
#[test]
fn what_is_binary_stays_marked_as_binary() {
    let mut server = Server::ready();
    server.codes(&["MAIL FROM:<a@a.example> BODY=BINARYMIME", "RCPT TO:<b@b.example>"]);
    assert_eq!(code(&server.send("BDAT 5 LAST\r\n\n.\n\r\0")), 250);
    assert_eq!(server.messages[0].content, b"\n.\n\r\0");
    assert_eq!(server.messages[0].envelope.body_type, BodyType::BinaryMime);
}

/// A bare CR, LF or NUL in a command line refuses all of it, whatever the knob says of content.
#[test]
fn command_lines_hide_no_commands() {
    for options in [options(), normalizing()] {
        for bare in ["\n", "\r", "\0", "\r\r", "\n\n", "\n\r", "\r\0", "\0\n"] {
            let mut server = Server::new(options.clone()).past_hello();
            let input =
                format!("NOOP{bare}MAIL FROM:<evil@a.example>\r\nRCPT TO:<b@b.example>\r\n");
            let reply = server.send(input);
            assert_eq!(codes(&reply), [500, 503], "{bare:?}: {reply}");
            assert!(reply.starts_with("500 5.5.2 "), "{reply}");
            assert!(server.events.is_empty(), "{bare:?}");
        }
    }
}

/// Octets that come behind DATA before its reply are content where it is accepted, and never
/// commands: where it is refused the session ends (RFC 2920 §3.1: DATA is the last of a group).
#[test]
fn what_comes_behind_data_is_never_a_command() {
    let mut server = Server::ready();
    let group = "MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nDATA\r\nQUIT\r\n.\r\nNOOP\r\n";
    assert_eq!(codes(&server.send(group)), [250, 250, 354, 250, 250]);
    assert_eq!(server.messages[0].content, b"QUIT\r\n");

    for refused in ["DATA\r\n", "MAIL FROM:<a@a.example>\r\nDATA\r\n", "DATA now\r\n"] {
        let mut server = Server::ready();
        let reply = server.send(format!("{refused}MAIL FROM:<evil@a.example>\r\n"));
        assert_eq!(codes(&reply).last(), Some(&421), "{refused:?}: {reply}");
        assert!(server.session.is_over());
        // Whoever waits for the refusal goes on.
        let mut server = Server::ready();
        server.send(refused);
        assert_eq!(code(&server.send("NOOP\r\n")), 250, "{refused:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever comes, what is stored of text holds no bare CR or LF, no NUL, and one message a
    /// true end.
    #[test]
    fn text_that_is_stored_is_whole_lines(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("\r\n"), Just("\r"), Just("\n"), Just("."), Just("x"), Just("\0"),
                Just("\r\n."), Just("MAIL FROM:<evil@a.example>\r\n"), Just("é"),
            ],
            0..30,
        ),
        normalize: bool,
        seed: u64,
    ) {
        let content = format!("{}\r\n.\r\n", pieces.concat().replace("\r\n.\r\n", ""));
        let options = if normalize { normalizing() } else { options() };
        prop_assume!(!content[..content.len() - 3].starts_with(".\r\n"));
        prop_assume!(!content[..content.len() - 3].contains("\r\n.\r\n"));
        let (server, reply) = send_content(options, &content, &mut Prng::from_number(seed));
        prop_assert_eq!(code(&reply) == 250, server.messages.len() == 1);
        for message in &server.messages {
            prop_assert!(has_whole_line_ends(&message.content));
            prop_assert!(!message.content.contains(&0));
        }
    }
}
