//! Transactions: what is sent in one go, who gets which result.

use relay_fast::base::limits::CONTENT_WINDOW;
use relay_fast::mail::envelope::{BodyType, Notify, OriginalRecipient, Ret};

use crate::client_machine::dialogue::Dialogue;
use crate::sender::{envelope, transaction};

const ONE: &[&str] = &["r@b.example"];
const THREE: &[&str] = &["r@b.example", "s@b.example", "t@b.example"];
const MAIL: &str = "MAIL FROM:<s@a.example>\r\n";
const RCPT: &str = "RCPT TO:<r@b.example>\r\n";
const THREE_RCPTS: &str =
    "RCPT TO:<r@b.example>\r\nRCPT TO:<s@b.example>\r\nRCPT TO:<t@b.example>\r\n";

//= RFC 5321 §3.3, type=test
//# There are three steps to SMTP mail transactions.
#[test]
fn without_pipelining_one_command_waits_for_the_other() {
    let script = Dialogue::greeted("")
        .begins(&THREE[..2], "Subject: x\r\n\r\n.hi")
        .hears(MAIL)
        .says("250 ok\r\n")
        .hears(RCPT)
        .says("250 ok\r\n")
        .hears("RCPT TO:<s@b.example>\r\n")
        .says("550 5.1.1 no\r\n")
        .hears("DATA\r\n")
        .says("354 go on\r\n")
        .hears("Subject: x\r\n\r\n..hi\r\n.\r\n")
        .says("250 2.0.0 queued as 1\r\n");
    let settled = "settled 1 RCPT 550 5.1.1 no, 0 250 2.0.0 queued as 1";
    for window in [1, 3, 100] {
        let played = script.clone().window(window).tells(&["ready", settled, "ready"]);
        assert_eq!(played.transactions_done, 1);
    }
}

//= RFC 2920 §3.1, type=test
//# Once the client SMTP has confirmed that support exists for the pipelining extension, the client
//# SMTP may then elect to transmit groups of SMTP commands in batches without waiting for a
//# response
//# to each individual command.
#[test]
fn with_pipelining_all_commands_leave_at_once() {
    Dialogue::greeted("PIPELINING")
        .begins(THREE, "x\r\n")
        .hears(&format!("{MAIL}{THREE_RCPTS}DATA\r\n"))
        .says("250 ok\r\n250 ok\r\n450 later\r\n251 forwarded\r\n354 go on\r\n")
        .hears("x\r\n.\r\n")
        .says("250 queued\r\n")
        .tells(&["ready", "settled 1 RCPT 450 later, 0 250 queued, 2 250 queued", "ready"]);
}

#[test]
fn a_knob_forbids_pipelining() {
    Dialogue::greeted("PIPELINING")
        .without_pipelining()
        .begins(ONE, "x\r\n")
        .hears(MAIL)
        .tells(&["ready"]);
}

//= RFC 3030 §2, type=test
//# The BDAT verb takes two arguments.  The first argument indicates the length, in octets, of the
//# binary data chunk.  The second optional argument indicates that the data chunk is the last.
#[test]
fn with_chunking_the_content_leaves_with_the_commands() {
    Dialogue::greeted("PIPELINING CHUNKING")
        .begins(&THREE[..2], ".x\r\n.")
        .hears(&format!("{MAIL}{RCPT}RCPT TO:<s@b.example>\r\nBDAT 5 LAST\r\n.x\r\n."))
        .says("250 ok\r\n250 ok\r\n250 ok\r\n250 queued\r\n")
        .tells(&["ready", "settled 0 250 queued, 1 250 queued", "ready"]);
}

#[test]
fn a_knob_forbids_chunking() {
    Dialogue::greeted("PIPELINING CHUNKING")
        .without_chunking()
        .begins(ONE, "x")
        .hears(&format!("{MAIL}{RCPT}DATA\r\n"))
        .tells(&["ready"]);
}

#[test]
fn chunks_without_pipelining_wait_for_the_recipients() {
    Dialogue::greeted("CHUNKING")
        .begins(ONE, "x")
        .hears(MAIL)
        .says("250 ok\r\n")
        .hears(RCPT)
        .says("250 ok\r\n")
        .hears("BDAT 1 LAST\r\nx")
        .says("250 queued\r\n")
        .tells(&["ready", "settled 0 250 queued", "ready"]);
}

