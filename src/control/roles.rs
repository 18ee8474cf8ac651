//! Everything that is answered, and who may ask for it: one table.
//!
//! In: method and path of a request. Out: the right that it takes, or that nobody has it. Pure.
//! Invariant: what is not in the table is answered to nobody, whatever the router knows.

use axum::http::Method;

use crate::config::options::Role;

/// What it takes to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Nothing: no token is asked for. For pages and scripts that hold nothing of this node's.
    Public,
    /// To look.
    Read,
    /// To hand in mail.
    Inject,
    /// To change what the node does.
    Operate,
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// GET (HEAD too), or POST.
    pub method: &'static str,
    /// As the router has it: `{…}` is one segment that is not empty.
    pub path: &'static str,
    /// Who may.
    pub right: Right,
}

/// All of it.
pub const TABLE: &[Entry] = &[
    public("/"),
    public("/console/"),
    public("/console/{name}"),
    look("/healthz"),
    look("/metrics"),
    look("/v1/campaigns"),
    look("/v1/check-domain"),
    look("/v1/config"),
    look("/v1/diversions"),
    look("/v1/exporters"),
    look("/v1/kpis"),
    look("/v1/kpis/series"),
    look("/v1/live"),
    look("/v1/messages"),
    look("/v1/openapi.json"),
    look("/v1/overview"),
    look("/v1/pauses"),
    look("/v1/queue/list"),
    look("/v1/queue/show/{id}"),
    look("/v1/queue/stats"),
    look("/v1/shaping"),
    look("/v1/suppression/list"),
    look("/v1/suppression/show"),
    look("/v1/suppression/stats"),
    look("/v1/tls-reports"),
    look("/v1/trace"),
    look("/v1/warm-up"),
    Entry { method: "POST", path: "/v1/inject", right: Right::Inject },
    change("/v1/config/reload"),
    change("/v1/queue/flush"),
    change("/v1/queue/hold"),
    change("/v1/queue/pause"),
    change("/v1/queue/rebind"),
    change("/v1/queue/release"),
    change("/v1/queue/remove"),
    change("/v1/queue/reroute"),
    change("/v1/queue/resume"),
    change("/v1/shaping/reset"),
    change("/v1/shaping/set"),
    change("/v1/suppression/add"),
    change("/v1/suppression/import"),
    change("/v1/suppression/remove"),
    change("/v1/tls-reports/send"),
    change("/v1/warm-up/{verb}"),
];

const fn public(path: &'static str) -> Entry {
    Entry { method: "GET", path, right: Right::Public }
}

const fn look(path: &'static str) -> Entry {
    Entry { method: "GET", path, right: Right::Read }
}

const fn change(path: &'static str) -> Entry {
    Entry { method: "POST", path, right: Right::Operate }
}

/// Why nobody has a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is nothing at the path.
    Path,
    /// There is, but not by this method.
    Method,
}

/// What a request takes.
pub fn right(method: &Method, path: &str) -> Result<Right, Missing> {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let mut missing = Missing::Path;
    for entry in TABLE.iter().filter(|entry| is_at(entry.path, path)) {
        if entry.method == method {
            return Ok(entry.right);
        }
        missing = Missing::Method;
    }
    Err(missing)
}

/// The methods that there are at `path`, as `Allow` says them.
pub fn allowed(path: &str) -> String {
    let there = TABLE.iter().filter(|entry| is_at(entry.path, path));
    let methods = there.flat_map(|entry| match entry.method {
        "GET" => &["GET", "HEAD"][..],
        _ => std::slice::from_ref(&entry.method),
    });
    methods.copied().collect::<Vec<_>>().join(", ")
}

/// Whether whoever has `role` has `right` too.
pub fn permits(role: Role, right: Right) -> bool {
    match role {
        Role::Operate => true,
        Role::Read => matches!(right, Right::Public | Right::Read),
        Role::Inject => matches!(right, Right::Public | Right::Inject),
    }
}

fn is_at(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    let fits = |part: &str| match part.starts_with('{') {
        true => parts.next().is_some_and(|one| !one.is_empty()),
        false => parts.next() == Some(part),
    };
    pattern.split('/').all(fits) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_not_in_the_table_nobody_may() {
        let of = |method: Method, path: &str| right(&method, path);
        assert_eq!(of(Method::GET, "/v1/queue/list"), Ok(Right::Read));
        assert_eq!(of(Method::HEAD, "/metrics"), Ok(Right::Read));
        assert_eq!(of(Method::GET, "/v1/queue/show/0-1f"), Ok(Right::Read));
        assert_eq!(of(Method::POST, "/v1/queue/remove"), Ok(Right::Operate));
        assert_eq!(of(Method::GET, "/v1/queue/remove"), Err(Missing::Method));
        assert_eq!(of(Method::POST, "/healthz"), Err(Missing::Method));
        for path in [
            "",
            "/v1",
            "/queue/list",
            "/v1/queue/list/",
            "//v1/queue/list",
            "/v1/queue/show/",
            "/v1/queue/show/a/b",
            "/v1/queue/LIST",
            "/v1/queue/%6cist",
            "*",
        ] {
            assert_eq!(of(Method::GET, path), Err(Missing::Path), "{path}");
        }
        assert_eq!((&*allowed("/metrics"), &*allowed("/v1/queue/hold")), ("GET, HEAD", "POST"));
    }

    #[test]
    fn a_role_is_for_what_it_says() {
        let rights = [Right::Public, Right::Read, Right::Inject, Right::Operate];
        let of = |role| rights.map(|right| permits(role, right));
        assert_eq!(of(Role::Read), [true, true, false, false]);
        assert_eq!(of(Role::Inject), [true, false, true, false]);
        assert_eq!(of(Role::Operate), [true; 4]);
        for Entry { method, path, right } in TABLE {
            assert!(*method == "GET" || !matches!(right, Right::Public | Right::Read), "{path}");
        }
    }

    /// What this folder's files give to routers: each `.route("PATH", METHOD(…`.
    fn routes(folder: &Path, found: &mut BTreeSet<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                routes(&entry.path(), found);
                continue;
            }
            let text = fs::read_to_string(entry.path()).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for call in code.split(".route(").skip(1) {
                let (_, rest) = call.split_once('"').expect("a path that stands there");
                let (path, rest) = rest.split_once('"').unwrap();
                let (method, _) =
                    rest.trim_start_matches([',', ' ', '\n']).split_once('(').unwrap();
                assert!(["get", "post"].contains(&method), "{path}: {method} is not told apart");
                assert!(found.insert((method.to_uppercase(), path.to_owned())), "{path} twice");
            }
        }
    }

    #[test]
    fn the_table_is_all_that_the_router_knows() {
        let mut found = BTreeSet::new();
        routes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control"), &mut found);
        let row = |entry: &Entry| (entry.method.to_owned(), entry.path.to_owned());
        let table: BTreeSet<_> = TABLE.iter().map(row).collect();
        assert_eq!(table.len(), TABLE.len(), "something is there twice");
        assert_eq!(found, table);
    }
}
