//! Read a shaping file: TOML, as `docs/sending.md` has it.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::base::limits::{
    SHAPING_COMPLAINT_MAX, SHAPING_NAME_MAX, SHAPING_NAMES_MAX, SHAPING_PATTERNS_MAX,
    SHAPING_RULES_MAX,
};
use crate::base::text::head;
use crate::egress::shaping::automation::{Automation, GivenAutomation, Trigger};
use crate::egress::shaping::figures::{rate, time};
use crate::egress::shaping::together::OfProvider;
use crate::egress::shaping::{Classes, Patterns, Rule, Shape, Shaping};
use crate::egress::throttle::Rate;
use crate::mail::address::Domain;
use crate::mail::class::Class;
use crate::mail::route::TlsLevel;

/// Why a file has no rules.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ShapingError {
    /// A line is wrong.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// More than there may be.
    #[error("there are more than {SHAPING_RULES_MAX} rules, or {SHAPING_PATTERNS_MAX} patterns")]
    TooMany,
    /// A pattern is none, or too costly.
    #[error("a pattern of words cannot be used: {0}")]
    Pattern(#[from] regex::Error),
}

/// How near to a domain a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Default,
    Provider,
    Site,
    Domain,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Option<Spanned<Table>>,
    #[serde(default)]
    source: Vec<Spanned<Table>>,
    #[serde(default)]
    provider: Vec<Spanned<Table>>,
    #[serde(default)]
    site: Vec<Spanned<Table>>,
    #[serde(default)]
    domain: Vec<Spanned<Table>>,
    #[serde(default)]
    automation: Vec<Spanned<GivenAutomation>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: Option<Box<str>>,
    mx: Option<Vec<String>>,
    domains: Option<Vec<String>>,
    source: Option<Vec<String>>,
    connections: Option<u32>,
    messages_per_connection: Option<u32>,
    rate: Option<String>,
    rate_floor: Option<String>,
    recovery: Option<String>,
    slow_down_on: Option<Vec<Class>>,
    pipelining: Option<bool>,
    tls: Option<String>,
    pool: Option<Box<str>>,
    provider_connections: Option<u32>,
    provider_rate: Option<String>,
}

/// The values that a rule gives.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    pub(super) name: Option<Box<str>>,
    connections: Option<u32>,
    messages_per_connection: Option<u32>,
    rate: Option<Option<Rate>>,
    rate_floor: Option<Rate>,
    recovery: Option<Duration>,
    slow_down_on: Option<Classes>,
    pipelining: Option<bool>,
    pub(super) tls: Option<TlsLevel>,
    /// Not of a shape: where mail leaves from is known before.
    pub(super) pool: Option<Box<str>>,
    /// Of all sites of the provider together.
    provider_connections: Option<u32>,
    provider_rate: Option<Option<Rate>>,
}

impl Given {
    /// Change what it says something of, at a site of `provider`; `tell` hears the places of these
    /// fields.
    pub(super) fn apply(
        &self,
        shape: &mut Shape,
        provider: Option<&str>,
        mut tell: impl FnMut(usize),
    ) {
        fn put<T: Clone>(given: Option<&T>, into: &mut T) -> bool {
            given.is_some_and(|given| {
                *into = given.clone();
                true
            })
        }
        let mut given = [
            put(self.connections.as_ref(), &mut shape.connections),
            put(self.messages_per_connection.as_ref(), &mut shape.messages_per_connection),
            put(self.rate.as_ref(), &mut shape.rate),
            put(self.rate_floor.as_ref(), &mut shape.rate_floor),
            put(self.recovery.as_ref(), &mut shape.recovery),
            put(self.slow_down_on.as_ref(), &mut shape.slow_down_on),
            put(self.pipelining.as_ref(), &mut shape.pipelining),
            put(self.tls.map(Some).as_ref(), &mut shape.tls),
            false,
            false,
        ];
        let [.., connections, rate] = &mut given;
        if let Some(name) = self.name.as_deref().filter(|name| Some(*name) == provider)
            && self.says_of_all_sites()
        {
            let of = shape.of_provider.get_or_insert_with(|| OfProvider::of(name));
            *connections = put(self.provider_connections.map(Some).as_ref(), &mut of.connections);
            *rate = put(self.provider_rate.as_ref(), &mut of.rate);
        }
        given.iter().enumerate().filter(|(_, given)| **given).for_each(|(place, _)| tell(place));
    }

    /// Whether it says something of all sites of its provider together.
    pub(super) fn says_of_all_sites(&self) -> bool {
        self.provider_connections.is_some() || self.provider_rate.is_some()
    }
}

/// A text of which parts are read, and where its lines are.
pub(super) struct Text<'t> {
    text: &'t str,
    is_shipped: bool,
}

