//! The whole sending side: any octets of a peer, at any split; what is sent is read back.
//!
//! Input: options, transactions, cuts, content; then a script. Where the peer says a line at a
//! time, no further cut may matter. However it comes, the machine ends, tells of each recipient
//! once, and sends nothing but commands that are well-formed and content that is framed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use relay_fast::base::time::Monotonic;
use relay_fast::mail::address::{ForwardPath, Mailbox, ReversePath};
use relay_fast::mail::envelope::{
    BodyType, Envelope, Notify, OriginalRecipient, Recipient, Ret, TlsWish,
};
use relay_fast::smtp::client::{Client, Deadlines, Event, Options, Settled, StartTls, Transaction};

use super::cuts::Cuts;
use super::script::{Turn, turns};
use super::sent::Reading;
use super::taken;

/// Calls after which a machine that still wants something goes round in circles.
const ROUNDS: usize = 100_000;

/// What is the same however the peer's octets are cut.
struct World {
    options: Arc<Options>,
    envelope: Arc<Envelope>,
    content: Vec<u8>,
    transactions: usize,
    window: usize,
    behind: bool,
    fails_handshake: bool,
}

/// The check.
pub(crate) fn check(data: &[u8]) {
    let Some((&[flags, shape, cuts, length], rest)) = data.split_first_chunk() else { return };
    let (content, script) = rest.split_at(usize::from(length).min(rest.len()));
    let (world, turns) = (World::new(flags, shape, content), turns(script));
    let lines = Play::run(&world, &turns, Cuts::Lines);
    let cut = Play::run(&world, &turns, Cuts::LinesAnd(cuts));
    assert!(lines == cut, "a split matters:\n{}\n{}\n{}\n{}", lines.0, lines.1, cut.0, cut.1);
    Play::run(&world, &turns, Cuts::Free(cuts));
}

impl World {
    fn new(flags: u8, shape: u8, content: &[u8]) -> Self {
        let bit = |place: u8| flags >> place & 1 == 1;
        let options = Options {
            hello: "relay.example".into(),
            deadlines: Deadlines::default(),
            use_pipelining: bit(0),
            use_chunking: bit(1),
            start_tls: match flags >> 2 & 3 {
                0 | 3 => StartTls::Never,
                1 => StartTls::IfOffered,
                _ if shape & 0x20 != 0 => StartTls::Required,
                _ => StartTls::Always,
            },
        };
        let body_type = match (bit(5), content.is_ascii()) {
            (true, _) => BodyType::BinaryMime,
            (false, true) => BodyType::SevenBit,
            (false, false) => BodyType::EightBitMime,
        };
        Self {
            options: Arc::new(options),
            envelope: Arc::new(envelope(shape, body_type, bit(6))),
            content: content.to_vec(),
            transactions: usize::from(shape >> 3 & 3) + 1,
            window: if bit(4) { 5 } else { usize::MAX },
            behind: bit(7),
            fails_handshake: flags >> 2 & 3 == 3,
        }
    }

    fn transaction(&self) -> Transaction {
        let count = u16::try_from(self.envelope.recipients.len()).expect("a few");
        Transaction {
            envelope: Arc::clone(&self.envelope),
            reverse_path: None,
            recipients: (0..count).collect(),
            content_bytes: self.content.len() as u64,
            has_eight_bit: !self.content.is_ascii(),
            header_has_eight_bit: !self.content.is_ascii(),
            by: None,
        }
    }
}

fn envelope(shape: u8, body_type: BodyType, smtp_utf8: bool) -> Envelope {
    let mailbox = |text: &str| Mailbox::parse(text, true).expect("an address");
    let recipient = |place: u8| Recipient {
        forward_path: match place {
            0 => ForwardPath::Mailbox(mailbox("a@b.example")),
            1 => ForwardPath::Mailbox(mailbox("\"a>b\"@b.example")),
            2 if smtp_utf8 => ForwardPath::Mailbox(mailbox("ü@ü.example")),
            3 => ForwardPath::Mailbox(mailbox("c@[192.0.2.1]")),
            _ => ForwardPath::Mailbox(mailbox(&format!("r{place}@c.example"))),
        },
        notify: if place.is_multiple_of(2) { Notify::Default } else { Notify::Never },
        original: (place == 1).then(|| OriginalRecipient {
            kind: "utf-8".into(),
            address: "é+=\\x{e9}@b.example".into(),
        }),
    };
    let sender = (shape & 0x40 == 0).then(|| mailbox("s@a.example"));
    Envelope {
        reverse_path: ReversePath(sender),
        body_type,
        smtp_utf8,
        tls: if shape & 0x20 != 0 { TlsWish::Required } else { TlsWish::Unsaid },
        ret: (shape & 0x80 != 0).then_some(Ret::Headers),
        envelope_id: Some("id+=1".into()),
        handling: None,
        recipients: (0..=shape & 7).map(recipient).collect(),
    }
}

/// A machine, and the shard around it.
struct Play<'a> {
    world: &'a World,
    client: Client,
    now: Monotonic,
    waiting: usize,
    /// Recipients of the transactions under way that were not told of, oldest first.
    flying: VecDeque<Vec<u16>>,
    /// What was sent, and where in it content began.
    heard: Vec<u8>,
    begun: Vec<usize>,
    told: String,
    closed: bool,
    /// The last event settled all of a transaction.
    landed: bool,
    accepted: usize,
}

