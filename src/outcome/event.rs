//! One line of JSON for each thing that happens to a recipient.
//!
//! In: what the shard knows. Out: a line, ended by LF, in the event log; and back, for reports.
//! Unit: times are RFC 3339 in UTC, delays are seconds with three decimals.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::ids::{MessageId, ShardId};
use crate::base::time::WallTime;
use crate::mail::durability::Durability;
use crate::mail::outcome::Stage;
use crate::mail::status::EnhancedStatus;
use crate::mail::verified::Verified;
pub use crate::mail::visit::By;

pub mod cursor;
pub mod filter;
pub mod follow;
mod form;
mod returned;
pub mod sequence;

pub use returned::Returned;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// We took responsibility: the message is on stable storage.
    Received,
    /// The next hop took responsibility.
    Delivered,
    /// An attempt failed; there will be another.
    Deferred,
    /// Given up for what a peer or DNS said.
    Bounced,
    /// Given up for its age.
    Expired,
    /// Taken out of the queue by an operator.
    Removed,
    /// Kept back by an operator, or by a milter since it came in.
    Held,
    /// Let go by an operator.
    Released,
    /// A milter wants the message held: `received` and `held` follow.
    Quarantined,
    /// A milter, or its failure, had the message refused at the end of its content; it was never
    /// ours.
    Refused,
    /// A milter had the message thrown away, though its client was told that it was taken.
    Discarded,
    /// It was looked into whom a stranger's message is from: once a message, with its first
    /// recipient.
    Verified,
    /// A message of ours was taken by its next hop, and bounced later: `returned` has which.
    #[serde(rename = "bounced-later")]
    BouncedLater,
    /// A recipient wants no more of what we send.
    Complained,
    /// Anything else that came back: a delay, a vacation notice, a complaint about nobody's mail.
    Returned,
    /// The picture in a message was fetched: `by` has what fetched it, as far as that shows.
    Opened,
    /// A link in a message was followed: `url` has where it leads.
    Clicked,
    /// A recipient wants no more from this sender, and said so by the message's own link.
    Unsubscribed,
}

/// Where the time went, as Postfix's `delays=` has it. In a line, only milliseconds are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delays {
    /// From MAIL to the end of data.
    #[serde(with = "form::seconds")]
    pub before_queue: Duration,
    /// From the end of data to the start of this attempt: the commit and waits between attempts
    /// included.
    #[serde(with = "form::seconds")]
    pub in_queue: Duration,
    /// Route, DNS, connect, greeting and EHLO; zero on a connection that was open.
    #[serde(with = "form::seconds")]
    pub connect: Duration,
    /// From MAIL to the reply to the content.
    #[serde(with = "form::seconds")]
    pub transmit: Duration,
}

impl Delays {
    /// From the start of the transaction in to the end of this attempt.
    pub fn total(&self) -> Duration {
        self.before_queue + self.in_queue + self.connect + self.transmit
    }
}

/// One thing that happened to one recipient. Empty strings, zero attempts and `None` are left out
/// of the line; names that a later version adds are passed over in reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event<'a> {
    /// Counts the events of this shard, over all its runs ([`sequence`]).
    pub sequence: u64,
    /// When.
    #[serde(with = "form::time")]
    pub time: WallTime,
    /// Which home shard tells it.
    #[serde(with = "form::shard")]
    pub shard: ShardId,
    /// What.
    pub kind: Kind,
    /// The message.
    #[serde(with = "form::text")]
    pub id: MessageId,
    /// Without brackets; empty for the null reverse-path, and where only a link tells of a message.
    #[serde(borrow)]
    pub reverse_path: Cow<'a, str>,
    /// The forward-path, without brackets.
    #[serde(borrow)]
    pub recipient: Cow<'a, str>,
    /// Its destination domain.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub domain: Cow<'a, str>,
    /// Who sends, where that is known.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub tenant: Cow<'a, str>,
    /// What it is sent for.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub campaign: Cow<'a, str>,
    /// Octets of content.
    pub size: u64,
    /// What the 250 to its content was worth; lines of earlier versions do not say it.
    #[serde(with = "form::text", default)]
    pub durability: Durability,
    /// The site that the attempt went to.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub site: Cow<'a, str>,
    /// Upstream or MX host with address, as `mx1.example.net[192.0.2.1]:25`.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub peer: Cow<'a, str>,
    /// The milter that had this happen.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub milter: Cow<'a, str>,
    /// The upstream relay's name, where one was used.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub upstream: Cow<'a, str>,
    /// The egress source that the attempt left from: its name, or its EHLO name where the
    /// kernel chooses the address.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub source: Cow<'a, str>,
    /// The provider of the rules on shaping that the site belongs to, where they know it.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub provider: Cow<'a, str>,
    /// The TLS that the attempt went through, as `TLS1.3, verified`; `none:` and why, where it was
    /// to be used if it came about, and did not.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub tls: Cow<'a, str>,
    /// How far the attempt came.
    #[serde(with = "form::stage", default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The peer's reply code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// The status of the judgement.
    #[serde(with = "form::optional_text", default, skip_serializing_if = "Option::is_none")]
    pub status: Option<EnhancedStatus>,
    /// What kind of refusal that is: one of `outcome::classes`.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub class: Cow<'a, str>,
    /// The peer's words, or ours where no peer spoke.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub reply: Cow<'a, str>,
    /// Counted from 1; 0 where there was none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// When a deferred recipient is tried next.
    #[serde(with = "form::optional_time", default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<WallTime>,
    /// Where the time went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delays: Option<Delays>,
    /// From the end of content to our 250, with the first recipient of a message received.
    #[serde(with = "form::optional_seconds", default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<Duration>,
    /// What verification found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Cow<'a, Verified>>,
    /// What came back. The event is that of the message that says so; `recipient`, `code`,
    /// `status`, `class`, `reply` and `peer` are of what it speaks of.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<Returned<'a>>,
    /// What opened or clicked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// Where the link leads that was clicked.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub url: Cow<'a, str>,
}

fn is_zero(attempt: &u32) -> bool {
    *attempt == 0
}

impl<'a> Event<'a> {
    /// Of `kind`, about the message `id`, with nothing else known.
    pub fn new(kind: Kind, id: MessageId, time: WallTime, shard: ShardId) -> Self {
        Self {
            sequence: 0,
            time,
            shard,
            kind,
            id,
            reverse_path: Cow::Borrowed(""),
            recipient: Cow::Borrowed(""),
            domain: Cow::Borrowed(""),
            tenant: Cow::Borrowed(""),
            campaign: Cow::Borrowed(""),
            size: 0,
            durability: Durability::default(),
            site: Cow::Borrowed(""),
            peer: Cow::Borrowed(""),
            milter: Cow::Borrowed(""),
            upstream: Cow::Borrowed(""),
            source: Cow::Borrowed(""),
            provider: Cow::Borrowed(""),
            tls: Cow::Borrowed(""),
            stage: None,
            code: None,
            status: None,
            class: Cow::Borrowed(""),
            reply: Cow::Borrowed(""),
            attempt: 0,
            next_attempt: None,
            delays: None,
            accept: None,
            verified: None,
            returned: None,
            by: None,
            url: Cow::Borrowed(""),
        }
    }

    /// Append the line, LF included, to `into`.
    pub fn write_line(&self, into: &mut Vec<u8>) {
        serde_json::to_writer(&mut *into, self).expect("plain data, and a Vec takes all");
        into.push(b'\n');
    }

    /// Read a line back, with or without its LF. Strings are borrowed where nothing is escaped.
    pub fn parse(line: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }
}

#[cfg(test)]
mod tests;
