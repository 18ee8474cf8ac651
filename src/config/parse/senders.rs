//! Read for whom the node sends: `[senders]` and the tables of `[[tenant]]` and `[[campaign]]`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::limits::{CAMPAIGNS_MAX, TENANTS_MAX};
use crate::base::window::Window;
use crate::config::knob::Knob;
use crate::config::knobs;
use crate::config::options::{
    Campaign, EgressPool, Listener, SenderOptions, SenderTerms, SuppressionOptions, Tenant,
    WebOptions,
};
use crate::config::parse::{default_text, forms, sources, web};
use crate::config::reader::{Given, Reader, Section, quoted};
use crate::config::units::Wrong;
use crate::policy::senders::labels::FieldNames;

/// What tenants name: pools, the public door, suppression lists.
type Around<'a> = (&'a [EgressPool], Option<&'a WebOptions>, &'a SuppressionOptions);

/// In the file's order.
pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
    listeners: &[Listener],
    around: Around<'_>,
) -> SenderOptions {
    let fields = fields(reader, root);
    let mut tenants: Vec<Tenant> = Vec::new();
    for section in reader.tables(root, "tenant", "tenant[]") {
        let Some(tenant) = tenant(reader, &section, listeners, around) else { continue };
        match conflict(&tenants, &tenant) {
            Some(wrong) => reader.finder.add(section.place(), wrong),
            None => tenants.push(tenant),
        }
    }
    let campaigns = campaigns(reader, root, around.0);
    SenderOptions { fields, tenants, campaigns }
}

fn campaigns(reader: &mut Reader<'_>, root: &Section<'_>, pools: &[EgressPool]) -> Vec<Campaign> {
    let mut campaigns: Vec<Campaign> = Vec::new();
    let mut seen = HashSet::new();
    for section in reader.tables(root, "campaign", "campaign[]") {
        let Some(campaign) = campaign(reader, &section, pools) else { continue };
        if campaigns.len() == CAMPAIGNS_MAX {
            let wrong = Wrong::new(format!("there are {CAMPAIGNS_MAX} campaigns already"));
            reader.finder.add(section.place(), wrong);
        } else if seen.insert((campaign.tenant.clone(), campaign.pattern.clone())) {
            campaigns.push(campaign);
        } else {
            let whose = campaign.tenant.map_or(String::new(), |tenant| format!(" of `{tenant}`"));
            let what = format!("there are two campaigns `{}`{whose}", campaign.pattern);
            reader.finder.add(section.place(), Wrong::new(what));
        }
    }
    campaigns
}

fn campaign(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    pools: &[EgressPool],
) -> Option<Campaign> {
    let pattern = reader.required(section, &knobs::CAMPAIGN_NAME, forms::campaign_pattern);
    let tenant = reader.text(section, &knobs::CAMPAIGN_TENANT, None, forms::tenant_name);
    let weight = reader.count(section, &knobs::CAMPAIGN_WEIGHT, None, 0);
    let rate = reader.rate(section, &knobs::CAMPAIGN_RATE);
    let window = window(reader, section);
    let share = reader.text(section, &knobs::CAMPAIGN_SHARE, None, forms::share);
    let terms = terms(reader, section, [&knobs::CAMPAIGN_LIFETIME, &knobs::CAMPAIGN_DURABILITY]);
    let pool = sources::pool_of(reader, section, &knobs::CAMPAIGN_POOL, pools);
    Some(Campaign {
        pattern: pattern?.value,
        tenant: tenant.map(|given| given.value),
        weight: u16::try_from(weight).expect("the knob's range is small"),
        pool,
        rate,
        window,
        share: share.map(|given| given.value),
        terms,
    })
}

