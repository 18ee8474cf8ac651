//! Configurations and what is said of wrong ones.

mod bounces;
mod checks;
mod exporters;
mod knobs;
mod kpis;
mod milters;
mod recipients;
mod senders;
mod sources;
mod suppression;
mod warm_up;
mod web;

use std::time::Duration;

use super::*;
use crate::base::prng::Prng;
use crate::config::options::{DomainPattern, LineEndings, Rate};
use crate::config::origin::Origin;
use crate::config::problem::Problem;
use crate::mail::durability::Durability;
use crate::mail::route::{GroupId, Route, TlsLevel};

fn machine() -> Machine {
    Machine {
        hostname: String::from("node.example"),
        cpus: 4,
        state_home: None,
        home: Some(PathBuf::from("/home/op")),
    }
}

fn read_with(text: &str, flags: &Flags) -> Result<Config, Problems> {
    load(Some(File { name: "relay.toml", text }), flags, &machine())
}

pub(super) fn read_file(text: &str) -> Config {
    read_with(text, &Flags::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Each problem as `line: what = help`.
pub(super) fn problems(text: &str) -> Vec<String> {
    let problems = read_with(text, &Flags::default()).expect_err(text);
    let show = |problem: &Problem| {
        let line = problem.line.as_ref().map_or(0, |(_, line)| *line);
        let help = problem.help.as_ref().map_or(String::new(), |help| format!(" = {help}"));
        format!("{line}: {}{help}", problem.what)
    };
    problems.all().iter().map(show).collect()
}

#[test]
fn with_neither_file_nor_flags_the_node_is_local_and_delivers_by_mx() {
    let config = load(None, &Flags::default(), &machine()).expect("defaults");
    assert_eq!(config.hostname.as_str(), "node.example");
    assert_eq!(config.cores, 4);
    assert_eq!(config.admin.listen[0].to_string(), "127.0.0.1:8025");
    assert_eq!(config.spool.directory, PathBuf::from("/home/op/.local/state/relay-fast"));
    assert_eq!(config.default_route, Route::Mx(TlsLevel::Opportunistic));
    let [listener] = &config.listeners[..] else { panic!("one listener") };
    assert_eq!(listener.address.to_string(), "127.0.0.1:2525");
    let ranges: Vec<_> = listener.relay_for.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["127.0.0.0/8", "::1/128"]);
    assert!(config.in_force.iter().all(|row| row.origin == Origin::Default));
}

#[test]
fn the_spool_follows_xdg_and_something_must_be_said_where_nothing_is_known() {
    let state_home = Some(PathBuf::from("/state"));
    let xdg = Machine { state_home, ..machine() };
    let config = load(None, &Flags::default(), &xdg).expect("defaults");
    assert_eq!(config.spool.directory, PathBuf::from("/state/relay-fast"));
    let nowhere = Machine { home: None, hostname: String::from("-"), ..machine() };
    let problems = load(None, &Flags::default(), &nowhere).expect_err("no spool, no name");
    assert_eq!(problems.all().len(), 2);
    assert!(
        problems.to_string().contains("--spool") && problems.to_string().contains("--hostname")
    );
    let hostname = Some(String::from("mx.example"));
    let flags = Flags { spool: Some(String::from("/s")), hostname, ..Flags::default() };
    assert!(load(None, &flags, &nowhere).is_ok());
}

const WHOLE: &str = include_str!("whole.toml");

#[test]
fn a_whole_file_means_what_it_says() {
    let config = read_file(WHOLE);
    assert_eq!(config.postmaster.as_ref().map(|one| one.as_str()), Some("postmaster@example.com"));
    assert_eq!(config.spool.segment_bytes, 32 << 20);
    assert_eq!(config.listeners.len(), 2);
    let ranges: Vec<_> = config.listeners[0].relay_for.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
    assert_eq!(config.listeners[0].line_endings, LineEndings::Normalize);
    let durability: Vec<_> = config.listeners.iter().map(|one| one.durability).collect();
    assert_eq!(durability, [Durability::Memory, Durability::Commit], "commit unless it is said");
    assert_eq!(config.listeners[0].message_bytes, 10 << 20);
    assert_eq!(config.listeners[1].line_endings, LineEndings::Strict);
    assert_eq!(config.limits.recipients, 500);
    let smart = &config.groups[0];
    let upstreams: Vec<_> =
        smart.upstreams.iter().map(|u| (u.host.to_string(), u.weight, u.preference)).collect();
    let expected = [("a.example:25", 3, 0), ("b.example:2526", 1, 0), ("192.0.2.9:25", 1, 1)];
    assert_eq!(upstreams, expected.map(|(host, w, p)| (host.to_owned(), w, p)));
    assert_eq!(smart.limits.rate, Some(Rate { messages: 600, per: Duration::from_secs(60) }));
    assert_eq!(config.groups[1].limits.connections, 5);
    assert_eq!(config.default_route, Route::Group(GroupId(0)));
    let domain = Domain::parse("example.com").expect("domain");
    assert_eq!(config.relay_domains[0].domain, DomainPattern::Exact(domain.clone()));
    assert_eq!(config.relay_domains[1].domain, DomainPattern::Suffix(domain));
    assert!(config.relay_domains.iter().all(|one| one.group == GroupId(1)));
    assert_eq!(config.routes.len(), 1);
    assert_eq!(config.routes[0].route, Route::Mx(TlsLevel::Verify));
    assert_eq!(config.sources[1].hello.as_str(), "mx1.example.com");
    let names = config.dkim_keys.iter().map(|key| key.identities.len());
    assert!(names.eq([0, 1]));
    assert_eq!(config.arc_domain.as_ref().map(Domain::as_str), Some("example.com"));
    let reporter = config.tls_report.as_ref().expect("a reporter");
    assert_eq!(reporter.from.as_str(), "tls-reports@example.com");
    assert_eq!(&*reporter.organization, "Example, Inc.");
    let keys = config.dkim_keys.iter().map(|key| (key.selector.as_str(), key.subdomains));
    assert_eq!(keys.collect::<Vec<_>>(), [("2026-11", false), ("2026-11-e", true)]);
    assert_eq!(config.queue.retry_first, Duration::from_secs(90));
    assert_eq!((config.queue.retry_factor_percent, config.queue.retry_jitter_percent), (150, 25));
    let servers: Vec<_> = config.dns_servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.53:53", "[2001:db8::53]:5353"]);
}

#[test]
fn flags_go_before_the_file() {
    let flags = Flags {
        cores: Some(String::from("3")),
        listen: vec![String::from("127.0.0.1:2025"), String::from("127.0.0.1:0")],
        upstream: Some(String::from("127.0.0.1:2526*2,127.0.0.1:2527")),
        spool: Some(String::from("here")),
        admin: vec![String::from("[::1]:80")],
        hostname: Some(String::from("flag.example")),
    };
    let config = read_with(WHOLE, &flags).expect("right");
    assert_eq!((config.cores, config.hostname.as_str()), (3, "flag.example"));
    let listeners: Vec<_> = config.listeners.iter().map(|l| l.address.to_string()).collect();
    assert_eq!(listeners, ["127.0.0.1:2025", "127.0.0.1:0"]);
    assert_eq!(config.listeners[0].relay_for.len(), 2);
    assert_eq!(config.spool.directory, PathBuf::from("here"));
    assert_eq!(config.admin.listen[0].to_string(), "[::1]:80");
    assert_eq!(config.default_route, Route::Group(GroupId(2)));
    assert_eq!(&*config.groups[2].name, "upstream");
    assert_eq!(config.groups[2].upstreams.len(), 2);
    let by_flag = config.in_force.iter().filter(|row| matches!(row.origin, Origin::Flag(_)));
    let paths: Vec<_> = by_flag.map(|row| &*row.path).collect();
    let expected = [
        "hostname",
        "cores",
        "spool.directory",
        "admin.listen",
        "listener[0].address",
        "listener[1].address",
        "upstream[2].name",
        "upstream[2].hosts",
        "default_route",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn the_upstream_flag_takes_the_place_of_the_files_hosts_and_keeps_its_limits() {
    let text = "[[upstream]]\nname = \"upstream\"\nhosts = \"a.example\"\nconnections = 7\n";
    let flags = Flags { upstream: Some(String::from("b.example")), ..Flags::default() };
    let config = read_with(text, &flags).expect("right");
    assert_eq!(config.groups.len(), 1);
    assert_eq!(config.groups[0].upstreams[0].host.to_string(), "b.example:25");
    assert_eq!(config.groups[0].limits.connections, 7);
    assert_eq!(config.default_route, Route::Group(GroupId(0)));
}

#[test]
fn a_wrong_flag_is_named() {
    for (flags, name) in [
        (Flags { cores: Some(String::from("0")), ..Flags::default() }, "--cores"),
        (Flags { cores: Some(String::from("many")), ..Flags::default() }, "--cores"),
        (Flags { listen: vec![String::from("2525")], ..Flags::default() }, "--listen"),
        (Flags { upstream: Some(String::new()), ..Flags::default() }, "--upstream"),
        (Flags { upstream: Some(String::from("a*0")), ..Flags::default() }, "--upstream"),
        (Flags { spool: Some(String::new()), ..Flags::default() }, "--spool"),
        (Flags { admin: vec![String::from("localhost:1")], ..Flags::default() }, "--admin"),
        (Flags { hostname: Some(String::from("a b")), ..Flags::default() }, "--hostname"),
    ] {
        let problems = read_with("", &flags).expect_err(name);
        assert_eq!(problems.all().len(), 1, "{problems}");
        assert_eq!(problems.all()[0].place, name);
    }
}

#[test]
fn all_errors_are_told_at_once_in_the_order_of_the_file() {
    let text = r#"corse = 4
cores = 400
log_level = "inof"
[spool]
segment_size = "64MB"
[[listener]]
address = "0.0.0.0"
relay_for = ["10.0.0.1/8", "0.0.0.0/0"]
sessions = "10"
[[upstream]]
name = "smart"
hosts = ""
[[relay_domain]]
domains = ["example.com", "*.example.com"]
upstream = "smrat"
[[route]]
domains = ["EXAMPLE.com", "default"]
to = "mx"
[queue]
retry_first = "3h"
lifetime = "5"
"#;
    assert_eq!(
        problems(text),
        [
            "1: unknown key `corse` = did you mean `cores`?",
            "2: `400` is out of range: 1 to 64",
            "3: `inof` is not one of error, warn, info, debug, trace = did you mean `info`?",
            "5: `MB` is no unit of a size; use one of TiB, GiB, MiB, KiB, B \
             = did you mean \"64MiB\"?",
            "7: `0.0.0.0` is no address and port = add a port: \"0.0.0.0:2525\"",
            "8: `10.0.0.1/8` has bits set after its prefix = did you mean \"10.0.0.0/8\"?",
            "8: everyone could send to any domain: an open relay = name the networks that you know",
            "9: expected a whole number, not text = write 10 without quotes",
            "12: the group has no upstream relay = name a host",
            "14: `*.example.com`: there is no `*` in a domain = for every domain below it write \
             \".example.com\"",
            "15: there is no upstream group `smrat` = did you mean `smart`?",
            "17: `example.com` is named twice = line 14 says already where its mail goes",
            "17: `default` is no domain = `default_route` says where everything else goes",
            "20: `retry_longest` (2h) is less than `retry_first` (3h)",
            "21: `5` has no unit; a duration ends in one of d, h, m, s, ms = write \"5m\" if that \
             is meant",
        ]
    );
}

#[test]
fn keys_of_different_clients_are_no_more_than_a_message_may_have() {
    let key = |selector: &str, whose: &str, name: &str| {
        format!(
            "[[dkim]]\ndomain = \"x.example\"\nselector = \"{selector}\"\nkey = \"/k\"\n\
             {whose} = [\"{name}\"]\n"
        )
    };
    for whose in ["identities", "tenants"] {
        let of_many = (0..9).map(|n| key(&format!("s{n}"), whose, &format!("app{n}")));
        assert_eq!(read_file(&of_many.collect::<String>()).dkim_keys.len(), 9);
        let of_one = (0..5).map(|n| key(&format!("s{n}"), whose, "app"));
        let found = problems(&of_one.collect::<String>());
        assert!(found[0].contains("`x.example` has 4 keys already"), "{found:?}");
    }
    let meets = (0..4).map(|n| key(&format!("s{n}"), "tenants", "a"));
    let found = problems(&(meets.collect::<String>() + &key("s4", "identities", "b")));
    assert!(found[0].contains("`x.example` has 4 keys already"), "{found:?}");
}

#[test]
fn contradictions_between_right_values_are_refused() {
    let listener = |address: &str| format!("[[listener]]\naddress = \"{address}\"\n");
    let group = "[[upstream]]\nname = \"g\"\nhosts = \"a.example\"\n";
    let key = |domain: &str, selector: &str| {
        format!("[[dkim]]\ndomain = \"{domain}\"\nselector = \"{selector}\"\nkey = \"/k\"\n")
    };
    let five: String = ["a", "b", "c", "d", "e"].map(|name| key("x.example", name)).concat();
    let admin = "[admin]\nlisten = [\"127.0.0.1:25\"]\n".to_owned() + &listener("127.0.0.1:25");
    for (text, expected) in [
        (listener("127.0.0.1:25").repeat(2), "4: 127.0.0.1:25 is listened on twice"),
        (admin, "4: 127.0.0.1:25 is both a listener and an admin address"),
        (group.repeat(2), "5: there are two groups named `g`"),
        (group.replace("\"g\"", "\"mx\""), "2: `mx` means delivery to MX hosts"),
        (group.replace("a.example", "a.example,a.example"), "3: at character 11"),
        (
            String::from("[[relay_domain]]\ndomains = [\"a\"]\nupstream = \"mx\""),
            "3: a relay domain",
        ),
        (String::from("[[relay_domain]]\ndomains = [\"a\"]"), "1: `upstream` is missing"),
        (String::from("[[route]]\nto = \"mx\""), "1: `domains` is missing in [[route]]"),
        (String::from("[[upstream]]\nname = \"g\""), "1: `hosts` is missing in [[upstream]]"),
        (String::from("[[listener]]\nsessions = 1"), "1: `address` is missing in [[listener]]"),
        (String::from("[limits]\nmemory = \"16MiB\""), "2: `message_size` (50MiB) is above"),
        (listener("127.0.0.1:1") + "tls = \"starttls\"", "2: TLS needs a certificate"),
        (listener("127.0.0.1") + "tls = \"starttls\"", "1: TLS needs a certificate"),
        (listener("127.0.0.1:1") + "client_ca = \"ca\"", "3: without TLS no client shows"),
        (String::from("[[source]]\naddress = \"192.0.2.1\"\nkey = \"k\""), "3: `certificate`"),
        (String::from("[[certificate]]\nkey = \"k\""), "1: `file` is missing in"),
        (
            String::from("[[upstream]]\nname = \"g\"\nhosts = \"h\"\n")
                + "[[route]]\ntls = \"none\"\nto = \"g\"\ndomains = []",
            "5: `tls` here is about MX hosts",
        ),
        (String::from("[[source]]\naddress = \"192.0.2.1\"\n").repeat(2), "4: `192.0.2.1` is a"),
        (key("x.example", "s").repeat(2), "7: there are two keys for `s._domainkey.x.example`"),
        (five, "19: `x.example` has 4 keys already"),
        (key(".x.example", "s"), "2: `.x.example` is no domain to sign for = write \"x.example\""),
        (key("[192.0.2.1]", "s"), "2: `[192.0.2.1]` is no domain to sign for"),
        (key("x.example", "a b"), "3: `a b` is no selector"),
        (key(&"x.".repeat(120), &"s".repeat(63)), "3: `"),
        (String::from("[[dkim]]\ndomain = \"a\"\nkey = \"/k\""), "1: `selector` is missing in"),
        (String::from("[arc]\ndomain = \"a.example\""), "2: `a.example` has no key"),
        (
            String::from("[tls_report]\ncontact = \"a@c.example\""),
            "2: nothing is reported = set `tls_report.f",
        ),
        (
            String::from("[tls_report]\nfrom = \"a@[192.0.2.1]\""),
            "2: `a@[192.0.2.1]` has no domain",
        ),
        (
            String::from("[tls_report]\nfrom = \"a@b.example\"\norganization = \"\""),
            "3: write one line",
        ),
        (String::from("[listener]\naddress = \"127.0.0.1:25\""), "1: `listener` may come several"),
        (String::from("spool = \"/var\""), "1: `spool` is a section, not text = write [spool]"),
        (String::from("[[spool]]"), "1: `spool` is a section, not a list"),
    ] {
        let found = problems(&text);
        assert!(found.iter().any(|one| one.starts_with(expected)), "{text}\n{found:#?}");
    }
    assert_eq!(read_file(&listener("127.0.0.1:0").repeat(2)).listeners.len(), 2);
}

#[test]
fn what_is_no_toml_is_told_with_its_line_and_does_not_hide_the_rest() {
    let found = problems("cores = 4\n[[listener]]\naddress = 127.0.0.1:25\nsesions = 3\n");
    assert!(found.iter().any(|one| one.starts_with("3: ") && one.contains("\"127.0.0.1:25\"")));
    assert!(found.iter().any(|one| one.contains("unknown key `sesions`")), "{found:#?}");
    assert!(!found.iter().any(|one| one.contains("missing")), "{found:#?}");
    let found = problems("cores = 1\ncores = 2\n");
    assert!(found[0].starts_with("2: duplicate key"), "{found:#?}");
    for text in ["[", "a = ", "= 3", "\u{0}", "[spool", "x = \"\n", "é\u{feff}", "[a]\n[a]"] {
        assert!(!problems(text).is_empty(), "{text}");
    }
}

#[test]
fn no_text_makes_it_panic() {
    for seed in 0..3_000 {
        let mut prng = Prng::from_number(seed);
        let mut below =
            |bound: usize| usize::try_from(prng.below(bound as u64)).expect("below a usize");
        let mut bytes = WHOLE.as_bytes().to_vec();
        for _ in 0..=below(8) {
            let at = below(bytes.len());
            let end = (at + below(40)).min(bytes.len());
            match below(3) {
                0 => bytes[at] = b"[]=\"'{},.\n \x00\xc3#-9"[below(16)],
                1 => drop(bytes.drain(at..end)),
                _ => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let outcome = std::panic::catch_unwind(|| {
            read_with(&text, &Flags::default()).map_err(|problems| problems.to_string())
        });
        assert!(outcome.is_ok(), "seed {seed}: {text}");
    }
}
