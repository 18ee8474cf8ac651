//! Drive the receiving side of SMTP in memory, on virtual time, as a shard does.
//!
//! Checks throughout what the machine promises of its events, its content and its replies.

#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;
use std::time::Duration;

use relay_fast::base::ids::MessageId;
use relay_fast::base::limits::RECORD_CONTENT_MAX;
use relay_fast::base::time::Monotonic;
use relay_fast::mail::envelope::Envelope;
use relay_fast::smtp::answer::Answer;
use relay_fast::smtp::sasl::{Nonce, Password, ScramVerifier};
use relay_fast::smtp::server::{Event, Options, Session};

/// A message that was taken and answered with yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) envelope: Envelope,
    pub(crate) content: Vec<u8>,
}

/// What a caller answers to a question; nothing: it stays open.
pub(crate) trait Policy: FnMut(Event, &Session) -> Option<Answer> {}

impl<F: FnMut(Event, &Session) -> Option<Answer>> Policy for F {}

/// A session, and the shard around it.
pub(crate) struct Server {
    pub(crate) session: Session,
    pub(crate) now: Monotonic,
    pub(crate) messages: Vec<Message>,
    /// Every event, in order.
    pub(crate) events: Vec<Event>,
    policy: Box<dyn Policy>,
    /// The question that stays open.
    open: Option<Event>,
    /// Octets that wait for an answer.
    kept: Vec<u8>,
    content: Vec<u8>,
    in_transaction: bool,
    /// Every password that was asked about.
    pub(crate) passwords: Vec<Password>,
    /// What every name is measured by; without it the policy is asked.
    pub(crate) verifier: Option<ScramVerifier>,
}

impl Server {
    /// Says yes to everything.
    pub(crate) fn new(options: Options) -> Self {
        Self::with_policy(options, |event, _| Some(yes(event)))
    }

    /// Says what `policy` says.
    pub(crate) fn with_policy(options: Options, policy: impl Policy + 'static) -> Self {
        let now = Monotonic(1_000_000_000);
        Self::of(Session::new(Arc::new(options), now), now, policy)
    }

    /// A session that was made elsewhere.
    pub(crate) fn of(session: Session, now: Monotonic, policy: impl Policy + 'static) -> Self {
        Self {
            session,
            now,
            messages: Vec::new(),
            events: Vec::new(),
            policy: Box::new(policy),
            open: None,
            kept: Vec::new(),
            content: Vec::new(),
            in_transaction: false,
            passwords: Vec::new(),
            verifier: None,
        }
    }

    /// A session past its greeting and EHLO, with the standard options.
    pub(crate) fn ready() -> Self {
        Self::new(options()).past_hello()
    }

    /// Take the greeting away, say EHLO, and take its reply away.
    pub(crate) fn past_hello(mut self) -> Self {
        assert_eq!(code(&self.output()), 220);
        assert_eq!(code(&self.send("EHLO client.example\r\n")), 250);
        self
    }

    /// Send text; returns the replies.
    pub(crate) fn send(&mut self, text: impl AsRef<[u8]>) -> String {
        self.feed(text.as_ref());
        self.output()
    }

    /// Send commands, each with its CRLF; returns the code of each reply.
    pub(crate) fn codes(&mut self, commands: &[&str]) -> Vec<u16> {
        commands.iter().map(|command| code(&self.send(format!("{command}\r\n")))).collect()
    }

    /// EHLO has been said: MAIL, RCPT, DATA; returns the reply to DATA.
    pub(crate) fn begin_data(&mut self) -> String {
        self.send("MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\n");
        self.send("DATA\r\n")
    }

    /// Let so much time pass, and tell the session if its deadline has come.
    pub(crate) fn wait(&mut self, duration: Duration) -> String {
        self.now = self.now + duration;
        self.session.handle_deadline(self.now);
        self.feed(b"");
        self.output()
    }

    /// Answer the question that stayed open.
    pub(crate) fn answer(&mut self, answer: Answer) -> String {
        let event = self.open.take().expect("a question is open");
        self.settle(event, answer);
        self.feed(b"");
        self.output()
    }

    /// Whether a question stayed open.
    pub(crate) fn is_asked(&self) -> bool {
        self.open.is_some()
    }

    /// The client ends its side.
    pub(crate) fn end(&mut self) -> String {
        self.session.handle_end();
        self.feed(b"");
        self.output()
    }

    /// The node drains.
    pub(crate) fn drain(&mut self) -> String {
        self.session.handle_drain(self.now);
        self.feed(b"");
        self.output()
    }

