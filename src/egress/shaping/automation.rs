//! Act on what peers say: which replies, how often, and what follows for how long.
//!
//! In: refusals, of one source at one site. Out: the rules that they set off. Invariant: what is
//! remembered is bounded by `TRIGGERS_MAX` and `TRIGGER_COUNT_MAX`; a reply is looked at for
//! `SHAPING_TEXT_MAX` octets, in time that grows with them alone.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use regex::{Regex, RegexSet, RegexSetBuilder};
use serde::Deserialize;

use crate::base::limits::{
    ACTION_TIME, SHAPING_NAME_MAX, SHAPING_PATTERN_MAX, SHAPING_PATTERNS_BYTES_MAX,
    SHAPING_PATTERNS_MAX, SHAPING_TEXT_MAX, TRIGGER_COUNT_MAX, TRIGGERS_MAX,
};
use crate::base::text::head;
use crate::base::time::Monotonic;
use crate::egress::line::Sender;
use crate::egress::shaping::figures::{rate, show_rate, show_time, time};
use crate::egress::shaping::form::{ShapingError, Text, is_name, names, patterns};
use crate::egress::shaping::{Classes, Patterns, SiteNames, SourceNames, fits_source};
use crate::egress::throttle::Rate;
use crate::mail::address::Domain;
use crate::mail::class::Class;
use crate::mail::handling::{Handling, sender};
use crate::mail::reply_pattern::ReplyPattern;
use crate::mail::status::EnhancedStatus;

/// As a file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GivenAutomation {
    name: Option<Box<str>>,
    #[serde(default)]
    codes: Vec<String>,
    #[serde(default)]
    status: Vec<String>,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default)]
    class: Vec<Class>,
    #[serde(default)]
    provider: Vec<String>,
    #[serde(default)]
    mx: Vec<String>,
    #[serde(default)]
    domains: Vec<String>,
    #[serde(default)]
    source: Vec<String>,
    count: Option<u32>,
    within: Option<String>,
    action: ActionName,
    rate: Option<String>,
    #[serde(default)]
    to: Vec<String>,
    #[serde(rename = "for")]
    lasts: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ActionName {
    SlowDown,
    Suspend,
    SuspendSource,
    SwitchSource,
    SuspendTenant,
    SuspendCampaign,
    Bounce,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The source's rate at the site halves, or goes down to this; it begins to climb back after
    /// the time.
    SlowDown(Option<Rate>),
    /// The site is left alone.
    Suspend,
    /// The site is left alone by this source.
    SuspendSource,
    /// The site gets its mail from other sources: from these, or from any if none is named. Where
    /// there is no other, nothing changes.
    SwitchSource(Box<[Box<str>]>),
    /// The site has nothing of the tenant whose message it was. Where it has none, nothing changes.
    SuspendTenant,
    /// The same for the campaign, or for the tenant's mail without one.
    SuspendCampaign,
    /// Recipients that are refused like this are not tried again.
    Bounce,
}

/// A rule.
#[derive(Debug)]
pub struct Trigger {
    /// For people, and what it is remembered by.
    pub name: Arc<str>,
    codes: Vec<ReplyPattern>,
    status: Vec<ReplyPattern>,
    has_words: bool,
    /// Its patterns, on their way into the one set of all.
    words: Vec<String>,
    classes: Classes,
    /// Of the providers that it names, those of each of their entries.
    providers: Option<Vec<Patterns>>,
    hosts: Patterns,
    domains: Patterns,
    sources: Box<[Box<str>]>,
    count: u32,
    within: Duration,
    /// What follows.
    pub action: Action,
    /// For how long.
    pub lasts: Duration,
}

/// What a peer said.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// Its reply code.
    pub code: Option<u16>,
    /// The status in the reply.
    pub status: Option<EnhancedStatus>,
    /// Its words.
    pub text: &'a str,
    /// What kind of refusal that is.
    pub class: Class,
    /// Where the mail was to go.
    pub domain: Option<&'a Domain>,
}

