//! Whole conversations: what a milter is told, at every cut of what it says, and what it may not.

mod hostile;

use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::MessageId;
use crate::base::limits::{MILTER_CHUNK_MAX, MILTER_CHUNKS_UNANSWERED, RECORD_CONTENT_MAX};
use crate::base::time::Monotonic;
use crate::mail::address::{ForwardPath, ReversePath};
use crate::mail::envelope::{BodyType, Envelope, Notify, Recipient, TlsWish};
use crate::milter::packet::{self, Packets};
use crate::milter::{
    Body, Change, Client, Event, Failure, Field, Fit, Letter, Options, Stage, Verdict, Visitor,
};

const OPTIONS: Options = Options {
    connect: Duration::from_secs(5),
    command: Duration::from_secs(30),
    end: Duration::from_secs(120),
    body_max: 1_000_000,
};
/// Neither data nor answers: the whole message is told in one go.
const SILENT: u32 = 0x000F_F080;

fn start() -> Monotonic {
    Monotonic::default()
}

fn visitor(port: u16) -> Arc<Visitor> {
    Arc::new(Visitor {
        peer: ([192, 0, 2, 1], port).into(),
        hello: "client.example".into(),
        hostname: "mx.example".into(),
        listener: "127.0.0.1:2525".into(),
        tls: Some(("TLS1.3", "TLS_AES_256_GCM_SHA384")),
        login: Some("anna".into()),
    })
}

fn letter(visitor: &Arc<Visitor>, body: &[&[u8]]) -> Letter {
    let path = |text: &str| ForwardPath::split(text, false).expect("a path").0;
    let recipient =
        |text| Recipient { forward_path: path(text), notify: Notify::Default, original: None };
    let field = |text: &str| Field::new(text.into()).expect("a field");
    let mut letter = Letter {
        visitor: visitor.clone(),
        id: MessageId(1),
        envelope: Envelope {
            reverse_path: ReversePath::split("<s@a.example>", false).expect("a path").0,
            body_type: BodyType::EightBitMime,
            smtp_utf8: false,
            tls: TlsWish::Unsaid,
            ret: None,
            envelope_id: None,
            handling: None,
            recipients: vec![recipient("<r@b.example>"), recipient("<t@c.example>")],
        },
        fields: vec![
            field("Subject: folded\r\n over two\r\n"),
            field("X-Odd :no space\r\n"),
            field("Empty:\r\n"),
        ],
        has_empty_line: true,
        body: Body::default(),
    };
    body.iter().for_each(|piece| letter.body.push(piece.to_vec()));
    letter
}

fn packet(what: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet::write(what, &[data], &mut bytes);
    bytes
}

fn options(version: u32, steps: u32) -> Vec<u8> {
    let numbers = [version, 0xFF, steps];
    packet(b'O', &numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>())
}

/// What was told, as `command: data` with NUL as `|`.
fn told(bytes: &[u8]) -> Vec<String> {
    let mut packets = Packets::default();
    packets.push(bytes);
    let mut told = Vec::new();
    while let Some((what, data)) = packets.next().expect("our own packets") {
        let text = String::from_utf8_lossy(data).replace('\0', "|");
        told.push(format!("{}:{text}", what as char));
    }
    assert!(!packets.is_midway());
    told
}

fn output(client: &mut Client, letter: Option<&Letter>) -> Vec<u8> {
    let mut out = Vec::new();
    client.take_output(letter, &mut out, start());
    out
}

/// A connection whose options are agreed on, and that has begun with `letter`.
fn begun(letter: &Letter, version: u32, steps: u32) -> Client {
    let mut client = Client::new(OPTIONS, start());
    client.handle_connected();
    client.begin(&letter.visitor, start());
    assert!(told(&output(&mut client, Some(letter)))[0].starts_with("O:"), "and nothing else");
    client.handle_bytes(&options(version, steps), start());
    client
}

fn say(client: &mut Client, words: &[(u8, &[u8])]) {
    for (what, data) in words {
        client.handle_bytes(&packet(*what, data), start());
    }
}

fn verdict(client: &mut Client) -> Option<Verdict> {
    match client.poll_event() {
        Some(Event::Opinion(opinion)) => Some(opinion.verdict),
        Some(Event::Failed { why, .. }) => panic!("{why}"),
        None => None,
    }
}

