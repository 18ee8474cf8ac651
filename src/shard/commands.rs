//! What an operator may ask of a shard's queue, and what a shard answers.
//!
//! Both sides share it: `control` sends a [`Command`] through the mesh, the shard answers once.
//! Pure values; every answer is bounded by the limit in its command.

use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::egress::health::Standing;
use crate::egress::shaping::status::{Order, OutletStatus};
use crate::mail::address::{Domain, ForwardPath, Mailbox, ReversePath};
use crate::mail::durability::Durability;
use crate::mail::envelope::{Envelope, TlsWish};
use crate::mail::handling::{CampaignName, Handling, TenantName};
use crate::mail::outcome::{Outcome, Reason};
use crate::mail::status::Reply;
use crate::mail::visit::Visit;
use crate::outcome::counters::Counters;
use crate::policy::tls_report::Tally;
use crate::queue::{Campaign, CampaignCounts};
use crate::shard::platform::PlatformCounters;

/// Which recipients a command is about: those that meet all that is given; all, if nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Of this message.
    pub id: Option<MessageId>,
    /// Going to this domain.
    pub domain: Option<Domain>,
    /// Of messages with this reverse-path.
    pub reverse_path: Option<ReversePath>,
    /// Of this tenant's messages.
    pub tenant: Option<TenantName>,
    /// Of this campaign's.
    pub campaign: Option<CampaignName>,
}

impl Selector {
    /// Whether it names nothing, so that a verb would sweep the whole queue.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a list goes on: only the shard that gave it knows what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(pub u64);

/// One thing asked of one shard. A shard speaks only of the messages it is home of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Answered by `Answer::List`.
    List {
        /// Which recipients.
        selector: Selector,
        /// `None` begins.
        after: Option<Cursor>,
        /// No message is added once there are so many rows, 1 to `LIST_ROWS_MAX`; there may be
        /// fewer, and more to come, since a call reads `LISTED_BATCH_MAX` messages at most.
        limit: usize,
    },
    /// Everything of one message. Answered by `Answer::Show`, or by `Answer::Failed` while it may
    /// come to light that it is here.
    Show(MessageId),
    /// What keeps those of a message's recipients that this shard holds as an owner. Answered by
    /// `Answer::Waits`.
    Waits(MessageId),
    /// Counts. Answered by `Answer::Stats`.
    Stats {
        /// Domains listed at most, those with the most recipients first.
        domains: usize,
    },
    /// What is queued of campaigns. Answered by `Answer::Campaigns`.
    Campaigns(Wanted),
    /// What was counted, and how things stand. Answered by `Answer::Snapshot`.
    Snapshot,
    /// How sites and upstream relays stand. Answered by `Answer::Sites`.
    Sites {
        /// Sites told of at most, those where the most waits first.
        most: usize,
    },
    /// Follow the dialogue about a domain's mail, and say what was said since. Answered by
    /// `Answer::Trace`, or by `Answer::Failed` where as many are followed as may be.
    Trace {
        /// Which.
        domain: Domain,
        /// The line that is next; `None` begins now.
        after: Option<u64>,
    },
    /// What was counted of sessions with MX hosts since this was last asked. Answered by
    /// `Answer::TlsSessions`.
    TlsSessions,
    /// How sources stand at sites, all shards together, and what is to be otherwise. Each shard is
    /// asked, and answers the same, by `Answer::Shaping`; or by `Answer::Failed` where nothing is
    /// shaped.
    Shaping(Order),
    /// Take a message of the node's own. Answered by `Answer::Submitted` once it is on stable
    /// storage, or by `Answer::Failed`.
    Submit(Box<Submission>),
    /// Take a message that was handed in over HTTP. Answered by `Answer::Submitted` once it is on
    /// stable storage, or by `Answer::Refused`.
    Inject(Box<Injection>),
    /// Tell of links that were used, `VISITS_BATCH_MAX` at most. Answered by `Answer::Changed`,
    /// once the event log has it.
    Visited(Vec<Visit>),
    /// Try at once what waits for its next attempt. Answered by `Answer::Changed`.
    Flush(Selector),
    /// Try no more until released; lifetimes go on. Answered by `Answer::Changed`.
    Hold(Selector),
    /// Undo `Hold`. Answered by `Answer::Changed`.
    Release(Selector),
    /// Give up, as `Failure::Removed`; `outcome::judge` says who is told. Answered by
    /// `Answer::Changed`.
    Remove(Selector),
}

