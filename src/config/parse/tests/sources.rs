//! `[[source]]` and `[[pool]]`: what is read, and what is refused.

use super::{problems, read_file};
use crate::config::options::EgressPool;
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
"#;
    let default = ("default".to_owned(), vec![(2, 1)]);
    let big = ("big".to_owned(), vec![(2, 10), (0, 1), (1, 2)]);
    assert_eq!(pools(&text), [default, big]);
    let config = read_file(&text);
    let of_routes: Vec<_> = config.routes.iter().map(|rule| rule.pool).collect();
    assert_eq!(of_routes, [Some(PoolId(1)), None]);
    assert_eq!(config.senders.tenants[0].pool, Some(PoolId::DEFAULT));
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
        (source("name = \"a\""), "12: there are two sources named `a`"),
        (source("[[source]]\naddress = \"192.0.2.1\""), "13: `192.0.2.1` is a source already"),
        ("[[tenant]]\nname = \"t\"\npool = \"x\"".to_owned(), "3: there is no pool `x`"),
    ] {
        let problems = problems(&text);
        assert!(problems[0].starts_with(expected), "{problems:?} for {text}");
    }
}
