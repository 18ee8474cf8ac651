//! What a file means.

use super::automation::{Action, Effect, Refusal, Triggers};
use super::*;
use crate::base::limits::TRIGGERS_MAX;
use crate::base::time::Monotonic;

const BASE: (u32, u32, Option<Rate>) = (20, 100, None);

fn parse(text: &str) -> Shaping {
    Shaping::new(false, Some(text)).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn refused(text: &str) -> String {
    Shaping::new(false, Some(text)).expect_err(text).to_string()
}

fn base() -> Shape {
    Shape::new(BASE.0, BASE.1, BASE.2)
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).expect("a domain")
}

fn site<'a>(hosts: &'a [&'a str]) -> SiteNames<'a> {
    SiteNames { hosts, domain: None, is_upstream: false }
}

const HERE: SourceNames<'_> =
    SourceNames { name: "one", address: "192.0.2.1", hello: "out.example" };

fn rate(messages: u32, seconds: u64) -> Rate {
    Rate { messages, per: Duration::from_secs(seconds) }
}

/// A rule of each kind; each gives `connections`, so that the count says which was last.
const ALL: &str = r#"
    [default]
    connections = 1
    [[domain]]
    domains = ["a.example"]
    connections = 7
    [[domain]]
    domains = ["a.example"]
    source = ["192.0.2.1"]
    connections = 8
    [[site]]
    mx = [".mx.example"]
    source = ["out.example"]
    connections = 6
    [[site]]
    mx = [".mx.example"]
    connections = 5
    [[provider]]
    name = "big"
    mx = [".example"]
    connections = 3
    [[provider]]
    name = "big"
    source = ["192.0.2.1"]
    connections = 4
    [[source]]
    source = ["192.0.2.1"]
    connections = 2
"#;

#[test]
fn the_nearest_rule_counts_and_among_equals_one_for_the_source() {
    let shaping = parse(ALL);
    let own = domain("a.example");
    let other = SourceNames { name: "nine", address: "192.0.2.9", hello: "other.example" };
    for (hosts, domain, source, expected) in [
        ("mx.elsewhere", None, other, 1),
        ("mx.elsewhere", None, HERE, 2),
        ("big.example", None, other, 3),
        ("big.example", None, HERE, 4),
        ("a.mx.example", None, other, 5),
        ("a.mx.example", None, HERE, 6),
        ("a.mx.example", Some(&own), other, 7),
        ("a.mx.example", Some(&own), HERE, 8),
    ] {
        let names = SiteNames { hosts: &[hosts], domain, is_upstream: false };
        let shape = shaping.shape(&base(), names, source);
        assert_eq!(shape.connections, expected, "{hosts} {domain:?} {source:?}");
        assert_eq!(shape, Shape { connections: expected, ..base() }, "nothing else is changed");
    }
    assert!(shaping.names(&own) && !shaping.names(&domain("b.example")));
}

#[test]
fn what_comes_later_wins_field_by_field() {
    let shaping = parse(
        "[[site]]\nmx = ['mx.example']\nconnections = 3\nrate = '5/s'\n\
         [[site]]\nmx = ['mx.example']\nconnections = 4\n",
    );
    let (shape, origins) = shaping.explain(&base(), site(&["mx.example"]), HERE);
    assert_eq!((shape.connections, shape.rate), (4, Some(rate(5, 1))));
    assert_eq!(origins[0], Some("[[site]] mx.example, line 5"));
    assert_eq!(origins[2], Some("[[site]] mx.example, line 1"));
    assert_eq!(origins[1], None);
}

#[test]
fn every_field_is_read() {
    let text = "[default]\nconnections = 3\nmessages_per_connection = 4\nrate = '5/m'\n\
        rate_floor = '6/h'\nrecovery = '2h'\nslow_down_on = ['quota', 'spam']\n\
        pipelining = false\ntls = 'verify'\n";
    let (shape, origins) = parse(text).explain(&base(), site(&["mx.example"]), HERE).clone_all();
    let expected = Shape {
        connections: 3,
        messages_per_connection: 4,
        rate: Some(rate(5, 60)),
        rate_floor: rate(6, 3_600),
        recovery: Duration::from_secs(7_200),
        slow_down_on: [Class::Quota, Class::Spam].into_iter().collect(),
        pipelining: false,
        tls: Some(TlsLevel::Verify),
        of_provider: None,
    };
    assert_eq!(shape, expected);
    let here = Some("[default], line 1".to_owned());
    assert_eq!(origins, [vec![here; FIELDS.len() - 2], vec![None; 2]].concat());
    assert_eq!(parse(text).tls(site(&["mx.example"])), Some(TlsLevel::Verify));
    let unlimited = parse("[default]\nrate = 'unlimited'\nslow_down_on = []\n");
    let slow = Shape { rate: Some(rate(1, 1)), ..base() };
    let shape = unlimited.shape(&slow, site(&["mx.example"]), HERE);
    assert!(shape.rate.is_none() && shape.slow_down_on.is_empty());
}

/// What lives as long as the rules, without them.
trait CloneAll {
    fn clone_all(self) -> (Shape, Vec<Option<String>>);
}

impl CloneAll for (Shape, Origins<'_>) {
    fn clone_all(self) -> (Shape, Vec<Option<String>>) {
        (self.0, self.1.iter().map(|origin| origin.map(str::to_owned)).collect())
    }
}

#[test]
fn a_rule_fits_a_site_all_of_whose_hosts_it_names() {
    let shaping = parse("[[site]]\nmx = ['.big.example', 'mx.example']\nconnections = 1\n");
    let fits = |hosts: &[&str]| shaping.shape(&base(), site(hosts), HERE).connections == 1;
    assert!(fits(&["a.big.example"]) && fits(&["a.big.example", "mx.example"]));
    assert!(!fits(&["big.example"]), "it is not below itself");
    assert!(!fits(&["a.big.example", "mx.elsewhere"]), "a site of somebody's own besides");
    assert!(!fits(&["xbig.example"]) && !fits(&[]));
}

#[test]
fn an_upstream_relay_is_shaped_by_rules_of_its_host_alone() {
    let shaping =
        parse("[default]\nconnections = 1\n[[site]]\nmx = ['relay.example']\nrate = '1/s'");
    let names = SiteNames { is_upstream: true, ..site(&["relay.example"]) };
    let shape = shaping.shape(&base(), names, HERE);
    assert_eq!(shape, Shape { rate: Some(rate(1, 1)), ..base() });
}

#[test]
fn an_operators_rules_go_over_those_that_are_shipped() {
    let own = "[[provider]]\nname = 'gmail'\nconnections = 77\n";
    let shaping = Shaping::new(true, Some(own)).expect("rules");
    let hosts = ["gmail-smtp-in.l.google.com", "alt1.gmail-smtp-in.l.google.com"];
    let (shape, origins) = shaping.explain(&base(), site(&hosts), HERE);
    assert_eq!(shape.connections, 77);
    assert_eq!(origins[0], Some("[[provider]] gmail, line 1"));
    assert_eq!(shaping.providers(site(&hosts)), ["gmail"]);
    assert!(shape.messages_per_connection < base().messages_per_connection, "as shipped");
    let own = "[[automation]]\nname = 'yahoo-ts'\ncodes = ['451']\naction = 'suspend'\n";
    let both = Shaping::new(true, Some(own)).expect("rules");
    let named = both.automation.triggers().iter().filter(|one| &*one.name == "yahoo-ts");
    assert_eq!(named.map(|one| &one.action).collect::<Vec<_>>(), [&Action::Suspend]);
}

#[test]
fn what_a_provider_takes_at_all_of_its_sites_is_said_by_its_own_rules() {
    let shaping = parse(
        "[[provider]]\nname = 'wide'\nmx = ['.example']\nprovider_connections = 40\n\
         [[provider]]\nname = 'big'\nmx = ['.big.example']\nprovider_rate = '500/m'\n\
         [[provider]]\nname = 'big'\nsource = ['one']\nprovider_connections = 9\n\
         [[site]]\nmx = ['b.big.example']\nconnections = 3\n",
    );
    let of = |host: &str, source: SourceNames<'_>| {
        let (shape, origins) = shaping.explain(&base(), site(&[host]), source);
        let said = shape.of_provider.map(|of| (of.provider.to_string(), of.connections, of.rate));
        (said, [origins[8], origins[9]].map(|origin| origin.map(str::to_owned)))
    };
    let other = SourceNames { name: "nine", address: "192.0.2.9", hello: "other.example" };
    let (wide, line) = of("mx.example", other);
    assert_eq!(wide, Some(("wide".to_owned(), Some(40), None)));
    assert_eq!(line, [Some("[[provider]] wide, line 1".to_owned()), None]);
    // The last of its providers has it; what another says is not for it.
    let big = |connections| Some(("big".to_owned(), connections, Some(rate(500, 60))));
    assert_eq!(of("a.big.example", other).0, big(None));
    assert_eq!(of("b.big.example", HERE).0, big(Some(9)));
    let lines = of("b.big.example", HERE).1.map(|line| line.expect("a rule"));
    assert_eq!(lines, ["[[provider]] big, line 9", "[[provider]] big, line 5"]);
    assert_eq!(of("mx.elsewhere", HERE).0, None);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, line, said) in [
        ("\n[default]\nconnection = 1\n", 3, "unknown field"),
        ("[default]\nconnections = 0\n", 1, "`connections` is 1 at least"),
        ("[default]\nconnections = -1\n", 2, "-1"),
        ("[default]\nrate = '5'\n", 1, "100/s"),
        ("[default]\nrate = '0/s'\n", 1, "100/s"),
        ("[default]\nrate_floor = 'unlimited'\n", 1, "is a rate"),
        ("[default]\nrecovery = '5'\n", 1, "30s"),
        ("[default]\ntls = 'maybe'\n", 1, "opportunistic"),
        ("[default]\nslow_down_on = ['slow']\n", 2, "slow"),
        ("[default]\nmx = ['a']\n", 1, "it has no `mx`"),
        ("[default]\nsource = ['a']\n", 1, "write a [[source]]"),
        ("[default]\nname = 'a'\n", 1, "only a [[provider]]"),
        ("\n\n[[site]]\nconnections = 1\n", 3, "it wants `mx`"),
        ("[[provider]]\nmx = ['a']\n", 1, "it wants a `name`"),
        ("[[provider]]\nname = 'a'\n", 1, "it wants `mx`"),
        ("[[domain]]\nconnections = 1\n", 1, "it wants `domains`"),
        ("[[site]]\nmx = ['a']\ndomains = ['a']\n", 1, "it has no `domains`"),
        ("[[source]]\nconnections = 1\n", 1, "it wants `source`"),
        ("[[site]]\nmx = ['a..b']\n", 1, "`a..b`"),
        ("[[site]]\nmx = ['a']\nsource = []\n", 1, "names none"),
        ("[[site]]\nmx = ['a']\nsource = ['b']\ntls = 'none'\n", 1, "same for all sources"),
        ("[default]\nprovider_connections = 1\n", 1, "stand in a [[provider]]"),
        ("[[site]]\nmx = ['a']\nprovider_rate = '1/s'\n", 1, "stand in a [[provider]]"),
        ("[[provider]]\nname = 'a'\nmx = ['a']\nprovider_connections = 0\n", 1, "1 at least"),
        ("[[provider]]\nname = 'a'\nmx = ['a']\nprovider_rate = '1'\n", 1, "100/s"),
        ("[[automation]]\naction = 'bounce'\n", 1, "fits everything"),
        ("[[automation]]\ncodes = ['451']\naction = 'explode'\n", 3, "explode"),
        ("[[automation]]\ncodes = ['4']\naction = 'bounce'\n", 1, "`4` is no code"),
        ("[[automation]]\ncodes = ['451']\ncount = 3\naction = 'bounce'\n", 1, "go together"),
        ("[[automation]]\ncodes = ['451']\ncount = 0\naction = 'bounce'\n", 1, "`count` is 1 to"),
        ("[[automation]]\ncodes = ['451']\nrate = '1/s'\naction = 'bounce'\n", 1, "slow-down"),
        ("[[automation]]\ncodes = ['451']\nto = ['a']\naction = 'bounce'\n", 1, "switch-source"),
        ("[[automation]]\ncodes = ['451']\nprovider = ['a']\naction = 'bounce'\n", 1, "named a"),
        ("[[automation]]\nwords = ['(']\naction = 'bounce'\n", 1, "`(`: error: unclosed group"),
        ("[[automation]]\nname = ''\ncodes = ['451']\naction = 'bounce'\n", 1, "printable"),
        ("[[provider]]\nname = \"a\\u0007\"\nmx = ['a']\n", 1, "printable"),
        ("[default]\ntls = \"a\\u001b\"\n", 1, "not a\\u{1b}"),
        (
            "[[automation]]\nname = 'a'\ncodes = ['451']\naction = 'bounce'\n\
          [[automation]]\nname = 'a'\ncodes = ['452']\naction = 'bounce'\n",
            5,
            "another a",
        ),
        ("[[automation]]\nwords = ['']\naction = 'bounce'\n", 1, "octets"),
    ] {
        let error = refused(text);
        let place = format!("line {line}: ");
        assert!(error.starts_with(&place) && error.contains(said), "{error:?} of {text:?}");
    }
}