impl Text<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        before.iter().filter(|octet| **octet == b'\n').count() + 1
    }

    /// What is wrong at `span`.
    pub(super) fn wrong(&self, span: &Range<usize>, what: impl Into<String>) -> ShapingError {
        // It ends in logs and on terminals.
        let clean = |one: char| match one.is_control() {
            true => one.escape_default().to_string(),
            false => one.to_string(),
        };
        let what = head(&what.into(), SHAPING_COMPLAINT_MAX).chars().map(clean).collect();
        ShapingError::Line { line: self.line(span), what }
    }

    /// For people.
    pub(super) fn name(&self, what: &str, span: &Range<usize>) -> Box<str> {
        let file = if self.is_shipped { "shipped " } else { "" };
        format!("{file}{what}, line {}", self.line(span)).into()
    }
}

/// The rules of the shipped text, if it is given, and an operator's.
pub(super) fn read(shipped: Option<&str>, own: Option<&str>) -> Result<Shaping, ShapingError> {
    let (mut rules, mut automation) = (Vec::new(), Vec::new());
    let texts = [shipped.map(|text| (text, true)), own.map(|text| (text, false))];
    for (text, is_shipped) in texts.into_iter().flatten() {
        let text = Text { text, is_shipped };
        let file: File = toml::from_str(text.text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            text.wrong(&(start..start), error.message())
        })?;
        let tables = file.default.into_iter().map(|table| (Level::Default, "[default]", table));
        let all = tables
            .chain(file.source.into_iter().map(|t| (Level::Default, "[[source]]", t)))
            .chain(file.provider.into_iter().map(|t| (Level::Provider, "[[provider]]", t)))
            .chain(file.site.into_iter().map(|t| (Level::Site, "[[site]]", t)))
            .chain(file.domain.into_iter().map(|t| (Level::Domain, "[[domain]]", t)));
        for (level, what, table) in all {
            let rule = rule(level, what, table, &text, &rules)?;
            rules.push(rule);
        }
        for table in file.automation {
            let span = table.span();
            let new = table.into_inner().read(&span, &text, &rules)?;
            add(&mut automation, (new, is_shipped), &span, &text)?;
        }
    }
    if rules.len() + automation.len() > SHAPING_RULES_MAX {
        return Err(ShapingError::TooMany);
    }
    // Stable: what is equal stays in the order of the files.
    rules.sort_by_key(|rule| (rule.level, !rule.sources.is_empty()));
    let automation = automation.into_iter().map(|(trigger, _)| trigger).collect();
    Ok(Shaping { rules, automation: Automation::new(automation)? })
}

/// Names are what rules are remembered by: an operator's takes the place of a shipped one.
fn add(
    all: &mut Vec<(Trigger, bool)>,
    (new, is_shipped): (Trigger, bool),
    span: &Range<usize>,
    text: &Text<'_>,
) -> Result<(), ShapingError> {
    match all.iter_mut().find(|(other, _)| other.name == new.name) {
        Some((_, false)) => {
            return Err(text.wrong(span, format!("there is another {} before", new.name)));
        }
        Some(shipped) => *shipped = (new, is_shipped),
        None => all.push((new, is_shipped)),
    }
    Ok(())
}

