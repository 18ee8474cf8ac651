//! Sum events up to figures: by who sends, where to and from where, by the minute, hour and day.
//!
//! In: events, each once ([`tally`]). Out: [`Figures`] that add up: over keys, over intervals, over
//! shards. What counts as what:
//!
//! ```text
//! received                        injected
//! delivered                       delivered, and the time from MAIL to the next hop's reply
//! deferred                        deferred: attempts, not recipients
//! bounced, class `suppressed`     suppressed: nothing was attempted
//! bounced, any other class        bounced, by class
//! expired, removed                the same
//! bounced-later, vouched for      bounced_later
//! complained, vouched for         complaints
//! opened, clicked                 opens, clicks: by whom, people unless a machine shows
//! unsubscribed                    unsubscribes
//! ```
//! An event counts in the interval of its own time. What came back without a token of ours counts
//! as nothing: anybody could have written it. Invariant: figures of all keys of a dimension, those
//! that are kept together included, add up to the figures of everything.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::base::limits::KPI_KEY_MAX;
use crate::base::text::head;
use crate::base::time::WallTime;
use crate::outcome::event::Event;

pub mod figures;
pub mod ranking;
pub mod tally;
pub mod times;

pub use figures::{Figure, Figures};

/// What figures are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Dimension {
    /// Nothing: all mail.
    All = 0,
    /// Who sends.
    Tenant = 1,
    /// What it is sent for: a tenant's name, a space, the campaign's.
    Campaign = 2,
    /// The destination domain.
    Domain = 3,
    /// The provider that the attempt went to.
    Provider = 4,
    /// The egress source that it left from.
    Source = 5,
    /// The upstream relay that it went to.
    Upstream = 6,
}

impl Dimension {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::All,
        Self::Tenant,
        Self::Campaign,
        Self::Domain,
        Self::Provider,
        Self::Source,
        Self::Upstream,
    ];

    /// As it is asked for.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Tenant => "tenant",
            Self::Campaign => "campaign",
            Self::Domain => "domain",
            Self::Provider => "provider",
            Self::Source => "source",
            Self::Upstream => "upstream",
        }
    }

    /// The key that an event counts under; empty where it has none.
    pub fn key<'e>(self, event: &'e Event<'_>) -> Cow<'e, str> {
        let key = match self {
            Self::All => "",
            Self::Tenant => &event.tenant,
            // Two tenants may call theirs the same; no name has a space.
            Self::Campaign if !event.campaign.is_empty() && !event.tenant.is_empty() => {
                return format!("{} {}", event.tenant, event.campaign).into();
            }
            Self::Campaign => &event.campaign,
            Self::Domain => &event.domain,
            Self::Provider => &event.provider,
            Self::Source => &event.source,
            Self::Upstream => &event.upstream,
        };
        head(key, KPI_KEY_MAX).into()
    }
}

/// How long an interval is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Resolution {
    /// A minute.
    Minute = 0,
    /// An hour.
    Hour = 1,
    /// A day of UTC.
    Day = 2,
}

impl Resolution {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// As it is asked for.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// So long.
    pub const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        })
    }

    /// The interval that a time is in, by its start.
    pub fn start(self, time: WallTime) -> WallTime {
        let length = self.milliseconds();
        WallTime(time.0.div_euclid(length).saturating_mul(length))
    }

    /// The start of the next interval.
    pub fn next(self, start: WallTime) -> WallTime {
        start + self.length()
    }

    fn milliseconds(self) -> i64 {
        i64::try_from(self.length().as_millis()).expect("a day at most")
    }
}

/// It is no word that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is none of {words}")]
pub struct OtherWord {
    word: String,
    words: String,
}

fn find<T: Copy>(text: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T, OtherWord> {
    all.iter().copied().find(|one| name(*one) == text).ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        OtherWord { word: text.to_owned(), words: words.join(", ") }
    })
}

impl FromStr for Dimension {
    type Err = OtherWord;

    fn from_str(text: &str) -> Result<Self, OtherWord> {
        find(text, &Self::ALL, Self::as_str)
    }
}

impl FromStr for Resolution {
    type Err = OtherWord;

    fn from_str(text: &str) -> Result<Self, OtherWord> {
        find(text, &Self::ALL, Self::as_str)
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
