//! Rates and windows of tenants and campaigns: what may not go waits, and is not asked again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::base::rate::Rate;
use crate::base::time::Monotonic;
use crate::base::window::Window;
use crate::mail::campaigns::CampaignPattern;
use crate::mail::handling::{CampaignName, Handling};

const MS: Duration = Duration::from_millis(1);

/// Queues that share paces, at one time.
struct Node {
    shards: Vec<Queue<&'static str>>,
    mono: u64,
    now: WallTime,
    ids: u64,
}

fn a_second(messages: u32) -> Option<Rate> {
    Some(Rate { messages, per: SECOND })
}

fn acme() -> TenantName {
    TenantName::parse("acme").expect("a name")
}

/// `acme` may send so much, and its campaigns as said.
fn terms(rate: Option<Rate>, campaigns: &[(&str, CampaignTerms)]) -> Tenants {
    let mut all = AllTerms::default();
    all.tenants.insert(acme(), TenantTerms { rate, ..TenantTerms::default() });
    for (name, terms) in campaigns {
        let pattern = CampaignPattern::parse(name).expect("a pattern");
        all.campaigns.insert(Some(&acme()), pattern, terms.clone());
    }
    Arc::new(all)
}

fn campaign(rate: Option<Rate>) -> CampaignTerms {
    CampaignTerms { rate, ..CampaignTerms::default() }
}

fn windowed(window: &str) -> CampaignTerms {
    let window = Some(Arc::new(Window::parse(window, "UTC").expect("a window")));
    CampaignTerms { window, ..CampaignTerms::default() }
}

impl Node {
    fn new(shards: u8, terms: &Tenants) -> Self {
        let paces = Arc::<SharedPaces>::default();
        let shard = |here| {
            let queue = Queue::new(DELAY, LIFETIME, 1_000);
            let mut queue = queue.sharing(ShardId(here), paces.clone());
            queue.set_tenants(terms.clone());
            queue
        };
        let shards = (0..shards).map(shard).collect();
        let mut node = Self { shards, mono: 1_000_000_000_000, now: START, ids: 0 };
        node.pass(Duration::ZERO);
        node
    }

    fn send(&mut self, shard: usize, whose: &str, place: &str) -> Slot {
        self.ids += 1;
        let (name, campaign) = whose.split_once('/').unwrap_or((whose, ""));
        let handling = Handling {
            tenant: TenantName::parse(name).ok(),
            campaign: CampaignName::parse(campaign).ok(),
            ..Handling::default()
        };
        let place = domain(place);
        let one = [(0, &place, RecipientState::default())];
        let new = NewMessage { handling: handling.boxed(), ..message(self.ids, self.now) };
        self.shards[shard].insert(new, one, self.now).expect("new")
    }

    /// Let time pass, and look at what has come due as a shard does.
    fn pass(&mut self, time: Duration) {
        self.mono += u64::try_from(time.as_nanos()).expect("short");
        self.now = self.now + time;
        self.look();
    }

    fn look(&mut self) -> Vec<Due> {
        let (now, mut due) = (self.now, Vec::new());
        for queue in &mut self.shards {
            queue.follow(Now { mono: Monotonic(self.mono), wall: now });
            while queue.next_due().is_some_and(|next| next <= now) {
                queue.expire_due(now, &mut due);
            }
        }
        due
    }

    /// What may depart of a shard, which is then delivered: how many.
    fn deliver(&mut self, shard: usize) -> usize {
        let queue = &mut self.shards[shard];
        let mut delivered = 0;
        while let Some(departure) = queue.pop_ready() {
            queue.finish(departure.message, 0).expect("it is with the shard");
            delivered += 1;
        }
        delivered
    }

