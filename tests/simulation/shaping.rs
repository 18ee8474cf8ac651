//! Next hops that take so much and no more, and a relay that finds out how much.

use std::collections::BTreeSet;
use std::sync::Arc;

use relay_fast::egress::shaping::Shaping;
use relay_fast::egress::shaping::status::{Order, OutletStatus};
use relay_fast::shard::commands::{Answer, Command};
use relay_fast::shard::settings::Settings;

use crate::agenda::{MS, SECOND};
use crate::node::settings;
use crate::parties::Remote;
use crate::scenarios::STANDARD;
use crate::town::config;
use crate::world::World;

/// Rules for a storm: everything that they hold up comes through a little later.
pub(crate) const RULES: &str = r"
    [default]
    connections = 3
    messages_per_connection = 7
    rate = '200/s'
    rate_floor = '20/s'
    recovery = '1m'
    slow_down_on = ['rate-limit', 'greylisted', 'quota', 'transient']
    [[site]]
    mx = ['host3.example']
    pipelining = false
    [[domain]]
    domains = ['b.example']
    connections = 1
    [[automation]]
    codes = ['4xx']
    count = 3
    within = '30s'
    action = 'suspend-source'
    for = '7s'
    [[automation]]
    words = ['not now']
    count = 10
    within = '1m'
    action = 'suspend'
    for = '11s'
    [[automation]]
    codes = ['421']
    action = 'switch-source'
    for = '20s'
";

/// The same, shaped by rules.
pub(crate) fn shaped(settings: Arc<Settings>, rules: &str) -> Arc<Settings> {
    let mut settings = Arc::into_inner(settings).expect("nobody has it yet");
    settings.shaping = Some(Arc::new(Shaping::new(true, Some(rules)).expect("rules")));
    Arc::new(settings)
}

/// A host that takes so many recipients a second, for a domain, and so many messages for it.
fn world(rules: Option<&str>, takes: usize, messages: usize) -> World {
    let senders = "[senders]\nfields = \"keep\"\n";
    let queue = "retry_first = \"30s\"\nretry_longest = \"1m\"\nretry_jitter = 0.1";
    let text = config(queue, senders);
    let settings = settings(&text);
    let settings = match rules {
        Some(rules) => shaped(settings, rules),
        None => settings,
    };
    let mut world = World::new(3, settings);
    world.ledger.lifetime = 5 * 24 * 3_600 * SECOND;
    world.add_back();
    let host = world.add_host(1);
    world.add_domain("a.example", &[(10, 1)]);
    world.hosts[host].recipients_a_second = Some(takes);
    world.boot(3);
    if messages > 0 {
        world.submit(messages, ("user", "a.example"), 0);
    }
    world
}

impl World {
    fn outlets(&self) -> Vec<OutletStatus> {
        let node = self.node.as_ref().expect("it runs");
        node.shared.sites.outlets.order(&Order::default(), self.agenda.clocks().mono)
    }

    fn limited(&self) -> usize {
        self.hosts.iter().map(|host| host.limited.len()).sum()
    }
}

#[test]
fn a_site_that_takes_little_is_soon_sent_little_and_more_again_later() {
    const RULES: &str = "[default]\nrate = '200/s'\nrecovery = '1d'\nconnections = 5\n";
    let (messages, hour) = (3_000, 3_600 * SECOND);
    let mut plain = world(None, 10, messages);
    plain.run_until(hour);
    let mut world = world(Some(RULES), 10, messages);
    world.run_until(hour);
    assert_eq!((plain.delivered().len(), world.delivered().len()), (messages, messages));
    let (unshaped, shaped) = (plain.limited(), world.limited());
    assert!(shaped * 4 < unshaped, "{shaped} put off, {unshaped} where nothing is shaped");
    // It went from 200 a second to what the host takes, and climbs from there on.
    let outlets = world.outlets();
    let outlet = outlets.iter().find(|outlet| outlet.site == "host1.example").expect("it is known");
    assert_eq!((&*outlet.by, outlet.rate_max.as_deref()), ("peer", Some("200/s")));
    let rate: f64 = outlet.rate.strip_suffix("/s").expect("a second").parse().expect("a number");
    assert!((3.0..60.0).contains(&rate), "{outlet:?}");
    let counted = world.outlets();
    world.run_for(24 * hour);
    let after = world.outlets();
    let outlet = after.iter().find(|outlet| outlet.site == "host1.example");
    assert!(outlet.is_none_or(|outlet| outlet.by == "rules"), "{outlet:?} after {counted:?}");
    world.audit_rest();
}

#[test]
fn what_a_rule_holds_up_comes_through_when_it_is_over() {
    let rules = "[[automation]]\nname = 'rest'\nclass = ['rate-limit']\naction = 'suspend'\n\
        for = '2m'\n[default]\nslow_down_on = []\n";
    let mut world = world(Some(rules), 20, 200);
    world.run_until(30 * SECOND);
    let first = world.hosts[1].limited[0];
    let delivered = world.delivered().len();
    assert!(delivered < 200, "some wait");
    assert!(world.limited() <= 20, "{} were put off: only what was under way", world.limited());
    world.run_until(first + 100 * SECOND);
    assert_eq!(world.delivered().len(), delivered, "nothing comes meanwhile");
    assert!(world.outlets().iter().any(|outlet| outlet.why.as_deref() == Some("rest")));
    world.run_until(first + 3_600 * SECOND);
    assert_eq!(world.delivered().len(), 200);
    world.audit_rest();
}

