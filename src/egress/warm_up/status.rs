//! How far sources are warmed up, for operators; and what these may change.

use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::base::limits::WARM_UP_ROWS_MAX;
use crate::egress::warm_up::ledger::{Count, Course, Ledger};
use crate::egress::warm_up::saved::Line;
use crate::egress::warm_up::{Planned, Roster};

/// What is to be done with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Stay at the present day of the plan.
    Hold,
    /// Go on from there.
    Resume,
    /// Be at this day of the plan today.
    Day(u32),
    /// Be warm.
    Finish,
}

/// Why something cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such source, or it is not to be warmed up.
    #[error("{0} is no source with a warm-up")]
    NoSource(String),
    /// It has not begun.
    #[error("the warm-up of {0} has not begun: say `day 1` to begin today")]
    NotBegun(String),
    /// It is over.
    #[error("the warm-up of {0} is over: say a day to begin again there")]
    Over(String),
    /// The plan has no such day.
    #[error("the plan of {0} has days 1 to {1}")]
    NoDay(String, usize),
    /// It could not be written down.
    #[error("it cannot be written down: {0}")]
    NotWritten(String),
}

/// A source that is warmed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// By its name.
    pub source: String,
    /// Its plan, by name.
    pub plan: String,
    /// Day 1, as `2026-11-01`.
    pub began: String,
    /// The day of the plan today; 0: it has not begun.
    pub day: u32,
    /// Days of the plan, of the provider with the most.
    pub days: u32,
    /// `waits`, `warming`, `held` or `warm`.
    pub state: String,
    /// When this day is over, by the clocks of the configured zone.
    pub until: String,
    /// Messages today, to all providers.
    pub sent: u64,
    /// How many there may be to each provider for which the plan has no days of its own; `None`:
    /// it is warm there.
    pub allowed: Option<u32>,
    /// Those that it sends to: providers, and sites of none.
    pub providers: Vec<ProviderStatus>,
}

/// What a source that is warmed up sends to one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderStatus {
    /// The provider's name, or the hosts of a site.
    pub provider: String,
    /// Messages today.
    pub sent: u32,
    /// How many there may be today; `None`: it is warm there.
    pub allowed: Option<u32>,
    /// Whether that is all for today.
    pub used_up: bool,
}

impl Ledger {
    /// How all sources stand, or one; of each the providers with the most messages,
    /// `WARM_UP_ROWS_MAX` at most.
    pub fn status(&self, roster: &Roster, source: Option<&str>) -> Vec<SourceStatus> {
        let books = self.books();
        let mut counts: HashMap<&str, Vec<&Arc<Count>>> = HashMap::new();
        for count in books.rations.values() {
            counts.entry(&count.source).or_default().push(count);
        }
        let named = |planned: &&Planned| source.is_none_or(|source| *planned.source == *source);
        let row = |planned: &Planned| {
            let course = books.courses.get(&planned.source)?;
            let counts = counts.get(&*planned.source).map_or(&[][..], Vec::as_slice);
            Some(self.row(planned, course, counts))
        };
        roster.sources().iter().filter(named).filter_map(row).collect()
    }

    fn row(&self, planned: &Planned, course: &Course, counts: &[&Arc<Count>]) -> SourceStatus {
        let today = self.today.day();
        // Those that a site uses, or that were used today.
        let used = |count: &&&Arc<Count>| Arc::strong_count(count) > 1 || count.sent(today) > 0;
        let provider = |count: &&Arc<Count>| {
            let (sent, days) = (count.sent(today), planned.plan.days(&count.provider));
            let allowed = course.allowed(days, today);
            let used_up = allowed.is_some_and(|allowed| sent >= allowed);
            ProviderStatus { provider: count.provider.to_string(), sent, allowed, used_up }
        };
        let mut providers: Vec<_> = counts.iter().filter(used).map(provider).collect();
        let sent = providers.iter().map(|row| u64::from(row.sent)).sum();
        providers.sort_by(|a, b| b.sent.cmp(&a.sent).then_with(|| a.provider.cmp(&b.provider)));
        providers.truncate(WARM_UP_ROWS_MAX);
        let days = u32::try_from(planned.plan.length()).unwrap_or(u32::MAX);
        let number = course.number(today);
        let state = match course.held() {
            Some(_) => "held",
            None if number < 1 => "waits",
            None if number > i64::from(days) => "warm",
            None => "warming",
        };
        SourceStatus {
            source: planned.source.to_string(),
            plan: planned.plan.name.to_string(),
            began: course.begun().to_string(),
            day: u32::try_from(number.max(0)).unwrap_or(u32::MAX),
            days,
            state: state.to_owned(),
            until: self.today.words().to_string(),
            sent,
            allowed: course.allowed(&planned.plan.usual, today),
            providers,
        }
    }

    /// What an order makes of a source: for the file, before it is done ([`Ledger::follow`]).
    pub fn order(&self, roster: &Roster, source: &str, verb: Verb) -> Result<Line, OrderError> {
        let name = || source.to_owned();
        let books = self.books();
        let planned = roster.of(source).zip(books.courses.get(source));
        let (planned, course) = planned.ok_or_else(|| OrderError::NoSource(name()))?;
        let (today, length) = (self.today.day(), planned.plan.length());
        let number = course.number(today);
        let days = i32::try_from(length).unwrap_or(i32::MAX);
        let at = |number: i32| today.plus(1 - number);
        let (begun, held) = match verb {
            Verb::Hold if number < 1 => return Err(OrderError::NotBegun(name())),
            Verb::Hold if number > i64::from(days) => return Err(OrderError::Over(name())),
            Verb::Hold => (course.begun(), u32::try_from(number).ok()),
            Verb::Resume => match course.held() {
                Some(held) => (at(i32::try_from(held).unwrap_or(days)), None),
                None => (course.begun(), None),
            },
            Verb::Day(day) => match i32::try_from(day) {
                Ok(day @ 1..) if day <= days => {
                    (at(day), course.held().and(u32::try_from(day).ok()))
                }
                Ok(_) | Err(_) => return Err(OrderError::NoDay(name(), length)),
            },
            Verb::Finish => (at(days.saturating_add(1)), None),
        };
        let (plan, from) = &course.given;
        let course = Course::new(plan, *from, begun, held.unwrap_or(0));
        Ok(course.line(source))
    }

    /// Do what a line says of a source.
    pub fn follow(&self, line: &Line) {
        let Line::Course { source, begun, held, .. } = line else { return };
        if let Some(course) = self.books().courses.get(source) {
            course.set(*begun, *held);
        }
    }
}
