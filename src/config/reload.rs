//! Say what a reload would change, and refuse it whole where a part needs a restart.
//!
//! In: the configuration in force and the one to come. Out: the changes, or why not. A reload is
//! all or nothing: an operator who sees "reloaded" can trust that every line of the file is in
//! force.

use std::collections::BTreeMap;
use std::fmt;

use crate::config::knob::{Knob, TakesEffect};
use crate::config::options::Config;

/// One value that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// As `upstream[0].connections`.
    pub path: Box<str>,
    /// The value in force; `None` where there was nothing.
    pub before: Option<Box<str>>,
    /// The value to come; `None` where there is nothing any more.
    pub after: Option<Box<str>>,
    /// When that can be.
    pub takes_effect: TakesEffect,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Box<str>>| value.clone().unwrap_or_else(|| "nothing".into());
        write!(f, "{}: {} -> {}", self.path, shown(&self.before), shown(&self.after))
    }
}

/// Changes that need a restart; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartNeeded(pub Vec<Change>);

impl fmt::Display for RestartNeeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        let changes = changes.join("; ");
        write!(f, "restart to change {changes}, or take that back")
    }
}

impl std::error::Error for RestartNeeded {}

/// What `after` changes of `before`, in the order of paths, if all of it may be without a restart.
pub fn diff(before: &Config, after: &Config) -> Result<Vec<Change>, RestartNeeded> {
    let changes = changes(before, after).into_iter();
    let (changes, refused): (Vec<_>, Vec<_>) =
        changes.partition(|change| change.takes_effect == TakesEffect::Reload);
    if refused.is_empty() { Ok(changes) } else { Err(RestartNeeded(refused)) }
}

/// What `after` has otherwise than `before`, in the order of paths.
pub fn changes(before: &Config, after: &Config) -> Vec<Change> {
    let (before, after) = (values(before), values(after));
    let mut paths: Vec<_> = before.keys().chain(after.keys()).copied().collect();
    paths.sort_unstable();
    paths.dedup();
    let mut changes = Vec::new();
    for path in paths {
        let (old, new) = (before.get(path), after.get(path));
        let Some((knob, _)) = old.or(new) else { continue };
        if old == new {
            continue;
        }
        let value = |side: Option<&(&Knob, &str)>| side.map(|(_, value)| (*value).into());
        let (before, after) = (value(old), value(new));
        let takes_effect = knob.takes_effect;
        changes.push(Change { path: path.into(), before, after, takes_effect });
    }
    changes
}

fn values(config: &Config) -> BTreeMap<&str, (&Knob, &str)> {
    config.in_force.iter().map(|row| (&*row.path, (row.knob, &*row.value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::flags::{Flags, Machine};
    use crate::config::parse::{File, load};

    fn read(text: &str) -> Config {
        let machine =
            Machine { hostname: String::from("node.example"), cpus: 2, ..Machine::default() };
        let flags = Flags { spool: Some(String::from("/spool")), ..Flags::default() };
        let file = File { name: "relay.toml", text };
        load(Some(file), &flags, &machine).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn changed(before: &str, after: &str) -> Result<Vec<String>, String> {
        let changes = diff(&read(before), &read(after)).map_err(|error| error.to_string())?;
        Ok(changes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_same_values_are_no_change_wherever_they_stand() {
        let changes = changed("drain_deadline = \"60s\"", "# moved\n\ndrain_deadline = \"1m\"\n");
        assert_eq!(changes, Ok(vec![]));
    }

    #[test]
    fn what_may_change_is_listed() {
        let group = "[[upstream]]\nname = \"g\"\nhosts = \"a.example\"\n";
        let more = format!("{group}connections = 9\n[queue]\nlifetime = \"2d\"\n");
        let changes = changed(group, &more).expect("reloadable");
        assert_eq!(
            changes,
            ["queue.lifetime: \"5d\" -> \"2d\"", "upstream[0].connections: 100 -> 9"]
        );
        let added = changed("", group).expect("reloadable");
        assert!(added.contains(&String::from("upstream[0].name: nothing -> \"g\"")));
    }

    #[test]
    fn what_needs_a_restart_refuses_the_whole_reload() {
        let after = "cores = 3\n[queue]\nlifetime = \"2d\"\n";
        let refusal = changed("", after).expect_err("cores");
        assert_eq!(refusal, "restart to change cores: 2 -> 3, or take that back");
        let one = "[[listener]]\naddress = \"127.0.0.1:2525\"\n";
        let other = "[[listener]]\naddress = \"127.0.0.1:26\"\n";
        assert!(changed(one, &format!("{one}{other}")).is_err());
        assert!(changed(&format!("{one}{other}"), one).is_err());
        assert!(changed(one, other).is_err());
        assert!(changed("", "[spool]\nsegment_size = \"32MiB\"").is_err());
        assert!(changed("", "[admin]\nlisten = [\"127.0.0.1:1\"]").is_err());
        assert!(changed("", "[spool]\ndirectory = \"/elsewhere\"").is_ok(), "the flag holds");
    }
}
