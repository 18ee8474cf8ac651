//! Which name server to ask next: those that answer first, those that failed last.
//!
//! Invariant: each server is asked once a round, whatever its health; so a lookup ends.

use std::net::SocketAddr;

use crate::base::limits::{DNS_SERVER_REST, DNS_SERVERS_MAX};
use crate::base::time::Monotonic;

/// The name servers in force and what is known of their health.
#[derive(Debug)]
pub(super) struct Servers(Vec<Server>);

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    /// It failed: others go first until then; one question then tries it again.
    rests_until: Option<Monotonic>,
}

impl Servers {
    /// All healthy, in order of preference.
    pub(super) fn new(addresses: &[SocketAddr]) -> Self {
        let known = |&address: &SocketAddr| Server { address, rests_until: None };
        Self(addresses.iter().take(DNS_SERVERS_MAX).map(known).collect())
    }

    /// Whether there is nobody to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The best server that is not in `tried`; `None` once all are.
    pub(super) fn choose(&mut self, tried: &[SocketAddr], now: Monotonic) -> Option<SocketAddr> {
        let untried = self.0.iter_mut().filter(|server| !tried.contains(&server.address));
        let best = untried.min_by_key(|server| server.rests_until.filter(|end| *end > now))?;
        if best.rests_until.is_some() {
            // Half open: while this question finds out, the others still go elsewhere.
            best.rests_until = Some(now + DNS_SERVER_REST);
        }
        Some(best.address)
    }

    /// `address` gave an answer of whatever kind.
    pub(super) fn answered(&mut self, address: SocketAddr) {
        self.set(address, None);
    }

    /// `address` was silent, unreachable or talked nonsense.
    pub(super) fn failed(&mut self, address: SocketAddr, now: Monotonic) {
        self.set(address, Some(now + DNS_SERVER_REST));
    }

    fn set(&mut self, address: SocketAddr, rests_until: Option<Monotonic>) {
        for server in self.0.iter_mut().filter(|server| server.address == address) {
            server.rests_until = rests_until;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> ([SocketAddr; 2], Servers) {
        let both = ["192.0.2.1:53".parse().unwrap(), "192.0.2.2:53".parse().unwrap()];
        (both, Servers::new(&both))
    }

    #[test]
    fn a_server_that_failed_is_asked_last_and_after_its_rest_by_one_question() {
        let ([first, second], mut servers) = two();
        let start = Monotonic(0);
        assert_eq!(servers.choose(&[], start), Some(first));
        servers.failed(first, start);
        assert_eq!(servers.choose(&[], start), Some(second));
        assert_eq!(servers.choose(&[second], start), Some(first));
        assert_eq!(servers.choose(&[first, second], start), None);
        let later = start + DNS_SERVER_REST + DNS_SERVER_REST;
        assert_eq!(servers.choose(&[], later), Some(first), "the probe");
        assert_eq!(servers.choose(&[], later), Some(second), "while the probe is under way");
        servers.answered(first);
        assert_eq!(servers.choose(&[], later), Some(first));
    }

    #[test]
    fn when_all_failed_the_one_that_failed_first_goes_first() {
        let ([first, second], mut servers) = two();
        servers.failed(second, Monotonic(1));
        servers.failed(first, Monotonic(2));
        assert_eq!(servers.choose(&[], Monotonic(3)), Some(second));
    }
}
