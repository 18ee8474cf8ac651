//! `[[warm_up]]`, and sources that go by it.

use super::{problems, read_file};
use crate::base::days::Days;
use crate::egress::warm_up::Plan;

const ON: &str = "[shaping]\nshipped = \"on\"\n";
const SOURCE: &str = "[[source]]\naddress = \"192.0.2.1\"\n";

#[test]
fn a_plan_is_for_all_providers_and_has_days_of_its_own_for_some() {
    let config = read_file(super::WHOLE);
    let [slow, shipped] = config.warm_up.plans.as_slice() else { panic!("two plans") };
    assert_eq!(shipped, &Plan::shipped());
    assert_eq!((&*slow.name, &*slow.usual), ("slow", &[100, 200, 400][..]));
    assert_eq!(slow.days("gmail")[..], [20, 40, 80, 160]);
    assert_eq!((slow.days("other")[..].len(), slow.length()), (3, 4));
    let (plan, from) = config.sources[1].warm_up.expect("it is warmed up");
    assert_eq!((plan, from.to_string().as_str()), (0, "2026-11-01"));
    assert_eq!(config.sources[0].warm_up, None);
}

#[test]
fn the_shipped_plan_can_be_used_changed_and_replaced() {
    let source = format!("{SOURCE}warm_up = \"default\"\nwarm_up_from = \"2026-11-01\"\n");
    let zone = "time_zone = \"Europe/Berlin\"\n";
    let config = read_file(&format!("{ON}{zone}{source}"));
    assert_eq!(config.warm_up.plans, [Plan::shipped()]);
    assert_eq!(Some(config.warm_up.days), Days::of("Europe/Berlin"));
    let own = "[[warm_up]]\nname = \"default\"\n";
    let some = format!("{ON}{source}{own}provider = \"gmail\"\ndays = [7]\n");
    let plan = read_file(&some).warm_up.plans.remove(0);
    assert_eq!((&plan.usual, &plan.days("gmail")[..]), (&Plan::shipped().usual, &[7][..]));
    let all = format!("{some}{own}days = [9]\n");
    assert_eq!(read_file(&all).warm_up.plans.remove(0).usual[..], [9]);
}

#[test]
fn what_cannot_be_is_refused() {
    let source = |lines: &str| format!("{ON}{SOURCE}{lines}");
    let plan = |lines: &str| format!("{ON}[[warm_up]]\n{lines}");
    let both = "warm_up = \"default\"\nwarm_up_from = \"2026-11-01\"\n";
    for (text, expected) in [
        (source("warm_up = \"default\"\n"), "5: `warm_up` and `warm_up_from` go together"),
        (source("warm_up_from = \"2026-11-01\"\n"), "5: `warm_up` and `warm_up_from` go"),
        (source("warm_up = \"d\"\nwarm_up_from = \"2026-11-31\"\n"), "6: `2026-11-31` is no day"),
        (source(&both.replace("default", "defalt")), "5: there is no plan `defalt`"),
        (format!("{SOURCE}{both}"), "3: warm-up is by provider, and no shaping rules are in force"),
        ("[[warm_up]]\nname = \"a\"\ndays = [1]\n".into(), "1: plans are by provider, and no"),
        (plan("name = \"a\"\n"), "3: `days` is missing in [[warm_up]]"),
        (plan("days = [1]\n"), "3: `name` is missing in [[warm_up]]"),
        (plan("name = \"a\"\ndays = []\n"), "3: a plan has 1 to 366 days, not 0"),
        (plan("name = \"a\"\ndays = [1, 0]\n"), "5: `0` is out of range"),
        (plan("name = \"a\"\ndays = [\"1\"]\n"), "5: expected a whole number, not text"),
        (plan("name = \"a\"\ndays = 1\n"), "5: `days` is a list, not a whole number"),
        (
            plan("name = \"a\"\nprovider = \"gmail\"\ndays = [1]\n"),
            "3: the plan `a` is for single providers alone",
        ),
        (
            plan("name = \"a\"\ndays = [1]\n[[warm_up]]\nname = \"a\"\ndays = [2]\n"),
            "6: there are two plans `a` for all others",
        ),
        (format!("{ON}time_zone = \"Mars/Base\"\n"), "3: there is no time zone `Mars/Base`"),
    ] {
        let problems = problems(&text);
        assert!(problems[0].starts_with(expected), "{problems:?} for {text}");
    }
}
