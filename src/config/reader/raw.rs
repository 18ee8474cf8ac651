//! A value as it was written, in the file or after a flag.

use toml::de::DeValue;

use crate::config::units::Wrong;

/// A value as it was written. A flag has no types: its text is whatever the knob takes.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) enum Raw<'d> {
    /// In the file.
    Toml(&'d DeValue<'d>),
    /// After a flag.
    Flag(&'d str),
}

impl<'d> Raw<'d> {
    pub(super) fn text(self) -> Result<&'d str, Wrong> {
        match self {
            Self::Flag(text) => Ok(text),
            Self::Toml(value) => value.as_str().ok_or_else(|| {
                let wrong = Wrong::new(format!("expected text, not {}", kind_of(value)));
                match as_written(value) {
                    Some(written) => {
                        wrong.help(format!("write \"{written}\", with its unit if any"))
                    }
                    None => wrong,
                }
            }),
        }
    }

    pub(super) fn integer(self) -> Result<u64, Wrong> {
        let digits = match self {
            Self::Flag(text) => text,
            Self::Toml(DeValue::Integer(integer)) if integer.radix() == 10 => integer.as_str(),
            Self::Toml(value) => {
                let wrong = Wrong::new(format!("expected a whole number, not {}", kind_of(value)));
                let digits = value.as_str().filter(|text| text.parse::<u64>().is_ok());
                return Err(match digits {
                    Some(digits) => wrong.help(format!("write {digits} without quotes")),
                    None => wrong,
                });
            }
        };
        digits.parse().map_err(|_| Wrong::new(format!("`{digits}` is no whole number from 0 up")))
    }

    /// A number with up to two decimals, in hundredths.
    pub(super) fn hundredths(self) -> Result<u32, Wrong> {
        let written = match self {
            Self::Flag(text) => text.to_owned(),
            Self::Toml(value @ (DeValue::Integer(_) | DeValue::Float(_))) => {
                as_written(value).unwrap_or_default()
            }
            Self::Toml(value) => {
                return Err(Wrong::new(format!("expected a number, not {}", kind_of(value))));
            }
        };
        let wrong = || Wrong::new(format!("`{written}` is no number with up to two decimals"));
        let (whole, decimals) = written.split_once('.').unwrap_or((&written, "0"));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain =
            all_digits(whole) && all_digits(decimals) && (1..=2).contains(&decimals.len());
        let digits = if is_plain { format!("{whole}{decimals:0<2}") } else { String::new() };
        digits.parse().map_err(|_| wrong())
    }
}

/// A number as the file has it.
fn as_written(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Integer(integer) => Some(integer.as_str().to_owned()),
        DeValue::Float(float) => Some(float.as_str().to_owned()),
        DeValue::Boolean(_)
        | DeValue::String(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    }
}

/// What kind of value this is, with its article.
pub(in crate::config) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with decimals",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}
