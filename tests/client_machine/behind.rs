//! A transaction that begins while the last reply to the one before is on its way.

use std::time::Duration;

use crate::client_machine::dialogue::Dialogue;

const R: &[&str] = &["r@b.example"];
const S: &[&str] = &["s@b.example"];
const MAIL: &str = "MAIL FROM:<s@a.example>\r\n";
const TO_R: &str = "RCPT TO:<r@b.example>\r\n";
const TO_S: &str = "RCPT TO:<s@b.example>\r\n";

/// Content by DATA for `R` has left.
fn data_is_out(extensions: &str) -> Dialogue {
    Dialogue::greeted(extensions)
        .begins(R, "x\r\n")
        .hears(&format!("{MAIL}{TO_R}DATA\r\n"))
        .says("250 ok\r\n250 ok\r\n354 go on\r\n")
        .hears("x\r\n.\r\n")
}

/// Content by BDAT for `R` has left, and nothing is answered.
fn chunk_is_out(extensions: &str) -> Dialogue {
    Dialogue::greeted(extensions)
        .begins(R, "x\r\n")
        .hears(&format!("{MAIL}{TO_R}BDAT 3 LAST\r\nx\r\n"))
}

/// RFC 2920 §3.1 lets content be the first in a group of commands, with what begins the next
/// transaction behind it.
#[test]
fn behind_data_it_begins_before_the_reply_and_each_reply_finds_its_own() {
    data_is_out("PIPELINING")
        .begins(S, "y\r\n")
        .hears(&format!("{MAIL}{TO_S}DATA\r\n"))
        .says("250 first\r\n250 ok\r\n250 ok\r\n354 go on\r\n")
        .hears("y\r\n.\r\n")
        .says("250 second\r\n")
        .tells(&["ready", "settled 0 250 first", "settled 0 250 second", "ready"]);
}

#[test]
fn a_refused_message_says_nothing_of_the_one_behind_it() {
    data_is_out("PIPELINING")
        .begins(S, "y\r\n")
        .hears(&format!("{MAIL}{TO_S}DATA\r\n"))
        .says("554 spam\r\n250 ok\r\n250 ok\r\n354 go on\r\n")
        .hears("y\r\n.\r\n")
        .says("250 second\r\n")
        .tells(&["ready", "settled 0 content 554 spam", "settled 0 250 second", "ready"]);
}

/// RFC 3030 §2: the state after a failed BDAT is indeterminate, and RSET has to clear it.
#[test]
fn behind_bdat_it_begins_with_rset_since_that_may_fail() {
    let script = chunk_is_out("PIPELINING CHUNKING")
        .begins(S, "y\r\n")
        .hears(&format!("RSET\r\n{MAIL}{TO_S}BDAT 3 LAST\r\ny\r\n"));
    script
        .clone()
        .says("250 ok\r\n250 ok\r\n250 first\r\n")
        .says("250 ok\r\n250 ok\r\n250 ok\r\n250 second\r\n")
        .tells(&["ready", "settled 0 250 first", "settled 0 250 second", "ready"]);
    script
        .says("250 ok\r\n550 no\r\n503 nobody\r\n")
        .says("250 ok\r\n250 ok\r\n250 ok\r\n250 second\r\n")
        .begins(R, "z\r\n")
        .hears(&format!("{MAIL}{TO_R}BDAT 3 LAST\r\nz\r\n"))
        .says("250 ok\r\n250 ok\r\n250 third\r\n")
        .tells(&[
            "ready",
            "settled 0 RCPT 550 no",
            "settled 0 250 second",
            "ready",
            "settled 0 250 third",
            "ready",
        ]);
}

#[test]
fn a_third_begins_once_the_first_is_settled() {
    chunk_is_out("PIPELINING CHUNKING")
        .begins(S, "y\r\n")
        .hears(&format!("RSET\r\n{MAIL}{TO_S}BDAT 3 LAST\r\ny\r\n"))
        .cannot_begin()
        .says("250 ok\r\n250 ok\r\n")
        .cannot_begin()
        .says("250 first\r\n")
        .begins(R, "z\r\n")
        .hears(&format!("RSET\r\n{MAIL}{TO_R}BDAT 3 LAST\r\nz\r\n"))
        .tells(&["ready", "settled 0 250 first"]);
}

