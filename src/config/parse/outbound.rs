//! Read what goes out: upstream groups, relay domains, routes, sites, sources.

use std::collections::HashMap;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::flags::Flags;
use crate::config::knob::Knob;
use crate::config::knobs;
use crate::config::options::{
    DomainPattern, EgressPool, EgressSource, Group, Recipients, RelayDomain, RouteRule,
    ShapingOptions, SiteLimits, WarmUpOptions,
};
use crate::config::parse::{default_text, flag, forms, sources, warm_up};
use crate::config::problem::Place;
use crate::config::reader::{Given, Reader, Section, quoted};
use crate::config::suggest;
use crate::config::units::Wrong;
use crate::mail::address::Domain;
use crate::mail::route::{GroupId, Route, TlsLevel};

/// What goes out.
pub(super) struct Outbound {
    pub(super) groups: Vec<Group>,
    pub(super) relay_domains: Vec<RelayDomain>,
    pub(super) routes: Vec<RouteRule>,
    pub(super) default_route: Route,
    pub(super) site: SiteLimits,
    pub(super) mx_tls: TlsLevel,
    pub(super) refused_hops: Vec<IpNet>,
    pub(super) shard_excess_percent: u32,
    pub(super) sources: Vec<EgressSource>,
    pub(super) pools: Vec<EgressPool>,
    pub(super) tls_authorities: PathBuf,
    pub(super) shaping: ShapingOptions,
    pub(super) warm_up: WarmUpOptions,
}

/// The group that `--upstream` makes.
const FLAG_GROUP: &str = "upstream";
/// The word for delivery to MX hosts.
const MX: &str = "mx";

pub(super) fn read<'d>(
    reader: &mut Reader<'_>,
    root: &Section<'d>,
    flags: &'d Flags,
    hostname: Option<&Domain>,
) -> Outbound {
    let groups = groups(reader, root, flags);
    let section = reader.table(root, "site");
    let site = site_limits(reader, &section, &SITE);
    let shard_excess_percent = reader.decimal(&section, &knobs::SHARD_EXCESS);
    let refused_hops = refused_hops(reader, &section);
    let mx_tls = tls_level(reader, &section, &knobs::SITE_TLS);
    let targets = Targets { groups: &groups, mx_tls };
    let default_route = default_route(reader, root, flags, &targets);
    let mut seen = HashMap::new();
    let relay_domains = relay_domains(reader, root, &targets, &mut seen);
    let shaping = shaping(reader, root);
    let warm_up = warm_up::read(reader, root, &shaping);
    let (sources, pools) = sources::read(reader, root, (hostname, &warm_up.plans, &shaping));
    let routes = routes(reader, root, (&targets, &pools), &mut seen);
    let section = reader.table(root, "tls");
    let tls_authorities = tls_authorities(reader, &section);
    Outbound {
        groups,
        relay_domains,
        routes,
        default_route,
        site,
        mx_tls,
        refused_hops,
        shard_excess_percent,
        sources,
        pools,
        tls_authorities,
        shaping,
        warm_up,
    }
}

fn shaping(reader: &mut Reader<'_>, root: &Section<'_>) -> ShapingOptions {
    let section = reader.table(root, "shaping");
    let file = reader.text(&section, &knobs::SHAPING_FILE, None, forms::path);
    let shipped = reader.choice(&section, &knobs::SHAPING_SHIPPED) == "on";
    ShapingOptions { file: file.map(|given| given.value.into()), shipped }
}

/// Where nothing on another machine can be.
const NOWHERE: [&str; 7] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/3",
    "::/127",
    "fe80::/10",
    "ff00::/8",
];

