//! DSNs as a mail reader takes them apart again.

use super::*;
use crate::mail::address::Mailbox;
use crate::mail::envelope::{OriginalRecipient, Ret, TlsWish};
use crate::mail::handling::{By, Handling, Late};
use crate::mail::outcome::Stage;
use crate::mail::status::{EnhancedStatus, Reply, ReplyCode};

const ORIGINAL: &[u8] =
    b"From: s@a.example\r\nMessage-ID: <1@a.example>\r\nSubject: hi\r\n\r\nbody\r\n";

fn recipient(address: &str, notify: Notify) -> Recipient {
    let mailbox = Mailbox::parse(address, true).expect("an address");
    Recipient { forward_path: ForwardPath::Mailbox(mailbox), notify, original: None }
}

fn envelope() -> Envelope {
    Envelope::plain(
        ReversePath(Mailbox::parse("s@a.example", true).ok()),
        vec![recipient("r@b.example", Notify::Default)],
    )
}

fn refused(text: &str) -> Reason {
    let status = EnhancedStatus::new(5, 1, 1);
    let code = ReplyCode::new(550).expect("a code");
    Reason {
        stage: Stage::Rcpt,
        status,
        reply: Some(Reply { code, enhanced: Some(status), text: text.into() }),
        detail: "".into(),
        peer: "mx.b.example[192.0.2.1]:25".into(),
    }
}

fn report(envelope: &Envelope, reason: &Reason, action: Action, original: &[u8]) -> Dsn {
    let time = |seconds: i64| WallTime(1_795_491_661_000 + seconds * 1000);
    let about: Vec<_> = envelope
        .recipients
        .iter()
        .map(|recipient| DsnRecipient { recipient, reason, attempted: time(5) })
        .collect();
    compose(&DsnRequest {
        action,
        hostname: "relay.example",
        id: MessageId(2),
        original_id: MessageId(1),
        envelope,
        recipients: &about,
        original,
        original_bytes: original.len() as u64,
        arrival: time(0),
        now: time(10),
        expires: time(432_000),
    })
}

/// The header, and the three parts with their headers, as text; checks lines on the way.
fn take_apart(dsn: &Dsn) -> (String, Vec<(String, String)>) {
    let text = String::from_utf8(dsn.content.clone()).expect("UTF-8");
    for line in text.strip_suffix("\r\n").expect("a line end").split("\r\n") {
        assert!(line.len() <= 998 && !line.contains(['\r', '\n', '\0']), "{line:?}");
    }
    let (header, body) = text.split_once("\r\n\r\n").expect("a header");
    let boundary = header.split("boundary=\"").nth(1).expect("a boundary");
    let boundary = boundary.split('"').next().expect("quoted");
    let body = body.strip_suffix(&format!("\r\n--{boundary}--\r\n")).expect("an end");
    let delimiter = format!("\r\n--{boundary}\r\n");
    let parts = body.split(&delimiter).skip(1).map(|part| {
        let (header, content) = part.split_once("\r\n\r\n").expect("a part's header");
        let encoding = if content.is_ascii() { "7bit" } else { "8bit" };
        assert!(header.contains(&format!("Transfer-Encoding: {encoding}")), "{header}");
        (header.to_string(), content.to_string())
    });
    let parts: Vec<_> = parts.collect();
    assert_eq!(parts.len(), 3, "{text}");
    (header.to_string(), parts)
}

