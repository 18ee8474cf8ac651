//! `relay-fast man` and `completions`: what packages carry beside the program, from the same words
//! that `--help` prints.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use crate::control::cli::Cli;

const NAME: &str = "relay-fast";

/// Write `relay-fast.1` and a page for each verb to `directory`.
pub fn pages(directory: &Path) -> Result<(), String> {
    let mut command = Cli::command().name(NAME).disable_help_subcommand(true);
    command.build();
    page(&command, directory)
}

/// The page of `command`, then those of its verbs: `relay-fast-queue-list.1`.
fn page(command: &Command, directory: &Path) -> Result<(), String> {
    let name = command.get_display_name().unwrap_or(NAME);
    let path = directory.join(format!("{name}.1"));
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text).expect("memory takes every write");
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    for verb in verbs.filter(|verb| verb.get_name() != "help") {
        page(verb, directory)?;
    }
    Ok(())
}

/// What `shell` needs, to `out`.
pub fn completions(shell: Shell, out: &mut impl Write) {
    let mut text = Vec::new();
    generate(shell, &mut Cli::command(), NAME, &mut text);
    // Whoever reads it may have seen enough.
    let _: io::Result<()> = out.write_all(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_a_page_with_its_flags() {
        let folder = tempfile::tempdir().expect("a folder");
        pages(folder.path()).expect("pages");
        let read = |name: &str| {
            let path = folder.path().join(format!("{name}.1"));
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        assert!(read("relay-fast").contains("\\-\\-cores"));
        assert!(read("relay-fast-queue-list").contains("\\-\\-tenant"));
        let mut command = Cli::command();
        command.build();
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let text = read(&format!("relay-fast-{}", verb.get_name()));
            assert!(text.starts_with(".ie") && text.contains(".SH SYNOPSIS"), "{text}");
        }
        assert!(pages(&folder.path().join("nowhere")).is_err());
    }

    #[test]
    fn shells_learn_every_verb() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            completions(shell, &mut text);
            let text = String::from_utf8(text).expect("text");
            for verb in ["check-domain", "shaping", "top"] {
                assert!(text.contains(verb), "{shell}: {verb}");
            }
        }
    }
}
