//! `[senders]` and `[[tenant]]`: what is read, and what is refused.

use std::sync::Arc;
use std::time::Duration;

use super::{problems, read_file};
use crate::base::limits::{CAMPAIGN_WEIGHT_DEFAULT, TENANT_QUEUED_DEFAULT, TENANT_WEIGHT_DEFAULT};
use crate::base::share::Share;
use crate::base::window::Window;
use crate::config::options::{Campaign, LinkOptions, Rate, SenderTerms, Tenant};
use crate::mail::campaigns::CampaignPattern;
use crate::mail::durability::Durability;
use crate::mail::handling::TenantName;
use crate::policy::senders::labels::FieldNames;
use crate::smtp::sasl::Name;

#[test]
fn nobody_is_known_unless_said() {
    let senders = read_file("").senders;
    assert_eq!((senders.fields, senders.tenants), (None, Vec::new()));
    assert_eq!(senders.campaigns, []);
}

#[test]
fn tenants_are_read_in_their_order() {
    let config = read_file(
        r#"
[senders]
fields = "keep"
tenant_field = "X-Customer"
[[listener]]
address = "127.0.0.1:2525"
[[listener]]
address = "127.0.0.1:2526"
[[tenant]]
name = "globex"
[[tenant]]
name = "acme"
weight = 30
logins = ["app1", "app2@acme.example"]
listeners = ["127.0.0.1:2526"]
queued = 1000
rate = "10/s"
share = "25%"
lifetime = "2d"
durability = "commit"
"#,
    );
    let (tenant, campaign) = ("X-Customer".into(), "X-Campaign".into());
    let fields = FieldNames { tenant, campaign, keep: true };
    assert_eq!(config.senders.fields, Some(fields));
    let name = |text| TenantName::parse(text).unwrap();
    let login = |text: &str| Name::prepare(text.as_bytes()).unwrap();
    let globex = Tenant {
        name: name("globex"),
        weight: TENANT_WEIGHT_DEFAULT,
        logins: Vec::new(),
        listeners: Vec::new(),
        queued_max: TENANT_QUEUED_DEFAULT,
        pool: None,
        rate: None,
        share: None,
        terms: SenderTerms::default(),
        links: LinkOptions::default(),
    };
    let acme = Tenant {
        name: name("acme"),
        weight: 30,
        logins: vec![login("app1"), login("app2@acme.example")],
        listeners: vec![1],
        queued_max: 1_000,
        pool: None,
        rate: Some(Rate { messages: 10, per: Duration::from_secs(1) }),
        share: Some(Share::Percent(25)),
        terms: SenderTerms {
            lifetime: Some(Duration::from_secs(2 * 86_400)),
            durability: Some(Durability::Commit),
        },
        links: LinkOptions::default(),
    };
    assert_eq!(config.senders.tenants, [globex, acme]);
}

#[test]
fn campaigns_are_read_in_their_order() {
    let config = read_file(
        r#"
[[campaign]]
name = "news"
tenant = "acme"
weight = 30
rate = "100/m"
share = "3"
window = "Mon-Fri 09:00-18:00; Sat 10:00-14:00"
time_zone = "Europe/Berlin"
durability = "memory"
[[campaign]]
name = "codes/*"
lifetime = "10m"
"#,
    );
    let pattern = |text| CampaignPattern::parse(text).unwrap();
    let window = "Mon-Fri 09:00-18:00; Sat 10:00-14:00";
    let window = Window::parse(window, "Europe/Berlin").unwrap();
    let news = Campaign {
        pattern: pattern("news"),
        tenant: TenantName::parse("acme").ok(),
        weight: 30,
        pool: None,
        rate: Some(Rate { messages: 100, per: Duration::from_secs(60) }),
        window: Some(Arc::new(window)),
        share: Some(Share::Count(3)),
        terms: SenderTerms { durability: Some(Durability::Memory), ..SenderTerms::default() },
    };
    let codes = Campaign {
        pattern: pattern("codes/*"),
        tenant: None,
        weight: CAMPAIGN_WEIGHT_DEFAULT,
        pool: None,
        rate: None,
        window: None,
        share: None,
        terms: SenderTerms { lifetime: Some(Duration::from_secs(600)), ..SenderTerms::default() },
    };
    assert_eq!(config.senders.campaigns, [news, codes]);
}

#[test]
fn what_cannot_be_is_refused() {
    let one = "[[tenant]]\nname = \"a\"\n";
    let two = "[[tenant]]\nname = \"b\"\n";
    let with = |line: &str| format!("{one}{line}\n{two}{line}\n");
    let address = "listeners = [\"127.0.0.1:2525\"]";
    for (text, expected) in [
        (one.repeat(2), "3: there are two tenants named `a`"),
        ("[[tenant]]\nname = \"a b\"".to_owned(), "2: `a b` is no name of a tenant: it has"),
        (with("logins = [\"x\"]"), "4: login `x` is `a`'s already"),
        (
            format!("[[listener]]\naddress = \"127.0.0.1:2525\"\n{}", with(address)),
            "6: a listener is `a`'s already",
        ),
        (format!("{one}listeners = [\"127.0.0.1:9\"]"), "3: no listener has the address"),
        (format!("{one}weight = 0"), "3: "),
        (format!("{one}lifetime = \"31d\""), "3: `31d` is out of range: 1s to 30d"),
        (format!("{one}durability = \"disk\""), "3: "),
        ("[[campaign]]\nname = \"a*b\"".to_owned(), "2: `a*b` is no name of a campaign: it has"),
        (
            "[[campaign]]\nname = \"a\"\ntime_zone = \"Berlin\"".to_owned(),
            "3: there is no time zone",
        ),
        (format!("{one}share = \"0%\""), "3: `0%` is no share: 1% to 100%, or a number of"),
        (format!("{one}share = \"101%\""), "3: `101%` is no share"),
        (format!("{one}share = \"0\""), "3: `0` is no share"),
        (format!("{one}share = \"half\""), "3: `half` is no share"),
        ("[[campaign]]\nname = \"a\"\nwindow = \"Mon\"".to_owned(), "3: `Mon` is no span of time"),
        ("[[campaign]]\ntenant = \"a\"".to_owned(), "1: `name` is missing in [[campaign]]"),
        ("[[campaign]]\nname = \"n*\"\n".repeat(2), "3: there are two campaigns `n*`"),
        ("[senders]\ntenant_field = \"X: y\"".to_owned(), "2: `X: y` is no name of a header"),
        ("[senders]\ntenant_field = \"x-campaign\"".to_owned(), "1: tenant and campaign are"),
    ] {
        let problems = problems(&text);
        assert!(problems[0].starts_with(expected), "{problems:?} for {text}");
    }
}
