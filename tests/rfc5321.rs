//! A test for each MUST that RFC 5321 puts on a receiver.
//!
//! Clauses about lines, verbs, addresses, parameters and transparency stand beside their parsers,
//! those of extensions in `extensions.rs`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::type_complexity,
    reason = "tests cut, match and unwrap freely"
)]

use std::time::Duration;

use relay_fast::base::time::Monotonic;
use relay_fast::mail::address::ForwardPath;
use relay_fast::mail::status::{EnhancedStatus, ReplyCode};
use relay_fast::smtp::answer::Answer;
use relay_fast::smtp::server::{Event, Options, Session};

#[path = "support/session.rs"]
mod session;

use session::{Server, code, codes, options, yes};

const MAIL: &str = "MAIL FROM:<a@a.example>";
const RCPT: &str = "RCPT TO:<b@b.example>";

/// Says `answer` to `event`, and yes to everything else.
fn saying(event: Event, answer: Answer) -> Server {
    let policy =
        move |asked, _: &Session| Some(if asked == event { answer.clone() } else { yes(asked) });
    Server::with_policy(options(), policy).past_hello()
}

// --- The session ---

//= RFC 5321 §3.1, type=test
//# a 554 response MAY be given in the initial connection opening message instead of the 220. A
//# server taking this approach MUST still wait for the client to send a QUIT (see Section 4.1.1.10)
//# before closing the connection and SHOULD respond to any intervening commands with "503 bad
//# sequence of commands".
#[test]
fn a_client_without_service_is_heard_until_it_quits() {
    let now = Monotonic(0);
    let session = Session::refused(options().into(), Answer::NO_SERVICE, now);
    let mut server = Server::of(session, now, |_, _| unreachable!("no question"));
    assert_eq!(code(&server.output()), 554);
    assert_eq!(server.codes(&["EHLO c.example", "NOOP", MAIL]), [503, 503, 503]);
    assert_eq!(code(&server.send("QUIT\r\n")), 221);
    assert!(server.session.is_over());
}

//= RFC 5321 §4.1.1.1, type=test
//# Servers MUST NOT return the extended EHLO-style response to a HELO command.
#[test]
fn helo_gets_one_line() {
    let mut server = Server::new(options());
    assert_eq!(server.output(), "220 mx.example ESMTP relay-fast\r\n");
    assert_eq!(server.send("HELO client.example\r\n"), "250 mx.example\r\n");
    assert_eq!((server.session.hello(), server.session.is_esmtp()), ("client.example", false));
}

//= RFC 5321 §4.1.4, type=test
//# If it is issued after the session begins and the EHLO command is acceptable to the SMTP server,
//# the SMTP server MUST clear all buffers and reset the state exactly as if a RSET command had been
//# issued.
#[test]
fn a_new_ehlo_resets() {
    for again in ["EHLO c.example", "HELO c.example", "RSET"] {
        let mut server = Server::ready();
        assert_eq!(server.codes(&[MAIL, RCPT, again, RCPT, "DATA"]), [250, 250, 250, 503, 503]);
        assert_eq!(server.events, [Event::Mail, Event::Rcpt, Event::Aborted]);
    }
}

//= RFC 5321 §4.1.4, type=test
//# If the EHLO command is not acceptable to the SMTP server, 501, 500, 502, or 550 failure replies
//# MUST be returned as appropriate. The SMTP server MUST stay in the same state after transmitting
//# these replies that it was in before the EHLO was received.
#[test]
fn a_bad_ehlo_changes_nothing() {
    let mut server = Server::ready();
    assert_eq!(server.codes(&[MAIL, "EHLO", "EHLO a b", RCPT]), [250, 501, 501, 250]);
    assert_eq!(server.session.hello(), "client.example");
}

//= RFC 5321 §4.1.4, type=test
//# The NOOP, HELP, EXPN, VRFY, and RSET commands can be used at any time during a session, or
//# without previously initializing a session. SMTP servers SHOULD process these normally (that is,
//# not return a 503 code) even if no EHLO command has yet been received
#[test]
fn some_commands_need_no_ehlo() {
    let mut server = Server::new(options());
    server.output();
    let replies = server.codes(&["NOOP", "HELP", "EXPN staff", "VRFY b", "RSET", MAIL]);
    assert_eq!(replies, [250, 214, 502, 252, 250, 503]);
}

//= RFC 5321 §4.1.4, type=test
//# If the commands in a transaction are out of order to the degree that they cannot be processed
//# by the server, a 503 failure reply MUST be returned and the SMTP server MUST stay in the same
//# state.
#[test]
fn commands_out_of_order_change_nothing() {
    let mut server = Server::ready();
    assert_eq!(
        server.codes(&[RCPT, "DATA", MAIL, MAIL, RCPT, MAIL]),
        [503, 503, 250, 503, 250, 503]
    );
    assert_eq!(code(&server.send("DATA\r\n")), 354);
}

