//! What a report may tell of its message, its bounds, and our own DSNs; `tests/feedback.rs` has the
//! corpus.

use super::*;
use crate::base::ids::MessageId;
use crate::base::limits::{FEEDBACK_CANDIDATES_MAX, FEEDBACK_TEXT_MAX};
use crate::base::time::WallTime;
use crate::mail::address::ReversePath;
use crate::mail::envelope::{Envelope, Notify, OriginalRecipient, Recipient};
use crate::mail::outcome::{Reason, Stage};
use crate::mail::status::{Reply, ReplyCode};
use crate::outcome::dsn::{self, Action, DsnRecipient, DsnRequest};

macro_rules! corpus {
    ($($name:literal),*) => {
        [$(($name, include_bytes!(concat!("../../../tests/data/feedback/", $name)).as_slice())),*]
    };
}

fn all(traces: &Traces) -> Vec<&str> {
    traces.recipients.iter().map(Mailbox::as_str).collect()
}

#[test]
fn what_is_returned_tells_which_message_it_was() {
    for (name, content) in corpus!(
        "postfix.eml",
        "exim-report.eml",
        "exim-plain.eml",
        "qmail.eml",
        "gmail.eml",
        "office365.eml",
        "exchange2010-admins.eml",
        "t-online.eml",
        "arf-abuse.eml",
        "hotmail-jmrp.eml"
    ) {
        let traces = read(content).traces;
        assert_eq!(traces.message_id.as_deref(), Some("<offer-1@shop.example>"), "{name}");
        let reverse_path = traces.reverse_path.as_ref().map(Mailbox::as_str);
        assert_eq!(reverse_path, Some("bounces+ab3dtoken@bounces.sender.example"), "{name}");
        assert_eq!(traces.feedback_id.as_deref(), Some("feedback-token-1"), "{name}");
        assert!(!traces.recipients.is_empty(), "{name}");
    }
}

#[test]
fn a_forwarded_message_names_whom_it_was_first_for() {
    let [(_, content)] = corpus!("forwarded.eml");
    let traces = read(content).traces;
    assert_eq!(all(&traces), ["user@target.example", "private@elsewhere.example"]);
}

#[test]
fn both_recipients_of_an_alias_and_the_envelope_id_are_told() {
    let [(_, content)] = corpus!("postfix-three.eml");
    let feedback = read(content);
    assert_eq!(feedback.traces.envelope_id.as_deref(), Some("campaign-7+3D42"));
    let original = feedback.told[1].original.as_ref().map(Mailbox::as_str);
    assert_eq!(original, Some("b@alias.example"));
    assert_eq!(&*feedback.told[0].peer, "store.target.example");
}

/// RFC 9477 §4.2: it may be folded anywhere, and is one word all the same.
#[test]
fn a_feedback_id_is_put_together_again() {
    let [(_, content)] = corpus!("cfbl.eml");
    let feedback = read(content);
    assert_eq!(feedback.traces.feedback_id.as_deref(), Some("feedback-token-1"));
    assert_eq!(feedback.told[0].kind, Kind::Complaint(Complaint::Abuse));
}

#[test]
fn an_answer_tells_what_it_answers() {
    let content = b"From: a@b.example\r\nAuto-Submitted: auto-replied\r\n\
        In-Reply-To: <offer-1@shop.example>\r\n\r\nAway.\r\n";
    let feedback = read(content);
    assert_eq!(feedback.told[0].kind, Kind::AutoReply);
    assert_eq!(feedback.traces.message_id.as_deref(), Some("<offer-1@shop.example>"));
}

fn recipient(address: &str, original: Option<&str>) -> Recipient {
    let original = original
        .map(|address| OriginalRecipient { kind: "rfc822".into(), address: address.into() });
    let (forward_path, _) =
        crate::mail::address::ForwardPath::split(&format!("<{address}>"), true).expect("a path");
    Recipient { forward_path, notify: Notify::Default, original }
}

/// What this node writes, it can read.
#[test]
fn our_own_dsns_are_understood() {
    let reply = Reply {
        code: ReplyCode::known(550),
        enhanced: Some(EnhancedStatus::new(5, 1, 1)),
        text: "No such user\nreally".into(),
    };
    let reason = Reason {
        stage: Stage::Rcpt,
        status: EnhancedStatus::new(5, 1, 1),
        reply: Some(reply),
        detail: "".into(),
        peer: "mx.b.example[192.0.2.1]:25".into(),
    };
    for (action, kind) in [
        (Action::Failed, Kind::Bounced),
        (Action::Delayed, Kind::Delayed),
        (Action::Relayed, Kind::Relayed),
        (Action::Delivered, Kind::Delivered),
    ] {
        for address in ["user@b.example", "us\u{e9}r@b.example"] {
            let recipient = recipient(address, Some("first@b.example"));
            let about = [DsnRecipient {
                recipient: &recipient,
                reason: &reason,
                attempted: WallTime(1_795_491_661_007),
            }];
            let (reverse_path, _) = ReversePath::split("<s@a.example>", false).expect("a path");
            let envelope = Envelope {
                smtp_utf8: !address.is_ascii(),
                envelope_id: Some("ENV".into()),
                ..Envelope::plain(reverse_path, vec![recipient.clone()])
            };
            let dsn = dsn::compose(&DsnRequest {
                action,
                hostname: "relay.example",
                id: MessageId(2),
                original_id: MessageId(1),
                envelope: &envelope,
                recipients: &about,
                original: b"Message-ID: <1@a.example>\r\nTo: user@b.example\r\n\r\nx\r\n",
                original_bytes: 60,
                arrival: WallTime(1_795_491_661_007),
                now: WallTime(1_795_491_661_007),
                expires: WallTime(1_795_491_661_007),
            });
            let feedback = read(&dsn.content);
            assert_eq!(feedback.form, Form::Dsn);
            let told = &feedback.told[0];
            assert_eq!((feedback.told.len(), told.kind), (1, kind));
            assert_eq!(told.recipient.as_ref().map(Mailbox::as_str), Some(address));
            assert_eq!(told.original.as_ref().map(Mailbox::as_str), Some("first@b.example"));
            assert_eq!((told.status, told.code), (Some(EnhancedStatus::new(5, 1, 1)), Some(550)));
            assert_eq!(&*told.text, "550 5.1.1 No such user really");
            assert_eq!(&*told.peer, "mx.b.example");
            assert_eq!(feedback.traces.message_id.as_deref(), Some("<1@a.example>"));
            assert_eq!(feedback.traces.envelope_id.as_deref(), Some("ENV"));
        }
    }
}

