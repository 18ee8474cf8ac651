//! What the receiving machine promises the shard: events, time, the end, bounds, every split.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut, match and unwrap freely"
)]

use std::time::Duration;

use proptest::prelude::*;

use relay_fast::base::limits::RECORD_CONTENT_MAX;
use relay_fast::base::prng::Prng;
use relay_fast::base::time::Monotonic;
use relay_fast::mail::status::{EnhancedStatus, ReplyCode};
use relay_fast::smtp::answer::Answer;
use relay_fast::smtp::content::LineEndings;
use relay_fast::smtp::server::{Event, Options, Session};

#[path = "support/session.rs"]
mod session;

use session::{Server, code, codes, options, yes};

const MAIL: &str = "MAIL FROM:<a@a.example>\r\n";
const RCPT: &str = "RCPT TO:<b@b.example>\r\n";

/// Leaves the question about `event` open.
fn waiting_at(event: Event) -> Server {
    let policy = move |asked, _: &Session| (asked != event).then(|| yes(asked));
    Server::with_policy(options(), policy).past_hello()
}

// --- Questions ---

#[test]
fn nothing_is_taken_while_a_question_is_open() {
    let mut server = waiting_at(Event::Rcpt);
    assert_eq!(codes(&server.send(format!("{MAIL}{RCPT}DATA\r\n"))), [250]);
    let recipient = server.session.recipient().expect("asked about");
    assert_eq!(recipient.forward_path.as_str(), "b@b.example");
    assert_eq!(server.session.handle_bytes(b"DATA\r\n", server.now), 0);
    assert_eq!(server.wait(Duration::from_secs(3_600)), "", "the relay is the one to act");
    assert_eq!(codes(&server.answer(Answer::RECIPIENT_OK)), [250, 354]);
    assert!(server.session.recipient().is_none());
}

#[test]
fn a_yes_to_the_end_is_the_only_acceptance() {
    let mut server = waiting_at(Event::End);
    server.begin_data();
    assert_eq!(server.send(format!("a\r\n.\r\n{MAIL}")), "");
    assert_eq!(server.messages.len(), 0);
    assert_eq!(codes(&server.answer(yes(Event::End))), [250, 250]);
    assert_eq!(server.messages.len(), 1);
    assert!(server.session.envelope().is_some(), "that of the next transaction");
}

#[test]
fn a_no_to_a_question_ends_what_it_asked_about() {
    let no = || Answer::TRY_LATER;
    let mut server = waiting_at(Event::Mail);
    server.send(MAIL);
    assert_eq!(code(&server.answer(no())), 451);
    assert_eq!(code(&server.send(RCPT)), 503);
    let mut server = waiting_at(Event::Content);
    server.begin_data();
    assert_eq!(code(&server.answer(no())), 451);
    assert_eq!(codes(&server.send(format!("DATA\r\n{MAIL}"))), [503, 421], "early content");
    let mut server = waiting_at(Event::Content);
    server.begin_data();
    server.answer(no());
    assert_eq!(code(&server.send("DATA\r\n")), 503, "the transaction is over");
    assert_eq!(server.events, [Event::Mail, Event::Rcpt, Event::Content]);
}

#[test]
fn an_answer_of_421_closes() {
    for event in [Event::Mail, Event::Rcpt, Event::Content, Event::End] {
        let mut server = waiting_at(event);
        server.begin_data();
        server.send(".\r\n");
        let words = String::from("enough of you");
        let answer = Answer::new(ReplyCode::known(421), EnhancedStatus::new(4, 7, 1), words);
        let reply = server.answer(answer);
        assert!(reply.starts_with("421 4.7.1 mx.example enough of you\r\n"), "{reply}");
        assert!(server.session.is_over(), "{event:?}");
    }
}

#[test]
fn an_answer_to_no_question_is_nothing() {
    let mut server = Server::ready();
    server.session.answer(Answer::SENDER_OK, server.now);
    assert_eq!(server.output(), "");
    let mut server = waiting_at(Event::Mail);
    server.send(MAIL);
    server.end();
    assert_eq!(server.events, [Event::Mail, Event::Aborted]);
    server.session.answer(Answer::SENDER_OK, server.now);
    assert_eq!(server.output(), "");
}

// --- Content ---

#[test]
fn long_content_is_handed_over_in_parts() {
    let line = format!("{}\r\n", "x".repeat(998));
    let content = line.repeat(1_000);
    for chunked in [false, true] {
        let mut server = Server::ready();
        server.send(format!("{MAIL}{RCPT}"));
        if chunked {
            server.send(format!("BDAT {} LAST\r\n", content.len()));
            assert_eq!(code(&server.send(&content)), 250);
        } else {
            server.send("DATA\r\n");
            assert_eq!(code(&server.send(format!("{content}.\r\n"))), 250);
        }
        assert!(server.messages[0].content == content.as_bytes(), "chunked: {chunked}");
        let full = server.events.iter().filter(|event| **event == Event::ContentFull).count();
        assert_eq!(full, content.len() / RECORD_CONTENT_MAX, "parts are as large as they may be");
    }
}

