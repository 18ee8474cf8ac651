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
use std::time::Duration;

use crate::base::limits::KPI_KEY_MAX;
use crate::base::text::head;
use crate::base::time::WallTime;
use crate::outcome::event::Event;

/// Declare an enum and the word of each of its variants together, so that neither can lack one.
macro_rules! words {
    ($(#[$outer:meta])* $name:ident {
        $($(#[doc = $doc:literal])* $variant:ident $word:literal;)*
    }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name {
            $($(#[doc = $doc])* $variant,)*
        }

        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: [Self; [$($word),*].len()] = [$(Self::$variant),*];

            /// As it is asked for and shown.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::outcome::kpi::OtherWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::outcome::kpi::find(text, &Self::ALL, Self::as_str)
            }
        }
    };
}

pub mod figures;
pub mod ranking;
pub mod tally;
pub mod times;

pub use figures::{Figure, Figures};

words! {
    /// What figures are told apart by. The order is that on disk: new ones go last.
    Dimension {
        /// Nothing: all mail.
        All "all";
        /// Who sends.
        Tenant "tenant";
        /// What it is sent for: a tenant's name, a space, the campaign's.
        Campaign "campaign";
        /// The destination domain.
        Domain "domain";
        /// The provider that the attempt went to.
        Provider "provider";
        /// The egress source that it left from.
        Source "source";
        /// The upstream relay that it went to.
        Upstream "upstream";
    }
}

impl Dimension {
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

words! {
    /// How long an interval is. The order is that on disk.
    Resolution {
        /// A minute.
        Minute "minute";
        /// An hour.
        Hour "hour";
        /// A day of UTC.
        Day "day";
    }
}

impl Resolution {
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

#[cfg(test)]
mod tests;
