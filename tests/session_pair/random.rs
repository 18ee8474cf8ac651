//! Random messages, recipients, limits and splits, against what must come of them.

use proptest::prelude::*;

use relay_fast::base::prng::Prng;
use relay_fast::mail::address::Mailbox;
use relay_fast::mail::envelope::{BodyType, Envelope};
use relay_fast::smtp::extension::Offered;
use relay_fast::smtp::server::Options;

use crate::sender::{envelope, options, transaction};
use crate::session;
use crate::session_pair::pair::{Cut, Pair, obedient};

/// What a recipient's address asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Taken,
    Refused,
    Later,
    /// Taken only where nobody stands before it.
    Full,
    /// Taken where SMTPUTF8 is offered.
    Wide,
}

#[derive(Clone, Debug)]
struct Letter {
    from: &'static str,
    wishes: Vec<Wish>,
    content: Vec<u8>,
    binary: bool,
}

#[derive(Clone, Debug)]
struct World {
    pipelining: bool,
    use_chunking: bool,
    offered: Offered,
    recipients_max: usize,
    bytes_max: u64,
    window: usize,
    seed: u64,
    most: u64,
    up_first: bool,
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        4 => Just(Wish::Taken),
        1 => Just(Wish::Refused),
        1 => Just(Wish::Later),
        1 => Just(Wish::Full),
        1 => Just(Wish::Wide),
    ]
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let parts: Vec<&[u8]> = vec![
        b"\r\n",
        b".",
        b"x",
        b"\xff",
        b"\r\n.\r\n",
        b"MAIL FROM:<evil@a.example>\r\n",
        b"BDAT 3 LAST\r\n",
        b"\t\x01\x7f",
    ];
    proptest::collection::vec(proptest::sample::select(parts), 0..25)
        .prop_map(|parts| [&parts.concat()[..], b"\r\n"].concat())
}

fn letter() -> impl Strategy<Value = Letter> {
    let from = prop_oneof![
        6 => Just("s@a.example"),
        1 => Just("mail451@a.example"),
        1 => Just("data554@a.example"),
        1 => Just("end452@a.example"),
    ];
    let binary = proptest::collection::vec(any::<u8>(), 0..60);
    let content = prop_oneof![
        4 => text().prop_map(|content| (content, false)),
        1 => binary.prop_map(|content| (content, true)),
        1 => Just((Vec::new(), false)),
    ];
    (from, proptest::collection::vec(wish(), 1..7), content)
        .prop_map(|(from, wishes, (content, binary))| Letter { from, wishes, content, binary })
}

fn world() -> impl Strategy<Value = World> {
    let offered = (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(chunking, binary_mime, smtp_utf8)| Offered {
            deliver_by: false,
            chunking,
            binary_mime,
            smtp_utf8,
            auth: true,
            require_tls: true,
            priority: true,
            hold_seconds: 60,
        },
    );
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let limits = (1usize..5, prop_oneof![Just(u64::MAX / 4), 5u64..100], 1usize..50);
    (flags, offered, limits, any::<u64>(), 1u64..40).prop_map(
        |((pipelining, use_chunking, up_first), offered, limits, seed, most)| World {
            pipelining,
            use_chunking,
            offered,
            recipients_max: limits.0,
            bytes_max: limits.1,
            window: limits.2,
            seed,
            most,
            up_first,
        },
    )
}

impl Letter {
    fn envelope(&self, number: usize) -> Envelope {
        let address = |(place, wish): (usize, &Wish)| match wish {
            Wish::Taken => format!("r{place}.{number}@b.example"),
            Wish::Refused => String::from("rcpt550@b.example"),
            Wish::Later => String::from("rcpt450@b.example"),
            Wish::Full => String::from("rcptfull@b.example"),
            Wish::Wide => format!("ř{place}@b.example"),
        };
        let addresses: Vec<_> = self.wishes.iter().enumerate().map(address).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let mut envelope = envelope(&addresses);
        envelope.reverse_path.0 = Some(Mailbox::parse(self.from, false).expect("an address"));
        envelope.smtp_utf8 = self.wishes.contains(&Wish::Wide);
        if self.binary {
            envelope.body_type = BodyType::BinaryMime;
        }
        envelope
    }

    /// Whether the world is willing to take it for anyone.
    fn is_taken(&self, world: &World) -> bool {
        let fits = self.content.len() as u64 <= world.bytes_max;
        self.from == "s@a.example" && fits && (!self.binary || world.offered.takes_binary())
    }