//= RFC 5321 §4.1.1.5, type=test
//# The receiver MUST send a "250 OK" reply to a RSET command with no arguments.
//= RFC 5321 §4.1.1.5, type=test
//# An SMTP server MUST NOT close the connection as the result of receiving a RSET
#[test]
fn rset_is_answered_with_ok() {
    let mut server = Server::ready();
    assert_eq!(
        server.codes(&["RSET", "RSET now", MAIL, "RSET", "RSET"]),
        [250, 501, 250, 250, 250]
    );
    assert!(!server.session.is_over() && server.session.envelope().is_none());
}

//= RFC 5321 §4.1.1.9, type=test
//# If a parameter string is specified, servers SHOULD ignore it.
#[test]
fn noop_does_nothing() {
    let mut server = Server::ready();
    assert_eq!(server.codes(&[MAIL, "NOOP", "NOOP QUIT", RCPT]), [250, 250, 250, 250]);
}

//= RFC 5321 §4.1.1.10, type=test
//# This command specifies that the receiver MUST send a "221 OK" reply, and then close the
//# transmission channel.
#[test]
fn quit_is_answered_before_the_end() {
    let mut server = Server::ready();
    assert_eq!(server.codes(&[MAIL, RCPT, "QUIT"]), [250, 250, 221]);
    assert!(server.session.is_over());
    assert_eq!(server.events.last(), Some(&Event::Aborted));
    assert_eq!(server.send("NOOP\r\n"), "", "nothing is heard after it");
}

//= RFC 5321 §3.5.3, type=test
//# a server MUST NOT return 250 if all it has done is to verify that the syntax given is valid.
#[test]
fn vrfy_promises_nothing() {
    assert_eq!(Server::ready().codes(&["VRFY b", "VRFY", "EXPN staff"]), [252, 501, 502]);
}

//= RFC 5321 §4.5.3.2.7, type=test
//# An SMTP server SHOULD have a timeout of at least 5 minutes while it is awaiting the next command
//# from the sender.
#[test]
fn a_client_has_five_minutes_for_a_command() {
    let mut server = Server::ready();
    assert_eq!(server.wait(Duration::from_secs(299)), "");
    assert_eq!(server.send("NO"), "");
    let reply = server.wait(Duration::from_secs(1));
    assert!(reply.starts_with("421 4.4.2 mx.example "), "{reply}");
    assert!(server.session.is_over());
}

//= RFC 5321 §3.8, type=test
//# An SMTP server MUST NOT intentionally close the connection under normal operational
//# circumstances (see Section 7.8) except: … After detecting the need to shut down the SMTP service
//# and returning a 421 response code.
#[test]
fn a_node_that_drains_says_so() {
    let mut server = Server::ready();
    server.codes(&[MAIL, RCPT]);
    let reply = server.drain();
    assert!(reply.starts_with("421 4.3.2 mx.example "), "{reply}");
    assert!(server.session.is_over());
}

// --- The transaction ---

//= RFC 5321 §4.2.5, type=test
//# When an SMTP server returns a temporary error status (4yz) code after the DATA command is
//# completed with <CRLF>.<CRLF>, it MUST NOT make a subsequent attempt to deliver that message.
#[test]
fn only_the_callers_yes_accepts_a_message() {
    let mut server = saying(Event::End, Answer::NOT_STORED);
    server.begin_data();
    assert_eq!(code(&server.send("a\r\n.\r\n")), 451);
    assert!(server.messages.is_empty());
    // The client may try again in the same session.
    assert_eq!(server.codes(&[MAIL, RCPT, "DATA"]), [250, 250, 354]);
}

//= RFC 5321 §4.1.1.4, type=test
//# This processing consumes the information in the reverse-path buffer, the forward-path buffer,
//# and the mail data buffer, and on the completion of this command these buffers are cleared.
#[test]
fn a_message_is_taken_and_the_next_one_starts_anew() {
    let mut server = Server::ready();
    assert_eq!(code(&server.begin_data()), 354);
    let reply = server.send("Subject: x\r\n\r\n..dot\r\n.\r\n");
    assert_eq!(reply, "250 2.0.0 Stored as 0000000000001\r\n");
    let message = &server.messages[0];
    assert_eq!(message.content, b"Subject: x\r\n\r\n.dot\r\n");
    assert_eq!(message.envelope.reverse_path.as_str(), "a@a.example");
    assert_eq!(message.envelope.recipients[0].forward_path.as_str(), "b@b.example");
    assert_eq!(server.codes(&[RCPT, "DATA"]), [503, 503]);
}

