//! Be a next hop: an SMTP server that behaves by script and dice.
//!
//! What it takes is written into the ledger, before it says so: a reply that is lost is a message
//! that may come again.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::agenda::{Agenda, MS, SECOND};
use crate::ledger::Ledger;

/// How a connection attempt to a host ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Up,
    /// ECONNREFUSED.
    Refuses,
    /// EHOSTUNREACH.
    Unreachable,
    /// Packets vanish.
    Silent,
}

/// How often in a thousand a host does what it should not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moods {
    pub(crate) greet_421: u64,
    pub(crate) greet_silence: u64,
    pub(crate) mail_421: u64,
    pub(crate) mail_451: u64,
    pub(crate) rcpt_450: u64,
    pub(crate) rcpt_550: u64,
    pub(crate) data_451: u64,
    pub(crate) end_451: u64,
    pub(crate) end_554: u64,
    /// Breaks the connection amid a transaction.
    pub(crate) cut: u64,
    /// Takes the message and breaks the connection before it says so.
    pub(crate) take_and_cut: u64,
    /// Takes the message and never says so.
    pub(crate) take_and_hang: u64,
    /// Takes half a minute over a reply.
    pub(crate) slow: u64,
    /// Ends the connection after a message, as it may.
    pub(crate) leave: u64,
}

/// A next hop.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    pub(crate) pipelining: bool,
    pub(crate) chunking: bool,
    pub(crate) dsn: bool,
    pub(crate) moods: Moods,
    /// The moods are over then.
    pub(crate) calm_at: u64,
    /// Spans in which it is not up; the first that matches counts.
    pub(crate) outages: Vec<(u64, u64, Reach)>,
    /// Recipients are put off until so long after it first saw them.
    pub(crate) greylists_for: u64,
    /// It puts off more recipients than these in one second.
    pub(crate) recipients_a_second: Option<usize>,
    /// Those of the present second.
    pub(crate) this_second: (u64, usize),
    /// When it put one off for that.
    pub(crate) limited: Vec<u64>,
    /// When it first saw a recipient.
    seen: BTreeMap<String, u64>,
    /// When it was tried.
    pub(crate) attempts: Vec<u64>,
    /// When a transaction began, and by what name the relay had greeted it.
    pub(crate) transactions: Vec<(u64, String)>,
}

impl Host {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            pipelining: true,
            chunking: true,
            dsn: false,
            moods: Moods::default(),
            calm_at: 0,
            outages: Vec::new(),
            greylists_for: 0,
            recipients_a_second: None,
            this_second: (0, 0),
            limited: Vec::new(),
            seen: BTreeMap::new(),
            attempts: Vec::new(),
            transactions: Vec::new(),
        }
    }

    pub(crate) fn reach(&self, now: u64) -> Reach {
        let outage = self.outages.iter().find(|(from, to, _)| (*from..*to).contains(&now));
        outage.map_or(Reach::Up, |(_, _, reach)| *reach)
    }

    /// Whether another recipient now is too much.
    fn is_too_much(&mut self, now: u64) -> bool {
        let Some(most) = self.recipients_a_second else { return false };
        let second = now / SECOND;
        let before = if self.this_second.0 == second { self.this_second.1 } else { 0 };
        self.this_second = (second, before + 1);
        if before >= most {
            self.limited.push(now);
        }
        before >= most
    }

    fn moods(&self, now: u64) -> Moods {
        if now < self.calm_at { self.moods } else { Moods::default() }
    }
}

/// What a party does next on its connection.
#[derive(Debug)]
pub(crate) enum Act {
    Say {
        text: Vec<u8>,
        after: u64,
    },
    /// What was said last tells of these deliveries.
    Receipt(std::ops::Range<usize>),
    /// Say nothing more, and let go.
    Close,
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Commands,
    Data,
    /// Octets of the chunk to come, whether it is the last, and whether to keep it.
    Chunk(usize, bool, bool),
    /// Hears nothing.
    Deaf,
    Over,
}

/// A connection to a host.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) host: usize,
    stage: Stage,
    input: Vec<u8>,
    hello: String,
    reverse_path: Option<String>,
    to: Vec<String>,
    /// Those of the transaction that were refused for good.
    content: Vec<u8>,
    pub(crate) acts: VecDeque<Act>,
}

/// What a session works with.
pub(crate) struct Desk<'a> {
    pub(crate) host: &'a mut Host,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) agenda: &'a mut Agenda,
}

