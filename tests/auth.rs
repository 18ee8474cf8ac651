//! AUTH in the receiving side of SMTP (RFC 4954), octet by octet.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "tests cut, match and unwrap freely"
)]

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use relay_fast::base::limits::{AUTH_LINE_MAX, COMMAND_LINE_MAX};
use relay_fast::base::time::Monotonic;
use relay_fast::smtp::answer::Answer;
use relay_fast::smtp::sasl::{Channel, Password, ScramVerifier};
use relay_fast::smtp::server::{Auth, Event, Options, Security, Session};

#[path = "support/session.rs"]
mod session;

use session::{Server, code, codes, options, yes};

const MAIL: &str = "MAIL FROM:<a@a.example>\r\n";
/// `tim`, `secret`.
const PLAIN: &str = "AUTH PLAIN AHRpbQBzZWNyZXQ=\r\n";

const ALL: Auth =
    Auth { plain: true, login: true, scram: true, without_tls: true, required: false };

fn offering(auth: Auth) -> Options {
    Options { auth, ..options() }
}

/// In clear, past EHLO.
fn ready() -> Server {
    Server::new(offering(ALL)).past_hello()
}

fn answering(answer: Answer) -> Server {
    Server::with_policy(offering(ALL), move |event, _| {
        Some(if event == Event::Password { answer.clone() } else { yes(event) })
    })
    .past_hello()
}

fn password(text: &str) -> Password {
    Password::prepare(text.as_bytes()).unwrap()
}

fn encode(octets: impl AsRef<[u8]>) -> String {
    STANDARD.encode(octets)
}

fn keyword(reply: &str) -> Option<&str> {
    reply.lines().find_map(|line| line.strip_prefix("250-AUTH "))
}

/// Through TLS from the first octet, past EHLO; and what EHLO was told.
fn secured(auth: Auth, channel: Channel) -> (Server, String) {
    let options = Options { auth, security: Security::Implicit, ..options() };
    let now = Monotonic(1);
    let mut session = Session::new(Arc::new(options), now);
    session.bind(channel);
    session.secured(now);
    let mut server = Server::of(session, now, |event, _| Some(yes(event)));
    assert_eq!(code(&server.output()), 220);
    let hello = server.send("EHLO client.example\r\n");
    (server, hello)
}

//= RFC 4954 §4, type=test
//# 235 2.7.0 Authentication succeeded; the AUTH PLAIN and AUTH LOGIN exchanges
#[test]
fn passwords_are_asked_about_and_make_somebody_of_the_client() {
    let dialogues: [&[(&str, &str)]; 4] = [
        &[(PLAIN, "235 2.7.0 Authentication successful\r\n")],
        &[("auth plain\r\n", "334 \r\n"), ("AHRpbQBzZWNyZXQ=\r\n", "235 2.7.0 ")],
        &[
            ("AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n"),
            ("dGlt\r\n", "334 UGFzc3dvcmQ6\r\n"),
            ("c2VjcmV0\r\n", "235 2.7.0 "),
        ],
        &[("AUTH LOGIN dGlt\r\n", "334 UGFzc3dvcmQ6\r\n"), ("c2VjcmV0\r\n", "235 2.7.0 ")],
    ];
    for dialogue in dialogues {
        let mut server = ready();
        for (line, expected) in dialogue {
            assert_eq!(server.session.identity(), None);
            let reply = server.send(line);
            assert!(reply.starts_with(expected), "{line}: {reply}");
        }
        assert_eq!(server.events, [Event::Password]);
        assert_eq!(server.passwords, [password("secret")]);
        assert_eq!(server.session.identity().map(|name| name.as_str()), Some("tim"));
    }
}

#[test]
fn every_split_of_an_exchange_gives_the_same() {
    let whole = format!("AUTH LOGIN\r\ndGlt\r\nc2VjcmV0\r\n{MAIL}QUIT\r\n");
    let expected = ready().send(&whole);
    assert_eq!(codes(&expected), [334, 334, 235, 250, 221]);
    for first in 0..whole.len() {
        for second in [first, first + 1, (first + whole.len()) / 2, whole.len()] {
            let second = second.clamp(first, whole.len());
            let mut server = ready();
            let parts = [&whole[..first], &whole[first..second], &whole[second..]];
            let replies: String = parts.iter().map(|part| server.send(part)).collect();
            assert_eq!(replies, expected, "cut at {first} and {second}");
        }
    }
}

