//! Connections that end: orderly, late, in the middle, or in nonsense.

use std::time::Duration;

use relay_fast::base::limits::CONTENT_WINDOW;
use relay_fast::base::time::Monotonic;
use relay_fast::smtp::client::{Client, Event, Transaction};

use crate::client_machine::dialogue::Dialogue;
use crate::sender::{envelope, options, transaction};

const TWO: &[&str] = &["r@b.example", "s@b.example"];
const COMMANDS: &str =
    "MAIL FROM:<s@a.example>\r\nRCPT TO:<r@b.example>\r\nRCPT TO:<s@b.example>\r\n";

fn data() -> Dialogue {
    Dialogue::greeted("PIPELINING").begins(TWO, "x\r\n").hears(&format!("{COMMANDS}DATA\r\n"))
}

//= RFC 5321 §4.1.1.10, type=test
//# The sender MUST NOT intentionally close the transmission channel until it sends a QUIT command,
//# and it SHOULD wait until it receives the reply
#[test]
fn quit_waits_for_its_reply_but_not_for_long() {
    let quits = Dialogue::greeted("").quits().hears("QUIT\r\n");
    assert!(!quits.tells(&["ready"]).is_over);
    for end in [quits.clone().says("221 bye\r\n"), quits.clone().ends(), quits.says("5xx\r\n")] {
        assert!(end.tells(&["ready", "closed []"]).is_over);
    }
    let quits = Dialogue::greeted("").quits().hears("QUIT\r\n");
    quits.waits(Duration::from_secs(31)).tells(&["ready", "closed []"]);
}

