//! How a sink misbehaves: rules in TOML, by listener, recipient domain and stage.
//!
//! In: the file's text. Out: one `Conduct` a listener, and for each stage of a session a decision.
//! Invariant: a rule that makes no sense is refused when the file is read, with its line.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hashbrown::HashMap;
use serde::Deserialize;

use super::extensions::{Extension, Extensions};
use super::returns::Return;
use crate::dice::Dice;
use crate::net::Addresses;
use crate::tls::Flaw;

/// Recipients that greylisting and `first` remember; those beyond count as known.
const MEMORY_MAX: usize = 2_000_000;

/// The reference of scripts, for `--help`.
pub(crate) const REFERENCE: &str = r#"Script (TOML; all conditions of a rule must hold):
  [[listener]]
  address = "127.0.1.1-20:25252"   # all listeners without it
  hide = ["CHUNKING", "DSN"]
  size = 1000000                   # octets of a message
  connections_max = 5              # more get 421
  read_rate = 1000                 # octets a second and connection
  certificate = "expired"          # or "wrong-name"; of those that are made

  [[rule]]
  stage = "rcpt"                   # greeting ehlo starttls mail rcpt data content end
  listener = "127.0.1.3:25252"
  domain = ".slow.example"         # or d0000003.example; of a recipient
  probability = 0.5
  greylist = "30s"                 # until so long after a recipient's first try
  first = 2                        # only its first tries
  after_messages = 20              # of the session
  after_bytes = 4096               # with stage = "content"
  delay = "2s-5s"
  reply = "451 4.7.1 Try again later"
  cut = "reset"                    # or "close", instead of a reply
  behind = "garbage"               # with stage = "starttls", behind 220: or "clear", a reply that
                                   # is not under TLS; "stall"; "close"; "reset"

  [[return]]                       # of what was taken, to --returns-to; one a message at most
  what = "complaint"               # or "bounce", to the reverse-path; or "unsubscribe", by the
                                   # message's own link (RFC 8058)
  domain = "d0000003.example"      # of the recipient; all without it
  probability = 0.01
  after = "1s-5s"
  to = "fbl@returns.example"       # of a complaint; or an address where links are answered"#;

/// Where in a session a rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    Greeting,
    Ehlo,
    Starttls,
    Mail,
    Rcpt,
    /// The command DATA, or the first BDAT.
    Data,
    /// While content comes in; only `cut` and `delay` make sense here.
    Content,
    /// After the content.
    End,
}

const STAGES: usize = 8;

/// How a connection ends without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cut {
    Close,
    /// By RST, so that the peer loses what it has not read.
    Reset,
}

/// What comes behind the reply to STARTTLS instead of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Behind {
    /// What is no TLS.
    Garbage,
    /// A reply in clear, as somebody on the way would put it there; then the handshake.
    Clear,
    /// Nothing, for as long as the client waits.
    Stall,
    Close,
    Reset,
}

/// A time or a range of times: `250ms`, `2s-5s`, `1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Span {
    least: Duration,
    most: Duration,
}

impl Span {
    /// At least.
    pub(crate) fn least(self) -> Duration {
        self.least
    }

    /// No time at all.
    pub(crate) fn none() -> Self {
        Self::of(Duration::ZERO)
    }

    /// Always so long.
    pub(super) fn of(time: Duration) -> Self {
        Self { least: time, most: time }
    }

    pub(super) fn draw(self, dice: &mut Dice) -> Duration {
        if self.least == self.most {
            return self.least;
        }
        self.least + (self.most - self.least).mul_f64(dice.fraction())
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (least, most) = text.split_once('-').unwrap_or((&text, &text));
        let (least, most) = (duration(least)?, duration(most)?);
        if least > most {
            return Err(format!("the range {text:?} runs backwards"));
        }
        Ok(Self { least, most })
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let wrong = || format!("{text:?} is not a time such as 250ms, 5s or 2m");
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err(wrong()),
    }
}

/// A reply as it goes over the wire, lines of the file joined by the hyphens of RFC 5321 §4.2.1.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ReplyText(pub(crate) Vec<u8>);

impl TryFrom<String> for ReplyText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a reply such as \"451 4.7.1 Try later\"");
        let (code, rest) = text.split_once(' ').ok_or_else(wrong)?;
        if code.len() != 3 || !matches!(code.parse::<u16>(), Ok(200..=599)) {
            return Err(wrong());
        }
        let lines: Vec<&str> = rest.lines().collect();
        let mut wire = Vec::new();
        for (place, line) in lines.iter().enumerate() {
            let joint = if place + 1 == lines.len() { " " } else { "-" };
            wire.extend_from_slice([code, joint, line, "\r\n"].concat().as_bytes());
        }
        Ok(Self(wire))
    }
}