impl Session {
    pub(crate) fn new(host: usize) -> Self {
        Self {
            host,
            stage: Stage::Commands,
            input: Vec::new(),
            hello: String::new(),
            reverse_path: None,
            to: Vec::new(),
            content: Vec::new(),
            acts: VecDeque::new(),
        }
    }

    /// The connection is there.
    pub(crate) fn greet(&mut self, desk: &mut Desk<'_>) {
        let moods = desk.host.moods(desk.agenda.now);
        if desk.agenda.chance(moods.greet_silence) {
            self.stage = Stage::Deaf;
        } else if desk.agenda.chance(moods.greet_421) {
            self.say("421 4.3.2 Too busy", desk);
            self.close();
        } else {
            self.say("220 peer.example ESMTP", desk);
        }
    }

    /// The relay sent this.
    pub(crate) fn hear(&mut self, bytes: &[u8], desk: &mut Desk<'_>) {
        self.input.extend_from_slice(bytes);
        while self.step(desk) {}
    }

    /// Whether a message is under way in it.
    pub(crate) fn is_busy(&self) -> bool {
        self.under_way().is_some()
    }

    /// The reverse-path of the message that is under way in it.
    pub(crate) fn under_way(&self) -> Option<&str> {
        self.reverse_path.as_deref().filter(|_| self.stage != Stage::Over)
    }

    /// Nothing of what the relay sends arrives any more.
    pub(crate) fn deafen(&mut self) {
        self.stage = Stage::Deaf;
    }

    /// The relay will send nothing more.
    pub(crate) fn end(&mut self) {
        self.close();
    }

    /// Take in one command, line or chunk; whether there was one.
    fn step(&mut self, desk: &mut Desk<'_>) -> bool {
        match self.stage {
            Stage::Deaf | Stage::Over => {
                self.input.clear();
                false
            }
            Stage::Commands => {
                let Some(at) = memchr::memmem::find(&self.input, b"\r\n") else { return false };
                let line: Vec<u8> = self.input.drain(..at + 2).collect();
                self.command(String::from_utf8_lossy(&line[..at]).trim_end(), desk);
                true
            }
            Stage::Data => {
                let end = if self.input.starts_with(b".\r\n") {
                    Some(0)
                } else {
                    memchr::memmem::find(&self.input, b"\r\n.\r\n").map(|at| at + 2)
                };
                let Some(end) = end else { return false };
                let data: Vec<u8> = self.input.drain(..end + 3).collect();
                self.content = unstuffed(&data[..end]);
                self.take(desk);
                true
            }
            Stage::Chunk(octets, last, keep) => {
                let now = octets.min(self.input.len());
                let taken = self.input.drain(..now);
                if keep {
                    self.content.extend(taken);
                } else {
                    drop(taken);
                }
                self.stage = Stage::Chunk(octets - now, last, keep);
                if now < octets {
                    return false;
                }
                self.stage = Stage::Commands;
                match (keep, last) {
                    (true, true) => self.take(desk),
                    (true, false) => self.say("250 2.0.0 Ok", desk),
                    (false, _) => self.say("503 5.5.1 No recipients", desk),
                }
                true
            }
        }
    }

    fn command(&mut self, line: &str, desk: &mut Desk<'_>) {
        let moods = desk.host.moods(desk.agenda.now);
        if desk.agenda.chance(moods.cut) {
            return self.reset();
        }
        let upper = line.to_ascii_uppercase();
        match upper.split([' ', ':']).next().unwrap_or("") {
            "EHLO" => {
                self.hello = line["EHLO ".len()..].to_owned();
                let text = ehlo(desk.host);
                self.say(&text, desk);
            }
            "MAIL" if desk.agenda.chance(moods.mail_421) => {
                self.say("421 4.3.2 Going down", desk);
                self.close();
            }
            "MAIL" if desk.agenda.chance(moods.mail_451) => self.say("451 4.3.0 Not now", desk),
            "MAIL" => {
                assert_eq!(self.reverse_path, None, "a transaction within another: {line}");
                self.reverse_path = Some(path(line));
                desk.host.transactions.push((desk.agenda.now, self.hello.clone()));
                self.to.clear();
                self.content.clear();
                self.say("250 2.1.0 Ok", desk);
            }
            "RCPT" => self.recipient(path(line), moods, desk),
            "DATA" if self.to.is_empty() => self.say("503 5.5.1 No recipients", desk),
            "DATA" if desk.agenda.chance(moods.data_451) => self.say("451 4.3.0 Not now", desk),
            "DATA" => {
                self.stage = Stage::Data;
                self.say("354 Go on", desk);
            }
            "BDAT" => {
                let mut words = upper.split(' ').skip(1);
                let octets = words.next().and_then(|word| word.parse().ok()).expect("a size");
                let last = words.next() == Some("LAST");
                self.stage = Stage::Chunk(octets, last, !self.to.is_empty());
            }
            "RSET" => {
                self.reverse_path = None;
                self.to.clear();
                self.say("250 2.0.0 Ok", desk);
            }
            "QUIT" => {
                self.say("221 2.0.0 Bye", desk);
                self.close();
            }
            _ => panic!("the relay said {line:?}"),
        }
    }

