//! Give sites the shapes of their sources, and learn from what peers say.
//!
//! In: a site's hosts, the rules in force; refusals. Out: what each source may do there; which
//! recipients are not to be tried again. Nothing here is asked where no rules are in force, nor
//! for mail that a peer takes. Lives on: the owner shard.

use std::sync::Arc;

use crate::base::time::Monotonic;
use crate::egress::PooledId;
use crate::egress::cause::Cause;
use crate::egress::shaping::automation::{Action, Effect, Refusal, Trigger};
use crate::egress::shaping::{Shape, SiteNames, SourceNames};
use crate::egress::site::{Leads, OutletHere, Shaped, Site, SiteKey};
use crate::egress::source::Member;
use crate::egress::throttle::{SharedSites, SiteLimits};
use crate::mail::address::Domain;
use crate::mail::handling::Handling;
use crate::mail::outcome::{Failure, Reason};
use crate::mail::route::{PoolId, TlsLevel};
use crate::mail::status::Severity;
use crate::outcome::classes;
use crate::outcome::counters::Count;
use crate::shard::context::Context;
use crate::shard::delivery::{Delivery, JobId, SiteId};
use crate::shard::mesh::Settlement;
use crate::shard::platform::Platform;
use crate::shard::settings::Settings;
use crate::shard::settling::Settling;
use crate::shard::site_row::SiteRow;

/// A site as rules see it, from its key.
struct Names<'k> {
    hosts: Vec<&'k str>,
    domain: Option<&'k Domain>,
    is_upstream: bool,
}

impl<'k> Names<'k> {
    /// `upstream`: its host, where the site is an upstream relay.
    fn of(key: &'k SiteKey, upstream: &'k str) -> Self {
        match &key.leads {
            Leads::Upstream(_) | Leads::Required(_) => {
                Self { hosts: vec![upstream], domain: None, is_upstream: true }
            }
            Leads::Hosts(_, hosts, domain) => {
                let hosts = hosts.iter().map(|host| &**host).collect();
                Self { hosts, domain: domain.as_ref(), is_upstream: false }
            }
            Leads::Address(_) => Self { hosts: Vec::new(), domain: None, is_upstream: false },
        }
    }

    fn site(&self) -> SiteNames<'_> {
        let Self { hosts, domain, is_upstream } = self;
        SiteNames { hosts, domain: *domain, is_upstream: *is_upstream }
    }

    /// What it is remembered by, and what an operator calls it.
    fn name(&self, row_name: &str) -> String {
        match (self.domain, self.is_upstream) {
            (_, true) => row_name.to_owned(),
            (None, false) => self.hosts.join(","),
            (Some(domain), false) => format!("{domain}@{}", self.hosts.join(",")),
        }
    }
}

impl Names<'_> {
    /// Under what name the messages of a source that is warmed up are counted: its provider, or
    /// its hosts. An upstream relay of no provider knows us: nothing is counted.
    fn counted(&self, provider: Option<&str>) -> Option<String> {
        let of_hosts = || (!self.is_upstream).then(|| self.hosts.join(","));
        provider.map(str::to_owned).or_else(of_hosts)
    }
}

/// A site's name in `shaping status`; of an upstream relay it is the row's.
pub(super) fn site_name(key: &SiteKey, row_name: &str) -> String {
    Names::of(key, "").name(row_name)
}

/// What the sources may do at a site that is called `row_name`, where rules are in force.
pub(super) fn shaped(
    key: &SiteKey,
    (row_name, limits): (&str, SiteLimits),
    (shared, start): (&SharedSites, usize),
    settings: &Settings,
    now: Monotonic,
) -> Option<Shaped> {
    let shaping = settings.shaping.as_ref()?;
    let host = row_name.rsplit_once(':').map_or(row_name, |(host, _)| host);
    let names = Names::of(key, host);
    let site = shared.outlets.site(&names.name(row_name), now);
    let SiteLimits { connections, messages_per_connection, rate } = limits;
    let base = Shape::new(connections, messages_per_connection, rate);
    let members = settings.pools.pool(key.pool).members.iter();
    // As with all rules, what comes later counts.
    let provider = shaping.providers(names.site()).last().copied();
    let rations = settings.warm_up.as_ref().and_then(|roster| {
        let counted = names.counted(provider)?;
        Some(move |source: &str| shared.warm_up.ration(roster, source, &counted))
    });
    let outlets = members.map(|Member { source, weight, .. }| {
        let address = source.address.map(|address| address.to_string());
        let named = SourceNames {
            name: &source.name,
            address: address.as_deref().unwrap_or(""),
            hello: &source.hello,
        };
        let (outlet, shape) =
            (site.outlet(&source.name), shaping.shape(&base, names.site(), named));
        outlet.take_shape(&shape);
        let member = shape.of_provider.as_ref();
        let together = &shared.outlets.together;
        let member = member.map(|said| Arc::new(together.join(said, &source.name, now)));
        OutletHere {
            outlet,
            address: source.address,
            weight: *weight,
            shape,
            scope: shaping.automation.scope(names.site(), named),
            member,
            ration: rations.as_ref().and_then(|ration| ration(&source.name)),
        }
    });
    let outlets = outlets.collect();
    let provider = provider.map(Arc::from);
    Some(Shaped::new(site, shaping.clone(), provider, outlets, (key.pool, start)))
}

