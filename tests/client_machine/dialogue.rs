//! Play a dialogue against the machine: once whole, and once for every place to split the peer's
//! bytes; what is sent and what is told must not depend on it.

use std::time::Duration;

use relay_fast::base::time::Monotonic;
use relay_fast::mail::address::Mailbox;
use relay_fast::smtp::client::Transaction;

use crate::sender::{Sender, envelope, options, transaction};

/// One turn of a dialogue.
#[derive(Clone)]
enum Turn {
    Says(String),
    Hears(String),
    Begins(Transaction, Vec<u8>),
    Asks(Mailbox),
    Quits,
    Ends,
    Waits(Duration),
    CannotBegin,
}

/// A script, and what it is played with.
#[derive(Clone)]
pub(crate) struct Dialogue {
    turns: Vec<Turn>,
    pipelining: bool,
    chunking: bool,
    window: usize,
}

/// What came of a play.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Played {
    /// The events in short, one a line.
    pub(crate) told: String,
    pub(crate) is_over: bool,
    pub(crate) transactions_done: u32,
}

impl Dialogue {
    /// A peer that greets; what it then offers is said by `offers`.
    pub(crate) fn greeted(extensions: &str) -> Self {
        let mut lines: Vec<&str> = vec!["mx.example"];
        lines.extend(extensions.split_ascii_whitespace());
        let last = lines.pop().expect("one line at least");
        let head: String = lines.iter().map(|line| format!("250-{line}\r\n")).collect();
        let reply = format!("{head}250 {last}\r\n").replace('=', " ").replace('@', "=");
        Self::new().says("220 mx.example ESMTP\r\n").hears("EHLO relay.example\r\n").says(&reply)
    }

    pub(crate) fn new() -> Self {
        Self { turns: Vec::new(), pipelining: true, chunking: true, window: usize::MAX }
    }

    fn turn(mut self, turn: Turn) -> Self {
        self.turns.push(turn);
        self
    }

    /// The peer sends this.
    pub(crate) fn says(self, text: &str) -> Self {
        self.turn(Turn::Says(text.into()))
    }

    /// All that the machine has sent since the last time is this.
    pub(crate) fn hears(self, text: &str) -> Self {
        self.turn(Turn::Hears(text.into()))
    }

    /// A message for `recipients` is given to the machine.
    pub(crate) fn begins(self, recipients: &[&str], content: &str) -> Self {
        let transaction = transaction(envelope(recipients), content.as_bytes());
        self.begins_with(transaction, content.as_bytes())
    }

    pub(crate) fn begins_with(self, transaction: Transaction, content: &[u8]) -> Self {
        self.turn(Turn::Begins(transaction, content.to_vec()))
    }

    /// The machine is to ask about this recipient.
    pub(crate) fn asks(self, recipient: &str) -> Self {
        self.turn(Turn::Asks(Mailbox::parse(recipient, true).expect("an address")))
    }

    /// Nothing can be given to the machine now.
    pub(crate) fn cannot_begin(self) -> Self {
        self.turn(Turn::CannotBegin)
    }

    pub(crate) fn quits(self) -> Self {
        self.turn(Turn::Quits)
    }

    /// The peer closes the connection.
    pub(crate) fn ends(self) -> Self {
        self.turn(Turn::Ends)
    }

    /// So long nothing happens.
    pub(crate) fn waits(self, duration: Duration) -> Self {
        self.turn(Turn::Waits(duration))
    }

    /// Content comes in windows of so many octets.
    pub(crate) fn window(mut self, window: usize) -> Self {
        self.window = window;
        self
    }

    pub(crate) fn without_chunking(mut self) -> Self {
        self.chunking = false;
        self
    }

    pub(crate) fn without_pipelining(mut self) -> Self {
        self.pipelining = false;
        self
    }

    /// Play it with every split; all must come to the same.
    pub(crate) fn play(&self) -> Played {
        let whole = self.play_once(|_| false);
        let said: usize = self.turns.iter().map(Turn::said).sum();
        for cut in 0..said {
            assert_eq!(self.play_once(|at| at == cut), whole, "split at {cut}");
        }
        assert_eq!(self.play_once(|_| true), whole, "octet by octet");
        whole
    }

    /// Play it, and compare what is told.
    #[track_caller]
    pub(crate) fn tells(&self, expected: &[&str]) -> Played {
        let played = self.play();
        assert_eq!(played.told.lines().collect::<Vec<_>>(), expected);
        played
    }

    /// All that it tells.
    pub(crate) fn tells_all(&self) -> Vec<String> {
        self.play().told.lines().map(str::to_owned).collect()
    }

    fn play_once(&self, is_cut: impl Fn(usize) -> bool) -> Played {
        let now = Monotonic(0);
        let mut sender = Sender::new(options(self.pipelining, self.chunking), now);
        sender.window = self.window;
        let mut at = 0;
        for (number, turn) in self.turns.iter().enumerate() {
            match turn {
                Turn::Says(text) => {
                    let mut piece = Vec::new();
                    for octet in text.bytes() {
                        piece.push(octet);
                        if is_cut(at) {
                            sender.feed(&std::mem::take(&mut piece));
                        }
                        at += 1;
                    }
                    sender.feed(&piece);
                }
                Turn::Hears(text) => {
                    let heard = std::mem::take(&mut sender.heard);
                    assert_eq!(String::from_utf8_lossy(&heard), *text, "turn {number}");
                }
                Turn::Begins(transaction, content) => {
                    assert!(sender.may_begin(), "turn {number}: {}", sender.told);
                    sender.content = content.clone();
                    sender.client.begin(transaction.clone(), now);
                }
                Turn::Asks(recipient) => sender.client.ask(recipient.clone(), now),
                Turn::CannotBegin => {
                    assert!(!sender.may_begin(), "turn {number}: {}", sender.told);
                }
                Turn::Quits => sender.client.quit(sender.now),
                Turn::Ends => sender.client.handle_end(sender.now),
                Turn::Waits(duration) => {
                    sender.now = sender.now + *duration;
                    sender.client.handle_deadline(sender.now);
                }
            }
            sender.settle_down();
        }
        assert_eq!(String::from_utf8_lossy(&sender.heard), "", "sent at the end");
        let transactions_done = sender.client.transactions_done();
        Played { told: sender.told, is_over: sender.client.is_over(), transactions_done }
    }
}

impl Turn {
    fn said(&self) -> usize {
        match self {
            Self::Says(text) => text.len(),
            Self::Hears(_) | Self::Begins(..) | Self::Asks(_) | Self::CannotBegin => 0,
            Self::Quits | Self::Ends | Self::Waits(_) => 0,
        }
    }
}
