//! Random walks by seed: whatever connections do, a job comes back once and limits hold.

use super::*;
use crate::base::share::Share;

const SEEDS: u64 = 600;
const STEPS: usize = 250;

/// A walk over one world; its randomness is its own, apart from the sites'.
struct Walk {
    world: World,
    dice: Prng,
    /// Some senders have shares.
    shares: bool,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut dice = Prng::from_number(seed);
        let shards = 1 + dice.below(4) as u8;
        let list: Vec<(u8, u16)> =
            (1..=1 + dice.below(4) as u8).map(|last| (last, dice.below(3) as u16)).collect();
        let limits = random_limits(&mut dice);
        let shares = seed.is_multiple_of(2);
        Self { world: World::new(shards, limits, &list), dice, shares }
    }

    fn step(&mut self) {
        let shard = self.dice.below(self.world.shards.len() as u64) as usize;
        match self.dice.below(100) {
            0..=29 => self.push(shard),
            30..=49 => self.with_opening(shard),
            50..=74 => self.with_busy(shard),
            75..=78 => self.with_idle(shard),
            79..=92 => self.pass(),
            93..=94 => {
                let limits = random_limits(&mut self.dice);
                self.world.set_limits(limits);
            }
            95..=96 => self.resolve(shard),
            97..=98 => {
                let row = &mut self.world.shards[shard];
                row.may_connect = !row.may_connect;
                self.world.settle(shard);
            }
            _ if self.dice.below(8) == 0 => self.world.leave(shard),
            _ => {}
        }
    }

    fn push(&mut self, shard: usize) {
        let from = origin(self.dice.below(4) as u8, self.dice.below(6));
        // Now and then a storm.
        let count = if self.dice.below(20) == 0 { 80 } else { 1 + self.dice.below(3) };
        for _ in 0..count {
            let probe = self.dice.below(20) == 0;
            let sender = self.sender();
            if let Err(busy) = self.world.push_of(shard, (from, sender), probe) {
                assert!(busy.until > self.world.now, "{busy:?}");
                let suspended = self.world.shards[shard].site.suspended_until().is_some();
                match busy.why {
                    Why::Leaving => {}
                    Why::Suspended { .. } => assert!(suspended),
                    why => assert!(matches!(why, Why::Full(_) | Why::Share { .. }) && !suspended),
                }
            }
        }
    }

    /// Of a tenant with half of a site, of which one campaign has one at a time; of a campaign
    /// with two, whose tenant has all; or nobody.
    fn sender(&mut self) -> Sender {
        let with = |tenant, name, shares| Sender { name, tenant, shares, ..Sender::NOBODY };
        let half = Some(Share::Percent(50));
        match self.shares.then(|| self.dice.below(5)) {
            Some(0) => with(1, 11, [half, None]),
            Some(1) => with(1, 12, [half, Some(Share::Count(1))]),
            Some(2) => with(2, 21, [None, Some(Share::Count(2))]),
            Some(_) | None => Sender::NOBODY,
        }
    }

    fn one_of(&mut self, among: &[PooledId]) -> Option<PooledId> {
        let chosen = self.dice.below(among.len().max(1) as u64) as usize;
        among.get(chosen).copied()
    }

    fn blame(&mut self) -> Blame {
        match self.dice.below(10) {
            0 => Blame::Site,
            1..=3 => Blame::Endpoint,
            _ => Blame::Connection,
        }
    }

    fn with_opening(&mut self, shard: usize) {
        let opening = self.world.shards[shard].opening();
        let Some(connection) = self.one_of(&opening) else { return };
        if self.dice.below(3) > 0 {
            return self.world.ready_at(shard, connection);
        }
        let blame = self.blame();
        self.world.failed_at(shard, connection, blame);
    }

    fn with_busy(&mut self, shard: usize) {
        let busy = self.world.shards[shard].busy();
        let Some(connection) = self.one_of(&busy) else { return };
        let Connection { doing, sent, .. } = self.world.shards[shard].connections[&connection];
        let is_followed = matches!(doing, Doing::Busy(_, Some(_)));
        if !sent && !is_followed && self.dice.below(2) > 0 {
            return self.world.sent_at(shard, connection);
        }
        if self.dice.below(5) > 0 {
            let keep = is_followed || self.dice.below(10) > 0;
            return self.world.done_at(shard, connection, keep);
        }
        if self.dice.below(4) == 0 {
            return self.world.closed_at(shard, connection);
        }
        let blame = self.blame();
        self.world.failed_at(shard, connection, blame);
    }

    fn with_idle(&mut self, shard: usize) {
        let idle = self.world.shards[shard].idle();
        let Some(connection) = self.one_of(&idle) else { return };
        if self.dice.below(4) > 0 {
            return self.world.closed_at(shard, connection);
        }
        let blame = self.blame();
        self.world.failed_at(shard, connection, blame);
    }

    fn pass(&mut self) {
        let ms = match self.dice.below(10) {
            0..=5 => self.dice.below(60),
            6..=8 => self.dice.below(5_000),
            _ => self.dice.below(120_000),
        };
        self.world.pass(Duration::from_millis(ms));
    }

    fn resolve(&mut self, shard: usize) {
        let first = 1 + self.dice.below(3) as u8;
        let list: Vec<(u8, u16)> = (first..=first + self.dice.below(3) as u8)
            .map(|last| (last, self.dice.below(3) as u16))
            .collect();
        self.world.shards[shard].site.set_endpoints(endpoints(&list));
        self.world.settle(shard);
    }
}

fn random_limits(dice: &mut Prng) -> SiteLimits {
    let per = [Duration::from_secs(1), Duration::from_secs(60)][dice.below(2) as usize];
    let rate = Rate { messages: 30 + dice.below(200) as u32, per };
    SiteLimits {
        connections: 1 + dice.below(8) as u32,
        messages_per_connection: 1 + dice.below(20) as u32,
        rate: (dice.below(3) == 0).then_some(rate),
    }
}

#[test]
fn whatever_connections_do_a_job_comes_back_once_and_limits_hold() {
    for seed in 0..SEEDS {
        let walked = std::panic::catch_unwind(|| {
            let mut walk = Walk::new(seed);
            (0..STEPS).for_each(|_| walk.step());
            if seed % 8 > 0 {
                // The others wait for what is left at its rate, which takes long.
                walk.world.set_limits(SiteLimits { rate: None, ..walk.world.limits });
            }
            walk.world.end();
        });
        assert!(walked.is_ok(), "seed {seed}");
    }
}
