//! The configuration file: an error says where, in a way that garbles no terminal; what is accepted
//! is within its bounds, says the same again, and can be described.
//!
//! Input: the file's text.

use relay_fast::base::limits::SHARDS_MAX;
use relay_fast::config::Config;
use relay_fast::config::flags::{Flags, Machine};
use relay_fast::config::parse::{File, load};
use relay_fast::config::reload::diff;

/// The check.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let file = File { name: "relay.toml", text: &text };
    let machine = Machine {
        hostname: String::from("relay.example"),
        cpus: 2,
        state_home: Some("/var/lib".into()),
        home: None,
    };
    let loaded = load(Some(file), &Flags::default(), &machine);
    assert_eq!(loaded, load(Some(file), &Flags::default(), &machine), "not the same again");
    match loaded {
        Ok(config) => assert_config(&config, &machine),
        Err(problems) => {
            assert!(!problems.all().is_empty(), "refused, and nobody is told why");
            let lines = text.matches('\n').count() + 1;
            for problem in problems.all() {
                assert!(!problem.what.is_empty());
                let Some((name, line)) = &problem.line else {
                    panic!("a file's error without its line: {problem}")
                };
                assert_eq!(&**name, "relay.toml");
                assert!((1..=lines).contains(line), "line {line} of {lines}");
                assert!(problem.place.starts_with(&format!("relay.toml:{line}:")));
            }
            let shown = format!("{problems}\n{}", problems.in_one_line());
            assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
}

fn assert_config(config: &Config, machine: &Machine) {
    assert!((1..=SHARDS_MAX).contains(&usize::from(config.cores)));
    assert_eq!(diff(config, config), Ok(Vec::new()));
    let described = config.describe(Some("relay.toml"));
    let file = File { name: "described.toml", text: &described };
    let again = load(Some(file), &Flags::default(), machine);
    let again = again.unwrap_or_else(|problems| panic!("{described}\n{problems}"));
    assert_eq!(diff(config, &again), Ok(Vec::new()), "{described}");
    // Where each value came from is all that may differ.
    let unplaced = |config: &Config| Config { in_force: Vec::new(), ..config.clone() };
    assert_eq!(unplaced(config), unplaced(&again), "{described}");
}
