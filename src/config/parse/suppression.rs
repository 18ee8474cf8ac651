//! Read to whom nothing is sent: `[suppression]`.

use std::fmt;
use std::time::Duration;

use crate::base::limits::{SUPPRESSION_BOUNCES_MAX, SUPPRESSION_BOUNCES_WITHIN_MAX};
use crate::config::knobs;
use crate::config::options::{HardBounces, SuppressionOptions};
use crate::config::reader::{Reader, Section};
use crate::config::units::{Wrong, parse_duration, show_duration};
use crate::policy::suppression::At;

pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> SuppressionOptions {
    let section = reader.table(root, "suppression");
    let at = match reader.choice(&section, &knobs::SUPPRESSION_AT) {
        "rcpt" => At::Rcpt,
        "queue" => At::Queue,
        _ => At::Off,
    };
    let given = reader.text(&section, &knobs::SUPPRESSION_HARD_BOUNCES, None, said);
    let (hard_bounces, place) = given.map_or((None, None), |given| (given.value.0, given.place));
    if hard_bounces.is_some() && at == At::Off {
        let wrong = Wrong::new("it fills a list that nobody is looked for on");
        let wrong = wrong.help("set `suppression.at` too");
        reader.finder.add(place.as_ref().unwrap_or(section.place()), wrong);
    }
    let complaints = reader.choice(&section, &knobs::SUPPRESSION_COMPLAINTS) == "add";
    let unsubscribes = reader.choice(&section, &knobs::SUPPRESSION_UNSUBSCRIBES) == "add";
    SuppressionOptions { at, hard_bounces, complaints, unsubscribes }
}

/// `off`, or `3 in 30d`.
struct Said(Option<HardBounces>);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("off"),
            Some(HardBounces { count, within }) => {
                write!(f, "{count} in {}", show_duration(within))
            }
        }
    }
}

fn said(text: &str) -> Result<Said, Wrong> {
    if text == "off" {
        return Ok(Said(None));
    }
    let help = "write `off`, or how many in how long, as `3 in 30d`";
    let none = || Wrong::new(format!("`{text}` does not say when")).help(help);
    let (count, within) = text.split_once(" in ").ok_or_else(none)?;
    let count: u32 = count.trim().parse().map_err(|_| none())?;
    let within = parse_duration(within.trim())?;
    let is_within = within > Duration::ZERO && within <= SUPPRESSION_BOUNCES_WITHIN_MAX;
    if !(1..=SUPPRESSION_BOUNCES_MAX).contains(&count) || !is_within {
        let most = show_duration(SUPPRESSION_BOUNCES_WITHIN_MAX);
        let what = format!("1 to {SUPPRESSION_BOUNCES_MAX} bounces, in {most} at most");
        return Err(Wrong::new(format!("`{text}` is out of range: {what}")));
    }
    Ok(Said(Some(HardBounces { count, within })))
}
