//! Two machines and the octets between them, which arrive in pieces cut where the test says.
//!
//! Whatever one side does about a piece is done before the next piece of the other direction comes.

use std::collections::VecDeque;
use std::time::Duration;

use relay_fast::base::prng::Prng;
use relay_fast::mail::status::{EnhancedStatus, ReplyCode};
use relay_fast::smtp::answer::Answer;
use relay_fast::smtp::client;
use relay_fast::smtp::server::{Event, Options, Session};

use crate::sender::Sender;
use crate::session::{Message, Server, yes};

/// Where the octets of one direction are cut.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    Nowhere,
    /// Behind so many.
    Behind(usize),
    Everywhere,
    /// Into pieces of up to so many octets.
    Random(Box<Prng>, u64),
}

/// Octets on their way in one direction.
#[derive(Debug)]
struct Line {
    cut: Cut,
    waiting: VecDeque<u8>,
    carried: Vec<u8>,
}

impl Line {
    fn new(cut: Cut) -> Self {
        Self { cut, waiting: VecDeque::new(), carried: Vec::new() }
    }

    fn piece(&mut self) -> Vec<u8> {
        let all = self.waiting.len();
        let length = match &mut self.cut {
            Cut::Nowhere => all,
            Cut::Behind(place) if *place > self.carried.len() => {
                all.min(*place - self.carried.len())
            }
            Cut::Behind(_) => all,
            Cut::Everywhere => all.min(1),
            Cut::Random(prng, most) => all.min(prng.below(*most) as usize + 1),
        };
        let piece: Vec<u8> = self.waiting.drain(..length).collect();
        self.carried.extend_from_slice(&piece);
        piece
    }
}

/// What the world sees of a conversation; no split may change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What the sending side told, one event a line.
    pub(crate) told: String,
    /// What the receiving side took.
    pub(crate) messages: Vec<Message>,
    pub(crate) asked: Vec<Event>,
    /// All octets in each direction.
    pub(crate) up: String,
    pub(crate) down: String,
    /// Whether the sending side and the receiving side are over.
    pub(crate) over: (bool, bool),
}

/// The two machines.
pub(crate) struct Pair {
    pub(crate) sender: Sender,
    pub(crate) server: Server,
    up: Line,
    down: Line,
    /// Which direction goes first where both have something: of the two, a cut one has to wait.
    up_first: bool,
    ended: (bool, bool),
}

impl Pair {
    pub(crate) fn new(
        client: std::sync::Arc<client::Options>,
        server: Server,
        up: Cut,
        down: Cut,
        up_first: bool,
    ) -> Self {
        let sender = Sender::new(client, server.now);
        let (up, down) = (Line::new(up), Line::new(down));
        let mut pair = Self { sender, server, up, down, up_first, ended: (false, false) };
        let greeting = pair.server.output();
        pair.reply(&greeting);
        pair.carry();
        pair
    }

    /// Carry all there is, until nobody has anything more to say.
    pub(crate) fn carry(&mut self) {
        loop {
            self.sender.settle_down();
            self.up.waiting.extend(self.sender.heard.drain(..));
            let go_up = !self.up.waiting.is_empty();
            let go_down = !self.down.waiting.is_empty();
            if go_up && (self.up_first || !go_down) {
                let piece = self.up.piece();
                let replies = self.server.send(piece);
                self.reply(&replies);
            } else if go_down {
                let piece = self.down.piece();
                self.sender.feed(&piece);
            } else if self.server.session.is_over() && !self.ended.1 {
                self.ended.1 = true;
                self.sender.client.handle_end(self.sender.now);
            } else if self.sender.client.is_over() && !self.ended.0 {
                self.ended.0 = true;
                let replies = self.server.end();
                self.reply(&replies);
            } else {
                return;
            }
        }
    }

    fn reply(&mut self, replies: &str) {
        self.down.waiting.extend(replies.bytes());
    }

    /// Let time pass; each side's deadline fires when it comes, the receiving side's first.
    pub(crate) fn wait(&mut self, duration: Duration) {
        let end = self.server.now + duration;
        loop {
            let deadlines = [self.server.session.deadline(), self.sender.client.deadline()];
            let next = deadlines.into_iter().flatten().min().filter(|next| *next <= end);
            let replies = self.server.wait(next.unwrap_or(end).since(self.server.now));
            self.reply(&replies);
            self.carry();
            self.sender.now = self.server.now;
            self.sender.client.handle_deadline(self.sender.now);
            self.carry();
            if next.is_none() {
                return;
            }
        }
    }

    /// Answer the question that the receiving side was left with.
    pub(crate) fn answer(&mut self, answer: Answer) {
        let replies = self.server.answer(answer);
        self.reply(&replies);
        self.carry();
    }

    /// The receiving node drains.
    pub(crate) fn drain(&mut self) {
        let replies = self.server.drain();
        self.reply(&replies);
        self.carry();
    }

    /// The connection breaks.
    pub(crate) fn break_off(&mut self) {
        self.sender.client.handle_end(self.sender.now);
        self.carry();
    }

    pub(crate) fn outcome(self) -> Outcome {
        let over = (self.sender.client.is_over(), self.server.session.is_over());
        let text = |line: &Line| String::from_utf8_lossy(&line.carried).into_owned();
        Outcome {
            told: self.sender.told.replace("250 2.0.0 Stored as 0000000000001", "stored"),
            up: text(&self.up),
            down: text(&self.down),
            messages: self.server.messages,
            asked: self.server.events,
            over,
        }
    }
}

/// A receiving side that does what addresses say: `rcpt550@…` is refused so at RCPT; reverse-paths
/// beginning with `mail`, `data` and `end` speak of MAIL, of the question whether content may come,
/// and of its end. `rcptfull@…` finds no room behind another; the answer to `open` stays open.
pub(crate) fn obedient(options: Options) -> Server {
    Server::with_policy(options, as_told)
}

fn as_told(event: Event, session: &Session) -> Option<Answer> {
    let envelope = session.envelope().expect("a transaction");
    let sender = envelope.reverse_path.as_str();
    let recipient = session.recipient().map_or("", |it| it.forward_path.as_str());
    let (stage, address) = match event {
        Event::Mail => ("mail", sender),
        Event::Rcpt => ("rcpt", recipient),
        Event::Content => ("data", sender),
        Event::End => ("end", sender),
        Event::ContentFull
        | Event::Aborted
        | Event::StartTls
        | Event::Password
        | Event::Verifier
        | Event::Proved
        | Event::Disproved
        | Event::Presented => unreachable!("no question"),
    };
    let word = address.split('@').next().and_then(|local| local.strip_prefix(stage));
    match word {
        Some("open") => None,
        Some("full") if !envelope.recipients.is_empty() => Some(Answer::TOO_MANY_RECIPIENTS),
        Some(word) if word.len() == 3 => Some(refusal(word.parse().expect("a reply code"))),
        Some(_) | None => Some(yes(event)),
    }
}

fn refusal(code: u16) -> Answer {
    let class = u8::try_from(code / 100).expect("a digit");
    let code = ReplyCode::new(code).expect("a reply code");
    Answer::new(code, EnhancedStatus::new(class, 7, 1), String::from("as told"))
}
