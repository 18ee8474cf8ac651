//! Shape traffic: how many connections and messages a source may have at a site, and how fast.
//!
//! In: a shaping file, the shipped rules, what the knobs say; a site's names and a source's. Out: a
//! [`Shape`], and which rule gave each of its values.
//!
//! Precedence, each field by itself: knobs, `[default]`, `[[provider]]`, `[[site]]`, `[[domain]]`;
//! in each of them a rule without `source` before one with it, and shipped rules before the
//! operator's; what comes later in the file wins. A `[[source]]` is a `[default]` for some sources.
//!
//! Invariant: what is read can be used: nothing is refused later. Lives on: all shards, shared; a
//! reload makes another.

pub mod automation;
pub mod figures;
mod form;
pub mod outlets;
pub mod pace;
pub mod saved;
pub mod status;
#[cfg(test)]
mod tests;
pub mod together;

use std::fmt;
use std::time::Duration;

use crate::egress::shaping::automation::Automation;
use crate::egress::shaping::form::{Given, Level};
use crate::egress::shaping::together::OfProvider;
use crate::egress::throttle::Rate;
use crate::mail::address::Domain;
use crate::mail::class::Class;
use crate::mail::route::TlsLevel;

pub use form::ShapingError;

/// The rules that come with the program.
pub const SHIPPED: &str = include_str!("shaping/shipped.toml");

/// What a source may do at a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Connections at a time, over all shards.
    pub connections: u32,
    /// Messages before a connection is closed.
    pub messages_per_connection: u32,
    /// Messages a time, over all shards; `None` is without limit.
    pub rate: Option<Rate>,
    /// However often it is slowed down, it is not slower.
    pub rate_floor: Rate,
    /// From nothing back to `rate`, in even steps.
    pub recovery: Duration,
    /// The classes of deferrals that halve the rate.
    pub slow_down_on: Classes,
    /// Whether commands may go out before the replies to those before.
    pub pipelining: bool,
    /// What TLS connections have; `None`: as the knobs say. The same for all sources.
    pub tls: Option<TlsLevel>,
    /// What its provider takes at all of its sites together, if a rule says so.
    pub of_provider: Option<OfProvider>,
}

impl Shape {
    /// What the knobs say, and what holds where nobody says anything.
    pub fn new(connections: u32, messages_per_connection: u32, rate: Option<Rate>) -> Self {
        Self {
            connections,
            messages_per_connection,
            rate,
            rate_floor: Rate { messages: 1, per: Duration::from_secs(60) },
            recovery: Duration::from_secs(3_600),
            slow_down_on: [Class::RateLimit, Class::Reputation].into_iter().collect(),
            pipelining: true,
            tls: None,
            of_provider: None,
        }
    }
}

/// A set of classes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Classes(u32);

// A bit for each.
const _: () = assert!(Class::ALL.len() <= 32);

impl Classes {
    /// Whether `class` is in it.
    pub fn contains(self, class: Class) -> bool {
        self.0 & (1 << class as u32) != 0
    }

    /// Whether none is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Class> for Classes {
    fn from_iter<I: IntoIterator<Item = Class>>(classes: I) -> Self {
        Self(classes.into_iter().fold(0, |set, class| set | 1 << class as u32))
    }
}

impl fmt::Debug for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = Class::ALL.into_iter().filter(|class| self.contains(*class));
        let names: Vec<&str> = all.map(Class::as_str).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(", "))
    }
}

/// A site as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct SiteNames<'a> {
    /// Where its connections lead: host names, in lower case. A rule fits if all of them do.
    pub hosts: &'a [&'a str],
    /// The destination domain, if the site is that domain's own.
    pub domain: Option<&'a Domain>,
    /// It is an upstream relay: its own knobs hold, but for what rules say of its host.
    pub is_upstream: bool,
}

/// A source as rules see it.
#[derive(Clone, Copy, Debug)]
pub struct SourceNames<'a> {
    /// What operators call it.
    pub name: &'a str,
    /// Its address, if it has one.
    pub address: &'a str,
    /// What it says in EHLO.
    pub hello: &'a str,
}

/// The fields of a shape, by name.
pub const FIELDS: [&str; 10] = [
    "connections",
    "messages_per_connection",
    "rate",
    "rate_floor",
    "recovery",
    "slow_down_on",
    "pipelining",
    "tls",
    "provider_connections",
    "provider_rate",
];

/// Which rule gave each field of a shape, in the order of `FIELDS`; `None`: the knobs, or nobody.
pub type Origins<'s> = [Option<&'s str>; FIELDS.len()];

