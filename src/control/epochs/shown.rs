//! The subcommands `relay-fast config` and `relay-fast reload`, for a terminal.

use std::fmt::Write as _;

use clap::Args;

use crate::control::epochs::{ChangeRow, Page, Reloaded};
use crate::control::queue::{AskError, Node};

/// What is shown.
#[derive(Args)]
pub struct ShowConfig {
    /// Values that nobody set, too
    #[arg(long)]
    pub all: bool,
    /// The answer as it is: one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What is in force at a node, and what is written.
pub fn config(node: &Node, show: &ShowConfig) -> Result<String, AskError> {
    if show.json {
        return Ok(node.fetch::<serde_json::Value>("config", &[])?.to_string() + "\n");
    }
    Ok(told(&node.fetch("config", &[])?, show.all))
}

/// Have a node put in force what is written.
pub fn reload(node: &Node) -> Result<String, AskError> {
    let Reloaded { epoch, changed } = node.tell("config/reload", &[], None)?;
    let mut out = format!("reloaded: epoch {epoch}, {}\n", count(changed.len()));
    lines(&changed, &mut out);
    Ok(out)
}

fn count(changes: usize) -> String {
    if changes == 1 { "1 value changed".to_owned() } else { format!("{changes} values changed") }
}

fn lines(changes: &[ChangeRow], out: &mut String) {
    for ChangeRow { path, before, after, takes_effect } in changes {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        let restart = if takes_effect == "restart" { "  (at a restart)" } else { "" };
        let _ = writeln!(out, "  {path}: {} -> {}{restart}", shown(before), shown(after));
    }
}

fn told(page: &Page, all: bool) -> String {
    let how = match page.how.as_str() {
        "start" => "since the start",
        "signal" => "by SIGHUP",
        "files" => "since a file that it names changed",
        _ => "by `relay-fast reload`",
    };
    let mut out = format!("epoch {}, in force {how}, {}\n", page.epoch, page.since);
    if !page.changed.is_empty() {
        out.push_str("it changed\n");
        lines(&page.changed, &mut out);
    }
    if let Some(refused) = &page.refused {
        let _ = writeln!(out, "a reload was refused {}: {}", refused.at, refused.why);
    }
    match (&page.problem, page.differs.is_empty()) {
        (Some(problem), _) => {
            let _ = writeln!(out, "what is written cannot be put in force: {problem}");
        }
        (None, true) => out.push_str("what is written is in force\n"),
        (None, false) => {
            out.push_str("what is written differs\n");
            lines(&page.differs, &mut out);
        }
    }
    out.push('\n');
    let rows = page.knobs.iter().filter(|row| all || row.origin != "default");
    for row in rows {
        let _ = writeln!(out, "{} = {}  # {}", row.path, row.value, row.origin);
    }
    out
}
