//! Slow down those who guess passwords: failures at AUTH, by address and by name.
//!
//! In: who tries and when, and who succeeded. Out: go on, or the reply to refuse with. Each try is
//! paid for when it begins and given back when it succeeds, so that tries side by side get no more
//! than one after another.
//! Invariant: a name that nobody has is treated as one that somebody has; the tables have at most
//! `AUTH_ROWS_MAX` rows each. A stranger's failures do not lock out an address that has had the
//! name's password right. Lives on: the shard whose sessions it counts.

use std::net::IpAddr;

use lru::LruCache;

use crate::base::limits::{
    AUTH_ADDRESS_BURST, AUTH_ADDRESS_EVERY, AUTH_NAME_BURST, AUTH_NAME_EVERY, AUTH_ROWS_MAX,
};
use crate::base::time::Monotonic;
use crate::mail::status::Reply;
use crate::policy::admission::counted_as;
use crate::policy::pace::{Pace, Table};
use crate::policy::reply;
use crate::smtp::sasl::Name;

const BY_ADDRESS: Pace = Pace { burst: AUTH_ADDRESS_BURST, every: AUTH_ADDRESS_EVERY };
const BY_NAME: Pace = Pace { burst: AUTH_NAME_BURST, every: AUTH_NAME_EVERY };

/// Tries at AUTH that have not succeeded.
#[derive(Debug)]
pub struct Attempts {
    by_address: Table<IpAddr>,
    by_name: Table<Name>,
    /// Who has had which name's password right.
    proved: LruCache<(Name, IpAddr), ()>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            by_address: Table::new(AUTH_ROWS_MAX),
            by_name: Table::new(AUTH_ROWS_MAX),
            proved: LruCache::unbounded(),
        }
    }
}

impl Attempts {
    /// A client at `address` wants to try as `name`: let it, or say what it is told. 421 where its
    /// address has failed too often, for it would only go on.
    pub fn begin(&mut self, address: IpAddr, name: &Name, now: Monotonic) -> Result<(), Reply> {
        let address = counted_as(address);
        if !self.by_address.has_room(&address, BY_ADDRESS, now) {
            let text = "Too many failures from your address, try again later";
            return Err(reply(421, (4, 7, 0), text));
        }
        let proved = self.proved.get(&(name.clone(), address)).is_some();
        if !proved && !self.by_name.has_room(name, BY_NAME, now) {
            return Err(reply(454, (4, 7, 0), "Too many failures, try again later"));
        }
        self.by_address.charge(address, BY_ADDRESS, now);
        if !proved {
            self.by_name.charge(name.clone(), BY_NAME, now);
        }
        Ok(())
    }

    /// What `begin` let it try was right. Not called where it was wrong.
    pub fn succeeded(&mut self, address: IpAddr, name: &Name) {
        let address = counted_as(address);
        self.by_address.give_back(&address, BY_ADDRESS);
        if self.proved.put((name.clone(), address), ()).is_none() {
            self.by_name.give_back(name, BY_NAME);
        }
        if self.proved.len() > AUTH_ROWS_MAX {
            self.proved.pop_lru();
        }
    }

    /// `begin` let it try, but nothing was tried: it may try again.
    pub fn not_tried(&mut self, address: IpAddr, name: &Name) {
        let address = counted_as(address);
        self.by_address.give_back(&address, BY_ADDRESS);
        if !self.proved.contains(&(name.clone(), address)) {
            self.by_name.give_back(name, BY_NAME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::prepare(text.as_bytes()).expect("a name")
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    const START: Monotonic = Monotonic(1_000_000_000_000);

    #[test]
    fn an_address_that_fails_too_often_is_cut_off_for_a_while() {
        let mut attempts = Attempts::default();
        let names = (0..).map(|number| name(&format!("name{number}")));
        let tries: Vec<_> =
            names.take(12).map(|name| attempts.begin(address(1), &name, START)).collect();
        assert_eq!(tries.iter().filter(|tried| tried.is_ok()).count(), 10);
        let code = tries[10].as_ref().map_err(|reply| reply.code.as_u16());
        assert_eq!(code, Err(421));
        assert!(attempts.begin(address(2), &name("x"), START).is_ok(), "others are not");
        let later = START + AUTH_ADDRESS_EVERY;
        assert!(attempts.begin(address(1), &name("x"), later).is_ok());
        assert!(attempts.begin(address(1), &name("x"), later).is_err());
    }

    #[test]
    fn a_name_that_fails_too_often_is_closed_to_strangers_alone() {
        let mut attempts = Attempts::default();
        let ours = name("ours");
        assert!(attempts.begin(address(200), &ours, START).is_ok());
        attempts.succeeded(address(200), &ours);
        let tries = (0..30).filter(|last| attempts.begin(address(*last), &ours, START).is_ok());
        assert_eq!(tries.count(), 20);
        let refused = attempts.begin(address(40), &ours, START);
        assert_eq!(refused.map_err(|reply| reply.code.as_u16()), Err(454));
        assert!(attempts.begin(address(200), &ours, START).is_ok(), "it has had it right");
    }

    #[test]
    fn what_succeeds_costs_nothing() {
        let mut attempts = Attempts::default();
        for _ in 0..100 {
            assert!(attempts.begin(address(1), &name("ours"), START).is_ok());
            attempts.succeeded(address(1), &name("ours"));
            assert!(attempts.begin(address(2), &name("ours"), START).is_ok());
            attempts.not_tried(address(2), &name("ours"));
        }
    }

    #[test]
    fn the_neighbours_of_an_ipv6_address_are_the_same_client() {
        let mut attempts = Attempts::default();
        let of = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        let tried = (0..20).filter(|host| attempts.begin(of(*host), &name("a"), START).is_ok());
        assert_eq!(tried.count(), 10);
    }

    #[test]
    fn the_tables_are_bounded() {
        let mut attempts = Attempts::default();
        for number in 0..40_000_u32 {
            let [_, b, c, d] = number.to_be_bytes();
            let (address, name) = (IpAddr::from([10, b, c, d]), name(&format!("name{number}")));
            assert!(attempts.begin(address, &name, START).is_ok());
            attempts.succeeded(address, &name);
        }
        let lengths = [attempts.by_address.len(), attempts.by_name.len(), attempts.proved.len()];
        assert_eq!(lengths, [AUTH_ROWS_MAX; 3]);
    }
}