fn rule(
    level: Level,
    what: &str,
    table: Spanned<Table>,
    text: &Text<'_>,
    before: &[Rule],
) -> Result<Rule, ShapingError> {
    let span = table.span();
    let Table { name, mx, domains, source, .. } = table.get_ref();
    let wrong = |said: String| text.wrong(&span, format!("{what}: {said}"));
    let (wants_mx, wants_domains) =
        (matches!(level, Level::Provider | Level::Site), level == Level::Domain);
    let is_source = what == "[[source]]";
    let named = |provider: &&Rule| provider.level == level && provider.given.name == *name;
    let known = before.iter().find(named).filter(|_| level == Level::Provider && name.is_some());
    match (name, mx, domains, source) {
        (Some(name), ..) if !is_name(name) => {
            return Err(wrong(format!("`name` is 1 to {SHAPING_NAME_MAX} printable characters")));
        }
        (None, ..) if level == Level::Provider => {
            return Err(wrong("it wants a `name`".to_owned()));
        }
        (Some(_), ..) if level != Level::Provider => {
            return Err(wrong("only a [[provider]] has a `name`".to_owned()));
        }
        (_, None, ..) if wants_mx && known.is_none() => {
            return Err(wrong("it wants `mx`, the names of MX hosts".to_owned()));
        }
        (_, Some(_), ..) if !wants_mx => return Err(wrong("it has no `mx`".to_owned())),
        (_, _, None, _) if wants_domains => return Err(wrong("it wants `domains`".to_owned())),
        (_, _, Some(_), _) if !wants_domains => {
            return Err(wrong("it has no `domains`".to_owned()));
        }
        (.., None) if is_source => return Err(wrong("it wants `source`".to_owned())),
        (.., Some(_)) if level == Level::Default && !is_source => {
            return Err(wrong("it has no `source`: write a [[source]]".to_owned()));
        }
        _ => {}
    }
    let hosts = match (mx, known) {
        (Some(names), _) => patterns(names).map_err(&wrong)?,
        (None, Some(known)) => known.hosts.clone(),
        (None, None) => Patterns::default(),
    };
    let domains = patterns(domains.as_deref().unwrap_or_default()).map_err(&wrong)?;
    let sources = names(source.as_deref().unwrap_or_default()).map_err(&wrong)?;
    if source.is_some() && sources.is_empty() {
        return Err(wrong("`source` names none".to_owned()));
    }
    let is_default = level == Level::Default;
    if table.get_ref().pool.is_some() && (is_default || !sources.is_empty()) {
        let said = "`pool` says from which sources: write it in a rule by hosts or domains alone";
        return Err(wrong(said.to_owned()));
    }
    let given = given(table.into_inner(), !sources.is_empty()).map_err(&wrong)?;
    let of =
        given.name.as_deref().or_else(|| hosts.0.iter().chain(&domains.0).next().map(|n| &**n));
    let title = of.map_or_else(|| what.to_owned(), |of| format!("{what} {of}"));
    if level != Level::Provider && given.says_of_all_sites() {
        let said = "`provider_connections` and `provider_rate` stand in a [[provider]]";
        return Err(wrong(said.to_owned()));
    }
    Ok(Rule { level, name: text.name(&title, &span), hosts, domains, sources, given })
}

/// Whether a rule may be called so: names are told in logs and in `queue show`.
pub(super) fn is_name(name: &str) -> bool {
    (1..=SHAPING_NAME_MAX).contains(&name.len()) && !name.contains(char::is_control)
}

fn given(table: Table, has_source: bool) -> Result<Given, String> {
    let least_one = |field: &str, figure: Option<u32>| match figure {
        Some(0) => Err(format!("`{field}` is 1 at least")),
        figure => Ok(figure),
    };
    if has_source && table.tls.is_some() {
        return Err("`tls` is the same for all sources: write it in a rule without `source`".into());
    }
    let floor = |text: String| rate(&text)?.ok_or_else(|| "`rate_floor` is a rate".to_owned());
    let level = |text: String| {
        let all = TlsLevel::ALL.into_iter();
        let words: Vec<&str> = all.clone().map(TlsLevel::as_str).collect();
        let found = all.clone().find(|level| level.as_str() == text);
        found.ok_or_else(|| format!("`tls` is one of {}, not {text}", words.join(", ")))
    };
    Ok(Given {
        name: table.name,
        connections: least_one("connections", table.connections)?,
        messages_per_connection: least_one(
            "messages_per_connection",
            table.messages_per_connection,
        )?,
        rate: table.rate.as_deref().map(rate).transpose()?,
        rate_floor: table.rate_floor.map(floor).transpose()?,
        recovery: table.recovery.as_deref().map(time).transpose()?,
        slow_down_on: table.slow_down_on.map(Classes::from_iter),
        pipelining: table.pipelining,
        tls: table.tls.map(level).transpose()?,
        pool: table.pool,
        provider_connections: least_one("provider_connections", table.provider_connections)?,
        provider_rate: table.provider_rate.as_deref().map(rate).transpose()?,
    })
}

/// Names of hosts or domains, and of all below one.
pub(super) fn patterns(texts: &[String]) -> Result<Patterns, String> {
    let pattern = |text: &str| {
        let (dot, name) = text.strip_prefix('.').map_or(("", text), |name| (".", name));
        let name = Domain::parse(name).map_err(|error| format!("`{text}`: {error}"))?;
        Ok::<Box<str>, String>(format!("{dot}{name}").into())
    };
    Ok(Patterns(names(texts)?.iter().map(|text| pattern(text)).collect::<Result<_, _>>()?))
}

pub(super) fn names(texts: &[String]) -> Result<Box<[Box<str>]>, String> {
    if texts.len() > SHAPING_NAMES_MAX {
        return Err(format!("it has more than {SHAPING_NAMES_MAX} names"));
    }
    // An address has many forms, of which one is compared.
    let name = |text: &String| match text.parse::<IpAddr>() {
        Ok(address) => address.to_string().into(),
        Err(_) => text.to_ascii_lowercase().into(),
    };
    Ok(texts.iter().map(name).collect())
}
