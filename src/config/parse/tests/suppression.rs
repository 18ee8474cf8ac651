//! `[suppression]`.

use std::time::Duration;

use super::*;
use crate::config::options::{HardBounces, SuppressionOptions};
use crate::policy::suppression::At;

#[test]
fn when_addresses_that_bounce_are_suppressed() {
    let read = |line: &str| {
        read_file(&format!("[suppression]\nat = \"rcpt\"\nhard_bounces = \"{line}\"")).suppression
    };
    let three = HardBounces { count: 3, within: Duration::from_secs(30 * 86_400) };
    assert_eq!(
        read("3 in 30d"),
        SuppressionOptions {
            at: At::Rcpt,
            hard_bounces: Some(three),
            complaints: true,
            unsubscribes: true
        }
    );
    assert_eq!(read("off").hard_bounces, None);
    assert!(!read_file("[suppression]\ncomplaints = \"ignore\"").suppression.complaints);
    assert_eq!(read_file("").suppression.at, At::Off);
    for (wrong, why) in [
        ("3", "3: `3` does not say when"),
        ("x in 3d", "3: `x in 3d` does not say when"),
        ("0 in 3d", "3: `0 in 3d` is out of range"),
        ("101 in 3d", "3: `101 in 3d` is out of range"),
        ("3 in 366d", "3: `3 in 366d` is out of range"),
        ("3 in 0s", "3: `3 in 0s` is out of range"),
        ("3 in soon", "3: "),
    ] {
        let text = format!("[suppression]\nat = \"rcpt\"\nhard_bounces = \"{wrong}\"");
        let found = problems(&text);
        assert!(found.iter().any(|one| one.starts_with(why)), "{wrong}: {found:#?}");
    }
    let off = problems("[suppression]\nhard_bounces = \"1 in 1d\"");
    assert!(off[0].starts_with("2: it fills a list that nobody is looked for on"), "{off:#?}");
}
