//! A small campaign beside a large one for the same destination, on virtual time.

use crate::agenda::{MS, SECOND};
use crate::ledger::Verdict;
use crate::scenarios::{STANDARD, world};
use crate::world::World;

/// The destination takes so much, whoever it is from.
const SITE: &str = "[senders]\nfields = \"keep\"\n\
    [[tenant]]\nname = \"receipts\"\nweight = 20\n\
    [[upstream]]\nname = \"pair\"\nhosts = \"203.0.113.101\"\nconnections = 4\nrate = \"20/s\"\n\
    [[relay_domain]]\ndomains = [\"corp.example\"]\nupstream = \"pair\"\n";

impl World {
    /// So many messages of a tenant's campaign; their numbers.
    fn submit_of(&mut self, messages: usize, tenant: &str, campaign: &str) -> Vec<u64> {
        let first = self.ledger.mail.len();
        self.submit(messages, ("user", "corp.example"), 0);
        for mail in &mut self.ledger.mail[first..] {
            let labels = format!("X-Tenant: {tenant}\r\nX-Campaign: {campaign}\r\n");
            mail.content.splice(0..0, labels.into_bytes());
        }
        (first as u64..self.ledger.mail.len() as u64).collect()
    }

    /// From its 250 to its delivery, of all but the slowest hundredth of these.
    fn p99(&self, numbers: &[u64]) -> u64 {
        let wait = |number: &u64| {
            let Verdict::Acknowledged(taken) =
                self.ledger.mail[usize::try_from(*number).unwrap()].verdict
            else {
                panic!("mail {number} was not taken")
            };
            let mut deliveries = self.ledger.deliveries.iter();
            let delivery = deliveries.find(|(one, _, _)| one == number);
            delivery.unwrap_or_else(|| panic!("mail {number} waits")).2.at.saturating_sub(taken)
        };
        let mut waits: Vec<u64> = numbers.iter().map(wait).collect();
        waits.sort_unstable();
        waits[waits.len() * 99 / 100 - 1]
    }
}

/// How long 100 messages take, beside so many of another campaign.
fn small(beside: usize, shards: usize, (tenant, campaign): (&str, &str)) -> (u64, World) {
    let mut world = world(STANDARD, SITE);
    world.add_host(101);
    world.boot(shards);
    if beside > 0 {
        world.submit_of(beside, "acme", "launch");
        world.run_for(5 * SECOND);
    }
    let numbers = world.submit_of(100, tenant, campaign);
    world.run_for(30 * SECOND);
    (world.p99(&numbers), world)
}

#[test]
fn a_small_campaign_takes_twice_as_long_at_most_beside_a_large_one() {
    for shards in [1, 2, 4] {
        let (alone, _) = small(0, shards, ("receipts", "daily"));
        let (beside, mut world) = small(3_000, shards, ("receipts", "daily"));
        let report = format!("{shards} shards: {} ms alone, {} beside", alone / MS, beside / MS);
        assert!(beside <= 2 * alone, "{report}");
        assert!(world.queued() > 1_000, "the large one is still on its way");
    }
}

#[test]
fn campaigns_of_one_tenant_share_alike() {
    let (alone, _) = small(0, 1, ("acme", "receipts"));
    let (beside, _) = small(3_000, 1, ("acme", "receipts"));
    let report = format!("{} ms alone, {} ms beside", alone / MS, beside / MS);
    // Half of the destination's rate is the other one's.
    assert!(beside <= 2 * alone + alone / 4, "{report}");
}
