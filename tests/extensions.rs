//! A test for each MUST that the extensions on offer put on a receiver: RFC 1870, 2034, 2920, 3030,
//! 6152, 6531.
//!
//! Clauses about parameters stand beside their parser.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut, match and unwrap freely"
)]

use relay_fast::mail::envelope::{BodyType, Notify, Ret};
use relay_fast::smtp::answer::Answer;
use relay_fast::smtp::extension::Offered;
use relay_fast::smtp::server::{Event, Options, Session};

#[path = "support/session.rs"]
mod session;

use session::{Server, code, codes, options, yes};

const MAIL: &str = "MAIL FROM:<a@a.example>";
const RCPT: &str = "RCPT TO:<b@b.example>";

/// Says that there is no room for content, and yes to everything else.
fn without_room() -> Server {
    let policy = |asked, _: &Session| match asked {
        Event::Content => Some(Answer::NO_ROOM),
        Event::Mail
        | Event::Rcpt
        | Event::ContentFull
        | Event::End
        | Event::Aborted
        | Event::StartTls
        | Event::Password
        | Event::Verifier
        | Event::Proved
        | Event::Disproved
        | Event::Presented => Some(yes(asked)),
    };
    Server::with_policy(options(), policy).past_hello()
}

//= RFC 2920 §3.2, type=test
//# MUST respond to commands in the order they are received from the client.
#[test]
fn commands_may_come_in_groups_and_are_answered_in_order() {
    let mut server = Server::ready();
    let group = format!("RSET\r\n{MAIL}\r\n{RCPT}\r\nRCPT TO:<c>\r\n{RCPT}\r\nDATA\r\n");
    assert_eq!(codes(&server.send(group)), [250, 250, 250, 501, 250, 354]);
    let group = format!("x\r\n.\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\n");
    assert_eq!(codes(&server.send(group)), [250, 250, 250, 354]);
    assert_eq!(codes(&server.send(".\r\nQUIT\r\n")), [250, 221]);
    assert_eq!(server.messages.len(), 2);
}

//= RFC 2034 §4, type=test
//# The text part of all 2xx, 4xx, and 5xx SMTP responses other than the initial greeting and any
//# response to HELO or EHLO are prefaced with a status code
#[test]
fn every_reply_carries_a_status_of_its_class() {
    let long = "x".repeat(2_100);
    let mail = |rest: &str| format!("{MAIL} {rest}");
    let commands = [
        "NOOP",
        "RSET",
        "VRFY b",
        "VRFY",
        "EXPN l",
        "HELP",
        "STARTTLS",
        "AUTH PLAIN",
        "XYZZY",
        "",
        "a\nb",
        "NO\0OP",
        &long,
        RCPT,
        "DATA",
        "DATA now",
        &mail("X=1"),
        &mail("SIZE=x"),
        &mail("SIZE=99999999999"),
        "MAIL FROM:<a>",
        "MAIL FROM:<ü@a.example>",
        MAIL,
        MAIL,
        "DATA",
        "RCPT TO:<b>",
        &format!("{RCPT} X=1"),
        RCPT,
        "BDAT 3\r\na",
        "DATA",
        "BDAT 0 LAST",
        "QUIT now",
        "QUIT",
    ];
    let mut server = Server::new(Options { errors_max: 100, ..options() }).past_hello();
    let replies = commands.map(|command| server.send(format!("{command}\r\n"))).concat();
    assert_eq!(replies.lines().count(), commands.len(), "{replies}");
    for reply in replies.lines() {
        let (code, text) = reply.split_at(4);
        let status = text.split(' ').next().expect("a word");
        let numbers: Vec<u16> = status.split('.').map(|part| part.parse().unwrap()).collect();
        assert!(numbers.len() == 3 && code.starts_with(&numbers[0].to_string()), "{reply}");
    }
}

//= RFC 6531 §3.1, type=test
//# An SMTP server that announces the SMTPUTF8 extension MUST be prepared to accept a UTF-8 string
//# in any position in which RFC 5321 specifies that a <mailbox> can appear.
#[test]
fn utf8_is_taken_wherever_a_mailbox_stands() {
    let mut server = Server::new(options());
    server.output();
    let offer = server.send("EHLO c.example\r\n");
    assert!(offer.contains("-SMTPUTF8\r\n") && offer.contains("-8BITMIME\r\n"), "{offer}");
    let mail = "MAIL FROM:<\"ř \"@příklad.example> SMTPUTF8";
    assert_eq!(server.codes(&[mail, "RCPT TO:<用户@例え.example>", "VRFY ř"]), [250, 250, 252]);
    let envelope = server.session.envelope().expect("a transaction");
    assert_eq!(envelope.reverse_path.as_str(), "\"ř \"@příklad.example");
    assert_eq!(envelope.recipients[0].forward_path.as_str(), "用户@例え.example");
}