fn refusal(text: &str) -> Refusal<'_> {
    let status = Some(crate::mail::status::EnhancedStatus::new(4, 7, 28));
    Refusal { code: Some(421), status, text, class: Class::RateLimit, domain: None }
}

#[test]
fn a_trigger_fits_what_meets_all_that_it_names() {
    let text = "[[automation]]\nname = 'a'\ncodes = ['4xx']\nstatus = ['4.7.28']\n\
        words = ['slow', 'rate limit']\nclass = ['rate-limit']\naction = 'suspend'\n\
        [[automation]]\nname = 'b'\ncodes = ['421']\ndomains = ['.example']\naction = 'bounce'\n\
        [[automation]]\nname = 'c'\nmx = ['mx.example']\nsource = ['192.0.2.1']\nwords = ['SLOW']\n\
        rate = '1/m'\naction = 'slow-down'\nfor = '2h'\n";
    let shaping = parse(text);
    let automation = &shaping.automation;
    let scope = automation.scope(site(&["mx.example"]), HERE);
    assert_eq!(scope[..], [0, 1, 2]);
    assert_eq!(automation.scope(site(&["mx.elsewhere"]), HERE)[..], [0, 1]);
    let elsewhere = SourceNames { name: "other", address: "", hello: "other" };
    assert_eq!(automation.scope(site(&["mx.example"]), elsewhere)[..], [0, 1]);
    let names = |refusal: &Refusal<'_>| -> Vec<String> {
        automation.fitting(&scope, refusal).iter().map(|one| one.name.to_string()).collect()
    };
    assert_eq!(names(&refusal("Please Slow down")), ["a", "c"]);
    assert_eq!(names(&Refusal { class: Class::Spam, ..refusal("slow") }), ["c"]);
    assert_eq!(names(&Refusal { code: Some(550), ..refusal("slow") }), ["c"]);
    assert_eq!(names(&Refusal { status: None, ..refusal("slow") }), ["c"]);
    let to = domain("a.example");
    assert_eq!(names(&Refusal { domain: Some(&to), ..refusal("go away") }), ["b"]);
    let c = &automation.triggers()[2];
    assert_eq!(c.action, Action::SlowDown(Some(rate(1, 60))));
    assert_eq!(c.to_string(), "c: 1/m for 2h");
}