fn refused_hops(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<IpNet> {
    let knob = &knobs::SITE_REFUSES;
    let Some(ranges) = reader.list(section, knob, forms::address_range) else {
        reader.note(section, knob, knob.default_text(), None);
        return NOWHERE.map(|text| text.parse().expect("a test reads every default")).into();
    };
    ranges.into_iter().map(|range| range.value).collect()
}

fn tls_level(reader: &mut Reader<'_>, section: &Section<'_>, knob: &'static Knob) -> TlsLevel {
    forms::tls_level(reader.choice(section, knob)).expect("a test reads every word")
}

fn tls_authorities(reader: &mut Reader<'_>, section: &Section<'_>) -> PathBuf {
    let knob = &knobs::TLS_CA;
    match reader.text(section, knob, None, forms::path) {
        Some(given) => given.value.into(),
        None => default_text(reader, section, knob).value,
    }
}

// --- Upstream groups ---

/// The three knobs of a site or an upstream.
struct LimitKnobs {
    connections: &'static Knob,
    messages: &'static Knob,
    rate: &'static Knob,
}

const SITE: LimitKnobs = LimitKnobs {
    connections: &knobs::SITE_CONNECTIONS,
    messages: &knobs::SITE_MESSAGES,
    rate: &knobs::SITE_RATE,
};
const UPSTREAM: LimitKnobs = LimitKnobs {
    connections: &knobs::UPSTREAM_CONNECTIONS,
    messages: &knobs::UPSTREAM_MESSAGES,
    rate: &knobs::UPSTREAM_RATE,
};

fn site_limits(reader: &mut Reader<'_>, section: &Section<'_>, knobs: &LimitKnobs) -> SiteLimits {
    SiteLimits {
        connections: reader.count_u32(section, knobs.connections),
        messages_per_connection: reader.count_u32(section, knobs.messages),
        rate: reader.rate(section, knobs.rate),
    }
}

fn groups<'d>(reader: &mut Reader<'_>, root: &Section<'d>, flags: &'d Flags) -> Vec<Group> {
    let list = flag("--upstream", flags.upstream.as_ref());
    let mut groups: Vec<Group> = Vec::new();
    for section in reader.tables(root, "upstream", "upstream[]") {
        let name = reader.required(&section, &knobs::UPSTREAM_NAME, forms::group_name);
        let list = list.filter(|_| name.as_ref().is_some_and(|name| name.value == FLAG_GROUP));
        reader.check_present(&section, &knobs::UPSTREAM_HOSTS);
        let hosts = reader.text(&section, &knobs::UPSTREAM_HOSTS, list, forms::upstream_list);
        let limits = site_limits(reader, &section, &UPSTREAM);
        let tls = tls_level(reader, &section, &knobs::UPSTREAM_TLS);
        let Some(name) = name else { continue };
        if groups.iter().any(|group| *group.name == name.value) {
            let wrong = Wrong::new(format!("there are two groups named `{}`", name.value));
            reader.finder.add(name.place_or(section.place()), wrong);
            continue;
        }
        // A group whose hosts are wrong still has its name, so that routes to it are right.
        let upstreams = hosts.map(|hosts| hosts.value.upstreams).unwrap_or_default();
        groups.push(Group { name: name.value.into(), upstreams, limits, tls });
    }
    if list.is_some() && !groups.iter().any(|group| *group.name == *FLAG_GROUP) {
        let section = Section::empty("upstream[]", format!("upstream[{}]", groups.len()));
        let place = Place::Flag("--upstream");
        reader.note(&section, &knobs::UPSTREAM_NAME, quoted(FLAG_GROUP), Some(&place));
        let hosts = reader.text(&section, &knobs::UPSTREAM_HOSTS, list, forms::upstream_list);
        let limits = site_limits(reader, &section, &UPSTREAM);
        let tls = tls_level(reader, &section, &knobs::UPSTREAM_TLS);
        let upstreams = hosts.map(|hosts| hosts.value.upstreams).unwrap_or_default();
        groups.push(Group { name: FLAG_GROUP.into(), upstreams, limits, tls });
    }
    groups
}

/// What a target may mean.
struct Targets<'a> {
    groups: &'a [Group],
    mx_tls: TlsLevel,
}

/// The route that a target means; an unknown one is a problem.
fn resolve(
    reader: &mut Reader<'_>,
    target: &Given<String>,
    targets: &Targets<'_>,
) -> Option<Route> {
    if target.value == MX {
        return Some(Route::Mx(targets.mx_tls));
    }
    let place = targets.groups.iter().position(|group| *group.name == target.value);
    if let Some(place) = place {
        let id = u16::try_from(place).expect("a file of CONFIG_BYTES_MAX has fewer groups");
        return Some(Route::Group(GroupId(id)));
    }
    let wrong = Wrong::new(format!("there is no upstream group `{}`", target.value));
    let names = targets.groups.iter().map(|group| &*group.name).chain([MX]);
    let wrong = suggest::nearest(&target.value, names, wrong);
    reader.finder.add(target.place_or(&Place::Machine), wrong);
    None
}

fn default_route<'d>(
    reader: &mut Reader<'_>,
    root: &Section<'d>,
    flags: &Flags,
    targets: &Targets<'_>,
) -> Route {
    let knob = &knobs::DEFAULT_ROUTE;
    let before = reader.in_force.len();
    let given = reader.text(root, knob, None, forms::route_target);
    let in_file = given.map(|given| resolve(reader, &given, targets));
    if flags.upstream.is_some() {
        reader.in_force.truncate(before);
        let place = Place::Flag("--upstream");
        reader.note(root, knob, quoted(FLAG_GROUP), Some(&place));
        let target = Given { value: FLAG_GROUP.to_owned(), place: Some(place) };
        return resolve(reader, &target, targets).unwrap_or(Route::Mx(targets.mx_tls));
    }
    if in_file.is_none() {
        reader.note(root, knob, quoted(MX), None);
    }
    in_file.flatten().unwrap_or(Route::Mx(targets.mx_tls))
}

