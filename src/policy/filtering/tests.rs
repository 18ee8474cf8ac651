//! Messages through milters that change, refuse and fail.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::ids::MessageId;
use crate::base::limits::{RECIPIENTS_MAX, RECORD_CONTENT_MAX};
use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::envelope::{Envelope, Notify, Recipient};
use crate::milter::{Body, Change, Changes, Stage, Visitor};
use crate::policy::content::ContentScan;

fn recipient(path: &str) -> Recipient {
    let forward_path = ForwardPath::split(path, false).expect("a path").0;
    Recipient { forward_path, notify: Notify::Default, original: None }
}

fn letter(content: &[u8]) -> Letter {
    let mut scan = ContentScan::new();
    scan.push(content);
    let pieces = content.chunks(RECORD_CONTENT_MAX).map(<[u8]>::to_vec).collect();
    let (fields, has_empty_line, body) = split(pieces, scan.facts().header_bytes);
    Letter {
        visitor: Arc::new(Visitor {
            peer: ([192, 0, 2, 1], 25).into(),
            hello: "client.example".into(),
            hostname: "mx.example".into(),
            listener: "in".into(),
            tls: None,
            login: None,
        }),
        id: MessageId(1),
        envelope: Envelope::plain(
            ReversePath::split("<s@a.example>", false).expect("a path").0,
            vec![recipient("<r@b.example>"), recipient("<t@c.example>")],
        ),
        fields,
        has_empty_line,
        body,
    }
}

fn content(letter: &Letter) -> String {
    String::from_utf8(join(letter.clone()).concat()).expect("text")
}

fn changes(list: Vec<Change>) -> Opinion {
    Opinion { verdict: Verdict::Accept, changes: Changes { list, ..Changes::default() } }
}

fn changed(before: &str, list: Vec<Change>) -> String {
    let mut course = Course::new(letter(before.as_bytes()), vec![OnFailure::Tempfail]);
    course.handle_opinion(changes(list));
    assert_eq!(course.decision(), Some(&Decision::Accept));
    content(course.letter())
}

fn add(name: &str, value: &str) -> Change {
    Change::AddField { name: name.into(), value: value.into() }
}

fn insert(place: u32, name: &str) -> Change {
    Change::InsertField { place, name: name.into(), value: b" new".into() }
}

fn change(index: u32, name: &str, value: Option<&str>) -> Change {
    Change::ChangeField { index, name: name.into(), value: value.map(Into::into) }
}

const MAIL: &str = "A: 1\r\nB: 2\r\n\tfolded\r\nA: 3\r\n\r\nHello\r\n";

#[test]
fn fields_are_added_inserted_changed_and_deleted_by_their_place() {
    let body = "\r\n\r\nHello\r\n";
    for (change, expected) in [
        (add("C", " 4"), "A: 1\r\nB: 2\r\n\tfolded\r\nA: 3\r\nC: 4"),
        (insert(0, "C"), "C: new\r\nA: 1\r\nB: 2\r\n\tfolded\r\nA: 3"),
        (insert(1, "C"), "C: new\r\nA: 1\r\nB: 2\r\n\tfolded\r\nA: 3"),
        (insert(2, "C"), "A: 1\r\nC: new\r\nB: 2\r\n\tfolded\r\nA: 3"),
        (insert(9, "C"), "A: 1\r\nB: 2\r\n\tfolded\r\nA: 3\r\nC: new"),
        (change(2, "a", Some(" new")), "A: 1\r\nB: 2\r\n\tfolded\r\na: new"),
        (change(1, "b", Some(" new")), "A: 1\r\nb: new\r\nA: 3"),
        (change(1, "A", None), "B: 2\r\n\tfolded\r\nA: 3"),
        (change(0, "A", None), "B: 2\r\n\tfolded\r\nA: 3"),
        (change(3, "A", Some(" new")), "A: 1\r\nB: 2\r\n\tfolded\r\nA: 3\r\nA: new"),
        (change(3, "A", None), "A: 1\r\nB: 2\r\n\tfolded\r\nA: 3"),
    ] {
        let words = format!("{change:?}");
        assert_eq!(changed(MAIL, vec![change]), format!("{expected}{body}"), "{words}");
    }
}

#[test]
fn a_value_makes_one_field_whatever_it_holds() {
    for (value, expected) in [
        (" a\n b", "X: a\r\n b\r\n"),
        (" a\r\n\tb", "X: a\r\n\tb\r\n"),
        (" a\nEvil: b", "X: a\r\n Evil: b\r\n"),
        (" a\rEvil: b", "X: a\r\n Evil: b\r\n"),
        (" a\r\n\r\nbody", "X: a\r\n body\r\n"),
        (" a\n \n", "X: a\r\n"),
        ("", "X:\r\n"),
    ] {
        let after = changed("A: 1\r\n\r\nHello\r\n", vec![add("X", value)]);
        assert_eq!(after, format!("A: 1\r\n{expected}\r\nHello\r\n"), "{value:?}");
        assert_eq!(letter(after.as_bytes()).fields.len(), 2);
    }
}

