//! A peer of random moods, which checks the machine by the rules of a server: what it hears must be
//! SMTP in order, what it took must be exactly what the machine says was accepted.

use std::collections::{BTreeMap, VecDeque};

use relay_fast::base::prng::Prng;
use relay_fast::base::time::Monotonic;
use relay_fast::smtp::client::{Client, Event, Settled};

use crate::sender::{envelope, options, transaction};

const RECIPIENTS: &[&str] = &["a@b.example", "b@b.example", "c@c.example", "d@d.example"];
const CONTENT: &[u8] = b"Subject: x\r\n\r\n.\r\n..\r\nhello\r\n";
const TRANSACTIONS: usize = 4;

/// A number in `0..bound`.
fn below(prng: &mut Prng, bound: usize) -> usize {
    usize::try_from(prng.below(bound as u64)).expect("below a usize")
}

fn pick<T: Copy>(prng: &mut Prng, among: &[T]) -> T {
    among[below(prng, among.len())]
}

/// What the peer is in the middle of.
#[derive(Debug, PartialEq)]
enum Amid {
    Commands,
    Data(Vec<u8>),
    Chunk(Vec<u8>, usize),
}

struct Peer {
    prng: Prng,
    /// In thousandths: refusals, and words or ends out of place.
    refuses: u64,
    fails: u64,
    pipelining: bool,
    recipients_max: usize,
    transactions_max: usize,
    input: Vec<u8>,
    output: Vec<u8>,
    amid: Amid,
    is_open: bool,
    accepted: Vec<String>,
    /// Its words were no SMTP, or it left: what it hears from now on does not matter.
    is_gone: bool,
    transactions: usize,
    /// How often each recipient got the content.
    delivered: BTreeMap<String, u32>,
}

impl Peer {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::from_number(seed);
        let refuses = pick(&mut prng, &[0, 100, 500, 900]);
        let fails = pick(&mut prng, &[0, 0, 20, 100]);
        let recipients_max = pick(&mut prng, &[1, 2, 3, 100]);
        let transactions_max = pick(&mut prng, &[1, 2, 3, 100]);
        Self {
            refuses,
            fails,
            pipelining: prng.below(2) == 0,
            recipients_max,
            transactions_max,
            input: Vec::new(),
            output: b"220 mx ESMTP\r\n".to_vec(),
            amid: Amid::Commands,
            is_open: false,
            accepted: Vec::new(),
            is_gone: false,
            transactions: 0,
            delivered: BTreeMap::new(),
            prng,
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        if self.is_gone {
            return self.input.clear();
        }
        if !self.pipelining && self.amid == Amid::Commands {
            // RFC 5321 §4.3.1: one command at a time; BDAT brings its octets.
            let first = self.input.split_inclusive(|octet| *octet == b'\n').next();
            let alone = first.is_none_or(|line| line == self.input || line.starts_with(b"BDAT"));
            assert!(alone, "pipelined: {:?}", String::from_utf8_lossy(&self.input));
        }
        while !self.is_gone && self.hear_one() {}
    }

