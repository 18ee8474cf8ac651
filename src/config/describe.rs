//! Print what is in force, each value with its origin, for `relay-fast check`.
//!
//! Out: a configuration file. Invariant: read back, it means the same; what is not set stands in a
//! comment with what holds instead.

use crate::base::limits::ALIGNED_MAX;
use crate::config::knobs;
use crate::config::options::Config;
use crate::config::origin::InForce;

impl Config {
    /// Everything in force; `file` is the configuration file's name, if there is one.
    pub fn describe(&self, file: Option<&str>) -> String {
        let mut text = String::new();
        for section in sections(&self.in_force) {
            let rows: Vec<_> =
                self.in_force.iter().filter(|row| section_of(row) == section).collect();
            if let Some(row) = rows.first().filter(|_| !section.is_empty()) {
                text.push_str(&format!("\n{}\n", header(row.knob.section())));
            }
            let assignments = rows.iter().map(|row| assignment(row).chars().count());
            let width = assignments.filter(|width| *width <= ALIGNED_MAX).max().unwrap_or(0);
            for row in rows {
                let origin = row.origin.told(file);
                text.push_str(&format!("{:width$}  # {origin}\n", assignment(row)));
            }
            unset(self, section, &mut text);
        }
        text
    }
}

/// Sections in the order they were read, but the top of the file first, as TOML wants it.
fn sections(rows: &[InForce]) -> Vec<&str> {
    let mut sections = vec![""];
    for row in rows {
        if !sections.contains(&section_of(row)) {
            sections.push(section_of(row));
        }
    }
    sections
}

/// `listener[0]` of `listener[0].address`.
fn section_of(row: &InForce) -> &str {
    row.path.rsplit_once('.').map_or("", |(section, _)| section)
}

fn header(section: &str) -> String {
    match section.strip_suffix("[]") {
        Some(name) => format!("[[{name}]]"),
        None => format!("[{section}]"),
    }
}

fn assignment(row: &InForce) -> String {
    format!("{} = {}", row.knob.key(), row.value)
}

/// Say of knobs that nobody set what holds instead.
fn unset(config: &Config, section: &str, text: &mut String) {
    for knob in knobs::ALL.iter().filter(|knob| knob.section() == section) {
        if !config.in_force.iter().any(|row| row.knob == *knob) {
            text.push_str(&format!("# {}: {}\n", knob.key(), knob.default_text()));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::flags::{Flags, Machine};
    use crate::config::options::Config;
    use crate::config::parse::{File, load};

    const TEXT: &str = "default_route = \"g\"\n[[listener]]\naddress = \"127.0.0.1:25\"\n\
        [[listener]]\naddress = \"[::1]:25\"\nrelay_for = []\n[[upstream]]\nname = \"g\"\n\
        hosts = \"a.example;b.example*2\"\nrate = \"5/h\"\n[[relay_domain]]\n\
        domains = [\"example.com\", \".example.net\"]\nupstream = \"g\"\n[queue]\n\
        retry_factor = 1.25\n[[source]]\naddress = \"192.0.2.1\"\n\
        [[milter]]\nname = \"m\"\naddress = \"127.0.0.1:8891\"\n";

    fn read(name: &str, text: &str, flags: &Flags) -> Config {
        let machine =
            Machine { hostname: String::from("node.example"), cpus: 2, ..Machine::default() };
        let file = File { name, text };
        load(Some(file), flags, &machine).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
    }

    #[test]
    fn what_is_printed_is_a_file_that_means_the_same() {
        let flags = Flags {
            spool: Some(String::from("/tmp/\"odd\" \\ name")),
            upstream: Some(String::from("[2001:db8::1]:26")),
            ..Flags::default()
        };
        let config = read("relay.toml", TEXT, &flags);
        let printed = config.describe(Some("relay.toml"));
        let again = read("again.toml", &printed, &Flags::default());
        let plain = |config: Config| Config { in_force: Vec::new(), ..config };
        assert_eq!(plain(again), plain(config));
    }

    #[test]
    fn each_value_stands_with_its_origin() {
        let flags = Flags { cores: Some(String::from("3")), ..Flags::default() };
        let flags = Flags { spool: Some(String::from("/spool")), ..flags };
        let printed = read("relay.toml", TEXT, &flags).describe(Some("relay.toml"));
        let origin = |assignment: &str| {
            let line = printed.lines().find(|line| line.starts_with(assignment));
            line.and_then(|line| line.split_once("  # ")).map(|(_, origin)| origin)
        };
        assert_eq!(origin("cores = 3"), Some("--cores"));
        assert_eq!(origin("default_route = \"g\""), Some("relay.toml:1"));
        assert_eq!(origin("rate = \"5/h\""), Some("relay.toml:10"));
        assert_eq!(origin("hostname = \"node.example\""), Some("default"));
        assert!(printed.contains("\n# postmaster: none: refused\n"), "{printed}");
    }
}