#[test]
fn a_failure_reads_well() {
    let mut asked = envelope();
    asked.envelope_id = Some("batch 7".into());
    asked.recipients[0].original =
        Some(OriginalRecipient { kind: "rfc822".into(), address: "old@b.example".into() });
    let dsn = report(&asked, &refused("No such user\nTry again?"), Action::Failed, ORIGINAL);
    let (header, parts) = take_apart(&dsn);
    let expected = "From: Mail Delivery System <MAILER-DAEMON@relay.example>\r\n\
        To: <s@a.example>\r\nSubject: Undelivered Mail Returned to Sender\r\n\
        Date: Tue, 24 Nov 2026 03:41:11 +0000\r\nMessage-ID: <0000000000002@relay.example>\r\n\
        In-Reply-To: <1@a.example>\r\nReferences: <1@a.example>\r\n\
        Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/report; report-type=delivery-status;\r\n \
        boundary=\"=_0000000000002\"\r\nContent-Transfer-Encoding: 7bit";
    assert_eq!(header, expected);
    let people = "This is the mail system at relay.example.\r\n\r\n\
        I am sorry to tell you that your message could not be delivered to this\r\n\
        recipient. It will not be tried again.\r\n\r\n  \
        <r@b.example>\r\n    \
        mx.b.example[192.0.2.1]:25 refused it, in answer to RCPT:\r\n    \
        550 5.1.1 No such user Try again?\r\n\r\n\
        The header of your message is attached. If you need help, write to\r\n\
        postmaster@relay.example and mention message id 0000000000001.\r\n";
    assert_eq!(parts[0].1, people);
    let machines = "Original-Envelope-Id: batch 7\r\nReporting-MTA: dns; relay.example\r\n\
        X-Relay-Fast-Message-ID: 0000000000001\r\n\
        Arrival-Date: Tue, 24 Nov 2026 03:41:01 +0000\r\n\r\n\
        Original-Recipient: rfc822; old@b.example\r\nFinal-Recipient: rfc822; r@b.example\r\n\
        Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.b.example\r\n\
        Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n Try again?\r\n\
        Last-Attempt-Date: Tue, 24 Nov 2026 03:41:06 +0000\r\n";
    assert_eq!(parts[1].1, machines);
    assert!(parts[1].0.contains("Content-Type: message/delivery-status"));
    assert!(parts[2].0.contains("Content-Type: text/rfc822-headers"));
    assert_eq!(parts[2].1.as_bytes(), &ORIGINAL[..ORIGINAL.len() - 8]);
}

//= RFC 3464 §2, type=test
//# The From field of the message header of the DSN SHOULD contain the address of a human … The
//# envelope sender address of the DSN SHOULD be chosen to ensure that no … further DSNs
#[test]
fn a_dsn_leaves_from_nobody_and_asks_for_nothing() {
    let dsn = report(&envelope(), &refused("no"), Action::Failed, ORIGINAL);
    assert!(dsn.envelope.reverse_path.is_null());
    assert_eq!(dsn.envelope.recipients, [recipient("s@a.example", Notify::Never)]);
    assert_eq!(dsn.envelope.body_type, BodyType::SevenBit);
    assert!(!dsn.envelope.smtp_utf8);
}

//= RFC 3461 §4.1, type=test
//# A NOTIFY parameter value of "NEVER" … a DSN not be returned … under any conditions
#[test]
fn only_those_are_told_who_want_to_be() {
    let mut from = envelope();
    let success = Notify::When { success: true, failure: false, delay: false };
    let cases = [
        (Notify::Default, [true, true, false, false]),
        (Notify::Never, [false, false, false, false]),
        (success, [false, false, true, true]),
    ];
    let actions = [Action::Failed, Action::Delayed, Action::Relayed, Action::Delivered];
    for (notify, expected) in cases {
        let to = recipient("r@b.example", notify);
        assert_eq!(actions.map(|action| due(&from, &to, action)), expected, "{notify:?}");
    }
    from.reverse_path = ReversePath::NULL;
    for (notify, _) in cases {
        let to = recipient("r@b.example", notify);
        assert_eq!(actions.map(|action| due(&from, &to, action)), [false; 4], "{notify:?}");
    }
}

//= RFC 3461 §4.3, type=test
//# FULL requests that the entire message be returned in any "failed" Delivery Status Notification
#[test]
fn the_whole_message_is_returned_on_failure_if_asked_for() {
    let mut full = envelope();
    full.ret = Some(Ret::Full);
    let (_, parts) = take_apart(&report(&full, &refused("no"), Action::Failed, ORIGINAL));
    assert!(parts[2].0.contains("Content-Type: message/rfc822"));
    assert_eq!(parts[2].1.as_bytes(), ORIGINAL);
    let (_, parts) = take_apart(&report(&full, &refused("no"), Action::Delayed, ORIGINAL));
    assert!(parts[2].0.contains("Content-Type: text/rfc822-headers"));
    full.ret = Some(Ret::Headers);
    let (_, parts) = take_apart(&report(&full, &refused("no"), Action::Failed, ORIGINAL));
    assert!(parts[2].0.contains("Content-Type: text/rfc822-headers"));
}

