//! Play a dialogue against the machine: once whole, and once for every place to split the peer's
//! bytes; what is sent and what is told must not depend on it.

use std::sync::Arc;
use std::time::Duration;

use relay_fast::base::time::Monotonic;
use relay_fast::mail::address::{ForwardPath, Mailbox, ReversePath};
use relay_fast::mail::envelope::{BodyType, Envelope, Notify, Recipient};
use relay_fast::mail::outcome::Failure;
use relay_fast::smtp::client::{Client, Deadlines, Event, Options, Settled, Transaction};

/// One turn of a dialogue.
#[derive(Clone)]
enum Turn {
    Says(String),
    Hears(String),
    Begins(Transaction, Vec<u8>),
    Quits,
    Ends,
    Waits(Duration),
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

pub(crate) fn options(pipelining: bool, chunking: bool) -> Arc<Options> {
    Arc::new(Options {
        hello: "relay.example".into(),
        deadlines: Deadlines::default(),
        use_pipelining: pipelining,
        use_chunking: chunking,
    })
}

pub(crate) fn envelope(recipients: &[&str]) -> Envelope {
    let mailbox = |text: &str| Mailbox::parse(text, true).expect("an address");
    let recipients = recipients.iter().map(|text| Recipient {
        forward_path: ForwardPath::Mailbox(mailbox(text)),
        notify: Notify::Default,
        original: None,
    });
    Envelope {
        reverse_path: ReversePath(Some(mailbox("s@a.example"))),
        body_type: BodyType::SevenBit,
        smtp_utf8: false,
        ret: None,
        envelope_id: None,
        recipients: recipients.collect(),
    }
}

/// `content` for all recipients of `envelope`.
pub(crate) fn transaction(envelope: Envelope, content: &[u8]) -> Transaction {
    let count = u16::try_from(envelope.recipients.len()).expect("few recipients");
    Transaction {
        envelope: Arc::new(envelope),
        recipients: (0..count).collect(),
        content_bytes: content.len() as u64,
        has_eight_bit: !content.is_ascii(),
        header_has_eight_bit: false,
    }
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

    fn play_once(&self, is_cut: impl Fn(usize) -> bool) -> Played {
        let now = Monotonic(0);
        let client = Client::new(options(self.pipelining, self.chunking), now);
        let mut stage = Stage { client, now, window: self.window, ..Stage::new(now) };
        let mut at = 0;
        for (number, turn) in self.turns.iter().enumerate() {
            match turn {
                Turn::Says(text) => {
                    let mut piece = Vec::new();
                    for octet in text.bytes() {
                        piece.push(octet);
                        if is_cut(at) {
                            stage.feed(&std::mem::take(&mut piece));
                        }
                        at += 1;
                    }
                    stage.feed(&piece);
                }
                Turn::Hears(text) => {
                    let heard = std::mem::take(&mut stage.heard);
                    assert_eq!(String::from_utf8_lossy(&heard), *text, "turn {number}");
                }
                Turn::Begins(transaction, content) => {
                    assert!(stage.client.is_ready(), "turn {number}: {}", stage.told);
                    stage.content = content.clone();
                    stage.client.begin(transaction.clone(), now);
                }
                Turn::Quits => stage.client.quit(stage.now),
                Turn::Ends => stage.client.handle_end(stage.now),
                Turn::Waits(duration) => {
                    stage.now = stage.now + *duration;
                    stage.client.handle_deadline(stage.now);
                }
            }
            stage.settle_down();
        }
        assert_eq!(String::from_utf8_lossy(&stage.heard), "", "sent at the end");
        let transactions_done = stage.client.transactions_done();
        Played { told: stage.told, is_over: stage.client.is_over(), transactions_done }
    }
}

impl Turn {
    fn said(&self) -> usize {
        match self {
            Self::Says(text) => text.len(),
            Self::Hears(_) | Self::Begins(..) | Self::Quits | Self::Ends | Self::Waits(_) => 0,
        }
    }
}

/// The machine, and what a shard would hold for it.
struct Stage {
    client: Client,
    now: Monotonic,
    window: usize,
    content: Vec<u8>,
    heard: Vec<u8>,
    told: String,
}

impl Stage {
    fn new(now: Monotonic) -> Self {
        Self {
            client: Client::new(options(true, true), now),
            now,
            window: usize::MAX,
            content: Vec::new(),
            heard: Vec::new(),
            told: String::new(),
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.client.handle_bytes(bytes, self.now);
        self.settle_down();
    }

    /// What a shard does after each call.
    fn settle_down(&mut self) {
        loop {
            while let Some(offset) = self.client.wants_content() {
                let start = usize::try_from(offset).expect("small content");
                let end = start.saturating_add(self.window).min(self.content.len());
                self.client.push_content(&self.content[start..end], self.now);
            }
            let mut output = Vec::new();
            self.client.take_output(&mut output);
            if output.is_empty() {
                break;
            }
            self.heard.extend_from_slice(&output);
        }
        while let Some(event) = self.client.poll_event() {
            self.told.push_str(&describe(&event));
        }
    }
}

/// An event in short, as `settled 0 250 ok, 1 RCPT 550 no`.
pub(crate) fn describe(event: &Event) -> String {
    match event {
        Event::Ready => "ready\n".into(),
        Event::Settled(results) => {
            let results: Vec<_> = results.iter().map(describe_result).collect();
            format!("settled {}\n", results.join(", "))
        }
        Event::Closed { failure: None, unsettled } => format!("closed {unsettled:?}\n"),
        Event::Closed { failure: Some((stage, failure)), unsettled } => {
            format!("closed at {stage}: {}; {unsettled:?}\n", describe_failure(failure))
        }
    }
}

fn describe_result((recipient, settled): &(u16, Settled)) -> String {
    match settled {
        Settled::Accepted(reply) => format!("{recipient} {reply}"),
        Settled::Refused { stage, failure } => {
            format!("{recipient} {stage} {}", describe_failure(failure))
        }
    }
}

fn describe_failure(failure: &Failure) -> String {
    if let Failure::Reply(reply) = failure {
        return reply.to_string();
    }
    if let Failure::Incapable { status, detail } = failure {
        return format!("{status} {detail}");
    }
    format!("{failure:?}")
}