// --- Domains ---

/// Each pattern that has its place already, and the line of that.
type Seen = HashMap<DomainPattern, usize>;

/// The domains of a section, without those that were named before.
fn domains(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    knob: &'static Knob,
    seen: &mut Seen,
) -> Vec<DomainPattern> {
    reader.check_present(section, knob);
    let Some(given) = reader.list(section, knob, forms::domain_pattern) else { return Vec::new() };
    let mut domains = Vec::new();
    for one in given {
        let Some(Place::File(range)) = &one.place else { continue };
        let line = reader.finder.line(range.start);
        if let Some(first) = seen.insert(one.value.clone(), line) {
            let wrong = Wrong::new(format!("`{}` is named twice", one.value));
            let wrong = wrong.help(format!("line {first} says already where its mail goes"));
            reader.finder.add(one.place_or(section.place()), wrong);
        } else {
            domains.push(one.value);
        }
    }
    domains
}

fn relay_domains(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
    targets: &Targets<'_>,
    seen: &mut Seen,
) -> Vec<RelayDomain> {
    let mut relay_domains = Vec::new();
    for section in reader.tables(root, "relay_domain", "relay_domain[]") {
        let domains = domains(reader, &section, &knobs::RELAY_DOMAINS, seen);
        let target = reader.required(&section, &knobs::RELAY_UPSTREAM, forms::route_target);
        let recipients = recipients(reader, &section);
        let Some(target) = target else { continue };
        match resolve(reader, &target, targets) {
            Some(Route::Group(group)) => {
                relay_domains.extend(domains.into_iter().map(|domain| RelayDomain {
                    domain,
                    group,
                    recipients: recipients.clone(),
                }))
            }
            Some(Route::Mx(_)) => {
                let wrong = Wrong::new("a relay domain's MX hosts lead back to this node");
                let wrong = wrong.help("name the upstream group that takes its mail");
                reader.finder.add(target.place_or(section.place()), wrong);
            }
            None => {}
        }
    }
    relay_domains
}

/// How it is known who there is.
fn recipients(reader: &mut Reader<'_>, section: &Section<'_>) -> Recipients {
    let given = reader.text(section, &knobs::RELAY_RECIPIENTS, None, forms::recipients);
    let unverified = reader.text(section, &knobs::RELAY_UNVERIFIED, None, forms::unverified);
    if given.is_none() {
        reader.note(section, &knobs::RELAY_RECIPIENTS, quoted("any"), None);
    }
    match (given.map(|given| given.value).unwrap_or_default(), unverified) {
        (Recipients::Callout(_), Some(unverified)) => Recipients::Callout(unverified.value),
        (Recipients::Callout(default), None) => {
            let shown = quoted(&default.to_string());
            reader.note(section, &knobs::RELAY_UNVERIFIED, shown, None);
            Recipients::Callout(default)
        }
        (recipients, Some(unverified)) => {
            let wrong = Wrong::new("`unverified` is about callouts");
            let wrong = wrong.help("set `recipients = \"callout\"`, or leave it out");
            reader.finder.add(unverified.place_or(section.place()), wrong);
            recipients
        }
        (recipients, None) => recipients,
    }
}

fn routes(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
    (targets, pools): (&Targets<'_>, &[EgressPool]),
    seen: &mut Seen,
) -> Vec<RouteRule> {
    let mut routes = Vec::new();
    for section in reader.tables(root, "route", "route[]") {
        let domains = domains(reader, &section, &knobs::ROUTE_DOMAINS, seen);
        let target = reader.required(&section, &knobs::ROUTE_TO, forms::route_target);
        let route = target.and_then(|target| resolve(reader, &target, targets));
        let tls = reader.text(&section, &knobs::ROUTE_TLS, None, forms::tls_level);
        let pool = sources::pool_of(reader, &section, &knobs::ROUTE_POOL, pools);
        let route = match (route, tls) {
            (Some(Route::Mx(_)), Some(tls)) => Route::Mx(tls.value),
            (Some(route @ Route::Group(_)), Some(tls)) => {
                let wrong = Wrong::new("`tls` here is about MX hosts");
                let wrong = wrong.help("set the `tls` of the [[upstream]]");
                reader.finder.add(tls.place_or(section.place()), wrong);
                route
            }
            (Some(route), None) => route,
            (None, _) => continue,
        };
        routes.extend(domains.into_iter().map(|domain| RouteRule { domain, route, pool }));
    }
    routes
}
