//! Refusals at each stage: who hears what, and that nothing of it is lost or comes twice.

use relay_fast::smtp::answer::Answer;

use crate::session_pair::conversation::Conversation;
use crate::session_pair::pair::Outcome;

const FROM: &str = "s@a.example";
const TWO: &[&str] = &["r@b.example", "t@b.example"];
const TEXT: &str = "x\r\n..\r\n";

/// A message from `from`, and then one that finds nothing in its way.
#[track_caller]
fn refused(from: &str, recipients: &[&str], settled: &str) -> Outcome {
    Conversation::new()
        .begins(from, recipients, "not wanted\r\n")
        .begins(FROM, TWO, TEXT)
        .delivers(TWO, TEXT)
        .tells(&["ready", settled, "ready", "settled 0 stored, 1 stored", "ready"])
}

/// A message from `from` that ends the connection.
#[track_caller]
fn cut_off(from: &str, recipients: &[&str], told: &[&str]) {
    let told = [&["ready"], told].concat();
    let outcome = Conversation::new().begins(from, recipients, "not wanted\r\n").tells(&told);
    assert_eq!(outcome.over, (true, true));
}

//= RFC 5321 §3.1, type=test
//# a 554 response MAY be given in the initial connection opening message instead of the 220.
#[test]
fn the_greeting() {
    let outcome = Conversation::new()
        .greeted_with(Answer::NO_SERVICE)
        .tells(&["closed at greeting: 554 5.7.1 No service for you here; []"]);
    assert_eq!((outcome.up.as_str(), outcome.over), ("QUIT\r\n", (true, true)));
    let outcome = Conversation::new()
        .greeted_with(Answer::TOO_MANY_SESSIONS)
        .tells(&["closed at greeting: 421 4.3.2 mx.example Too many sessions; []"]);
    assert_eq!(outcome.up, "");
}

#[test]
fn mail() {
    let settled = |reply: &str| format!("settled 0 MAIL {reply}, 1 MAIL {reply}");
    refused("mail550@a.example", TWO, &settled("550 5.7.1 as told"));
    refused("mail451@a.example", TWO, &settled("451 4.7.1 as told"));
    let told = "closed at MAIL: 421 4.7.1 mx.example as told; [0, 1]";
    cut_off("mail421@a.example", TWO, &[told]);
}

/// A node without room loses no connection to a client that sends many recipients at once.
#[test]
fn mail_with_many_recipients_behind_it() {
    let many = ["a@b.example", "b@b.example", "c@b.example", "d@b.example"];
    let settled: Vec<_> = (0..4).map(|place| format!("{place} MAIL 452 4.7.1 as told")).collect();
    Conversation::new()
        .server(|options| options.errors_max = 2)
        .begins("mail452@a.example", &many, TEXT)
        .begins(FROM, TWO, TEXT)
        .delivers(TWO, TEXT)
        .tells(&[
            "ready",
            &format!("settled {}", settled.join(", ")),
            "ready",
            "settled 0 stored, 1 stored",
            "ready",
        ]);
}

#[test]
fn some_recipients() {
    let mixed = ["rcpt550@b.example", "r@b.example", "rcpt451@b.example", "t@b.example"];
    Conversation::new().begins(FROM, &mixed, TEXT).delivers(TWO, TEXT).tells(&[
        "ready",
        "settled 0 RCPT 550 5.7.1 as told, 2 RCPT 451 4.7.1 as told, 1 stored, 3 stored",
        "ready",
    ]);
}

//= RFC 5321 §4.1.1.5, type=test
//# This command specifies that the current mail transaction will be aborted.
#[test]
fn all_recipients() {
    let none = ["rcpt550@b.example", "rcpt452@b.example"];
    let settled = "settled 0 RCPT 550 5.7.1 as told, 1 RCPT 452 4.7.1 as told";
    let outcome = refused(FROM, &none, settled);
    assert_eq!(outcome.up.matches("RSET\r\n").count(), 1, "{}", outcome.up);
    cut_off(
        FROM,
        &["r@b.example", "rcpt421@b.example"],
        &["closed at RCPT: 421 4.7.1 mx.example as told; [0, 1]"],
    );
}