/// Which campaigns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Those with the most in the queue.
    Biggest {
        /// Of this tenant; else of all.
        tenant: Option<TenantName>,
        /// So many at most.
        most: usize,
    },
    /// These, of which something is queued.
    These(Arc<[Campaign]>),
}

/// A message that this node writes itself, beside the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Whom a DSN goes to.
    pub from: Mailbox,
    /// Whom it is for.
    pub to: Mailbox,
    /// How much TLS counts on its way.
    pub tls: TlsWish,
    /// Header and body; CRLF only.
    pub content: Vec<u8>,
}

/// A message that was handed in over HTTP, by somebody who may send to anyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// Reverse-path and recipients.
    pub envelope: Envelope,
    /// Header and body; CRLF only.
    pub content: Vec<u8>,
    /// Some octet of it is above 127.
    pub has_eight_bit: bool,
}

/// What a shard answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Recipients not final yet.
    List {
        /// In the shard's own order.
        rows: Vec<QueuedRecipient>,
        /// Where to go on; `None` at the end.
        next: Option<Cursor>,
    },
    /// The message, if this shard is its home and it is not all final.
    Show(Option<Box<QueuedMessage>>),
    /// Recipients in line here, and why.
    Waits(Vec<Wait>),
    /// Counts.
    Stats(QueueStats),
    /// Campaigns in numbers.
    Campaigns(Vec<(Campaign, CampaignCounts)>),
    /// What was counted, and how things stand.
    Snapshot(Box<Snapshot>),
    /// How those that this shard owns stand.
    Sites(Box<Standings>),
    /// What was said.
    Trace(Box<TracePage>),
    /// By domain and policy.
    TlsSessions(Box<Tally>),
    /// One source at one site each.
    Shaping(Vec<OutletStatus>),
    /// It is stored, under this name.
    Submitted(MessageId),
    /// It is not taken, as a client of SMTP would be told.
    Refused(Reply),
    /// So many recipients were changed.
    Changed(u64),
    /// The verb could not be done, in words for the operator.
    Failed(Box<str>),
}

/// How a shard stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// All counts, gauges as they are now.
    pub counters: Counters,
    /// What happened below the shard.
    pub platform: PlatformCounters,
    /// Whether new messages are taken: the spool's disk works and has room.
    pub admits: bool,
    /// Commits fail at present.
    pub failing: bool,
    /// Messages that were answered from memory, and are kept there since their commit failed.
    pub owed: usize,
    /// A line for each domain that fails its check; the same of all shards.
    pub domains: Vec<String>,
}

/// What was said on a shard's connections for a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracePage {
    /// In their order.
    pub lines: Vec<TraceLine>,
    /// The number of the line that is next.
    pub next: u64,
    /// Lines that were not asked for in time, of any domain.
    pub lost: u64,
}

/// A line of a dialogue with a next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceLine {
    /// Counts the shard's lines.
    pub number: u64,
    /// When.
    pub at: WallTime,
    /// Tells connections of a shard apart.
    pub connection: u64,
    /// As `mx1.example.net[192.0.2.1]:25`.
    pub peer: Box<str>,
    /// The egress source.
    pub source: Arc<str>,
    /// By whom.
    pub said: Said,
    /// Without its end.
    pub text: Box<str>,
}

/// Who says a line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nobody: what happens to the connection, in words.
    Note,
    /// We, a command.
    Sent,
    /// The peer.
    Received,
}

