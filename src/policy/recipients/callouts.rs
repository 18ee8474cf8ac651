//! Remember what the servers behind said of recipients, and whom they are to be asked about.
//!
//! In: recipients that clients name; what was found of those that were asked about; time. Out: what
//! is known of a recipient, or that its client waits; whom to ask about; for each who waited, what
//! came of it. Invariant: a recipient is asked about once at a time, however many wait for it; who
//! waits is told within `CALLOUT_PATIENCE`; those whom nobody knows push no known one out of
//! memory. Lives on: the shard whose clients wait; each shard asks for itself.
//!
//! ```text
//!  look_up ─► known ──a day──► known, and asked about again ──no answer for a week──► forgotten
//!     │  ├──► unknown ──an hour──► forgotten
//!     │  ├──► unsure ──a minute──► forgotten
//!     └──► waits ─► to_ask ─► asked ──answered──► known, unknown, unsure
//!                                └──too late: unsure, and the answer counts when it comes
//! ```

use std::collections::VecDeque;
use std::fmt::Write as _;

use hashbrown::HashSet;
use lru::LruCache;

use crate::base::limits::{
    CALLOUT_FRESH_FOR, CALLOUT_KNOWN_FOR, CALLOUT_KNOWN_MAX, CALLOUT_PATIENCE, CALLOUT_UNKNOWN_FOR,
    CALLOUT_UNKNOWN_MAX, CALLOUT_UNSURE_FOR, CALLOUT_UNSURE_MAX, CALLOUT_WORDS_MAX, CALLOUTS_MAX,
};
use crate::base::time::Monotonic;
use crate::mail::address::Mailbox;
use crate::mail::status::{EnhancedStatus, Reply};
use crate::policy::reply;

/// What the server behind says of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It takes mail for it.
    Known,
    /// It does not, and never will: what a client is told.
    Unknown(Reply),
    /// Nothing.
    Unsure,
}

/// What is said of a recipient at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This is known of it.
    Found(Finding),
    /// It is being found out; `poll_found` tells.
    Waits,
    /// Too many are being asked about.
    Busy,
}

/// What is known of recipients, and what is being found out for the waiters `W`.
#[derive(Debug)]
pub struct Callouts<W> {
    known: LruCache<Box<str>, Known>,
    unknown: LruCache<Box<str>, (Reply, Monotonic)>,
    unsure: LruCache<Box<str>, Monotonic>,
    /// In the order in which it began; never looked up so that this would change.
    asked: LruCache<Box<str>, Ask<W>>,
    /// Asked about still, though nobody waits any more.
    late: HashSet<Box<str>>,
    to_ask: VecDeque<Mailbox>,
    found: VecDeque<(W, Finding)>,
    /// Room for what a recipient is compared by.
    compared: String,
}

/// Until when a recipient is taken unasked, and at all.
#[derive(Clone, Copy, Debug)]
struct Known {
    fresh_until: Monotonic,
    until: Monotonic,
}

#[derive(Debug)]
struct Ask<W> {
    recipient: Mailbox,
    due: Monotonic,
    waiters: Vec<W>,
}

impl<W> Default for Callouts<W> {
    fn default() -> Self {
        Self {
            known: LruCache::unbounded(),
            unknown: LruCache::unbounded(),
            unsure: LruCache::unbounded(),
            asked: LruCache::unbounded(),
            late: HashSet::new(),
            to_ask: VecDeque::new(),
            found: VecDeque::new(),
            compared: String::new(),
        }
    }
}

impl<W> Callouts<W> {
    /// What is known of `recipient`; where it has to be found out, `waiter` waits for it.
    pub fn look_up(&mut self, recipient: &Mailbox, waiter: W, now: Monotonic) -> Standing {
        self.compare(recipient);
        if let Some(Known { fresh_until, .. }) =
            self.known.get(&*self.compared).copied().filter(|known| now < known.until)
        {
            if fresh_until <= now && !self.is_asked() && self.has_room() {
                self.begin(recipient, Vec::new(), now);
            }
            return Standing::Found(Finding::Known);
        }
        if let Some((reply, _)) =
            self.unknown.get(&*self.compared).filter(|(_, until)| now < *until)
        {
            return Standing::Found(Finding::Unknown(reply.clone()));
        }
        if self.unsure.get(&*self.compared).is_some_and(|until| now < *until) {
            return Standing::Found(Finding::Unsure);
        }
        // Its time was over long ago, and nobody has said yet why.
        if self.late.contains(&*self.compared) {
            return Standing::Found(Finding::Unsure);
        }
        if let Some(ask) = self.asked.peek_mut(&*self.compared) {
            ask.waiters.push(waiter);
        } else if self.has_room() {
            self.begin(recipient, vec![waiter], now);
        } else {
            return Standing::Busy;
        }
        Standing::Waits
    }

    /// The next recipient to ask about: `answered` is to follow, whatever comes of it.
    pub fn poll_ask(&mut self) -> Option<Mailbox> {
        self.to_ask.pop_front()
    }

    /// Whether an answer about `recipient` would be in time still.
    pub fn is_wanted(&mut self, recipient: &Mailbox) -> bool {
        self.compare(recipient);
        self.asked.contains(&*self.compared)
    }

    /// A recipient was asked about, and this was found. It counts, however late.
    pub fn answered(&mut self, recipient: &Mailbox, finding: Finding, now: Monotonic) {
        self.compare(recipient);
        self.late.remove(&*self.compared);
        let waiters = self.asked.pop(&*self.compared).map(|ask| ask.waiters);
        self.remember(&finding, now);
        self.tell(waiters.unwrap_or_default(), &finding);
    }

