//! The rounds of all servers as a table, and how many times the relay's CPU each used.

use std::fmt::Write as _;

use super::server::Promise;

/// What a round of one server came to.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) cpu_us: f64,
    pub(super) accepted_per_s: f64,
    pub(super) delivered_per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// A server and its rounds.
#[derive(Clone, Debug)]
pub(super) struct Row {
    name: String,
    promise: Promise,
    pub(super) rounds: Vec<Round>,
}

impl Row {
    /// A server before its first round.
    pub(super) fn new(name: &str, promise: Promise) -> Self {
        Self { name: name.to_owned(), promise, rounds: Vec::new() }
    }

    fn median_us(&self) -> f64 {
        let mut all: Vec<f64> = self.rounds.iter().map(|round| round.cpu_us).collect();
        all.sort_by(f64::total_cmp);
        let middle = all.len() / 2;
        if all.len() % 2 == 1 { all[middle] } else { f64::midpoint(all[middle - 1], all[middle]) }
    }

    fn lines(&self, width: usize) -> String {
        let mut out = String::new();
        for (number, round) in self.rounds.iter().enumerate() {
            let (name, promise) =
                if number == 0 { (self.name.as_str(), self.promise.word()) } else { ("", "") };
            let Round { cpu_us, accepted_per_s, delivered_per_s, p50_ms, p99_ms } = round;
            let line = format!(
                "{name:<width$}{cpu_us:>16.1}{accepted_per_s:>12.0}{delivered_per_s:>13.0}\
                 {p50_ms:>12.2}{p99_ms:>12.2}  {promise}"
            );
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// How many times the CPU of `ours`, and what to think of that.
    fn ratio(&self, ours: &Self) -> String {
        let (name, theirs, ours) = (&self.name, self.median_us(), ours.median_us());
        let times = theirs / ours.max(f64::MIN_POSITIVE);
        let less = match self.promise {
            Promise::Synced => "",
            Promise::ContentSynced => {
                " Its 250 promises less: a power cut may take the file's name."
            }
            Promise::NotSynced => " Its 250 promises less: a power cut may take the message.",
        };
        format!(
            "{name} uses {times:.1} times the CPU of relay-fast for a message (medians {theirs:.0} \
             and {ours:.0} µs).{less}\n"
        )
    }
}

/// The table of all rounds, a line of ratio for each of `theirs`, and who is `left_out`, and why.
pub(super) fn text(theirs: &[Row], ours: &Row, left_out: &[String]) -> String {
    let rows = || theirs.iter().chain([ours]);
    let width = rows().map(|row| row.name.chars().count()).max().unwrap_or_default();
    let mut out = format!(
        "{:<width$}{:>16}{:>12}{:>13}{:>12}{:>12}  before 250\n",
        "", "CPU µs/message", "accepted/s", "delivered/s", "p50 ms", "p99 ms"
    );
    out.extend(rows().map(|row| row.lines(width)));
    out.push('\n');
    out.extend(theirs.iter().map(|row| row.ratio(ours)));
    for why in left_out {
        writeln!(out, "Without {why}.").expect("memory takes every write");
    }
    out.push_str(
        "Note: all on one machine, over loopback; p50 and p99 are those of the final 250.\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, promise: Promise, cpu_us: &[f64]) -> Row {
        let round = |cpu_us: &f64| Round {
            cpu_us: *cpu_us,
            accepted_per_s: 1.0,
            delivered_per_s: 1.0,
            p50_ms: 1.0,
            p99_ms: 2.5,
        };
        Row { rounds: cpu_us.iter().map(round).collect(), ..Row::new(name, promise) }
    }

    #[test]
    fn each_peer_has_its_rounds_and_a_ratio_of_medians() {
        let theirs = [
            row("Postfix 3", Promise::Synced, &[2_000.0, 9_000.0, 1_000.0]),
            row("OpenSMTPD 6.8.0p2", Promise::NotSynced, &[400.0, 400.0, 400.0]),
        ];
        let ours = row("relay-fast", Promise::Synced, &[100.0, 60.0]);
        let text = text(&theirs, &ours, &["Exim: not installed".to_owned()]);
        for words in [
            "\nPostfix 3 uses 25.0 times the CPU of relay-fast for a message (medians 2000 and \
             80 µs).\n",
            "\nOpenSMTPD 6.8.0p2 uses 5.0 times the CPU of relay-fast for a message (medians 400 \
             and 80 µs). Its 250 promises less: a power cut may take the message.\n",
            "\nWithout Exim: not installed.\n",
        ] {
            assert!(text.contains(words), "{text}");
        }
        let rounds = text.lines().skip(1).take_while(|line| !line.is_empty()).count();
        assert_eq!(rounds, 3 + 3 + 2, "{text}");
        assert_eq!(text.matches("  not synced\n").count(), 1, "{text}");
        assert_eq!(text.matches("  synced\n").count(), 2, "{text}");
    }

    #[test]
    fn columns_stand_below_their_heads() {
        let theirs = [row("OpenSMTPD 6.8.0p2", Promise::ContentSynced, &[12.0])];
        let ours = row("relay-fast", Promise::Synced, &[1.0]);
        let text = text(&theirs, &ours, &[]);
        let end = |line: &str, words: &str| {
            let (before, _) = line.split_once(words).unwrap();
            before.chars().count() + words.chars().count()
        };
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(end(lines[0], "CPU µs/message"), end(lines[1], "12.0"), "{text}");
        assert_eq!(end(lines[0], "CPU µs/message"), end(lines[2], "1.0"), "{text}");
        assert_eq!(end(lines[0], "p99 ms  "), end(lines[1], "2.50  "), "{text}");
    }
}
