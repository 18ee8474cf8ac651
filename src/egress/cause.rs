//! Say in words why a job waits: the binding limit, or what the site last answered.

use std::fmt;
use std::sync::Arc;

use crate::base::time::Monotonic;
use crate::egress::shaping::figures::{show_pace, show_rate};
use crate::egress::throttle::Rate;
use crate::mail::outcome::{Failure, Stage};

/// What went wrong at a site, as the judge wants to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// How far the attempt came.
    pub stage: Stage,
    /// What went wrong there.
    pub failure: Failure,
    /// With whom, as `mx1.example.net[192.0.2.1]:25`.
    pub peer: Box<str>,
    /// The egress source that the connection was to leave from; empty where there was none.
    pub source: Arc<str>,
}

/// Who is at fault when a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// This connection alone: it broke, or fell silent. Its job is tried once more at once.
    Connection,
    /// The host: it takes nothing from us now. Other hosts are tried first. A connection that was
    /// never ready counts as this whatever is said.
    Endpoint,
    /// All of the site: it said that it takes nothing from us, whichever host we ask.
    Site,
}

/// Why jobs of a site wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// So many wait here already.
    Full(usize),
    /// Every endpoint failed, so many times in a row, the last one with this.
    Suspended {
        /// Times in a row.
        failures: u32,
        /// The last failure.
        cause: Option<Arc<Cause>>,
    },
    /// Whether the site works is being tried with one connection.
    Unproven,
    /// The connections that the site allows, over all shards, are in use.
    Connections(u32),
    /// The connections that this shard may have in all are in use.
    ShardConnections,
    /// As many connections as the site has shown it can take are in use.
    Window(u32),
    /// The connections that a provider takes at all of its sites are in use.
    ProviderConnections(u32, Arc<str>),
    /// The message rate of all sites of a provider.
    ProviderRate(Rate, Arc<str>),
    /// The site's message rate.
    Rate(Rate),
    /// The site said that it is too much: so many messages a time for a while.
    Slowed(Rate),
    /// The rate that an operator set.
    Set(Rate),
    /// A rule leaves the site alone: its name.
    Paused(Arc<str>),
    /// A rule leaves it alone from all sources of the pool: its name.
    SourcesPaused(Arc<str>),
    /// A rule lets it have nothing of this tenant, or of this campaign: its name.
    SenderPaused(Arc<str>),
    /// What may leave from all sources of the pool today has left: of one of them, in words.
    WarmUp(Arc<str>),
    /// It is being written down that more leaves from a source that is warmed up.
    WarmUpNotWritten,
    /// All of a tenant's or a campaign's share is under way.
    Share {
        /// Messages at a time.
        limit: u32,
        /// Whose share.
        of_tenant: bool,
    },
    /// The endpoints that are not in use are dead.
    Endpoints,
    /// The shard is draining, or the site's configuration has gone.
    Leaving,
    /// An operator diverts mail.
    Diverted,
}

/// A job was refused: its home is to keep it, and others of its domain, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// Why.
    pub why: Why,
    /// When to try again, unless called back before.
    pub until: Monotonic,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.peer, self.stage, self.failure)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(jobs) => write!(f, "{jobs} messages are before it at its site"),
            Self::Suspended { failures, cause: Some(cause) } => {
                write!(f, "site suspended after {failures} failures, the last: {cause}")
            }
            Self::Suspended { failures, cause: None } => {
                write!(f, "site suspended after {failures} failures")
            }
            Self::Unproven => f.write_str("a first connection to its site is being tried"),
            Self::Connections(limit) => {
                write!(f, "limit of {limit} connections to its site, over all shards")
            }
            Self::ShardConnections => f.write_str("limit of connections of this shard"),
            Self::Window(window) => {
                write!(f, "{window} connections to its site are busy; more follow as it takes mail")
            }
            Self::ProviderConnections(limit, provider) => {
                write!(f, "limit of {limit} connections to all sites of {provider}")
            }
            Self::ProviderRate(rate, provider) => {
                write!(f, "limit of {} to all sites of {provider}", show_rate(Some(*rate)))
            }
            Self::Rate(Rate { messages, per }) => {
                write!(f, "limit of {messages} messages per {} s to its site", per.as_secs_f64())
            }
            Self::Slowed(rate) => {
                write!(f, "{} to its site, which said that more is too much", show_pace(*rate))
            }
            Self::Set(rate) => write!(f, "{} to its site, as an operator set", show_pace(*rate)),
            Self::Paused(rule) | Self::SourcesPaused(rule) => {
                write!(f, "its site is left alone for a while: {rule}")
            }
            Self::SenderPaused(rule) => {
                write!(f, "its site has nothing of its sender for a while: {rule}")
            }
            Self::WarmUp(words) => f.write_str(words),
            Self::WarmUpNotWritten => f.write_str("the count of its source's warm-up is written"),
            Self::Share { limit, of_tenant } => {
                let whose = if *of_tenant { "tenant" } else { "campaign" };
                write!(f, "share of its {whose}, {limit} messages at a time at its site")
            }
            Self::Endpoints => f.write_str("the site's other hosts do not answer"),
            Self::Leaving => f.write_str("its site is being given up"),
            Self::Diverted => f.write_str("an operator diverts mail"),
        }
    }
}