//= RFC 1870 §6.1, type=test
//# 552 message size exceeds fixed maximium message size
#[test]
fn a_size_that_is_declared_or_received_has_a_limit() {
    let small = || Server::new(Options { message_bytes_max: 1_000, ..options() }).past_hello();
    let mut server = small();
    assert_eq!(server.codes(&[&format!("{MAIL} SIZE=1001"), RCPT]), [552, 503]);
    assert_eq!(server.codes(&[&format!("{MAIL} SIZE=1000"), RCPT, "DATA"]), [250, 250, 354]);
    let line = format!("{}\r\n", "x".repeat(98));
    let reply = server.send(format!("{}y\r\n.\r\nNOOP\r\n", line.repeat(10)));
    assert_eq!(codes(&reply), [552, 250]);
    assert_eq!(server.events.last(), Some(&Event::Aborted));
    server.begin_data();
    assert_eq!(code(&server.send(format!("{}.\r\n", line.repeat(10)))), 250);
    // Far over the limit the end is not waited for.
    server.begin_data();
    assert_eq!(code(&server.send(line.repeat(21))), 421);
    assert!(server.session.is_over());
}

//= RFC 6152 §3, type=test
//# A server that supports the 8-bit MIME transport service extension shall preserve all bits in
//# each octet passed using the DATA command.
#[test]
fn eight_bits_pass_and_are_told() {
    let body_type = |parameter: &str, content: &str| {
        let mut server = Server::ready();
        server.codes(&[&format!("{MAIL}{parameter}"), RCPT, "DATA"]);
        assert_eq!(code(&server.send(format!("{content}\r\n.\r\n"))), 250);
        assert_eq!(server.messages[0].content, format!("{content}\r\n").as_bytes());
        server.messages[0].envelope.body_type
    };
    assert_eq!(body_type("", "plain"), BodyType::SevenBit);
    assert_eq!(body_type(" BODY=7BIT", "plain"), BodyType::SevenBit);
    assert_eq!(body_type(" BODY=8BITMIME", "plain"), BodyType::EightBitMime);
    // Said or not: taken, as Postfix does, and the next hop is told the truth.
    assert_eq!(body_type("", "é"), BodyType::EightBitMime);
    assert_eq!(body_type(" BODY=7BIT", "é"), BodyType::EightBitMime);
}

#[test]
fn what_mail_and_rcpt_ask_for_is_in_the_envelope() {
    let mut server = Server::ready();
    let mail = format!("{MAIL} RET=HDRS ENVID=id+2B1 SMTPUTF8 SIZE=10 BODY=8BITMIME");
    let rcpt = "RCPT TO:<ü@b.example> NOTIFY=SUCCESS,FAILURE ORCPT=utf-8;ü@c.example";
    assert_eq!(server.codes(&[&mail, rcpt]), [250, 250]);
    assert_eq!(server.session.size_declared(), Some(10));
    let envelope = server.session.envelope().expect("a transaction");
    assert_eq!(envelope.ret, Some(Ret::Headers));
    assert_eq!(envelope.envelope_id.as_deref(), Some("id+1"));
    assert!(envelope.smtp_utf8);
    let recipient = &envelope.recipients[0];
    let notify = Notify::When { success: true, failure: true, delay: false };
    assert_eq!(recipient.notify, notify);
    let original = recipient.original.as_ref().expect("an original recipient");
    assert_eq!((&*original.kind, &*original.address), ("utf-8", "ü@c.example"));
}

//= RFC 3030 §2, type=test
//# The BDAT verb takes two arguments. The first argument indicates the length, in octets, of the
//# binary data chunk. The second optional argument indicates that the data chunk is the last.
//= RFC 3030 §2, type=test
//# A 250 response MUST be sent to each successful BDAT data block within a mail transaction.
#[test]
fn chunks_make_a_message() {
    let mut server = Server::ready();
    server.codes(&[MAIL, RCPT]);
    assert_eq!(server.send("BDAT 5\r\na\r\n.\r"), "250 2.0.0 Chunk ok\r\n");
    assert_eq!(codes(&server.send("BDAT 1\r\n\nBDAT 0\r\nBDAT 3 LAST\r\n.\r\n")), [250, 250, 250]);
    assert_eq!(server.messages[0].content, b"a\r\n.\r\n.\r\n");
    let whole = format!("{MAIL}\r\n{RCPT}\r\nBDAT 0 LAST\r\n");
    assert_eq!(codes(&server.send(whole)), [250, 250, 250]);
    assert_eq!(server.messages[1].content, b"");
}

