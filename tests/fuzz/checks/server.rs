//! The whole receiving side: any octets of a client, at any split, with TLS, AUTH and XCLIENT.
//!
//! Input: options, limits, the caller's answers, cuts; then a script. What is sent line by line is
//! sent again with more cuts and must come to the same; and without any, which may differ by one
//! thing alone: who says DATA or STARTTLS and does not wait may be sent away.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use relay_fast::base::ids::MessageId;
use relay_fast::base::limits::{RECIPIENT_BYTES, RECORD_CONTENT_MAX, SESSION_OUTPUT_MAX};
use relay_fast::base::time::Monotonic;
use relay_fast::mail::envelope::{BodyType, Envelope};
use relay_fast::smtp::answer::Answer;
use relay_fast::smtp::content::LineEndings;
use relay_fast::smtp::extension::Offered;
use relay_fast::smtp::sasl::{Channel, Nonce, Password, ScramVerifier};
use relay_fast::smtp::server::{Auth, Event, Options, Security, Session};

use super::cuts::{Cuts, Dice};
use super::replies;
use super::script::{Turn, turns};
use super::taken::{self, Framing};

/// What is the same however the client's octets are cut.
struct World {
    options: Arc<Options>,
    xclient: bool,
    refused: bool,
    channel: Channel,
    answers: u8,
}

/// What came of a session.
#[derive(Default, PartialEq, Eq)]
struct Outcome {
    output: Vec<u8>,
    events: Vec<Event>,
    messages: Vec<(Envelope, Vec<u8>)>,
    identity: Option<String>,
    over: bool,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { output, events, messages, identity, over } = self;
        writeln!(f, "{}{events:?} {identity:?} {over}", String::from_utf8_lossy(output))?;
        messages.iter().try_for_each(|(envelope, content)| {
            writeln!(f, "{envelope:?} {}", content.escape_ascii())
        })
    }
}

/// The check.
pub(crate) fn check(data: &[u8]) {
    let Some((&[flags, limits, answers, cuts], script)) = data.split_first_chunk() else {
        return;
    };
    let (world, turns) = (World::new(flags, limits, answers), turns(script));
    let lines = Play::run(&world, &turns, Cuts::Lines);
    let cut = Play::run(&world, &turns, Cuts::LinesAnd(cuts));
    // Content that is far too big is read to its end only where that has come already.
    let far = [Answer::FAR_TOO_BIG];
    assert!(lines.agrees(&cut, &far), "a split matters: {lines:#?}\n{cut:#?}");
    let free = Play::run(&world, &turns, Cuts::Free(cuts));
    let hasty = [Answer::FAR_TOO_BIG, Answer::OUT_OF_STEP];
    assert!(lines.agrees(&free, &hasty), "haste matters: {lines:#?}\n{free:#?}");
}

impl World {
    fn new(flags: u8, limits: u8, answers: u8) -> Self {
        let bit = |bits: u8, place: u8| bits >> place & 1 == 1;
        let mut options = Options::new("mx.example");
        if bit(flags, 0) {
            options.line_endings = LineEndings::Normalize;
        }
        options.security = match flags >> 1 & 3 {
            0 => Security::Clear,
            1 => Security::StartTls,
            2 => Security::RequireStartTls,
            _ => Security::Implicit,
        };
        let on = bit(flags, 5);
        options.auth = Auth {
            plain: on,
            login: on,
            scram: on,
            without_tls: bit(flags, 6),
            required: on && bit(flags, 4),
        };
        if bit(limits, 0) {
            options.message_bytes_max = 200;
        }
        if bit(limits, 1) {
            options.recipients_max = 2;
        }
        if bit(limits, 2) {
            options.text_line_max = 20;
        }
        if bit(limits, 3) {
            options.errors_max = 3;
        }
        options.extensions = Offered {
            chunking: !bit(limits, 4),
            smtp_utf8: !bit(limits, 5),
            binary_mime: !bit(limits, 6),
            auth: true,
            require_tls: true,
            priority: true,
            hold_seconds: 60,
            deliver_by: true,
        };
        Self {
            options: Arc::new(options),
            xclient: bit(flags, 3),
            refused: bit(limits, 7),
            channel: Channel(bit(flags, 7).then_some([7; 32])),
            answers,
        }
    }