/// When a campaign's mail may be tried.
fn window(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Arc<Window>> {
    let (window, zone) = (&knobs::CAMPAIGN_WINDOW, &knobs::CAMPAIGN_TIME_ZONE);
    let given_zone = reader.text(section, zone, None, forms::time_zone);
    if given_zone.is_none() {
        reader.note(section, zone, quoted(&zone.default_text()), None);
    }
    let name = given_zone.map_or_else(|| zone.default_text(), |given| given.value);
    let given = reader.text(section, window, None, |text| forms::window(text, &name));
    given.map(|given| Arc::new(given.value))
}

/// What both tenants and campaigns can say of their messages.
fn terms(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    [lifetime, durability]: [&'static Knob; 2],
) -> SenderTerms {
    let of_messages = reader.text(section, lifetime, None, forms::lifetime);
    SenderTerms {
        lifetime: of_messages.map(|given| given.value.0),
        durability: reader.choice(section, durability).parse().ok(),
    }
}

fn fields(reader: &mut Reader<'_>, root: &Section<'_>) -> Option<FieldNames> {
    let section = reader.table(root, "senders");
    let choice = reader.choice(&section, &knobs::SENDERS_FIELDS);
    let mut name = |knob: &'static Knob| {
        let given = reader.text(&section, knob, None, forms::field_name);
        let given: Given<String> = given.unwrap_or_else(|| default_text(reader, &section, knob));
        Box::<str>::from(given.value)
    };
    let tenant = name(&knobs::SENDERS_TENANT_FIELD);
    let campaign = name(&knobs::SENDERS_CAMPAIGN_FIELD);
    if tenant.eq_ignore_ascii_case(&campaign) {
        let wrong = Wrong::new(format!("tenant and campaign are both said by {tenant}"));
        reader.finder.add(section.place(), wrong);
    }
    (choice != "ignore").then_some(FieldNames { tenant, campaign, keep: choice == "keep" })
}

fn tenant(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    listeners: &[Listener],
    (pools, web, suppression): Around<'_>,
) -> Option<Tenant> {
    let name = reader.required(section, &knobs::TENANT_NAME, forms::tenant_name);
    let weight = reader.count(section, &knobs::TENANT_WEIGHT, None, 0);
    let logins = reader.list(section, &knobs::TENANT_LOGINS, forms::identity);
    if logins.is_none() {
        reader.note(section, &knobs::TENANT_LOGINS, "[]".to_owned(), None);
    }
    let of_listeners = of_listeners(reader, section, listeners);
    let queued = reader.count(section, &knobs::TENANT_QUEUED, None, 0);
    let pool = sources::pool_of(reader, section, &knobs::TENANT_POOL, pools);
    let rate = reader.rate(section, &knobs::TENANT_RATE);
    let share = reader.text(section, &knobs::TENANT_SHARE, None, forms::share);
    let terms = terms(reader, section, [&knobs::TENANT_LIFETIME, &knobs::TENANT_DURABILITY]);
    let links = web::of_tenant(reader, section, web, suppression);
    Some(Tenant {
        name: name?.value,
        weight: u16::try_from(weight).expect("the knob's range is small"),
        logins: logins.unwrap_or_default().into_iter().map(|given| given.value).collect(),
        listeners: of_listeners,
        queued_max: queued,
        pool,
        rate,
        share: share.map(|given| given.value),
        terms,
        links,
    })
}

/// The places of the listeners that are named.
fn of_listeners(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    listeners: &[Listener],
) -> Vec<u16> {
    let named = reader.list(section, &knobs::TENANT_LISTENERS, forms::socket_address);
    let Some(named) = named else {
        reader.note(section, &knobs::TENANT_LISTENERS, "[]".to_owned(), None);
        return Vec::new();
    };
    let has = |address: SocketAddr| listeners.iter().any(|one| one.address == address);
    for given in named.iter().filter(|given| !has(given.value)) {
        let wrong = Wrong::new(format!("no listener has the address {}", given.value));
        let wrong = wrong.help("write it as in `address` of its [[listener]]");
        reader.finder.add(given.place_or(section.place()), wrong);
    }
    let is_named = |listener: &Listener| named.iter().any(|given| given.value == listener.address);
    let places = (0u16..).zip(listeners).filter(|(_, listener)| is_named(listener));
    places.map(|(place, _)| place).collect()
}

fn conflict(tenants: &[Tenant], tenant: &Tenant) -> Option<Wrong> {
    if tenants.len() == TENANTS_MAX {
        return Some(Wrong::new(format!("there are {TENANTS_MAX} tenants already")));
    }
    tenants.iter().find_map(|other| {
        let words = if other.name == tenant.name {
            return Some(Wrong::new(format!("there are two tenants named `{}`", tenant.name)));
        } else if let Some(both) = tenant.logins.iter().find(|one| other.logins.contains(one)) {
            format!("login `{}`", both.as_str())
        } else if tenant.listeners.iter().any(|one| other.listeners.contains(one)) {
            "a listener".to_owned()
        } else {
            return None;
        };
        Some(Wrong::new(format!("{words} is `{}`'s already", other.name)))
    })
}