/// All rules, ready for use.
#[derive(Debug, Default)]
pub struct Automation {
    triggers: Vec<Trigger>,
    words: RegexSet,
    /// The rule that each pattern belongs to.
    words_of: Vec<usize>,
}

/// The rules that are for a source at a site, by their places.
pub type Scope = Arc<[u16]>;

impl Automation {
    pub(super) fn new(mut triggers: Vec<Trigger>) -> Result<Self, ShapingError> {
        let (mut words, mut words_of) = (Vec::new(), Vec::new());
        for (place, trigger) in triggers.iter_mut().enumerate() {
            for pattern in std::mem::take(&mut trigger.words) {
                words.push(pattern);
                words_of.push(place);
            }
        }
        if words.len() > SHAPING_PATTERNS_MAX {
            return Err(ShapingError::TooMany);
        }
        let mut builder = RegexSetBuilder::new(&words);
        let set = builder.case_insensitive(true).size_limit(SHAPING_PATTERNS_BYTES_MAX).build()?;
        Ok(Self { triggers, words: set, words_of })
    }

    /// The rules.
    pub fn triggers(&self) -> &[Trigger] {
        &self.triggers
    }

    /// Those that are for a source at a site.
    pub fn scope(&self, site: SiteNames<'_>, source: SourceNames<'_>) -> Scope {
        let is_for = |trigger: &Trigger| {
            let of_provider = |all: &Vec<Patterns>| all.iter().any(|one| one.fit_all(site.hosts));
            trigger.providers.as_ref().is_none_or(of_provider)
                && (trigger.hosts.0.is_empty() || trigger.hosts.fit_all(site.hosts))
                && fits_source(&trigger.sources, source)
        };
        let places = (0u16..).zip(&self.triggers).filter(|(_, trigger)| is_for(trigger));
        places.map(|(place, _)| place).collect()
    }

    /// Those of `scope` that a refusal fits, in their order.
    pub fn fitting(&self, scope: &[u16], refusal: &Refusal<'_>) -> Vec<&Trigger> {
        let mut said = Vec::new();
        if !self.words_of.is_empty() && !scope.is_empty() {
            let hits = self.words.matches(head(refusal.text, SHAPING_TEXT_MAX));
            said.extend(hits.iter().map(|pattern| self.words_of[pattern]));
        }
        let of_scope = scope.iter().map(|place| usize::from(*place));
        let of_scope = of_scope.filter_map(|place| Some((place, self.triggers.get(place)?)));
        let fits = |(place, trigger): &(usize, &Trigger)| {
            (!trigger.has_words || said.contains(place)) && trigger.fits(refusal)
        };
        of_scope.filter(fits).map(|(_, trigger)| trigger).collect()
    }
}

impl Trigger {
    /// What a reply to mail that is handled so is remembered by, and what it is about: a tenant or
    /// a campaign, by its number. `None`: there is nobody whom it could be about.
    pub fn about(&self, handling: Option<&Handling>) -> Option<(Arc<str>, u64)> {
        let of_tenant = match self.action {
            Action::SuspendTenant => true,
            Action::SuspendCampaign => false,
            Action::SlowDown(_)
            | Action::Suspend
            | Action::SuspendSource
            | Action::SwitchSource(_)
            | Action::Bounce => return Some((self.name.clone(), 0)),
        };
        let tenant = handling?.tenant.as_ref()?;
        let campaign = handling?.campaign.as_ref().filter(|_| !of_tenant);
        let of = campaign.map_or_else(|| tenant.to_string(), |name| format!("{tenant}, {name}"));
        let number = sender(Some(tenant), campaign);
        let number = if of_tenant { Sender::all_of(number) } else { number };
        Some((format!("{} ({of})", self.name).into(), number))
    }

