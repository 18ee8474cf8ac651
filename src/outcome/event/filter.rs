//! Tell events that are wanted from others by terms over their fields, as `kind=bounced code=5xx`.
//!
//! In: terms, lines of the event log. Out: whether all terms hold, with the line's number and time.
//! A line is read once, and nothing of it is kept. A field that a line does not have is an empty
//! one. Invariant: what cannot be asked (a field or a word that no event has) is an error when the
//! terms are read, not a filter that nothing passes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor, value::StrDeserializer};
use serde::{Deserialize, Deserializer};

use crate::base::limits::{EVENT_TERM_VALUES_MAX, EVENT_TERMS_MAX};
use crate::base::time::WallTime;
use crate::outcome::classes::Class;
use crate::outcome::event::{By, Kind, form};

/// What values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Words of [`Kind`].
    Kind,
    /// Words of [`Class`].
    Class,
    /// Words of [`By`].
    By,
    /// `550`, `5xx`.
    Code,
    /// `5.1.1`, `5.1.x`, `5.x.x`.
    Status,
    Number,
    Text,
}

/// Every field that can be asked for. What is no text and no number (`delays`, `verified`) cannot.
const FIELDS: [(&str, Form); 25] = [
    ("kind", Form::Kind),
    ("class", Form::Class),
    ("code", Form::Code),
    ("status", Form::Status),
    ("domain", Form::Text),
    ("recipient", Form::Text),
    ("tenant", Form::Text),
    ("campaign", Form::Text),
    ("reverse_path", Form::Text),
    ("id", Form::Text),
    ("stage", Form::Text),
    ("site", Form::Text),
    ("peer", Form::Text),
    ("upstream", Form::Text),
    ("source", Form::Text),
    ("provider", Form::Text),
    ("milter", Form::Text),
    ("tls", Form::Text),
    ("reply", Form::Text),
    ("durability", Form::Text),
    ("by", Form::By),
    ("url", Form::Text),
    ("attempt", Form::Number),
    ("size", Form::Number),
    ("shard", Form::Number),
];

/// Why terms cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It is no field with a value.
    #[error("`{0}` is no term: write a field, `=`, `!=`, `~`, `<`, `<=`, `>` or `>=`, and a value")]
    NoTerm(String),
    /// No event has it.
    #[error("events have no field `{0}` that can be asked for; they have {names}", names = names())]
    Field(String),
    /// No event has such a value there.
    #[error("`{value}` is nothing that `{field}` can be: {why}")]
    Value {
        /// Which field.
        field: &'static str,
        /// What was asked.
        value: String,
        /// What it can be.
        why: String,
    },
    /// Words have no order.
    #[error("`{0}` is no number: `<` and `>` are for attempt, size, shard and code")]
    Order(&'static str),
    /// A quotation mark without its other.
    #[error("a quotation mark is not closed")]
    Quote,
    /// More than are looked at.
    #[error("more than {EVENT_TERMS_MAX} terms, or {EVENT_TERM_VALUES_MAX} values of one")]
    Many,
}

fn names() -> String {
    let names: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// How a field is held against values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// It is one of them.
    Is,
    /// It is none of them.
    IsNot,
    /// One of them is in it.
    Has,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

/// Longer ones first: `<` begins `<=`.
const RELATIONS: [(&str, Relation); 7] = [
    ("!=", Relation::IsNot),
    ("<=", Relation::LessOrEqual),
    (">=", Relation::MoreOrEqual),
    ("=", Relation::Is),
    ("~", Relation::Has),
    ("<", Relation::Less),
    (">", Relation::More),
];

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: &'static str,
    form: Form,
    relation: Relation,
    /// In lower case.
    values: Vec<String>,
}

/// Terms that must hold, all of them; none lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    terms: Vec<Term>,
    text: String,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// Its number.
    pub sequence: u64,
    /// Its time.
    pub time: WallTime,
    /// All terms hold.
    pub is_wanted: bool,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Filter {
    /// Terms with spaces between; a value with spaces in it, or a comma, stands in `"`.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let terms: Result<Vec<Term>, _> =
            split(text, char::is_whitespace)?.into_iter().map(term).collect();
        let terms = terms?;
        if terms.len() > EVENT_TERMS_MAX {
            return Err(FilterError::Many);
        }
        Ok(Self { terms, text: text.to_owned() })
    }

    /// What a line of the event log is; an error where it is none.
    pub fn look(&self, line: &[u8]) -> Result<Glance, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(line);
        let glance = Look(&self.terms).deserialize(&mut reader)?;
        reader.end()?;
        Ok(glance)
    }
}

/// The parts of `text` between separators that stand outside of quotation marks.
fn split(text: &str, separates: impl Fn(char) -> bool) -> Result<Vec<&str>, FilterError> {
    let mut is_quoted = false;
    let parts = text.split(|c| {
        is_quoted ^= c == '"';
        !is_quoted && separates(c)
    });
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    if is_quoted { Err(FilterError::Quote) } else { Ok(parts) }
}