#[test]
fn a_long_chunk_is_announced_only_once_somebody_gets_it() {
    let content = "0123456789abcde\n".repeat(CONTENT_WINDOW / 8);
    Dialogue::greeted("PIPELINING CHUNKING")
        .begins(ONE, &content)
        .hears(&format!("{MAIL}{RCPT}"))
        .says("250 ok\r\n250 ok\r\n")
        .hears(&format!("BDAT {} LAST\r\n{content}", content.len()))
        .says("250 queued\r\n")
        .tells(&["ready", "settled 0 250 queued", "ready"]);
    Dialogue::greeted("PIPELINING CHUNKING")
        .begins(ONE, &content)
        .hears(&format!("{MAIL}{RCPT}"))
        .says("250 ok\r\n550 no\r\n")
        .begins(ONE, "x")
        .hears(&format!("RSET\r\n{MAIL}{RCPT}BDAT 1 LAST\r\nx"))
        .tells(&["ready", "settled 0 RCPT 550 no", "ready"]);
}

#[test]
fn empty_content_is_sent_too() {
    Dialogue::greeted("PIPELINING CHUNKING")
        .begins(ONE, "")
        .hears(&format!("{MAIL}{RCPT}BDAT 0 LAST\r\n"))
        .says("250 ok\r\n250 ok\r\n250 queued\r\n")
        .tells(&["ready", "settled 0 250 queued", "ready"]);
    Dialogue::greeted("PIPELINING")
        .begins(ONE, "")
        .hears(&format!("{MAIL}{RCPT}DATA\r\n"))
        .says("250 ok\r\n250 ok\r\n354 go\r\n")
        .hears(".\r\n")
        .says("250 queued\r\n")
        .tells(&["ready", "settled 0 250 queued", "ready"]);
}

//= RFC 2920 §3.1, type=test
//# Client SMTP implementations that employ pipelining MUST check ALL statuses returned for each
//# command in a group … if none of the RCPT TO commands were accepted … and the DATA command … was
//# accepted the client SMTP should send a single dot.
#[test]
fn where_all_are_refused_and_data_is_not_a_single_dot_goes() {
    for end in ["554 no valid recipients", "250 thanks for nothing"] {
        Dialogue::greeted("PIPELINING")
            .begins(&THREE[..2], "secret\r\n")
            .hears(&format!("{MAIL}{RCPT}RCPT TO:<s@b.example>\r\nDATA\r\n"))
            .says("250 ok\r\n550 no\r\n551 no\r\n354 go on\r\n")
            .hears(".\r\n")
            .says(&format!("{end}\r\n"))
            .begins(ONE, "x")
            .hears(&format!("{MAIL}{RCPT}DATA\r\n"))
            .tells(&["ready", "settled 0 RCPT 550 no, 1 RCPT 551 no", "ready"]);
    }
}

#[test]
fn where_all_are_refused_and_data_too_rset_clears_the_transaction() {
    Dialogue::greeted("PIPELINING")
        .begins(ONE, "secret")
        .hears(&format!("{MAIL}{RCPT}DATA\r\n"))
        .says("250 ok\r\n550 no\r\n503 5.5.1 no recipients\r\n")
        .begins(ONE, "x")
        .hears(&format!("RSET\r\n{MAIL}{RCPT}DATA\r\n"))
        .says("250 reset\r\n250 ok\r\n250 ok\r\n354 go\r\n")
        .hears("x\r\n.\r\n")
        .says("250 queued\r\n")
        .tells(&["ready", "settled 0 RCPT 550 no", "ready", "settled 0 250 queued", "ready"]);
}

#[test]
fn a_refused_mail_refuses_everyone() {
    let refused = "settled 0 MAIL 550 5.1.8 bad sender, 1 MAIL 550 5.1.8 bad sender";
    Dialogue::greeted("")
        .begins(&THREE[..2], "x")
        .hears(MAIL)
        .says("550 5.1.8 bad sender\r\n")
        .begins(ONE, "x")
        .hears(MAIL)
        .tells(&["ready", refused, "ready"]);
    // Pipelined, whatever the peer makes of the rest.
    for rest in ["503 x\r\n503 x\r\n503 x\r\n", "250 x\r\n421x\r\n"] {
        let script = Dialogue::greeted("PIPELINING")
            .begins(&THREE[..2], "x")
            .hears(&format!("{MAIL}{RCPT}RCPT TO:<s@b.example>\r\nDATA\r\n"))
            .says("550 5.1.8 bad sender\r\n");
        if rest.contains("503") {
            script
                .says(rest)
                .begins(ONE, "x")
                .hears(&format!("{MAIL}{RCPT}DATA\r\n"))
                .tells(&["ready", refused, "ready"]);
        } else {
            let broken = "closed at RCPT: Protocol(\"no reply code: \\\"421x\\\"\"); []";
            script.says(rest).tells(&["ready", refused, broken]);
        }
    }
}

