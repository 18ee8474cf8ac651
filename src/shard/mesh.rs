//! What crosses from shard to shard, and from the control thread to a shard.
//!
//! A home hands a [`Dispatch`] to a domain's owner against a credit; the owner answers every
//! dispatch with exactly one [`Report`], which returns the credit. So at most
//! `DISPATCH_CREDITS_MAX` dispatches and as many reports lie between two shards, and neither ever
//! waits for the other.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::ShardId;
use crate::base::limits::DISPATCH_CREDITS_MAX;
use crate::base::time::{Monotonic, WallTime};
use crate::egress::diversions::Orders;
use crate::mail::address::Domain;
use crate::mail::outcome::Reason;
use crate::mail::status::Reply;
use crate::outcome::dsn::PassedOn;
use crate::queue::{Departure, DomainId, Pause};
use crate::shard::commands::{Answer, Command};
use crate::shard::settings::Settings;
use crate::spool::stored::Stored;

/// One thing handed from thread to thread. Matched without a wildcard everywhere.
#[derive(Debug)]
pub enum Crossing {
    /// From a home to an owner: deliver this.
    Dispatch(Box<Dispatch>),
    /// From an owner to a home: what became of it.
    Report(Box<Report>),
    /// From an owner to a home: there is room again for a domain that was given back.
    Resume {
        /// The home's own name for the domain.
        domain: DomainId,
        /// For about so many dispatches.
        room: u32,
    },
    /// From the control thread: an operator asks or orders.
    Request(Request),
    /// From the control thread: work by this configuration from now on.
    Reload(Arc<Settings>),
    /// This is paused from now on, and nothing else.
    Pauses(Arc<BTreeSet<Pause>>),
    /// From the control thread: what holds sites up may be another than before.
    Stir,
    /// These go other ways from now on, and nothing else.
    Diverted(Arc<Orders>),
    /// From the control thread: stop accepting, finish what is in flight, then leave.
    Drain,
}

/// Recipients of one message at one destination domain, to be delivered by the domain's owner.
#[derive(Debug)]
pub struct Dispatch {
    /// Where the report goes.
    pub home: ShardId,
    /// The message's and the domain's place in its home's queue, and the recipients by their
    /// places in the envelope.
    pub departure: Departure,
    /// The message itself.
    pub stored: Arc<Stored>,
    /// Where all the recipients are.
    pub domain: Domain,
    /// When the home handed it over: stage delays count from here.
    pub departed: Monotonic,
}

/// What became of a dispatch.
#[derive(Debug)]
pub struct Report {
    /// Who delivered, or tried to.
    pub owner: ShardId,
    /// That of the dispatch.
    pub departure: Departure,
    /// The message itself, handed back.
    pub stored: Arc<Stored>,
    /// What the attempt came to.
    pub result: Result<Attempted, GivenBack>,
}

/// An attempt was made, or judged before a connection was needed.
#[derive(Debug)]
pub struct Attempted {
    /// Every recipient of the dispatch, once.
    pub recipients: Vec<(u16, Settlement)>,
    /// The next hop, as `mx1.example.net[192.0.2.1]:25`; empty where none was reached.
    pub peer: Box<str>,
    /// The site's name: an upstream relay, or the first MX host.
    pub site: Box<str>,
    /// The upstream relay's name, where one was used.
    pub upstream: Option<Box<str>>,
    /// The egress source that it left from, if it came to a connection.
    pub source: Option<Arc<str>>,
    /// The provider that the site belongs to, where rules say so.
    pub provider: Option<Arc<str>>,
    /// The TLS that it went through, or why there was none where it is used if it comes about.
    pub tls: Option<Arc<str>>,
    /// The delivery's own part of the four stage delays.
    pub delays: Delays,
}

/// Stage delays on the owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// From the dispatch to the moment a connection took it, less `connect`.
    pub queue: Duration,
    /// Connect, greeting and EHLO, where the connection was made for it.
    pub connect: Duration,
    /// The transaction itself.
    pub transmit: Duration,
}

/// What an attempt came to for one recipient.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// The next hop took it.
    Delivered {
        /// Its words.
        reply: Reply,
        /// Which duties it takes over.
        passed_on: PassedOn,
    },
    /// To be tried again.
    Deferred(Reason),
    /// Not to be tried again.
    Bounced(Reason),
}

/// The site has no room now, or none of it answers. Attempts do not count up.
#[derive(Debug)]
pub struct GivenBack {
    /// The limit that binds, or the site's last failure, for `queue show`.
    pub why: Box<str>,
    /// When to come back, if no [`Crossing::Resume`] comes before.
    pub until: WallTime,
    /// The site takes mail of others: only its sender's is to wait, at this domain.
    pub of_sender: bool,
    /// It was with this dispatch that the site was tried: what the attempt came to.
    pub tried: Option<Attempted>,
}

/// A command of the control thread, and whom to answer: exactly once.
pub struct Request {
    /// What is asked.
    pub command: Command,
    reply: Box<dyn FnOnce(Answer) + Send>,
}

impl Request {
    /// A request whose answer goes to `reply`, on the shard's thread: it must not wait.
    pub fn new(command: Command, reply: impl FnOnce(Answer) + Send + 'static) -> Self {
        Self { command, reply: Box::new(reply) }
    }

    /// Answer it.
    pub(crate) fn answer(self, answer: Answer) {
        (self.reply)(answer);
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Request").field(&self.command).finish()
    }
}

/// A home's credits with each owner.
#[derive(Debug)]
pub(crate) struct Credits(Vec<usize>);

impl Credits {
    /// All credits with each of `shards` owners.
    pub(crate) fn new(shards: usize) -> Self {
        Self(vec![DISPATCH_CREDITS_MAX; shards])
    }

    /// Take a credit for one dispatch; `false` when all are outstanding.
    #[must_use]
    pub(crate) fn take(&mut self, owner: ShardId) -> bool {
        let left = &mut self.0[owner.index()];
        if *left == 0 {
            return false;
        }
        *left -= 1;
        true
    }

    /// A report came.
    pub(crate) fn give_back(&mut self, owner: ShardId) {
        let left = &mut self.0[owner.index()];
        assert!(*left < DISPATCH_CREDITS_MAX, "a report without a dispatch from {owner}");
        *left += 1;
    }

    /// Dispatches without a report, over all owners.
    pub(crate) fn outstanding(&self) -> usize {
        self.0.iter().map(|left| DISPATCH_CREDITS_MAX - left).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_dispatches_than_credits_are_outstanding() {
        let mut credits = Credits::new(2);
        let owner = ShardId(1);
        assert!((0..DISPATCH_CREDITS_MAX).all(|_| credits.take(owner)));
        assert!(!credits.take(owner));
        assert!(credits.take(ShardId(0)));
        credits.give_back(owner);
        assert!(credits.take(owner));
        assert_eq!(credits.outstanding(), DISPATCH_CREDITS_MAX + 1);
    }

    #[test]
    #[should_panic(expected = "a report without a dispatch")]
    fn a_report_too_many_is_a_bug() {
        Credits::new(1).give_back(ShardId(0));
    }
}