/// The rules, ready for use.
#[derive(Debug, Default)]
pub struct Shaping {
    /// In the order of their precedence.
    rules: Vec<Rule>,
    /// What follows from replies.
    pub automation: Automation,
}

/// A rule of shapes.
#[derive(Debug)]
struct Rule {
    level: Level,
    /// For people: `[[provider]] gmail, line 12`.
    name: Box<str>,
    hosts: Patterns,
    domains: Patterns,
    sources: Box<[Box<str>]>,
    given: Given,
}

impl Shaping {
    /// By the shipped rules, if they are wanted, and an operator's, if there are any.
    pub fn new(shipped: bool, own: Option<&str>) -> Result<Self, ShapingError> {
        form::read(shipped.then_some(SHIPPED), own)
    }

    /// How many rules of shapes there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether mail for `domain` has a site of its own, since a rule names the domain.
    pub fn names(&self, domain: &Domain) -> bool {
        let is_named =
            |rule: &Rule| rule.level == Level::Domain && rule.domains.fit(domain.as_str());
        self.rules.iter().any(is_named)
    }

    /// What a source may do at a site, where `base` holds otherwise.
    pub fn shape(&self, base: &Shape, site: SiteNames<'_>, source: SourceNames<'_>) -> Shape {
        self.explain(base, site, source).0
    }

    /// The same, and what says so.
    pub fn explain(
        &self,
        base: &Shape,
        site: SiteNames<'_>,
        source: SourceNames<'_>,
    ) -> (Shape, Origins<'_>) {
        let (mut shape, mut origins) = (base.clone(), Origins::default());
        // A site that fits several counts as the last one's.
        let provider = self.providers(site).last().copied();
        for rule in &self.rules {
            if rule.fits(site) && fits_source(&rule.sources, source) {
                let tell = |field| origins[field] = Some(&*rule.name);
                rule.given.apply(&mut shape, provider, tell);
            }
        }
        (shape, origins)
    }

    /// What TLS a site's connections have by these rules; `None`: they do not say.
    pub fn tls(&self, site: SiteNames<'_>) -> Option<TlsLevel> {
        let fits = |rule: &&Rule| rule.sources.is_empty() && rule.fits(site);
        self.rules.iter().filter(fits).filter_map(|rule| rule.given.tls).next_back()
    }

    /// Whether any rule says where mail leaves from.
    pub fn has_pools(&self) -> bool {
        self.rules.iter().any(|rule| rule.given.pool.is_some())
    }

    /// Every pool that rules name, and which rule it is.
    pub fn pools(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rules.iter().filter_map(|rule| Some((rule.given.pool.as_deref()?, &*rule.name)))
    }

    /// The pool that mail to a site leaves from by these rules; `None`: they do not say.
    pub fn pool(&self, site: SiteNames<'_>) -> Option<&str> {
        let fits = |rule: &&Rule| rule.given.pool.is_some() && rule.fits(site);
        self.rules.iter().filter(fits).filter_map(|rule| rule.given.pool.as_deref()).next_back()
    }

    /// The providers that a site belongs to.
    pub fn providers(&self, site: SiteNames<'_>) -> Vec<&str> {
        let of = |rule: &&Rule| rule.level == Level::Provider && rule.hosts.fit_all(site.hosts);
        let mut all: Vec<&str> =
            self.rules.iter().filter(of).filter_map(|rule| rule.given.name.as_deref()).collect();
        all.dedup();
        all
    }
}

impl Rule {
    fn fits(&self, site: SiteNames<'_>) -> bool {
        match self.level {
            Level::Default => !site.is_upstream,
            Level::Provider | Level::Site => self.hosts.fit_all(site.hosts),
            Level::Domain => site.domain.is_some_and(|domain| self.domains.fit(domain.as_str())),
        }
    }
}

/// Whether a source is one of those that are named, if any are.
fn fits_source(named: &[Box<str>], source: SourceNames<'_>) -> bool {
    let is_it = |name: &str| [source.name, source.address, source.hello].contains(&name);
    named.is_empty() || named.iter().any(|name| is_it(name))
}

/// Names: `mx.example.net`, or `.example.net` for all below one.
#[derive(Clone, Debug, Default)]
struct Patterns(Box<[Box<str>]>);

impl Patterns {
    fn fit(&self, name: &str) -> bool {
        let fits = |pattern: &str| match pattern.strip_prefix('.') {
            Some(_) => name.len() > pattern.len() && name.ends_with(pattern),
            None => *pattern == *name,
        };
        self.0.iter().any(|pattern| fits(pattern))
    }

    fn fit_all(&self, names: &[&str]) -> bool {
        !names.is_empty() && names.iter().all(|name| self.fit(name))
    }
}