/// Three domains whose MX hosts are of one provider, each a site of its own.
fn of_provider(said: &str, shards: usize) -> World {
    let rules = format!("[[provider]]\nname = 'big'\nmx = ['.example']\n{said}\n");
    let mut world = World::new(5, shaped(settings(&config(STANDARD, "")), &rules));
    world.ledger.lifetime = 5 * 24 * 3_600 * SECOND;
    world.add_back();
    for (domain, octet) in [("a.example", 1), ("b.example", 2), ("c.example", 3)] {
        // A message is under way for a round trip at least.
        let host = world.add_host(octet);
        world.hosts[host].chunking = false;
        world.add_domain(domain, &[(10, octet)]);
    }
    world.boot(shards);
    world
}

impl World {
    /// Sessions of next hops in which a message is under way.
    fn under_way(&self) -> usize {
        let is_busy =
            |remote: &&Remote| matches!(remote, Remote::Mail(session) if session.is_busy());
        self.remotes.values().filter(is_busy).count()
    }

    /// What messages wait for at their owners, in words.
    pub(crate) fn limits_at_owners(&mut self) -> BTreeSet<String> {
        let mut words = BTreeSet::new();
        for message in self.queue() {
            for shard in 0..self.shards() {
                let Answer::Waits(waits) = self.ask(shard, Command::Waits(message.id)) else {
                    panic!("what it waits for")
                };
                words.extend(waits.into_iter().map(|wait| wait.why.to_string()));
            }
        }
        words
    }
}

#[test]
fn a_provider_has_so_many_connections_at_all_of_its_sites_over_all_shards() {
    for shards in [1, 2, 3] {
        let mut world = of_provider("provider_connections = 2\nconnections = 5", shards);
        for domain in ["a.example", "b.example", "c.example"] {
            world.submit(150, ("user", domain), 0);
        }
        let (mut most, mut whys) = (0, BTreeSet::new());
        for step in 0..15_000 {
            world.run_for(2 * MS);
            most = most.max(world.under_way());
            assert!(most <= 2, "{shards} shards: {most} at a time");
            if step % 100 == 0 && step <= 1_000 {
                whys.append(&mut world.limits_at_owners());
            }
        }
        let said = "limit of 2 connections to all sites of big (host";
        assert!(whys.iter().any(|why| why.starts_with(said)), "{whys:?}");
        assert_eq!((world.delivered().len(), most), (450, 2), "{shards} shards");
        world.audit_rest();
    }
}

#[test]
fn a_provider_has_so_many_messages_a_time_at_all_of_its_sites_over_all_shards() {
    for shards in [1, 3] {
        let mut world = of_provider("provider_rate = '10/s'", shards);
        for domain in ["a.example", "b.example", "c.example"] {
            world.submit(200, ("user", domain), 0);
        }
        world.run_for(20 * SECOND);
        let at = |host: usize| {
            let deliveries = world.ledger.deliveries.iter();
            deliveries.filter(|(_, _, delivery)| delivery.host == host).count()
        };
        let each = [1, 2, 3].map(at);
        let all: usize = each.iter().sum();
        assert!((185..=202).contains(&all), "{shards} shards: {each:?} in 20 s");
        assert!(each.iter().all(|each| (30..=110).contains(each)), "{shards} shards: {each:?}");
        let whys = world.limits_at_owners();
        let said = "limit of 10/s to all sites of big (host";
        assert!(whys.iter().any(|why| why.starts_with(said)), "{whys:?}");
        world.run_for(45 * SECOND);
        assert_eq!(world.delivered().len(), 600);
        world.audit_rest();
    }
}

#[test]
fn a_campaign_that_is_too_much_waits_and_others_to_the_same_domain_do_not() {
    let rules = "[default]\nslow_down_on = []\n[[automation]]\nname = 'rest'\n\
        class = ['rate-limit']\naction = 'suspend-campaign'\nfor = '2m'\n";
    let mut world = world(Some(rules), 20, 0);
    let launch = world.submit_to("a.example", 200, ("acme", "launch"));
    world.run_until(10 * SECOND);
    let first = world.hosts[1].limited[0];
    let before = world.delivered().len();
    assert!(before < 200 && world.limited() <= 20, "{before}, {} put off", world.limited());
    // Another campaign of the tenant, and another tenant, have the destination to themselves.
    let daily = world.submit_to("a.example", 8, ("acme", "daily"));
    let other = world.submit_to("a.example", 8, ("globex", "launch"));
    world.run_until(20 * SECOND);
    let delivered = world.delivered();
    assert!(daily.iter().chain(&other).all(|number| delivered.contains(number)));
    world.run_until(first + 100 * SECOND);
    assert_eq!(world.delivered().len(), before + 16, "the campaign waits");
    world.run_until(first + 3_600 * SECOND);
    let delivered = world.delivered();
    assert!(launch.iter().all(|number| delivered.contains(number)));
    world.audit_rest();
}
