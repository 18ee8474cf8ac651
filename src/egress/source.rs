//! Choose the local address and the EHLO name that a connection leaves from.
//!
//! By weight among those of a pool that are of the peer's address family; a source without an
//! address lets the kernel choose, and fits every peer.

use std::net::IpAddr;
use std::sync::Arc;

use crate::egress::turns::Turns;

/// A local address and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is called: where nobody said, its address, or its EHLO name where the kernel chooses
    /// the address.
    pub name: Arc<str>,
    /// Bound before connecting; `None`: the kernel chooses.
    pub address: Option<IpAddr>,
    /// What EHLO says.
    pub hello: Arc<str>,
}

impl Source {
    fn fits(&self, peer: IpAddr) -> bool {
        self.address.is_none_or(|address| address.is_ipv4() == peer.is_ipv4())
    }
}

/// Sources among which mail of some kind is shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Unique among pools.
    pub name: Arc<str>,
    /// At least one.
    pub members: Box<[Member]>,
}

/// A source in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it is.
    pub source: Source,
    /// Its place among all sources.
    pub place: usize,
    /// Its share of the pool's connections beside the others'; at least 1.
    pub weight: u32,
}

/// The sources that a site may use, and whose turn it is.
#[derive(Clone, Debug)]
pub struct Sources {
    pool: Arc<Pool>,
    turns: Turns,
}

impl Sources {
    /// Use those of `pool`, after `start` turns, so that shards and sites do not all begin with the
    /// first.
    pub fn new(pool: Arc<Pool>, start: usize) -> Self {
        let turns = Turns::new(pool.members.iter().map(|member| member.weight), start);
        Self { pool, turns }
    }

    /// The source for the next connection to `peer`; `None` where none is of its family.
    pub fn choose(&mut self, peer: IpAddr) -> Option<&Member> {
        let members = &self.pool.members;
        let may: Vec<usize> =
            (0..members.len()).filter(|place| members[*place].source.fits(peer)).collect();
        let chosen = *self.turns.order(may.clone()).first()?;
        self.turns.take(chosen, &may);
        Some(&members[chosen])
    }

    /// The source at a place in the pool.
    pub fn member(&self, place: usize) -> Option<&Member> {
        self.pool.members.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(addresses: &[(Option<&str>, u32)], start: usize) -> Sources {
        let address = |text: &str| text.parse().expect("an address");
        let member = |(place, (text, weight)): (usize, &(Option<&str>, u32))| {
            let source = Source { name: "".into(), address: text.map(address), hello: "me".into() };
            Member { source, place, weight: *weight }
        };
        let members = addresses.iter().enumerate().map(member).collect();
        Sources::new(Arc::new(Pool { name: "p".into(), members }), start)
    }

    fn chosen(sources: &mut Sources, peer: &str) -> Option<String> {
        let member = sources.choose(peer.parse().expect("an address"))?;
        Some(member.source.address.map_or("any".into(), |address| address.to_string()))
    }

    const THREE: [(Option<&str>, u32); 3] =
        [(Some("192.0.2.1"), 1), (Some("2001:db8::1"), 1), (Some("192.0.2.2"), 1)];

    #[test]
    fn sources_take_turns_within_the_peers_family() {
        let mut sources = sources(&THREE, 3);
        let turns: Vec<_> = (0..4).map(|_| chosen(&mut sources, "198.51.100.1")).collect();
        assert_eq!(
            turns,
            ["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"].map(|s| Some(s.into()))
        );
        assert_eq!(chosen(&mut sources, "2001:db8::9").as_deref(), Some("2001:db8::1"));
    }

    #[test]
    fn shares_go_by_weight_and_a_family_has_its_own() {
        let [one, six, two] = THREE;
        let mut sources = sources(&[(one.0, 3), six, (two.0, 2)], 0);
        for _ in 0..4 {
            let mut first = 0;
            for _ in 0..5 {
                let four = chosen(&mut sources, "198.51.100.1");
                first += usize::from(four.as_deref() == Some("192.0.2.1"));
                assert_eq!(chosen(&mut sources, "::2").as_deref(), Some("2001:db8::1"));
            }
            assert_eq!(first, 3);
        }
    }

    #[test]
    fn a_source_without_address_fits_all_and_none_may_fit() {
        assert_eq!(chosen(&mut sources(&[(None, 1)], 9), "::1").as_deref(), Some("any"));
        assert_eq!(chosen(&mut sources(&[(Some("192.0.2.1"), 1)], 0), "::1"), None);
        assert_eq!(chosen(&mut sources(&[], 5), "::1"), None);
    }
}