//= RFC 5321 §3.3, type=test
//# If there was no MAIL, or no RCPT, command, or all such commands were rejected, the server MAY
//# return a "command out of sequence" (503) or "no valid recipients" (554) reply in response to the
//# DATA command.
#[test]
fn data_needs_a_recipient() {
    let mut server = saying(Event::Rcpt, Answer::RELAY_DENIED);
    assert_eq!(server.codes(&["DATA", MAIL, "DATA", RCPT, "DATA"]), [503, 250, 554, 550, 554]);
    assert_eq!(server.events, [Event::Mail, Event::Rcpt]);
}

//= RFC 5321 §2.3.5, type=test
//# The reserved mailbox name "postmaster" may be used in a RCPT command without domain
//# qualification (see Section 4.1.1.3) and MUST be accepted if so used.
#[test]
fn postmaster_is_heard_without_a_domain() {
    let mut server = Server::ready();
    assert_eq!(server.codes(&[MAIL, "RCPT TO:<Postmaster>"]), [250, 250]);
    let envelope = server.session.envelope().expect("a transaction");
    assert_eq!(envelope.recipients[0].forward_path, ForwardPath::Postmaster);
}

//= RFC 5321 §4.5.5, type=test
//# All other types of messages (i.e., any message which is not required by a Standards-Track RFC to
//# have a null reverse-path) SHOULD be sent with a valid, non-null reverse-path.
#[test]
fn a_null_reverse_path_is_taken() {
    let mut server = Server::ready();
    assert_eq!(server.codes(&["MAIL FROM:<>", RCPT]), [250, 250]);
    assert!(server.session.envelope().is_some_and(|envelope| envelope.reverse_path.is_null()));
}

//= RFC 5321 §4.1.1.11, type=test
//# If the server SMTP does not recognize or cannot implement one or more of the parameters
//# associated with a particular MAIL FROM or RCPT TO command, it will return code 555.
#[test]
fn malformed_mail_and_rcpt_change_nothing() {
    let mut server = Server::ready();
    let bad = [
        ("MAIL", 501),
        ("MAIL a@a.example", 501),
        ("MAIL FROM:a@a.example", 501),
        ("MAIL FROM:<a@a.example", 501),
        ("MAIL FROM:<a@a_.example>", 501),
        ("MAIL FROM:<a@a.example>SIZE=1", 501),
        ("MAIL FROM:<a@a.example> SIZE=x", 501),
        ("MAIL FROM:<a@a.example> FOO=1", 555),
        ("MAIL FROM:<é@a.example>", 553),
        (RCPT, 503),
    ];
    for (command, refusal) in bad {
        assert_eq!(server.codes(&[command]), [refusal], "{command}");
        assert!(server.session.envelope().is_none(), "{command}");
    }
    server.codes(&[MAIL]);
    let bad = [
        ("RCPT", 501),
        ("RCPT TO:<>", 501),
        ("RCPT TO:<b>", 501),
        ("RCPT TO:<b@b.example> FOO", 555),
        ("RCPT TO:<é@b.example>", 553),
        ("DATA", 554),
    ];
    for (command, refusal) in bad {
        assert_eq!(server.codes(&[command]), [refusal], "{command}");
    }
    assert_eq!(server.events, [Event::Mail]);
}

// --- Limits ---

//= RFC 5321 §4.5.3.1.4, type=test
//# The maximum total length of a command line including the command word and the <CRLF> is 512
//# octets. SMTP extensions may be used to increase this limit.
#[test]
fn a_command_line_has_a_limit_and_the_rest_of_it_is_skipped() {
    let mut server = Server::ready();
    let noop = |octets: usize| format!("NOOP {}\r\n", "x".repeat(octets - 7));
    assert_eq!(code(&server.send(noop(2_048))), 250);
    let reply = server.send(format!("{}NOOP\r\n", noop(2_049)));
    assert_eq!(reply, "500 5.5.2 Command line too long\r\n250 2.0.0 Ok\r\n");
    let mut flood = server.send("x".repeat(3_000));
    flood += &server.send("x".repeat(70_000));
    assert_eq!(codes(&flood), [500, 421]);
    assert!(server.session.is_over());
}

