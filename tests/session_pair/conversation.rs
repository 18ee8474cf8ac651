//! Play a conversation between the two machines in every mode and at every split.

use std::time::Duration;

use relay_fast::smtp::answer::Answer;
use relay_fast::smtp::client::Transaction;
use relay_fast::smtp::server;

use crate::sender::{envelope, options, transaction};
use crate::session::{self, Server};
use crate::session_pair::pair::{Cut, Outcome, Pair, obedient};

/// One act of a conversation.
#[derive(Clone)]
enum Act {
    Begins(Transaction, Vec<u8>),
    /// Of the content so many octets are there.
    Holds(usize),
    Quits,
    Waits(Duration),
    Answers(Answer),
    Drains,
    Breaks,
}

/// How the sending side goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) pipelining: bool,
    pub(crate) chunking: bool,
}

impl Mode {
    pub(crate) const ALL: [Self; 4] = [
        Self { pipelining: false, chunking: false },
        Self { pipelining: false, chunking: true },
        Self { pipelining: true, chunking: false },
        Self { pipelining: true, chunking: true },
    ];
}

/// A script, and what it is played with.
#[derive(Clone)]
pub(crate) struct Conversation {
    acts: Vec<Act>,
    server: server::Options,
    modes: Vec<Mode>,
    refused: Option<Answer>,
    expected: Vec<(Vec<String>, Vec<u8>)>,
}

impl Conversation {
    /// With a receiving side of the standard options.
    pub(crate) fn new() -> Self {
        Self {
            acts: Vec::new(),
            server: session::options(),
            modes: Mode::ALL.to_vec(),
            refused: None,
            expected: Vec::new(),
        }
    }

    /// The receiving side differs from the standard.
    pub(crate) fn server(mut self, change: impl FnOnce(&mut server::Options)) -> Self {
        change(&mut self.server);
        self
    }

    /// Only with chunks, or only with DATA.
    pub(crate) fn chunking(mut self, chunking: bool) -> Self {
        self.modes.retain(|mode| mode.chunking == chunking);
        self
    }

    /// The receiving side says this instead of 220.
    pub(crate) fn greeted_with(mut self, answer: Answer) -> Self {
        self.refused = Some(answer);
        self
    }

    fn act(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }

    /// A message from `from` is given to the sending side, as soon as it is ready.
    pub(crate) fn begins(self, from: &str, recipients: &[&str], content: impl AsRef<[u8]>) -> Self {
        let mut envelope = envelope(recipients);
        envelope.reverse_path.0 = (!from.is_empty())
            .then(|| relay_fast::mail::address::Mailbox::parse(from, true).expect("an address"));
        let content = content.as_ref();
        self.begins_with(transaction(envelope, content), content)
    }

    pub(crate) fn begins_with(self, transaction: Transaction, content: &[u8]) -> Self {
        self.act(Act::Begins(transaction, content.to_vec()))
    }

    /// Of the contents that follow, no more than so many octets can be had for now.
    pub(crate) fn holds(self, octets: usize) -> Self {
        self.act(Act::Holds(octets))
    }

    pub(crate) fn quits(self) -> Self {
        self.act(Act::Quits)
    }

    pub(crate) fn waits(self, duration: Duration) -> Self {
        self.act(Act::Waits(duration))
    }

    pub(crate) fn answers(self, answer: Answer) -> Self {
        self.act(Act::Answers(answer))
    }

    pub(crate) fn drains(self) -> Self {
        self.act(Act::Drains)
    }

    pub(crate) fn breaks(self) -> Self {
        self.act(Act::Breaks)
    }

    /// This arrives, behind what was said to arrive before, and nothing else.
    pub(crate) fn delivers(mut self, recipients: &[&str], content: impl AsRef<[u8]>) -> Self {
        let recipients = recipients.iter().map(|text| (*text).to_owned()).collect();
        self.expected.push((recipients, content.as_ref().to_vec()));
        self
    }

    /// Play it in every mode and at every split; the sending side tells this, where `{body}` is the
    /// stage at which the mode is told whether content may come. What came of it in the last mode.
    #[track_caller]
    pub(crate) fn tells(&self, expected: &[&str]) -> Outcome {
        let mut last = None;
        for mode in &self.modes {
            let whole = self.play(*mode, Cut::Nowhere, Cut::Nowhere, false);
            let body = if mode.chunking { "content" } else { "DATA" };
            let expected: Vec<_> =
                expected.iter().map(|line| line.replace("{body}", body)).collect();
            assert_eq!(whole.told.lines().collect::<Vec<_>>(), expected, "{mode:?}");
            let arrived: Vec<_> = whole.messages.iter().map(short).collect();
            assert_eq!(arrived, self.expected, "{mode:?}");
            self.split(*mode, &whole);
            last = Some(whole);
        }
        last.expect("one mode at least")
    }

    #[track_caller]
    fn split(&self, mode: Mode, whole: &Outcome) {
        for cut in 1..whole.up.len() {
            let split = self.play(mode, Cut::Behind(cut), Cut::Nowhere, false);
            assert_eq!(split, *whole, "{mode:?}, commands cut at {cut}");
        }
        for cut in 1..whole.down.len() {
            let split = self.play(mode, Cut::Nowhere, Cut::Behind(cut), true);
            assert_eq!(split, *whole, "{mode:?}, replies cut at {cut}");
        }
        for up_first in [false, true] {
            let split = self.play(mode, Cut::Everywhere, Cut::Everywhere, up_first);
            assert_eq!(split, *whole, "{mode:?}, octet by octet");
        }
    }

    /// Play it once.
    pub(crate) fn play(&self, mode: Mode, up: Cut, down: Cut, up_first: bool) -> Outcome {
        let server = match &self.refused {
            None => obedient(self.server.clone()),
            Some(answer) => refusing(self.server.clone(), answer.clone()),
        };
        let client = options(mode.pipelining, mode.chunking);
        let mut pair = Pair::new(client, server, up, down, up_first);
        for act in &self.acts {
            match act {
                Act::Begins(transaction, content) => {
                    assert!(pair.sender.client.is_ready(), "not ready: {}", pair.sender.told);
                    pair.sender.content.clone_from(content);
                    pair.sender.client.begin(transaction.clone(), pair.sender.now);
                }
                Act::Holds(octets) => pair.sender.available = *octets,
                Act::Quits => pair.sender.client.quit(pair.sender.now),
                Act::Waits(duration) => pair.wait(*duration),
                Act::Answers(answer) => pair.answer(answer.clone()),
                Act::Drains => pair.drain(),
                Act::Breaks => pair.break_off(),
            }
            pair.carry();
        }
        pair.outcome()
    }
}

fn refusing(options: server::Options, answer: Answer) -> Server {
    let now = relay_fast::base::time::Monotonic(1);
    let session = server::Session::refused(options.into(), answer, now);
    Server::of(session, now, |_, _| unreachable!("no question"))
}

fn short(message: &session::Message) -> (Vec<String>, Vec<u8>) {
    let recipients = &message.envelope.recipients;
    let recipients = recipients.iter().map(|it| it.forward_path.as_str().to_owned()).collect();
    (recipients, message.content.clone())
}
