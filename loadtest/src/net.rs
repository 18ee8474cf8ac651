//! Which addresses the harness may touch: loopback, unless the operator owns the network.
//!
//! In: `ADDR:PORT`, or a range over the last octet of an IPv4 address (`127.0.1.1-20:25252`).
//! Out: socket addresses, refused when one of them is not loopback and nobody said it may be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// Ports that are tried for children: below the range from which the kernel takes source ports, so
/// that a connect to a closed port can never meet itself.
const PORTS_FIRST: u16 = 20_000;
const PORTS_LAST: u16 = 31_999;

/// One or more addresses as the operator wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses(pub(crate) Vec<SocketAddr>);

impl FromStr for Addresses {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self(vec![address]));
        }
        let (hosts, port) = text.rsplit_once(':').context("expected ADDR:PORT")?;
        let port: u16 = port.parse().with_context(|| format!("{port:?} is not a port"))?;
        let hosts = hosts_of(hosts)?;
        Ok(Self(hosts.into_iter().map(|host| SocketAddr::new(IpAddr::V4(host), port)).collect()))
    }
}

/// Hosts of `A.B.C.D` or `A.B.C.D-E`, both ends included.
pub(crate) fn hosts_of(text: &str) -> Result<Vec<Ipv4Addr>> {
    let (first, last) = text.split_once('-').unwrap_or((text, ""));
    let first: Ipv4Addr =
        first.parse().with_context(|| format!("{first:?} is not an IPv4 address"))?;
    let [a, b, c, low] = first.octets();
    let high: u8 = match last {
        "" => low,
        last => last.parse().with_context(|| format!("{last:?} is not a last octet"))?,
    };
    if high < low {
        bail!("the range {text} runs backwards");
    }
    Ok((low..=high).map(|d| Ipv4Addr::new(a, b, c, d)).collect())
}

/// Refuses the first address that is not loopback, unless the operator said whose network it is.
pub(crate) fn refuse_foreign(addresses: &[SocketAddr], owned: bool) -> Result<()> {
    match addresses.iter().find(|address| !address.ip().is_loopback()) {
        Some(address) if !owned => bail!(
            "{address} is not a loopback address: load and faults may only be aimed at a network \
             of your own; say so with --i-own-this-network"
        ),
        Some(_) | None => Ok(()),
    }
}

/// `count` loopback ports that were free a moment ago, all different.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let span = u32::from(PORTS_LAST - PORTS_FIRST) + 1;
    let start = std::process::id().wrapping_mul(97) % span;
    let mut free = Vec::with_capacity(count);
    for step in 0..span {
        if free.len() == count {
            break;
        }
        let offset = u16::try_from((start + step) % span).context("a port offset is small")?;
        let port = PORTS_FIRST + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            free.push(port);
        }
    }
    if free.len() < count {
        bail!("no {count} free ports between {PORTS_FIRST} and {PORTS_LAST} on 127.0.0.1");
    }
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_runs_over_the_last_octet() {
        let Addresses(all) = "127.0.1.9-11:25".parse().unwrap();
        let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["127.0.1.9:25", "127.0.1.10:25", "127.0.1.11:25"]);
    }

    #[test]
    fn a_single_address_may_be_ipv6() {
        let Addresses(all) = "[::1]:25".parse().unwrap();
        assert!(all[0].is_ipv6());
    }

    #[test]
    fn wrong_ranges_are_refused() {
        for text in ["127.0.1.9-3:25", "127.0.1.1-256:25", "127.0.1.1", "x:25", "127.0.0.1:99999"] {
            assert!(text.parse::<Addresses>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_loopback_without_the_flag() {
        let foreign = ["127.0.0.1:25", "192.0.2.1:25"].map(|text| text.parse().unwrap());
        assert!(refuse_foreign(&foreign, false).is_err());
        assert!(refuse_foreign(&foreign, true).is_ok());
        assert!(refuse_foreign(&foreign[..1], false).is_ok());
        let any: SocketAddr = "0.0.0.0:25".parse().unwrap();
        assert!(refuse_foreign(&[any], false).is_err());
    }

    #[test]
    fn free_ports_differ() {
        let ports = free_ports(4).unwrap();
        let mut sorted = ports.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 4);
    }
}