#[test]
fn recipients_taken_after_a_refused_mail_get_nothing() {
    Dialogue::greeted("PIPELINING")
        .begins(ONE, "secret")
        .hears(&format!("{MAIL}{RCPT}DATA\r\n"))
        .says("451 no\r\n250 ok\r\n354 go on\r\n")
        .hears(".\r\n")
        .says("250 whatever\r\n")
        .tells(&["ready", "settled 0 MAIL 451 no", "ready"]);
    Dialogue::greeted("PIPELINING CHUNKING")
        .begins(ONE, "x")
        .hears(&format!("{MAIL}{RCPT}BDAT 1 LAST\r\nx"))
        .says("451 no\r\n250 ok\r\n250 ok\r\n")
        .tells(&["ready", "settled 0 MAIL 451 no", "ready"]);
}

//= RFC 3030 §2, type=test
//# the resulting state from this error is indeterminate.  A RSET command MUST be sent to clear the
//# transaction before continuing.
#[test]
fn a_refused_chunk_is_followed_by_rset() {
    for (rcpt, settled) in
        [("250 ok", "settled 0 content 554 5.6.0 no"), ("550 x", "settled 0 RCPT 550 x")]
    {
        Dialogue::greeted("PIPELINING CHUNKING")
            .begins(ONE, "x")
            .hears(&format!("{MAIL}{RCPT}BDAT 1 LAST\r\nx"))
            .says(&format!("250 ok\r\n{rcpt}\r\n554 5.6.0 no\r\n"))
            .begins(ONE, "y")
            .hears(&format!("RSET\r\n{MAIL}{RCPT}BDAT 1 LAST\r\ny"))
            .tells(&["ready", settled, "ready"]);
    }
}

#[test]
fn without_pipelining_rset_waits_for_its_reply() {
    Dialogue::greeted("")
        .begins(ONE, "x")
        .hears(MAIL)
        .says("250 ok\r\n")
        .hears(RCPT)
        .says("550 no\r\n")
        .begins(ONE, "x")
        .hears("RSET\r\n")
        .says("250 ok\r\n")
        .hears(MAIL)
        .tells(&["ready", "settled 0 RCPT 550 no", "ready"]);
}

#[test]
fn a_refusal_of_data_or_of_content_is_everyones_who_was_left() {
    let data = Dialogue::greeted("PIPELINING")
        .begins(THREE, "x")
        .hears(&format!("{MAIL}{THREE_RCPTS}DATA\r\n"))
        .says("250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n");
    let refused = "settled 1 RCPT 550 no, 0 DATA 451 busy, 2 DATA 451 busy";
    data.clone().says("451 busy\r\n").tells(&["ready", refused, "ready"]);
    let refused = "settled 1 RCPT 550 no, 0 content 554 spam, 2 content 554 spam";
    data.says("354 go\r\n")
        .hears("x\r\n.\r\n")
        .says("554 spam\r\n")
        .tells(&["ready", refused, "ready"]);
}

//= RFC 5321 §4.5.3.1.10, type=test
//# an SMTP client … SHOULD … treat this … as … temporary … and … attempt to deliver to the
//# remaining
//# recipients in a subsequent transaction
#[test]
fn recipients_for_whom_there_was_no_room_go_in_a_second_round() {
    Dialogue::greeted("PIPELINING")
        .begins(THREE, "x\r\n")
        .hears(&format!("{MAIL}{THREE_RCPTS}DATA\r\n"))
        .says("250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n452 4.5.3 too many\r\n354 go\r\n")
        .hears("x\r\n.\r\n")
        .says("250 one\r\n")
        .hears(&format!("{MAIL}RCPT TO:<s@b.example>\r\nRCPT TO:<t@b.example>\r\nDATA\r\n"))
        .says("250 ok\r\n452 4.5.3 none\r\n250 ok\r\n354 go\r\n")
        .hears("x\r\n.\r\n")
        .says("250 two\r\n")
        .tells(&["ready", "settled 0 250 one, 1 RCPT 452 4.5.3 none, 2 250 two", "ready"]);
}