#[test]
fn content_that_is_not_taken_stops_the_client() {
    let mut session = Session::new(options().into(), Monotonic(0));
    let now = Monotonic(0);
    let mut rest: &[u8] = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@b>\r\nBDAT 9000000\r\n";
    while !rest.is_empty() {
        rest = &rest[session.handle_bytes(rest, now)..];
        if let Some(event) = session.poll_event() {
            session.answer(yes(event), now);
        }
    }
    let input = b"0123456\r\n".repeat(100_000);
    let used = session.handle_bytes(&input, now);
    assert!(used <= RECORD_CONTENT_MAX);
    for _ in 0..3 {
        assert_eq!(session.poll_event(), Some(Event::ContentFull));
        assert_eq!(session.handle_bytes(&input[used..], now), 0);
    }
    assert_eq!(session.take_content(), input[..used]);
    assert_eq!(session.poll_event(), Some(Event::ContentFull));
    assert!(session.handle_bytes(&input[used..], now) > 0);
}

#[test]
fn refused_content_is_dropped_at_once_and_answered_at_its_end() {
    let mut server = Server::ready();
    server.begin_data();
    assert_eq!(server.send("a\nb"), "");
    assert_eq!(server.events.last(), Some(&Event::Aborted));
    assert!(server.session.envelope().is_none() && server.session.take_content().is_empty());
    assert_eq!(codes(&server.send(format!("\r\nmore\r\n.\r\n{MAIL}"))), [554, 250]);
}

// --- Time ---

#[test]
fn octets_that_trickle_in_buy_no_time() {
    let mut server = Server::ready();
    for _ in 0..299 {
        assert_eq!(server.send("x") + &server.wait(Duration::from_secs(1)), "");
    }
    assert_eq!(code(&server.wait(Duration::from_secs(1))), 421);
}

#[test]
fn content_must_move() {
    let mut server = Server::ready();
    server.begin_data();
    // A block in each three minutes is enough.
    let block = "x\r\n".repeat(1_500);
    for _ in 0..10 {
        assert_eq!(server.wait(Duration::from_secs(179)), "");
        server.send(&block);
    }
    for _ in 0..179 {
        assert_eq!(server.send("x\r\n") + &server.wait(Duration::from_secs(1)), "");
    }
    let reply = server.wait(Duration::from_secs(1));
    assert!(reply.starts_with("421 4.4.2 "), "{reply}");
    assert_eq!(server.events.last(), Some(&Event::Aborted));
}

#[test]
fn content_must_end() {
    let mut server = Server::ready();
    server.begin_data();
    let block = "x\r\n".repeat(1_500);
    for _ in 0..35 {
        assert_eq!(server.wait(Duration::from_secs(100)), "");
        server.send(&block);
    }
    assert_eq!(code(&server.wait(Duration::from_secs(100))), 421);
}

#[test]
fn a_session_ends_after_its_time_but_not_in_a_transaction() {
    let mut server = Server::ready();
    let day = Duration::from_secs(24 * 60 * 60);
    let minutes = Duration::from_secs(4 * 60);
    let mut passed = Duration::ZERO;
    while passed + minutes < day {
        passed += minutes;
        assert_eq!(server.wait(minutes), "");
        assert_eq!(code(&server.send("NOOP\r\n")), 250);
    }
    server.send(MAIL);
    assert_eq!(server.wait(minutes), "");
    assert_eq!(code(&server.send(RCPT)), 250);
    assert_eq!(code(&server.send("DATA\r\n")), 354);
    assert_eq!(code(&server.send(".\r\n")), 250);
    assert_eq!(code(&server.wait(Duration::ZERO)), 421);
}

#[test]
fn a_deadline_that_fires_early_is_nothing() {
    let mut server = Server::ready();
    server.session.handle_deadline(server.now);
    assert_eq!(server.output(), "");
    assert!(!server.session.is_over());
}

// --- The end ---

#[test]
fn a_client_that_ends_its_side_hears_its_last_reply() {
    let mut server = waiting_at(Event::End);
    server.begin_data();
    server.send("a\r\n.\r\n");
    assert_eq!(server.end(), "");
    assert!(!server.session.is_over());
    assert_eq!(code(&server.answer(yes(Event::End))), 250);
    assert!(server.session.is_over());
    assert_eq!(server.messages.len(), 1);
}

