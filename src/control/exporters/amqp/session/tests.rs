//! A broker of a few lines says what brokers say.

use memchr::memmem::find;

use super::*;
use crate::base::limits::AMQP_FRAME_MIN;

const MESSAGE: Message<'_> = Message {
    exchange: "mail",
    key: "delivered",
    id: "mx1.example/3/7",
    kind: "delivered",
    node: "mx1.example",
    timestamp: 1_795_491_661,
    body: b"{\"sequence\":7}",
};

fn session() -> Session {
    let login = Login::parse(b"relay:s3cret\n").unwrap();
    Session::new(login, "/mail", "relay-fast mx1.example bus".to_owned())
}

/// What a broker says by a method.
fn said(content: &Content) -> Vec<u8> {
    let mut octets = VecDeque::new();
    wire::write(&mut octets, Carries::Method, 0, content.octets());
    octets.into()
}

/// The frames that a session has for its broker, without the greeting.
fn told(session: &mut Session) -> Vec<(Carries, Vec<u8>)> {
    let output: Vec<u8> = mem::take(&mut session.output).into();
    let mut rest = output.strip_prefix(b"AMQP\0\0\x09\x01").unwrap_or(&output);
    let mut frames = Vec::new();
    while let Some((frame, length)) = wire::read(rest).unwrap() {
        frames.push((frame.carries, frame.content.to_vec()));
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    frames
}

fn start(mechanisms: &str) -> Vec<u8> {
    let start = Content::method(10, 10).octet(0).octet(9).texts(&[("product", "RabbitMQ")]);
    said(&start.longstr(mechanisms.as_bytes()).longstr(b"en_US"))
}

fn ready(frame: u32) -> Session {
    let mut session = session();
    let tune = said(&Content::method(10, 30).short(2047).long(frame).short(60));
    let rest = [
        tune,
        said(&Content::method(10, 41).shortstr("")),
        said(&Content::method(20, 11).longstr(b"")),
        said(&Content::method(85, 11)),
    ];
    session.handle_bytes(&start("AMQPLAIN PLAIN")).unwrap();
    for answer in rest {
        assert!(!session.is_ready());
        // However it is cut.
        answer.iter().for_each(|octet| session.handle_bytes(&[*octet]).unwrap());
    }
    assert!(session.is_ready());
    session
}

fn ack(number: u64, multiple: u8) -> Vec<u8> {
    said(&Content::method(60, 80).longlong(number).octet(multiple))
}

#[test]
fn a_login_is_said_where_it_belongs_and_bounds_are_agreed_on() {
    let mut session = ready(0);
    let frames = told(&mut session);
    let [started, tuned, opened, channel, confirm] = &frames[..] else { panic!("{frames:?}") };
    assert!(find(&started.1, b"\0\0\0\x0d\0relay\0s3cret").is_some());
    assert_eq!(tuned.1, Content::method(10, 31).short(1).long(131_072).short(0).octets());
    assert_eq!(opened.1, Content::method(10, 40).shortstr("/mail").shortstr("").octet(0).octets());
    assert_eq!(
        (channel.1[..4].to_vec(), &confirm.1[..]),
        (vec![0, 20, 0, 10], &b"\0\x55\0\x0a\0"[..])
    );
    assert!(!format!("{session:?}").contains("s3cret"));
}

#[test]
fn a_message_is_cut_to_frames_and_counts_once_it_is_confirmed() {
    let mut session = ready(1);
    told(&mut session);
    let body = vec![b'x'; 2 * AMQP_FRAME_MIN];
    session.publish(&Message { body: &body, ..MESSAGE });
    let frames = told(&mut session);
    let kinds: Vec<_> = frames.iter().map(|(carries, _)| *carries).collect();
    assert_eq!(kinds[..2], [Carries::Method, Carries::Header]);
    assert_eq!(frames[2..].iter().flat_map(|(_, part)| part.clone()).collect::<Vec<_>>(), body);
    assert!(frames.iter().all(|(_, content)| content.len() + AROUND <= AMQP_FRAME_MIN));
    // mandatory, and persistent.
    assert_eq!(frames[0].1.last(), Some(&1));
    assert!(find(&frames[1].1, b"\x02\x0fmx1.example/3/7").is_some());
    assert_eq!(session.settled(), None);
    (0..3).for_each(|_| session.publish(&MESSAGE));
    session.handle_bytes(&ack(2, 0)).unwrap();
    session.handle_bytes(&ack(1, 1)).unwrap();
    assert_eq!(session.settled(), None);
    session.handle_bytes(&ack(0, 1)).unwrap();
    assert_eq!(session.settled(), Some(Ok(())));
}

#[test]
fn what_comes_back_or_is_not_kept_is_a_failure_though_the_rest_is_taken() {
    let mut session = ready(0);
    session.publish(&MESSAGE);
    session.publish(&MESSAGE);
    let back = Content::method(60, 50).short(312).shortstr("NO_ROUTE");
    session.handle_bytes(&said(&back.shortstr("mail").shortstr("delivered"))).unwrap();
    let mut content = VecDeque::new();
    wire::write(&mut content, Carries::Header, 1, b"whatever");
    wire::write(&mut content, Carries::Body, 1, MESSAGE.body);
    session.handle_bytes(&Vec::from(content)).unwrap();
    session.handle_bytes(&ack(2, 1)).unwrap();
    let why = session.settled().unwrap().unwrap_err().to_string();
    assert!(why.ends_with("returned an event: 312 NO_ROUTE, exchange `mail`, key `delivered`"));
    session.publish(&MESSAGE);
    session.handle_bytes(&said(&Content::method(60, 120).longlong(3).octet(0))).unwrap();
    assert_eq!(session.settled(), Some(Err(Trouble::Refused)));
}

#[test]
fn what_a_broker_says_of_why_is_told() {
    let told = |answer: &[u8]| session().handle_bytes(answer).unwrap_err().to_string();
    let close = Content::method(10, 50).short(403).shortstr("ACCESS_REFUSED - \x1b[1mno");
    assert_eq!(
        told(&said(&close)),
        "the broker closed the connection: 403 ACCESS_REFUSED -  [1mno"
    );
    assert_eq!(told(&start("EXTERNAL")), "the broker takes no PLAIN login, but EXTERNAL");
    assert!(told(b"AMQP\x03\x01\0\0").contains("another version"));
    assert!(told(&said(&Content::method(10, 30))).contains("not expected"));
    assert!(told(&said(&Content::method(10, 10).octet(0))).contains("ends too early"));
    let mut session = ready(0);
    let missing = Content::method(20, 40).short(404).shortstr("NOT_FOUND - no exchange 'x'");
    let why = session.handle_bytes(&said(&missing)).unwrap_err().to_string();
    assert_eq!(why, "the broker closed the channel: 404 NOT_FOUND - no exchange 'x'");
    assert!(ready(0).handle_bytes(&ack(u64::MAX, 1)).is_err());
    assert!(ready(0).handle_bytes(&ack(1, 0)).is_err());
}

#[test]
fn a_broker_that_takes_nothing_says_why_until_it_does() {
    let mut session = ready(0);
    session.handle_bytes(&said(&Content::method(10, 60).shortstr("low on memory"))).unwrap();
    assert_eq!(session.blocked.as_deref(), Some("low on memory"));
    session.handle_bytes(&said(&Content::method(10, 61))).unwrap();
    assert_eq!(session.blocked, None);
}

#[test]
fn a_farewell_is_said_and_what_comes_then_is_of_no_matter() {
    let mut session = ready(0);
    told(&mut session);
    session.close();
    let frames = told(&mut session);
    assert_eq!(frames, [(Carries::Method, b"\0\x0a\0\x32\0\xc8\x04idle\0\0\0\0".to_vec())]);
    session.handle_bytes(&ack(0, 1)).unwrap();
    session.handle_bytes(&said(&Content::method(10, 51))).unwrap();
}