#[test]
fn a_full_mailbox_or_disk_is_not_a_lack_of_room() {
    Dialogue::greeted("PIPELINING CHUNKING")
        .begins(THREE, "x")
        .hears(&format!("{MAIL}{THREE_RCPTS}BDAT 1 LAST\r\nx"))
        .says("250 ok\r\n250 ok\r\n452 4.2.2 full\r\n452 4.3.1 full\r\n250 one\r\n")
        .tells(&[
            "ready",
            "settled 1 RCPT 452 4.2.2 full, 2 RCPT 452 4.3.1 full, 0 250 one",
            "ready",
        ]);
}

//= RFC 9422 §4.2, type=test
//# RCPTMAX … specifies … the maximum number of RCPT TO commands the server will accept in a single
//# transaction
#[test]
fn limits_of_the_peer_are_kept() {
    let two = "RCPT TO:<r@b.example>\r\nRCPT TO:<s@b.example>\r\n";
    Dialogue::greeted("PIPELINING CHUNKING")
        .begins(THREE, "x")
        .hears(&format!("{MAIL}{THREE_RCPTS}BDAT 1 LAST\r\nx"))
        .tells(&["ready"]);
    let limited = |limits: &str| {
        Dialogue::new()
            .says("220 mx\r\n")
            .hears("EHLO relay.example\r\n")
            .says(&format!("250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 LIMITS {limits}\r\n"))
    };
    limited("RCPTMAX=2")
        .begins(THREE, "x")
        .hears(&format!("{MAIL}{two}BDAT 1 LAST\r\nx"))
        .says("250 ok\r\n250 ok\r\n250 ok\r\n250 one\r\n")
        .hears(&format!("{MAIL}RCPT TO:<t@b.example>\r\nBDAT 1 LAST\r\nx"))
        .says("250 ok\r\n250 ok\r\n250 two\r\n")
        .tells(&["ready", "settled 0 250 one, 1 250 one, 2 250 two", "ready"]);
    limited("RCPTMAX=2 MAILMAX=1")
        .begins(THREE, "x")
        .hears(&format!("{MAIL}{two}BDAT 1 LAST\r\nx"))
        .says("250 ok\r\n250 ok\r\n250 ok\r\n250 one\r\n")
        .hears("QUIT\r\n")
        .tells(&["ready", "settled 0 250 one, 1 250 one", "closed [2]"]);
    limited("RCPTDOMAINMAX=1")
        .begins(&["r@b.example", "r@c.example", "s@b.example"], "x")
        .hears(&format!("{MAIL}{two}BDAT 1 LAST\r\nx"))
        .says("250 ok\r\n250 ok\r\n250 ok\r\n250 one\r\n")
        .hears(&format!("{MAIL}RCPT TO:<r@c.example>\r\nBDAT 1 LAST\r\nx"))
        .tells(&["ready"]);
}

#[test]
fn after_the_last_transaction_that_the_peer_takes_comes_quit() {
    let script = Dialogue::new()
        .says("220 mx\r\n")
        .hears("EHLO relay.example\r\n")
        .says("250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 LIMITS MAILMAX=1\r\n")
        .begins(ONE, "x")
        .hears(&format!("{MAIL}{RCPT}BDAT 1 LAST\r\nx"))
        .says("250 ok\r\n250 ok\r\n250 queued\r\n")
        .hears("QUIT\r\n");
    let told = ["ready", "settled 0 250 queued"];
    assert!(!script.tells(&told).is_over);
    assert!(script.says("221 bye\r\n").tells(&[told[0], told[1], "closed []"]).is_over);
}