fn failure(client: &mut Client) -> Failure {
    match client.poll_event() {
        Some(Event::Failed { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_of_a_message_is_told_in_one_go() {
    let letter = letter(&visitor(25_000), &[b"Hello\r\n"]);
    let mut client = begun(&letter, 6, SILENT);
    let version = env!("CARGO_PKG_VERSION");
    let id = letter.id.to_string();
    let expected = [
        format!(
            "D:Cj|mx.example|{{daemon_name}}|127.0.0.1:2525|v|relay-fast {version}|\
             {{client_addr}}|192.0.2.1|{{client_name}}|unknown|{{client_port}}|25000|\
             _|unknown [192.0.2.1]|"
        ),
        String::from("C:unknown|4a\u{FFFD}192.0.2.1|"),
        String::from("D:H{tls_version}|TLS1.3|{cipher}|TLS_AES_256_GCM_SHA384|"),
        String::from("H:client.example|"),
        format!("D:Mi|{id}|{{mail_addr}}|s@a.example|{{auth_authen}}|anna|"),
        format!("M:<s@a.example>|SIZE={}|BODY=8BITMIME|", letter.bytes()),
        String::from("D:R{rcpt_addr}|r@b.example|"),
        String::from("R:<r@b.example>|"),
        String::from("D:R{rcpt_addr}|t@c.example|"),
        String::from("R:<t@c.example>|"),
        format!("D:Ti|{id}|"),
        String::from("T:"),
        String::from("L:Subject|folded\n over two|"),
        String::from("L:X-Odd|no space|"),
        String::from("L:Empty||"),
        format!("D:Ni|{id}|"),
        String::from("N:"),
        String::from("B:Hello\r\n"),
        format!("D:Ei|{id}|"),
        String::from("E:"),
    ];
    assert_eq!(told(&output(&mut client, Some(&letter))), expected);
    say(&mut client, &[(b'p', b""), (b'h', b"X-A\0one\0"), (b'c', b"")]);
    let Some(Event::Opinion(opinion)) = client.poll_event() else { panic!("no opinion") };
    assert_eq!(opinion.verdict, Verdict::Accept);
    let added = Change::AddField { name: b"X-A".to_vec(), value: b" one".to_vec() };
    assert_eq!(opinion.changes.list, [added]);
    assert!(!client.is_over() && client.deadline().is_none());
}

#[test]
fn what_a_milter_does_not_want_is_left_out() {
    let letter = letter(&visitor(25_000), &[b"Hello\r\n"]);
    let short = |version, steps| {
        let mut client = begun(&letter, version, steps);
        let told = told(&output(&mut client, Some(&letter)));
        told.iter().filter(|one| !one.starts_with("D:")).map(|one| one[..1].to_owned()).collect()
    };
    let all: String = short(6, 0);
    assert_eq!(all, "CHMRRTLLLNBE");
    let no_data: String = short(3, 0);
    assert_eq!(no_data, "CHMRRLLLNBE", "DATA came with version 4");
    let nothing: String = short(6, 0x27F);
    assert_eq!(nothing, "E");
    let headers: String = short(6, 0x1F);
    assert_eq!(headers, "TLLLNE");
}

#[test]
fn values_keep_their_white_space_where_that_was_agreed() {
    let letter = letter(&visitor(25_000), &[]);
    let mut client = begun(&letter, 6, 0x0010_0000);
    let told = told(&output(&mut client, Some(&letter)));
    assert!(told.contains(&String::from("L:Subject| folded\n over two|")), "{told:?}");
    assert!(told.contains(&String::from("L:X-Odd|no space|")), "{told:?}");
}

/// A milter that answers each step, and ends as told.
fn answers(end: &[(u8, &[u8])]) -> Vec<u8> {
    let mut words = options(6, 0);
    (0..11).for_each(|_| words.extend(packet(b'c', b"")));
    end.iter().for_each(|(what, data)| words.extend(packet(*what, data)));
    words
}

#[test]
fn the_opinion_is_the_same_wherever_the_answers_are_cut() {
    let letter = letter(&visitor(25_000), &[b"Hello\r\n"]);
    let end: [(u8, &[u8]); 5] = [
        (b'm', b"\0\0\0\x01Subject\0new\0"),
        (b'b', b"other"),
        (b'p', b""),
        (b'b', b" words\r\n"),
        (b'a', b""),
    ];
    let words = answers(&end);
    let run = |cuts: &[usize]| {
        let mut client = Client::new(OPTIONS, start());
        client.handle_connected();
        client.begin(&letter.visitor, start());
        let mut rest = words.as_slice();
        for cut in cuts.iter().chain([&words.len()]) {
            let piece;
            (piece, rest) = rest.split_at((*cut).min(rest.len()));
            client.handle_bytes(piece, start());
            // All is told as soon as it may be, whatever was answered.
            output(&mut client, Some(&letter));
        }
        client.poll_event()
    };
    // An answer must not come before its step: the options are a piece of their own.
    let first = options(6, 0).len();
    let whole = run(&[first]);
    assert!(matches!(whole, Some(Event::Opinion(_))), "{whole:?}");
    for cut in 0..words.len() - first {
        assert_eq!(run(&[first, cut]), whole, "cut at {cut}");
    }
    let singles: Vec<usize> =
        std::iter::once(first).chain((first..words.len()).map(|_| 1)).collect();
    assert_eq!(run(&singles), whole);
}

#[test]
fn a_body_is_told_in_chunks_and_no_more_of_them_than_may_wait_for_their_answers() {
    let piece = vec![b'x'; RECORD_CONTENT_MAX];
    let letter = letter(&visitor(25_000), &[&piece, &piece]);
    let mut client = begun(&letter, 6, 0x000F_F080 & !0x0008_0000);
    let chunks = |client: &mut Client| {
        let mut told = told(&output(client, Some(&letter)));
        told.retain(|one| one.starts_with("B:"));
        assert!(told.iter().all(|one| one.len() <= 2 + MILTER_CHUNK_MAX));
        told
    };
    let first = chunks(&mut client);
    assert_eq!(first.len(), MILTER_CHUNKS_UNANSWERED);
    assert!(chunks(&mut client).is_empty(), "it has answered none");
    say(&mut client, &[(b'c', b""), (b'c', b"")]);
    assert_eq!(chunks(&mut client).len(), 2);
    say(&mut client, &[(b's', b"")]);
    let told = told(&output(&mut client, Some(&letter)));
    assert!(
        told.iter().all(|one| !one.starts_with("B:")) && told.contains(&"E:".into()),
        "skipped"
    );
    let left = MILTER_CHUNKS_UNANSWERED - 1;
    (0..left).for_each(|_| say(&mut client, &[(b'c', b"")]));
    assert_eq!(verdict(&mut client), None, "those before it are answered first");
    say(&mut client, &[(b'c', b"")]);
    assert_eq!(verdict(&mut client), Some(Verdict::Accept));
}

#[test]
fn a_body_that_nobody_answers_goes_by_the_window() {
    let piece = vec![b'x'; RECORD_CONTENT_MAX];
    let letter = letter(&visitor(25_000), &[&piece, &piece, &piece, b"end"]);
    let mut client = begun(&letter, 6, SILENT);
    let mut sent = 0;
    let mut goes = 0;
    loop {
        let out = output(&mut client, Some(&letter));
        if out.is_empty() {
            break;
        }
        goes += 1;
        let mut told = told(&out);
        told.retain(|one| one.starts_with("B:"));
        sent += told.iter().map(|one| one.len() - 2).sum::<usize>();
    }
    assert_eq!((sent, goes), (letter.body.len(), 4));
}

#[test]
fn a_refusal_ends_it_at_any_step() {
    let letter = letter(&visitor(25_000), &[b"Hello\r\n"]);
    for before in 0..11 {
        for (words, is_final) in
            [(b'r', true), (b't', true), (b'd', true), (b'a', true), (b'c', false)]
        {
            let mut client = begun(&letter, 6, 0);
            output(&mut client, Some(&letter));
            (0..before).for_each(|_| say(&mut client, &[(b'c', b"")]));
            say(&mut client, &[(words, b"")]);
            let verdict = verdict(&mut client);
            assert_eq!(verdict.is_some(), is_final, "{} at {before}", words as char);
            assert_eq!(client.is_over(), is_final);
            if is_final {
                assert_eq!(told(&output(&mut client, Some(&letter))), ["A:", "Q:"]);
            }
        }
    }
}

#[test]
fn changes_of_a_message_that_is_refused_are_forgotten() {
    let letter = letter(&visitor(25_000), &[]);
    let mut client = begun(&letter, 6, SILENT);
    output(&mut client, Some(&letter));
    say(&mut client, &[(b'h', b"X-A\0one\0"), (b'y', b"554 5.7.1 Spam\0")]);
    let Some(Event::Opinion(opinion)) = client.poll_event() else { panic!("no opinion") };
    assert!(matches!(opinion.verdict, Verdict::Refuse(reply) if reply.code.as_u16() == 554));
    assert!(opinion.changes.is_empty());
}

#[test]
fn a_connection_is_used_again_where_the_milter_can() {
    let (first, second) = (visitor(1), visitor(2));
    for (version, end, same, other) in [
        (6, b'c', Fit::Same, Fit::Anew),
        (6, b'a', Fit::Same, Fit::No),
        (6, b'r', Fit::Same, Fit::No),
        (5, b'c', Fit::Same, Fit::No),
    ] {
        let one = letter(&first, &[]);
        let mut client = begun(&one, version, SILENT);
        assert_eq!(client.fit(&first), Fit::No, "it is at work");
        output(&mut client, Some(&one));
        say(&mut client, &[(end, b"")]);
        assert_eq!(client.fit(&first), Fit::No, "its opinion was not heard");
        assert!(verdict(&mut client).is_some());
        assert_eq!((client.fit(&first), client.fit(&second)), (same, other), "{}", end as char);
        client.begin(&first, start());
        let again = told(&output(&mut client, Some(&one)));
        assert!(again[0].starts_with("D:M"), "{again:?}");
        say(&mut client, &[(b'c', b"")]);
        assert!(verdict(&mut client).is_some());
        if client.fit(&second) == Fit::Anew {
            client.begin(&second, start());
            let anew = told(&output(&mut client, Some(&letter(&second, &[]))));
            assert_eq!((anew[0].as_str(), &anew[1][..3]), ("K:", "D:C"));
        }
    }
}

#[test]
fn a_connection_that_ended_while_it_was_idle_says_so() {
    let one = letter(&visitor(1), &[]);
    let mut client = begun(&one, 6, SILENT);
    output(&mut client, Some(&one));
    client.handle_lost("reset");
    let is_stale = |event| matches!(event, Some(Event::Failed { is_stale: true, .. }));
    assert!(!is_stale(client.poll_event()), "it was new");
    for answers_first in [false, true] {
        let mut client = begun(&one, 6, 0x000F_7080);
        output(&mut client, Some(&one));
        say(&mut client, &[(b'c', b""), (b'c', b""), (b'c', b"")]);
        assert_eq!(verdict(&mut client), Some(Verdict::Accept));
        client.begin(&one.visitor, start());
        output(&mut client, Some(&one));
        if answers_first {
            say(&mut client, &[(b'c', b"")]);
        }
        client.handle_lost("reset");
        assert_eq!(is_stale(client.poll_event()), !answers_first);
        assert!(client.is_over() && output(&mut client, Some(&one)).is_empty());
    }
}

#[test]
fn an_octet_without_a_message_ends_the_connection() {
    let one = letter(&visitor(1), &[]);
    let mut client = begun(&one, 6, 0x000F_7080);
    output(&mut client, Some(&one));
    say(&mut client, &[(b'c', b""), (b'c', b""), (b'c', b"")]);
    assert_eq!(verdict(&mut client), Some(Verdict::Accept));
    assert_eq!(client.fit(&one.visitor), Fit::Same);
    // The beginning of a packet: its end would stand where the next message's answer belongs.
    client.handle_bytes(&[0], start());
    assert!(client.is_over() && client.poll_event().is_none());
    assert_eq!(client.fit(&one.visitor), Fit::No);
}

#[test]
fn each_step_has_its_time() {
    let letter = letter(&visitor(25_000), &[]);
    let later = |seconds| start() + Duration::from_secs(seconds);
    let mut client = Client::new(OPTIONS, start());
    client.begin(&letter.visitor, start());
    assert_eq!(client.deadline(), Some(start() + OPTIONS.connect));
    client.handle_connected();
    client.handle_bytes(&options(6, 0), later(4));
    client.take_output(Some(&letter), &mut Vec::new(), later(4));
    assert_eq!(client.deadline(), Some(later(4) + OPTIONS.command));
    client.handle_bytes(&packet(b'c', b"")[..3], later(20));
    assert_eq!(client.deadline(), Some(later(4) + OPTIONS.command), "half a packet is no answer");
    client.handle_bytes(&packet(b'c', b"")[3..], later(20));
    assert_eq!(client.deadline(), Some(later(20) + OPTIONS.command));
    (0..9).for_each(|_| client.handle_bytes(&packet(b'c', b""), later(21)));
    assert_eq!(client.deadline(), Some(later(21) + OPTIONS.end), "all but the end is answered");
    client.handle_bytes(&packet(b'p', b""), later(100));
    assert_eq!(client.deadline(), Some(later(100) + OPTIONS.end));
    client.handle_deadline(later(219));
    assert_eq!(client.poll_event(), None);
    client.handle_deadline(later(220));
    assert_eq!(failure(&mut client), Failure::TimedOut(Stage::End));
    assert!(client.is_over());
}
