//! STARTTLS in the receiving side of SMTP (RFC 3207, RFC 8314), octet by octet.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::time::Duration;

use relay_fast::base::limits::HANDSHAKE_DEADLINE;
use relay_fast::smtp::answer::Answer;
use relay_fast::smtp::server::{Event, Options, Security, Session};

#[path = "support/session.rs"]
mod session;

use session::{Server, code, codes, options};

const MAIL: &str = "MAIL FROM:<a@a.example>\r\n";

fn offering(security: Security) -> Server {
    Server::new(Options { security, ..options() })
}

/// Past EHLO and STARTTLS: the handshake is what comes next.
fn awaiting() -> Server {
    let mut server = offering(Security::StartTls).past_hello();
    assert_eq!(server.send("STARTTLS\r\n"), "220 2.0.0 Go on with TLS\r\n");
    assert_eq!(server.events, [Event::StartTls]);
    assert!(server.session.awaits_handshake());
    server
}

fn secured() -> Server {
    let mut server = awaiting();
    server.session.secured(server.now);
    assert_eq!(server.output(), "", "no greeting comes again");
    server
}

//= RFC 3207 §4.2, type=test
//# Upon completion of the TLS handshake the protocol is reset to its initial state, and the server
//# must discard what the client said before, such as the argument of EHLO.
#[test]
fn after_the_handshake_the_session_begins_anew() {
    let mut server = secured();
    assert!(server.session.is_secured());
    assert_eq!(server.session.hello(), "");
    assert_eq!(code(&server.send(MAIL)), 503, "no EHLO has been said under TLS");
    let offered = server.send("EHLO client.example\r\n");
    assert!(!offered.contains("STARTTLS"), "not to be offered under TLS: {offered}");
    assert_eq!(code(&server.send("STARTTLS\r\n")), 503);
    assert_eq!(code(&server.send(MAIL)), 250);
}

#[test]
fn it_is_offered_where_it_can_be_used() {
    let offered = offering(Security::StartTls).send("EHLO client.example\r\n");
    assert!(offered.contains("250-STARTTLS\r\n"), "{offered}");
    let mut clear = offering(Security::Clear).past_hello();
    assert_eq!(code(&clear.send("STARTTLS\r\n")), 502);
    let mut server = offering(Security::StartTls);
    assert_eq!(codes(&server.send("STARTTLS\r\n")).last(), Some(&503), "EHLO comes first");
    assert_eq!(code(&offering(Security::StartTls).past_hello().send("STARTTLS now\r\n")), 501);
}

// CVE-2011-0411: whoever can write into the connection puts commands behind STARTTLS, and has them
// taken for the client's under TLS.
#[test]
fn what_came_in_clear_behind_starttls_counts_for_nothing() {
    let whole = format!("STARTTLS\r\n{MAIL}RCPT TO:<b@b.example>\r\nDATA\r\n");
    let mut server = offering(Security::StartTls).past_hello();
    let said = server.send(&whole);
    assert_eq!((code(&said), server.session.is_over()), (421, true), "{said}");
    assert_eq!(server.events, [], "nothing of it was acted on");
    // In two segments, the second is what the handshake is to be made of.
    for split in "STARTTLS\r\n".len()..whole.len() {
        let mut server = offering(Security::StartTls).past_hello();
        if split == "STARTTLS\r\n".len() {
            server.send(&whole[..split]);
            assert!(server.session.awaits_handshake());
            let taken = server.session.handle_bytes(&whole.as_bytes()[split..], server.now);
            assert_eq!(taken, 0, "octets in clear are not commands");
        } else {
            server.send(&whole[..split]);
            assert!(server.session.is_over(), "split at {split}");
        }
    }
}

//= RFC 3207 §4, type=test
//# A server that requires TLS answers every command other than NOOP, EHLO, STARTTLS and QUIT with
//# 530.
#[test]
fn a_listener_may_want_tls_first() {
    let mut server = offering(Security::RequireStartTls).past_hello();
    for command in [MAIL, "RSET\r\n", "VRFY b\r\n", "HELO client.example\r\n", "HELP\r\n"] {
        assert_eq!(server.send(command), "530 5.7.0 Must issue a STARTTLS command first\r\n");
    }
    assert_eq!(codes(&server.send("NOOP\r\nEHLO client.example\r\n")), [250, 250]);
    server.send("STARTTLS\r\n");
    server.session.secured(server.now);
    assert_eq!(codes(&server.send(format!("EHLO client.example\r\n{MAIL}"))), [250, 250]);
}

#[test]
fn implicit_tls_is_silent_until_the_handshake_is_done() {
    let mut server = offering(Security::Implicit);
    assert_eq!(server.output(), "");
    assert!(server.session.awaits_handshake());
    assert_eq!(server.session.handle_bytes(b"EHLO client.example\r\n", server.now), 0);
    server.session.secured(server.now);
    assert_eq!(server.output(), "220 mx.example ESMTP relay-fast\r\n");
    let offered = server.send("EHLO client.example\r\n");
    assert!(!offered.contains("STARTTLS"), "{offered}");
}

#[test]
fn a_handshake_that_does_not_come_is_not_waited_for_and_nothing_is_said() {
    let mut starttls = awaiting();
    let mut implicit = offering(Security::Implicit);
    for server in [&mut starttls, &mut implicit] {
        let due = server.session.deadline().unwrap();
        assert_eq!(due, server.now + HANDSHAKE_DEADLINE);
        assert_eq!(server.wait(HANDSHAKE_DEADLINE - Duration::from_secs(1)), "");
        assert!(!server.session.is_over());
        assert_eq!(server.wait(Duration::from_secs(1)), "", "421 in clear would be no TLS");
        assert!(server.session.is_over());
    }
    let mut gone = awaiting();
    gone.session.handle_end();
    assert_eq!((gone.output().as_str(), gone.session.is_over()), ("", true));
}

#[test]
fn a_drain_is_told_once_it_can_be_said() {
    let mut server = awaiting();
    server.session.handle_drain(server.now);
    assert_eq!((server.output().as_str(), server.session.is_over()), ("", false));
    server.session.secured(server.now);
    assert_eq!((code(&server.output()), server.session.is_over()), (421, true));
}

#[test]
fn whoever_is_turned_away_where_tls_comes_first_hears_nothing_in_clear() {
    let options = Options { security: Security::Implicit, ..options() };
    let now = relay_fast::base::time::Monotonic(0);
    let mut session = Session::refused(options.into(), Answer::TOO_MANY_SESSIONS, now);
    assert!(session.is_over());
    let mut output = Vec::new();
    session.take_output(&mut output);
    assert_eq!(output, b"");
}

#[test]
fn errors_are_counted_across_the_handshake() {
    let mut server =
        Server::new(Options { security: Security::StartTls, errors_max: 3, ..options() })
            .past_hello();
    server.send("XYZZY\r\nXYZZY\r\nSTARTTLS\r\n");
    server.session.secured(server.now);
    assert_eq!(codes(&server.send("XYZZY\r\nXYZZY\r\n")), [500, 421]);
}