fn term(text: &str) -> Result<Term, FilterError> {
    let no_term = || FilterError::NoTerm(text.to_owned());
    let end = text.find(['=', '!', '~', '<', '>']).ok_or_else(no_term)?;
    let (name, rest) = text.split_at(end);
    let known = FIELDS.iter().find(|(field, _)| *field == name);
    let (field, form) = *known.ok_or_else(|| FilterError::Field(name.to_owned()))?;
    let found = RELATIONS
        .iter()
        .find_map(|(sign, relation)| rest.strip_prefix(sign).map(|values| (values, *relation)));
    let (values, relation) = found.ok_or_else(no_term)?;
    let mut values: Vec<String> = split(values, |c| c == ',')?
        .into_iter()
        .map(|value| value.replace('"', "").to_lowercase())
        .collect();
    if values.is_empty() {
        values.push(String::new());
    }
    if values.len() > EVENT_TERM_VALUES_MAX {
        return Err(FilterError::Many);
    }
    let is_ordered = matches!(form, Form::Number | Form::Code);
    match relation {
        Relation::Is | Relation::IsNot => {
            values.iter().try_for_each(|value| check(field, form, value))?;
        }
        Relation::Has => {}
        Relation::Less | Relation::LessOrEqual | Relation::More | Relation::MoreOrEqual => {
            if !is_ordered {
                return Err(FilterError::Order(field));
            }
            values.iter().try_for_each(|value| check(field, Form::Number, value))?;
        }
    }
    Ok(Term { field, form, relation, values })
}

/// Whether a field can have this value.
fn check(field: &'static str, form: Form, value: &str) -> Result<(), FilterError> {
    let wrong = |why: String| FilterError::Value { field, value: value.to_owned(), why };
    let word = StrDeserializer::<serde::de::value::Error>::new(value);
    let is_digit = |c: char| c.is_ascii_digit() || c == 'x';
    match form {
        // The field is not there.
        _ if value.is_empty() => Ok(()),
        Form::Kind => Kind::deserialize(word).map(drop).map_err(|error| wrong(error.to_string())),
        Form::Class => Class::deserialize(word).map(drop).map_err(|error| wrong(error.to_string())),
        Form::By => By::deserialize(word).map(drop).map_err(|error| wrong(error.to_string())),
        Form::Code if value.len() == 3 && value.chars().all(is_digit) => Ok(()),
        Form::Code => Err(wrong("three digits, or `x` for any".to_owned())),
        Form::Status => {
            let parts = value.split('.').map(|part| part == "x" || part.parse::<u16>().is_ok());
            match parts.clone().count() == 3 && parts.into_iter().all(|is_right| is_right) {
                true => Ok(()),
                false => Err(wrong("three numbers as 5.1.1, or `x` for any".to_owned())),
            }
        }
        Form::Number => match value.parse::<u64>() {
            Ok(_) => Ok(()),
            Err(_) => Err(wrong("a whole number".to_owned())),
        },
        Form::Text => Ok(()),
    }
}

impl Term {
    /// Whether it holds for this value of its field.
    fn holds(&self, value: &str) -> bool {
        let mut values = self.values.iter().map(String::as_str);
        match self.relation {
            Relation::Is => values.any(|wanted| self.is(wanted, value)),
            Relation::IsNot => !values.any(|wanted| self.is(wanted, value)),
            Relation::Has => {
                let value = value.to_lowercase();
                values.any(|wanted| value.contains(wanted))
            }
            Relation::Less => self.compare(value, |is, bound| is < bound),
            Relation::LessOrEqual => self.compare(value, |is, bound| is <= bound),
            Relation::More => self.compare(value, |is, bound| is > bound),
            Relation::MoreOrEqual => self.compare(value, |is, bound| is >= bound),
        }
    }

    fn is(&self, wanted: &str, value: &str) -> bool {
        let fits = |wanted: &str, value: &str| wanted == "x" || wanted == value;
        match self.form {
            Form::Code => {
                let digits = wanted.bytes().zip(value.bytes());
                wanted.len() == value.len()
                    && digits.into_iter().all(|(wanted, is)| wanted == b'x' || wanted == is)
            }
            Form::Status => {
                let is_there = value.is_empty() == wanted.is_empty();
                is_there && wanted.split('.').zip(value.split('.')).all(|(w, v)| fits(w, v))
            }
            Form::Kind | Form::Class | Form::By | Form::Number | Form::Text => {
                match value.is_ascii() && wanted.is_ascii() {
                    true => value.eq_ignore_ascii_case(wanted),
                    false => value.to_lowercase() == wanted,
                }
            }
        }
    }

    fn compare(&self, value: &str, holds: impl Fn(u64, u64) -> bool) -> bool {
        let Ok(value) = value.parse() else { return false };
        let bounds = self.values.iter().filter_map(|bound| bound.parse().ok());
        bounds.into_iter().all(|bound| holds(value, bound))
    }
}

/// Looks through one line.
struct Look<'a>(&'a [Term]);

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = Glance;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Glance, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = Glance;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Glance, A::Error> {
        let missing = serde::de::Error::missing_field;
        let (mut sequence, mut time) = (None, None);
        // A bit for each term: looked at, and holds.
        let (mut seen, mut holds) = (0_u64, 0_u64);
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                "sequence" => sequence = Some(map.next_value()?),
                "time" => time = Some(map.next_value::<Time>()?.0),
                key if self.0.iter().any(|term| term.field == key) => {
                    let Scalar(value) = map.next_value()?;
                    let terms = self.0.iter().enumerate().filter(|(_, term)| term.field == key);
                    for (place, term) in terms {
                        seen |= 1 << place;
                        holds |= u64::from(term.holds(&value)) << place;
                    }
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let hold = |(place, term): (usize, &Term)| match seen >> place & 1 {
            0 => term.holds(""),
            _ => holds >> place & 1 == 1,
        };
        Ok(Glance {
            sequence: sequence.ok_or_else(|| missing("sequence"))?,
            time: time.ok_or_else(|| missing("time"))?,
            is_wanted: self.0.iter().enumerate().all(hold),
        })
    }
}

#[derive(Deserialize)]
struct Time(#[serde(with = "form::time")] WallTime);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Text, or a number as text.
struct Scalar<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a number")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar(Cow::Owned(number.to_string())))
    }
}

#[cfg(test)]
mod tests;
