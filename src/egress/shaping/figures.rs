//! Read and write the figures of a shaping file: `100/m`, `10m`.

use std::time::Duration;

use crate::base::limits::SHAPING_TIME_MAX;
use crate::egress::throttle::Rate;

/// Largest first.
const SPANS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// `100/s`, `20/m`, `500/h`, `1000/d`; `unlimited` is none.
pub fn rate(text: &str) -> Result<Option<Rate>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    let wrong = || format!("`{text}` is no rate: write it as 100/s, 20/m, 500/h or 1000/d");
    let (figure, unit) = text.split_once('/').ok_or_else(wrong)?;
    let messages = figure.trim().parse().ok().filter(|messages| *messages > 0);
    let seconds = SPANS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, seconds)| *seconds);
    let (messages, seconds) = messages.zip(seconds).ok_or_else(wrong)?;
    Ok(Some(Rate { messages, per: Duration::from_secs(seconds) }))
}

/// `30s`, `10m`, `2h`, `1d`; not nothing, and `SHAPING_TIME_MAX` at most.
pub fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time: write it as 30s, 10m, 2h or 1d");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (figure, unit) = text.split_at(digits);
    let seconds = SPANS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, seconds)| *seconds);
    let figure: Option<u64> = figure.parse().ok().filter(|figure| *figure > 0);
    let (figure, seconds) = figure.zip(seconds).ok_or_else(wrong)?;
    let time = figure.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)?;
    if time > SHAPING_TIME_MAX {
        return Err(format!("`{text}` is more than {}", show_time(SHAPING_TIME_MAX)));
    }
    Ok(time)
}

/// As `rate` reads it.
pub fn show_rate(rate: Option<Rate>) -> String {
    let Some(Rate { messages, per }) = rate else { return "unlimited".to_owned() };
    match SPANS.iter().find(|(_, seconds)| *seconds == per.as_secs()) {
        Some((unit, _)) => format!("{messages}/{unit}"),
        None => format!("{messages} in {}", show_time(per)),
    }
}

/// About so many messages in the shortest span in which there is one at least: `12.5/s`, `3/m`.
pub fn show_pace(Rate { messages, per }: Rate) -> String {
    let in_span = |span: u64| f64::from(messages) * as_f64(span) / per.as_secs_f64().max(0.001);
    let spans = SPANS.iter().rev();
    let (unit, span) = spans.clone().find(|(_, span)| in_span(*span) >= 1.0).unwrap_or(&SPANS[0]);
    let text = format!("{:.2}", in_span(*span));
    format!("{}/{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

fn as_f64(seconds: u64) -> f64 {
    Duration::from_secs(seconds).as_secs_f64()
}

/// As `time` reads it; parts of a second are not shown.
pub fn show_time(time: Duration) -> String {
    let seconds = time.as_secs();
    let whole = |(_, span): &&(&str, u64)| seconds > 0 && seconds.is_multiple_of(*span);
    match SPANS.iter().find(whole) {
        Some((unit, span)) => format!("{}{unit}", seconds / span),
        None => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_back_as_they_are_written() {
        for text in ["1/s", "20/m", "500/h", "1000/d", "unlimited"] {
            assert_eq!(rate(text).map(show_rate).as_deref(), Ok(text));
        }
        for text in ["1s", "90s", "10m", "2h", "3d"] {
            assert_eq!(time(text).map(show_time).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_pace_is_shown_in_the_span_that_suits_it() {
        let seconds = |messages, seconds| Rate { messages, per: Duration::from_secs(seconds) };
        for (rate, shown) in [
            (seconds(1_250_000, 100_000), "12.5/s"),
            (seconds(100, 1), "100/s"),
            (seconds(5_000, 100_000), "3/m"),
            (seconds(100, 100_000), "3.6/h"),
            (seconds(1, 100_000), "0.86/d"),
        ] {
            assert_eq!(show_pace(rate), shown);
        }
    }

    #[test]
    fn what_is_no_figure_is_refused_with_a_form_that_is_one() {
        for text in ["", "5", "0/s", "/s", "5/w", "-1/s", "99999999999/s", "5s"] {
            assert!(rate(text).is_err_and(|said| said.contains("100/s")), "{text}");
        }
        for text in ["", "5", "0s", "5w", "-1s", "99999999999999999999s"] {
            assert!(time(text).is_err_and(|said| said.contains("30s")), "{text}");
        }
        assert!(time("31d").is_err_and(|said| said.contains("more than 30d")));
    }
}
