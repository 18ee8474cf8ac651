//! The loop: no wake is lost between shards, deadlines come, and idling costs nothing.

use std::io::{Read, Write};
use std::time::Duration;

use crate::base::ids::ShardId;
use crate::base::time::Monotonic;
use crate::platform::tests::support::{Script, Shards, acting, echo, words};
use crate::shard::mesh::Crossing;
use crate::shard::platform::{Event, Platform};

/// Throws each ball back until it has thrown so many; over when it has.
struct Player {
    other: ShardId,
    throws_left: u32,
}

impl Script for Player {
    fn on(&mut self, event: Event<'_>, platform: &mut dyn Platform) {
        if matches!(event, Event::Crossing(_)) && self.throws_left > 0 {
            self.throws_left -= 1;
            platform.post(self.other, Crossing::Drain);
        }
    }

    fn is_over(&self) -> bool {
        self.throws_left == 0
    }
}

#[test]
fn no_wake_is_lost_between_shards() {
    const THROWS: u32 = 30_000;
    // One ball makes both sleep after each throw; several make them meet while awake.
    for balls in [1, 2, 7] {
        let shards =
            Shards::start(2, |shard| Player { other: ShardId(1 - shard.0), throws_left: THROWS });
        (0..balls).for_each(|_| shards.posts.post(ShardId(0), Crossing::Drain));
        // A lost wake would hang here.
        shards.join();
    }
}

/// Has itself called so many times, each some milliseconds after the last.
struct Alarm {
    due: Monotonic,
    early: u32,
    left: u32,
}

impl Script for Alarm {
    fn on(&mut self, _: Event<'_>, _: &mut dyn Platform) {}

    fn turn(&mut self, platform: &mut dyn Platform) -> Option<Monotonic> {
        let now = platform.now().mono;
        if now < self.due {
            self.early += 1;
            return Some(self.due);
        }
        self.left -= 1;
        // Later, then sooner than the timer that is set already, and so on.
        let ms = if self.left.is_multiple_of(2) { 1 } else { 7 };
        self.due = now + Duration::from_millis(ms);
        Some(self.due)
    }

    fn is_over(&self) -> bool {
        self.left == 0
    }
}

#[test]
fn deadlines_come_without_any_event_and_not_early() {
    let shards = Shards::start(1, |_| Alarm { due: Monotonic(0), early: 0, left: 50 });
    let counters = shards.join();
    assert!(counters[0].turns < 200, "{counters:?}");
    assert!(counters[0].sleeps >= 40, "{counters:?}");
}

#[test]
fn ten_thousand_idle_connections_wake_nobody() {
    let (tell, told) = words();
    let shards = Shards::start(1, move |_| {
        let tell = tell.clone();
        acting(3, move |event, platform| match event {
            Event::Crossing(Crossing::Drain) => {
                let counters = platform.counters();
                let woken = counters.turns + counters.sleeps + counters.enters;
                tell.send(format!("{} {woken}", counters.connections)).unwrap();
            }
            event => echo(event, platform),
        })
    });
    // Both ends are ours: stay inside the limit of open files.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let count = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX) / 2 - 500;
    let count = count.min(10_000);
    println!("{count} connections");
    let mut clients: Vec<_> = (0..count).map(|_| shards.connect()).collect();
    // The last one is served, so all are accepted.
    clients[count - 1].write_all(b"!").unwrap();
    clients[count - 1].read_exact(&mut [0]).unwrap();
    let ask = || {
        shards.drain();
        let said = told.recv().unwrap();
        let (connections, woken) = said.split_once(' ').unwrap();
        assert_eq!(connections.parse(), Ok(count));
        woken.parse::<u64>().unwrap()
    };
    let before = ask();
    std::thread::sleep(Duration::from_millis(300));
    let after = ask();
    // The two questions themselves cost a few.
    assert!(after - before < 20, "woken {} times while idle", after - before);
    // The oldest is as good as new.
    clients[0].write_all(b"!").unwrap();
    clients[0].read_exact(&mut [0]).unwrap();
    drop(clients);
    shards.end();
}

#[test]
fn a_turn_that_panics_is_caught_and_a_machine_goes_on() {
    struct Stumbling(u32);
    impl Script for Stumbling {
        fn on(&mut self, _: Event<'_>, _: &mut dyn Platform) {}

        fn turn(&mut self, _: &mut dyn Platform) -> Option<Monotonic> {
            self.0 += 1;
            assert!(self.0.is_multiple_of(3), "as the test wants");
            Some(Monotonic(0))
        }

        fn is_over(&self) -> bool {
            self.0 >= 30
        }
    }
    let counters = Shards::start(1, |_| Stumbling(0)).join();
    assert_eq!(counters[0].panics, 20);
}