//= RFC 3030 §2, type=test
//# If a failure occurs after a BDAT command is received, the receiver-SMTP MUST accept and discard
//# the associated message data before sending the appropriate 5XX or 4XX code.
#[test]
fn a_refused_chunk_is_never_read_as_commands() {
    let chunk = "BDAT 6\r\nQUIT\r\nNOOP\r\n";
    let last = "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n";
    for bdat in [chunk, last] {
        let mut server = Server::ready();
        assert_eq!(codes(&server.send(bdat)), [503, 250], "no MAIL");
        server.codes(&[MAIL]);
        assert_eq!(codes(&server.send(bdat)), [554, 250], "no RCPT");
        let mut server = without_room();
        server.codes(&[MAIL, RCPT]);
        assert_eq!(server.send("BDAT 6"), "");
        assert_eq!(codes(&server.send(&bdat[6..])), [452, 250], "no room");
        let offered = Offered { chunking: false, ..Offered::ALL };
        let mut server = Server::new(Options { extensions: offered, ..options() }).past_hello();
        server.codes(&[MAIL, RCPT]);
        assert_eq!(codes(&server.send(bdat)), [502, 250], "not offered");
        let mut server = Server::new(Options { message_bytes_max: 5, ..options() }).past_hello();
        server.codes(&[MAIL, RCPT]);
        assert_eq!(codes(&server.send(bdat)), [552, 250], "too big");
    }
}

#[test]
fn where_the_next_command_begins_is_known_or_the_session_ends() {
    let unknown = [
        "BDAT\r\n".to_owned(),
        "BDAT x\r\n".to_owned(),
        "BDAT 1 FIRST\r\n".to_owned(),
        "bdat 5\nLAST\r\n".to_owned(),
        format!("BDAT {}\r\n", "1".repeat(3_000)),
        "BDAT 99999999999 LAST\r\n".to_owned(),
    ];
    for command in unknown {
        let mut server = Server::ready();
        server.codes(&[MAIL, RCPT]);
        let reply = server.send(format!("{command}RSET\r\n"));
        assert_eq!(codes(&reply), [421], "{command:.20}");
    }
}

//= RFC 3030 §2, type=test
//# Any BDAT command sent after the BDAT LAST is illegal and MUST be replied to with a 503 "Bad
//# sequence of commands" reply code.
//= RFC 3030 §2, type=test
//# DATA and BDAT commands cannot be used in the same transaction. If a DATA statement is issued
//# after a BDAT for the current transaction, a 503 "Bad sequence of commands" MUST be issued.
#[test]
fn data_and_bdat_do_not_mix() {
    let mut server = Server::ready();
    server.codes(&[MAIL, RCPT]);
    assert_eq!(codes(&server.send("BDAT 3\r\na\r\n")), [250]);
    assert_eq!(server.codes(&["DATA", RCPT, MAIL, "NOOP"]), [503, 503, 503, 250]);
    assert_eq!(codes(&server.send("BDAT 0 LAST\r\nBDAT 3 LAST\r\nx\r\n")), [250, 503]);
    assert_eq!(server.messages.len(), 1);
}

//= RFC 3030 §3, type=test
//# BINARYMIME cannot be used with the DATA command. If a DATA command is issued after a MAIL
//# command containing the body-value of "BINARYMIME", a 503 "Bad sequence of commands" response
//# MUST be sent.
#[test]
fn binary_content_comes_in_chunks_and_as_it_is() {
    let mut server = Server::ready();
    let mail = format!("{MAIL} BODY=BINARYMIME");
    assert_eq!(server.codes(&[&mail, RCPT, "DATA"]), [250, 250, 503]);
    let mut input = b"BDAT 256 LAST\r\n".to_vec();
    input.extend(0..=255u8);
    assert_eq!(code(&server.send(input)), 250);
    assert_eq!(server.messages[0].content, (0..=255).collect::<Vec<u8>>());
    assert_eq!(server.messages[0].envelope.body_type, BodyType::BinaryMime);
}

#[test]
fn a_chunk_of_text_that_is_refused_fails_the_transaction() {
    let mut server = Server::ready();
    let group = format!("{MAIL}\r\n{RCPT}\r\nBDAT 4\r\na\nb\nBDAT 3 LAST\r\nx\r\nNOOP\r\n");
    assert_eq!(codes(&server.send(group)), [250, 250, 554, 503, 250]);
    assert_eq!(server.events.last(), Some(&Event::Aborted));
    assert!(server.messages.is_empty());
    // A CR at the end of one chunk and its LF at the start of the next are one line ending; a CR at
    // the end of all is bare.
    let group = format!("{MAIL}\r\n{RCPT}\r\nBDAT 2\r\na\rBDAT 3 LAST\r\n\nb\r");
    assert_eq!(codes(&server.send(group)), [250, 250, 250, 554]);
}
