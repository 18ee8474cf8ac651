//! A milter's words: any octets, at any split, before and behind what it is told.
//!
//! Input: the letter, cuts; then packets. It comes to one opinion or one failure; what is asked for
//! is bounded and well-formed; what the milter is told are whole packets, and the message's own
//! body.

use std::sync::Arc;
use std::time::Duration;

use relay_fast::base::ids::MessageId;
use relay_fast::base::limits::{MILTER_CHANGES_BYTES_MAX, MILTER_CHANGES_MAX, MILTER_PACKET_MAX};
use relay_fast::base::time::Monotonic;
use relay_fast::mail::address::{Mailbox, ReversePath};
use relay_fast::mail::envelope::{Envelope, Recipient};
use relay_fast::milter::{
    Body, Change, Changes, Client, Event, Field, Fit, Letter, Opinion, Options, Verdict, Visitor,
};

use super::cuts::Cuts;

const BODY_MAX: u64 = 1_000;
const OPTIONS: Options = Options {
    connect: Duration::from_secs(5),
    command: Duration::from_secs(10),
    end: Duration::from_secs(60),
    body_max: BODY_MAX,
};
/// The flag of a letter with more of a body than may be unanswered.
const HAS_BODY: u8 = 2;
/// Signs of life, changes and opinions that a small message can take.
const PIECES: usize = 100_000;

/// The check.
pub(crate) fn check(data: &[u8]) {
    let Some((&[flags, cuts], said)) = data.split_first_chunk() else { return };
    let letters = [letter(flags), letter(flags >> 4)];
    let packets = packets(said);
    let whole = Play::run(&letters, &packets, flags, None);
    let cut = Play::run(&letters, &packets, flags, Some(cuts));
    assert_eq!(whole, cut, "a split matters");
}

/// Packets of the input: what, how long, data; or octets that are none.
fn packets(mut said: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let [what, length, rest @ ..] = said {
        let (data, behind) = rest.split_at(usize::from(*length).min(rest.len()));
        said = behind;
        packets.push(match *what {
            0 => data.to_vec(),
            what => {
                let length = u32::try_from(data.len() + 1).expect("an octet's worth");
                [&length.to_be_bytes(), &[what][..], data].concat()
            }
        });
    }
    packets
}

fn letter(flags: u8) -> Letter {
    let mailbox = |text: &str| Mailbox::parse(text, false).expect("an address");
    let recipient = |text: &str| Recipient::plain(mailbox(text));
    let envelope = Envelope::plain(
        ReversePath((flags & 1 == 0).then(|| mailbox("a@a.example"))),
        vec![recipient("b@b.example"), recipient("c@b.example")],
    );
    let field = |text: &str| Field::new(text.as_bytes().to_vec()).expect("a field");
    let mut body = Body::default();
    if flags & HAS_BODY != 0 {
        (0..6u8).for_each(|number| body.push(vec![b'a' + number; 65_000]));
    }
    let hello = if flags & 4 == 0 { "client.example" } else { "other.example" };
    let visitor = Visitor {
        peer: "192.0.2.1:25000".parse().expect("an address"),
        hello: hello.into(),
        hostname: "mx.example".into(),
        listener: "0.0.0.0:25".into(),
        tls: None,
        login: None,
    };
    Letter {
        visitor: Arc::new(visitor),
        id: MessageId(1),
        envelope,
        fields: vec![field("Subject: x\r\n"), field("X-A:\tb\r\n c\r\n")],
        has_empty_line: true,
        body,
    }
}

/// A connection, and the shard around it.
struct Play<'a> {
    client: Client,
    now: Monotonic,
    /// The message under way, and those to come.
    letter: Option<&'a Letter>,
    waiting: std::slice::Iter<'a, Letter>,
    heard: Vec<u8>,
    told: String,
}

impl<'a> Play<'a> {
    fn run(letters: &'a [Letter], packets: &[Vec<u8>], flags: u8, cuts: Option<u8>) -> String {
        let now = Monotonic(1_000_000_000);
        let (client, waiting) = (Client::new(OPTIONS, now), letters.iter());
        let (heard, told) = (Vec::new(), String::new());
        let mut play = Self { client, now, letter: None, waiting, heard, told };
        play.client.handle_connected();
        play.go_on();
        for packet in packets {
            let cuts = cuts.map(Cuts::LinesAnd);
            let pieces = cuts.map_or_else(|| vec![&packet[..]], |cuts| cuts.pieces(packet));
            for piece in pieces {
                play.client.handle_bytes(piece, play.now);
                play.settle();
            }
            play.go_on();
        }
        play.end(flags)
    }

