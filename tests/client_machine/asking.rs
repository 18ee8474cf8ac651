//! Recipients that are asked about: no content ever goes to the peer.

use std::time::Duration;

use crate::client_machine::dialogue::Dialogue;

const MAIL: &str = "MAIL FROM:<>\r\n";
const RCPT: &str = "RCPT TO:<r@b.example>\r\n";

//= RFC 5321 §4.1.1.5, type=test
//# This command specifies that the current mail transaction will be aborted. Any stored sender,
//# recipients, and mail data MUST be discarded
#[test]
fn a_recipient_is_asked_about_and_nothing_is_sent() {
    for extensions in ["PIPELINING SIZE=1000 8BITMIME DSN", "PIPELINING CHUNKING"] {
        Dialogue::greeted(extensions)
            .asks("r@b.example")
            .hears(&format!("{MAIL}{RCPT}"))
            .says("250 2.1.0 ok\r\n250 2.1.5 there is one\r\n")
            .asks("s@b.example")
            .hears(&format!("RSET\r\n{MAIL}RCPT TO:<s@b.example>\r\n"))
            .says("250 2.0.0 ok\r\n250 2.1.0 ok\r\n550 5.1.1 there is none\r\n")
            .quits()
            .hears("QUIT\r\n")
            .says("221 2.0.0 bye\r\n")
            .tells(&[
                "ready",
                "settled 0 250 2.1.5 there is one",
                "ready",
                "settled 0 RCPT 550 5.1.1 there is none",
                "ready",
                "closed []",
            ]);
    }
}

#[test]
fn without_pipelining_one_command_waits_for_the_other() {
    Dialogue::greeted("")
        .asks("r@b.example")
        .hears(MAIL)
        .says("250 ok\r\n")
        .hears(RCPT)
        .says("251 forwarded\r\n")
        .tells(&["ready", "settled 0 251 forwarded", "ready"]);
}

#[test]
fn mail_may_follow_a_question() {
    Dialogue::greeted("PIPELINING CHUNKING")
        .asks("r@b.example")
        .hears(&format!("{MAIL}{RCPT}"))
        .cannot_begin()
        .says("250 ok\r\n250 ok\r\n")
        .begins(&["r@b.example"], "x")
        .hears(&format!("RSET\r\nMAIL FROM:<s@a.example>\r\n{RCPT}BDAT 1 LAST\r\nx"))
        .says("250 ok\r\n250 ok\r\n250 ok\r\n250 queued\r\n")
        .tells(&["ready", "settled 0 250 ok", "ready", "settled 0 250 queued", "ready"]);
}

#[test]
fn a_peer_that_says_something_else_is_understood() {
    // MAIL is refused, and so is RCPT, or even taken.
    for rcpt in ["503 5.5.1 no", "250 ok"] {
        Dialogue::greeted("PIPELINING")
            .asks("r@b.example")
            .hears(&format!("{MAIL}{RCPT}"))
            .says(&format!("550 5.7.1 not you\r\n{rcpt}\r\n"))
            .asks("s@b.example")
            .hears(&format!("{MAIL}RCPT TO:<s@b.example>\r\n"))
            .tells(&["ready", "settled 0 MAIL 550 5.7.1 not you", "ready"]);
    }
    // Nobody was accepted before it, so there cannot be too many.
    Dialogue::greeted("PIPELINING")
        .asks("r@b.example")
        .hears(&format!("{MAIL}{RCPT}"))
        .says("250 ok\r\n452 4.5.3 too many\r\n")
        .tells(&["ready", "settled 0 RCPT 452 4.5.3 too many", "ready"]);
    Dialogue::greeted("PIPELINING")
        .asks("r@b.example")
        .hears(&format!("{MAIL}{RCPT}"))
        .says("250 ok\r\n421 4.3.2 leaving\r\n")
        .tells(&["ready", "closed at RCPT: 421 4.3.2 leaving; [0]"]);
    Dialogue::greeted("PIPELINING")
        .asks("r@b.example")
        .hears(&format!("{MAIL}{RCPT}"))
        .waits(Duration::from_secs(301))
        .tells(&["ready", "closed at MAIL: TimedOut; [0]"]);
}

//= RFC 6531 §3.1, type=test
//# If the SMTPUTF8 SMTP extension is not offered by the SMTP server, the SMTPUTF8-aware SMTP client
//# MUST NOT transmit an internationalized email address
#[test]
fn a_recipient_beyond_ascii_is_asked_about_where_that_can_be_asked() {
    Dialogue::greeted("PIPELINING SMTPUTF8 8BITMIME")
        .asks("ren\u{e9}@b.example")
        .hears("MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<ren\u{e9}@b.example>\r\n")
        .tells(&["ready"]);
    Dialogue::greeted("PIPELINING")
        .asks("ren\u{e9}@b.example")
        .asks("r@b.example")
        .hears(&format!("{MAIL}{RCPT}"))
        .tells(&["ready", "settled 0 MAIL 5.6.7 does not offer SMTPUTF8", "ready"]);
}