/// The file as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    #[serde(default)]
    listener: Vec<ListenerPart>,
    #[serde(default)]
    rule: Vec<Rule>,
    /// What comes back of messages that were taken.
    #[serde(default, rename = "return")]
    pub(super) returns: Vec<Return>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListenerPart {
    /// Which listeners; all without it.
    address: Option<String>,
    #[serde(default)]
    hide: Vec<Extension>,
    /// Largest message, in octets.
    size: Option<u64>,
    /// Connections at a time; more get 421.
    connections_max: Option<u64>,
    /// Octets a second that are read from a connection.
    read_rate: Option<u32>,
    /// What is wrong with its certificate.
    certificate: Option<Flaw>,
}

/// One rule; every condition that it names must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    stage: Stage,
    listener: Option<String>,
    /// `d.example` exactly, or `.d.example` for what ends so.
    domain: Option<String>,
    probability: Option<f64>,
    /// Only until so long after the recipient's first try.
    greylist: Option<Span>,
    /// Only the first so many tries of a recipient.
    first: Option<u32>,
    /// Only once the session has taken so many messages.
    after_messages: Option<u32>,
    /// Only once so many octets of the content came in.
    after_bytes: Option<u64>,
    reply: Option<ReplyText>,
    delay: Option<Span>,
    cut: Option<Cut>,
    behind: Option<Behind>,
}

/// How one listener behaves.
#[derive(Clone, Debug)]
pub(crate) struct Conduct {
    pub(crate) offers: Extensions,
    pub(crate) size_max: u64,
    pub(crate) connections_max: u64,
    pub(crate) read_rate: Option<u32>,
    /// What is wrong with its certificate.
    pub(crate) flaw: Flaw,
    /// From now on no rule applies.
    pub(super) relented: Cell<bool>,
    rules: [Vec<Rule>; STAGES],
}

/// What a rule may ask about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstance<'a> {
    /// The recipient, empty at stages without one.
    pub(crate) recipient: &'a [u8],
    pub(crate) messages: u32,
    pub(crate) now: Instant,
}

/// What the rules say at a stage; empty for "as usual".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) delay: Duration,
    pub(crate) reply: Option<Vec<u8>>,
    pub(crate) cut: Option<Cut>,
    pub(crate) behind: Option<Behind>,
    /// Octets of content before it applies; for `Stage::Content`, which is asked at its start.
    pub(crate) after_bytes: u64,
}

/// Dice, and who has tried before.
#[derive(Debug)]
pub(crate) struct Memory {
    dice: Dice,
    tries: HashMap<Box<[u8]>, (Instant, u32)>,
}

impl Memory {
    pub(crate) fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), tries: HashMap::new() }
    }

    /// When a recipient first came to a rule, and how often it has come, this time included.
    fn note(
        &mut self,
        rule: usize,
        stage: Stage,
        recipient: &[u8],
        now: Instant,
    ) -> (Instant, u32) {
        let mut key = Vec::with_capacity(recipient.len() + 9);
        key.extend_from_slice(&rule.to_le_bytes());
        key.push(stage as u8);
        key.extend_from_slice(recipient);
        if self.tries.len() >= MEMORY_MAX && !self.tries.contains_key(&key[..]) {
            return (now - Duration::from_secs(1), u32::MAX);
        }
        let entry = self.tries.entry(key.into_boxed_slice()).or_insert((now, 0));
        entry.1 = entry.1.saturating_add(1);
        *entry
    }
}

impl Script {
    /// Reads a script.
    ///
    /// Errors: TOML, unknown keys, and rules without an effect, with their line or number.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let script: Self = toml::from_str(text).context("the script is not understood")?;
        for (place, rule) in script.rule.iter().enumerate() {
            rule.check().with_context(|| format!("rule {} of the script", place + 1))?;
        }
        for (place, rule) in script.returns.iter().enumerate() {
            rule.check().with_context(|| format!("return {} of the script", place + 1))?;
        }
        for address in script.listener.iter().filter_map(|part| part.address.as_ref()) {
            address.parse::<Addresses>()?;
        }
        Ok(script)
    }

    /// The conduct of the listener at `address`; `offers` is what the command line leaves on.
    pub(crate) fn conduct(&self, address: SocketAddr, offers: Extensions) -> Result<Conduct> {
        let mut conduct = Conduct {
            offers,
            size_max: 100_000_000,
            connections_max: u64::MAX,
            read_rate: None,
            flaw: Flaw::None,
            relented: Cell::new(false),
            rules: Default::default(),
        };
        for part in &self.listener {
            if !names(part.address.as_deref(), address)? {
                continue;
            }
            for extension in &part.hide {
                conduct.offers.hide(*extension);
            }
            conduct.size_max = part.size.unwrap_or(conduct.size_max);
            conduct.connections_max = part.connections_max.unwrap_or(conduct.connections_max);
            conduct.read_rate = part.read_rate.or(conduct.read_rate);
            conduct.flaw = part.certificate.unwrap_or(conduct.flaw);
        }
        for rule in &self.rule {
            if names(rule.listener.as_deref(), address)? {
                conduct.rules[rule.stage as usize].push(rule.clone());
            }
        }
        Ok(conduct)
    }
}