    /// Deliver for so long, looking every `step`, but only where a shard asked to be woken.
    fn run(&mut self, time: Duration, step: Duration) -> usize {
        let mut delivered = 0;
        for _ in 0..time.as_millis() / step.as_millis() {
            self.pass(step);
            delivered += (0..self.shards.len()).map(|shard| self.deliver(shard)).sum::<usize>();
        }
        delivered
    }

    fn why(&mut self, slot: Slot) -> String {
        let row = self.shards[0].recipient(slot, 0).expect("it is queued");
        row.why.map_or_else(String::new, String::from)
    }
}

#[test]
fn a_tenant_sends_at_its_rate_and_nobody_waits_for_it() {
    let mut node = Node::new(1, &terms(a_second(10), &[]));
    let slots: Vec<Slot> = (0..50).map(|_| node.send(0, "acme", "a.example")).collect();
    for _ in 0..5 {
        node.send(0, "globex", "a.example");
    }
    assert_eq!(node.deliver(0), 6, "the first of acme's, and all others");
    assert_eq!(node.why(slots[49]), "tenant acme: 10/s");
    assert!(node.shards[0].ring.is_empty(), "nothing is looked at meanwhile");
    assert_eq!(node.shards[0].next_due(), Some(START + MS * 100));
    assert_eq!(node.run(MS * 99, MS), 0);
    assert_eq!(node.run(MS, MS), 1);
    assert_eq!(node.run(SECOND, MS), 10);
    // What it did not use it does not have later.
    assert_eq!(node.run(SECOND * 10, MS), 38);
    for _ in 0..20 {
        node.send(0, "acme", "a.example");
    }
    assert_eq!(node.deliver(0), 1);
    assert_eq!(node.run(SECOND * 2, MS), 19);
    assert!(node.shards[0].flows.is_empty() && node.shards[0].lanes.is_empty());
    assert_eq!(node.shards[0].next_due(), None);
}

#[test]
fn a_rate_is_kept_where_each_message_finds_the_queue_empty() {
    let mut node = Node::new(1, &terms(a_second(1), &[]));
    let mut delivered = 0;
    for _ in 0..100 {
        if node.shards[0].stats().messages == 0 {
            node.send(0, "acme", "a.example");
        }
        node.pass(MS * 100);
        delivered += node.deliver(0);
    }
    assert!((10..=11).contains(&delivered), "{delivered} in ten seconds");
}

#[test]
fn a_rate_holds_over_all_shards_and_none_is_left_out() {
    let mut node = Node::new(4, &terms(None, &[("news", campaign(a_second(100)))]));
    for shard in 0..4 {
        for _ in 0..500 {
            node.send(shard, "acme/news", "a.example");
        }
    }
    let mut each = [0; 4];
    for _ in 0..5_000 {
        node.pass(MS);
        for (shard, delivered) in each.iter_mut().enumerate() {
            *delivered += node.deliver(shard);
        }
    }
    let all: usize = each.iter().sum();
    assert!((495..=506).contains(&all), "{each:?}");
    assert!(each.iter().all(|one| (100..=150).contains(one)), "{each:?}");
}

#[test]
fn what_waits_for_a_rate_costs_a_departure_nothing_however_many_domains_there_are() {
    let mut node = Node::new(1, &terms(a_second(10), &[]));
    for number in 0..3_000 {
        node.send(0, "acme", &format!("d{number}.example"));
    }
    // All are set aside, so many at a time, and then one is let go with each that departs.
    let mut looks = 1;
    while node.deliver(0) > 0 || node.shards[0].next_due() < Some(node.now) {
        node.look();
        looks += 1;
    }
    assert!((3..=4).contains(&looks), "{looks}");
    assert!(node.shards[0].ring.is_empty());
    assert_eq!(node.shards[0].stats().parked, 2_999);
    for _ in 0..20 {
        assert_eq!(node.run(MS * 100, MS * 100), 1);
        assert!(node.shards[0].ring.is_empty(), "and nobody else is looked at");
        node.pass(MS);
        assert_eq!(node.deliver(0), 0);
    }
}