//= RFC 4954 §4, type=test
//# After a successful AUTH command completes, a server MUST reject any further AUTH commands with a
//# 503 reply; and the AUTH command is not permitted during a mail transaction.
#[test]
fn it_is_said_once_and_outside_of_a_transaction() {
    let mut server = ready();
    assert_eq!(code(&server.send(MAIL)), 250);
    assert_eq!(code(&server.send(PLAIN)), 503);
    assert_eq!(code(&server.send("RSET\r\n")), 250);
    assert_eq!(code(&server.send(PLAIN)), 235);
    assert_eq!(code(&server.send(PLAIN)), 503);
    assert_eq!(code(&server.send("EHLO client.example\r\n")), 250);
    assert_eq!(code(&server.send(PLAIN)), 503, "EHLO changes nothing about it");
    assert_eq!(server.passwords.len(), 1);
    let mut early = Server::new(offering(ALL));
    early.output();
    assert_eq!(code(&early.send(PLAIN)), 503, "EHLO comes first");
    early.send("HELO client.example\r\n");
    assert_eq!(code(&early.send(PLAIN)), 503, "it is an extension");
}

//= RFC 4954 §4, type=test
//# 501 for a cancelled exchange and for what is not base64, 504 for an unknown mechanism, 535 5.7.8
//# for wrong credentials, 500 5.5.6 for a line that is too long
#[test]
fn each_failure_has_its_reply_and_leaves_the_session_as_it_was() {
    let cases = [
        ("AUTH\r\n", "501 5.5.4 "),
        ("AUTH PLAIN  AHRpbQBzZWNyZXQ=\r\n", "501 5.5.4 "),
        ("AUTH PLAIN AHRpbQBzZWNyZXQ= x\r\n", "501 5.5.4 "),
        ("AUTH CRAM-MD5\r\n", "504 5.5.4 "),
        ("AUTH SCRAM-SHA-256-PLUS\r\n", "504 5.5.4 "),
        ("AUTH PLAIN AHRpbQBzZWNyZXQ\r\n", "501 5.5.2 "),
        ("AUTH PLAIN =\r\n", "501 5.5.2 "),
        ("AUTH PLAIN\r\n*\r\n", "501 5.7.0 "),
        ("AUTH PLAIN\r\n\r\n", "501 5.5.2 "),
        ("AUTH PLAIN\r\nA\0A=\r\n", "501 5.5.2 "),
        ("AUTH PLAIN\r\nAHRpbQBz\nZWNyZXQ=\r\n", "501 5.5.2 "),
        ("AUTH PLAIN b3RoZXIAdGltAHNlY3JldA==\r\n", "535 5.7.8 "),
        ("AUTH PLAIN AAdpbQBzZWNyZXQ=\r\n", "535 5.7.8 "),
        (&format!("AUTH PLAIN\r\n{}\r\n", "A".repeat(AUTH_LINE_MAX)), "500 5.5.6 "),
        (&format!("AUTH PLAIN {}\r\n", "A".repeat(COMMAND_LINE_MAX)), "500 5.5.2 "),
    ];
    for (text, expected) in cases {
        for piece in [1, 7, usize::MAX] {
            let mut server = ready();
            let pieces = text.as_bytes().chunks(piece.min(text.len()));
            let replies: String = pieces.map(|piece| server.send(piece)).collect();
            let last = replies.lines().last().unwrap_or_default();
            assert!(last.starts_with(expected), "{text:.60}: {replies}");
            assert_eq!((server.session.identity(), &*server.events), (None, &[][..]));
            assert_eq!(code(&server.send(PLAIN)), 235, "{text:.60}: it may try again");
        }
    }
    let mut server = answering(Answer::AUTH_FAILED);
    assert_eq!(server.send(PLAIN), "535 5.7.8 Authentication failed\r\n");
    assert_eq!(server.session.identity(), None);
    let mut server = answering(Answer::AUTH_LATER);
    assert!(server.send(PLAIN).starts_with("454 4.7.0 "));
}

