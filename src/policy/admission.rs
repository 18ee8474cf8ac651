//! Bound what a shard takes on: sessions by count, messages by room.
//!
//! In: sessions opening and ending, and how full memory and disk are. Out: go on, or the reply to
//! refuse with. Invariant: `opened` counts exactly the sessions let in and not yet ended, so its
//! tables never hold more rows than there are sessions. Unit: sessions, and octets, of one shard.
//! Lives on: the shard whose sessions it counts.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::mail::status::Reply;
use crate::policy::reply;

/// Limits of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Sessions in all.
    pub sessions: u32,
    /// Sessions from one client address; from one /64 in IPv6.
    pub sessions_per_address: u32,
    /// Sessions by listener, in the configuration's order.
    pub listener_sessions: Vec<u32>,
}

/// What of a shard's limits is taken.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    limits: AdmissionLimits,
    sessions: u32,
    by_listener: Vec<u32>,
    by_address: HashMap<IpAddr, u32>,
}

impl Admission {
    /// Nothing taken yet.
    pub fn new(limits: AdmissionLimits) -> Self {
        let by_listener = vec![0; limits.listener_sessions.len()];
        Self { limits, by_listener, ..Self::default() }
    }

    /// Put other limits in force: who is in stays in. The listeners must be the same ones.
    pub fn replace_limits(&mut self, limits: AdmissionLimits) {
        let listeners = limits.listener_sessions.len();
        assert_eq!(listeners, self.by_listener.len(), "listeners change only by a restart");
        self.limits = limits;
    }

    /// Sessions let in and not yet ended.
    pub fn sessions(&self) -> u32 {
        self.sessions
    }

    /// Let a session in and count it, or say 421. `close` must follow only where it was let in.
    pub fn open(&mut self, listener: u16, client: IpAddr) -> Result<(), Reply> {
        let place = usize::from(listener);
        let client = counted_as(client);
        let from_client = self.by_address.get(&client).copied().unwrap_or(0);
        if self.sessions >= self.limits.sessions {
            return Err(reply(421, (4, 3, 2), "Too many sessions, try again later"));
        }
        if self.by_listener[place] >= self.limits.listener_sessions[place] {
            return Err(reply(421, (4, 3, 2), "Too many sessions here, try again later"));
        }
        if from_client >= self.limits.sessions_per_address {
            return Err(reply(421, (4, 7, 0), "Too many sessions from your address"));
        }
        self.sessions += 1;
        self.by_listener[place] += 1;
        self.by_address.insert(client, from_client + 1);
        Ok(())
    }

    /// A session that `open` let in has ended.
    pub fn close(&mut self, listener: u16, client: IpAddr) {
        let place = usize::from(listener);
        let client = counted_as(client);
        assert!(self.sessions > 0 && self.by_listener[place] > 0, "closed what was not open");
        self.sessions -= 1;
        self.by_listener[place] -= 1;
        let count = self.by_address.get_mut(&client).expect("its address was counted at open");
        *count -= 1;
        if *count == 0 {
            self.by_address.remove(&client);
        }
    }

    /// A session that `open` let in is for another client: count it as that one's, or say 421. Then
    /// it is counted no more, and `close` must not follow.
    pub fn pass(&mut self, listener: u16, from: IpAddr, to: IpAddr) -> Result<(), Reply> {
        self.close(listener, from);
        self.open(listener, to)
    }
}

/// What an address counts as: an IPv6 client owns a whole /64, so it counts as that.
pub(super) fn counted_as(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
    }
}