    fn fits(&self, refusal: &Refusal<'_>) -> bool {
        let of_domain = |domain: &Domain| self.domains.fit(domain.as_str());
        (self.codes.is_empty() || self.codes.iter().any(|one| one.fits_code(refusal.code)))
            && (self.status.is_empty()
                || self.status.iter().any(|one| one.fits_status(refusal.status)))
            && (self.classes.is_empty() || self.classes.contains(refusal.class))
            && (self.domains.0.is_empty() || refusal.domain.is_some_and(of_domain))
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lasts = show_time(self.lasts);
        write!(f, "{}: ", self.name)?;
        if self.count > 1 {
            write!(f, "after {} in {}, ", self.count, show_time(self.within))?;
        }
        match &self.action {
            Action::SlowDown(None) => write!(f, "halve the rate for {lasts}"),
            Action::SlowDown(rate) => write!(f, "{} for {lasts}", show_rate(*rate)),
            Action::Suspend => write!(f, "leave the site alone for {lasts}"),
            Action::SuspendSource => write!(f, "leave the site alone from there for {lasts}"),
            Action::SwitchSource(to) if to.is_empty() => write!(f, "other sources for {lasts}"),
            Action::SwitchSource(to) => write!(f, "{} instead for {lasts}", to.join(", ")),
            Action::SuspendTenant => write!(f, "nothing of the tenant for {lasts}"),
            Action::SuspendCampaign => write!(f, "nothing of the campaign for {lasts}"),
            Action::Bounce => write!(f, "bounce for {lasts}"),
        }
    }
}

impl GivenAutomation {
    /// What it means, after the rules of shapes `before` it.
    pub(super) fn read(
        self,
        span: &Range<usize>,
        text: &Text<'_>,
        before: &[super::Rule],
    ) -> Result<Trigger, ShapingError> {
        self.trigger(before, |title| text.name(title, span))
            .map_err(|said| text.wrong(span, format!("[[automation]]: {said}")))
    }

