//! Bring what waits for lookups to its site, once it is known where that is.
//!
//! In: what was looked up. Out: jobs at their sites, or reported. Lives on: the owner shard.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use crate::base::limits::{PARK_FOR, ROUTED_MAX, SITES_MAX};
use crate::dns::MxHost;
use crate::egress::endpoints::Endpoint;
use crate::egress::site::{Leads, Site, SiteKey};
use crate::egress::source::Sources;
use crate::egress::throttle::SiteLimits;
use crate::mail::address::Domain;
use crate::mail::envelope::TlsWish;
use crate::mail::outcome::{Failure, Stage};
use crate::mail::route::{Route, TlsLevel};
use crate::policy::mta_sts::PolicyTrouble;
use crate::policy::relay::AddressSet;
use crate::shard::context::Context;
use crate::shard::delivery::{Delivery, Job, JobId, Routed, SMTP_PORT, SiteId};
use crate::shard::lookup::{Found, Lookups, Outcome, Target};
use crate::shard::platform::{FetchedPolicy, Platform};
use crate::shard::securing::{Records, Secured};
use crate::shard::shaping::shaped;
use crate::shard::site_row::SiteRow;

impl Delivery {
    /// A lookup has ended: bring those who wait for it to their site, or report why they cannot go.
    pub(crate) fn found<P: Platform>(
        &mut self,
        found: Found,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        let Found { target, outcome, holds_for } = found;
        let hosts = match outcome {
            Outcome::Answer(answer) => {
                let answer = Some(&*answer);
                let ended = self.securing.answered(&target, answer, holds_for, lookups, cx);
                return ended.into_iter().for_each(|one| self.secured(one, lookups, cx));
            }
            Outcome::Hosts(hosts) => hosts,
        };
        match &target {
            // Their names cannot be asked for.
            Target::Tlsa(_) | Target::Sts(_) => {
                let ended = self.securing.answered(&target, None, holds_for, lookups, cx);
                ended.into_iter().for_each(|one| self.secured(one, lookups, cx));
            }
            Target::Host(_) => self.securing.found_host(&target, hosts.as_deref().ok(), cx),
            Target::Mx(_) | Target::Records(_) => {}
        }
        let waiting = self.asking.remove(&target).unwrap_or_default();
        match (target, hosts) {
            (_, Err(failure)) => self.not_found(waiting, &failure, lookups, cx),
            (Target::Mx(domain), Ok(hosts)) => {
                let hosts = match allowed(hosts, &cx.settings.refused_hops) {
                    Ok(hosts) => hosts,
                    Err(failure) => return self.not_found(waiting, &failure, lookups, cx),
                };
                for (level, jobs) in self.by_level(&domain, &hosts, waiting, cx) {
                    let found = (&*hosts, holds_for);
                    self.bring_to_hosts(&domain, level, jobs, found, lookups, cx);
                }
            }
            (_, Ok(hosts)) => {
                self.bring(waiting, &hosts, holds_for, (TlsLevel::default(), &HashMap::new()), cx);
            }
        }
    }

    /// What TLS mail for a domain is to have on its way to the domain's MX hosts, and which of it.
    fn by_level<P: Platform>(
        &self,
        domain: &Domain,
        hosts: &[MxHost],
        waiting: Vec<JobId>,
        cx: &Context<'_, P>,
    ) -> BTreeMap<TlsLevel, Vec<JobId>> {
        let route = match cx.settings.router.route(domain) {
            Route::Mx(level) => {
                let hosts = hosts.iter().map(|host| &*host.name);
                cx.settings.shaped_tls(domain, hosts).unwrap_or(level)
            }
            // It was diverted; or it is another since, by another configuration.
            Route::Group(_) => cx.settings.mx_tls,
        };
        let mut jobs: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for job in waiting {
            let wish = self.jobs.get(job.0).map_or(TlsWish::Unsaid, Job::wish);
            jobs.entry(route.with(wish)).or_default().push(job);
        }
        jobs
    }