#[test]
fn a_response_may_be_as_long_as_the_rfc_says() {
    let mut server = ready();
    assert_eq!(code(&server.send("AUTH PLAIN\r\n")), 334);
    let longest = encode("\0".repeat((AUTH_LINE_MAX - 2) / 4 * 3));
    assert!(longest.len() > AUTH_LINE_MAX - 6);
    assert_eq!(code(&server.send(format!("{longest}\r\n"))), 501, "read, and found malformed");
    let long = format!("{}\r\n", "x".repeat(COMMAND_LINE_MAX));
    assert_eq!(code(&server.send(long)), 500, "commands are no longer than before");
}

#[test]
fn failures_count_as_errors() {
    let mut server = answering(Answer::AUTH_FAILED);
    let replies: Vec<_> = (0..30).map(|_| codes(&server.send(PLAIN))).collect();
    let tries = replies.iter().position(|codes| codes.contains(&421)).unwrap();
    assert_eq!(tries, options().errors_max as usize);
    assert!(server.session.is_over());
}

//= RFC 4954 §4, type=test
//# 538 5.7.11 Encryption required for requested authentication mechanism
#[test]
fn within_tls_alone_unless_said_otherwise() {
    let auth = Auth { without_tls: false, ..ALL };
    let mut clear = Server::new(offering(auth));
    clear.output();
    let hello = clear.send("EHLO client.example\r\n");
    assert_eq!(keyword(&hello), None, "{hello}");
    assert!(clear.send(PLAIN).starts_with("538 5.7.11 "));
    let unknown = clear.send("MAIL FROM:<a@a.example> AUTH=<>\r\n");
    assert_eq!(code(&unknown), 555, "what is not offered is not known");
    let (mut server, hello) = secured(auth, Channel(None));
    assert_eq!(keyword(&hello), Some("SCRAM-SHA-256 PLAIN LOGIN"));
    assert_eq!(code(&server.send(PLAIN)), 235);
    assert_eq!(code(&server.send("MAIL FROM:<a@a.example> AUTH=<>\r\n")), 250);
}

#[test]
fn mechanisms_are_on_offer_as_they_were_switched_on() {
    let (_, hello) = secured(ALL, Channel(Some([7; 32])));
    assert_eq!(keyword(&hello), Some("SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"));
    let scram = Auth { scram: true, ..Auth::default() };
    let (mut server, hello) = secured(scram, Channel(None));
    assert_eq!(keyword(&hello), Some("SCRAM-SHA-256"));
    assert_eq!(code(&server.send(PLAIN)), 504);
    let (mut server, hello) = secured(Auth::default(), Channel(Some([7; 32])));
    assert_eq!(keyword(&hello), None);
    assert_eq!(code(&server.send(PLAIN)), 502);
}

#[test]
fn nobody_is_somebody_any_more_after_starttls() {
    let options = Options { security: Security::StartTls, ..offering(ALL) };
    let mut server = Server::new(options).past_hello();
    assert_eq!(code(&server.send(PLAIN)), 235);
    assert_eq!(code(&server.send("STARTTLS\r\n")), 220);
    server.session.secured(server.now);
    assert_eq!((server.session.identity(), server.session.claimed()), (None, None));
    server.send("EHLO client.example\r\n");
    assert_eq!(code(&server.send(PLAIN)), 235);
    let required = Options { security: Security::RequireStartTls, ..offering(ALL) };
    assert_eq!(code(&Server::new(required).past_hello().send(PLAIN)), 530);
}

//= RFC 4954 §6, type=test
//# 530 5.7.0 Authentication required: to any command but AUTH, EHLO, HELO, NOOP, RSET, QUIT
#[test]
fn no_mail_is_taken_where_it_must_be_known_who_it_is() {
    let mut server = Server::new(offering(Auth { required: true, ..ALL })).past_hello();
    let replies = server.send(format!("{MAIL}RCPT TO:<b@b.example>\r\nDATA\r\n"));
    assert_eq!(codes(&replies), [530, 503, 503]);
    assert!(replies.starts_with("530 5.7.0 "), "{replies}");
    assert_eq!(server.codes(&["NOOP", "RSET"]), [250, 250]);
    assert_eq!(code(&server.send(PLAIN)), 235);
    assert_eq!(code(&server.send(MAIL)), 250);
}