    fn trigger(
        self,
        before: &[super::Rule],
        default_name: impl Fn(&str) -> Box<str>,
    ) -> Result<Trigger, String> {
        self.check()?;
        let providers = self.provider.iter().map(|name| {
            let of = |rule: &&super::Rule| rule.given.name.as_deref() == Some(name);
            let all: Vec<_> = before.iter().filter(of).map(|rule| rule.hosts.clone()).collect();
            if all.is_empty() { Err(format!("no [[provider]] is named {name}")) } else { Ok(all) }
        });
        let providers: Vec<Patterns> =
            providers.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let read = |texts: &[String], read: fn(&str) -> Option<ReplyPattern>| {
            let one = |text: &String| read(text).ok_or_else(|| format!("`{text}` is no code"));
            texts.iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        let action = match self.action {
            ActionName::SlowDown => {
                Action::SlowDown(self.rate.as_deref().map(rate).transpose()?.flatten())
            }
            ActionName::Suspend => Action::Suspend,
            ActionName::SuspendSource => Action::SuspendSource,
            ActionName::SwitchSource => Action::SwitchSource(names(&self.to)?),
            ActionName::SuspendTenant => Action::SuspendTenant,
            ActionName::SuspendCampaign => Action::SuspendCampaign,
            ActionName::Bounce => Action::Bounce,
        };
        Ok(Trigger {
            name: self.name.unwrap_or_else(|| default_name("[[automation]]")).into(),
            codes: read(&self.codes, ReplyPattern::code)?,
            status: read(&self.status, ReplyPattern::status)?,
            has_words: !self.words.is_empty(),
            words: self.words,
            classes: self.class.into_iter().collect(),
            providers: (!self.provider.is_empty()).then_some(providers),
            hosts: patterns(&self.mx)?,
            domains: patterns(&self.domains)?,
            sources: names(&self.source)?,
            count: self.count.unwrap_or(1),
            within: self.within.as_deref().map_or(Ok(Duration::ZERO), time)?,
            action,
            lasts: self.lasts.as_deref().map_or(Ok(ACTION_TIME), time)?,
        })
    }

    fn check(&self) -> Result<(), String> {
        let Self { codes, status, words, class, .. } = self;
        if codes.is_empty() && status.is_empty() && words.is_empty() && class.is_empty() {
            return Err("it fits everything: give it codes, status, words or class".into());
        }
        let is_wrong = |word: &String| word.is_empty() || word.len() > SHAPING_PATTERN_MAX;
        if words.iter().any(is_wrong) {
            return Err(format!("a pattern has 1 to {SHAPING_PATTERN_MAX} octets"));
        }
        for word in words {
            // All go into one set below; here it is known which one is wrong, and where.
            if let Err(error) = Regex::new(word) {
                let said = error.to_string();
                return Err(format!("`{word}`: {}", said.lines().last().unwrap_or_default()));
            }
        }
        if self.name.as_deref().is_some_and(|name| !is_name(name)) {
            return Err(format!("`name` is 1 to {SHAPING_NAME_MAX} printable characters"));
        }
        let count = self.count.unwrap_or(1);
        if !(1..=TRIGGER_COUNT_MAX).contains(&count) {
            return Err(format!("`count` is 1 to {TRIGGER_COUNT_MAX}"));
        }
        if (count > 1) != self.within.is_some() {
            return Err("`count` of more than 1 and `within` go together".into());
        }
        if self.rate.is_some() && self.action != ActionName::SlowDown {
            return Err("`rate` goes with the action slow-down".into());
        }
        if self.rate.as_deref() == Some("unlimited") {
            return Err("`rate` is one that is slower".into());
        }
        if !self.to.is_empty() && self.action != ActionName::SwitchSource {
            return Err("`to` goes with the action switch-source".into());
        }
        Ok(())
    }
}

/// What is remembered of the rules that replies to one source at one site fitted.
#[derive(Debug, Default)]
pub struct Triggers(Vec<Remembered>);

#[derive(Debug)]
struct Remembered {
    name: Arc<str>,
    /// When replies came that count; fewer than it takes.
    times: VecDeque<Monotonic>,
    /// In force until then.
    until: Option<Monotonic>,
}

/// What a reply means for a rule that it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// There were too few of them.
    Counted,
    /// The rule is in force from now on.
    Begins,
    /// It is, since before.
    InForce,
}

impl Triggers {
    /// A reply that `trigger` fits came, which is remembered by `name`.
    pub fn note(&mut self, trigger: &Trigger, name: &Arc<str>, now: Monotonic) -> Effect {
        let row = self.row(name);
        if row.until.is_some_and(|until| now < until) {
            return Effect::InForce;
        }
        row.until = None;
        row.times.retain(|time| now.since(*time) <= trigger.within);
        if row.times.len() + 1 < trigger.count as usize {
            row.times.push_back(now);
            return Effect::Counted;
        }
        row.times.clear();
        row.until = Some(now + trigger.lasts);
        Effect::Begins
    }

    fn row(&mut self, name: &Arc<str>) -> &mut Remembered {
        if let Some(place) = self.0.iter().position(|row| row.name == *name) {
            let row = self.0.remove(place);
            self.0.push(row);
        } else {
            if self.0.len() >= TRIGGERS_MAX {
                self.0.remove(0);
            }
            let (name, times) = (name.clone(), VecDeque::new());
            self.0.push(Remembered { name, times, until: None });
        }
        self.0.last_mut().expect("pushed just now")
    }

    /// Forget everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The rules that are in force, and until when.
    pub fn in_force(&self, now: Monotonic) -> impl Iterator<Item = (&str, Monotonic)> {
        let until = move |row: &Remembered| row.until.filter(|until| now < *until);
        self.0.iter().filter_map(move |row| Some((&*row.name, until(row)?)))
    }
}