    /// These hosts are a domain's.
    fn bring_to_hosts<P: Platform>(
        &mut self,
        domain: &Domain,
        level: TlsLevel,
        jobs: Vec<JobId>,
        (hosts, holds_for): (&[MxHost], Duration),
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        if level.asks_the_domain() {
            let found = (hosts.to_vec(), holds_for);
            let known = self.securing.begin(domain.clone(), jobs, found, level, lookups, cx);
            known.into_iter().for_each(|one| self.secured(one, lookups, cx));
        } else {
            self.bring(jobs, hosts, holds_for, (level, &HashMap::new()), cx);
        }
    }

    /// A policy was fetched, or not.
    pub(crate) fn policy_fetched<P: Platform>(
        &mut self,
        ticket: u64,
        result: Result<FetchedPolicy, PolicyTrouble>,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        if let Some(secured) = self.securing.fetched(ticket, result, cx.now.wall) {
            self.secured(secured, lookups, cx);
        }
    }

    /// It is known what a domain wants of TLS with its hosts.
    fn secured<P: Platform>(
        &mut self,
        secured: Secured,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        let Secured { domain, jobs, hosts, level, tlsa, found, holds_for } = secured;
        if cx.settings.tells_of_tls {
            let records = tlsa.iter().map(|(host, records)| (&**host, &**records));
            cx.common.tls_sessions.learn(&domain, &found, records);
        }
        match hosts {
            Err(failure) => self.not_found(jobs, &failure, lookups, cx),
            Ok(hosts) => self.bring(jobs, &hosts, holds_for, (level, &tlsa), cx),
        }
    }

    fn not_found<P: Platform>(
        &mut self,
        waiting: Vec<JobId>,
        failure: &Failure,
        lookups: &mut Lookups,
        cx: &mut Context<'_, P>,
    ) {
        for job in waiting {
            if !self.do_without(job, lookups, cx) {
                self.settle_all(job, Stage::Route, failure, cx);
            }
        }
    }

    fn bring<P: Platform>(
        &mut self,
        waiting: Vec<JobId>,
        hosts: &[MxHost],
        holds_for: Duration,
        tls: (TlsLevel, &Records),
        cx: &mut Context<'_, P>,
    ) {
        for job in waiting {
            let Some(key) = self.site_key(job, hosts, holds_for, tls, cx) else { continue };
            self.push(&key, job, cx);
        }
    }

    /// The site that `hosts` are for `job`; it is made if it is new. `None`: there are too many,
    /// and the job was given back.
    fn site_key<P: Platform>(
        &mut self,
        job: JobId,
        hosts: &[MxHost],
        holds_for: Duration,
        (level, tlsa): (TlsLevel, &Records),
        cx: &mut Context<'_, P>,
    ) -> Option<SiteKey> {
        let row = self.jobs.get(job.0)?;
        if let Some(upstream) = row.upstream {
            let group = &cx.settings.groups[usize::from(upstream.group.0)];
            let host = &group.group.members()[usize::from(upstream.member)].host;
            let key = row.upstream_key(upstream, cx.settings);
            let id =
                self.open(&key, host.to_string().into(), group.limits, hosts, host.port, cx)?;
            self.sites.get_mut(id.0)?.found_until = cx.mono() + holds_for;
            return Some(key);
        }
        let domain = &row.dispatch.domain;
        let own = cx.settings.own_site(domain);
        let names = || hosts.iter().map(|host| host.name.as_ref());
        let leads = Leads::hosts(level, names()).of(own);
        let pool = cx.settings.pool_to(domain, names());
        let key = leads.clone().from(row.pool(pool, cx.settings));
        let routed = &mut self.routed[row.wish().place()];
        if routed.len() >= ROUTED_MAX {
            routed.clear();
        }
        let until = cx.mono() + holds_for;
        routed.insert(domain.clone(), Routed { leads, pool, until });
        let name = hosts.first().map_or("", |host| host.name.as_ref()).into();
        match self.open(&key, name, cx.settings.mx_limits, hosts, SMTP_PORT, cx) {
            Some(id) => {
                self.sites.get_mut(id.0)?.set_tlsa(tlsa);
                Some(key)
            }
            None => {
                let why = format!("limit of {SITES_MAX} sites in use on this shard");
                self.give_back(job, &why, PARK_FOR, cx);
                None
            }
        }
    }

