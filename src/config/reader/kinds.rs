//! Read knobs of each kind: form, range and default come from the knob itself.

use std::fmt::Display;
use std::time::Duration;

use crate::config::knob::{Kind, Knob, show_hundredths};
use crate::config::options::Rate;
use crate::config::reader::raw::{Raw, kind_of};
use crate::config::reader::{FlagValue, Given, Reader, Section, find};
use crate::config::suggest;
use crate::config::units::{
    Wrong, parse_duration, parse_rate, parse_size, show_duration, show_rate, show_size,
};

impl Reader<'_> {
    /// A knob of kind `Count`; `machine` is the default where the knob has none.
    pub(in crate::config) fn count<'d>(
        &mut self,
        section: &Section<'d>,
        knob: &'static Knob,
        flag: Option<FlagValue<'d>>,
        machine: u64,
    ) -> u64 {
        let Kind::Count { default, least, most, .. } = knob.kind else { mismatch(knob) };
        let parse = |raw: Raw<'_>| in_range(raw.integer()?, least, most, u64::to_string);
        let default = default.unwrap_or(machine);
        self.or_default(section, knob, flag, default, parse, u64::to_string).value
    }

    /// A knob of kind `Count` whose range is within 32 bits.
    pub(in crate::config) fn count_u32(
        &mut self,
        section: &Section<'_>,
        knob: &'static Knob,
    ) -> u32 {
        u32::try_from(self.count(section, knob, None, 0)).expect("the knob's range is 32 bits")
    }

    /// A knob of kind `Size`, in octets.
    pub(in crate::config) fn size(
        &mut self,
        section: &Section<'_>,
        knob: &'static Knob,
    ) -> Given<u64> {
        let Kind::Size { default, least, most } = knob.kind else { mismatch(knob) };
        let show = |octets: &u64| show_size(*octets);
        let parse = |raw: Raw<'_>| in_range(parse_size(raw.text()?)?, least, most, show);
        self.or_default(section, knob, None, default, parse, |octets| quoted(&show(octets)))
    }

    /// A knob of kind `Duration`.
    pub(in crate::config) fn duration(
        &mut self,
        section: &Section<'_>,
        knob: &'static Knob,
    ) -> Given<Duration> {
        let Kind::Duration { default, least, most } = knob.kind else { mismatch(knob) };
        let show = |duration: &Duration| show_duration(*duration);
        let parse = |raw: Raw<'_>| in_range(parse_duration(raw.text()?)?, least, most, show);
        self.or_default(section, knob, None, default, parse, |duration| quoted(&show(duration)))
    }

    /// A knob of kind `Decimal`, in hundredths.
    pub(in crate::config) fn decimal(&mut self, section: &Section<'_>, knob: &'static Knob) -> u32 {
        let Kind::Decimal { default, least, most } = knob.kind else { mismatch(knob) };
        let show = |hundredths: &u32| show_hundredths(*hundredths);
        let parse = |raw: Raw<'_>| in_range(raw.hundredths()?, least, most, show);
        self.or_default(section, knob, None, default, parse, show).value
    }

    /// A knob of kind `Rate`.
    pub(in crate::config) fn rate(
        &mut self,
        section: &Section<'_>,
        knob: &'static Knob,
    ) -> Option<Rate> {
        let Kind::Rate { default } = knob.kind else { mismatch(knob) };
        let show = |rate: &Option<Rate>| quoted(&show_rate(*rate));
        let parse = |raw: Raw<'_>| parse_rate(raw.text()?);
        self.or_default(section, knob, None, default, parse, show).value
    }

    /// A knob of kind `Choice`: one of its words.
    pub(in crate::config) fn choice(
        &mut self,
        section: &Section<'_>,
        knob: &'static Knob,
    ) -> &'static str {
        let Kind::Choice { default, words } = knob.kind else { mismatch(knob) };
        let parse = |raw: Raw<'_>| {
            let text = raw.text()?;
            let found = words.iter().find(|word| **word == text).copied();
            found.ok_or_else(|| {
                let what = format!("`{text}` is not one of {}", words.join(", "));
                suggest::nearest(text, words.iter().copied(), Wrong::new(what))
            })
        };
        self.or_default(section, knob, None, default, parse, |word| quoted(word)).value
    }

    /// A knob of kind `Text`, read by `parse`; `None` where it is not given, or wrong.
    pub(in crate::config) fn text<'d, T: Display>(
        &mut self,
        section: &Section<'d>,
        knob: &'static Knob,
        flag: Option<FlagValue<'d>>,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Given<T>> {
        let parse = |raw: Raw<'_>| parse(raw.text()?);
        self.value(section, knob, flag, parse, |value| quoted(&value.to_string()))
    }

    /// As `text`, for a knob without which its section means nothing.
    pub(in crate::config) fn required<T: Display>(
        &mut self,
        section: &Section<'_>,
        knob: &'static Knob,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Given<T>> {
        self.check_present(section, knob);
        self.text(section, knob, None, parse)
    }

    /// A knob of kind `List`: those of its texts that `parse` takes; `None` where it is not given.
    pub(in crate::config) fn list<T: Display>(
        &mut self,
        section: &Section<'_>,
        knob: &'static Knob,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<Given<T>>> {
        let parse = |raw: Raw<'_>| parse(raw.text()?);
        self.elements(section, knob, parse, |value| quoted(&value.to_string()))
    }

    /// The same of numbers in this range.
    pub(in crate::config) fn numbers(
        &mut self,
        section: &Section<'_>,
        knob: &'static Knob,
        (least, most): (u64, u64),
    ) -> Option<Vec<Given<u64>>> {
        let parse = |raw: Raw<'_>| in_range(raw.integer()?, least, most, u64::to_string);
        self.elements(section, knob, parse, u64::to_string)
    }

    fn elements<T>(
        &mut self,
        section: &Section<'_>,
        knob: &'static Knob,
        parse: impl Fn(Raw<'_>) -> Result<T, Wrong>,
        show: impl Fn(&T) -> String,
    ) -> Option<Vec<Given<T>>> {
        let (place, value) = find(section, knob.key())?;
        let Some(elements) = value.as_array() else {
            let wrong = Wrong::new(format!("`{}` is a list, not {}", knob.key(), kind_of(value)));
            let help = value.as_str().map(|text| format!("write [{}]", quoted(text)));
            self.finder.add(&place, Wrong { help, ..wrong });
            return Some(Vec::new());
        };
        let mut values = Vec::new();
        for element in elements.iter() {
            let place = crate::config::problem::Place::File(element.span());
            match parse(Raw::Toml(element.get_ref())) {
                Ok(value) => values.push(Given { value, place: Some(place) }),
                Err(wrong) => self.finder.add(&place, wrong),
            }
        }
        let shown: Vec<_> = values.iter().map(|given| show(&given.value)).collect();
        self.note(section, knob, format!("[{}]", shown.join(", ")), Some(&place));
        Some(values)
    }

    /// Say that `knob` is missing in `section`, if it is.
    pub(in crate::config) fn check_present(&mut self, section: &Section<'_>, knob: &'static Knob) {
        if find(section, knob.key()).is_none() && !self.is_broken {
            let name = knob.section().trim_end_matches("[]");
            let wrong = Wrong::new(format!("`{}` is missing in [[{name}]]", knob.key()));
            self.finder.add(section.place(), wrong.help(knob.help));
        }
    }

    fn or_default<'d, T>(
        &mut self,
        section: &Section<'d>,
        knob: &'static Knob,
        flag: Option<FlagValue<'d>>,
        default: T,
        parse: impl Fn(Raw<'_>) -> Result<T, Wrong>,
        show: impl Fn(&T) -> String,
    ) -> Given<T> {
        self.value(section, knob, flag, parse, &show).unwrap_or_else(|| {
            self.note(section, knob, show(&default), None);
            Given { value: default, place: None }
        })
    }
}

/// As the file would have it.
pub(in crate::config) fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn in_range<T: PartialOrd>(
    value: T,
    least: T,
    most: T,
    show: impl Fn(&T) -> String,
) -> Result<T, Wrong> {
    if (&least..=&most).contains(&&value) {
        return Ok(value);
    }
    let range = format!("{} to {}", show(&least), show(&most));
    Err(Wrong::new(format!("`{}` is out of range: {range}", show(&value))))
}

fn mismatch(knob: &Knob) -> ! {
    unreachable!("{} is read as what it is not: a test reads every knob", knob.path)
}
