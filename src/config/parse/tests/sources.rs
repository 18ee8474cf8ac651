//! `[[source]]` and `[[pool]]`: what is read, and what is refused.

use super::{problems, read_file};
use crate::config::options::{EgressPool, EgressProxy, ProxyKind};
use crate::mail::route::PoolId;

const THREE: &str = r#"
[[source]]
name = "a"
address = "192.0.2.1"
[[source]]
address = "192.0.2.2"
[[source]]
name = "c"
address = "2001:db8::3"
"#;

fn pools(text: &str) -> Vec<(String, Vec<(u16, u32)>)> {
    let pool = |pool: EgressPool| (pool.name.into(), pool.sources);
    read_file(text).pools.into_iter().map(pool).collect()
}

#[test]
fn all_sources_are_one_pool_unless_it_is_given() {
    assert_eq!(pools(""), [("default".to_owned(), Vec::new())]);
    let config = read_file(THREE);
    let names: Vec<&str> = config.sources.iter().map(|source| &*source.name).collect();
    assert_eq!(names, ["a", "192.0.2.2", "c"]);
    assert_eq!(pools(THREE), [("default".to_owned(), vec![(0, 1), (1, 1), (2, 1)])]);
}

#[test]
fn pools_are_named_by_routes_and_tenants() {
    let text = THREE.to_owned()
        + r#"
[[pool]]
name = "big"
sources = ["c*10", "192.0.2.1", "192.0.2.2*2"]
[[pool]]
name = "default"
sources = ["2001:db8:0::3"]
[[route]]
domains = ["x.example"]
to = "mx"
pool = "big"
[[route]]
domains = ["y.example"]
to = "mx"
[[tenant]]
name = "acme"
pool = "default"
[[campaign]]
name = "news*"
pool = "big"
"#;
    let default = ("default".to_owned(), vec![(2, 1)]);
    let big = ("big".to_owned(), vec![(2, 10), (0, 1), (1, 2)]);
    assert_eq!(pools(&text), [default, big]);
    let config = read_file(&text);
    let of_routes: Vec<_> = config.routes.iter().map(|rule| rule.pool).collect();
    assert_eq!(of_routes, [Some(PoolId(1)), None]);
    assert_eq!(config.senders.tenants[0].pool, Some(PoolId::DEFAULT));
    assert_eq!(config.senders.campaigns[0].pool, Some(PoolId(1)));
}

#[test]
fn a_source_has_its_proxy() {
    let proxy = |lines: &str| {
        let text = format!("[[source]]\naddress = \"192.0.2.9\"\n{lines}");
        read_file(&text).sources[0].proxy.clone()
    };
    let at = |text: &str| text.parse().expect("an address");
    assert_eq!(proxy(""), None);
    let (at4, at6) = (at("198.51.100.1:1080"), at("[2001:db8::1]:2525"));
    let plain = EgressProxy { at: at4, kind: ProxyKind::Socks(None) };
    assert_eq!(proxy("proxy = \"socks5://198.51.100.1:1080\""), Some(plain.clone()));
    let with_login = proxy("proxy = \"socks5://198.51.100.1:1080\"\nproxy_login = \"/l\"");
    assert_eq!(
        with_login,
        Some(EgressProxy { kind: ProxyKind::Socks(Some("/l".into())), ..plain })
    );
    let header = proxy("proxy = \"haproxy://[2001:db8::1]:2525\"");
    assert_eq!(header, Some(EgressProxy { at: at6, kind: ProxyKind::Header }));
}

#[test]
fn what_cannot_be_is_refused() {
    let pool = |lines: &str| format!("{THREE}[[pool]]\nname = \"p\"\n{lines}");
    let source = |line: &str| format!("{THREE}[[source]]\naddress = \"192.0.2.9\"\n{line}");
    for (text, expected) in [
        (pool("sources = [\"b\"]"), "12: there is no source `b`"),
        (pool("sources = []"), "10: the pool has no source"),
        (pool(""), "10: `sources` is missing in [[pool]]"),
        (pool("sources = [\"a*0\"]"), "12: the weight of `a*0` is no number"),
        (pool("sources = [\"a*\"]"), "12: the weight of `a*` is no number"),
        (pool("sources = [\"a\", \"192.0.2.1\"]"), "12: `192.0.2.1` is in the pool already"),
        (pool("sources = [\"a b\"]"), "12: `a b` is no name"),
        (
            pool("sources = [\"a\"]\n[[pool]]\nname = \"p\"\nsources = [\"c\"]"),
            "14: there are two pools named `p`",
        ),
        (source("proxy = \"socks4://192.0.2.1:1\""), "12: `socks4://192.0.2.1:1` is no proxy"),
        (source("proxy = \"socks5://proxy.example:1\""), "12: `proxy.example:1` is no address"),
        (source("proxy = \"socks5://a:b@192.0.2.1:1\""), "12: a password in a configuration"),
        (source("proxy_login = \"/l\""), "12: `proxy_login` goes with"),
        (
            source("proxy = \"haproxy://192.0.2.1:1\"\nproxy_login = \"/l\""),
            "13: `proxy_login` goes with",
        ),
        (source("name = \"a\""), "12: there are two sources named `a`"),
        (source("[[source]]\naddress = \"192.0.2.1\""), "13: `192.0.2.1` is a source already"),
        ("[[tenant]]\nname = \"t\"\npool = \"x\"".to_owned(), "3: there is no pool `x`"),
    ] {
        let problems = problems(&text);
        assert!(problems[0].starts_with(expected), "{problems:?} for {text}");
    }
}