impl Settings {
    /// What TLS the connections to a domain's MX hosts are to have, where rules say so.
    pub(crate) fn shaped_tls<'h>(
        &self,
        domain: &Domain,
        hosts: impl Iterator<Item = &'h str>,
    ) -> Option<TlsLevel> {
        let shaping = self.shaping.as_deref()?;
        let hosts: Vec<&str> = hosts.collect();
        let domain = shaping.names(domain).then_some(domain);
        shaping.tls(SiteNames { hosts: &hosts, domain, is_upstream: false })
    }

    /// The pool that mail to a domain's MX hosts leaves from, where its route or rules say so.
    pub(crate) fn pool_to<'h>(
        &self,
        domain: &Domain,
        hosts: impl Iterator<Item = &'h str>,
    ) -> Option<PoolId> {
        let by_rules = || {
            let shaping = self.shaping.as_deref().filter(|shaping| shaping.has_pools())?;
            let hosts: Vec<&str> = hosts.collect();
            let domain = shaping.names(domain).then_some(domain);
            let name = shaping.pool(SiteNames { hosts: &hosts, domain, is_upstream: false })?;
            self.pools.named(name)
        };
        self.pools.of_domain(domain).or_else(by_rules)
    }

    /// The domain, if rules give it a site of its own.
    pub(crate) fn own_site(&self, domain: &Domain) -> Option<Domain> {
        self.shaping.as_deref()?.names(domain).then(|| domain.clone())
    }
}

/// A refusal on its way into what is known of its source at its site.
pub(super) struct Learning<'a> {
    pub(super) classifier: &'a classes::Classifier,
    pub(super) site: &'a Site<JobId>,
    pub(super) pooled: PooledId,
    pub(super) domain: Option<&'a Domain>,
    /// Whose message it was.
    pub(super) handling: Option<&'a Handling>,
    pub(super) now: Monotonic,
}

/// What a refusal led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Learned {
    /// Recipients that are refused so are not tried again.
    pub(super) bounces: bool,
    /// The source goes slower there.
    pub(super) slower: bool,
    /// Rules that came in force.
    pub(super) rules: u64,
}

impl Learning<'_> {
    /// Learn from a refusal with this reason.
    pub(super) fn learn(&self, reason: &Reason) -> Learned {
        let mut learned = Learned::default();
        let (Some(shaped), Some(reply)) = (self.site.shaped(), &reason.reply) else {
            return learned;
        };
        let Some(here) = self.site.outlet_of(self.pooled).and_then(|place| shaped.outlet(place))
        else {
            return learned;
        };
        let class = self.classifier.class(reason);
        let is_deferral = reply.code.severity() == Severity::Transient;
        if is_deferral && here.shape.slow_down_on.contains(class) {
            learned.slower =
                here.outlet.slow_down(&here.shape, None, std::time::Duration::ZERO, self.now);
        }
        let refusal = Refusal {
            code: Some(reply.code.as_u16()),
            status: reply.enhanced,
            text: &reply.text,
            class,
            domain: self.domain,
        };
        for trigger in shaped.rules.automation.fitting(&here.scope, &refusal) {
            let Some((name, sender)) = trigger.about(self.handling) else { continue };
            match here.outlet.note(trigger, &name, self.now) {
                Effect::Counted => {}
                Effect::InForce => learned.bounces |= trigger.action == Action::Bounce,
                Effect::Begins => {
                    learned.rules += 1;
                    learned.bounces |= trigger.action == Action::Bounce;
                    learned.slower |= begin(trigger, (&name, sender), shaped, here, self.now);
                    tracing::warn!(
                        site = shaped.site.name(),
                        source = here.outlet.source(),
                        "a rule comes in force: {trigger}"
                    );
                }
            }
        }
        // What is deferred alone can be bounced instead.
        learned.bounces &= is_deferral;
        learned
    }
}

