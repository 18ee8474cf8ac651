//! A small campaign beside a large one for the same destination, on virtual time.

use std::collections::BTreeSet;

use crate::agenda::{MS, SECOND};
use crate::ledger::Verdict;
use crate::parties::Remote;
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
        self.submit_to("corp.example", messages, (tenant, campaign))
    }

    /// The same, to a domain.
    pub(crate) fn submit_to(
        &mut self,
        domain: &str,
        messages: usize,
        (tenant, campaign): (&str, &str),
    ) -> Vec<u64> {
        let first = self.ledger.mail.len();
        self.submit(messages, ("user", domain), 0);
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

/// `acme` has a rate; its codes have one below that.
const RATED: &str = "[senders]\nfields = \"keep\"\n\
    [[tenant]]\nname = \"acme\"\nrate = \"10/s\"\n\
    [[campaign]]\nname = \"codes*\"\nrate = \"2/s\"\n\
    [[upstream]]\nname = \"pair\"\nhosts = \"203.0.113.101\"\n\
    [[relay_domain]]\ndomains = [\"corp.example\"]\nupstream = \"pair\"\n";

impl World {
    /// How many of these were delivered.
    fn delivered_of(&self, numbers: &[u64]) -> usize {
        let delivered = self.delivered();
        numbers.iter().filter(|number| delivered.contains(number)).count()
    }
}

#[test]
fn a_tenants_rate_holds_over_all_shards_and_for_nobody_else() {
    for shards in [1, 2, 4] {
        let mut world = world(STANDARD, RATED);
        world.add_host(101);
        world.boot(shards);
        let news = world.submit_of(400, "acme", "news");
        let codes = world.submit_of(100, "acme", "codes/login");
        let others = world.submit_of(200, "globex", "news");
        world.run_for(10 * SECOND);
        let told = [&news, &codes, &others].map(|numbers| world.delivered_of(numbers));
        let report = format!("{shards} shards: {told:?}");
        assert_eq!(told[2], 200, "{report}");
        assert!((95..=105).contains(&(told[0] + told[1])), "{report}");
        assert!((15..=22).contains(&told[1]), "{report}");
        let waits = world.queue();
        let limits = waits.iter().filter_map(|message| message.recipients[0].limit.as_deref());
        let limits: std::collections::BTreeSet<&str> = limits.collect();
        assert!(limits.contains("tenant acme: 10/s"), "{limits:?}");
        assert!(limits.contains("campaign codes/login of acme: 2/s"), "{limits:?}");
        world.run_for(50 * SECOND);
        assert_eq!(world.delivered_of(&news) + world.delivered_of(&codes), 500, "{report}");
    }
}

#[test]
fn a_rate_is_kept_over_a_crash_and_nothing_is_lost_by_it() {
    let mut world = world(STANDARD, RATED);
    world.add_host(101);
    world.boot(2);
    let news = world.submit_of(200, "acme", "news");
    world.run_for(5 * SECOND);
    let before = world.delivered_of(&news);
    assert!((45..=55).contains(&before), "{before}");
    world.crash();
    world.boot(3);
    world.run_for(5 * SECOND);
    let after = world.delivered_of(&news);
    assert!((90..=110).contains(&after), "{after}");
    world.run_for(15 * SECOND);
    assert_eq!(world.delivered_of(&news), 200);
}

/// `acme` has half of what the destination takes at once, and each of its codes one of these.
const SHARED: &str = "[senders]\nfields = \"keep\"\n\
    [[tenant]]\nname = \"acme\"\nshare = \"50%\"\n\
    [[campaign]]\nname = \"codes*\"\nshare = \"1\"\n\
    [[upstream]]\nname = \"pair\"\nhosts = \"203.0.113.101\"\nconnections = 8\n\
    [[relay_domain]]\ndomains = [\"corp.example\"]\nupstream = \"pair\"\n";

impl World {
    /// How many of these are under way at next hops.
    fn under_way_of(&self, numbers: &[u64]) -> usize {
        let session = |remote: &Remote| match remote {
            Remote::Mail(session) => session.under_way().map(str::to_owned),
            Remote::Dns(_) => None,
        };
        let paths: Vec<String> = self.remotes.values().filter_map(session).collect();
        let is_of = |path: &&String| {
            let number = path.strip_prefix("sender").and_then(|rest| rest.split('@').next());
            number.and_then(|n| n.parse().ok()).is_some_and(|number| numbers.contains(&number))
        };
        paths.iter().filter(is_of).count()
    }
}

#[test]
fn a_tenants_share_of_a_site_holds_over_all_shards_and_others_have_the_rest() {
    for shards in [1, 2, 3] {
        let mut world = world(STANDARD, SHARED);
        let host = world.add_host(101);
        world.hosts[host].chunking = false;
        world.boot(shards);
        let news = world.submit_of(400, "acme", "news");
        let codes = world.submit_of(60, "acme", "codes/login");
        let acme = [news.clone(), codes.clone()].concat();
        let (mut most, mut words) = ([0; 2], BTreeSet::new());
        for step in 0..8_000 {
            world.run_for(2 * MS);
            most[0] = most[0].max(world.under_way_of(&acme));
            most[1] = most[1].max(world.under_way_of(&codes));
            assert!(most[0] <= 4 && most[1] <= 1, "{shards} shards: {most:?}");
            if step % 50 == 0 && step <= 400 {
                words.append(&mut world.limits_at_owners());
            }
        }
        assert_eq!(most, [4, 1], "{shards} shards");
        assert_eq!(world.delivered_of(&acme), 460, "{shards} shards");
        let said = "share of its tenant, 4 messages at a time at its site (";
        assert!(words.iter().any(|why| why.starts_with(said)), "{words:?}");
        world.audit_rest();
    }
}

/// Opens at 04:00 UTC, 1,139 seconds after the run begins.
const NIGHT: &str = "[senders]\nfields = \"keep\"\n\
    [[campaign]]\nname = \"late*\"\nwindow = \"Mon-Fri 13:00-14:00\"\ntime_zone = \"Asia/Tokyo\"\n\
    [[upstream]]\nname = \"pair\"\nhosts = \"203.0.113.101\"\n\
    [[relay_domain]]\ndomains = [\"corp.example\"]\nupstream = \"pair\"\n";

#[test]
fn a_campaign_goes_out_when_its_window_opens_and_others_at_once() {
    let mut world = world(STANDARD, NIGHT);
    world.add_host(101);
    world.boot(2);
    let late = world.submit_of(300, "acme", "late/1");
    let soon = world.submit_of(50, "acme", "soon");
    world.run_for(1_135 * SECOND);
    assert_eq!((world.delivered_of(&late), world.delivered_of(&soon)), (0, 50));
    let waits = world.queue();
    let limit = waits[0].recipients[0].limit.as_deref();
    let opens = "campaign late/1 of acme: its window opens Tue 2026-11-24 13:00 Asia/Tokyo";
    assert_eq!((waits.len(), limit), (300, Some(opens)));
    world.run_for(15 * SECOND);
    assert_eq!(world.delivered_of(&late), 300);
    // An hour later it is shut again.
    world.run_for(3_600 * SECOND);
    let next = world.submit_of(10, "acme", "late/2");
    world.run_for(60 * SECOND);
    assert_eq!(world.delivered_of(&next), 0);
}