#[test]
fn a_recipient_for_whom_there_was_no_room_goes_in_a_second_transaction() {
    let three = ["r@b.example", "rcptfull@b.example", "t@b.example"];
    Conversation::new()
        .begins(FROM, &three, TEXT)
        .delivers(TWO, TEXT)
        .delivers(&["rcptfull@b.example"], TEXT)
        .tells(&["ready", "settled 0 stored, 2 stored, 1 stored", "ready"]);
}

#[test]
fn the_beginning_of_content() {
    for code in ["554 5", "451 4"] {
        let settled = format!("{{body}} {code}.7.1 as told");
        let from = format!("data{}@a.example", &code[..3]);
        refused(&from, TWO, &format!("settled 0 {settled}, 1 {settled}"));
    }
    let closed = "closed at {body}: 421 4.7.1 mx.example as told; [0, 1]";
    cut_off("data421@a.example", TWO, &[closed]);
}

#[test]
fn the_end_of_content() {
    for code in ["554 5", "452 4"] {
        let settled = format!("content {code}.7.1 as told");
        let from = format!("end{}@a.example", &code[..3]);
        refused(&from, TWO, &format!("settled 0 {settled}, 1 {settled}"));
    }
    let closed = "closed at content: 421 4.7.1 mx.example as told; [1]";
    cut_off(
        "end421@a.example",
        &["rcpt550@b.example", "r@b.example"],
        &["settled 0 RCPT 550 5.7.1 as told", closed],
    );
}

#[test]
fn a_message_too_big_does_not_leave() {
    let too_big = "5.3.4 takes at most 10 octets, and this message has 12";
    let outcome = Conversation::new()
        .server(|options| options.message_bytes_max = 10)
        .begins(FROM, TWO, "0123456789\r\n")
        .begins(FROM, TWO, "01234567\r\n")
        .delivers(TWO, "01234567\r\n")
        .tells(&[
            "ready",
            &format!("settled 0 MAIL {too_big}, 1 MAIL {too_big}"),
            "ready",
            "settled 0 stored, 1 stored",
            "ready",
        ]);
    assert!(!outcome.up.contains("SIZE=12"), "{}", outcome.up);
}

/// The receiving side finds out only while content comes; what follows it must be read as commands.
#[test]
fn content_itself() {
    let long = format!("{}\r\nQUIT\r\n.\r\n", "x".repeat(60));
    let reply = "content 500 5.6.0 Text line too long";
    Conversation::new()
        .server(|options| options.text_line_max = 50)
        .begins(FROM, TWO, long)
        .begins(FROM, TWO, TEXT)
        .delivers(TWO, TEXT)
        .tells(&[
            "ready",
            &format!("settled 0 {reply}, 1 {reply}"),
            "ready",
            "settled 0 stored, 1 stored",
            "ready",
        ]);
    let reply = "content 554 5.6.0 Bare CR or LF in content, lines end with CR LF";
    Conversation::new()
        .chunking(true)
        .begins(FROM, TWO, "a\nQUIT\n.\n")
        .begins(FROM, TWO, TEXT)
        .delivers(TWO, TEXT)
        .tells(&[
            "ready",
            &format!("settled 0 {reply}, 1 {reply}"),
            "ready",
            "settled 0 stored, 1 stored",
            "ready",
        ]);
}

//= RFC 5321 §2.3.8, type=test
//# SMTP client implementations MUST NOT transmit "bare" "CR" or "LF" characters
#[test]
fn stray_line_ends_leave_as_whole_ones() {
    Conversation::new()
        .chunking(false)
        .begins(FROM, TWO, "a\n.\nQUIT\r.\r\nb\r\r\n.\r\n")
        .delivers(TWO, "a\r\n.\r\nQUIT\r\n.\r\nb\r\n\r\n.\r\n")
        .tells(&["ready", "settled 0 stored, 1 stored", "ready"]);
}

#[test]
fn one_error_too_many() {
    let refused = ["rcpt550@b.example", "rcpt550@c.example", "r@b.example"];
    Conversation::new()
        .server(|options| options.errors_max = 1)
        .begins(FROM, &refused, TEXT)
        .tells(&[
            "ready",
            "settled 0 RCPT 550 5.7.1 as told",
            "closed at RCPT: 421 4.7.0 mx.example Too many errors; [1, 2]",
        ]);
}