    /// What the caller says to the question that is the `number`th.
    fn answer(&self, event: Event, number: usize) -> Answer {
        let mut dice =
            Dice::new(self.answers.wrapping_add(u8::try_from(number % 251).unwrap_or(0)));
        match dice.next() % 16 {
            0 if self.answers > 0 => Answer::TRY_LATER,
            1 if self.answers > 0 => Answer::RELAY_DENIED,
            2 if self.answers > 64 => Answer::DRAINING,
            _ => match event {
                Event::Mail => Answer::SENDER_OK,
                Event::Rcpt => Answer::RECIPIENT_OK,
                Event::Content => Answer::GO_ON,
                Event::End => Answer::stored(MessageId(1)),
                Event::Password => Answer::AUTHENTICATED,
                Event::Verifier => Answer::AUTH_LATER,
                Event::Presented => Answer::OK,
                Event::ContentFull | Event::Aborted | Event::StartTls => unreachable!(),
                Event::Proved | Event::Disproved => unreachable!("no question"),
            },
        }
    }
}

/// What every name is measured by: its password is `secret`.
fn verifier() -> ScramVerifier {
    static VERIFIER: OnceLock<ScramVerifier> = OnceLock::new();
    let derive = || {
        let password = Password::prepare(b"secret").expect("a password");
        ScramVerifier::derive(&password, b"salt", 1)
    };
    VERIFIER.get_or_init(derive).clone()
}

impl Outcome {
    /// Whether both are the same, or the same up to where one of them was ended by one of these.
    fn agrees(&self, other: &Self, excuses: &[Answer]) -> bool {
        let excused = |excuse| self.is_start_of(other, excuse) || other.is_start_of(self, excuse);
        self == other || excuses.iter().any(excused)
    }

    fn is_start_of(&self, other: &Self, excuse: &Answer) -> bool {
        let mut last = Vec::new();
        excuse.write("mx.example", &mut last);
        let Some(before) = self.output.strip_suffix(&*last) else { return false };
        let aborted = usize::from(self.events.last() == Some(&Event::Aborted));
        let events = &self.events[..self.events.len() - aborted];
        other.output.starts_with(before)
            && other.events.starts_with(events)
            && other.messages.starts_with(&self.messages)
    }
}

/// A session, and the shard around it.
struct Play<'a> {
    world: &'a World,
    session: Session,
    now: Monotonic,
    /// All that the client has sent, and how much of it was taken.
    sent: Vec<u8>,
    used: usize,
    /// The question that stays open for a while, where it may.
    open: Option<Event>,
    dice: Option<Dice>,
    questions: usize,
    in_transaction: bool,
    content: Vec<u8>,
    /// Where content began.
    begun: usize,
    stored: usize,
    outcome: Outcome,
}

impl<'a> Play<'a> {
    fn run(world: &'a World, turns: &[Turn], cuts: Cuts) -> Outcome {
        let now = Monotonic(1_000_000_000);
        let options = Arc::clone(&world.options);
        let mut session = match world.refused {
            true => Session::refused(options, Answer::NO_SERVICE, now),
            false => Session::new(options, now),
        };
        if world.xclient {
            session.offer_xclient();
        }
        let dice = match cuts {
            Cuts::Free(seed) => Some(Dice::new(seed)),
            Cuts::Lines | Cuts::LinesAnd(_) => None,
        };
        let mut play = Self {
            world,
            session,
            now,
            sent: Vec::new(),
            used: 0,
            open: None,
            dice,
            questions: 0,
            in_transaction: false,
            content: Vec::new(),
            begun: 0,
            stored: 0,
            outcome: Outcome::default(),
        };
        play.pump();
        for turn in turns {
            match turn {
                Turn::Says(octets) => cuts.pieces(octets).iter().for_each(|one| play.hear(one)),
                Turn::Event(number) => play.happen(*number),
            }
        }
        play.end()
    }

