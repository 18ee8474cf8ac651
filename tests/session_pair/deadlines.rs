//! Deadlines on either side, drains and breaks: the other side learns of it and counts right.

use std::time::Duration;

use relay_fast::base::ids::MessageId;
use relay_fast::smtp::answer::Answer;

use crate::session_pair::conversation::Conversation;

const FROM: &str = "s@a.example";
const ONE: &[&str] = &["r@b.example"];
const TEXT: &str = "0123456789\r\n";

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

//= RFC 5321 §4.5.3.2.7, type=test
//# An SMTP server SHOULD have a timeout of at least 5 minutes while it is awaiting the next command
//# from the sender.
#[test]
fn an_idle_connection_ends_without_a_failure() {
    let told = ["ready", "settled 0 stored", "ready", "closed []"];
    let once = Conversation::new().begins(FROM, ONE, TEXT).delivers(ONE, TEXT);
    let almost = minutes(5) - Duration::from_nanos(1);
    let outcome = once.clone().waits(almost).tells(&told[..3]);
    assert_eq!(outcome.over, (false, false));
    let outcome = once.waits(minutes(5)).tells(&told);
    assert_eq!(outcome.over, (true, true));
    assert!(outcome.down.ends_with("421 4.4.2 mx.example Timed out waiting for you\r\n"));
}

//= RFC 5321 §4.5.3.2.5, type=test
//# Data Block: 3 Minutes
#[test]
fn content_that_stays_away_ends_the_session_and_is_not_taken() {
    let outcome = Conversation::new()
        .chunking(false)
        .holds(5)
        .begins(FROM, ONE, TEXT)
        .waits(minutes(3))
        .tells(&[
            "ready",
            "closed at content: 421 4.4.2 mx.example Timed out waiting for you; [0]",
        ]);
    assert_eq!(outcome.over, (true, true));
    assert!(outcome.up.ends_with("DATA\r\n01234"), "{}", outcome.up);
    let outcome = Conversation::new()
        .chunking(true)
        .holds(5)
        .begins(FROM, ONE, TEXT)
        .waits(minutes(3))
        .tells(&[
            "ready",
            "closed at content: 421 4.4.2 mx.example Timed out waiting for you; [0]",
        ]);
    assert!(outcome.up.ends_with("BDAT 12 LAST\r\n01234"), "{}", outcome.up);
}

#[test]
fn content_that_comes_in_time_is_taken() {
    Conversation::new()
        .holds(5)
        .begins(FROM, ONE, TEXT)
        .waits(minutes(3) - Duration::from_nanos(1))
        .holds(usize::MAX)
        .delivers(ONE, TEXT)
        .tells(&["ready", "settled 0 stored", "ready"]);
}

//= RFC 5321 §4.5.3.2.6, type=test
//# DATA Termination: 10 Minutes. This is while awaiting the "250 OK" reply. When the receiver gets
//# the final period terminating the message data, it typically performs processing to deliver the
//# message to a user mailbox.
#[test]
fn an_end_that_is_not_answered_is_waited_for_ten_minutes() {
    let open = Conversation::new().begins("endopen@a.example", ONE, TEXT);
    let outcome =
        open.clone().waits(minutes(10)).tells(&["ready", "closed at content: TimedOut; [0]"]);
    assert_eq!(outcome.over, (true, false), "the question is still open");
    open.clone()
        .waits(minutes(10) - Duration::from_nanos(1))
        .answers(Answer::stored(MessageId(1)))
        .delivers(ONE, TEXT)
        .tells(&["ready", "settled 0 stored", "ready"]);
    // The answer comes too late to be heard: stored here, and sent again by the other side.
    let outcome = open
        .waits(minutes(10))
        .answers(Answer::stored(MessageId(1)))
        .delivers(ONE, TEXT)
        .tells(&["ready", "closed at content: TimedOut; [0]"]);
    assert_eq!(outcome.over, (true, true));
}

//= RFC 5321 §4.5.3.2.2, type=test
//# MAIL Command: 5 Minutes
//= RFC 5321 §4.5.3.2.3, type=test
//# RCPT Command: 5 Minutes
//= RFC 5321 §4.5.3.2.4, type=test
//# DATA Initiation: 2 Minutes
#[test]
fn each_command_has_its_time() {
    let cases = [
        ("mailopen@a.example", "r@b.example", minutes(5), "MAIL"),
        (FROM, "rcptopen@b.example", minutes(5), "RCPT"),
        ("dataopen@a.example", "r@b.example", minutes(2), "DATA"),
    ];
    for (from, recipient, patience, stage) in cases {
        let open = Conversation::new().chunking(false).begins(from, &[recipient], TEXT);
        open.clone().waits(patience - Duration::from_nanos(1)).tells(&["ready"]);
        let closed = format!("closed at {stage}: TimedOut; [0]");
        let outcome = open.waits(patience).tells(&["ready", &closed]);
        assert_eq!(outcome.over, (true, true));
    }
}

#[test]
fn a_connection_that_breaks_before_the_reply_leaves_the_message_to_both() {
    let told = ["ready", "closed at content: Closed; [0]"];
    let broken = Conversation::new().begins("endopen@a.example", ONE, TEXT).breaks();
    broken.clone().answers(Answer::stored(MessageId(1))).delivers(ONE, TEXT).tells(&told);
    broken.answers(Answer::NOT_STORED).tells(&told);
}

#[test]
fn a_connection_that_breaks_amid_content_leaves_nothing() {
    let told = ["ready", "closed at content: Closed; [0]"];
    Conversation::new().holds(5).begins(FROM, ONE, TEXT).breaks().chunking(true).tells(&told);
    // The whole of it was there but for its end, which is the dot alone.
    Conversation::new()
        .holds(TEXT.len() - 1)
        .begins(FROM, ONE, TEXT)
        .breaks()
        .chunking(false)
        .tells(&told);
}

//= RFC 5321 §3.8, type=test
//# After detecting the need to shut down the SMTP service and returning a 421 response code.
#[test]
fn a_drain_lets_content_that_has_begun_arrive() {
    let settled = ["ready", "settled 0 stored", "ready", "closed []"];
    let outcome = Conversation::new()
        .holds(5)
        .begins(FROM, ONE, TEXT)
        .drains()
        .holds(usize::MAX)
        .delivers(ONE, TEXT)
        .chunking(true)
        .tells(&settled);
    assert_eq!(outcome.over, (true, true));
    let outcome = Conversation::new().drains().tells(&["ready", "closed []"]);
    assert_eq!(outcome.over, (true, true));
}
