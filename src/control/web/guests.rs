//! Count connections by where they come from, so that nobody has all the places of the door.
//!
//! In: addresses, as connections come. Out: a place, which is free again once it is dropped; none
//! where as many come from there already. An IPv6 network of 64 bits is one place to come from:
//! whoever has an address there has all of them. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::limits::WEB_CONNECTIONS_OF_ONE;

/// How many connections there are from where; as many rows as there are connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Guests(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them.
#[derive(Debug)]
pub(super) struct Guest {
    guests: Guests,
    from: IpAddr,
}

impl Guests {
    /// One more from there.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Guest> {
        let from = network(address);
        let mut rows = self.rows();
        let count = rows.entry(from).or_default();
        if *count >= WEB_CONNECTIONS_OF_ONE {
            return None;
        }
        *count += 1;
        Some(Guest { guests: self.clone(), from })
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut rows = self.guests.rows();
        if let Some(count) = rows.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                rows.remove(&self.from);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn nobody_has_all_places_and_who_leaves_makes_room() {
        let guests = Guests::default();
        let mut held: Vec<_> = (0..WEB_CONNECTIONS_OF_ONE)
            .map(|n| guests.enter(ip(&format!("2001:db8::{n:x}"))).expect("a place"))
            .collect();
        assert!(guests.enter(ip("2001:db8::ffff")).is_none(), "the same network");
        let other = guests.enter(ip("2001:db8:0:1::1")).expect("another one");
        let mapped = guests.enter(ip("::ffff:192.0.2.1")).expect("another family");
        let plain = guests.enter(ip("192.0.2.1")).expect("the same address");
        assert_eq!(guests.rows()[&ip("192.0.2.1")], 2);
        held.pop();
        held.push(guests.enter(ip("2001:db8::ffff")).expect("a place again"));
        drop((held, other, mapped, plain));
        assert!(guests.rows().is_empty());
    }
}
