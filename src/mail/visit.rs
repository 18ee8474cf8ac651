//! Someone used a link that is in a message: what they did, and what they are.

use serde::{Deserialize, Serialize};

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::address::Mailbox;
use crate::mail::handling::{CampaignName, TenantName};

/// What fetches a picture or follows a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A person, as far as anything shows.
    Person,
    /// A scanner, or a provider that fetches whatever comes in.
    Machine,
}

/// What a link does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The recipient wants no more.
    Unsubscribe,
    /// The picture that says that a message was opened.
    Open,
    /// Leads to this URL: `http` or `https`, `LINK_TARGET_MAX` octets at most.
    Click(Box<str>),
}

/// Which message a link is in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct About {
    /// The message.
    pub message: MessageId,
    /// When it was taken, to the second.
    pub taken: WallTime,
    /// Whom it was for; `None`: for several.
    pub recipient: Option<Mailbox>,
    /// Whose it was.
    pub tenant: Option<TenantName>,
    /// What for.
    pub campaign: Option<CampaignName>,
}

/// A link that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Its message.
    pub about: About,
    /// What it did.
    pub action: Action,
    /// Who used it.
    pub by: By,
}
