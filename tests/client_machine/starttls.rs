//! STARTTLS in the sending side (RFC 3207).

use std::sync::Arc;
use std::time::Duration;

use relay_fast::base::limits::HANDSHAKE_DEADLINE;
use relay_fast::base::time::Monotonic;
use relay_fast::mail::outcome::{Failure, Stage};
use relay_fast::mail::status::{ENCRYPTION_NEEDED, REQUIRETLS_NEEDED};
use relay_fast::smtp::client::{Client, Event, Options, StartTls};

use crate::sender::options;

const NOW: Monotonic = Monotonic(0);
const OFFER: &str = "220 mx.example\r\n250-mx.example\r\n250-STARTTLS\r\n250 PIPELINING\r\n";

fn client(start_tls: StartTls) -> Client {
    let options = options(true, true);
    Client::new(Arc::new(Options { start_tls, ..Arc::unwrap_or_clone(options) }), NOW)
}

fn say(client: &mut Client, text: &str) -> String {
    client.handle_bytes(text.as_bytes(), NOW);
    output(client)
}

fn output(client: &mut Client) -> String {
    let mut output = Vec::new();
    client.take_output(&mut output);
    String::from_utf8(output).expect("commands")
}

fn events(client: &mut Client) -> Vec<Event> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

/// The failure that ended it.
fn end(client: &mut Client) -> (Stage, Failure) {
    match events(client).pop() {
        Some(Event::Closed { failure: Some(failure), unsettled }) if unsettled.is_empty() => {
            failure
        }
        other => panic!("{other:?}"),
    }
}

/// Come to the handshake.
fn shaking(start_tls: StartTls) -> Client {
    let mut client = client(start_tls);
    assert_eq!(say(&mut client, OFFER), "EHLO relay.example\r\nSTARTTLS\r\n");
    assert_eq!(events(&mut client), []);
    assert_eq!(say(&mut client, "220 go on\r\n"), "");
    assert_eq!(events(&mut client), [Event::StartTls]);
    client
}

//= RFC 3207 §4.2, type=test
//# The client must discard what it learned from the server before, such as the list of extensions,
//# and should send EHLO as the first command after the handshake.
#[test]
fn what_was_offered_in_clear_is_forgotten() {
    for level in [StartTls::IfOffered, StartTls::Always] {
        let mut client = shaking(level);
        client.secured(NOW);
        assert!(client.is_secured());
        assert_eq!(output(&mut client), "EHLO relay.example\r\n");
        let again = "250-mx.example\r\n250-STARTTLS\r\n250 CHUNKING\r\n";
        assert_eq!(say(&mut client, again), "", "STARTTLS is not said under TLS");
        assert_eq!(events(&mut client), [Event::Ready]);
        let offered = client.extensions();
        assert!(offered.chunking && !offered.pipelining);
    }
}

#[test]
fn it_is_used_as_it_is_wanted() {
    let mut never = client(StartTls::Never);
    assert_eq!(say(&mut never, OFFER), "EHLO relay.example\r\n");
    assert_eq!(events(&mut never), [Event::Ready]);
    let bare = "220 mx.example\r\n250 mx.example\r\n";
    let mut optional = client(StartTls::IfOffered);
    assert_eq!(say(&mut optional, bare), "EHLO relay.example\r\n");
    assert_eq!(events(&mut optional), [Event::Ready]);
    let mut must = client(StartTls::Always);
    assert_eq!(say(&mut must, bare), "QUIT\r\n", "EHLO was not sent yet");
    assert_eq!(end(&mut must), (Stage::Tls, Failure::Tls("does not offer STARTTLS".into())));
    // HELO offers nothing.
    let mut must = client(StartTls::Always);
    say(&mut must, "220 mx.example\r\n500 what\r\n250 hello\r\n");
    assert_eq!(end(&mut must).0, Stage::Tls);
}

#[test]
fn a_peer_that_offers_it_and_refuses_gets_mail_in_clear_only_where_that_may_be() {
    for refusal in ["454 4.7.0 not now\r\n", "501 no\r\n", "502 no\r\n"] {
        let mut optional = client(StartTls::IfOffered);
        say(&mut optional, OFFER);
        assert_eq!(say(&mut optional, refusal), "");
        assert_eq!(events(&mut optional), [Event::Ready]);
        assert!(optional.extensions().pipelining && !optional.is_secured());
        let mut must = client(StartTls::Always);
        say(&mut must, OFFER);
        assert_eq!(say(&mut must, refusal), "QUIT\r\n");
        let (stage, failure) = end(&mut must);
        assert!(stage == Stage::Tls && matches!(failure, Failure::Reply(_)), "{failure:?}");
    }
}

