//! How tenants and campaigns share a destination.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::*;
use crate::mail::campaigns::CampaignPattern;
use crate::mail::handling::{CampaignName, Handling, Priority, TenantName};

const PLACE: &str = "big.example";

fn tenant(name: &str) -> TenantName {
    TenantName::parse(name).expect("a name")
}

/// `acme`, or `acme/news`.
pub(super) fn handling(whose: &str, priority: i8) -> Handling {
    let (name, campaign) = whose.split_once('/').unwrap_or((whose, ""));
    Handling {
        tenant: TenantName::parse(name).ok(),
        campaign: CampaignName::parse(campaign).ok(),
        priority: Priority::new(priority).expect("in range"),
        ..Handling::default()
    }
}

fn stop(whose: &str) -> Pause {
    let Handling { tenant, campaign, .. } = handling(whose, 0);
    Pause { tenant: tenant.expect("a tenant's"), campaign }
}

impl Bench {
    /// Queue so many messages of so many recipients at `PLACE`.
    pub(super) fn send(&mut self, messages: usize, recipients: u16, handling: &Handling) {
        let name = domain(PLACE);
        for _ in 0..messages {
            self.ids += 1;
            let rows = (0..recipients).map(|index| (index, &name, RecipientState::default()));
            let handling = handling.clone().boxed();
            let message = NewMessage { handling, ..message(self.ids, self.now) };
            self.queue.insert(message, rows, self.now).expect("new");
        }
    }

    /// Let so many departures go; the recipients among them by whose they were.
    fn departed(&mut self, departures: usize, whose: &HashMap<u64, &'static str>) -> Sent {
        let mut sent = BTreeMap::new();
        for _ in 0..departures {
            let departure = self.pop();
            let who = whose[&self.number(&departure)];
            *sent.entry(who).or_default() += departure.recipients.as_slice().len();
            self.finish(&departure);
        }
        sent
    }
}

type Sent = BTreeMap<&'static str, usize>;