    /// What was found for the next who waited.
    pub fn poll_found(&mut self) -> Option<(W, Finding)> {
        self.found.pop_front()
    }

    /// When `handle_deadline` is to be called.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.asked.peek_lru().map(|(_, ask)| ask.due)
    }

    /// Let nobody wait for longer than they are to.
    pub fn handle_deadline(&mut self, now: Monotonic) {
        while self.deadline().is_some_and(|due| due <= now) {
            let Some((compared, ask)) = self.asked.pop_lru() else { return };
            self.compared.clear();
            self.compared.push_str(&compared);
            self.late.insert(compared);
            self.remember(&Finding::Unsure, now);
            self.tell(ask.waiters, &Finding::Unsure);
        }
    }

    /// Other servers may be behind now: ask anew about all that are being asked about, and forget
    /// who is not known. Who is known stays so until it is asked about again.
    pub fn restart(&mut self) {
        self.unknown.clear();
        self.unsure.clear();
        self.late.clear();
        self.to_ask = self.asked.iter().rev().map(|(_, ask)| ask.recipient.clone()).collect();
    }

    /// Whether somebody is to be asked about, or told, at once.
    pub fn is_busy(&self) -> bool {
        !self.to_ask.is_empty() || !self.found.is_empty()
    }

    /// Recipients that are remembered.
    pub fn remembered(&self) -> usize {
        self.known.len() + self.unknown.len() + self.unsure.len()
    }

    /// The domain as routing compares it; the local part as it is: the server behind may tell cases
    /// apart (RFC 5321 §2.4).
    fn compare(&mut self, recipient: &Mailbox) {
        self.compared.clear();
        let (local, domain) = (recipient.local_part(), recipient.domain());
        write!(self.compared, "{local}@{domain}").expect("a String takes all");
    }

    fn is_asked(&self) -> bool {
        self.asked.contains(&*self.compared) || self.late.contains(&*self.compared)
    }

    fn has_room(&self) -> bool {
        self.asked.len() + self.late.len() < CALLOUTS_MAX
    }

    fn begin(&mut self, recipient: &Mailbox, waiters: Vec<W>, now: Monotonic) {
        let due = now + CALLOUT_PATIENCE;
        let ask = Ask { recipient: recipient.clone(), due, waiters };
        self.asked.put(self.compared.as_str().into(), ask);
        self.to_ask.push_back(recipient.clone());
    }

    /// Keep what was found of the recipient that is being compared.
    fn remember(&mut self, finding: &Finding, now: Monotonic) {
        let key = || Box::<str>::from(self.compared.as_str());
        match finding {
            Finding::Known => {
                self.unknown.pop(&*self.compared);
                self.unsure.pop(&*self.compared);
                let (fresh_until, until) = (now + CALLOUT_FRESH_FOR, now + CALLOUT_KNOWN_FOR);
                self.known.put(key(), Known { fresh_until, until });
                shrink(&mut self.known, CALLOUT_KNOWN_MAX);
            }
            Finding::Unknown(reply) => {
                self.known.pop(&*self.compared);
                self.unsure.pop(&*self.compared);
                self.unknown.put(key(), (reply.clone(), now + CALLOUT_UNKNOWN_FOR));
                shrink(&mut self.unknown, CALLOUT_UNKNOWN_MAX);
            }
            Finding::Unsure => {
                let until = now + CALLOUT_UNSURE_FOR;
                match self.known.peek_mut(&*self.compared).filter(|known| now < known.until) {
                    Some(known) => known.fresh_until = known.fresh_until.max(until),
                    None => {
                        self.unsure.put(key(), until);
                        shrink(&mut self.unsure, CALLOUT_UNSURE_MAX);
                    }
                }
            }
        }
    }

    fn tell(&mut self, waiters: Vec<W>, finding: &Finding) {
        self.found.extend(waiters.into_iter().map(|waiter| (waiter, finding.clone())));
    }
}

fn shrink<V>(table: &mut LruCache<Box<str>, V>, most: usize) {
    if table.len() > most {
        table.pop_lru();
    }
}

/// What a client is told of a recipient that the server behind refuses with `status`, in its own
/// words if it has any: in one line, cut, and of printable characters alone.
pub fn refused(status: EnhancedStatus, words: &str) -> Reply {
    match shown(words).trim() {
        "" => refusal(status, "No such recipient at the server behind"),
        words => refusal(status, &format!("The server behind says: {words}")),
    }
}

/// What a client is told of a recipient for whom the server behind could take nothing, for what it
/// lacks: `does not offer SMTPUTF8`.
pub fn unfit(status: EnhancedStatus, lack: &str) -> Reply {
    refusal(status, &format!("The server behind {}", shown(lack)))
}

fn shown(words: &str) -> String {
    let one_line = words.chars().map(|c| if matches!(c, ' '..='~') { c } else { ' ' });
    one_line.take(CALLOUT_WORDS_MAX).collect()
}

fn refusal(status: EnhancedStatus, text: &str) -> Reply {
    let status = if status.class == 5 { status } else { EnhancedStatus::new(5, 1, 1) };
    let EnhancedStatus { class, subject, detail } = status;
    reply(550, (class, subject, detail), text)
}

//= RFC 3463 §3.2
//# X.1.1 Bad destination mailbox address
/// What a client is told of a recipient of whom nothing is known, where that is not enough.
pub fn deferred() -> Reply {
    reply(451, (4, 1, 1), "This recipient cannot be verified now, try again later")
}

//= RFC 3463 §3.4
//# X.3.2 System not accepting network messages
/// What a client is told where too many are being asked about.
pub fn busy() -> Reply {
    reply(451, (4, 3, 2), "Too many recipients are being verified, try again later")
}

#[cfg(test)]
mod tests;