#[test]
fn campaigns_share_their_tenants_rate_by_weight_however_many_domains_each_has() {
    let light = CampaignTerms { weight: 30, ..CampaignTerms::default() };
    let mut node = Node::new(1, &terms(a_second(100), &[("codes", light)]));
    let mut whose = BTreeMap::new();
    for number in 0..1_000 {
        let slot = node.send(0, "acme/launch", &format!("d{}.example", number % 300));
        whose.insert(slot, "launch");
        let slot = node.send(0, "acme/codes", "a.example");
        whose.insert(slot, "codes");
    }
    let mut sent = BTreeMap::from([("launch", 0), ("codes", 0)]);
    for _ in 0..4_000 {
        node.pass(MS);
        while let Some(departure) = node.shards[0].pop_ready() {
            *sent.get_mut(whose[&departure.message]).expect("one of them") += 1;
            node.shards[0].finish(departure.message, 0).expect("it is with the shard");
        }
    }
    let (launch, codes) = (sent["launch"], sent["codes"]);
    assert!((395..=406).contains(&(launch + codes)), "{sent:?}");
    assert!((80..=120).contains(&launch), "a quarter: {sent:?}");
}

#[test]
fn an_owner_that_refuses_keeps_no_other_domain_waiting_and_takes_nothing_of_the_rate() {
    let mut node = Node::new(1, &terms(a_second(10), &[]));
    for _ in 0..10 {
        node.send(0, "acme", "full.example");
    }
    let refused = node.shards[0].pop_ready().expect("the first");
    node.shards[0].park(&refused, None);
    for _ in 0..10 {
        node.send(0, "acme", "free.example");
    }
    // What was refused was not sent: another may go at once.
    assert_eq!(node.deliver(0), 1);
    assert_eq!(node.run(SECOND, MS), 9, "all of the other domain's, and the first one's wait");
    node.shards[0].unpark(refused.domain, 1);
    assert_eq!(node.run(SECOND * 2, MS), 10);
}

#[test]
fn what_is_set_aside_can_be_paused_removed_and_expire() {
    let mut node = Node::new(1, &terms(a_second(1), &[("news", campaign(a_second(5)))]));
    let pause = |campaign: Option<&str>| Pause {
        tenant: acme(),
        campaign: campaign.map(|name| CampaignName::parse(name).expect("a name")),
    };
    for number in 0..6 {
        node.send(0, "acme/news", &format!("d{}.example", number % 3));
        node.send(0, "acme/other", "d0.example");
    }
    assert_eq!(node.deliver(0), 1);
    assert!(node.shards[0].pause(&pause(Some("news"))));
    node.shards[0].resume(&pause(Some("news")));
    node.shards[0].pause(&pause(Some("other")));
    let listed = node.shards[0].list(&by_domain("d0.example"), Place::default(), 100).0;
    assert!(listed.len() >= 7, "what is set aside and what is paused is listed too");
    assert_eq!(node.run(SECOND * 3, MS * 10), 3);
    node.shards[0].resume(&pause(Some("other")));
    let news = CampaignName::parse("news").ok();
    let selector = Selector { campaign: news, ..all() };
    let removed = node.shards[0].operate(Verb::Remove, &selector, Place::default()).touched;
    assert!((1..=5).contains(&removed.len()), "{removed:?}");
    for (slot, index) in removed {
        node.shards[0].finish(slot, index).expect("it is with the shard");
    }
    assert!(node.run(SECOND, MS * 10) <= 1);
    node.mono += LIFETIME.as_nanos() as u64;
    node.now = node.now + LIFETIME;
    let due = node.look();
    for one in due {
        if let Due::Expired { message, recipients } = one {
            assert_eq!(recipients, Recipients::One(0));
            node.shards[0].finish(message, 0).expect("it is with the shard");
        }
    }
    assert_eq!(node.shards[0].stats().messages, 0);
    assert!(node.shards[0].flows.is_empty() && node.shards[0].lanes.is_empty());
}

