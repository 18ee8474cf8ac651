//! Choose the local address and the EHLO name that a connection leaves from.
//!
//! By weight among those of a pool that are of the peer's address family; a source without an
//! address lets the kernel choose, and fits every peer.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::base::limits::PROXY_REST;
use crate::base::time::Monotonic;
use crate::egress::turns::Turns;
use crate::smtp::socks::Login;

/// A proxy that a source's connections go through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where it listens.
    pub at: SocketAddr,
    /// What it wants to hear first.
    pub speaks: Speaks,
}

/// What a proxy wants to hear before it connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// SOCKS5 (RFC 1928), with a login perhaps.
    Socks(Option<Arc<Login>>),
    /// A PROXY header with the source's address and the peer's.
    Header,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.speaks {
            Speaks::Socks(_) => write!(f, "socks5://{}", self.at),
            Speaks::Header => write!(f, "haproxy://{}", self.at),
        }
    }
}

/// A local address and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is called: where nobody said, its address, or its EHLO name where the kernel chooses
    /// the address.
    pub name: Arc<str>,
    /// Bound before connecting, unless there is a proxy, whose address it is then; `None`: the
    /// kernel chooses.
    pub address: Option<IpAddr>,
    /// What EHLO says.
    pub hello: Arc<str>,
    /// What its connections go through.
    pub proxy: Option<Arc<Proxy>>,
}

impl Source {
    fn fits(&self, peer: IpAddr) -> bool {
        self.address.is_none_or(|address| address.is_ipv4() == peer.is_ipv4())
    }

    /// The address that a connection is bound to here.
    pub fn bound(&self) -> Option<IpAddr> {
        self.address.filter(|_| self.proxy.is_none())
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
    /// By place: whose proxy failed is passed over until then.
    rests: Box<[Monotonic]>,
}

impl Sources {
    /// Use those of `pool`, after `start` turns, so that shards and sites do not all begin with the
    /// first.
    pub fn new(pool: Arc<Pool>, start: usize) -> Self {
        let turns = Turns::new(pool.members.iter().map(|member| member.weight), start);
        let rests = vec![Monotonic(0); pool.members.len()].into();
        Self { pool, turns, rests }
    }

    /// The source for the next connection to `peer`, by its place; `None` where none is of its
    /// family. One that rests only where all of them do.
    pub fn choose(&mut self, peer: IpAddr, now: Monotonic) -> Option<(usize, &Member)> {
        let members = &self.pool.members;
        let fits = |place: &usize| members[*place].source.fits(peer);
        let mut may: Vec<usize> = (0..members.len()).filter(fits).collect();
        if may.iter().any(|place| self.rests[*place] <= now) {
            may.retain(|place| self.rests[*place] <= now);
        }
        let chosen = *self.turns.order(may.clone()).first()?;
        self.turns.take(chosen, &may);
        Some((chosen, &members[chosen]))
    }

    /// The proxy of the source at this place failed: pass the source over for a while. Whether
    /// another can connect to `peer` meanwhile.
    pub fn rest(&mut self, place: usize, peer: IpAddr, now: Monotonic) -> bool {
        if let Some(until) = self.rests.get_mut(place) {
            *until = now + PROXY_REST;
        }
        let mut all = self.pool.members.iter().zip(&self.rests);
        all.any(|(member, until)| *until <= now && member.source.fits(peer))
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
            let source = Source {
                name: "".into(),
                address: text.map(address),
                hello: "me".into(),
                proxy: None,
            };
            Member { source, place, weight: *weight }
        };
        let members = addresses.iter().enumerate().map(member).collect();
        Sources::new(Arc::new(Pool { name: "p".into(), members }), start)
    }

    fn chosen(sources: &mut Sources, peer: &str) -> Option<String> {
        let (_, member) = sources.choose(peer.parse().expect("an address"), Monotonic(0))?;
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

    #[test]
    fn whose_proxy_failed_is_passed_over_while_another_is_there() {
        let mut sources = sources(&THREE, 0);
        let peer = "198.51.100.1".parse().expect("an address");
        let at = |seconds: u64| Monotonic(seconds * 1_000_000_000);
        assert!(sources.rest(0, peer, at(1)), "the third is there");
        let mut places = |now: Monotonic| {
            let place = |_| sources.choose(peer, now).map(|(place, _)| place);
            (0..3).map(place).collect::<Vec<_>>()
        };
        assert_eq!(places(at(30)), [Some(2); 3]);
        assert!(places(at(31)).contains(&Some(0)), "it is tried again");
        assert!(sources.rest(2, peer, at(40)) && !sources.rest(0, peer, at(40)));
        assert!(sources.choose(peer, at(40)).is_some(), "all rest: one finds out");
    }
}