/// Whether a part of the script that names `written` is about the listener at `address`.
fn names(written: Option<&str>, address: SocketAddr) -> Result<bool> {
    let Some(written) = written else {
        return Ok(true);
    };
    let Addresses(all) = written.parse()?;
    Ok(all.contains(&address))
}

impl Rule {
    fn check(&self) -> Result<()> {
        let ends = self.reply.is_some() || self.cut.is_some();
        if !ends && self.delay.is_none() && self.behind.is_none() {
            bail!("it has no effect: it needs reply, delay, cut or behind");
        }
        if self.behind.is_some() && (ends || self.stage != Stage::Starttls) {
            bail!("behind belongs to stage = \"starttls\", and to its usual reply");
        }
        if self.reply.is_some() && self.cut.is_some() {
            bail!("a connection that is cut gives no reply");
        }
        if self.stage == Stage::Content && self.reply.is_some() {
            bail!("no reply may come while content is coming; use stage = \"end\"");
        }
        if self.after_bytes.is_some() && self.stage != Stage::Content {
            bail!("after_bytes belongs to stage = \"content\"");
        }
        if self.probability.is_some_and(|chance| !(0.0..=1.0).contains(&chance)) {
            bail!("a probability is between 0 and 1");
        }
        if let Some(listener) = &self.listener {
            listener.parse::<Addresses>()?;
        }
        Ok(())
    }

    fn is_about(&self, circumstance: &Circumstance<'_>) -> bool {
        let Some(pattern) = &self.domain else {
            return true;
        };
        let recipient = circumstance.recipient;
        let at = memchr::memrchr(b'@', recipient).map_or(0, |at| at + 1);
        let domain = &recipient[at..];
        match pattern.strip_prefix('.') {
            Some(_) => {
                domain.len() >= pattern.len() && {
                    let tail = &domain[domain.len() - pattern.len()..];
                    tail.eq_ignore_ascii_case(pattern.as_bytes())
                }
            }
            None => domain.eq_ignore_ascii_case(pattern.as_bytes()),
        }
    }

    fn fires(&self, place: usize, about: &Circumstance<'_>, memory: &mut Memory) -> bool {
        if !self.is_about(about)
            || self.after_messages.is_some_and(|count| about.messages < count)
            || self.probability.is_some_and(|chance| memory.dice.fraction() >= chance)
        {
            return false;
        }
        if self.greylist.is_none() && self.first.is_none() {
            return true;
        }
        let (since, tries) = memory.note(place, self.stage, about.recipient, about.now);
        let waited = about.now.saturating_duration_since(since);
        self.greylist.is_none_or(|span| waited < span.least)
            && self.first.is_none_or(|count| tries <= count)
    }
}

impl Conduct {
    /// Whether any rule is about `stage`: without one there is nothing to ask.
    pub(crate) fn has_rules(&self, stage: Stage) -> bool {
        !self.relented.get() && !self.rules[stage as usize].is_empty()
    }

    /// What the rules say: delays add up, and the first reply or cut that fires ends the search.
    pub(crate) fn decide(
        &self,
        stage: Stage,
        about: &Circumstance<'_>,
        memory: &mut Memory,
    ) -> Decision {
        let mut decision = Decision::default();
        for (place, rule) in self.rules[stage as usize].iter().enumerate() {
            if !rule.fires(place, about, memory) {
                continue;
            }
            decision.after_bytes = decision.after_bytes.max(rule.after_bytes.unwrap_or(0));
            if let Some(span) = rule.delay {
                decision.delay += span.draw(&mut memory.dice);
            }
            if rule.reply.is_some() || rule.cut.is_some() || rule.behind.is_some() {
                decision.reply = rule.reply.as_ref().map(|ReplyText(wire)| wire.clone());
                (decision.cut, decision.behind) = (rule.cut, rule.behind);
                break;
            }
        }
        decision
    }
}
