//! What holds for every knob alike.

use super::*;
use crate::config::knob::{Kind, Knob};
use crate::config::knobs;

/// A file in which one knob is `value`, the others of its section whatever they must be, and the
/// line that it is on.
fn file_with(knob: &Knob, value: &str) -> (String, usize) {
    let assignment = format!("{} = {value}\n", knob.key());
    let required = match knob.section() {
        "listener[]" => "address = \"127.0.0.1:1\"\n",
        "upstream[]" => "name = \"g\"\nhosts = \"h\"\n",
        "relay_domain[]" => "domains = []\nupstream = \"g\"\nrecipients = \"callout\"\n",
        "route[]" => "domains = []\nto = \"mx\"\n",
        "dkim[]" => "domain = \"d.example\"\nselector = \"s\"\nkey = \"/k\"\n",
        "source[]" => match knob.key() {
            "warm_up" => "address = \"192.0.2.1\"\nwarm_up_from = \"2026-11-01\"\n",
            "warm_up_from" => "address = \"192.0.2.1\"\nwarm_up = \"default\"\n",
            "proxy_login" => "address = \"192.0.2.1\"\nproxy = \"socks5://192.0.2.9:1080\"\n",
            _ => "address = \"192.0.2.1\"\ncertificate = \"c\"\nkey = \"k\"\n",
        },
        "warm_up[]" => "name = \"w\"\ndays = [1]\n",
        "pool[]" => "name = \"p\"\nsources = [\"192.0.2.1\"]\n",
        "exporter[]" => match knob.key() {
            "subject" | "credentials" => {
                "name = \"e\"\nkind = \"nats\"\nto = \"nats://127.0.0.1\"\n"
            }
            "secret" => "name = \"e\"\nkind = \"webhook\"\nto = \"https://e.example\"\n",
            _ => "name = \"e\"\nkind = \"file\"\nto = \"/e\"\n",
        },
        "milter[]" => "name = \"m\"\naddress = \"127.0.0.1:1\"\n",
        "tenant[]" => "name = \"t\"\n",
        "token[]" => "name = \"t\"\nfile = \"/t\"\nrole = \"inject\"\n",
        "campaign[]" => "name = \"c\"\n",
        "block_list[]" => "zone = \"l.example\"\n",
        "certificate[]" => "file = \"c\"\nkey = \"k\"\n",
        _ => "",
    };
    let certificate = "[[certificate]]\nfile = \"c\"\nkey = \"k\"\n";
    let certificate = if knob.path == "listener[].tls" { certificate } else { "" };
    let header = match knob.section() {
        "" => String::new(),
        section => match section.strip_suffix("[]") {
            Some(name) => format!("[[{name}]]\n"),
            None => format!("[{section}]\n"),
        },
    };
    let others = required.lines().filter(|line| !line.starts_with(knob.key()));
    let others: String = others.map(|line| format!("{line}\n")).collect();
    let group = "[[upstream]]\nname = \"g\"\nhosts = \"h\"\n";
    let group = if knob.section() == "relay_domain[]" { group } else { "" };
    let line = header.lines().count() + 1;
    (format!("{header}{assignment}{others}{group}{certificate}"), line)
}

#[test]
fn every_knob_is_read_and_refuses_what_it_cannot_take() {
    for knob in knobs::ALL {
        let (text, line) = file_with(knob, "true");
        let found = problems(&text);
        assert!(found.iter().any(|one| one.starts_with(&format!("{line}: "))), "{text}{found:#?}");
        let rows = match knob.section() {
            "" => read_file("").in_force,
            _ => read_file(WHOLE).in_force,
        };
        let is_in_force = rows.iter().any(|row| row.knob == *knob);
        let may_be_absent = ["postmaster", "user", "dns.servers"].contains(&knob.path);
        assert!(is_in_force || may_be_absent, "{} is in force unseen", knob.path);
    }
}

#[test]
fn every_default_and_both_ends_of_every_range_can_be_written() {
    for knob in knobs::ALL {
        let texts = match knob.kind {
            Kind::Count { default, least, most, .. } => {
                vec![least.to_string(), most.to_string(), default.unwrap_or(1).to_string()]
            }
            Kind::Decimal { .. } => vec![knob.default_text()],
            Kind::Size { .. } | Kind::Duration { .. } | Kind::Rate { .. } | Kind::Choice { .. } => {
                vec![quoted(&knob.default_text())]
            }
            Kind::List { default, .. } if default.starts_with('[') => vec![default.to_owned()],
            Kind::Text { .. } | Kind::List { .. } => continue,
        };
        for value in texts {
            let (text, _) = file_with(knob, &value);
            read_file(&text);
        }
        let Kind::Count { least, most, .. } = knob.kind else { continue };
        for value in [least - 1, most + 1].map(|value| value.to_string()) {
            assert!(
                problems(&file_with(knob, &value).0)[0].contains("out of range"),
                "{}",
                knob.path
            );
        }
    }
}

#[test]
fn a_file_made_of_defaults_is_the_default() {
    let mut text = String::new();
    let mut section = "";
    for knob in knobs::ALL.iter().filter(|knob| !knob.section().ends_with("[]")) {
        if knob.section() != section {
            section = knob.section();
            text += &format!("[{section}]\n");
        }
        let value = match knob.kind {
            Kind::Count { default: Some(default), .. } => default.to_string(),
            Kind::Decimal { .. } => knob.default_text(),
            Kind::Size { .. } | Kind::Duration { .. } | Kind::Rate { .. } | Kind::Choice { .. } => {
                quoted(&knob.default_text())
            }
            Kind::Count { .. } | Kind::Text { .. } | Kind::List { .. } => continue,
        };
        text += &format!("{} = {value}\n", knob.key());
    }
    let written = Config { in_force: Vec::new(), ..read_file(&text) };
    assert_eq!(written, Config { in_force: Vec::new(), ..read_file("") });
}
