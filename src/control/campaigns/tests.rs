//! What is told of campaigns, from counts, figures and pauses.

use super::*;
use crate::config::flags::{Flags, Machine};
use crate::config::parse::{File, load};
use crate::shard::settings::Surroundings;

fn campaign(tenant: &str, name: &str) -> Campaign {
    let tenant = TenantName::parse(tenant).expect("a name");
    Campaign { tenant, name: CampaignName::parse(name).ok() }
}

fn settings(text: &str) -> Settings {
    let machine = Machine { hostname: "node.example".into(), cpus: 2, ..Machine::default() };
    let flags = Flags { spool: Some("/spool".into()), ..Flags::default() };
    let config = load(Some(File { name: "relay.toml", text }), &flags, &machine);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    Settings::new(&config, &Surroundings::default()).expect("nothing of TLS")
}

#[test]
fn a_row_says_how_far_how_fast_and_how_long_still() {
    let settings = settings("");
    let counts = CampaignCounts {
        ready: 20,
        dispatched: 5,
        deferred: 4,
        held: 1,
        left: 7,
        per_kilosecond: 4_000,
        why: None,
    };
    let of = |counts: &CampaignCounts, figures, paused| {
        row(&campaign("acme", "news"), counts.clone(), figures, paused, &settings)
    };
    let figures =
        Numbers { delivered: 60, bounced: 8, expired: 1, removed: 1, ..Default::default() };
    let told = of(&counts, Some(figures), None);
    assert_eq!((&*told.state, told.progress, told.left_s), ("sending", Some(0.7), Some(8)));
    assert_eq!((told.per_second, told.queue.recipients), (4.0, 30));
    // Without figures, by what the queue saw leave.
    let told = of(&counts, None, None);
    assert_eq!(told.progress, Some(7.0 / 37.0));
    let told = of(&counts, None, Some(PausedRow::default()));
    assert_eq!((&*told.state, told.left_s), ("paused", None), "nobody knows how long");
    let told = of(&CampaignCounts { per_kilosecond: 0, ..counts }, None, None);
    assert_eq!((&*told.state, told.left_s), ("sending", None));
    let told = of(&CampaignCounts::default(), None, None);
    assert_eq!((&*told.state, told.progress), ("done", None));
}

#[test]
fn a_row_says_what_holds_for_it() {
    let settings = settings(
        "[queue]\nlifetime = \"3d\"\n\
        [[source]]\nname = \"s\"\naddress = \"192.0.2.1\"\n\
        [[pool]]\nname = \"p\"\nsources = [\"s\"]\n\
        [[tenant]]\nname = \"acme\"\nweight = 7\nrate = \"5/s\"\npool = \"p\"\n\
        [[campaign]]\nname = \"news*\"\nweight = 3\nlifetime = \"1h\"\nrate = \"2/m\"\n",
    );
    let of = |whose: &str, name: &str| terms(&campaign(whose, name), &settings);
    let (news, other, stranger) =
        (of("acme", "news/7"), of("acme", "other"), of("globex", "other"));
    assert_eq!((news.weight, news.tenant_weight, news.lifetime_s), (3, 7, 3_600));
    assert_eq!((news.rate.as_deref(), news.tenant_rate.as_deref()), (Some("2/m"), Some("5/s")));
    assert_eq!(news.pool.as_deref(), Some("p"));
    assert_eq!((other.rate, other.lifetime_s, other.weight), (None, 3 * 86_400, 10));
    assert_eq!((stranger.pool, stranger.tenant_rate), (None, None));
}

#[test]
fn a_tenants_pause_is_its_campaigns() {
    let (early, late) = (WallTime(1), WallTime(2));
    let pause = |tenant: &str, name: &str| {
        let Campaign { tenant, name } = campaign(tenant, name);
        Pause { tenant, campaign: name }
    };
    let pauses = Since::from([
        (pause("acme", ""), Some(late)),
        (pause("acme", "news"), Some(early)),
        (pause("globex", "news"), None),
    ]);
    let of = |tenant: &str, name: &str| {
        paused(&campaign(tenant, name), &pauses).map(|row| (row.whole_tenant, row.since))
    };
    let at = |time: WallTime| Some(time.to_rfc3339());
    assert_eq!(of("acme", "news"), Some((true, at(early))));
    assert_eq!(of("acme", "other"), Some((true, at(late))));
    assert_eq!(of("acme", ""), Some((true, at(late))));
    assert_eq!(of("globex", "news"), Some((false, None)), "since when is not known");
    assert_eq!(of("globex", "other"), None);
}

#[test]
fn a_campaign_is_asked_for_with_its_tenant() {
    let asked = |tenant: &str, campaign: &str| {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        parse(&Asked { tenant: given(tenant), campaign: given(campaign), limit: None })
            .map_err(|Refused(_, words)| words)
    };
    assert_eq!(asked("", ""), Ok(None));
    assert!(matches!(asked("acme", ""), Ok(Some((_, None)))));
    assert!(matches!(asked("acme", "news"), Ok(Some((_, Some(_))))));
    assert_eq!(asked("", "news"), Err("whose campaign? Name its tenant too".to_owned()));
    assert!(asked("a b", "").is_err_and(|words| words.starts_with("tenant a b: ")));
    assert!(asked("acme", "a b").is_err_and(|words| words.starts_with("campaign a b: ")));
}
