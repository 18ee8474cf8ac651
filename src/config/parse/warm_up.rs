//! Read how sources are warmed up: plans, and which source goes by which.

use crate::base::days::{Day, Days};
use crate::base::limits::{
    SHAPING_NAME_MAX, WARM_UP_DAYS_MAX, WARM_UP_MESSAGES_MAX, WARM_UP_NAME_MAX, WARM_UP_PLANS_MAX,
};
use crate::config::knobs;
use crate::config::options::{ShapingOptions, WarmUpOptions};
use crate::config::parse::forms;
use crate::config::reader::{Reader, Section, quoted};
use crate::config::suggest;
use crate::config::units::Wrong;
use crate::egress::warm_up::Plan;

fn days(reader: &mut Reader<'_>, root: &Section<'_>) -> Days {
    let shaping = &reader.table(root, "shaping");
    let knob = &knobs::SHAPING_TIME_ZONE;
    let given = reader.text(shaping, knob, None, forms::time_zone);
    if given.is_none() {
        reader.note(shaping, knob, quoted(&knob.default_text()), None);
    }
    let name = given.map_or_else(|| knob.default_text(), |given| given.value);
    Days::of(&name).expect("the form says that there is such a zone")
}

/// By whose clocks a day begins, and all plans: the one that comes with the program too, unless the
/// file has its own of that name.
pub(super) fn read(
    reader: &mut Reader<'_>,
    root: &Section<'_>,
    shaping: &ShapingOptions,
) -> WarmUpOptions {
    WarmUpOptions { days: days(reader, root), plans: plans(reader, root, shaping) }
}

fn plans(reader: &mut Reader<'_>, root: &Section<'_>, shaping: &ShapingOptions) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    let sections = reader.tables(root, "warm_up", "warm_up[]");
    if let Some(more) = sections.get(WARM_UP_PLANS_MAX) {
        let wrong = Wrong::new(format!("there are {WARM_UP_PLANS_MAX} plans already"));
        reader.finder.add(more.place(), wrong);
    }
    for section in sections.iter().take(WARM_UP_PLANS_MAX) {
        let Some((name, provider, days)) = one(reader, section) else { continue };
        if !shaping.is_on() {
            let wrong = Wrong::new("plans are by provider, and no shaping rules are in force");
            reader.finder.add(section.place(), wrong.help(HELP));
        }
        let place = plans.iter().position(|plan| *plan.name == *name);
        let place = place.unwrap_or_else(|| {
            let shipped = Plan::shipped();
            let usual = if *name == *shipped.name { shipped.usual } else { [].into() };
            plans.push(Plan { name: name.as_str().into(), usual, providers: Vec::new() });
            plans.len() - 1
        });
        let plan = &mut plans[place];
        let is_there = match &provider {
            Some(provider) => plan.providers.iter().any(|(name, _)| **name == **provider),
            None => !plan.usual.is_empty() && plan.usual != Plan::shipped().usual,
        };
        if is_there {
            let of = provider.map_or_else(|| "all others".to_owned(), |name| format!("`{name}`"));
            let wrong = Wrong::new(format!("there are two plans `{name}` for {of}"));
            reader.finder.add(section.place(), wrong);
            continue;
        }
        match provider {
            Some(provider) => plan.providers.push((provider.into(), days)),
            None => plan.usual = days,
        }
    }
    for plan in plans.iter().filter(|plan| plan.usual.is_empty()) {
        let place = sections.first().map_or(root.place(), Section::place);
        let what = format!("the plan `{}` is for single providers alone", plan.name);
        let wrong = Wrong::new(what).help("add one of that name without `provider`");
        reader.finder.add(place, wrong);
    }
    if plans.iter().all(|plan| plan.name != Plan::shipped().name) {
        plans.push(Plan::shipped());
    }
    plans
}

const HELP: &str = "set `file` in [shaping], or `shipped = \"on\"`";

/// Its name, the provider that it is for, its days.
fn one(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
) -> Option<(String, Option<String>, std::sync::Arc<[u32]>)> {
    let name = reader.required(section, &knobs::WARM_UP_NAME, plan_name);
    let provider = reader.text(section, &knobs::WARM_UP_PROVIDER, None, provider_name);
    reader.check_present(section, &knobs::WARM_UP_DAYS);
    let before = reader.finder.len();
    let days = reader.numbers(section, &knobs::WARM_UP_DAYS, (1, WARM_UP_MESSAGES_MAX))?;
    if reader.finder.len() == before && !(1..=WARM_UP_DAYS_MAX).contains(&days.len()) {
        let what = format!("a plan has 1 to {WARM_UP_DAYS_MAX} days, not {}", days.len());
        reader.finder.add(section.place(), Wrong::new(what));
    }
    let days: Vec<u32> = days.iter().filter_map(|day| u32::try_from(day.value).ok()).collect();
    let name = name.filter(|_| !days.is_empty())?;
    Some((name.value, provider.map(|given| given.value), days.into()))
}

/// By which plan a source is warmed up, and from which day on.
pub(super) fn of_source(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    plans: &[Plan],
    shaping: &ShapingOptions,
) -> Option<(u16, Day)> {
    let before = reader.finder.len();
    let plan = reader.text(section, &knobs::SOURCE_WARM_UP, None, plan_name);
    let from = reader.text(section, &knobs::SOURCE_WARM_UP_FROM, None, day);
    let (plan, from) = match (plan, from) {
        (Some(plan), Some(from)) => (plan, from),
        (None, None) => return None,
        // One that is wrong is told of already.
        _ if reader.finder.len() > before => return None,
        (plan, from) => {
            let place = plan.as_ref().map(|given| given.place_or(section.place()).clone());
            let place = place.or(from.map(|given| given.place_or(section.place()).clone()));
            let wrong = Wrong::new("`warm_up` and `warm_up_from` go together");
            reader.finder.add(place.as_ref().unwrap_or(section.place()), wrong);
            return None;
        }
    };
    if !shaping.is_on() {
        let wrong = Wrong::new("warm-up is by provider, and no shaping rules are in force");
        reader.finder.add(plan.place_or(section.place()), wrong.help(HELP));
    }
    if let Some(place) = plans.iter().position(|one| *one.name == *plan.value) {
        return u16::try_from(place).ok().map(|place| (place, from.value));
    }
    let wrong = Wrong::new(format!("there is no plan `{}`", plan.value));
    let wrong = suggest::nearest(&plan.value, plans.iter().map(|plan| &*plan.name), wrong);
    reader.finder.add(plan.place_or(section.place()), wrong);
    None
}

fn plan_name(text: &str) -> Result<String, Wrong> {
    named(text, WARM_UP_NAME_MAX)
}

fn provider_name(text: &str) -> Result<String, Wrong> {
    named(text, SHAPING_NAME_MAX)
}

fn named(text: &str, most: usize) -> Result<String, Wrong> {
    if !(1..=most).contains(&text.len()) || text.contains(char::is_control) {
        return Err(Wrong::new(format!("a name is 1 to {most} printable characters")));
    }
    Ok(text.to_owned())
}

fn day(text: &str) -> Result<Day, Wrong> {
    let wrong = || Wrong::new(format!("`{text}` is no day")).help("write it as \"2026-11-01\"");
    text.parse().map_err(|()| wrong())
}