    fn recipient(&mut self, address: String, moods: Moods, desk: &mut Desk<'_>) {
        if self.reverse_path.is_none() {
            return self.say("503 5.5.1 MAIL first", desk);
        }
        let now = desk.agenda.now;
        if address.starts_with("nobody") || desk.agenda.chance(moods.rcpt_550) {
            desk.ledger.refusals.insert((number_of(&address), address));
            return self.say("550 5.1.1 No such user", desk);
        }
        let first = *desk.host.seen.entry(address.clone()).or_insert(now);
        if address.starts_with("bye") && now == first {
            self.say("421 4.3.2 Going down", desk);
            return self.close();
        }
        if now < first + desk.host.greylists_for {
            return self.say("450 4.7.1 Greylisted", desk);
        }
        if desk.host.is_too_much(now) {
            return self.say("451 4.7.1 Rate limit exceeded, too many messages", desk);
        }
        if address.starts_with("full") || desk.agenda.chance(moods.rcpt_450) {
            return self.say("450 4.2.2 Not now", desk);
        }
        self.to.push(address);
        self.say("250 2.1.5 Ok", desk);
    }

    /// The content is here.
    fn take(&mut self, desk: &mut Desk<'_>) {
        self.stage = Stage::Commands;
        let moods = desk.host.moods(desk.agenda.now);
        let reverse_path = self.reverse_path.take().expect("a transaction");
        let to = std::mem::take(&mut self.to);
        let content = std::mem::take(&mut self.content);
        if desk.agenda.chance(moods.end_451) {
            return self.say("451 4.3.0 Not now", desk);
        }
        if desk.agenda.chance(moods.end_554) {
            desk.ledger.refusals.extend(to.iter().map(|one| (number_of(one), one.clone())));
            return self.say("554 5.7.1 Not here", desk);
        }
        let here = (self.host, desk.agenda.now);
        let deliveries = desk.ledger.delivered(&reverse_path, &to, &content, here);
        if desk.agenda.chance(moods.take_and_cut) {
            return self.reset();
        }
        if desk.agenda.chance(moods.take_and_hang) {
            self.stage = Stage::Deaf;
            return;
        }
        self.say("250 2.0.0 Taken", desk);
        self.acts.push_back(Act::Receipt(deliveries));
        if desk.agenda.chance(moods.leave) {
            self.close();
        }
    }

    fn say(&mut self, text: &str, desk: &mut Desk<'_>) {
        let slow = desk.host.moods(desk.agenda.now).slow;
        let after = if desk.agenda.chance(slow) { 30 * SECOND } else { desk.agenda.between(0, MS) };
        self.acts.push_back(Act::Say { text: format!("{text}\r\n").into_bytes(), after });
    }

    fn close(&mut self) {
        if self.stage != Stage::Over {
            self.stage = Stage::Over;
            self.acts.push_back(Act::Close);
        }
    }

    fn reset(&mut self) {
        self.stage = Stage::Over;
        self.acts.push_back(Act::Reset);
    }
}

fn ehlo(host: &Host) -> String {
    let mut text = "250-peer.example".to_owned();
    let offers = [(host.pipelining, "PIPELINING"), (host.chunking, "CHUNKING"), (host.dsn, "DSN")];
    for (_, name) in offers.iter().filter(|(offered, _)| *offered) {
        text += &format!("\r\n250-{name}");
    }
    text + "\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES"
}

/// What stands in the brackets.
fn path(line: &str) -> String {
    let inside = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inside.expect("a path in brackets").0.to_owned()
}

/// The number of the mail that a recipient belongs to: `kind.NUMBER.place@domain`.
fn number_of(address: &str) -> u64 {
    address.split('.').nth(1).and_then(|number| number.parse().ok()).unwrap_or(u64::MAX)
}

/// RFC 5321 §4.5.2.
fn unstuffed(data: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(data.len());
    let mut at_line = true;
    for (place, byte) in data.iter().enumerate() {
        if !(at_line && *byte == b'.') {
            content.push(*byte);
        }
        at_line = *byte == b'\n' && place > 0 && data[place - 1] == b'\r';
    }
    content
}