    fn hear(&mut self, piece: &[u8]) {
        self.sent.extend_from_slice(piece);
        self.close_question();
        self.pump();
    }

    /// Something other than octets.
    fn happen(&mut self, number: u8) {
        self.rest();
        match number {
            0 => self.session.handle_drain(self.now),
            1 => self.session.handle_end(),
            2 => {
                if let Some(due) = self.session.deadline() {
                    self.now = self.now.max(due);
                }
                self.session.handle_deadline(self.now);
            }
            seconds => {
                self.now = self.now + Duration::from_secs(u64::from(seconds));
                self.session.handle_deadline(self.now);
            }
        }
        self.pump();
    }

    /// Answer all that is asked.
    fn rest(&mut self) {
        self.pump();
        while self.open.is_some() {
            self.close_question();
            self.pump();
        }
    }

    fn end(mut self) -> Outcome {
        self.rest();
        self.session.handle_end();
        self.rest();
        assert!(self.session.is_over() && self.session.deadline().is_none());
        assert!(!self.in_transaction, "nobody was told how the transaction ended");
        let said = replies::stored(&self.outcome.output);
        assert!(said <= self.stored, "{said} messages were promised, {} taken", self.stored);
        self.outcome.over = true;
        self.outcome
    }

    /// What a shard does whenever something has come.
    fn pump(&mut self) {
        loop {
            let used = self.session.handle_bytes(&self.sent[self.used..], self.now);
            self.used += used;
            assert!(self.used <= self.sent.len());
            let mut polled = false;
            while let Some(event) = self.session.poll_event() {
                polled = true;
                self.take_output();
                self.on_event(event);
            }
            self.take_output();
            if self.session.awaits_handshake() && !self.session.is_over() {
                self.session.bind(self.world.channel);
                self.session.secured(self.now);
                assert_eq!((self.session.hello(), self.session.identity()), ("", None));
                polled = true;
            }
            if self.session.is_over() {
                self.open = None;
                assert_eq!(self.session.deadline(), None);
            }
            if !polled && used == 0 {
                let idle = self.used == self.sent.len() || self.open.is_some();
                assert!(idle, "the session neither takes octets nor says why");
                return;
            }
        }
    }

    fn take_output(&mut self) {
        let mut output = Vec::new();
        self.session.take_output(&mut output);
        assert!(!self.session.has_output());
        assert!(output.len() <= SESSION_OUTPUT_MAX + 4_096, "{} octets", output.len());
        let envelope = self.session.envelope();
        let recipients = envelope.map_or(0, |envelope| envelope.recipients.len());
        let memory = self.session.memory();
        assert!(memory <= 2 * RECORD_CONTENT_MAX + recipients * RECIPIENT_BYTES, "{memory}");
        assert!(recipients <= self.world.options.recipients_max);
        self.outcome.output.extend_from_slice(&output);
        replies::assert_valid(&output);
    }

    fn on_event(&mut self, event: Event) {
        if event != Event::ContentFull {
            self.outcome.events.push(event);
        }
        match event {
            Event::ContentFull => return self.take_content(),
            Event::Aborted => {
                assert!(self.in_transaction, "nothing to abort");
                (self.in_transaction, self.open) = (false, None);
                return self.content.clear();
            }
            Event::StartTls => {
                assert!(!self.in_transaction && self.session.awaits_handshake());
                return assert_ne!(self.world.options.security, Security::Clear);
            }
            Event::Proved | Event::Disproved => {
                assert!(!self.in_transaction && self.session.claimed().is_some());
                return;
            }
            Event::Password | Event::Verifier => {
                assert!(!self.in_transaction && self.session.claimed().is_some());
                let auth = self.world.options.auth;
                assert!(self.session.is_secured() || auth.without_tls, "a password in clear");
                return self.ask(event);
            }
            Event::Presented => {
                assert!(!self.in_transaction && self.session.presented().is_some());
                assert!(self.world.xclient, "whoever says so speaks for others");
                return self.ask(event);
            }
            Event::Mail => self.begin(),
            Event::Rcpt => assert!(self.session.recipient().is_some()),
            Event::Content => self.begun = self.used,
            Event::End => self.take_content(),
        }
        assert!(self.in_transaction, "{event:?} outside of a transaction");
        self.ask(event);
    }

