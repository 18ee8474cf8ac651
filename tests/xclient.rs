//! XCLIENT in the receiving side of SMTP (XCLIENT_README), and PROXY headers where none belongs.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::net::IpAddr;

use relay_fast::mail::status::{EnhancedStatus, ReplyCode};
use relay_fast::smtp::answer::Answer;
use relay_fast::smtp::server::{Auth, Event, Options, Security};
use relay_fast::smtp::xclient::KEYWORD;

#[path = "support/session.rs"]
mod session;

use session::{Server, code, codes, options, yes};

/// A session that a trusted client has opened, past its EHLO.
fn trusted(options: Options) -> Server {
    let mut server = Server::new(options);
    server.session.offer_xclient();
    server.past_hello()
}

//= XCLIENT_README, type=test
//# The server announces it in the reply to EHLO, to those who may use it alone.
#[test]
fn it_is_offered_to_those_who_may_say_it() {
    let offered = trusted(options()).send("EHLO client.example\r\n");
    assert!(offered.contains(&format!("250-{KEYWORD}\r\n")), "{offered}");
    let mut stranger = Server::new(options());
    assert!(!stranger.send("EHLO client.example\r\n").contains("XCLIENT"));
    assert_eq!(code(&stranger.send("XCLIENT ADDR=192.0.2.1\r\n")), 550);
    assert!(stranger.events.is_empty(), "nobody is asked");
}

//= XCLIENT_README, type=test
//# Upon receipt of a correctly formatted XCLIENT command the server resets to the initial greeting
//# stage, and answers 220.
#[test]
fn the_session_begins_again() {
    let mut server = trusted(options());
    let greeting = server.send("XCLIENT ADDR=192.0.2.7 PORT=99 NAME=c.example\r\n");
    assert_eq!(greeting, "220 mx.example ESMTP relay-fast\r\n");
    assert_eq!(server.events, [Event::Presented]);
    assert!(server.session.is_presented());
    assert_eq!(server.session.hello(), "");
    assert_eq!(code(&server.send("MAIL FROM:<a@a.example>\r\n")), 503, "EHLO first");
    assert!(!server.send("EHLO c.example\r\n").contains("XCLIENT"));
    assert_eq!(code(&server.send("MAIL FROM:<a@a.example>\r\n")), 250);
}

#[test]
fn the_caller_sees_what_is_said_and_may_refuse() {
    let refusal = Answer::new(
        ReplyCode::new(421).unwrap(),
        EnhancedStatus::new(4, 7, 0),
        String::from("Too many sessions from your address"),
    );
    let mut server = Server::with_policy(options(), move |event, session| {
        assert_eq!(event, Event::Presented);
        let attributes = session.presented().unwrap();
        assert_eq!(attributes.address, Some(IpAddr::from([192, 0, 2, 7])));
        assert_eq!(attributes.port, None);
        Some(refusal.clone())
    });
    server.session.offer_xclient();
    let mut server = server.past_hello();
    assert_eq!(code(&server.send("XCLIENT ADDR=192.0.2.7\r\n")), 421);
    assert!(server.session.is_over());
}

//= XCLIENT_README, type=test
//# 501 bad command parameter syntax, 503 mail transaction in progress
#[test]
fn it_is_refused_where_it_is_malformed_or_out_of_place() {
    let mut server = trusted(options());
    for arguments in ["", " ", " ADDR", " ADDR=1.2.3", " COLOUR=red", " ADDR=192.0.2.1 ="] {
        let reply = server.send(format!("XCLIENT{arguments}\r\n"));
        assert_eq!(code(&reply), 501, "{arguments}: {reply}");
    }
    assert!(server.events.is_empty());
    server.send("MAIL FROM:<a@a.example>\r\n");
    assert_eq!(code(&server.send("XCLIENT ADDR=192.0.2.7\r\n")), 503);
    assert_eq!(code(&server.send("RCPT TO:<b@b.example>\r\n")), 250, "the transaction goes on");
}

//= XCLIENT_README, type=test
//# several commands may be sent, pipelined too; attributes of the one before are not reset
#[test]
fn several_may_be_said_up_to_the_ehlo_that_follows() {
    let mut server = trusted(options());
    let said = "XCLIENT ADDR=192.0.2.7 HELO=c.example\r\nXCLIENT PROTO=SMTP\r\nEHLO p.example\r\n";
    assert_eq!(codes(&server.send(said)), [220, 220, 250]);
    assert_eq!((server.session.hello(), server.session.is_esmtp()), ("c.example", false));
    // The proxy passes on what the client behind says: it is not to be anyone it likes.
    assert_eq!(code(&server.send("XCLIENT ADDR=127.0.0.1\r\n")), 550);
}

#[test]
fn an_unknown_name_at_hello_hides_that_of_the_proxy() {
    let mut server = trusted(options());
    server.send("XCLIENT HELO=[UNAVAILABLE]\r\nEHLO p.example\r\n");
    assert_eq!(server.session.hello(), "");
}

#[test]
fn what_the_proxy_was_the_client_behind_is_not() {
    let auth = Auth { plain: true, without_tls: true, ..Auth::default() };
    let mut server = trusted(Options { auth, ..options() });
    assert_eq!(code(&server.send("AUTH PLAIN AGEAYg==\r\n")), 235);
    assert_eq!(server.session.identity().unwrap().as_str(), "a");
    server.send("XCLIENT ADDR=192.0.2.7\r\n");
    assert_eq!(server.session.identity(), None);
    server.send("XCLIENT LOGIN=tim\r\n");
    assert_eq!(server.session.identity().unwrap().as_str(), "tim");
    server.send("XCLIENT PORT=5\r\n");
    assert_eq!(server.session.identity().unwrap().as_str(), "tim", "not reset");
    server.send("XCLIENT LOGIN=[UNAVAILABLE]\r\n");
    assert_eq!(server.session.identity(), None);
}

//= RFC 3207 §4.2, type=test
//# what was known of the client before the handshake is discarded
#[test]
fn tls_begins_after_it_and_forgets_names() {
    let mut server = trusted(Options { security: Security::StartTls, ..options() });
    server.send("XCLIENT HELO=c.example LOGIN=tim\r\nEHLO p.example\r\n");
    assert_eq!(code(&server.send("STARTTLS\r\n")), 220);
    server.session.secured(server.now);
    assert_eq!((server.session.hello(), server.session.identity()), ("", None));
    assert!(server.session.is_presented(), "whose certificate it is has not changed");
    let must = Options { security: Security::RequireStartTls, ..options() };
    assert_eq!(code(&trusted(must).send("XCLIENT ADDR=192.0.2.7\r\n")), 530);
}

#[test]
fn a_proxy_header_from_elsewhere_is_a_bad_command() {
    let mut server = Server::new(options());
    server.output();
    assert_eq!(code(&server.send("PROXY TCP4 192.0.2.7 198.51.100.1 1234 25\r\n")), 500);
    let mut server = Server::with_policy(options(), |event, _| Some(yes(event)));
    server.output();
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x04\xd2\0\x19";
    let replies = server.send(header);
    assert!(codes(&replies).iter().all(|code| *code == 500), "{replies}");
    assert!(!server.session.is_over(), "and QUIT inside it is none");
}