/// Who sends what: name, priority, messages, recipients each.
type Sender = (&'static str, i8, usize, u16);

/// A queue in which all of them have been, and whose message is which.
fn bench(senders: &[Sender], weights: &[(&str, u16)]) -> (Bench, HashMap<u64, &'static str>) {
    let (mut bench, mut whose) = (Bench::new(), HashMap::new());
    let mut all = AllTerms::default();
    for &(name, weight) in weights {
        match name.split_once('/') {
            None => {
                let terms = TenantTerms { weight, ..TenantTerms::default() };
                all.tenants.insert(tenant(name), terms);
            }
            Some((name, campaign)) => {
                let pattern = CampaignPattern::parse(campaign).expect("a pattern");
                let terms = CampaignTerms { weight, ..CampaignTerms::default() };
                all.campaigns.insert(Some(&tenant(name)), pattern, terms);
            }
        }
    }
    bench.queue.set_tenants(Arc::new(all));
    for (name, priority, messages, recipients) in senders {
        let first = bench.ids + 1;
        bench.send(*messages, *recipients, &handling(name, *priority));
        whose.extend((first..=bench.ids).map(|id| (id, *name)));
    }
    (bench, whose)
}

#[test]
fn tenants_share_by_weight_however_much_each_has() {
    let senders = [("acme", 0, 5_000, 1), ("globex", 0, 900, 1), ("initech", 0, 900, 1)];
    let (mut bench, whose) = bench(&senders, &[("globex", 20), ("initech", 1)]);
    // 10, where nothing is said, 20 and 1 a round.
    let sent = bench.departed(31 * 20, &whose);
    assert_eq!(sent, BTreeMap::from([("acme", 200), ("globex", 400), ("initech", 20)]));
}

#[test]
fn what_counts_is_recipients_not_messages() {
    let senders = [("acme", 0, 300, 50), ("globex", 0, 10_000, 1)];
    let (mut bench, whose) = bench(&senders, &[]);
    let sent = bench.departed(2_000, &whose);
    let (acme, globex) = (sent["acme"], sent["globex"]);
    // In no round is one further ahead than a turn and what a transaction takes too much.
    assert!(acme.abs_diff(globex) <= 10 + 50, "{acme} and {globex}");
}

#[test]
fn a_small_campaign_goes_beside_a_large_one_of_its_own_tenant() {
    let senders = [("acme/launch", 0, 100_000, 1), ("acme/receipts", 0, 100, 1)];
    let (mut bench, whose) = bench(&senders, &[]);
    let sent = bench.departed(200, &whose);
    assert_eq!(sent, BTreeMap::from([("acme/launch", 100), ("acme/receipts", 100)]));
}

#[test]
fn a_higher_priority_has_twice_the_share_and_none_is_left_out() {
    let senders = [
        ("acme/1", 9, 500, 1),
        ("acme/2", 3, 500, 1),
        ("acme/3", 0, 500, 1),
        ("acme/4", -1, 500, 1),
        ("acme/5", -9, 500, 1),
    ];
    let (mut bench, whose) = bench(&senders, &[]);
    let sent = bench.departed(31 * 10, &whose);
    assert_eq!(sent.into_values().collect::<Vec<_>>(), [160, 80, 40, 20, 10]);
}

#[test]
fn campaigns_share_by_weight_inside_their_tenant() {
    let senders = [
        ("acme/launch", 0, 2_000, 1),
        ("acme/codes", 0, 2_000, 1),
        ("acme/rest", 0, 2_000, 1),
        ("globex", 0, 2_000, 1),
    ];
    let weights = [("acme/l*", 1), ("acme/codes", 30)];
    let (mut bench, whose) = bench(&senders, &weights);
    let sent = bench.departed(2 * 41 * 10, &whose);
    // 1, 30 and the usual 10 of what is their tenant's half.
    let near = |who: &str, expected: usize| sent[who].abs_diff(expected) <= 30;
    assert!(near("acme/launch", 10) && near("acme/codes", 300), "{sent:?}");
    assert!(near("acme/rest", 100) && near("globex", 410), "{sent:?}");
    assert!(sent["acme/launch"] > 0, "{sent:?}");
}

#[test]
fn mail_without_a_tenant_has_its_share_too() {
    // What is in line already, when the first with a tenant comes, keeps its order.
    let senders = [("", 0, 300, 1), ("acme", 0, 300, 1), ("", 5, 300, 1)];
    let (mut bench, whose) = bench(&senders, &[]);
    let departures: Vec<Departure> = (0..300).map(|_| bench.pop()).collect();
    let numbers = departures.iter().map(|departure| bench.number(departure));
    let first: Vec<u64> = numbers.filter(|id| *id <= 300).collect();
    assert!(first.is_sorted(), "{first:?}");
    // Half of it is nobody's: a fifth of that normal, the rest of the higher priority.
    let normal = 300 / 2 / 5;
    assert!(first.len().abs_diff(normal) <= 4, "{} of {}", first.len(), whose.len());
}

#[test]
fn whoever_was_alone_owes_nothing() {
    let (mut bench, mut whose) = bench(&[("acme", 0, 1_000, 100)], &[]);
    bench.departed(500, &whose);
    let first = bench.ids + 1;
    bench.send(1_000, 1, &handling("globex", 0));
    whose.extend((first..=bench.ids).map(|id| (id, "globex")));
    let sent = bench.departed(300, &whose);
    assert!(sent["acme"] >= 200 && sent["globex"] >= 200, "{sent:?}");
}

#[test]
fn what_comes_back_goes_first_and_is_not_paid_twice() {
    let senders = [("acme", 0, 100, 1), ("globex", 0, 100, 1)];
    let (mut bench, whose) = bench(&senders, &[]);
    for _ in 0..50 {
        let departure = bench.pop();
        let id = bench.number(&departure);
        assert_eq!(bench.queue.park(&departure, None), []);
        bench.queue.unpark(departure.domain, 1_000);
        let again = bench.pop();
        assert_eq!(bench.number(&again), id);
        bench.finish(&again);
    }
    let sent = bench.departed(50, &whose);
    assert_eq!(sent.values().sum::<usize>(), 50);
    let left = |name| senders.len() * 50 - 50 - sent.get(name).copied().unwrap_or(0);
    assert!(left("acme").abs_diff(left("globex")) <= 10, "{sent:?}");
}

#[test]
fn what_is_stopped_stays_until_it_goes_on_and_nothing_else_does() {
    let senders = [("acme/news", 0, 10, 1), ("acme", 0, 10, 1), ("globex", 0, 10, 1)];
    let (mut bench, whose) = bench(&senders, &[]);
    assert!(bench.queue.pause(&stop("acme/news")));
    assert!(!bench.queue.pause(&stop("acme/news")), "it is stopped already");
    assert!(bench.queue.pause(&stop("acme")));
    let sent = bench.departed(10, &whose);
    assert_eq!(sent, BTreeMap::from([("globex", 10)]));
    assert_eq!(bench.queue.pop_ready(), None);
    assert_eq!(bench.counts(), [0, 20, 0, 0, 0]);
    // What comes now is stopped as well, also after all of it had gone.
    bench.send(1, 1, &handling("acme", 0));
    assert_eq!(bench.queue.pop_ready(), None);
    // The tenant goes on, its campaign does not.
    assert!(bench.queue.resume(&stop("acme")));
    assert_eq!(bench.pop_all().len(), 11);
    assert!(bench.queue.resume(&stop("acme/news")));
    assert_eq!(bench.pop_all().len(), 10);
    assert!(!bench.queue.resume(&stop("acme/news")));
}

#[test]
fn a_stop_holds_for_who_has_nothing_in_the_queue_yet() {
    let mut bench = Bench::new();
    bench.queue.pause(&stop("acme/news"));
    bench.send(3, 1, &handling("acme/news", 0));
    bench.send(2, 1, &handling("acme/news", 9));
    bench.send(1, 1, &handling("acme/other", 0));
    assert_eq!(bench.pop_all().len(), 1);
    let selector = Selector { tenant: Some(tenant("acme")), ..all() };
    assert_eq!(bench.queue.list(&selector, Place::default(), 10).0.len(), 6);
    assert_eq!(bench.queue.list(&by_domain(PLACE), Place::default(), 10).0.len(), 6);
}

#[test]
fn operators_select_by_tenant_and_campaign() {
    let senders = [("acme/news", 0, 3, 1), ("acme", 0, 2, 1), ("globex/news", 0, 1, 1)];
    let (mut bench, _) = bench(&senders, &[]);
    bench.send(1, 1, &Handling::default());
    let news = CampaignName::parse("news").ok();
    let of = |tenant: Option<TenantName>, campaign| Selector { tenant, campaign, ..all() };
    for (selector, expected) in [
        (of(Some(tenant("acme")), None), 5),
        (of(Some(tenant("acme")), news.clone()), 3),
        (of(None, news.clone()), 4),
        (Selector { domain: Some(domain(PLACE)), ..of(None, news.clone()) }, 4),
        (Selector { domain: Some(domain("a.example")), ..of(None, news) }, 0),
        (of(Some(tenant("nobody")), None), 0),
    ] {
        let (listed, _) = bench.queue.list(&selector, Place::default(), 100);
        assert_eq!(listed.len(), expected, "{selector:?}");
    }
    let removed = bench.queue.operate(Verb::Remove, &of(Some(tenant("acme")), None), Place(0));
    assert_eq!((removed.touched.len(), bench.counts()[0]), (5, 2));
}

#[test]
fn it_is_told_who_has_too_much_and_when_no_more() {
    let mut bench = Bench::new();
    let terms = |queued_max| TenantTerms { queued_max, ..TenantTerms::default() };
    let small = |queued_max| {
        let tenants = HashMap::from([(tenant("acme"), terms(queued_max))]);
        Arc::new(AllTerms { tenants, ..AllTerms::default() })
    };
    bench.queue.set_tenants(small(3));
    let over = |bench: &mut Bench| bench.queue.over().map(|all| all.iter().cloned().collect());
    let acme: Vec<TenantName> = vec![tenant("acme")];
    bench.send(100, 1, &handling("globex", 0));
    bench.send(1, 3, &handling("acme", 0));
    assert_eq!(over(&mut bench), None);
    bench.send(1, 1, &handling("acme/news", 9));
    assert_eq!(over(&mut bench), Some(acme.clone()));
    assert_eq!(over(&mut bench), None, "it was told");
    let mut left = 4;
    while left > 3 {
        let departure = bench.pop();
        let of_acme = bench.number(&departure) > 100;
        bench.finish(&departure);
        left -= if of_acme { departure.recipients.as_slice().len() } else { 0 };
    }
    assert_eq!(over(&mut bench), Some(Vec::new()));
    bench.queue.set_tenants(small(0));
    let is_left = !bench.queue.list(&all(), Place::default(), 1_000).0.is_empty();
    assert!(is_left);
    assert_eq!(over(&mut bench).unwrap_or_default(), if left > 0 { acme } else { Vec::new() });
}