//= RFC 8689 §5, type=test
//# All non-delivery messages resulting from messages with the REQUIRETLS SMTP option … MUST also
//# specify the REQUIRETLS SMTP option … If both RET=FULL and REQUIRETLS are present, the RET=FULL
//# MUST be disregarded.
#[test]
fn what_requires_tls_is_returned_so_and_without_its_body() {
    let mut required = envelope();
    (required.ret, required.tls) = (Some(Ret::Full), TlsWish::Required);
    let dsn = report(&required, &refused("no"), Action::Failed, ORIGINAL);
    assert_eq!(dsn.envelope.tls, TlsWish::Required);
    assert!(take_apart(&dsn).1[2].0.contains("Content-Type: text/rfc822-headers"));
    required.tls = TlsWish::Waived;
    let dsn = report(&required, &refused("no"), Action::Failed, ORIGINAL);
    assert_eq!(dsn.envelope.tls, TlsWish::Unsaid);
    assert!(take_apart(&dsn).1[2].0.contains("Content-Type: message/rfc822"));
}

#[test]
fn what_mail_cannot_carry_is_not_returned_whole() {
    let mut full = envelope();
    full.ret = Some(Ret::Full);
    let long = [ORIGINAL, &vec![b'x'; 999], b"\r\n"].concat();
    let big = [ORIGINAL, "line\r\n".repeat(DSN_ORIGINAL_MAX / 6).as_bytes()].concat();
    let stray = [ORIGINAL, b"a\nb\r\n"].concat();
    for original in [long, big, stray] {
        let (_, parts) = take_apart(&report(&full, &refused("no"), Action::Failed, &original));
        assert!(parts[2].0.contains("Content-Type: text/rfc822-headers"));
    }
    let header = format!("X: {}\r\nY: z\r\n\r\n", "y".repeat(5_000));
    let (_, parts) = take_apart(&report(&full, &refused("no"), Action::Failed, header.as_bytes()));
    assert!(parts[2].1.ends_with("Y: z\r\n"));
    let endless = "X: y\r\n".repeat(DSN_ORIGINAL_MAX);
    let dsn = report(&full, &refused("no"), Action::Failed, endless.as_bytes());
    assert!(dsn.content.len() < DSN_ORIGINAL_MAX + 4_096);
}

#[test]
fn delays_and_successes_say_what_follows() {
    let (header, parts) = take_apart(&report(&envelope(), &refused("x"), Action::Delayed, b""));
    assert!(header.contains("Subject: Delayed Mail (still being retried)"));
    assert!(parts[1].1.contains("Action: delayed\r\n"));
    assert!(parts[1].1.ends_with("Will-Retry-Until: Sun, 29 Nov 2026 03:41:01 +0000\r\n"));
    for (action, word) in [(Action::Relayed, "relayed"), (Action::Delivered, "delivered")] {
        let (header, parts) = take_apart(&report(&envelope(), &refused("x"), action, b""));
        assert!(header.contains("Subject: Successful Mail Delivery Report"));
        assert!(parts[1].1.contains(&format!("Action: {word}\r\n")));
        assert!(parts[0].1.contains("took it"));
    }
}

#[test]
fn where_no_peer_spoke_our_own_words_stand() {
    let mut reason = refused("");
    reason.reply = None;
    reason.detail = "no such domain".into();
    reason.peer = "".into();
    let (_, parts) = take_apart(&report(&envelope(), &reason, Action::Failed, ORIGINAL));
    assert!(parts[0].1.contains("  <r@b.example>\r\n    no such domain\r\n"));
    assert!(parts[1].1.contains("Diagnostic-Code: X-relay-fast; no such domain\r\n"));
    assert!(!parts[1].1.contains("Remote-MTA"));
}

#[test]
fn an_expiry_tells_of_the_time_and_of_the_last_attempt() {
    let mut reason = refused("greylisted");
    reason.status = EnhancedStatus::new(4, 4, 7);
    let (_, parts) = take_apart(&report(&envelope(), &reason, Action::Failed, ORIGINAL));
    let told = "    It was tried for as long as mail is kept. Lastly,\r\n    \
        mx.b.example[192.0.2.1]:25 did not take it, in answer to RCPT:\r\n";
    assert!(parts[0].1.contains(told), "{}", parts[0].1);
    assert!(parts[1].1.contains("Action: failed\r\nStatus: 4.4.7\r\n"));
}