/// What must hold of whatever is read.
fn assert_bounded(feedback: &Feedback) {
    assert!((1..=FEEDBACK_TOLD_MAX).contains(&feedback.told.len()));
    assert!(feedback.traces.recipients.len() <= FEEDBACK_CANDIDATES_MAX);
    for told in &feedback.told {
        assert!(told.text.len() <= FEEDBACK_WORDS_MAX);
        assert!(!told.text.contains(char::is_control) && !told.peer.contains(char::is_control));
        assert!(told.code.is_none_or(|code| (400..=599).contains(&code)));
    }
}

#[test]
fn a_report_that_is_cut_anywhere_is_read_as_far_as_it_goes() {
    for (name, content) in corpus!(
        "postfix-three.eml",
        "arf-abuse.eml",
        "qmail-two.eml",
        "exchange-plain.eml",
        "german-unzustellbar.eml",
        "away-quotes-bounce.eml"
    ) {
        for end in 0..content.len() {
            let feedback = read(&content[..end]);
            assert_bounded(&feedback);
            let is_bounce = feedback.told.iter().any(|told| told.kind == Kind::Bounced);
            assert!(!(is_bounce && name.starts_with("a")), "{name} cut at {end}: {feedback:?}");
        }
    }
}

#[test]
fn a_report_of_too_many_recipients_is_bounded() {
    let header = "From: MAILER-DAEMON@a.example\nSubject: failure notice\n";
    let block = |n: usize| {
        format!("Final-Recipient: rfc822; u{n}@b.example\nAction: failed\nStatus: 5.1.1\n\n")
    };
    let dsn: String = (0..9_999).map(block).collect();
    let dsn = format!("{header}Content-Type: message/delivery-status\n\n{dsn}");
    let failed: String = (0..999).map(|n| format!(" u{n}@b.example,\n")).collect();
    let exim = format!("{header}X-Failed-Recipients:{failed}\n\n550 5.1.1 failed\n");
    let lines: String = (0..9_999).map(|n| format!("<u{n}@b.example>:\n550 gone\n\n")).collect();
    let qmail = format!("{header}\nHi. This is the qmail-send program at a.\n\n{lines}");
    let words = format!("{header}\nThese failed:\n\n{lines}");
    for content in [dsn, exim, qmail, words] {
        let feedback = read(content.as_bytes());
        assert_bounded(&feedback);
        assert_eq!(feedback.told.len(), FEEDBACK_TOLD_MAX, "{:?}", feedback.form);
    }
}

/// Each would cost a reader dearly that goes back and forth.
#[test]
fn hostile_shapes_cost_no_more_than_their_octets() {
    let octets = 4 * FEEDBACK_BYTES_MAX;
    let header = "From: MAILER-DAEMON@a.example\nSubject: failure notice\n";
    let multipart = "Content-Type: multipart/report; boundary=b\n\n";
    for unit in [
        "--b\n",
        "--b",
        "-",
        "\n",
        ":\n",
        "a:\n",
        " \n",
        "=\n",
        "<",
        "@",
        "a@b.c ",
        "(",
        ";",
        "\"",
        "=?utf-8?q?",
        "\\x{",
        "Final-Recipient:\n",
        "message/rfc822\n\n",
        "5.1.1",
        "550 ",
        "\u{e9}",
        "Content-Type: multipart/x; boundary=b\n\n--b\n",
        "Content-Type: message/rfc822\n\n",
        "Hi. This is the\n\n",
        "<a@b.example>:\n\n",
        "Action: failed\n\n",
        "&lt;",
        "<p>",
        "\0",
    ] {
        let filling = unit.repeat(octets / unit.len());
        for before in [header.to_owned(), format!("{header}\n"), format!("{header}{multipart}")] {
            assert_bounded(&read((before + &filling).as_bytes()));
        }
    }
    let html =
        format!("{header}Content-Type: text/html\n\n{}", "<a@b.c><".repeat(FEEDBACK_TEXT_MAX));
    assert_bounded(&read(html.as_bytes()));
}