    /// Make the site, or tell it of its endpoints anew. `None`: no further one may be made.
    fn open<P: Platform>(
        &mut self,
        key: &SiteKey,
        name: Box<str>,
        limits: SiteLimits,
        hosts: &[MxHost],
        port: u16,
        cx: &Context<'_, P>,
    ) -> Option<SiteId> {
        let endpoints: Vec<Endpoint> =
            hosts.iter().flat_map(|host| endpoints(host, port)).collect();
        if let Some(id) = self.by_key.get(key)
            && let Some(row) = self.sites.get_mut(id.0)
        {
            row.site.set_endpoints(endpoints);
            return Some(*id);
        }
        if self.sites.len() >= SITES_MAX {
            return None;
        }
        let mut site = Site::new(self.here, limits, self.shared.share(key), endpoints);
        let shared = (&*self.shared, self.here.index());
        site.shape(shaped(key, (&name, limits), shared, cx.settings, cx.now.mono));
        let sources = Sources::new(cx.settings.pools.pool(key.pool).clone(), self.here.index());
        let tls = cx.settings.tls_level(key);
        let row = SiteRow::new(site, key.clone(), name, tls, sources, cx.mono());
        let id = SiteId(self.sites.insert(row));
        self.by_key.insert(key.clone(), id);
        Some(id)
    }
}

/// Hosts with addresses that mail may go to. DNS is anyone's: whoever has a domain could have this
/// node connect to itself, or to what only its own networks see.
fn allowed(mut hosts: Vec<MxHost>, refused: &AddressSet) -> Result<Vec<MxHost>, Failure> {
    let mut last = None;
    for host in &mut hosts {
        host.addresses.retain(|address| {
            let may = !refused.contains(*address);
            if !may {
                last = Some((host.name.clone(), *address));
            }
            may
        });
    }
    hosts.retain(|host| !host.addresses.is_empty());
    match last {
        Some((name, address)) if hosts.is_empty() => {
            let words = format!("mail does not go to {address}, where DNS has {name}");
            Err(Failure::Unroutable(words.into()))
        }
        Some(_) | None => Ok(hosts),
    }
}

/// The addresses of one host, as a site tries them.
fn endpoints(host: &MxHost, port: u16) -> impl Iterator<Item = Endpoint> {
    let name: Arc<str> = host.name.as_ref().into();
    host.addresses.iter().map(move |address| Endpoint {
        address: SocketAddr::new(*address, port),
        host: name.clone(),
        preference: host.preference,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, addresses: &[&str]) -> MxHost {
        let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        MxHost { name: name.into(), preference: 10, addresses, authenticated: false }
    }

    #[test]
    fn where_mail_may_not_go_it_goes_to_the_other_hosts_or_comes_back() {
        let ranges =
            ["127.0.0.0/8", "10.0.0.0/8", "::/127"].map(|text| text.parse().expect("a range"));
        let refused = AddressSet::new(ranges.into());
        let some = vec![
            host("a", &["127.0.0.1", "192.0.2.1"]),
            host("b", &["::1"]),
            host("c", &["::ffff:10.0.0.1", "2001:db8::1"]),
        ];
        let left = [host("a", &["192.0.2.1"]), host("c", &["2001:db8::1"])];
        assert_eq!(allowed(some, &refused).as_deref(), Ok(&left[..]));
        let none = vec![host("a", &["127.9.9.9"]), host("b", &["::1"])];
        let words = "mail does not go to ::1, where DNS has b";
        assert_eq!(allowed(none.clone(), &refused), Err(Failure::Unroutable(words.into())));
        assert_eq!(allowed(none.clone(), &AddressSet::default()), Ok(none));
        assert_eq!(allowed(Vec::new(), &refused), Ok(Vec::new()));
    }
}