impl<'a> Play<'a> {
    /// What was told, and what was sent.
    fn run(world: &'a World, turns: &[Turn], cuts: Cuts) -> (String, String) {
        let now = Monotonic(1_000_000_000);
        let mut play = Self {
            world,
            client: Client::new(Arc::clone(&world.options), now),
            now,
            waiting: world.transactions,
            flying: VecDeque::new(),
            heard: Vec::new(),
            begun: Vec::new(),
            told: String::new(),
            closed: false,
            landed: false,
            accepted: 0,
        };
        play.settle();
        for turn in turns {
            match turn {
                Turn::Says(octets) => {
                    for piece in cuts.pieces(octets) {
                        play.client.handle_bytes(piece, play.now);
                        play.settle();
                    }
                }
                Turn::Event(number) => play.happen(*number),
            }
        }
        play.end()
    }

    fn happen(&mut self, number: u8) {
        match number {
            0 => self.client.quit(self.now),
            1 => self.client.handle_end(self.now),
            2 => self.pass(),
            seconds => {
                self.now = self.now + Duration::from_secs(u64::from(seconds));
                self.client.handle_deadline(self.now);
            }
        }
        self.settle();
    }

    /// Until the deadline.
    fn pass(&mut self) {
        if let Some(due) = self.client.deadline() {
            self.now = self.now.max(due);
        }
        self.client.handle_deadline(self.now);
    }

    fn end(mut self) -> (String, String) {
        self.client.quit(self.now);
        self.settle();
        for _ in 0..64 {
            if self.client.is_over() {
                break;
            }
            assert!(self.client.deadline().is_some(), "it waits for ever");
            self.pass();
            self.settle();
        }
        assert!(self.client.is_over() && self.closed, "it does not end");
        assert_eq!(self.client.deadline(), None);
        let reading =
            Reading::of(&self.heard, &self.begun, &self.world.envelope, &self.world.content);
        assert!(reading.bodies >= self.accepted, "what is taken was not sent: {}", self.told);
        (self.told, self.heard.escape_ascii().to_string())
    }

    /// What a shard does after each call.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < ROUNDS, "it goes round in circles");
            self.take_output();
            while let Some(event) = self.client.poll_event() {
                self.on_event(&event);
            }
            let may =
                self.client.is_ready() || (self.world.behind && self.client.may_begin_behind());
            if let Some(offset) = self.client.wants_content().filter(|offset| self.there(*offset)) {
                self.push(offset);
            } else if may && self.waiting > 0 {
                self.waiting -= 1;
                let transaction = self.world.transaction();
                self.flying.push_back(transaction.recipients.clone());
                self.client.begin(transaction, self.now);
            } else if !self.client.has_output() {
                break;
            }
        }
        while let Some(event) = self.client.poll_event() {
            self.on_event(&event);
        }
        let idle = self.client.is_over() || self.client.is_ready();
        assert!(idle || self.client.deadline().is_some(), "it waits for ever");
        assert_eq!(self.client.is_over(), self.closed);
    }

    fn there(&self, offset: u64) -> bool {
        offset < self.world.content.len() as u64
    }

    fn push(&mut self, offset: u64) {
        let start = usize::try_from(offset).expect("inside the content");
        if start == 0 {
            self.begun.push(self.heard.len());
        }
        let content = &self.world.content;
        let end = start.saturating_add(self.world.window).min(content.len());
        self.client.push_content(&content[start..end], self.now);
    }

    fn take_output(&mut self) {
        let mut output = Vec::new();
        self.client.take_output(&mut output);
        self.heard.append(&mut output);
    }

    fn on_event(&mut self, event: &Event) {
        assert!(!self.closed, "{event:?} behind the last one");
        self.told.push_str(&format!("{event:?}\n"));
        match event {
            Event::StartTls => {
                assert_ne!(self.world.options.start_tls, StartTls::Never);
                match self.world.fails_handshake {
                    true => self.client.fail_handshake("as told"),
                    false => self.client.secured(self.now),
                }
            }
            Event::Ready => {
                let must = self.world.options.start_tls == StartTls::Always;
                assert!(!must || self.client.is_secured(), "mail in clear");
                assert!(self.flying.is_empty());
            }
            Event::Settled(results) => self.on_settled(results),
            Event::Closed { unsettled, .. } => {
                self.closed = true;
                let mut unsettled = unsettled.clone();
                unsettled.sort_unstable();
                let open = self.flying.front().cloned().unwrap_or_default();
                assert!(
                    unsettled == open || (self.landed && unsettled.is_empty()),
                    "{}",
                    self.told
                );
            }
        }
        self.landed = matches!(event, Event::Settled(_));
    }

    fn on_settled(&mut self, results: &[(u16, Settled)]) {
        let open = self.flying.front_mut().expect("a transaction under way");
        for (recipient, _) in results {
            let place = open.iter().position(|one| one == recipient);
            open.remove(place.expect("each recipient once"));
        }
        if open.is_empty() {
            self.flying.pop_front();
        }
        let taken = |(_, settled): &(u16, Settled)| matches!(settled, Settled::Accepted(_));
        self.accepted += usize::from(results.iter().any(taken));
        for (_, settled) in results {
            if let Settled::Accepted(reply) = settled {
                assert_eq!(reply.code.as_u16() / 100, 2, "{reply}");
                reply.text.lines().for_each(taken::assert_clean);
            }
        }
    }
}