/// How what a shard sends to stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standings {
    /// Sites with the most in line.
    pub sites: Vec<SiteStanding>,
    /// Each upstream relay, in the order of the configuration, as this shard sees it.
    pub upstreams: Vec<(Box<str>, Standing)>,
}

/// How one site stands, at one of its owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteStanding {
    /// The upstream relay's name, or the first MX host's.
    pub name: Box<str>,
    /// Messages in line.
    pub waiting: u64,
    /// Connections that are open or being opened.
    pub connections: u64,
    /// Why what is in line waits.
    pub why: Option<Box<str>>,
    /// For how long nothing is sent.
    pub suspended: Option<Duration>,
    /// When it last refused something, and its words.
    pub refused: Option<(WallTime, Box<str>)>,
}

impl Snapshot {
    /// What is wrong with the shard's spool, if something is.
    pub fn complaint(&self) -> Option<String> {
        let disk = match (self.failing, self.admits, self.owed) {
            (false, true, 0) => return None,
            (true, ..) => "commits fail",
            (false, false, _) => "the spool takes no messages",
            (false, true, _) => "the spool works again",
        };
        Some(match self.owed {
            0 => disk.to_owned(),
            owed => format!("{disk}; {owed} acknowledged messages are in memory only"),
        })
    }
}

/// Where a recipient stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueState {
    /// Waits for its turn: nothing but a limit keeps it.
    Ready,
    /// Under way: with its owner, or in a transaction.
    Attempting,
    /// Waits for its next attempt.
    Deferred,
    /// An operator keeps it.
    Held,
    /// It has come to its end; others of the message have not.
    Final(Outcome),
}

/// A row of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedRecipient {
    /// Its message.
    pub id: MessageId,
    /// Its address.
    pub forward_path: ForwardPath,
    /// Where it stands.
    pub state: QueueState,
    /// Attempts made.
    pub attempts: u32,
    /// When it is next tried, where that is known.
    pub next_attempt: Option<WallTime>,
    /// When the message was accepted.
    pub accepted: WallTime,
    /// Octets of content.
    pub bytes: u64,
}

/// A message, recipient by recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMessage {
    /// Its name.
    pub id: MessageId,
    /// Whom a DSN goes to.
    pub reverse_path: ReversePath,
    /// How its sender wants it handled.
    pub handling: Option<Box<Handling>>,
    /// When it was accepted.
    pub accepted: WallTime,
    /// When it expires.
    pub expires: WallTime,
    /// Octets of content.
    pub bytes: u64,
    /// What the 250 to its content was worth.
    pub durability: Durability,
    /// In the order of the envelope.
    pub recipients: Vec<RecipientStory>,
}

/// A recipient, and why it is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientStory {
    /// Its place in the envelope.
    pub index: u16,
    /// Its address.
    pub forward_path: ForwardPath,
    /// Where it stands.
    pub state: QueueState,
    /// Attempts made.
    pub attempts: u32,
    /// When it is next tried, where that is known.
    pub next_attempt: Option<WallTime>,
    /// What came of the last attempt: the peer's words, verbatim.
    pub last: Option<Reason>,
    /// The limit that keeps it now, as `site mx.example: 20 connections of 20 in use`.
    pub limit: Option<Box<str>>,
}

/// Recipients that wait together at their owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Their places in the envelope.
    pub recipients: Vec<u16>,
    /// The limit that binds.
    pub why: Box<str>,
}

/// Counts of a shard's queue: recipients, except where said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages with a recipient that is not final.
    pub messages: u64,
    /// Octets of their content.
    pub bytes: u64,
    /// Waiting for their turn.
    pub ready: u64,
    /// Under way.
    pub attempting: u64,
    /// Waiting for their next attempt.
    pub deferred: u64,
    /// Kept by an operator.
    pub held: u64,
    /// When the oldest message was accepted.
    pub oldest: Option<WallTime>,
    /// Destination domains with the most recipients, and how many; most first.
    pub domains: Vec<(Domain, u64)>,
}