#[test]
fn nothing_begins_behind_what_is_not_out_or_may_need_another_round() {
    for script in [
        Dialogue::greeted("PIPELINING").begins(R, "x\r\n").hears(&format!("{MAIL}{TO_R}DATA\r\n")),
        data_is_out("PIPELINING LIMITS=MAILMAX@1"),
    ] {
        script.cannot_begin().tells(&["ready"]);
    }
    Dialogue::greeted("")
        .begins(R, "x\r\n")
        .hears(MAIL)
        .says("250 ok\r\n")
        .hears(TO_R)
        .says("250 ok\r\n")
        .hears("DATA\r\n")
        .says("354 go on\r\n")
        .hears("x\r\n.\r\n")
        .cannot_begin()
        .tells(&["ready"]);
    // Each of the two may be told that there are too many recipients.
    let two = &["r@b.example", "s@b.example"];
    let script = Dialogue::greeted("PIPELINING CHUNKING")
        .begins(two, "x\r\n")
        .hears(&format!("{MAIL}{TO_R}{TO_S}BDAT 3 LAST\r\nx\r\n"))
        .cannot_begin()
        .says("250 ok\r\n250 ok\r\n");
    script.clone().says("452 too many\r\n").cannot_begin().tells(&["ready"]);
    script
        .says("250 ok\r\n")
        .begins(S, "")
        .hears(&format!("RSET\r\n{MAIL}{TO_S}BDAT 0 LAST\r\n"))
        .tells(&["ready"]);
}

#[test]
fn when_the_connection_breaks_only_the_oldest_has_failed() {
    let script = data_is_out("PIPELINING").begins(S, "y\r\n");
    let script = script.hears(&format!("{MAIL}{TO_S}DATA\r\n"));
    script.clone().ends().tells(&["ready", "closed at content: Closed; [0]"]);
    let leaving = "421 leaving\r\n";
    script.clone().says(leaving).tells(&["ready", "closed at content: 421 leaving; [0]"]);
    // The first is settled: it is the second's own matter now.
    script.clone().says("250 first\r\n").ends().tells(&[
        "ready",
        "settled 0 250 first",
        "closed at MAIL: Closed; [0]",
    ]);
    let late = "closed at content: TimedOut; [0]";
    script.waits(Duration::from_secs(601)).tells(&["ready", late]);
}

#[test]
fn what_is_begun_behind_does_not_wait_longer_than_its_own_time() {
    data_is_out("PIPELINING")
        .begins(S, "y\r\n")
        .hears(&format!("{MAIL}{TO_S}DATA\r\n"))
        .waits(Duration::from_secs(500))
        .says("250 first\r\n")
        .waits(Duration::from_secs(301))
        .tells(&["ready", "settled 0 250 first", "closed at MAIL: TimedOut; [0]"]);
}

#[test]
fn quit_waits_for_both() {
    data_is_out("PIPELINING")
        .begins(S, "y\r\n")
        .hears(&format!("{MAIL}{TO_S}DATA\r\n"))
        .quits()
        .cannot_begin()
        .says("250 first\r\n250 ok\r\n250 ok\r\n354 go on\r\n")
        .hears("y\r\n.\r\n")
        .cannot_begin()
        .says("250 second\r\n")
        .hears("QUIT\r\n")
        .says("221 bye\r\n")
        .tells(&["ready", "settled 0 250 first", "settled 0 250 second", "closed []"]);
}

#[test]
fn a_message_that_the_peer_cannot_take_is_settled_in_its_turn() {
    let wide = &["ř@b.example"];
    data_is_out("PIPELINING").begins(wide, "y\r\n").says("250 first\r\n").tells(&[
        "ready",
        "settled 0 250 first",
        "settled 0 MAIL 5.6.7 does not offer SMTPUTF8",
        "ready",
    ]);
}
