//! Read where mail leaves from: sources, and pools of them.

use std::net::IpAddr;

use crate::base::limits::{POOLS_MAX, SOURCES_MAX};
use crate::config::knob::Knob;
use crate::config::knobs;
use crate::config::options::{
    CertificateFiles, EgressPool, EgressProxy, EgressSource, ProxyKind, ShapingOptions,
};
use crate::config::parse::{forms, warm_up};
use crate::config::reader::{Given, Reader, Section, quoted};
use crate::config::suggest;
use crate::config::units::Wrong;
use crate::egress::warm_up::Plan;
use crate::mail::address::Domain;
use crate::mail::route::PoolId;

/// The pool of all sources, unless it is given.
const DEFAULT: &str = "default";

/// What sources may go by: the node's name, plans of warm-up, how traffic is shaped.
type Around<'a> = (Option<&'a Domain>, &'a [Plan], &'a ShapingOptions);

/// In the file's order, but for the default pool, which is the first.
pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
    around: Around<'_>,
) -> (Vec<EgressSource>, Vec<EgressPool>) {
    let sources = sources(reader, root, around);
    let all = (0u16..).zip(&sources).map(|(place, _)| (place, 1)).collect();
    let mut pools = vec![EgressPool { name: DEFAULT.into(), sources: all }];
    let mut is_default_given = false;
    for section in reader.tables(root, "pool", "pool[]") {
        let Some((name, pool)) = pool(reader, &section, &sources) else { continue };
        let place = name.place_or(section.place());
        if pool.name == pools[0].name && !is_default_given {
            is_default_given = true;
            pools[0] = pool;
        } else if pools.iter().any(|other| other.name == pool.name) {
            let wrong = Wrong::new(format!("there are two pools named `{}`", pool.name));
            reader.finder.add(place, wrong);
        } else if pools.len() == POOLS_MAX {
            reader.finder.add(place, Wrong::new(format!("there are {POOLS_MAX} pools already")));
        } else {
            pools.push(pool);
        }
    }
    (sources, pools)
}

/// The pool that is named by `knob`, if any is.
pub(super) fn pool_of(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    knob: &'static Knob,
    pools: &[EgressPool],
) -> Option<PoolId> {
    let given = reader.text(section, knob, None, forms::source_name)?;
    if let Some(place) = pools.iter().position(|pool| *pool.name == *given.value) {
        return Some(PoolId(u16::try_from(place).expect("there are POOLS_MAX at most")));
    }
    let wrong = Wrong::new(format!("there is no pool `{}`", given.value));
    let wrong = suggest::nearest(&given.value, pools.iter().map(|pool| &*pool.name), wrong);
    reader.finder.add(given.place_or(section.place()), wrong);
    None
}

fn pool(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    all: &[EgressSource],
) -> Option<(Given<String>, EgressPool)> {
    let name = reader.required(section, &knobs::POOL_NAME, forms::source_name);
    reader.check_present(section, &knobs::POOL_SOURCES);
    let before = reader.finder.len();
    let given = reader.list(section, &knobs::POOL_SOURCES, forms::weighted_source)?;
    if given.is_empty() && reader.finder.len() == before {
        reader.finder.add(section.place(), Wrong::new("the pool has no source"));
    }
    let mut sources: Vec<(u16, u32)> = Vec::new();
    for one in &given {
        match source(all, &one.value) {
            Ok(place) if sources.iter().any(|(other, _)| *other == place) => {
                let wrong = Wrong::new(format!("`{}` is in the pool already", one.value.name));
                reader.finder.add(one.place_or(section.place()), wrong);
            }
            Ok(place) => sources.push((place, one.value.weight)),
            Err(wrong) => reader.finder.add(one.place_or(section.place()), wrong),
        }
    }
    let name = name?;
    let pool = EgressPool { name: name.value.as_str().into(), sources };
    Some((name, pool))
}

