//! Bound how often strangers connect and begin messages, by address.
//!
//! In: a client that may not relay, and when it connects or says MAIL. Out: go on, or the reply to
//! refuse with. Invariant: what is refused costs its client nothing later; the tables have at most
//! `RATE_ROWS_MAX` rows each, and none where there is no limit. Lives on: the shard whose sessions
//! it counts.

use std::net::IpAddr;

use crate::base::limits::RATE_ROWS_MAX;
use crate::base::time::Monotonic;
use crate::mail::status::Reply;
use crate::policy::admission::counted_as;
use crate::policy::pace::{Pace, Table};
use crate::policy::reply;

/// How often; `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// Connections from one client address; from one /64 in IPv6.
    pub connections: Option<Pace>,
    /// Messages from there.
    pub messages: Option<Pace>,
}

/// How often each came lately.
#[derive(Debug)]
pub struct Rates {
    connections: Table<IpAddr>,
    messages: Table<IpAddr>,
}

impl Default for Rates {
    fn default() -> Self {
        Self { connections: Table::new(RATE_ROWS_MAX), messages: Table::new(RATE_ROWS_MAX) }
    }
}

impl Rates {
    //= RFC 3463 §3.8
    //# X.7.0 Other or undefined security status
    /// A client connects: let it, or say 421.
    pub fn connect(
        &mut self,
        limits: RateLimits,
        client: IpAddr,
        now: Monotonic,
    ) -> Result<(), Reply> {
        let text = "Too many connections from your address, try again later";
        let is_taken = take(&mut self.connections, limits.connections, client, now);
        if is_taken { Ok(()) } else { Err(reply(421, (4, 7, 0), text)) }
    }

    /// A client begins a message: let it, or say 451.
    pub fn message(
        &mut self,
        limits: RateLimits,
        client: IpAddr,
        now: Monotonic,
    ) -> Result<(), Reply> {
        let text = "Too many messages from your address, try again later";
        let is_taken = take(&mut self.messages, limits.messages, client, now);
        if is_taken { Ok(()) } else { Err(reply(451, (4, 7, 1), text)) }
    }
}

fn take(table: &mut Table<IpAddr>, pace: Option<Pace>, client: IpAddr, now: Monotonic) -> bool {
    let Some(pace) = pace else { return true };
    let client = counted_as(client);
    let has_room = table.has_room(&client, pace, now);
    if has_room {
        table.charge(client, pace, now);
    }
    has_room
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const START: Monotonic = Monotonic(1_000_000_000_000);
    const LIMITS: RateLimits = RateLimits {
        connections: Some(Pace { burst: 10, every: SECOND }),
        messages: Some(Pace { burst: 3, every: SECOND }),
    };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn so_many_come_at_once_and_then_so_many_in_a_time() {
        let mut rates = Rates::default();
        let mut connect = |now| rates.connect(LIMITS, address(1), now);
        let refused: Vec<_> = (0..15).filter_map(|_| connect(START).err()).collect();
        assert_eq!(refused.len(), 5);
        let text = "421 4.7.0 Too many connections from your address, try again later";
        assert_eq!(refused[0].to_string(), text);
        assert!(connect(START + SECOND).is_ok() && connect(START + SECOND).is_err());
        let later = START + SECOND * 1_000;
        assert_eq!((0..15).filter(|_| connect(later).is_ok()).count(), 10, "and no more");
        assert!(rates.connect(LIMITS, address(2), later).is_ok(), "others are others");
        let told = (0..4).filter_map(|_| rates.message(LIMITS, address(1), later).err());
        let told: Vec<_> = told.map(|reply| reply.to_string()).collect();
        assert_eq!(told, ["451 4.7.1 Too many messages from your address, try again later"]);
    }

    #[test]
    fn an_ipv6_network_is_one_client_and_a_mapped_address_is_itself() {
        let mut rates = Rates::default();
        let of = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        let came = (0..20).filter(|host| rates.connect(LIMITS, of(*host), START).is_ok());
        assert_eq!(came.count(), 10);
        let [mapped, plain] = ["::ffff:192.0.2.1", "192.0.2.1"].map(|it| it.parse().unwrap());
        let came = (0..20).map(|n| if n % 2 == 0 { mapped } else { plain });
        assert_eq!(came.filter(|one| rates.connect(LIMITS, *one, START).is_ok()).count(), 10);
    }

    #[test]
    fn without_a_limit_nobody_is_remembered_and_with_one_so_many_are() {
        let mut rates = Rates::default();
        for number in 0..100_000_u32 {
            let client = IpAddr::from(number.to_be_bytes());
            assert!(rates.connect(RateLimits::default(), client, START).is_ok());
            assert!(rates.message(LIMITS, client, START).is_ok());
        }
        assert_eq!((rates.connections.len(), rates.messages.len()), (0, RATE_ROWS_MAX));
    }

    proptest! {
        /// However they come, no span of time has more than a burst and its share.
        #[test]
        fn nobody_gets_more_than_its_pace(gaps in prop::collection::vec(0_u64..3_000, 1..200)) {
            let mut rates = Rates::default();
            let (mut now, mut came) = (START, Vec::new());
            for gap in gaps {
                now = now + Duration::from_millis(gap);
                if rates.message(LIMITS, address(1), now).is_ok() {
                    came.push(now);
                }
            }
            for (place, first) in came.iter().enumerate() {
                for (count, last) in came[place..].iter().enumerate() {
                    let most = 3 + last.since(*first).as_secs();
                    prop_assert!((count as u64) < most, "{} in {most} s", count + 1);
                }
            }
        }
    }
}