#[test]
fn quit_lets_the_transaction_in_flight_come_to_its_end() {
    data()
        .quits()
        .says("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
        .hears("x\r\n.\r\n")
        .says("250 queued\r\n")
        .hears("QUIT\r\n")
        .says("221 bye\r\n")
        .tells(&["ready", "settled 0 250 queued, 1 250 queued", "closed []"]);
    Dialogue::new().quits().hears("QUIT\r\n").tells(&["closed []"]);
}

//= RFC 5321 §3.8, type=test
//# an SMTP server … MAY … send a 421 … response … at any time
#[test]
fn after_421_what_is_known_is_settled_and_the_rest_given_back() {
    let all = "closed at MAIL: 421 4.3.2 bye; [0, 1]";
    data().says("421 4.3.2 bye\r\n").tells(&["ready", all]);
    let rest = "closed at RCPT: 421 bye; [1]";
    let known = "settled 0 RCPT 550 no";
    data().says("250 ok\r\n550 no\r\n421 bye\r\n").tells(&["ready", known, rest]);
    let rest = "closed at DATA: 421 bye; [1]";
    data().says("250 ok\r\n550 no\r\n250 ok\r\n421 bye\r\n").tells(&["ready", known, rest]);
    let rest = "closed at content: 421 bye; [1]";
    data()
        .says("250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n")
        .hears("x\r\n.\r\n")
        .says("421 bye\r\n")
        .tells(&["ready", known, rest]);
}

#[test]
fn a_peer_that_ends_an_idle_connection_fails_nobody() {
    let idle = Dialogue::greeted("");
    assert!(idle.clone().ends().tells(&["ready", "closed []"]).is_over);
    idle.clone().says("421 4.4.2 idle too long\r\n").ends().tells(&["ready", "closed []"]);
    idle.waits(Duration::from_secs(1_000_000)).tells(&["ready"]);
}

#[test]
fn an_end_in_the_middle_is_at_the_stage_of_what_was_unanswered() {
    Dialogue::new().ends().tells(&["closed at greeting: Closed; []"]);
    data().ends().tells(&["ready", "closed at MAIL: Closed; [0, 1]"]);
    data().says("250 ok\r\n2").ends().tells(&["ready", "closed at RCPT: Closed; [0, 1]"]);
    data().says("250 ok\r\n250 ok\r\n450 no\r\n354 go\r\n").hears("x\r\n.\r\n").ends().tells(&[
        "ready",
        "settled 1 RCPT 450 no",
        "closed at content: Closed; [0]",
    ]);
}

//= RFC 5321 §4.5.3.2, type=test
//# An SMTP client MUST provide a timeout mechanism.
#[test]
fn each_stage_has_its_deadline() {
    let minute = Duration::from_secs(60);
    let cases = [
        (Dialogue::new(), 5, vec!["closed at greeting: TimedOut; []"]),
        (
            Dialogue::new().says("220 x\r\n").hears("EHLO relay.example\r\n"),
            5,
            vec!["closed at EHLO: TimedOut; []"],
        ),
        (data(), 5, vec!["ready", "closed at MAIL: TimedOut; [0, 1]"]),
        (data().says("250 ok\r\n"), 5, vec!["ready", "closed at RCPT: TimedOut; [0, 1]"]),
        (
            data().says("250 ok\r\n250 ok\r\n250 ok\r\n"),
            2,
            vec!["ready", "closed at DATA: TimedOut; [0, 1]"],
        ),
        (
            data().says("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n").hears("x\r\n.\r\n"),
            10,
            vec!["ready", "closed at content: TimedOut; [0, 1]"],
        ),
    ];
    for (script, minutes, told) in cases {
        let almost = minute * minutes - Duration::from_nanos(1);
        script.clone().waits(almost).tells(&told[..told.len() - 1]);
        assert!(script.waits(minute * minutes).tells(&told).is_over);
    }
}

//= RFC 5321 §4.5.3.2, type=test
//# It MUST use per-command timeouts rather than somehow trying to time the entire mail transaction.
/// Of a command, not of an octet: who sends one a minute gains nothing.
#[test]
fn one_octet_a_minute_gains_no_time() {
    let minute = Duration::from_secs(60);
    let envelope = data().says("250 ok\r\n");
    for (script, minutes, stage) in [
        (Dialogue::new(), 5, "closed at greeting: TimedOut; []"),
        (
            Dialogue::new().says("220 x\r\n").hears("EHLO relay.example\r\n"),
            5,
            "closed at EHLO: TimedOut; []",
        ),
        (data(), 5, "closed at MAIL: TimedOut; [0, 1]"),
        (envelope.clone(), 5, "closed at RCPT: TimedOut; [0, 1]"),
        (envelope.says("250 ok\r\n250 ok\r\n"), 2, "closed at DATA: TimedOut; [0, 1]"),
    ] {
        // A reply of several lines has no more time than one of a few octets.
        let dripped = "250-a line".chars().take(minutes - 1);
        let script = dripped.fold(script, |script, octet| {
            script.waits(minute).says(octet.encode_utf8(&mut [0; 4]))
        });
        assert!(!script.tells_all().contains(&stage.to_owned()), "{stage}: too early");
        let told = script.waits(minute).tells_all();
        assert_eq!(told.last().map(String::as_str), Some(stage), "{told:?}");
    }
}

#[test]
fn replies_out_of_step_end_the_connection() {
    let broken = |stage: &str, reply: &str, unsettled: &str| {
        format!("closed at {stage}: Protocol(\"reply out of step: {reply}\"); {unsettled}")
    };
    data().says("354 go\r\n").tells(&["ready", &broken("MAIL", "354 go", "[0, 1]")]);
    data().says("250 ok\r\n354 go\r\n").tells(&["ready", &broken("RCPT", "354 go", "[0, 1]")]);
    data()
        .says("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n")
        .tells(&["ready", &broken("DATA", "250 ok", "[0, 1]")]);
    data()
        .says("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
        .hears("x\r\n.\r\n")
        .says("250 queued\r\n250 and more\r\n")
        .tells(&[
            "ready",
            "settled 0 250 queued, 1 250 queued",
            "ready",
            &broken("QUIT", "250 and more", "[]"),
        ]);
}

fn opened(extensions: &str) -> Client {
    let mut client = Client::new(options(true, true), Monotonic(0));
    client.handle_bytes(format!("220 x\r\n250-x\r\n{extensions}").as_bytes(), Monotonic(0));
    assert_eq!(client.poll_event(), Some(Event::Ready));
    client.take_output(&mut Vec::new());
    client
}

/// Ten windows of content for one recipient.
fn long() -> (Transaction, Vec<u8>) {
    let content = "0123456789abcd\r\n".repeat(CONTENT_WINDOW / 16 * 10).into_bytes();
    (transaction(envelope(&TWO[..1]), &content), content)
}

/// Push what is wanted, once over; the octets that wait to be sent.
fn push(client: &mut Client, content: &[u8], now: Monotonic) -> Vec<u8> {
    while let Some(offset) = client.wants_content() {
        let start = usize::try_from(offset).expect("fits");
        client.push_content(&content[start..], now);
    }
    let mut output = Vec::new();
    client.take_output(&mut output);
    output
}

#[test]
fn long_content_goes_window_by_window_and_is_bounded() {
    for (extensions, replies) in [
        ("250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"),
        ("250-PIPELINING\r\n250 CHUNKING\r\n", "250 ok\r\n250 ok\r\n"),
    ] {
        let mut client = opened(extensions);
        let (transaction, content) = long();
        client.begin(transaction, Monotonic(0));
        client.take_output(&mut Vec::new());
        client.handle_bytes(replies.as_bytes(), Monotonic(0));
        let mut sent = Vec::new();
        let mut now = Monotonic(0);
        while client.wants_content().is_some() {
            now = now + Duration::from_secs(179);
            client.handle_deadline(now);
            let output = push(&mut client, &content, now);
            assert!((1..3 * CONTENT_WINDOW).contains(&output.len()), "{}", output.len());
            sent.extend_from_slice(&output);
        }
        let text = String::from_utf8(sent).expect("text");
        assert!(text.contains(std::str::from_utf8(&content).expect("text")));
        assert!(text.ends_with(if extensions.contains("CHUNK") { "cd\r\n" } else { "\r\n.\r\n" }));
        client.handle_bytes(b"250 queued\r\n", now);
        assert!(matches!(client.poll_event(), Some(Event::Settled(_))));
        assert_eq!(client.poll_event(), Some(Event::Ready));
    }
}

//= RFC 5321 §4.5.3.2.5, type=test
//# Data Block: 3 Minutes
#[test]
fn a_peer_that_takes_no_content_runs_out_of_time() {
    let mut client = opened("250 PIPELINING\r\n");
    let (transaction, content) = long();
    client.begin(transaction, Monotonic(0));
    client.handle_bytes(b"250 ok\r\n250 ok\r\n354 go\r\n", Monotonic(0));
    push(&mut client, &content, Monotonic(0));
    let late = Monotonic(0) + Duration::from_secs(180);
    assert_eq!(client.deadline(), Some(late));
    client.handle_deadline(late);
    assert!(matches!(client.poll_event(), Some(Event::Closed { failure: Some(_), .. })));
}

#[test]
fn a_refusal_amid_the_content_is_taken_and_nothing_more_is_sent() {
    for (extensions, replies) in [
        ("250 PIPELINING\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"),
        ("250-PIPELINING\r\n250 CHUNKING\r\n", "250 ok\r\n250 ok\r\n"),
    ] {
        for (early, settled) in [("552 5.3.4 too big\r\n", true), ("250 queued\r\n", false)] {
            let mut client = opened(extensions);
            let (transaction, content) = long();
            client.begin(transaction, Monotonic(0));
            client.handle_bytes(replies.as_bytes(), Monotonic(0));
            push(&mut client, &content, Monotonic(0));
            client.handle_bytes(early.as_bytes(), Monotonic(0));
            assert_eq!(push(&mut client, &content, Monotonic(0)), b"");
            if settled {
                assert!(matches!(client.poll_event(), Some(Event::Settled(_))));
            }
            let Some(Event::Closed { failure, unsettled }) = client.poll_event() else {
                panic!("still open after {early}")
            };
            assert_eq!((failure.is_none(), unsettled.is_empty()), (settled, settled));
        }
    }
}

#[test]
fn content_that_is_not_there_yet_is_waited_for() {
    let mut client = opened("250-PIPELINING\r\n250 CHUNKING\r\n");
    client.begin(transaction(envelope(&TWO[..1]), b"x"), Monotonic(0));
    // Refused before the content came: BDAT is not even begun.
    assert_eq!(client.wants_content(), Some(0));
    let mut output = Vec::new();
    client.take_output(&mut output);
    assert!(output.ends_with(b"RCPT TO:<r@b.example>\r\n"));
    client.handle_bytes(b"250 ok\r\n550 no\r\n", Monotonic(0));
    assert!(matches!(client.poll_event(), Some(Event::Settled(_))));
    assert_eq!(client.wants_content(), None);
}

#[test]
#[should_panic(expected = "a transaction begins in")]
fn a_transaction_cannot_begin_before_the_peer_is_ready() {
    let mut client = Client::new(options(true, true), Monotonic(0));
    client.begin(transaction(envelope(TWO), b"x"), Monotonic(0));
}