//= RFC 5321 §4.5.3.1.5, type=test
//# The maximum total length of a reply line including the reply code and the <CRLF> is 512 octets.
#[test]
fn a_reply_line_has_a_limit_that_no_host_name_passes() {
    let hostname = format!("{}example", "abcdefghijk.".repeat(20));
    let mut server = Server::new(Options { errors_max: 1, ..Options::new(&hostname) });
    // The driver looks at every line.
    assert_eq!(code(&server.output()), 220);
    let commands = ["HELO c.example", "EHLO c.example", "HELP", "XYZZY", "XYZZY"];
    assert_eq!(server.codes(&commands), [250, 250, 214, 500, 421]);
    let mut server = Server::new(Options::new(&hostname));
    server.output();
    assert_eq!(server.codes(&["QUIT"]), [221]);
    let words = "x".repeat(2_000);
    let answer = Answer::new(ReplyCode::known(421), EnhancedStatus::new(4, 999, 999), words);
    let session = Session::refused(Options::new(&hostname).into(), answer, Monotonic(0));
    let mut server = Server::of(session, Monotonic(0), |_, _| None);
    assert_eq!(code(&server.output()), 421);
}

//= RFC 5321 §4.5.3.1.6, type=test
//# The maximum total length of a text line including the <CRLF> is 1000 octets (not counting the
//# leading dot duplicated for transparency).
#[test]
fn a_text_line_has_a_limit() {
    for (octets, reply) in [(1_000, 250), (2_048, 250), (2_049, 500)] {
        let mut server = Server::ready();
        server.begin_data();
        let line = "x".repeat(octets - 2);
        assert_eq!(code(&server.send(format!("..{}\r\n.\r\n", &line[1..]))), reply, "{octets}");
    }
}

//= RFC 5321 §4.5.3.1.10, type=test
//# RFC 821 [1] incorrectly listed the error where an SMTP server exhausts its implementation limit
//# on the number of RCPT commands ("too many recipients") as having reply code 552. The correct
//# reply code for this condition is 452.
#[test]
fn recipients_have_a_limit_of_at_least_a_hundred() {
    let mut server = Server::ready();
    server.codes(&[MAIL]);
    let all: String = (0..1_001).map(|n| format!("RCPT TO:<r{n}@b.example>\r\n")).collect();
    let replies = codes(&server.send(all));
    assert_eq!(replies.len(), 1_001);
    assert!(replies[..1_000].iter().all(|reply| *reply == 250));
    assert_eq!(replies[1_000], 452);
    assert_eq!(code(&server.send("DATA\r\n")), 354);
    assert_eq!(code(&server.send(".\r\n")), 250);
    assert_eq!(server.messages[0].envelope.recipients.len(), 1_000);
}

#[test]
fn errors_have_a_limit_that_a_message_renews() {
    let mut server = Server::ready();
    let errors = |server: &mut Server, count: usize| {
        let replies = server.codes(&vec!["XYZZY"; count]);
        assert_eq!(replies, vec![500; count]);
    };
    errors(&mut server, 20);
    server.begin_data();
    server.send(".\r\n");
    errors(&mut server, 20);
    assert!(server.send("XYZZY\r\n").starts_with("421 4.7.0 mx.example "));
    assert!(server.session.is_over());
}

//= RFC 2920 §3.1, type=test
//# the RSET, MAIL FROM, SEND FROM, SOML FROM, SAML FROM, and RCPT TO commands can all appear
//# anywhere in a pipelined command group.
#[test]
fn recipients_behind_a_refused_mail_are_no_errors() {
    let recipients = format!("{RCPT}\r\n").repeat(100);
    let group = format!("{MAIL}\r\n{recipients}BDAT 6 LAST\r\nQUIT\r\n");
    let mut server = saying(Event::Mail, Answer::NO_ROOM);
    for _ in 0..3 {
        let replies = codes(&server.send(&group));
        assert_eq!((replies[0], replies.len()), (452, 102));
        assert!(replies[1..].iter().all(|reply| *reply == 503));
    }
    // Without a MAIL that was refused they are.
    assert_eq!(server.codes(&["RSET"]), [250]);
    let replies = codes(&server.send(format!("{RCPT}\r\n").repeat(30)));
    assert_eq!((replies.len(), replies.last()), (21, Some(&421)));
}

#[test]
fn an_http_client_is_shown_the_door_at_its_first_line() {
    let first = |line: &str| {
        let mut server = Server::new(options());
        server.output();
        let reply = server.send(format!("{line}\r\nEHLO c.example\r\n"));
        (codes(&reply), server.session.is_over())
    };
    for line in ["GET / HTTP/1.1", "post /x HTTP/1.0", "PRI * HTTP/2.0", "CONNECT a:25 HTTP/1.1"] {
        assert_eq!(first(line), (vec![421], true), "{line}");
    }
    assert_eq!(first(&format!("GET /{} HTTP/1.1", "x".repeat(3_000))), (vec![421], true));
    assert_eq!(first("GETTING"), (vec![500, 250], false));
}
