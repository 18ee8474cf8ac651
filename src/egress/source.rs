//! Choose the local address and the EHLO name that a connection leaves from.
//!
//! In turn among those of the peer's address family; a source without an address lets the kernel
//! choose, and fits every peer.

use std::net::IpAddr;
use std::sync::Arc;

/// A local address and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Bound before connecting; `None`: the kernel chooses.
    pub address: Option<IpAddr>,
    /// What EHLO says.
    pub hello: Arc<str>,
}

impl Source {
    /// What it is called: its address, or its EHLO name where the kernel chooses the address.
    pub fn name(&self) -> Arc<str> {
        self.address.map_or_else(|| self.hello.clone(), |address| address.to_string().into())
    }

    fn fits(&self, peer: IpAddr) -> bool {
        self.address.is_none_or(|address| address.is_ipv4() == peer.is_ipv4())
    }
}

/// The sources that a site may use, and whose turn it is.
#[derive(Clone, Debug)]
pub struct Sources {
    all: Arc<[Source]>,
    turn: usize,
}

impl Sources {
    /// Use `all` in turn, from `start` on, so that shards and sites do not all begin with the
    /// first.
    pub fn new(all: Arc<[Source]>, start: usize) -> Self {
        let turn = start.checked_rem(all.len()).unwrap_or(0);
        Self { all, turn }
    }

    /// The source for the next connection to `peer`; `None` where none is of its family.
    pub fn choose(&mut self, peer: IpAddr) -> Option<&Source> {
        let order = (self.turn..self.all.len()).chain(0..self.turn);
        let chosen = order.into_iter().find(|index| self.all[*index].fits(peer))?;
        self.turn = (chosen + 1) % self.all.len();
        Some(&self.all[chosen])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(addresses: &[Option<&str>]) -> Arc<[Source]> {
        let address = |text: &str| text.parse().expect("an address");
        let source =
            |text: &Option<&str>| Source { address: text.map(address), hello: "me".into() };
        addresses.iter().map(source).collect()
    }

    fn chosen(sources: &mut Sources, peer: &str) -> Option<String> {
        let source = sources.choose(peer.parse().expect("an address"))?;
        Some(source.address.map_or("any".into(), |address| address.to_string()))
    }

    #[test]
    fn sources_take_turns_within_the_peers_family() {
        let all = sources(&[Some("192.0.2.1"), Some("2001:db8::1"), Some("192.0.2.2")]);
        let mut sources = Sources::new(all, 3);
        let turns: Vec<_> = (0..4).map(|_| chosen(&mut sources, "198.51.100.1")).collect();
        assert_eq!(
            turns,
            ["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"].map(|s| Some(s.into()))
        );
        assert_eq!(chosen(&mut sources, "2001:db8::9").as_deref(), Some("2001:db8::1"));
    }

    #[test]
    fn a_source_without_address_fits_all_and_none_may_fit() {
        assert_eq!(chosen(&mut Sources::new(sources(&[None]), 9), "::1").as_deref(), Some("any"));
        assert_eq!(chosen(&mut Sources::new(sources(&[Some("192.0.2.1")]), 0), "::1"), None);
        assert_eq!(chosen(&mut Sources::new(sources(&[]), 5), "::1"), None);
    }
}