#[test]
fn content_without_an_end_is_no_message() {
    let mut server = Server::ready();
    server.begin_data();
    server.send("a\r\n.\r");
    server.end();
    assert_eq!(server.events.last(), Some(&Event::Aborted));
    assert!(server.session.is_over() && server.messages.is_empty());
}

#[test]
fn draining_lets_content_that_has_begun_come_to_its_end() {
    let mut server = Server::ready();
    server.begin_data();
    assert_eq!(server.drain(), "");
    assert_eq!(codes(&server.send(format!("a\r\n.\r\n{MAIL}"))), [250, 421]);
    assert_eq!(server.messages.len(), 1);

    let mut server = Server::ready();
    server.send(format!("{MAIL}{RCPT}BDAT 3\r\na\r\n"));
    assert_eq!(server.drain(), "");
    assert_eq!(codes(&server.send("BDAT 3 LAST\r\nb\r\n")), [250, 421]);
    assert_eq!(server.messages.len(), 1);

    let mut server = waiting_at(Event::Rcpt);
    server.send(format!("{MAIL}{RCPT}"));
    assert_eq!(server.drain(), "");
    assert_eq!(codes(&server.answer(Answer::RECIPIENT_OK)), [250, 421]);
    assert_eq!(server.events.last(), Some(&Event::Aborted));
}

#[test]
fn a_session_that_is_refused_with_421_is_over_at_once() {
    let session = Session::refused(options().into(), Answer::TOO_MANY_SESSIONS, Monotonic(0));
    let mut server = Server::of(session, Monotonic(0), |_, _| None);
    assert!(server.session.is_over());
    assert_eq!(server.output(), "421 4.3.2 mx.example Too many sessions\r\n");
    assert_eq!(server.send("EHLO c\r\n"), "");
}

#[test]
fn replies_that_nobody_reads_have_a_bound() {
    let mut session = Session::new(options().into(), Monotonic(0));
    let input = b"EHLO a\r\n".repeat(100_000);
    assert_eq!(session.handle_bytes(&input, Monotonic(0)), input.len());
    assert!(session.is_over());
    let mut output = Vec::new();
    session.take_output(&mut output);
    assert!(output.len() < 128 * 1024, "{}", output.len());
    assert!(output.ends_with(b"421 4.7.0 mx.example Too many commands at once\r\n"));
}

// --- Every split, every order ---

/// A dialogue without early content, whose outcome may not depend on how it comes in pieces.
fn dialogue() -> Vec<u8> {
    let mut input = b"NOOP\r\nEHLO c.example\r\nMAIL FROM:<a@a.example> SIZE=9\r\n".to_vec();
    input.extend(b"RCPT TO:<\"b >\"@b.example> NOTIFY=NEVER\r\nRCPT TO:<x>\r\nDATA\r\n");
    input.extend(b"a\r\n..b\r\n.c\r\n.\r\nbad\nline\r\n\r\r\n");
    input.extend(b"MAIL FROM:<>\r\nRCPT TO:<b@b>\r\nBDAT 4\r\na\r\n\rBDAT 3 LAST\r\n\n\r\n");
    input.extend(b"BDAT 6\r\nQUIT\r\nMAIL FROM:<a@a> BODY=BINARYMIME\r\nRCPT TO:<b@b>\r\n");
    input.extend(
        b"BDAT 4 LAST\r\n\r\n\n\rMAIL FROM:<a@a>\r\nRCPT TO:<b@b>\r\nDATA\r\n\n.\n\r\n.\r\n",
    );
    input.extend(b"XYZZY\r\nQUIT\r\n");
    input
}

fn run(input: &[u8], mut piece: impl FnMut() -> usize) -> (String, Vec<session::Message>) {
    let mut server = Server::new(options());
    let mut output = server.output();
    let mut rest = input;
    while !rest.is_empty() {
        let (now, after) = rest.split_at(piece().clamp(1, rest.len()));
        output += &server.send(now);
        rest = after;
    }
    (output, server.messages)
}

#[test]
fn every_split_comes_to_the_same() {
    let input = dialogue();
    let whole = run(&input, || usize::MAX);
    let expected =
        [220, 250, 250, 250, 250, 501, 354, 250, 500, 500, 250, 250, 250, 250, 503, 250, 250, 250];
    assert_eq!(codes(&whole.0)[..expected.len()], expected);
    assert_eq!(codes(&whole.0)[expected.len()..], [250, 250, 354, 554, 500, 221]);
    assert_eq!(whole.1.len(), 3);
    assert_eq!(run(&input, || 1), whole, "octet by octet");
    for cut in 1..input.len() {
        let mut first = true;
        let piece = || if std::mem::take(&mut first) { cut } else { usize::MAX };
        assert_eq!(run(&input, piece), whole, "cut at {cut}");
    }
    for seed in 0..300 {
        let mut prng = Prng::from_number(seed);
        let piece = || usize::try_from(prng.below(12)).expect("small");
        assert_eq!(run(&input, piece), whole, "seed {seed}");
    }
}

