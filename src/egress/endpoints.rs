//! The addresses of a site in order of trial, and which of them are dead.
//!
//! Live endpoints of the lowest preference number share connections in turn. One that failed is
//! left alone for a while; then a single connection tries it, and the others go past it as long as
//! that takes, so that a dead host does not slow a live one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::limits::{ENDPOINT_DEAD_FIRST, ENDPOINT_DEAD_MAX, SITE_ENDPOINTS_MAX};
use crate::base::time::Monotonic;

/// One address to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
    /// The name of the host behind it, for TLS and for people.
    pub host: Arc<str>,
    /// Lower ones first (RFC 5321 §5.1); equal ones share.
    pub preference: u16,
}

#[derive(Debug)]
struct Known {
    endpoint: Endpoint,
    /// Failures in a row.
    failures: u32,
    /// Not tried before; meaningful while `failures` is not 0.
    dead_until: Monotonic,
    /// A connection finds out whether it works again.
    on_trial: bool,
    /// Tried or used last, as a count of choices: the longest ago is next.
    turn: u64,
}

impl Known {
    fn is_live(&self, now: Monotonic) -> bool {
        self.failures == 0 || self.dead_until <= now
    }
}

/// All endpoints of a site.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    known: Vec<Known>,
    turns: u64,
}

impl Endpoints {
    /// Replace the list; what is known of an address that stays is kept. The first
    /// `SITE_ENDPOINTS_MAX` count.
    pub(super) fn set(&mut self, list: Vec<Endpoint>) {
        let mut before = std::mem::take(&mut self.known);
        for endpoint in list.into_iter().take(SITE_ENDPOINTS_MAX) {
            let same = |known: &Known| known.endpoint.address == endpoint.address;
            if self.known.iter().any(same) {
                continue;
            }
            let known = match before.iter().position(same) {
                Some(place) => Known { endpoint, ..before.swap_remove(place) },
                None => Known {
                    endpoint,
                    failures: 0,
                    dead_until: Monotonic(0),
                    on_trial: false,
                    turn: 0,
                },
            };
            self.known.push(known);
        }
    }

    /// The endpoint for the next connection, if one is live.
    pub(super) fn choose(&mut self, now: Monotonic) -> Option<Endpoint> {
        let live = self.known.iter_mut().filter(|known| known.is_live(now));
        let chosen = live.min_by_key(|known| (known.endpoint.preference, known.turn))?;
        self.turns += 1;
        chosen.turn = self.turns;
        if chosen.failures > 0 {
            // This connection is its trial: the others go past it meanwhile.
            chosen.dead_until = now + ENDPOINT_DEAD_MAX;
            chosen.on_trial = true;
        }
        Some(chosen.endpoint.clone())
    }

    /// It works.
    pub(super) fn succeeded(&mut self, address: SocketAddr) {
        if let Some(known) = self.find(address) {
            (known.failures, known.on_trial) = (0, false);
        }
    }

    /// A connection to it ended before it said whether it works: another may try.
    pub(super) fn untold(&mut self, address: SocketAddr, now: Monotonic) {
        if let Some(known) = self.find(address)
            && known.on_trial
        {
            (known.on_trial, known.dead_until) = (false, now);
        }
    }

    /// It does not work. Connections that fail while it is dead tell what is known already.
    pub(super) fn failed(&mut self, address: SocketAddr, now: Monotonic) {
        if let Some(known) = self.find(address)
            && (known.is_live(now) || known.on_trial)
        {
            known.on_trial = false;
            known.failures = known.failures.saturating_add(1);
            known.dead_until = now + dead_for(known.failures);
        }
    }

    /// Whether one is live.
    pub(super) fn any_live(&self, now: Monotonic) -> bool {
        self.known.iter().any(|known| known.is_live(now))
    }

    /// When the first dead one is tried again.
    pub(super) fn next_trial(&self) -> Option<Monotonic> {
        let dead = self.known.iter().filter(|known| known.failures > 0);
        dead.map(|known| known.dead_until).min()
    }

    /// Let every endpoint be tried again, in order.
    pub(super) fn revive(&mut self) {
        for known in &mut self.known {
            known.dead_until = Monotonic(0);
        }
    }

    fn find(&mut self, address: SocketAddr) -> Option<&mut Known> {
        self.known.iter_mut().find(|known| known.endpoint.address == address)
    }
}

/// How long an endpoint is left alone after so many failures in a row.
fn dead_for(failures: u32) -> Duration {
    let doubled = 1 << failures.saturating_sub(1).min(16);
    ENDPOINT_DEAD_MAX.min(ENDPOINT_DEAD_FIRST * doubled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(last: u8, preference: u16) -> Endpoint {
        Endpoint { address: address(last), host: "mx".into(), preference }
    }

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 25))
    }

    fn choices(endpoints: &mut Endpoints, now: Monotonic, count: usize) -> Vec<u8> {
        let last = |endpoint: Endpoint| match endpoint.address {
            SocketAddr::V4(v4) => v4.ip().octets()[3],
            SocketAddr::V6(_) => unreachable!("none is given"),
        };
        (0..count).map_while(|_| endpoints.choose(now).map(last)).collect()
    }

    //= RFC 5321 §5.1, type=test
    //# Lower numbers are more preferred than higher ones. If there are multiple destinations with
    //# the same preference [...] the sender-SMTP MUST randomize them to spread the load
    #[test]
    fn endpoints_of_the_lowest_preference_share_in_turn() {
        let mut endpoints = Endpoints::default();
        endpoints.set(vec![endpoint(9, 20), endpoint(1, 10), endpoint(2, 10)]);
        assert_eq!(choices(&mut endpoints, Monotonic(1), 4), [1, 2, 1, 2]);
        endpoints.failed(address(1), Monotonic(1));
        assert_eq!(choices(&mut endpoints, Monotonic(1), 2), [2, 2]);
        endpoints.failed(address(2), Monotonic(1));
        assert_eq!(choices(&mut endpoints, Monotonic(1), 2), [9, 9]);
        endpoints.failed(address(9), Monotonic(1));
        assert!(!endpoints.any_live(Monotonic(1)));
    }

    #[test]
    fn a_dead_endpoint_is_tried_by_one_connection_at_a_time() {
        let mut endpoints = Endpoints::default();
        endpoints.set(vec![endpoint(1, 10), endpoint(2, 20)]);
        endpoints.failed(address(1), Monotonic(0));
        let later = Monotonic(0) + ENDPOINT_DEAD_FIRST;
        assert_eq!(endpoints.next_trial(), Some(later));
        assert_eq!(choices(&mut endpoints, later, 3), [1, 2, 2]);
        endpoints.failed(address(1), later);
        assert_eq!(endpoints.next_trial(), Some(later + ENDPOINT_DEAD_FIRST * 2));
        endpoints.succeeded(address(1));
        assert_eq!(choices(&mut endpoints, later, 2), [1, 1]);
    }

    #[test]
    fn what_is_known_of_an_address_survives_a_new_list() {
        let mut endpoints = Endpoints::default();
        endpoints.set(vec![endpoint(1, 10), endpoint(2, 10)]);
        endpoints.failed(address(1), Monotonic(0));
        endpoints.set(vec![endpoint(3, 30), endpoint(1, 10), endpoint(3, 30)]);
        assert_eq!(choices(&mut endpoints, Monotonic(0), 2), [3, 3]);
        endpoints.revive();
        assert_eq!(choices(&mut endpoints, Monotonic(0), 1), [1]);
        assert_eq!(dead_for(u32::MAX), ENDPOINT_DEAD_MAX);
    }
}
