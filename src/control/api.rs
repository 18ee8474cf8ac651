//! What the admin address speaks: JSON, the same types for the node and for whoever asks it.
//!
//! Times are RFC 3339 in UTC, sizes octets, states `ready`, `attempting`, `deferred`, `held`.

use serde::{Deserialize, Serialize};

use crate::base::time::WallTime;
use crate::mail::address::{Domain, Mailbox, ReversePath};
use crate::mail::handling::{CampaignName, Handling, TenantName};
use crate::shard::commands::{
    QueueState, QueueStats, QueuedMessage, QueuedRecipient, RecipientStory, Selector,
};

/// Which recipients: those that meet all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Select {
    /// A message id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A destination domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// A reverse-path, with or without brackets; nothing between them is the null reverse-path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverse_path: Option<String>,
    /// A tenant's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// A campaign's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Everything: asked for where nothing else is given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Rows of a list, or domains of `stats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl Select {
    /// What the shards understand, or what is wrong.
    pub fn parse(&self) -> Result<Selector, String> {
        let id = self.id.as_deref().map(|id| id.parse().map_err(|error| format!("id: {error}")));
        let domain = self.domain.as_deref().map(|domain| {
            Domain::parse(domain).map_err(|error| format!("domain {domain}: {error}"))
        });
        let reverse_path = self.reverse_path.as_deref().map(|path| match bare(path) {
            "" => Ok(ReversePath::NULL),
            path => Mailbox::parse(path, true)
                .map(|mailbox| ReversePath(Some(mailbox)))
                .map_err(|error| format!("reverse-path {path}: {error}")),
        });
        let tenant = self
            .tenant
            .as_deref()
            .map(|name| TenantName::parse(name).map_err(|error| format!("tenant {name}: {error}")));
        let campaign = self.campaign.as_deref().map(|name| {
            CampaignName::parse(name).map_err(|error| format!("campaign {name}: {error}"))
        });
        Ok(Selector {
            id: id.transpose()?,
            domain: domain.transpose()?,
            reverse_path: reverse_path.transpose()?,
            tenant: tenant.transpose()?,
            campaign: campaign.transpose()?,
        })
    }
}

/// Without the brackets, if there are any.
fn bare(path: &str) -> &str {
    path.strip_prefix('<').and_then(|path| path.strip_suffix('>')).unwrap_or(path)
}

/// A row of `list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Message id.
    pub id: String,
    /// Its address.
    pub recipient: String,
    /// Where it stands.
    pub state: String,
    /// Attempts made.
    pub attempts: u32,
    /// When it is next tried, where that is known.
    pub next_attempt: Option<String>,
    /// When the message was accepted.
    pub accepted: String,
    /// Octets.
    pub bytes: u64,
}

impl From<&QueuedRecipient> for Row {
    fn from(row: &QueuedRecipient) -> Self {
        Self {
            id: row.id.to_string(),
            recipient: row.forward_path.as_str().to_owned(),
            state: state(row.state).to_owned(),
            attempts: row.attempts,
            next_attempt: row.next_attempt.map(WallTime::to_rfc3339),
            accepted: row.accepted.to_rfc3339(),
            bytes: row.bytes,
        }
    }
}

/// What `show` tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Message id.
    pub id: String,
    /// Without brackets.
    pub reverse_path: String,
    /// Who sends, where that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// What it is sent for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub campaign: String,
    /// When it was accepted.
    pub accepted: String,
    /// When it expires.
    pub expires: String,
    /// Octets.
    pub bytes: u64,
    /// What the 250 to its content was worth: `commit` or `memory`.
    pub durability: String,
    /// Those that are not final.
    pub recipients: Vec<Story>,
}

/// A recipient, and why it waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    /// Its address.
    pub recipient: String,
    /// Where it stands.
    pub state: String,
    /// Attempts made.
    pub attempts: u32,
    /// When it is next tried, where that is known.
    pub next_attempt: Option<String>,
    /// The last reply, verbatim, and who gave it.
    pub last: Option<String>,
    /// The limit that keeps it now.
    pub limit: Option<String>,
}

impl From<&QueuedMessage> for Message {
    fn from(message: &QueuedMessage) -> Self {
        let (tenant, campaign) = message.handling.as_deref().map_or(("", ""), Handling::labels);
        Self {
            id: message.id.to_string(),
            reverse_path: message.reverse_path.as_str().to_owned(),
            tenant: tenant.to_owned(),
            campaign: campaign.to_owned(),
            accepted: message.accepted.to_rfc3339(),
            expires: message.expires.to_rfc3339(),
            bytes: message.bytes,
            durability: message.durability.to_string(),
            recipients: message.recipients.iter().map(Story::from).collect(),
        }
    }
}

impl From<&RecipientStory> for Story {
    fn from(story: &RecipientStory) -> Self {
        Self {
            recipient: story.forward_path.as_str().to_owned(),
            state: state(story.state).to_owned(),
            attempts: story.attempts,
            next_attempt: story.next_attempt.map(WallTime::to_rfc3339),
            last: story.last.as_ref().map(ToString::to_string),
            limit: story.limit.as_ref().map(ToString::to_string),
        }
    }
}

/// What `stats` tells: recipients, except where said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Messages with a recipient that is not final.
    pub messages: u64,
    /// Octets of their content.
    pub bytes: u64,
    /// All that are not final.
    pub recipients: u64,
    /// Waiting for their turn.
    pub ready: u64,
    /// Under way.
    pub attempting: u64,
    /// Waiting for their next attempt.
    pub deferred: u64,
    /// Kept by an operator.
    pub held: u64,
    /// When the oldest message was accepted.
    pub oldest: Option<String>,
    /// Destination domains with the most recipients.
    pub domains: Vec<(String, u64)>,
}

impl Stats {
    /// All shards together, with at most `domains` domains.
    pub fn sum(shards: &[QueueStats], domains: usize) -> Self {
        let mut sum = Self::default();
        let mut by_domain = std::collections::BTreeMap::<&str, u64>::new();
        for shard in shards {
            sum.messages += shard.messages;
            sum.bytes += shard.bytes;
            sum.ready += shard.ready;
            sum.attempting += shard.attempting;
            sum.deferred += shard.deferred;
            sum.held += shard.held;
            for (domain, count) in &shard.domains {
                *by_domain.entry(domain.as_str()).or_default() += count;
            }
        }
        sum.recipients = sum.ready + sum.attempting + sum.deferred + sum.held;
        let oldest = shards.iter().filter_map(|shard| shard.oldest).min();
        sum.oldest = oldest.map(WallTime::to_rfc3339);
        sum.domains = by_domain.into_iter().map(|(name, n)| (name.to_owned(), n)).collect();
        sum.domains.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), name.clone()));
        sum.domains.truncate(domains);
        sum
    }
}

/// What a verb did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// So many recipients.
    pub recipients: u64,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// In words.
    pub error: String,
}

fn state(state: QueueState) -> &'static str {
    match state {
        QueueState::Ready => "ready",
        QueueState::Attempting => "attempting",
        QueueState::Deferred => "deferred",
        QueueState::Held => "held",
        QueueState::Final(_) => "final",
    }
}