#[test]
fn a_trigger_goes_off_at_its_count_in_its_window_and_holds_for_its_time() {
    let text = "[[automation]]\nname = 'a'\ncodes = ['421']\ncount = 3\nwithin = '10s'\n\
        action = 'suspend'\nfor = '20s'\n";
    let shaping = parse(text);
    let trigger = &shaping.automation.triggers()[0];
    let mut triggers = Triggers::default();
    let mut at =
        |seconds: u64| triggers.note(trigger, &trigger.name, Monotonic(seconds * 1_000_000_000));
    use Effect::{Begins, Counted, InForce};
    assert_eq!([at(0), at(9), at(11), at(19)], [Counted, Counted, Counted, Begins], "0 is too old");
    assert_eq!([at(20), at(38)], [InForce, InForce]);
    assert_eq!([at(39), at(40), at(41)], [Counted, Counted, Begins]);
    assert_eq!(triggers.in_force(Monotonic(42_000_000_000)).count(), 1);
    assert_eq!(triggers.in_force(Monotonic(61_000_000_000)).count(), 0);
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut text = String::new();
    for number in 0..2 * TRIGGERS_MAX {
        text +=
            &format!("[[automation]]\nname = '{number}'\ncodes = ['421']\naction = 'suspend'\n");
    }
    let shaping = parse(&text);
    let mut triggers = Triggers::default();
    for trigger in shaping.automation.triggers() {
        assert_eq!(triggers.note(trigger, &trigger.name, Monotonic(0)), Effect::Begins);
    }
    let left: Vec<_> = triggers.in_force(Monotonic(1)).map(|(name, _)| name.to_owned()).collect();
    assert_eq!(left.len(), TRIGGERS_MAX);
    assert_eq!(left[0], TRIGGERS_MAX.to_string(), "the oldest made room");
}

