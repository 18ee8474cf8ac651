//! Point a destination domain to an upstream group or to its MX hosts.
//!
//! The longest rule wins: the domain itself, then `.suffix` by suffix from the longest, then the
//! default. `.example.com` covers every domain below example.com, and not example.com itself. A
//! lookup costs one hash a label.

use hashbrown::HashMap;

use crate::mail::address::Domain;
use crate::mail::route::Route;

/// What holds for domains, and for all below some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByDomain<T> {
    exact: HashMap<Box<str>, T>,
    below: HashMap<Box<str>, T>,
}

impl<T> Default for ByDomain<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), below: HashMap::new() }
    }
}

impl<T: Copy> ByDomain<T> {
    /// For `domain` itself, unless something is there: what is now.
    pub fn insert(&mut self, domain: &Domain, value: T) -> T {
        *self.exact.entry(domain.as_str().into()).or_insert(value)
    }

    /// For every domain below `domain`, unless something is there: what is now.
    pub fn insert_below(&mut self, domain: &Domain, value: T) -> T {
        *self.below.entry(domain.as_str().into()).or_insert(value)
    }

    /// What holds for `domain`.
    pub fn find(&self, domain: &Domain) -> Option<T> {
        let name = domain.as_str();
        if let Some(value) = self.exact.get(name) {
            return Some(*value);
        }
        if self.below.is_empty() {
            return None;
        }
        let suffixes = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
        suffixes.filter_map(|suffix| self.below.get(suffix)).next().copied()
    }
}

/// The table of routes in force. Relay domains are entered like other rules.
#[derive(Clone, Debug)]
pub struct Router {
    rules: ByDomain<Route>,
    default: Route,
}

/// The same domain or suffix was given two different routes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern} has a route already")]
pub struct RouteTaken {
    /// As it was written: `example.com` or `.example.com`.
    pub pattern: Box<str>,
}

impl Router {
    /// A table without rules.
    pub fn new(default: Route) -> Self {
        Self { rules: ByDomain::default(), default }
    }

    /// Route `domain` itself.
    pub fn add_exact(&mut self, domain: &Domain, route: Route) -> Result<(), RouteTaken> {
        let before = self.rules.insert(domain, route);
        let pattern = domain.as_str().into();
        if before == route { Ok(()) } else { Err(RouteTaken { pattern }) }
    }

    /// Route every domain below `domain`.
    pub fn add_below(&mut self, domain: &Domain, route: Route) -> Result<(), RouteTaken> {
        let before = self.rules.insert_below(domain, route);
        let pattern = format!(".{domain}").into();
        if before == route { Ok(()) } else { Err(RouteTaken { pattern }) }
    }

    /// Where mail for `domain` goes.
    pub fn route(&self, domain: &Domain) -> Route {
        self.rules.find(domain).unwrap_or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::route::GroupId;
    use crate::mail::route::TlsLevel;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).expect("a domain")
    }

    fn group(number: u16) -> Route {
        Route::Group(GroupId(number))
    }

    #[test]
    fn the_longest_rule_wins() {
        let mut router = Router::new(Route::Mx(TlsLevel::Opportunistic));
        router.add_below(&domain("com"), group(1)).expect("new");
        router.add_below(&domain("example.com"), group(2)).expect("new");
        router.add_exact(&domain("example.com"), group(3)).expect("new");
        router.add_exact(&domain("a.b.example.com"), group(4)).expect("new");
        for (name, route) in [
            ("example.net", Route::Mx(TlsLevel::Opportunistic)),
            ("com", Route::Mx(TlsLevel::Opportunistic)),
            ("other.com", group(1)),
            ("example.com", group(3)),
            ("b.example.com", group(2)),
            ("a.b.example.com", group(4)),
            ("x.a.b.example.com", group(2)),
            ("notexample.com", group(1)),
            ("[192.0.2.1]", Route::Mx(TlsLevel::Opportunistic)),
        ] {
            assert_eq!(router.route(&domain(name)), route, "{name}");
        }
    }

    #[test]
    fn a_rule_may_be_repeated_but_not_contradicted() {
        let mut router = Router::new(Route::Mx(TlsLevel::Opportunistic));
        assert_eq!(router.add_below(&domain("example.com"), group(1)), Ok(()));
        assert_eq!(router.add_below(&domain("example.com"), group(1)), Ok(()));
        let taken = router.add_below(&domain("example.com"), Route::Mx(TlsLevel::Opportunistic));
        assert_eq!(taken, Err(RouteTaken { pattern: ".example.com".into() }));
    }
}