#[test]
fn new_fields_stay_apart_from_what_follows() {
    for (before, after) in [
        ("", "X: 1\r\n"),
        ("\r\n", "X: 1\r\n\r\n"),
        ("\r\nHello\r\n", "X: 1\r\n\r\nHello\r\n"),
        ("Hello\r\n", "X: 1\r\n\r\nHello\r\n"),
        ("A: 1\r\nHello\r\n", "A: 1\r\nX: 1\r\n\r\nHello\r\n"),
        ("A: 1\r\n", "A: 1\r\nX: 1\r\n"),
        (" odd\r\n\r\nHello\r\n", "X: 1\r\n\r\n odd\r\n\r\nHello\r\n"),
    ] {
        assert_eq!(changed(before, vec![add("X", " 1")]), after, "{before:?}");
    }
}

#[test]
fn a_new_body_has_the_line_ends_of_mail() {
    for (pieces, expected) in [
        (&[&b"a\r\nb\r\n"[..]][..], "a\r\nb\r\n"),
        (&[b"a\nb", b"\n"], "a\r\nb\r\n"),
        (&[b"a\r", b"\nb\r", b"c"], "a\r\nb\r\nc"),
        (&[b"a\r\r\n.\n", b"\r"], "a\r\n\r\n.\r\n\r\n"),
        (&[], ""),
    ] {
        let mut opinion = changes(Vec::new());
        let body = opinion.changes.body.insert(Body::default());
        pieces.iter().for_each(|piece| body.push(piece.to_vec()));
        let mut course = Course::new(letter(MAIL.as_bytes()), vec![OnFailure::Tempfail]);
        assert_eq!(course.handle_opinion(opinion).outcome, Outcome::Changed);
        let after = content(course.letter());
        assert_eq!(
            after.split_once("\r\n\r\n"),
            Some(("A: 1\r\nB: 2\r\n\tfolded\r\nA: 3", expected))
        );
    }
}

#[test]
fn recipients_and_the_reverse_path_change_like_an_envelope() {
    let path = |text: &str, parameters: &str| Change::AddRecipient {
        path: text.into(),
        parameters: parameters.into(),
    };
    let mut course = Course::new(letter(MAIL.as_bytes()), vec![OnFailure::Tempfail; 2]);
    let step = course.handle_opinion(changes(vec![
        path("<n@d.example>", "NOTIFY=NEVER"),
        path("r@b.example", ""),
        Change::DeleteRecipient("<T@C.example>".into()),
        Change::DeleteRecipient("nobody@c.example".into()),
        Change::ReversePath("<>".into()),
    ]));
    assert_eq!(step.outcome, Outcome::Changed);
    let envelope = &course.letter().envelope;
    let paths: Vec<_> = envelope.recipients.iter().map(|one| one.forward_path.as_str()).collect();
    assert_eq!(paths, ["r@b.example", "n@d.example"]);
    assert_eq!(envelope.recipients[1].notify, Notify::Never);
    assert!(envelope.reverse_path.is_null());
    let gone = ["r@b.example", "n@d.example"];
    let gone = gone.map(|path| Change::DeleteRecipient(path.into())).to_vec();
    course.handle_opinion(changes(gone));
    assert_eq!(course.decision(), Some(&Decision::Discard), "nobody is left");
    assert!(!course.into_letter().1, "the content is what it was");
}

#[test]
fn changes_that_cannot_be_made_change_nothing() {
    let recipient = |path: &str| Change::AddRecipient { path: path.into(), parameters: "".into() };
    let mut many: Vec<Change> =
        (0..RECIPIENTS_MAX).map(|n| recipient(&format!("n{n}@d.example"))).collect();
    many.push(add("X", " 1"));
    for list in [
        vec![add("X", " 1"), recipient("<no address>")],
        vec![add("X", " 1"), recipient("<postmaster>")],
        vec![add("X", " 1"), recipient("a@b.example> SIZE=1")],
        vec![add("X", " 1"), Change::ReversePath("<a@b.example> <c@d.example>".into())],
        vec![
            add("X", " 1"),
            Change::AddRecipient { path: "a@b.example".into(), parameters: "MOOD=bad".into() },
        ],
        vec![add("X", " 1"), add("Y", "a\0b")],
        vec![add("X", " 1"), add("Y Z", "1")],
        many,
    ] {
        let mut course = Course::new(letter(MAIL.as_bytes()), vec![OnFailure::Accept]);
        let step = course.handle_opinion(changes(list));
        assert!(matches!(step.outcome, Outcome::Failed(_)), "{step:?}");
        assert_eq!(course.decision(), Some(&Decision::Accept));
        assert_eq!(content(course.letter()), MAIL);
        assert_eq!(course.letter().envelope, letter(b"").envelope);
    }
}

