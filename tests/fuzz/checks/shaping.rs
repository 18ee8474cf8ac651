//! Shaping files: what is taken gives every source a shape that it can go by; what is wrong is told
//! with its line.
//!
//! Input: the text of a file.

use relay_fast::base::time::Monotonic;
use relay_fast::egress::shaping::automation::{Refusal, Triggers};
use relay_fast::egress::shaping::{Shape, Shaping, ShapingError, SiteNames, SourceNames};
use relay_fast::mail::address::Domain;
use relay_fast::mail::class::Class;
use relay_fast::mail::status::EnhancedStatus;

use super::taken::assert_clean;

/// The check.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Shaping::new(false, Some(&text)) {
        Ok(shaping) => assert_shapes(&shaping),
        Err(ShapingError::Line { line, what }) => {
            assert!((1..=text.matches('\n').count() + 1).contains(&line), "line {line}");
            assert!(what.len() < 10_000, "{} octets of complaint", what.len());
            assert_clean(&what);
        }
        Err(ShapingError::Pattern(_)) => {}
        Err(ShapingError::TooMany) => panic!("not in so few octets"),
    }
}

fn assert_shapes(shaping: &Shaping) {
    let own = Domain::parse("example.org").expect("a domain");
    let domain = shaping.names(&own).then_some(&own);
    let source = SourceNames { name: "new", address: "192.0.2.7", hello: "new.example.com" };
    for hosts in [&["mx.example.net"][..], &["a.mx.big.example", "b.mx.big.example"], &[]] {
        for (domain, is_upstream) in [(None, false), (domain, false), (None, true)] {
            let site = SiteNames { hosts, domain, is_upstream };
            let (shape, origins) = shaping.explain(&Shape::new(20, 100, None), site, source);
            assert!(shape.connections > 0 && shape.messages_per_connection > 0);
            assert!(shape.rate.is_none_or(|rate| rate.messages > 0 && !rate.per.is_zero()));
            assert!(shape.rate_floor.messages > 0 && !shape.recovery.is_zero());
            assert_eq!(shape.tls, shaping.tls(site));
            origins.iter().flatten().for_each(|origin| assert_clean(origin));
            assert_replies(shaping, site, source);
        }
    }
}

fn assert_replies(shaping: &Shaping, site: SiteNames<'_>, source: SourceNames<'_>) {
    let scope = shaping.automation.scope(site, source);
    let refusal = Refusal {
        code: Some(421),
        status: Some(EnhancedStatus::new(4, 7, 28)),
        text: "too many messages",
        class: Class::RateLimit,
        domain: None,
    };
    let mut triggers = Triggers::default();
    for trigger in shaping.automation.fitting(&scope, &refusal) {
        triggers.note(trigger, &trigger.name, Monotonic(0));
        assert_clean(&trigger.to_string());
    }
    assert!(triggers.in_force(Monotonic(0)).count() <= scope.len());
}