#[test]
fn an_answer_that_takes_time_is_waited_for() {
    let mut server = Server::with_policy(offering(ALL), |event, _| {
        (event != Event::Password).then(|| yes(event))
    })
    .past_hello();
    assert_eq!(server.send(format!("{PLAIN}{MAIL}")), "");
    assert!(server.is_asked());
    assert_eq!(server.session.deadline(), None, "it is us who are slow");
    assert_eq!(codes(&server.answer(Answer::AUTHENTICATED)), [235, 250]);
    let mut gone = Server::with_policy(offering(ALL), |event, _| {
        (event != Event::Password).then(|| yes(event))
    })
    .past_hello();
    gone.send(PLAIN);
    gone.session.handle_end();
    assert!(gone.session.is_over());
    gone.session.answer(Answer::AUTHENTICATED, gone.now);
    assert_eq!(gone.output(), "");
    assert_eq!(gone.session.identity(), None);
}

#[test]
fn a_client_that_falls_silent_in_an_exchange_is_cut() {
    let mut server = ready();
    server.send("AUTH LOGIN\r\ndG");
    assert!(server.session.deadline().is_some());
    assert_eq!(code(&server.wait(Duration::from_secs(3_600))), 421);
    let mut drained = ready();
    drained.send("AUTH LOGIN\r\n");
    assert_eq!(drained.drain(), "", "it may come to its next line");
    assert_eq!(code(&drained.send("dGlt\r\n")), 421);
}

/// The client's side of SCRAM-SHA-256 (RFC 5802 §3): its last message, and what the server's must
/// be.
fn client_final(secret: &str, header: &str, bare: &str, first: &str) -> (String, String) {
    let part = |name: &str| first.split(',').find_map(|part| part.strip_prefix(name)).unwrap();
    let salt = STANDARD.decode(part("s=")).unwrap();
    let iterations = part("i=").parse().unwrap();
    let mut salted = [0; 32];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, iterations, &salt, secret.as_bytes(), &mut salted);
    let sign = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let unproved = format!("c={},r={}", encode(header), part("r="));
    let said = format!("{bare},{first},{unproved}");
    let client_key = sign(&salted, "Client Key");
    let stored_key = digest::digest(&digest::SHA256, &client_key);
    let signature = sign(stored_key.as_ref(), &said);
    let proof: Vec<_> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let expected = encode(sign(&sign(&salted, "Server Key"), &said));
    (format!("{unproved},p={}", encode(proof)), format!("v={expected}"))
}

fn challenge(reply: &str) -> String {
    let text = reply.strip_prefix("334 ").unwrap_or_else(|| panic!("{reply}")).trim_end();
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

/// A session whose every name has the password `pencil`, up to the server's last challenge.
fn scram(secret: &str) -> (Server, String) {
    let mut server = ready();
    let salt = b"some salt";
    server.verifier = Some(ScramVerifier::derive(&password("pencil"), salt, 4_096));
    let (header, bare) = ("n,,", "n=tim,r=abcdef");
    let initial = encode(format!("{header}{bare}"));
    let first = challenge(&server.send(format!("AUTH SCRAM-SHA-256 {initial}\r\n")));
    let (last, expected) = client_final(secret, header, bare, &first);
    let reply = server.send(format!("{}\r\n", encode(last)));
    if reply.starts_with("334 ") {
        assert_eq!(challenge(&reply), expected, "the server proves itself too");
    }
    (server, reply)
}

#[test]
fn scram_proves_both_sides_without_a_password() {
    let (mut server, reply) = scram("pencil");
    assert_eq!(code(&reply), 334);
    assert_eq!(server.session.identity(), None, "not before the client agrees");
    assert_eq!(code(&server.send("\r\n")), 235);
    assert_eq!(server.events, [Event::Verifier, Event::Proved]);
    assert_eq!(server.session.identity().map(|name| name.as_str()), Some("tim"));
    let (server, reply) = scram("pencils");
    assert_eq!(code(&reply), 535);
    assert_eq!(server.events, [Event::Verifier, Event::Disproved]);
    assert_eq!(server.session.identity(), None);
}

#[test]
fn a_verifier_may_be_refused() {
    let mut server = ready();
    let initial = encode("n,,n=tim,r=abcdef");
    let reply = server.send(format!("AUTH SCRAM-SHA-256 {initial}\r\n"));
    assert!(reply.starts_with("454 4.7.0 "), "{reply}");
    assert_eq!(code(&server.send("NOOP\r\n")), 250);
}