/// Do what a rule says; whether the source goes slower for it.
fn begin(
    trigger: &Trigger,
    (name, sender): (&Arc<str>, u64),
    shaped: &Shaped,
    here: &OutletHere,
    now: Monotonic,
) -> bool {
    let until = now + trigger.lasts;
    match &trigger.action {
        Action::SlowDown(rate) => {
            return here.outlet.slow_down(&here.shape, *rate, trigger.lasts, now);
        }
        Action::Suspend => shaped.site.suspend(until, &trigger.name),
        Action::SuspendSource => here.outlet.suspend(until, &trigger.name),
        Action::SwitchSource(to) => {
            let is_named = |other: &&OutletHere| {
                let address = other.address.map(|address| address.to_string());
                let is_it =
                    |name: &str| name == other.outlet.source() || Some(name) == address.as_deref();
                to.is_empty() || to.iter().any(|name| is_it(name))
            };
            let (to, from): (Vec<_>, Vec<_>) = shaped
                .outlets()
                .iter()
                .partition(|other| !Arc::ptr_eq(&other.outlet, &here.outlet) && is_named(other));
            // Where nobody else can send, this one goes on.
            if to.iter().any(|other| other.outlet.suspended(now).is_none()) {
                from.iter().for_each(|outlet| outlet.outlet.suspend(until, &trigger.name));
            }
        }
        Action::SuspendTenant | Action::SuspendCampaign => {
            shaped.site.suspend_sender(sender, until, name, now);
        }
        Action::Bounce => {}
    }
    false
}

impl Delivery {
    /// What holds sites up may be another than before: ask each what it wants.
    pub(crate) fn stir_all(&mut self) {
        let ids: Vec<SiteId> = self.sites.iter().map(|(slot, _)| SiteId(slot)).collect();
        ids.into_iter().for_each(|id| self.stir(id));
    }

    /// A connection failed, with a reply of the peer's perhaps: learn from it. To be called while
    /// the site still knows the connection.
    pub(super) fn learn_from_loss<P: Platform>(
        row: &SiteRow,
        pooled: PooledId,
        cause: &Cause,
        cx: &mut Context<'_, P>,
    ) {
        if cx.settings.shaping.is_none() {
            return;
        }
        let Failure::Reply(_) = cause.failure else { return };
        let Cause { stage, failure, peer, source: _ } = cause;
        let settlement = Settling { stage: *stage, failure, peer }.settle();
        let (Settlement::Deferred(reason) | Settlement::Bounced(reason)) = settlement else {
            return;
        };
        let learning = Learning {
            classifier: &cx.settings.classifier,
            site: &row.site,
            pooled,
            domain: None,
            handling: None,
            now: cx.now.mono,
        };
        cx.common.counters.learned(learning.learn(&reason));
    }
}

/// Learn from what a transaction's recipients were refused with; those that are not to be tried
/// again are bounced.
pub(super) fn learn_from_refusals<P: Platform>(
    row: &SiteRow,
    pooled: PooledId,
    (domain, handling): (&Domain, Option<&Handling>),
    settled: &mut [(u16, Settlement)],
    cx: &mut Context<'_, P>,
) {
    if cx.settings.shaping.is_none() {
        return;
    }
    let learning = Learning {
        classifier: &cx.settings.classifier,
        site: &row.site,
        pooled,
        domain: Some(domain),
        handling,
        now: cx.now.mono,
    };
    // One reply may stand for many recipients: it is learned from once.
    let mut last: Option<(Reason, bool)> = None;
    for (_, settlement) in settled {
        let (Settlement::Deferred(reason) | Settlement::Bounced(reason)) = &*settlement else {
            continue;
        };
        let bounces = match &last {
            Some((before, bounces)) if *before == *reason => *bounces,
            Some(_) | None => {
                let learned = learning.learn(reason);
                cx.common.counters.learned(learned);
                last = Some((reason.clone(), learned.bounces));
                learned.bounces
            }
        };
        if bounces && let Settlement::Deferred(reason) = &*settlement {
            *settlement = Settlement::Bounced(reason.clone());
        }
    }
}

impl crate::outcome::counters::Counters {
    fn learned(&mut self, learned: Learned) {
        if learned.slower {
            self.increment(Count::SlowedDown);
        }
        self.add(Count::ShapingRules, learned.rules);
    }
}