#[test]
fn other_terms_hold_at_once() {
    let hourly = Rate { messages: 1, per: SECOND * 3_600 };
    let mut node = Node::new(1, &terms(Some(hourly), &[]));
    for number in 0..40 {
        node.send(0, "acme", &format!("d{}.example", number % 4));
    }
    assert_eq!(node.deliver(0), 1);
    node.shards[0].set_tenants(terms(a_second(10), &[]));
    assert_eq!(node.run(SECOND, MS * 10), 10, "nobody waits for the hour to end");
    node.shards[0].set_tenants(terms(None, &[]));
    assert_eq!(node.deliver(0), 29);
    assert!(node.shards[0].flows.is_empty());
}

#[test]
fn a_window_is_waited_for_without_being_asked_and_lifetimes_go_on() {
    // 11:06:40 on a Wednesday.
    let news = windowed("Mon-Fri 12:00-13:00");
    let mut node = Node::new(1, &terms(None, &[("news", news)]));
    let until = Duration::from_secs(3_200);
    let slots: Vec<Slot> =
        (0..3).map(|n| node.send(0, "acme/news", &format!("d{n}.example"))).collect();
    node.send(0, "acme/other", "d0.example");
    assert_eq!(node.deliver(0), 1);
    let why = "campaign news of acme: its window opens Wed 2026-11-18 12:00 UTC";
    assert_eq!(node.why(slots[2]), why);
    assert!(node.shards[0].ring.is_empty());
    assert_eq!(node.shards[0].next_due(), Some(START + until));
    node.pass(until - MS);
    assert_eq!(node.deliver(0), 0);
    node.pass(MS);
    assert_eq!(node.deliver(0), 3);
    // It is open for an hour, and shut again.
    node.pass(Duration::from_secs(3_599));
    node.send(0, "acme/news", "d0.example");
    assert_eq!(node.deliver(0), 1);
    node.pass(SECOND);
    let late = node.send(0, "acme/news", "d0.example");
    assert_eq!(node.deliver(0), 0);
    assert_eq!(node.why(late), why.replace("Wed 2026-11-18", "Thu 2026-11-19"));
    // The wall clock is set: it opens by what that shows.
    node.now = node.now + Duration::from_secs(23 * 3_600 + 1);
    node.look();
    assert_eq!(node.deliver(0), 1);
    // A message that is not let out in time expires.
    node.pass(Duration::from_secs(3_600));
    let late = node.send(0, "acme/news", "d0.example");
    assert_eq!(node.deliver(0), 0);
    node.shards[0].set_ages(LIFETIME, Duration::from_secs(7_200));
    node.mono += 7_200_000_000_000;
    node.now = node.now + Duration::from_secs(7_200);
    let over = Due::Expired { message: late, recipients: Recipients::One(0) };
    assert_eq!(node.look(), [over]);
}

#[test]
fn what_falls_due_outside_of_its_window_waits_for_it() {
    let both = CampaignTerms { rate: a_second(10), ..windowed("12:00-12:30") };
    let mut node = Node::new(1, &terms(a_second(5), &[("news", both)]));
    let slot = node.send(0, "acme/news", "a.example");
    node.pass(Duration::from_secs(3_200));
    let departure = node.shards[0].pop_ready().expect("it is open");
    assert_eq!(departure.message, slot);
    let due = node.now + Duration::from_secs(1_801);
    node.shards[0].defer(slot, 0, 1, due, None);
    node.pass(Duration::from_secs(1_801));
    assert_eq!(node.deliver(0), 0);
    assert!(node.why(slot).ends_with("opens Thu 2026-11-19 12:00 UTC"), "{}", node.why(slot));
    node.pass(Duration::from_secs(24 * 3_600 - 1_801));
    assert_eq!(node.deliver(0), 1);
}