    fn end(mut self, flags: u8) -> String {
        match flags & 8 {
            0 => self.client.handle_lost("the end"),
            _ => {
                if let Some(due) = self.client.deadline() {
                    self.now = due;
                    self.client.handle_deadline(due);
                } else {
                    assert!(self.letter.is_none(), "it waits for ever");
                    self.client.quit();
                }
            }
        }
        self.settle();
        assert!(self.client.is_over() && self.client.deadline().is_none());
        assert!(self.letter.is_none(), "nobody is told what came of a message");
        assert_told(&self.heard);
        // How much it was told before it made up its mind is a matter of time.
        self.told
    }

    /// A message begins behind a packet, never within one: what comes between two messages must not
    /// depend on the cuts.
    fn go_on(&mut self) {
        self.settle();
        while self.letter.is_none()
            && let Some(next) = self.waiting.as_slice().first()
            && self.client.fit(&next.visitor) != Fit::No
        {
            self.waiting.next();
            self.letter = Some(next);
            self.client.begin(&next.visitor, self.now);
            self.settle();
        }
    }

    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < PIECES, "it goes round in circles");
            let before = self.heard.len();
            self.client.take_output(self.letter, &mut self.heard, self.now);
            let event = self.client.poll_event();
            if let Some(event) = &event {
                self.on_event(event);
            }
            let bound = 2 * (MILTER_PACKET_MAX + 4) + MILTER_CHANGES_BYTES_MAX;
            assert!(self.client.memory() <= bound, "{} octets", self.client.memory());
            if event.is_none() && self.heard.len() == before {
                return;
            }
        }
    }

    fn on_event(&mut self, event: &Event) {
        assert!(self.letter.take().is_some(), "{event:?} of no message");
        self.told.push_str(&format!("{event:?}\n"));
        match event {
            Event::Opinion(Opinion { verdict, changes }) => {
                if let Verdict::Refuse(reply) = verdict {
                    let class = reply.enhanced.map(|status| u16::from(status.class));
                    let code = reply.code.as_u16();
                    assert!(code >= 400 && class == Some(code / 100), "{reply:?}");
                }
                assert!(*verdict == Verdict::Accept || changes.is_empty());
                assert_changes(changes);
            }
            Event::Failed { .. } => assert!(self.client.is_over()),
        }
    }
}

fn assert_changes(changes: &Changes) {
    assert!(changes.list.len() <= MILTER_CHANGES_MAX);
    let body = changes.body.as_ref().map_or(0, Body::len);
    assert!(body as u64 <= BODY_MAX);
    for change in &changes.list {
        match change {
            Change::AddField { name, value }
            | Change::InsertField { name, value, .. }
            | Change::ChangeField { name, value: Some(value), .. } => {
                assert_name(name);
                assert!(!value.contains(&0), "a NUL");
            }
            Change::ChangeField { name, value: None, .. } => assert_name(name),
            Change::AddRecipient { path, parameters } => {
                assert!(!path.contains('\0') && !parameters.contains('\0'));
            }
            Change::DeleteRecipient(path) | Change::ReversePath(path) => {
                assert!(!path.contains('\0'));
            }
            Change::Quarantine(reason) => assert!(!reason.contains(char::is_control)),
        }
    }
}

fn assert_name(name: &[u8]) {
    let plain = |octet: &u8| matches!(octet, b'!'..=b'~') && *octet != b':';
    assert!(!name.is_empty() && name.iter().all(plain), "{name:?}");
}

/// What the milter was told: whole packets of known kinds, the offer first; of each body no more
/// than there is, from its beginning.
fn assert_told(mut heard: &[u8]) {
    let (mut first, mut body) = (true, Vec::new());
    let whole = letter(HAS_BODY).body.into_pieces().concat();
    while !heard.is_empty() {
        let (length, rest) = heard.split_first_chunk::<4>().expect("a length");
        let length = u32::from_be_bytes(*length) as usize;
        assert!((1..=MILTER_PACKET_MAX).contains(&length));
        let (packet, behind) = rest.split_at_checked(length).expect("a whole packet");
        assert_eq!(packet[0] == b'O', first, "the offer comes first, and once");
        match packet[0] {
            // A message ends so; that one begins is not told to a milter that skips MAIL.
            b'E' | b'A' => body.clear(),
            b'B' => body.extend_from_slice(&packet[1..]),
            b'O' | b'C' | b'D' | b'H' | b'M' | b'R' | b'T' | b'L' | b'N' | b'Q' | b'K' => {}
            other => panic!("{other} is never said"),
        }
        assert!(whole.starts_with(&body), "another body");
        (first, heard) = (false, behind);
    }
}
