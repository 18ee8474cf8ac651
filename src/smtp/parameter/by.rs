//! Read BY, the parameter of MAIL that says by when (RFC 2852 §4).

use crate::base::limits::DELIVER_BY_DIGITS_MAX;
use crate::mail::handling::{By, Late};

/// `120;R`, `-5;NT`. What is to be returned when it is late cannot be late already.
pub(super) fn by(value: &str) -> Option<By> {
    let (time, mode) = value.split_once(';')?;
    let digits = time.strip_prefix(['-', '+']).unwrap_or(time);
    let is_time = (1..=DELIVER_BY_DIGITS_MAX).contains(&digits.len())
        && digits.bytes().all(|octet| octet.is_ascii_digit());
    let seconds: i32 = if is_time { digits.parse().ok()? } else { return None };
    let seconds = if time.starts_with('-') { -seconds } else { seconds };
    let (late, trace) = match mode.to_ascii_uppercase().as_str() {
        "R" => (Late::Return, false),
        "RT" => (Late::Return, true),
        "N" => (Late::Notify, false),
        "NT" => (Late::Notify, true),
        _ => return None,
    };
    (late == Late::Notify || seconds > 0).then_some(By { seconds, late, trace })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_nine_digits_and_a_mode() {
        for (text, seconds, late, trace) in [
            ("120;R", 120, Late::Return, false),
            ("+1;rt", 1, Late::Return, true),
            ("-5;N", -5, Late::Notify, false),
            ("0;nT", 0, Late::Notify, true),
            ("999999999;R", 999_999_999, Late::Return, false),
            ("000000001;N", 1, Late::Notify, false),
        ] {
            assert_eq!(by(text), Some(By { seconds, late, trace }), "{text}");
        }
        for wrong in [
            "",
            ";R",
            "120",
            "120;",
            "120;X",
            "120;T",
            "120;TR",
            "120;RTT",
            "120;R;T",
            "-;N",
            "+-1;N",
            "--1;N",
            "1234567890;N",
            "1.5;N",
            "1 ;N",
            "0;R",
            "-1;R",
            "0;RT",
            "\u{661};N",
        ] {
            assert_eq!(by(wrong), None, "{wrong:?}");
        }
    }
}
