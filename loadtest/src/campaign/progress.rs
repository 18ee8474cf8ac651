//! What is going on, live: two bars on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Bars for what was accepted and what was delivered.
pub(crate) struct Progress {
    bars: Option<(MultiProgress, ProgressBar, ProgressBar)>,
    total: u64,
    start: Instant,
    last_line: Instant,
}

impl Progress {
    pub(crate) fn new(total: u64) -> Self {
        let bars = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let bar = |name| {
                let bar = all.add(ProgressBar::new(total).with_style(style()));
                bar.set_prefix(name);
                bar
            };
            let (accepted, delivered) = (bar("accepted"), bar("delivered"));
            (all, accepted, delivered)
        });
        let start = Instant::now();
        Self { bars, total, start, last_line: start }
    }

    /// Shows the counts of now.
    pub(crate) fn show(&mut self, accepted: u64, delivered: u64) {
        if let Some((_, accepted_bar, delivered_bar)) = &self.bars {
            accepted_bar.set_position(accepted);
            delivered_bar.set_position(delivered);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let (total, seconds) = (self.total, self.start.elapsed().as_secs_f64());
            eprintln!(
                "{seconds:6.1} s  accepted {accepted}/{total}  delivered {delivered}/{total}"
            );
        }
    }

    /// Says something without disturbing the bars.
    pub(crate) fn say(&self, text: &str) {
        match &self.bars {
            // Only a terminal that is gone cannot be written to.
            Some((all, _, _)) => all.println(text).unwrap_or(()),
            None => eprintln!("{text}"),
        }
    }

    /// Leaves the last state on the screen.
    pub(crate) fn finish(&mut self, accepted: u64, delivered: u64) {
        self.show(accepted, delivered);
        if let Some((_, accepted_bar, delivered_bar)) = &self.bars {
            accepted_bar.abandon();
            delivered_bar.abandon();
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template(
        "{prefix:>9} [{bar:40}] {pos}/{len} {per_sec:>14} {elapsed_precise}",
    )
    .expect("the template is right")
    .progress_chars("=> ")
}