//= RFC 6533 §3, type=test
//# the "message/global-delivery-status" … includes … utf-8 … addresses
#[test]
fn wide_addresses_make_an_internationalized_report() {
    let mut wide = envelope();
    wide.smtp_utf8 = true;
    wide.recipients[0] = recipient("řeka@b.example", Notify::Default);
    let original = "Subject: ž\r\n\r\n".as_bytes();
    let dsn = report(&wide, &refused("není"), Action::Failed, original);
    let (header, parts) = take_apart(&dsn);
    assert!(header.contains("Content-Transfer-Encoding: 8bit"));
    assert!(parts[0].0.contains("charset=utf-8"));
    assert!(parts[1].0.contains("Content-Type: message/global-delivery-status"));
    assert!(parts[1].1.contains("Final-Recipient: utf-8; řeka@b.example\r\n"));
    assert!(parts[1].1.contains("550 5.1.1 není\r\n"));
    assert!(parts[2].0.contains("Content-Type: message/global-headers"));
    assert!(dsn.envelope.smtp_utf8);
    assert_eq!(dsn.envelope.body_type, BodyType::EightBitMime);
}

#[test]
fn an_eight_bit_header_without_smtputf8_is_labelled_as_such() {
    let original = "Subject: ž\r\n\r\nbody\r\n".as_bytes();
    let dsn = report(&envelope(), &refused("není"), Action::Failed, original);
    let (_, parts) = take_apart(&dsn);
    assert!(parts[1].1.contains("550 5.1.1 nen?\r\n"));
    assert!(parts[2].0.contains("Content-Type: text/rfc822-headers"));
    assert_eq!((dsn.envelope.smtp_utf8, dsn.envelope.body_type), (false, BodyType::EightBitMime));
}

#[test]
fn nothing_breaks_out_of_its_part() {
    let mut full = envelope();
    full.ret = Some(Ret::Full);
    let original = b"Subject: x\r\n\r\n--=_0000000000002\r\n\r\n--=_0000000000002_1--\r\n";
    let evil = refused("--=_0000000000002_2--\r\nStatus: 2.0.0\r\n\r\nAction: delivered");
    let (_, parts) = take_apart(&report(&full, &evil, Action::Failed, original));
    assert_eq!(parts[2].1.as_bytes(), original);
    assert_eq!(parts[1].1.matches("\r\nAction:").count(), 1, "{}", parts[1].1);
    assert_eq!(parts[1].1.matches("\r\nStatus:").count(), 1);
}

#[test]
fn a_time_by_which_it_was_wanted_is_told_and_so_is_who_does_not_keep_it() {
    let by = |late, trace| {
        let deliver_by = By { seconds: 120, late, trace }.at(WallTime(1_795_491_661_000));
        let handling = Handling { deliver_by: Some(deliver_by), ..Handling::default() };
        Envelope { handling: handling.boxed(), ..envelope() }
    };
    let dsn = report(&by(Late::Return, false), &refused("late"), Action::Failed, ORIGINAL);
    let (_, parts) = take_apart(&dsn);
    let date = WallTime(1_795_491_781_000).to_rfc5322();
    assert!(parts[1].1.contains(&format!("Deliver-By-Date: {date}\r\n")), "{}", parts[1].1);
    let plain = report(&envelope(), &refused("no"), Action::Failed, ORIGINAL);
    assert!(!String::from_utf8_lossy(&plain.content).contains("Deliver-By-Date"));

    let is_due = |envelope: &Envelope, notify, dsn, deliver_by| {
        let recipient = recipient("r@b.example", notify);
        is_relayed_due(envelope, &recipient, PassedOn { dsn, deliver_by })
    };
    let success = Notify::When { success: true, failure: false, delay: false };
    let (told, traced) = (by(Late::Notify, false), by(Late::Notify, true));
    for (envelope, notify, dsn, deliver_by, expected) in [
        (&envelope(), Notify::Default, false, false, false),
        (&envelope(), success, false, true, true),
        (&envelope(), success, true, false, false),
        (&told, Notify::Default, true, true, false),
        (&told, Notify::Default, true, false, true),
        (&told, Notify::Never, false, false, false),
        (&traced, Notify::Default, true, true, true),
        (&traced, Notify::Never, true, true, false),
    ] {
        assert_eq!(is_due(envelope, notify, dsn, deliver_by), expected, "{notify:?} {dsn}");
    }
    let nobody = Envelope { reverse_path: ReversePath::NULL, ..told };
    assert!(!is_due(&nobody, Notify::Default, false, false));
}