/// A policy that says anything, or nothing yet.
fn whimsical(seed: u64) -> impl FnMut(Event, &Session) -> Option<Answer> {
    let mut prng = Prng::from_number(seed);
    move |event, _: &Session| match prng.below(8) {
        0 => Some(Answer::TRY_LATER),
        1 => Some(Answer::RELAY_DENIED),
        2 => None,
        _ => Some(yes(event)),
    }
}

const PHRASES: [&str; 30] = [
    "EHLO c\r\n",
    "HELO c\r\n",
    "MAIL FROM:<a@a>\r\n",
    "MAIL FROM:<> BODY=BINARYMIME\r\n",
    "MAIL FROM:<a@a> SIZE=20\r\n",
    "RCPT TO:<b@b>\r\n",
    "RCPT TO:<c@c>\r\n",
    "RCPT TO:<é@b>\r\n",
    "DATA\r\n",
    "BDAT 3\r\n",
    "BDAT 5 LAST\r\n",
    "BDAT 0\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT x\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "VRFY a\r\n",
    "QUIT\r\n",
    "GET / HTTP/1.1\r\n",
    "XYZZY\r\n",
    "\r\n",
    ".\r\n",
    "\r\n.\r\n",
    "\n",
    "\r",
    "\0",
    "text\r\n",
    "..\r\n",
    "abc",
    "MAIL FROM:<a@a>\n",
];

/// Throw phrases at a session, and time, ends and drains; the driver checks what always holds.
fn storm(seed: u64) {
    let mut prng = Prng::from_number(seed);
    let mut pick = |bound: usize| usize::try_from(prng.below(bound as u64)).expect("small");
    let line_endings = if pick(2) == 0 { LineEndings::Strict } else { LineEndings::Normalize };
    let options = Options { message_bytes_max: 40, errors_max: 200, line_endings, ..options() };
    let mut server = Server::with_policy(options, whimsical(seed)).past_hello();
    let mut answers = 0;
    for _ in 0..200 {
        let phrase = PHRASES[pick(PHRASES.len())];
        // These would end most storms early.
        if matches!(phrase, "QUIT\r\n" | "BDAT x\r\n") && pick(20) > 0 {
            continue;
        }
        let cut = pick(phrase.len() + 1);
        server.send(&phrase.as_bytes()[..cut]);
        server.send(&phrase.as_bytes()[cut..]);
        if server.is_asked() {
            answers += 1;
            let answer = if pick(3) == 0 { Answer::NO_ROOM } else { Answer::GO_ON };
            server.answer(answer);
        }
        match pick(400) {
            0 => drop(server.wait(Duration::from_secs(600))),
            1 => drop(server.drain()),
            2 => drop(server.end()),
            _ => {}
        }
        assert!(server.session.content_bytes() <= 40 + 64, "content is bounded");
    }
    let asked = server.events.iter().filter(|event| **event == Event::Mail).count();
    assert!(answers <= server.events.len() && server.messages.len() <= asked);
    for message in &server.messages {
        assert!(message.content.len() <= 40, "seed {seed}");
    }
}

#[test]
fn no_storm_breaks_a_session() {
    for seed in 0..1_500 {
        if let Err(panic) = std::panic::catch_unwind(|| storm(seed)) {
            eprintln!("seed {seed} failed");
            std::panic::resume_unwind(panic);
        }
    }
}

proptest! {
    #[test]
    fn no_octets_panic(
        input in proptest::collection::vec(any::<u8>(), 0..600),
        pieces in 1usize..40,
    ) {
        run(&input, || pieces);
        let mut dialogue = b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b@b>\r\nDATA\r\n".to_vec();
        dialogue.extend(&input);
        run(&dialogue, || pieces);
    }

    #[test]
    fn no_arguments_panic(text in "\\PC{0,60}", verb in 0usize..12) {
        let verbs = [
            "EHLO ", "MAIL FROM:<", "MAIL FROM:<a@a> ", "MAIL FROM:<a@a> SMTPUTF8 ENVID=",
            "RCPT TO:<", "RCPT TO:<a@a> ORCPT=", "RCPT TO:<a@a> NOTIFY=", "BDAT ", "VRFY ",
            "DATA ", "NOOP ", "",
        ];
        let input = format!("EHLO c\r\nMAIL FROM:<> SMTPUTF8\r\n{}{text}\r\n", verbs[verb]);
        run(input.as_bytes(), || usize::MAX);
    }
}