    /// Replies that wait.
    pub(crate) fn output(&mut self) -> String {
        let mut output = Vec::new();
        self.session.take_output(&mut output);
        let text = String::from_utf8(output).expect("replies are ASCII");
        assert!(text.is_ascii() && (text.is_empty() || text.ends_with("\r\n")), "{text:?}");
        for line in text.split_terminator("\r\n") {
            assert!(line.len() <= 510 && !line.contains(['\r', '\n']), "{line:?}");
        }
        text
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        loop {
            let kept = std::mem::take(&mut self.kept);
            let used = self.session.handle_bytes(&kept, self.now);
            self.kept = kept[used..].to_vec();
            let mut polled = false;
            while let Some(event) = self.session.poll_event() {
                polled = true;
                self.on_event(event);
            }
            if self.session.is_over() {
                self.open = None;
                self.in_transaction = false;
                assert_eq!(self.session.deadline(), None);
            }
            if !polled && used == 0 {
                assert!(
                    self.kept.is_empty() || self.open.is_some(),
                    "the session neither takes {:?} nor says why",
                    self.kept
                );
                return;
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        self.events.push(event);
        match event {
            Event::ContentFull => return self.take_content(),
            Event::Aborted => {
                assert!(self.in_transaction, "nothing to abort");
                self.content.clear();
                self.in_transaction = false;
                self.open = None;
                return;
            }
            Event::StartTls => {
                assert!(!self.in_transaction && self.session.awaits_handshake());
                return;
            }
            Event::Proved | Event::Disproved => {
                assert!(!self.in_transaction && self.session.claimed().is_some());
                return;
            }
            Event::Password | Event::Verifier => {
                assert!(!self.in_transaction && self.session.claimed().is_some());
                return self.on_auth(event);
            }
            Event::Presented => {
                assert!(!self.in_transaction && self.session.presented().is_some());
                return self.ask(event);
            }
            Event::Mail => {
                assert!(!self.in_transaction && self.session.envelope().is_some());
                self.in_transaction = true;
            }
            Event::Rcpt => assert!(self.session.recipient().is_some()),
            Event::Content => {}
            Event::End => {
                self.take_content();
                assert_eq!(self.session.content_bytes(), self.content.len() as u64);
            }
        }
        assert!(self.in_transaction, "{event:?} outside of a transaction");
        self.ask(event);
    }

    fn on_auth(&mut self, event: Event) {
        if event == Event::Password {
            self.passwords.extend(self.session.take_password());
            assert_eq!(self.session.take_password(), None, "it is given away once");
        }
        match self.verifier.clone() {
            Some(verifier) if event == Event::Verifier => {
                self.session.verify_by(verifier, &Nonce::new([5; 18]), self.now);
            }
            Some(_) | None => self.ask(event),
        }
    }

    fn ask(&mut self, event: Event) {
        assert_eq!(self.open, None, "{event:?} while another question is open");
        assert_eq!(self.session.deadline(), None, "a question is open");
        match (self.policy)(event, &self.session) {
            Some(answer) => self.settle(event, answer),
            None => self.open = Some(event),
        }
    }

    fn take_content(&mut self) {
        let part = self.session.take_content();
        assert!(part.len() <= RECORD_CONTENT_MAX);
        self.content.extend(part);
    }

    fn settle(&mut self, event: Event, answer: Answer) {
        let yes = answer.is_positive();
        match event {
            Event::End => {
                let envelope = self.session.take_envelope();
                assert!(!envelope.recipients.is_empty());
                let content = std::mem::take(&mut self.content);
                if yes {
                    self.messages.push(Message { envelope, content });
                }
                self.in_transaction = false;
            }
            Event::Mail | Event::Content => self.in_transaction = yes,
            Event::Rcpt
            | Event::ContentFull
            | Event::Aborted
            | Event::StartTls
            | Event::Password
            | Event::Verifier
            | Event::Proved
            | Event::Disproved
            | Event::Presented => {}
        }
        self.session.answer(answer, self.now);
    }
}

/// Yes, in the words for each question.
pub(crate) fn yes(event: Event) -> Answer {
    match event {
        Event::Mail => Answer::SENDER_OK,
        Event::Rcpt => Answer::RECIPIENT_OK,
        Event::Content => Answer::GO_ON,
        Event::End => Answer::stored(MessageId(1)),
        Event::Password => Answer::AUTHENTICATED,
        Event::Verifier => Answer::AUTH_LATER,
        Event::Presented => Answer::OK,
        Event::ContentFull
        | Event::Aborted
        | Event::StartTls
        | Event::Proved
        | Event::Disproved => unreachable!("no question"),
    }
}

/// The standard options of `mx.example`.
pub(crate) fn options() -> Options {
    Options::new("mx.example")
}

/// The code of the one reply in `text`, or 0 for none.
pub(crate) fn code(text: &str) -> u16 {
    let codes = codes(text);
    assert!(codes.len() <= 1, "more than one reply: {text:?}");
    codes.first().copied().unwrap_or(0)
}

/// The codes of all replies in `text`; several lines of one reply count once.
pub(crate) fn codes(text: &str) -> Vec<u16> {
    let last = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
    let code = |line: &str| line[..3].parse().expect("a reply code");
    text.split_terminator("\r\n").filter(last).map(code).collect()
}
