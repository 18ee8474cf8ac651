//! What counts as what, and that all dimensions and resolutions add up to the same.

use super::*;
use crate::base::ids::{MessageId, ShardId};
use crate::mail::class::Class;
use crate::outcome::event::{By, Delays, Kind, Returned};
use crate::outcome::kpi::tally::Tally;
use proptest::prelude::*;

fn event(kind: Kind, time: i64) -> Event<'static> {
    Event::new(kind, MessageId(1), WallTime(time), ShardId(0))
}

fn only(event: &Event<'_>) -> Vec<(Figure, u64)> {
    let mut tally = Tally::default();
    tally.add(event);
    let intervals = tally.intervals(Resolution::Minute);
    let Some(figures) = intervals.values().next().and_then(|it| it[0].values().next()) else {
        return Vec::new();
    };
    let counted = |figure: &Figure| figures.count(*figure) > 0;
    let counts = Figure::ALL.into_iter().filter(counted);
    counts.map(|figure| (figure, figures.count(figure))).collect()
}

#[test]
fn each_event_counts_as_documented() {
    let bounced =
        |class: &'static str| Event { class: class.into(), ..event(Kind::Bounced, 1_000) };
    let vouched = |kind, vouched: &'static str| {
        let returned = Some(Returned { vouched: vouched.into(), ..Returned::default() });
        Event { returned, ..event(kind, 1_000) }
    };
    let by = |kind, by| Event { by: Some(by), ..event(kind, 1_000) };
    for (event, figure) in [
        (by(Kind::Opened, By::Person), Some(Figure::OpensPeople)),
        (by(Kind::Opened, By::Machine), Some(Figure::OpensMachine)),
        (event(Kind::Opened, 0), Some(Figure::OpensPeople)),
        (by(Kind::Clicked, By::Person), Some(Figure::Clicks)),
        (by(Kind::Clicked, By::Machine), Some(Figure::ClicksMachine)),
        (event(Kind::Unsubscribed, 0), Some(Figure::Unsubscribes)),
        (event(Kind::Received, 0), Some(Figure::Injected)),
        (event(Kind::Delivered, 0), Some(Figure::Delivered)),
        (event(Kind::Deferred, 0), Some(Figure::Deferred)),
        (bounced("suppressed"), Some(Figure::Suppressed)),
        (bounced("spam"), Some(Figure::Bounced)),
        (bounced(""), Some(Figure::Bounced)),
        (event(Kind::Expired, 0), Some(Figure::Expired)),
        (event(Kind::Removed, 0), Some(Figure::Removed)),
        (vouched(Kind::Complained, "recipient"), Some(Figure::Complaints)),
        (vouched(Kind::Complained, "message"), Some(Figure::Complaints)),
        (vouched(Kind::Complained, ""), None),
        (event(Kind::Complained, 0), None),
        (vouched(Kind::BouncedLater, "recipient"), Some(Figure::BouncedLater)),
        (vouched(Kind::BouncedLater, ""), None),
        (vouched(Kind::Returned, "recipient"), None),
        (event(Kind::Held, 0), None),
        (event(Kind::Verified, 0), None),
    ] {
        let expected: Vec<_> = figure.map(|figure| (figure, 1)).into_iter().collect();
        assert_eq!(only(&event), expected, "{:?}", event.kind);
    }
}

#[test]
fn bounces_have_a_class_and_deliveries_a_time() {
    let mut tally = Tally::default();
    for class in ["spam", "spam", "quota", "", "of-a-later-version"] {
        tally.add(&Event { class: class.into(), ..event(Kind::Bounced, 1) });
    }
    let delays = Delays { in_queue: Duration::from_secs(2), ..Delays::default() };
    tally.add(&Event { delays: Some(delays), ..event(Kind::Delivered, 2) });
    let all = &tally.intervals(Resolution::Day)[&WallTime(0)][Dimension::All as usize][""];
    let counts = [Class::Spam, Class::Quota, Class::Other].map(|class| all.bounced(class));
    assert_eq!(counts, [2, 1, 2]);
    let median = all.times.quantile(0.5).unwrap().as_secs_f64();
    assert!((median - 2.0).abs() < 0.1, "{median}");
}