/// The place of the source that is meant.
fn source(all: &[EgressSource], named: &forms::WeightedSource) -> Result<u16, Wrong> {
    let address = named.name.parse::<IpAddr>().ok();
    let is_it =
        |source: &EgressSource| *source.name == *named.name || Some(source.address) == address;
    if let Some(place) = all.iter().position(is_it) {
        return Ok(u16::try_from(place).expect("there are SOURCES_MAX at most"));
    }
    let wrong = Wrong::new(format!("there is no source `{}`", named.name));
    Err(suggest::nearest(&named.name, all.iter().map(|source| &*source.name), wrong))
}

fn sources(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
    (hostname, plans, shaping): Around<'_>,
) -> Vec<EgressSource> {
    let mut sources: Vec<EgressSource> = Vec::new();
    for section in reader.tables(root, "source", "source[]") {
        let name = reader.text(&section, &knobs::SOURCE_NAME, None, forms::source_name);
        let address = reader.required(&section, &knobs::SOURCE_ADDRESS, forms::source_address);
        let hello = reader.text(&section, &knobs::SOURCE_HELLO, None, forms::host_name);
        let hello = match (hello, hostname) {
            (Some(given), _) => Some(given.value),
            (None, Some(hostname)) => {
                reader.note(&section, &knobs::SOURCE_HELLO, quoted(hostname.as_str()), None);
                Some(hostname.clone())
            }
            (None, None) => None,
        };
        let certificate = source_certificate(reader, &section);
        let proxy = source_proxy(reader, &section);
        let warm_up = warm_up::of_source(reader, &section, plans, shaping);
        let (Some(address), Some(hello)) = (address, hello) else { continue };
        let is_named = name.is_some();
        let name = name.unwrap_or_else(|| {
            let value = address.value.to_string();
            reader.note(&section, &knobs::SOURCE_NAME, quoted(&value), None);
            Given { value, place: None }
        });
        let other = sources.iter().find(|source| source.address == address.value);
        let wrong = match other {
            Some(_) => Some(format!("`{}` is a source already", address.value)),
            None if sources.iter().any(|source| *source.name == name.value) => {
                Some(format!("there are two sources named `{}`", name.value))
            }
            None if sources.len() == SOURCES_MAX => {
                Some(format!("there are {SOURCES_MAX} sources already"))
            }
            None => None,
        };
        if let Some(wrong) = wrong {
            let given = if is_named { name.place_or(section.place()) } else { section.place() };
            let place = if other.is_some() { address.place_or(section.place()) } else { given };
            reader.finder.add(place, Wrong::new(wrong));
            continue;
        }
        let name = name.value.into();
        let address = address.value;
        sources.push(EgressSource { name, address, hello, certificate, proxy, warm_up });
    }
    sources
}

fn source_certificate(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<CertificateFiles> {
    let chain = reader.text(section, &knobs::SOURCE_CERTIFICATE, None, forms::path);
    let key = reader.text(section, &knobs::SOURCE_KEY, None, forms::path);
    match (chain, key) {
        (Some(chain), Some(key)) => {
            Some(CertificateFiles { chain: chain.value.into(), key: key.value.into() })
        }
        (None, None) => None,
        (Some(alone), None) | (None, Some(alone)) => {
            let wrong = Wrong::new("`certificate` and `key` go together");
            reader.finder.add(alone.place_or(section.place()), wrong);
            None
        }
    }
}

fn source_proxy(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<EgressProxy> {
    let proxy = reader.text(section, &knobs::SOURCE_PROXY, None, forms::egress_proxy);
    let login = reader.text(section, &knobs::SOURCE_PROXY_LOGIN, None, forms::path);
    let proxy = proxy.map(|given| given.value);
    match (proxy, login) {
        (Some(EgressProxy { at, kind: ProxyKind::Socks(_) }), Some(login)) => {
            Some(EgressProxy { at, kind: ProxyKind::Socks(Some(login.value.into())) })
        }
        (proxy, Some(login)) => {
            let wrong = Wrong::new("`proxy_login` goes with a proxy that speaks SOCKS5");
            reader.finder.add(login.place_or(section.place()), wrong);
            proxy
        }
        (proxy, None) => proxy,
    }
}