#[test]
fn the_shipped_rules_know_their_providers() {
    let shaping = Shaping::new(true, None).expect("rules");
    for (host, provider) in [
        ("gmail-smtp-in.l.google.com", "gmail"),
        ("aspmx.l.google.com", "gmail"),
        ("mta5.am0.yahoodns.net", "yahoo"),
        ("hotmail-com.olc.protection.outlook.com", "microsoft-consumer"),
        ("contoso-com.mail.protection.outlook.com", "microsoft-365"),
        ("mx01.mail.icloud.com", "apple"),
        ("mx00.gmx.net", "united-internet"),
        ("mx-ha02.web.de", "united-internet"),
        ("smtp-in.orange.fr", "orange"),
        ("mx1.comcast.net", "comcast"),
        ("mxs.mail.ru", "mail-ru"),
        ("mx3.qq.com", "tencent"),
        ("163mx01.mxmail.netease.com", "netease"),
        ("mx0a-00000000.pphosted.com", "proofpoint"),
        ("eu-smtp-inbound-1.mimecast.com", "mimecast"),
    ] {
        assert_eq!(shaping.providers(site(&[host])), [provider], "{host}");
        let shape = shaping.shape(&base(), site(&[host]), HERE);
        assert!(shape.connections <= 10 && shape.rate.is_none(), "{host}: {shape:?}");
    }
    assert_eq!(shaping.shape(&base(), site(&["mx.example"]), HERE), base(), "nobody else");
    for (host, said, name) in [
        ("mta5.am0.yahoodns.net", "4.7.0 [TSS04] Messages from 192.0.2.1 deferred", "yahoo-ts"),
        ("mx3.qq.com", "Connection frequency limited", "tencent-frequency"),
        ("smtp-in.orange.fr", "xx ME Too many connections, slow down", "orange-connections"),
        ("mx.example", "Too many concurrent sessions from you", "too-many-connections"),
    ] {
        let scope = shaping.automation.scope(site(&[host]), HERE);
        let fitting = shaping.automation.fitting(&scope, &refusal(said));
        assert_eq!(fitting.first().map(|one| &*one.name), Some(name), "{said}");
    }
}

