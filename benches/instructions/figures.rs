//! The recorded figures: read, compare and write them.
//!
//! A figure is the instructions that one relay takes a message. It holds for the tools that it was
//! measured with: another compiler, C library or CPU makes other instructions of the same source.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What stands above the figures in their file.
const HEADER: &str = "\
# Instructions a message, as callgrind counts them; see benches/instructions.rs. Written by
#     cargo bench --no-default-features --bench instructions -- --record \"why they changed\"

";

/// More above the recorded figure fails.
const ABOVE_PERCENT: f64 = 3.0;
/// More below it fails as well: what was gained could else be lost again unseen.
const BELOW_PERCENT: f64 = 10.0;
/// Less is not recorded.
const MOVED_PERCENT: f64 = 0.5;

/// Version by tool.
pub(crate) type Tools = BTreeMap<String, String>;

/// The file of figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    /// What the figures are true for.
    pub(crate) measured_with: Tools,
    /// By the relay's name.
    #[serde(default)]
    pub(crate) relay: BTreeMap<String, Figure>,
}

/// What was recorded of a relay.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figure {
    /// A message.
    pub(crate) instructions: u64,
    /// Why it is not what it was before.
    pub(crate) reason: String,
}

impl Figures {
    pub(crate) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    pub(crate) fn to_text(&self) -> String {
        HEADER.to_owned() + &toml::to_string(self).expect("strings and numbers")
    }

    /// How far `measured` is from what is recorded of `relay`, in percent.
    pub(crate) fn change(&self, relay: &str, measured: u64) -> Option<f64> {
        let recorded = self.relay.get(relay)?.instructions;
        Some((measured as f64 - recorded as f64) * 100.0 / recorded as f64)
    }

    /// What is wrong with what was measured, in words.
    pub(crate) fn complaints(&self, measured: &[(&str, u64)]) -> Vec<String> {
        let gone = self.relay.keys().filter(|name| !measured.iter().any(|(one, _)| one == name));
        let gone = gone.map(|name| format!("{name} is recorded, and there is no such relay"));
        let wrong = measured.iter().filter_map(|(name, instructions)| {
            let figure = self.relay.get(*name);
            let what = match self.change(name, *instructions) {
                None => "nothing is recorded: --record REASON".to_owned(),
                Some(change) if change > ABOVE_PERCENT => format!(
                    "{change:.1}% above what is recorded, {ABOVE_PERCENT}% are allowed: find out \
                     why, or --record REASON"
                ),
                Some(change) if change < -BELOW_PERCENT => format!(
                    "{:.1}% below what is recorded: --record REASON, so that it stays so",
                    -change
                ),
                Some(_) => return None,
            };
            let last = figure.map_or(String::new(), |f| format!(" (last: {})", f.reason));
            Some(format!("{name} takes {instructions} instructions a message: {what}{last}"))
        });
        wrong.chain(gone).collect()
    }

    /// Take in what was measured: a figure that moved gets `reason`, any other keeps its own.
    pub(crate) fn record(&mut self, measured: &[(&str, u64)], reason: &str) {
        self.relay.retain(|name, _| measured.iter().any(|(measured, _)| measured == name));
        for (name, instructions) in measured {
            if self.change(name, *instructions).is_none_or(|c| c.abs() > MOVED_PERCENT) {
                let figure = Figure { instructions: *instructions, reason: reason.to_owned() };
                self.relay.insert((*name).to_owned(), figure);
            }
        }
    }
}
