//! Read and write figures with their units: `64MiB`, `30s`, `100/s`.
//!
//! A figure without its unit is refused, and so is a unit of something else: `10` could mean
//! anything. Invariant: what is written is read back as the same figure.

use std::time::Duration;

use crate::config::options::Rate;

/// Why text is no value, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// What is wrong.
    pub(super) what: String,
    /// What to do about it.
    pub(super) help: Option<String>,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), help: None }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// Largest first, so that a figure is written in the largest unit that divides it.
const DURATIONS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const RATES: [(&str, u64); 3] = [("/h", 3_600), ("/m", 60), ("/s", 1)];

/// `30s`, `4h`, `5d`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, Wrong> {
    let (figure, unit) = split(text, "a duration as 30s")?;
    if let Some((_, factor)) = DURATIONS.iter().find(|(name, _)| *name == unit) {
        return times(figure, *factor, text).map(Duration::from_millis);
    }
    Err(wrong_unit(text, unit, "a duration", &DURATIONS.map(|(name, _)| name), figure))
}

/// `64MiB`.
pub(super) fn parse_size(text: &str) -> Result<u64, Wrong> {
    let (figure, unit) = split(text, "a size as 64MiB")?;
    if let Some((_, factor)) = SIZES.iter().find(|(name, _)| *name == unit) {
        return times(figure, *factor, text);
    }
    Err(wrong_unit(text, unit, "a size", &SIZES.map(|(name, _)| name), figure))
}

/// `100/s`, or `unlimited`.
pub(super) fn parse_rate(text: &str) -> Result<Option<Rate>, Wrong> {
    if text == "unlimited" {
        return Ok(None);
    }
    let (figure, unit) = split(text, "a rate as 100/s, or \"unlimited\"")?;
    let Some((_, seconds)) = RATES.iter().find(|(name, _)| *name == unit) else {
        return Err(wrong_unit(text, unit, "a rate", &RATES.map(|(name, _)| name), figure));
    };
    match u32::try_from(figure) {
        Ok(0) => Err(Wrong::new("a rate of 0 would never send").help("hold the queue instead")),
        Ok(messages) => Ok(Some(Rate { messages, per: Duration::from_secs(*seconds) })),
        Err(_) => Err(Wrong::new(format!("`{text}` is too large"))),
    }
}

/// As `parse_duration` reads it.
pub(super) fn show_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(ms, &DURATIONS)
}

/// As `parse_size` reads it.
pub(super) fn show_size(octets: u64) -> String {
    show(octets, &SIZES)
}

/// As `parse_rate` reads it.
pub(super) fn show_rate(rate: Option<Rate>) -> String {
    let Some(rate) = rate else { return String::from("unlimited") };
    let unit = RATES.iter().find(|(_, seconds)| *seconds == rate.per.as_secs());
    format!("{}{}", rate.messages, unit.map_or("/s", |(name, _)| name))
}

fn show(figure: u64, units: &[(&str, u64)]) -> String {
    let (least, _) = units.last().expect("a table of units is not empty");
    if figure == 0 {
        return format!("0{least}");
    }
    let unit = units.iter().find(|(_, factor)| figure.is_multiple_of(*factor));
    let (name, factor) = unit.expect("the least unit divides all");
    format!("{}{name}", figure / factor)
}

/// Digits, and what follows them.
fn split<'a>(text: &'a str, example: &str) -> Result<(u64, &'a str), Wrong> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (figure, unit) = text.split_at(digits);
    match figure.parse() {
        Ok(figure) => Ok((figure, unit.trim())),
        Err(_) if digits == 0 => Err(Wrong::new(format!("`{text}` is not {example}"))),
        Err(_) => Err(Wrong::new(format!("`{text}` is too large"))),
    }
}

fn times(figure: u64, factor: u64, text: &str) -> Result<u64, Wrong> {
    figure.checked_mul(factor).ok_or_else(|| Wrong::new(format!("`{text}` is too large")))
}

fn wrong_unit(text: &str, unit: &str, kind: &str, units: &[&str], figure: u64) -> Wrong {
    let listed = units.join(", ");
    if unit.is_empty() {
        let wrong = Wrong::new(format!("`{text}` has no unit; {kind} ends in one of {listed}"));
        return wrong
            .help(format!("write \"{figure}{}\" if that is meant", units[units.len() / 2]));
    }
    let wrong = Wrong::new(format!("`{unit}` is no unit of {kind}; use one of {listed}"));
    match meant(unit, units) {
        Some(meant) => wrong.help(format!("did you mean \"{figure}{meant}\"?")),
        None => wrong,
    }
}

/// What people write for a unit of ours.
fn meant<'a>(unit: &str, units: &[&'a str]) -> Option<&'a str> {
    let lower = unit.to_ascii_lowercase();
    let word = match lower.as_str() {
        "k" | "kb" | "kib" => "KiB",
        "m" | "mb" | "mib" => "MiB",
        "g" | "gb" | "gib" => "GiB",
        "t" | "tb" | "tib" => "TiB",
        "byte" | "bytes" | "octets" => "B",
        "msec" | "millis" => "ms",
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hr" | "hour" | "hours" => "h",
        "day" | "days" => "d",
        "/sec" | "/second" | "ps" => "/s",
        "/min" | "/minute" => "/m",
        "/hour" => "/h",
        other => other,
    };
    // `m` is minutes among durations, and MiB among sizes.
    let found = units.iter().find(|name| **name == word);
    found.or_else(|| units.iter().find(|name| name.eq_ignore_ascii_case(&lower))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn figures_have_their_units() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("5 d"), Ok(Duration::from_secs(432_000)));
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        let per_minute = Rate { messages: 90, per: Duration::from_secs(60) };
        assert_eq!(parse_rate("90/m"), Ok(Some(per_minute)));
        assert_eq!(parse_rate("unlimited"), Ok(None));
    }

    #[test]
    fn wrong_and_missing_units_are_refused_with_a_suggestion() {
        let help = |wrong: Wrong| wrong.help.unwrap_or_default();
        for (text, suggestion) in [("30", "30m"), ("30 secs", "30s"), ("4H", "4h"), ("9min", "9m")]
        {
            let wrong = parse_duration(text).expect_err(text);
            assert!(help(wrong.clone()).contains(suggestion), "{text}: {wrong:?}");
        }
        for (text, suggestion) in [("64MB", "64MiB"), ("1k", "1KiB"), ("2m", "2MiB"), ("5", "5MiB")]
        {
            let wrong = parse_size(text).expect_err(text);
            assert!(help(wrong.clone()).contains(suggestion), "{text}: {wrong:?}");
        }
        assert!(help(parse_rate("7/sec").expect_err("unit")).contains("7/s"));
        for text in ["", "s", "-1s", "1.5h", "99999999999999999999s", "18446744073709551615d", "3é"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_rate("0/s").is_err() && parse_rate("5000000000/s").is_err());
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let mut prng = Prng::from_number(11);
        for _ in 0..10_000 {
            let figure = prng.next_u64() >> (11 + prng.below(53));
            assert_eq!(parse_size(&show_size(figure)), Ok(figure));
            let duration = Duration::from_millis(figure);
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
        let rate = Some(Rate { messages: 5, per: Duration::from_secs(3_600) });
        assert_eq!(parse_rate(&show_rate(rate)), Ok(rate));
    }
}