fn requiring() -> Client {
    client(StartTls::Required)
}

//= RFC 8689 §4.2.1, type=test
//# Ensure that the response to the subsequent EHLO following establishment of the TLS protection
//# advertises the REQUIRETLS capability. … If any of the above steps fail, the client MUST issue a
//# QUIT to the server
#[test]
fn mail_that_requires_tls_goes_to_peers_that_promise_the_same() {
    let start = |client: &mut Client| {
        say(client, OFFER);
        say(client, "220 go on\r\n");
        client.secured(NOW);
        output(client)
    };
    let mut promises = requiring();
    start(&mut promises);
    assert_eq!(say(&mut promises, "250-mx.example\r\n250 RequireTLS\r\n"), "");
    assert_eq!(events(&mut promises).pop(), Some(Event::Ready));

    let mut does_not = requiring();
    start(&mut does_not);
    // Promised in clear is not promised.
    assert_eq!(say(&mut does_not, "250-mx.example\r\n250 PIPELINING\r\n"), "QUIT\r\n");
    let detail = "does not offer REQUIRETLS".into();
    let failure = Failure::RequireTls { status: REQUIRETLS_NEEDED, detail };
    assert_eq!(end(&mut does_not), (Stage::Hello, failure));

    let mut clear = requiring();
    let offer = "220 mx.example\r\n250-mx.example\r\n250 REQUIRETLS\r\n";
    assert_eq!(say(&mut clear, offer), "QUIT\r\n", "EHLO was not sent yet");
    let detail = "does not offer STARTTLS".into();
    let failure = Failure::RequireTls { status: ENCRYPTION_NEEDED, detail };
    assert_eq!(end(&mut clear), (Stage::Tls, failure));

    let mut forged = requiring();
    say(&mut forged, OFFER);
    say(&mut forged, "220 go on\r\n");
    forged.fail_handshake("another's certificate");
    let detail = "another's certificate".into();
    let failure = Failure::RequireTls { status: ENCRYPTION_NEEDED, detail };
    assert_eq!(end(&mut forged), (Stage::Tls, failure));
}

// CVE-2021-38371 and its like: replies that were put behind the 220 are taken for those that come
// under TLS.
#[test]
fn what_came_in_clear_behind_the_reply_ends_the_connection() {
    for level in [StartTls::IfOffered, StartTls::Always] {
        let mut client = client(level);
        say(&mut client, OFFER);
        say(&mut client, "220 go on\r\n250-injected\r\n250 AUTH PLAIN\r\n");
        let all = events(&mut client);
        let Some(Event::Closed { failure: Some((Stage::Tls, failure)), .. }) = all.last() else {
            panic!("{all:?}")
        };
        assert!(matches!(failure, Failure::Protocol(_)), "{failure:?}");
        assert_eq!(output(&mut client), "");
    }
    let mut later = shaking(StartTls::Always);
    later.handle_bytes(b"2", NOW);
    assert!(later.is_over());
}

#[test]
fn a_handshake_that_fails_or_lingers_ends_the_connection_at_its_stage() {
    let mut failed = shaking(StartTls::IfOffered);
    failed.fail_handshake("certificate expired");
    assert_eq!(end(&mut failed), (Stage::Tls, Failure::Tls("certificate expired".into())));
    let mut slow = shaking(StartTls::IfOffered);
    assert_eq!(slow.deadline(), Some(NOW + HANDSHAKE_DEADLINE));
    slow.handle_deadline(NOW + (HANDSHAKE_DEADLINE - Duration::from_nanos(1)));
    assert!(!slow.is_over());
    slow.handle_deadline(NOW + HANDSHAKE_DEADLINE);
    assert_eq!(end(&mut slow), (Stage::Tls, Failure::TimedOut));
    let mut gone = shaking(StartTls::IfOffered);
    gone.handle_end(NOW);
    assert_eq!(end(&mut gone), (Stage::Tls, Failure::Closed));
    let mut unwanted = shaking(StartTls::IfOffered);
    unwanted.quit(NOW);
    assert_eq!(output(&mut unwanted), "", "nothing can be said in the middle of it");
    assert!(unwanted.is_over());
}

#[test]
fn every_split_comes_to_the_same() {
    let whole = format!("{OFFER}220 go on\r\n");
    for split in 0..=whole.len() {
        let mut client = client(StartTls::IfOffered);
        let mut said = say(&mut client, &whole[..split]);
        said += &say(&mut client, &whole[split..]);
        assert_eq!(said, "EHLO relay.example\r\nSTARTTLS\r\n", "split at {split}");
        assert_eq!(events(&mut client), [Event::StartTls], "split at {split}");
    }
}