#[test]
fn campaigns_of_two_tenants_are_two() {
    let of = |tenant: &'static str, campaign: &'static str| {
        let event =
            Event { tenant: tenant.into(), campaign: campaign.into(), ..event(Kind::Received, 0) };
        Dimension::Campaign.key(&event).into_owned()
    };
    assert_eq!(of("acme", "news"), "acme news");
    assert_ne!(of("acme", "news"), of("other", "news"));
    assert_eq!([of("", "news"), of("acme", "")], ["news", ""]);
}

#[test]
fn intervals_begin_on_the_minute_the_hour_and_the_day() {
    let time = WallTime(1_795_491_661_007);
    let starts = Resolution::ALL.map(|resolution| resolution.start(time).to_rfc3339());
    assert_eq!(
        starts,
        ["2026-11-24T03:41:00.000Z", "2026-11-24T03:00:00.000Z", "2026-11-24T00:00:00.000Z"]
    );
    assert_eq!(Resolution::Minute.start(WallTime(-1)), WallTime(-60_000));
    for resolution in Resolution::ALL {
        let start = resolution.start(time);
        assert_eq!(resolution.start(resolution.next(start)), resolution.next(start));
        assert_eq!(resolution.as_str().parse(), Ok(resolution));
    }
    for (place, dimension) in Dimension::ALL.into_iter().enumerate() {
        assert_eq!(dimension as usize, place);
        assert_eq!(dimension.as_str().parse(), Ok(dimension));
    }
    for (place, figure) in Figure::ALL.into_iter().enumerate() {
        assert_eq!(figure as usize, place);
    }
    // As it is on disk.
    let order = "injected delivered deferred bounced expired suppressed removed bounced_later \
        complaints opens_people opens_machine clicks unsubscribes clicks_machine";
    assert_eq!(Figure::ALL.map(Figure::as_str).join(" "), order);
    let order = "all tenant campaign domain provider source upstream";
    assert_eq!(Dimension::ALL.map(Dimension::as_str).join(" "), order);
    let wrong = "week".parse::<Resolution>().unwrap_err();
    assert_eq!(wrong.to_string(), "`week` is none of minute, hour, day");
}

fn some() -> impl Strategy<Value = Event<'static>> {
    let kinds = prop_oneof![
        Just(Kind::Received),
        Just(Kind::Delivered),
        Just(Kind::Deferred),
        Just(Kind::Bounced),
        Just(Kind::Held),
    ];
    (kinds, 0..200_000_000i64, "[a-c]?", "[a-c]{0,2}", "[a-b]?").prop_map(
        |(kind, time, tenant, domain, source)| Event {
            tenant: tenant.into(),
            domain: domain.into(),
            source: source.into(),
            delays: Some(Delays::default()),
            ..event(kind, time)
        },
    )
}

proptest! {
    #[test]
    fn every_dimension_and_every_resolution_adds_up_to_all_events(
        events in proptest::collection::vec(some(), 0..60),
    ) {
        let mut tally = Tally::default();
        events.iter().for_each(|event| tally.add(event));
        prop_assert_eq!(tally.events(), events.len());
        let expected = events.iter().filter(|event| Figure::of(event).is_some()).count() as u64;
        let mut all = None;
        for resolution in Resolution::ALL {
            let intervals = tally.intervals(resolution);
            for dimension in Dimension::ALL {
                let rows = intervals.values().flat_map(|it| it[dimension as usize].values());
                let sum = rows.fold(Figures::default(), |mut sum, figures| {
                    sum.merge(figures);
                    sum
                });
                prop_assert_eq!(sum.volume(), expected);
                prop_assert_eq!(all.get_or_insert_with(|| sum.clone()), &sum);
            }
        }
        let minutes = tally.intervals(Resolution::Minute);
        let rows: usize = minutes.values().flatten().map(|rows| rows.len()).sum();
        prop_assert_eq!(rows, tally.rows());
    }
}