    /// Places of those who must get it. Of those with no room behind another, the first that is
    /// asked for alone; so their number is all that is known.
    fn takers(&self, world: &World) -> Vec<usize> {
        let taken = |wish: &Wish| match wish {
            Wish::Taken | Wish::Full => true,
            Wish::Wide => world.offered.smtp_utf8,
            Wish::Refused | Wish::Later => false,
        };
        let taken = |place: &usize| taken(&self.wishes[*place]);
        (0..self.wishes.len()).filter(taken).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Whoever must get a message gets it once, whole, and the sending side is told just so.
    #[test]
    fn all_is_accounted_for(
        letters in proptest::collection::vec(letter(), 1..5),
        world in world(),
    ) {
        let mut pair = world.pair();
        for (number, letter) in letters.iter().enumerate() {
            prop_assert!(pair.sender.client.is_ready(), "{}", pair.sender.told);
            let envelope = letter.envelope(number);
            let (before, told) = (pair.server.messages.len(), pair.sender.told.len());
            pair.sender.content.clone_from(&letter.content);
            let transaction = transaction(envelope.clone(), &letter.content);
            pair.sender.client.begin(transaction, pair.sender.now);
            pair.carry();
            let told = pair.sender.told[told..].to_owned();
            let takers = if letter.is_taken(&world) { letter.takers(&world) } else { Vec::new() };
            let mut arrived = Vec::new();
            for message in &pair.server.messages[before..] {
                prop_assert_eq!(&message.content, &letter.content);
                prop_assert_eq!(&message.envelope.reverse_path, &envelope.reverse_path);
                arrived.extend(message.envelope.recipients.iter().cloned());
            }
            arrived.sort_by_key(|recipient| recipient.forward_path.to_string());
            let mut expected: Vec<_> =
                takers.iter().map(|place| envelope.recipients[*place].clone()).collect();
            expected.sort_by_key(|recipient| recipient.forward_path.to_string());
            prop_assert_eq!(arrived, expected, "{}", told);
            prop_assert_eq!(told.matches("250 2.0.0 Stored").count(), takers.len(), "{}", &told);
            let mut lines = told.lines();
            let settled = lines.next().and_then(|line| line.strip_prefix("settled ")).unwrap_or("");
            for place in 0..letter.wishes.len() {
                let results = settled.split(", ").filter(|one| {
                    one.starts_with(&format!("{place} "))
                });
                prop_assert_eq!(results.count(), 1, "{}: {}", place, settled);
            }
            prop_assert_eq!(lines.next(), Some("ready"));
        }
        pair.sender.client.quit(pair.sender.now);
        pair.carry();
        prop_assert_eq!(pair.outcome().over, (true, true));
    }

    /// What begins behind another, whose reply is awaited, comes to what it would come to after it.
    #[test]
    fn a_train_comes_to_what_its_letters_come_to(
        letters in proptest::collection::vec(letter(), 2..8),
        world in world(),
    ) {
        let [apart, together] = [false, true].map(|is_train| {
            let mut pair = world.pair();
            for (number, letter) in letters.iter().enumerate() {
                let transaction = transaction(letter.envelope(number), &letter.content);
                pair.sender.waiting.push_back((transaction, letter.content.clone()));
                if !is_train {
                    pair.carry();
                }
            }
            pair.carry();
            assert!(pair.sender.waiting.is_empty(), "{}", pair.sender.told);
            let outcome = pair.outcome();
            let is_settled = |line: &&str| line.starts_with("settled");
            let told: Vec<_> = outcome.told.lines().filter(is_settled).map(String::from).collect();
            (told, outcome.messages)
        });
        prop_assert_eq!(apart.0.len(), letters.len());
        prop_assert_eq!(apart, together);
    }
}

impl World {
    /// A client and a server in it.
    fn pair(&self) -> Pair {
        let server = Options {
            extensions: self.offered,
            recipients_max: self.recipients_max,
            message_bytes_max: self.bytes_max,
            errors_max: 1_000,
            ..session::options()
        };
        let cut = |seed| Cut::Random(Box::new(Prng::from_number(seed)), self.most);
        let client = options(self.pipelining, self.use_chunking);
        let (up, down) = (cut(self.seed), cut(!self.seed));
        let mut pair = Pair::new(client, obedient(server), up, down, self.up_first);
        pair.sender.window = self.window;
        pair
    }
}