#[test]
fn each_milter_sees_what_those_before_it_changed_and_the_first_refusal_ends_it() {
    let mut course = Course::new(letter(MAIL.as_bytes()), vec![OnFailure::Tempfail; 3]);
    assert_eq!(course.milter(), Some(0));
    course.handle_opinion(changes(vec![add("X", " 1"), Change::Quarantine("odd".into())]));
    assert_eq!(course.milter(), Some(1));
    assert!(content(course.letter()).contains("X: 1\r\n"));
    course.handle_opinion(changes(vec![change(1, "X", None)]));
    assert_eq!(content(course.letter()), MAIL);
    let refused = super::reply(554, (5, 7, 1), "Spam");
    let mut other = Course::new(letter(MAIL.as_bytes()), vec![OnFailure::Tempfail; 3]);
    let opinion =
        Opinion { verdict: Verdict::Refuse(refused.clone()), changes: Changes::default() };
    assert_eq!(other.handle_opinion(opinion).outcome, Outcome::Refused(refused.clone()));
    assert_eq!((other.milter(), other.decision()), (None, Some(&Decision::Refuse(refused))));
    let step = course.handle_opinion(changes(Vec::new()));
    assert_eq!(step, Step { milter: 2, outcome: Outcome::Passed });
    assert_eq!(course.decision(), Some(&Decision::Hold), "the first one wanted it held");
    let discard = Opinion { verdict: Verdict::Discard, changes: Changes::default() };
    let mut course = Course::new(letter(MAIL.as_bytes()), vec![OnFailure::Tempfail; 2]);
    assert_eq!(course.handle_opinion(discard).outcome, Outcome::Discarded);
    assert_eq!((course.milter(), course.decision()), (None, Some(&Decision::Discard)));
}

#[test]
fn a_failure_is_what_the_knob_says() {
    let late = Failure::TimedOut(Stage::End);
    for (on_failure, code) in [
        (OnFailure::Accept, None),
        (OnFailure::Tempfail, Some(451)),
        (OnFailure::Reject, Some(550)),
    ] {
        let mut course = Course::new(letter(MAIL.as_bytes()), vec![on_failure, OnFailure::Accept]);
        let step = course.handle_failure(&late);
        assert!(matches!(step.outcome, Outcome::Failed(_)));
        let refused = match course.decision() {
            Some(Decision::Refuse(reply)) => Some(reply.code.as_u16()),
            _ => None,
        };
        assert_eq!(refused, code);
        assert_eq!(course.milter().is_some(), code.is_none(), "the next one is asked");
        if code.is_none() {
            course.handle_late();
            assert_eq!(course.decision(), Some(&Decision::Accept));
        }
    }
}

#[test]
fn large_content_stays_in_pieces() {
    let long = format!("A: {}\r\n", "x".repeat(RECORD_CONTENT_MAX));
    let body = "y".repeat(3 * RECORD_CONTENT_MAX);
    let whole = format!("{long}B: 2\r\n\r\n{body}");
    let letter = letter(whole.as_bytes());
    assert_eq!((letter.fields.len(), letter.bytes()), (2, whole.len()));
    let pieces = join(letter);
    assert!(pieces.iter().all(|piece| piece.len() <= RECORD_CONTENT_MAX));
    assert!(pieces.concat() == whole.as_bytes());
}

proptest! {
    #[test]
    fn what_nobody_changes_is_what_it_was(
        lines in proptest::collection::vec("([A-C]: ?|[ \t]|)[a-z:]{0,3}", 0..8),
        tail in "(\r\n)?[a-z]{0,3}",
    ) {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let text = lines + &tail;
        prop_assert_eq!(content(&letter(text.as_bytes())), text);
    }

    #[test]
    fn added_fields_are_found_again(
        lines in proptest::collection::vec("([A-C]: ?|[ \t]|)[a-z:]{0,3}", 0..8),
        value in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let mut letter = letter(text.as_bytes());
        let fields = letter.fields.len();
        let field = Change::AddField { name: b"X".to_vec(), value };
        let changes = Changes { list: vec![field], ..Changes::default() };
        if apply(changes, &mut letter).is_ok() {
            let octets = join(letter).concat();
            prop_assert_eq!(self::letter(&octets).fields.len(), fields + 1);
        }
    }
}