    fn begin(&mut self) {
        assert!(!self.in_transaction);
        let Options { security, auth, .. } = &*self.world.options;
        assert!(
            matches!(security, Security::Clear | Security::StartTls) || self.session.is_secured()
        );
        assert!(!auth.required || self.session.identity().is_some(), "mail of nobody");
        assert!(self.session.envelope().is_some_and(|envelope| envelope.recipients.is_empty()));
        self.in_transaction = true;
    }

    fn take_content(&mut self) {
        let part = self.session.take_content();
        assert!(part.len() <= RECORD_CONTENT_MAX);
        self.content.extend(part);
    }

    /// The caller is asked; where haste is allowed it takes its time now and then.
    fn ask(&mut self, event: Event) {
        assert_eq!(self.session.deadline(), None, "a question is open");
        assert_eq!(self.open, None, "two questions");
        self.open = Some(event);
        if !self.dice.as_mut().is_some_and(|dice| dice.one_in(3)) {
            self.close_question();
        }
    }

    fn close_question(&mut self) {
        let Some(event) = self.open.take() else { return };
        self.questions += 1;
        if event == Event::Verifier && self.world.answers & 1 == 0 {
            return self.session.verify_by(verifier(), &Nonce::new([5; 18]), self.now);
        }
        if event == Event::Password {
            assert!(self.session.take_password().is_some(), "a password");
            assert!(self.session.take_password().is_none(), "it is given away once");
        }
        let answer = self.world.answer(event, self.questions);
        match event {
            Event::End => self.settle(&answer),
            Event::Mail | Event::Content => self.in_transaction = answer.is_positive(),
            _ => {}
        }
        self.session.answer(answer, self.now);
        if event == Event::Password {
            let name = self.session.identity().map(|name| name.as_str().to_owned());
            self.outcome.identity = name;
        }
    }

    /// Content is complete, and answered.
    fn settle(&mut self, answer: &Answer) {
        let envelope = self.session.take_envelope();
        let content = std::mem::take(&mut self.content);
        self.in_transaction = false;
        assert_eq!(self.session.content_bytes(), content.len() as u64);
        assert!(!envelope.recipients.is_empty());
        envelope.recipients.iter().for_each(|one| taken::assert_clean(one.forward_path.as_str()));
        taken::assert_clean(envelope.reverse_path.as_str());
        let options = &self.world.options;
        assert!(content.len() as u64 <= options.message_bytes_max);
        let framing = match (taken::is_data(&self.sent[..self.begun]), envelope.body_type) {
            (true, _) => Framing::Dot,
            (false, BodyType::BinaryMime) => Framing::Binary,
            (false, BodyType::SevenBit | BodyType::EightBitMime) => Framing::Chunked,
        };
        let normalize = options.line_endings == LineEndings::Normalize;
        let expected = taken::content(&self.sent, self.begun, self.used, framing, normalize);
        assert_eq!(content, expected, "{framing:?}");
        if framing != Framing::Binary {
            taken::assert_text(&content, options.text_line_max);
        }
        let eight_bit = envelope.body_type != BodyType::SevenBit;
        assert!(eight_bit || content.is_ascii(), "8-bit content that is called 7-bit");
        if answer.is_positive() {
            self.stored += 1;
            self.outcome.messages.push((envelope, content));
        }
    }
}
