//! New sources, that send so many messages a day, more from day to day.

use crate::agenda::SECOND;
use crate::node::settings;
use crate::shaping::shaped;
use crate::town::config;
use crate::world::World;

const DAY: u64 = 86_400 * SECOND;
/// The first midnight, in UTC: it begins at 3:41:01.
const MIDNIGHT: u64 = DAY - 13_261 * SECOND;
const QUEUE: &str = "retry_first = \"30s\"\nretry_longest = \"5m\"\nretry_jitter = 0.1";
const RULES: &str = "[default]\nconnections = 5\n[[provider]]\nname = 'one'\n\
    mx = ['host1.example', 'host2.example']\n";
const NEW: &str = "out7.example";
const WARM: &str = "out8.example";
const BASE: &str = "
[shaping]
shipped = \"on\"
[senders]
fields = \"keep\"
[[warm_up]]
name = \"plan\"
days = [20, 40, 80]
[[source]]
name = \"new\"
address = \"192.0.2.7\"
hello = \"out7.example\"
warm_up = \"plan\"
warm_up_from = \"2026-11-24\"
[[source]]
name = \"warm\"
address = \"192.0.2.8\"
hello = \"out8.example\"
";

/// Two domains of one provider, and one of nobody that is known.
fn world(more: &str, shards: usize) -> World {
    let settings = shaped(settings(&config(QUEUE, &format!("{BASE}{more}"))), RULES);
    let mut world = World::new(u64::try_from(shards).expect("few"), settings);
    world.ledger.lifetime = 5 * DAY;
    world.add_back();
    for (name, octet) in [("a.example", 1), ("b.example", 2), ("c.example", 3)] {
        world.add_host(octet);
        world.add_domain(name, &[(10, octet)]);
    }
    world.boot(shards);
    world
}

impl World {
    /// Transactions that began since then at these hosts, from a source.
    fn begun(&self, hosts: &[usize], from: &str, since: u64) -> usize {
        let all = hosts.iter().flat_map(|host| &self.hosts[*host].transactions);
        all.filter(|(at, hello)| *at >= since && hello == from).count()
    }

    fn limits(&mut self) -> Vec<(u32, String)> {
        let stories = self.queue().into_iter().flat_map(|message| message.recipients);
        stories.map(|story| (story.attempts, story.limit.unwrap_or_default().into())).collect()
    }
}

#[test]
fn what_is_more_than_a_days_number_leaves_from_sources_that_are_warm() {
    for shards in [1, 2, 4] {
        let mut world = world("", shards);
        let (provider, other) = ([1, 2], [3]);
        for (day, allowed) in [(0, 20), (1, 40), (2, 80), (3, usize::MAX)] {
            // Right before and right after midnight too.
            let begin = if day == 0 { 0 } else { MIDNIGHT + (day - 1) * DAY };
            world.run_until(begin);
            let before = world.delivered().len();
            for domain in ["a.example", "b.example", "c.example"] {
                world.submit_to(domain, 150, ("acme", "news"));
            }
            world.run_until(begin + 3_600 * SECOND);
            assert_eq!(world.delivered().len(), before + 450, "nothing waits");
            for (hosts, messages) in [(&provider[..], 300), (&other[..], 150)] {
                let (new, warm) = (world.begun(hosts, NEW, begin), world.begun(hosts, WARM, begin));
                assert_eq!(new + warm, messages);
                match allowed {
                    usize::MAX => assert!(4 * new > messages, "{new} of {messages}: it is warm"),
                    allowed => assert_eq!(new, allowed.min(messages), "{shards} shards, {day}"),
                }
            }
        }
        world.audit_rest();
    }
}

const COLD: &str = "
[[pool]]
name = \"cold\"
sources = [\"new\"]
[[pool]]
name = \"default\"
sources = [\"warm\"]
[[tenant]]
name = \"acme\"
pool = \"cold\"
";

#[test]
fn where_no_source_is_warm_mail_waits_for_the_next_day_and_that_of_other_pools_does_not() {
    for shards in [1, 2] {
        let mut world = world(COLD, shards);
        let cold = world.submit_to("a.example", 90, ("acme", "news"));
        world.run_until(3_600 * SECOND);
        assert_eq!(world.delivered().len(), 20);
        let (both, attempts) = ([1, 2], world.hosts[1].attempts.len());
        assert_eq!(world.begun(&both, NEW, 0), 20);
        // Other mail to the same domain, and of the same tenant to a site that has had none.
        let warm = world.submit_to("a.example", 30, ("globex", "news"));
        let other = world.submit_to("c.example", 10, ("acme", "news"));
        let same_provider = world.submit_to("b.example", 10, ("acme", "news"));
        world.run_until(2 * 3_600 * SECOND);
        let delivered = world.delivered();
        assert!(warm.iter().chain(&other).all(|number| delivered.contains(number)));
        assert!(same_provider.iter().all(|number| !delivered.contains(number)));
        assert!(world.hosts[1].attempts.len() <= attempts + 5, "what waits opens no connection");
        let limits = world.limits();
        let why = "the warm-up of new at one is used up until 2026-11-25 00:00 UTC";
        assert_eq!(limits.len(), 80);
        assert!(limits.iter().all(|(attempts, _)| *attempts == 0), "{limits:?}");
        assert!(limits.iter().any(|(_, limit)| limit.contains(why)), "{limits:?}");
        world.run_until(MIDNIGHT - SECOND);
        assert_eq!(world.begun(&both, NEW, 0), 20);
        world.run_until(MIDNIGHT + 600 * SECOND);
        assert_eq!(world.begun(&both, NEW, MIDNIGHT), 40);
        world.run_until(MIDNIGHT + DAY - SECOND);
        assert_eq!(world.begun(&both, NEW, MIDNIGHT), 40);
        world.run_until(MIDNIGHT + DAY + 600 * SECOND);
        let delivered = world.delivered();
        assert!(cold.iter().chain(&same_provider).all(|number| delivered.contains(number)));
        assert_eq!(world.begun(&both, NEW, 0), 100);
        world.audit_rest();
    }
}

#[test]
fn what_a_peer_puts_off_counts_each_time_that_it_is_sent() {
    let mut world = world(COLD, 2);
    world.hosts[1].greylists_for = 60 * SECOND;
    let mail = world.submit_to("a.example", 15, ("acme", "news"));
    world.run_until(MIDNIGHT - SECOND);
    assert_eq!(world.begun(&[1], NEW, 0), 20);
    assert!(world.delivered().len() < 15);
    world.run_until(MIDNIGHT + 3_600 * SECOND);
    assert!(world.begun(&[1], NEW, MIDNIGHT) <= 40);
    let delivered = world.delivered();
    assert!(mail.iter().all(|number| delivered.contains(number)));
    world.audit_rest();
}