#[test]
fn what_the_peer_cannot_take_is_refused_here_and_the_connection_lives() {
    let cases = [
        ("CHUNKING", "é", "settled 0 MAIL 5.6.3 does not offer 8BITMIME"),
        ("SIZE=3", "long", "settled 0 MAIL 5.3.4 takes at most 3 octets, and this message has 4"),
    ];
    for (extensions, content, settled) in cases {
        Dialogue::greeted(extensions)
            .begins(ONE, content)
            .begins(ONE, "x")
            .hears(&MAIL.replace('>', if extensions.contains("SIZE") { "> SIZE=1" } else { ">" }))
            .tells(&["ready", settled, "ready"]);
    }
    let mut binary = envelope(ONE);
    binary.body_type = BodyType::BinaryMime;
    Dialogue::greeted("CHUNKING 8BITMIME")
        .begins_with(transaction(binary.clone(), b"\0\n"), b"\0\n")
        .tells(&["ready", "settled 0 MAIL 5.6.3 does not offer BINARYMIME", "ready"]);
    Dialogue::greeted("CHUNKING PIPELINING BINARYMIME")
        .without_chunking()
        .begins_with(transaction(binary, b"\0\n."), b"\0\n.")
        .hears(&format!("MAIL FROM:<s@a.example> BODY=BINARYMIME\r\n{RCPT}BDAT 3 LAST\r\n\0\n."))
        .tells(&["ready"]);
}

//= RFC 6531 §3.5, type=test
//# If … a delivery … requires … SMTPUTF8 … and the next-hop … does not … the message … MUST … be
//# rejected or … reported as undeliverable
#[test]
fn utf8_addresses_go_only_to_peers_that_take_them() {
    let mixed = || {
        let mut envelope = envelope(&["r@b.example", "ř@b.example"]);
        envelope.smtp_utf8 = true;
        transaction(envelope, b"x")
    };
    Dialogue::greeted("PIPELINING CHUNKING")
        .begins_with(mixed(), b"x")
        .hears(&format!("{MAIL}{RCPT}BDAT 1 LAST\r\nx"))
        .says("250 ok\r\n250 ok\r\n250 queued\r\n")
        .tells(&["ready", "settled 1 MAIL 5.6.7 does not offer SMTPUTF8, 0 250 queued", "ready"]);
    Dialogue::greeted("PIPELINING CHUNKING 8BITMIME SMTPUTF8")
        .begins_with(mixed(), b"x")
        .hears(&format!(
            "MAIL FROM:<s@a.example> SMTPUTF8\r\n{RCPT}RCPT TO:<ř@b.example>\r\nBDAT 1 LAST\r\nx"
        ))
        .tells(&["ready"]);
    let mut header = mixed();
    header.header_has_eight_bit = true;
    let lacks = "MAIL 5.6.7 does not offer SMTPUTF8";
    Dialogue::greeted("8BITMIME").begins_with(header, b"x").tells(&[
        "ready",
        &format!("settled 0 {lacks}, 1 {lacks}"),
        "ready",
    ]);
}

#[test]
fn parameters_follow_what_was_asked_and_what_is_offered() {
    let mut asked = envelope(ONE);
    asked.ret = Some(Ret::Full);
    asked.envelope_id = Some("id 1".into());
    asked.recipients[0].notify = Notify::Never;
    asked.recipients[0].original =
        Some(OriginalRecipient { kind: "rfc822".into(), address: "o@b.example".into() });
    Dialogue::greeted("PIPELINING DSN SIZE 8BITMIME")
        .begins_with(transaction(asked.clone(), "é".as_bytes()), "é".as_bytes())
        .hears(
            "MAIL FROM:<s@a.example> SIZE=2 BODY=8BITMIME RET=FULL ENVID=id+201\r\n\
             RCPT TO:<r@b.example> NOTIFY=NEVER ORCPT=rfc822;o@b.example\r\nDATA\r\n",
        )
        .tells(&["ready"]);
    Dialogue::greeted("PIPELINING")
        .begins_with(transaction(asked, b"x"), b"x")
        .hears(&format!("{MAIL}{RCPT}DATA\r\n"))
        .tells(&["ready"]);
}

#[test]
fn a_transaction_may_be_for_some_recipients_only() {
    let mut some = transaction(envelope(THREE), b"x");
    some.recipients = vec![2, 0];
    Dialogue::greeted("PIPELINING CHUNKING")
        .begins_with(some, b"x")
        .hears(&format!("{MAIL}RCPT TO:<t@b.example>\r\n{RCPT}BDAT 1 LAST\r\nx"))
        .says("250 ok\r\n550 no\r\n250 ok\r\n250 queued\r\n")
        .tells(&["ready", "settled 2 RCPT 550 no, 0 250 queued", "ready"]);
}