    fn hear_one(&mut self) -> bool {
        match std::mem::replace(&mut self.amid, Amid::Commands) {
            Amid::Commands => {
                let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") else {
                    return false;
                };
                let line: Vec<u8> = self.input.drain(..end + 2).collect();
                self.hear_command(String::from_utf8(line).expect("text").trim_end());
            }
            Amid::Data(mut content) => {
                let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") else {
                    self.amid = Amid::Data(content);
                    return false;
                };
                let line: Vec<u8> = self.input.drain(..end + 2).collect();
                if line == b".\r\n" {
                    self.hear_end(&content);
                    // RFC 5321 §4.1.1.4: on the completion of this command the buffers are cleared.
                    self.is_open = false;
                } else {
                    content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                    self.amid = Amid::Data(content);
                }
            }
            Amid::Chunk(mut content, size) => {
                let missing = (size - content.len()).min(self.input.len());
                content.extend(self.input.drain(..missing));
                if content.len() < size {
                    self.amid = Amid::Chunk(content, size);
                    return false;
                }
                self.hear_end(&content);
            }
        }
        true
    }

    fn hear_command(&mut self, line: &str) {
        let verb = line.split([' ', ':']).next().expect("a word");
        match verb {
            "EHLO" => {
                let pipelining = if self.pipelining { "250-PIPELINING\r\n" } else { "" };
                let chunking = if self.prng.below(2) == 0 { "250-CHUNKING\r\n" } else { "" };
                let (rcpts, mails) = (self.recipients_max, self.transactions_max);
                let limits = format!("250 LIMITS RCPTMAX={rcpts} MAILMAX={mails}\r\n");
                self.say(&format!("250-mx\r\n{pipelining}{chunking}{limits}"));
            }
            "RSET" => {
                self.is_open = false;
                self.say("250 ok\r\n");
            }
            "MAIL" => {
                assert!(!self.is_open, "MAIL in a transaction");
                self.transactions += 1;
                assert!(self.transactions <= self.transactions_max, "more than MAILMAX");
                self.accepted.clear();
                self.is_open = self.answer("250 ok\r\n");
            }
            "RCPT" => {
                let address = line.strip_prefix("RCPT TO:<").expect("a path").trim_end_matches('>');
                let taken = if self.is_open { self.answer("250 ok\r\n") } else { self.lie() };
                if taken {
                    self.accepted.push(address.into());
                    assert!(self.accepted.len() <= self.recipients_max, "more than RCPTMAX");
                }
            }
            "DATA" => {
                let willing = !self.accepted.is_empty() || self.prng.below(3) == 0;
                if willing && self.answer("354 go on\r\n") {
                    self.amid = Amid::Data(Vec::new());
                } else if !willing {
                    self.say("503 5.5.1 no recipients\r\n");
                }
            }
            "BDAT" => {
                let size = line.strip_prefix("BDAT ").and_then(|rest| rest.strip_suffix(" LAST"));
                let size = size.and_then(|size| size.parse().ok()).expect("a size, and LAST");
                self.amid = Amid::Chunk(Vec::new(), size);
            }
            "QUIT" => {
                self.say("221 bye\r\n");
                self.is_gone = true;
            }
            _ => panic!("heard {line:?}"),
        }
    }

    /// The end of content: by BDAT it may come for nobody, by DATA only empty.
    fn hear_end(&mut self, content: &[u8]) {
        let is_for_nobody = !self.is_open || self.accepted.is_empty();
        if is_for_nobody {
            assert!(content.is_empty() || content == CONTENT);
            return self.say("554 no recipients\r\n");
        }
        assert_eq!(content, CONTENT);
        // RFC 3030 §2: after a refused BDAT, nobody knows whether the transaction is still open.
        if self.answer("250 queued\r\n") {
            self.is_open = false;
            for recipient in std::mem::take(&mut self.accepted) {
                *self.delivered.entry(recipient).or_default() += 1;
            }
        } else if self.prng.below(2) == 0 {
            self.is_open = false;
        }
    }

    /// Say `yes`, or refuse, or fail altogether.
    fn answer(&mut self, yes: &str) -> bool {
        if self.prng.below(1_000) < self.fails {
            let words = ["421 bye\r\n", "what?\r\n", "354 \r\n", "250-a\r\n550 b\r\n", "25"];
            let word = pick(&mut self.prng, &words);
            self.say(word);
            self.is_gone = true;
            return false;
        }
        if self.prng.below(1_000) < self.refuses {
            let words = ["450 no\r\n", "452 4.5.3 full\r\n", "550-no\r\n550 no\r\n", "571 no\r\n"];
            let word = pick(&mut self.prng, &words);
            self.say(word);
            return false;
        }
        self.say(yes);
        true
    }

    /// RCPT outside of a transaction: some servers take it all the same.
    fn lie(&mut self) -> bool {
        let refuses = self.prng.below(2) == 0;
        self.say(if refuses { "503 no\r\n" } else { "250 ok\r\n" });
        false
    }

    fn say(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
    }
}

#[derive(Default)]
struct Told {
    accepted: BTreeMap<String, u32>,
    refused: u32,
    unsettled: u32,
    is_closed: bool,
    /// Recipients without a result of each transaction in flight, oldest first.
    in_flight: VecDeque<Vec<u16>>,
}

impl Told {
    fn note(&mut self, event: Event) {
        match event {
            Event::StartTls => unreachable!("not to be used"),
            Event::Ready => {}
            Event::Settled(results) => {
                let oldest = self.in_flight.front_mut().expect("a transaction is settled");
                for (recipient, settled) in results {
                    let place = oldest.iter().position(|asked| *asked == recipient);
                    oldest.remove(place.expect("asked for, and not settled before"));
                    match settled {
                        Settled::Accepted(_) => {
                            let address = RECIPIENTS[usize::from(recipient)].to_string();
                            *self.accepted.entry(address).or_default() += 1;
                        }
                        Settled::Refused { .. } => self.refused += 1,
                    }
                }
                if oldest.is_empty() {
                    self.in_flight.pop_front();
                }
            }
            Event::Closed { unsettled, .. } => {
                assert!(!self.is_closed, "closed twice");
                self.is_closed = true;
                if !unsettled.is_empty() {
                    let mut oldest = self.in_flight.pop_front().expect("they are of one");
                    oldest.sort_unstable();
                    assert_eq!(oldest, unsettled);
                }
                // Those behind had no reply.
                let behind = self.in_flight.drain(..).map(|recipients| recipients.len());
                let returned = unsettled.len() + behind.sum::<usize>();
                self.unsettled += u32::try_from(returned).expect("few");
            }
        }
    }

