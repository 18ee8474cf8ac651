//! Write the reference of knobs: what `relay-fast knobs` prints and `docs/knobs.md` includes.

use crate::config::knob::{Knob, TakesEffect};
use crate::config::knobs;

/// A Markdown table with a row for each knob.
pub fn render() -> String {
    let mut text = String::from(
        "| knob | unit | default | range | what it does | what it costs | a change needs |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for knob in knobs::ALL {
        text.push_str(&row(knob));
    }
    text
}

fn row(knob: &Knob) -> String {
    let change = match knob.takes_effect {
        TakesEffect::Reload => "reload",
        TakesEffect::Restart => "restart",
    };
    format!(
        "| `{}` | {} | {} | {} | {} | {} | {change} |\n",
        knob.path,
        knob.unit(),
        knob.default_text(),
        knob.range_text(),
        knob.help,
        knob.cost,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_has_a_row_and_nothing_breaks_the_table() {
        let table = render();
        assert_eq!(table.lines().count(), knobs::ALL.len() + 2);
        let cells = |line: &str| line.matches('|').count();
        assert!(table.lines().all(|line| cells(line) == 8), "{table}");
        for knob in knobs::ALL {
            assert!(knob.help.ends_with('.') && !knob.cost.is_empty(), "{}", knob.path);
            assert!(knob.help.len() <= 90, "{}", knob.path);
        }
    }

    #[test]
    fn no_knob_is_listed_twice() {
        let mut paths: Vec<_> = knobs::ALL.iter().map(|knob| knob.path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), knobs::ALL.len());
    }
}
