//! What a knob is: one constant each, from which file, reference and checks all speak.

use std::time::Duration;

use crate::config::options::Rate;
use crate::config::units::{show_duration, show_rate, show_size};

/// One thing that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knob {
    /// Its path in the file, as `spool.segment_size`, `listener[].address`, `cores`.
    pub path: &'static str,
    /// What it takes, its default and its range.
    pub kind: Kind,
    /// What it does, in a line.
    pub help: &'static str,
    /// What more of it costs, in a line.
    pub cost: &'static str,
    /// When a change takes effect.
    pub takes_effect: TakesEffect,
}

/// When a change in the file takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakesEffect {
    /// At SIGHUP.
    Reload,
    /// When the process starts; a reload that would change it is refused.
    Restart,
}

/// What a knob takes, its default and its range, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of something.
    Count {
        /// Of what.
        unit: &'static str,
        /// Unless said otherwise; `None` depends on the machine, and `range` says how.
        default: Option<u64>,
        /// At least.
        least: u64,
        /// At most.
        most: u64,
    },
    /// A number of octets, with a unit.
    Size {
        /// Unless said otherwise.
        default: u64,
        /// At least.
        least: u64,
        /// At most.
        most: u64,
    },
    /// A span of time, with a unit.
    Duration {
        /// Unless said otherwise.
        default: Duration,
        /// At least.
        least: Duration,
        /// At most.
        most: Duration,
    },
    /// A number with up to two decimals; all three in hundredths.
    Decimal {
        /// Unless said otherwise.
        default: u32,
        /// At least.
        least: u32,
        /// At most.
        most: u32,
    },
    /// Messages a second, a minute or an hour, or `unlimited`.
    Rate {
        /// Unless said otherwise.
        default: Option<Rate>,
    },
    /// One of some words.
    Choice {
        /// Unless said otherwise.
        default: &'static str,
        /// All of them.
        words: &'static [&'static str],
    },
    /// Text of a form of its own.
    Text {
        /// What form.
        form: &'static str,
        /// In words, or as it would be written.
        default: &'static str,
    },
    /// A list of texts of a form.
    List {
        /// The form of each.
        form: &'static str,
        /// In words, or as it would be written.
        default: &'static str,
    },
}

impl Knob {
    /// The last part of the path: the key in its section.
    pub fn key(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The section's part of the path: `spool`, `listener[]`, or nothing.
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The unit, for the reference.
    pub fn unit(&self) -> &'static str {
        match self.kind {
            Kind::Count { unit, .. } => unit,
            Kind::Size { .. } => "size",
            Kind::Duration { .. } => "duration",
            Kind::Decimal { .. } => "number",
            Kind::Rate { .. } => "rate",
            Kind::Choice { .. } => "word",
            Kind::Text { form, .. } | Kind::List { form, .. } => form,
        }
    }

    /// The default, for the reference.
    pub fn default_text(&self) -> String {
        match self.kind {
            Kind::Count { default: Some(default), .. } => default.to_string(),
            Kind::Count { default: None, .. } => String::from("CPUs of the machine"),
            Kind::Size { default, .. } => show_size(default),
            Kind::Duration { default, .. } => show_duration(default),
            Kind::Decimal { default, .. } => show_hundredths(default),
            Kind::Rate { default } => show_rate(default),
            Kind::Choice { default, .. }
            | Kind::Text { default, .. }
            | Kind::List { default, .. } => default.to_owned(),
        }
    }

    /// The range, for the reference; empty where the unit says all.
    pub fn range_text(&self) -> String {
        match self.kind {
            Kind::Count { least, most, .. } => format!("{least} to {most}"),
            Kind::Size { least, most, .. } => {
                format!("{} to {}", show_size(least), show_size(most))
            }
            Kind::Duration { least, most, .. } => {
                format!("{} to {}", show_duration(least), show_duration(most))
            }
            Kind::Decimal { least, most, .. } => {
                format!("{} to {}", show_hundredths(least), show_hundredths(most))
            }
            Kind::Rate { .. } => String::from("1/h or more, unlimited"),
            Kind::Choice { words, .. } => words.join(", "),
            Kind::Text { .. } | Kind::List { .. } => String::new(),
        }
    }
}

/// `2`, `0.1`, `1.25`.
pub(super) fn show_hundredths(hundredths: u32) -> String {
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