    fn count(&self) -> u32 {
        self.accepted.values().sum::<u32>() + self.refused + self.unsettled
    }
}

/// One connection with up to four transactions, everything split at random.
fn meet(seed: u64) {
    let now = Monotonic(0);
    let mut prng = Prng::from_number(seed ^ 0xc11e_4700);
    let mut peer = Peer::new(seed);
    let mut client = Client::new(options(prng.below(4) > 0, prng.below(4) > 0), now);
    let (mut told, mut begun, mut given) = (Told::default(), 0, 0);
    loop {
        let is_behind = client.may_begin_behind() && prng.below(2) > 0;
        if (client.is_ready() || is_behind) && begun < TRANSACTIONS {
            let mut next = transaction(envelope(RECIPIENTS), CONTENT);
            next.recipients.retain(|_| prng.below(3) > 0);
            if next.recipients.is_empty() {
                next.recipients.push(0);
            }
            given += u32::try_from(next.recipients.len()).expect("few");
            told.in_flight.push_back(next.recipients.clone());
            begun += 1;
            client.begin(next, now);
        } else if client.is_ready() {
            client.quit(now);
        }
        while let Some(offset) = client.wants_content().filter(|_| prng.below(3) > 0) {
            let start = usize::try_from(offset).expect("small");
            let end = CONTENT.len().min(start + 1 + below(&mut prng, 40));
            client.push_content(&CONTENT[start..end], now);
        }
        let mut output = Vec::new();
        client.take_output(&mut output);
        peer.hear(&output);
        let some = peer.output.len().min(below(&mut prng, 30));
        let bytes: Vec<u8> = peer.output.drain(..some).collect();
        client.handle_bytes(&bytes, now);
        if peer.is_gone && peer.output.is_empty() {
            client.handle_end(now);
        }
        while let Some(event) = client.poll_event() {
            told.note(event);
        }
        if client.is_over() {
            break;
        }
    }
    assert!(told.is_closed);
    assert_eq!(told.count(), given, "each recipient comes back exactly once");
    for (recipient, times) in &told.accepted {
        assert!(peer.delivered.get(recipient) >= Some(times), "{recipient} never arrived");
    }
    if peer.fails == 0 {
        assert_eq!(told.accepted, peer.delivered);
    }
}

#[test]
fn whatever_the_peer_does_everyone_is_accounted_for() {
    for seed in 0..5_000 {
        let met = std::panic::catch_unwind(|| meet(seed));
        assert!(met.is_ok(), "seed {seed}");
    }
}

#[test]
fn no_bytes_make_the_machine_panic_or_hold_much() {
    const WORDS: &[&str] = &[
        "220 x\r\n",
        "250 x\r\n",
        "250-x\r\n",
        "250 PIPELINING\r\n",
        "250-CHUNKING\r\n",
        "354 x\r\n",
        "452 x\r\n",
        "550 x\r\n",
        "421 x\r\n",
        "\r\n",
        "9",
        "250 LIMITS RCPTMAX=1\r\n",
    ];
    for seed in 0..2_000 {
        let now = Monotonic(0);
        let mut prng = Prng::from_number(seed);
        let mut client = Client::new(options(true, true), now);
        let (mut given, mut back) = (0, Told::default());
        for _ in 0..60 {
            // Mostly what brings it on, so that it comes far.
            let reach = 1 + below(&mut prng, WORDS.len());
            let word = pick(&mut prng, &WORDS[..reach]);
            client.handle_bytes(word.as_bytes(), now);
            if client.is_ready() || client.may_begin_behind() {
                client.begin(transaction(envelope(RECIPIENTS), CONTENT), now);
                back.in_flight.push_back(vec![0, 1, 2, 3]);
                given += 4;
            }
            if let Some(offset) = client.wants_content() {
                client.push_content(&CONTENT[usize::try_from(offset).expect("small")..], now);
            }
            client.take_output(&mut Vec::new());
            while let Some(event) = client.poll_event() {
                back.note(event);
            }
        }
        client.handle_end(now);
        while let Some(event) = client.poll_event() {
            back.note(event);
        }
        assert!(back.is_closed, "seed {seed}");
        assert_eq!(back.count(), given, "seed {seed}");
    }
}
