//! Figures in few words, for terminals.

/// 1234 as it is, then 12.3k, 4.56M.
pub(in crate::control) fn count(n: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    match n {
        0..=9_999 => n.to_string(),
        10_000..=999_999 => short(n as f64 / 1e3, "k"),
        1_000_000..=999_999_999 => short(n as f64 / 1e6, "M"),
        _ => short(n as f64 / 1e9, "G"),
    }
}

/// Small ones with a digit behind the point.
pub(in crate::control) fn rate(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
    match value {
        value if value > 0.0 && value < 10.0 => format!("{value:.1}"),
        value => count(value.round() as u64),
    }
}

/// Octets in binary units.
pub(super) fn bytes(value: f64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, bits)| value >= f64::from(1u32 << bits));
    match unit {
        Some((unit, bits)) => short(value / f64::from(1u32 << bits), &format!(" {unit}")),
        None => format!("{value:.0} B"),
    }
}

/// The two largest units.
pub(in crate::control) fn duration(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let first = units.iter().position(|(_, size)| seconds >= *size).unwrap_or(units.len() - 1);
    let (unit, size) = units[first];
    let mut words = format!("{} {unit}", seconds / size);
    if let Some((unit, size)) = units.get(first + 1)
        && seconds % units[first].1 / size > 0
    {
        words.push_str(&format!(" {} {unit}", seconds % units[first].1 / size));
    }
    words
}

/// What is not all is never shown as all.
pub(in crate::control) fn percent(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a tenth of a percent is shown")]
    match whole {
        0 => "-".to_owned(),
        whole => share(part as f64 / whole as f64),
    }
}

/// The same, of a part of 1.
pub(super) fn share(part: f64) -> String {
    match part {
        1.0.. => "100%".to_owned(),
        part => format!("{:.1}%", (100.0 * part).min(99.9)),
    }
}

/// In the unit that a person would use.
pub(super) fn seconds(value: f64) -> String {
    match value {
        ..1.0 => format!("{:.0} ms", value * 1_000.0),
        ..60.0 => format!("{value:.1} s"),
        ..3_600.0 => format!("{:.1} min", value / 60.0),
        ..86_400.0 => format!("{:.1} h", value / 3_600.0),
        _ => format!("{:.1} d", value / 86_400.0),
    }
}

fn short(value: f64, unit: &str) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_say_nothing_that_is_not_so() {
        assert_eq!(
            [0, 9_999, 12_345, 4_560_000, 7_000_000_000].map(count),
            ["0", "9999", "12.3k", "4.56M", "7.00G"]
        );
        assert_eq!([0.0, 0.25, 9.94, 10.4, 20_000.0].map(rate), ["0", "0.2", "9.9", "10", "20.0k"]);
        assert_eq!([12.0, 2_048.0, 3_145_728.0].map(bytes), ["12 B", "2.00 KiB", "3.00 MiB"]);
        assert_eq!(
            [0, 59, 60, 3_661, 90_000].map(duration),
            ["0 s", "59 s", "1 min", "1 h 1 min", "1 d 1 h"]
        );
        assert_eq!(percent(99_999, 100_000), "99.9%");
        assert_eq!([percent(1, 1), percent(0, 0), percent(1, 3)], ["100%", "-", "33.3%"]);
        assert_eq!([share(1.0), share(0.999_99), share(0.0)], ["100%", "99.9%", "0.0%"]);
        assert_eq!(
            [0.0404, 1.25, 90.0, 5_400.0, 129_600.0].map(seconds),
            ["40 ms", "1.2 s", "1.5 min", "1.5 h", "1.5 d"]
        );
    }
}