#[test]
fn rules_by_hosts_and_domains_name_pools_and_the_nearest_counts() {
    let own = "[[domain]]\ndomains = ['c.example']\npool = 'domain'\n\
        [[provider]]\nname = 'p'\nmx = ['.p.example']\npool = 'provider'\n\
        [[site]]\nmx = ['b.p.example']\npool = 'site'\n";
    let shaping = Shaping::new(true, Some(own)).expect("rules");
    let pool = |hosts: &[&str], domain: Option<&str>| {
        let domain = domain.map(|name| Domain::parse(name).expect("a domain"));
        let site = SiteNames { hosts, domain: domain.as_ref(), is_upstream: false };
        shaping.pool(site).map(str::to_owned)
    };
    assert_eq!(pool(&["a.p.example", "b.p.example"], None).as_deref(), Some("provider"));
    assert_eq!(pool(&["b.p.example"], None).as_deref(), Some("site"));
    assert_eq!(pool(&["b.p.example"], Some("c.example")).as_deref(), Some("domain"));
    assert_eq!(pool(&["a.p.example", "mx.example"], None), None);
    assert!(shaping.has_pools() && !Shaping::new(true, None).expect("rules").has_pools());
    for wrong in
        ["[default]\npool = 'x'", "[[site]]\nmx = ['a.example']\nsource = ['s']\npool = 'x'"]
    {
        let error = Shaping::new(false, Some(wrong)).expect_err("no such place").to_string();
        assert!(error.contains("`pool` says from which sources"), "{error}");
    }
}
