//! Sum events up by destination domain and by upstream relay.
//!
//! In: events, in any order, of any time span. Out: a table for a terminal. Unit: times to delivery
//! run from the start of the transaction in to the next hop's reply. Invariant: at most
//! `REPORT_ROWS_MAX` domains and as many upstreams are kept apart, those that come first; a
//! campaign's big destinations come early, and the rest is summed up as "others".

use std::fmt;

use hashbrown::HashMap;

use crate::base::limits::REPORT_ROWS_MAX;
use crate::outcome::event::{Event, Kind};
use crate::outcome::report::classes::Classes;
use crate::outcome::report::row::Row;
use crate::outcome::report::times::Times;

mod classes;
mod row;
mod times;

/// Rows of a table that are shown, biggest first; the others are summed up.
const SHOWN: usize = 25;

/// What came of the recipients that the events tell of.
#[derive(Debug, Default)]
pub struct Report {
    received: u64,
    /// From the end of content to our 250.
    accept: Times,
    all: Row,
    domains: Table,
    upstreams: Table,
    classes: Classes,
}

impl Report {
    /// Take an event into account.
    pub fn add(&mut self, event: &Event<'_>) {
        match event.kind {
            Kind::Received => {
                self.received += 1;
                if let Some(took) = event.accept {
                    self.accept.record(took);
                }
            }
            Kind::Delivered | Kind::Deferred | Kind::Bounced | Kind::Expired | Kind::Removed => {
                self.all.add(event);
                self.domains.row(&event.domain).add(event);
                self.upstreams.row(way(event)).add(event);
                self.classes.add(event);
            }
            Kind::Held | Kind::Released => {}
            Kind::Quarantined | Kind::Refused | Kind::Discarded | Kind::Verified => {}
            Kind::BouncedLater | Kind::Complained | Kind::Returned => {}
            Kind::Opened | Kind::Clicked | Kind::Unsubscribed => {}
        }
    }
}

/// The upstream that an event is counted under.
fn way<'a>(event: &'a Event<'_>) -> &'a str {
    match (event.upstream.is_empty(), event.peer.is_empty()) {
        (false, _) => &event.upstream,
        (true, false) => "(direct to MX)",
        (true, true) => "(none reached)",
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} recipients received; from the end of content to 250: median {}, p99 {}.\n\
             Delivered and bounced (expired and removed ones included) are shares of those that \
             came\nto an end; deferred is the share of attempts.\n",
            self.received,
            self.accept.at(0.5),
            self.accept.at(0.99),
        )?;
        self.domains.write("destination domain", &self.all, f)?;
        writeln!(f)?;
        self.upstreams.write("upstream", &self.all, f)?;
        self.classes.fmt(f)
    }
}

/// Rows by name.
#[derive(Debug, Default)]
struct Table {
    rows: HashMap<String, Row>,
    /// Those who came when the table was full.
    others: Row,
}

impl Table {
    fn row(&mut self, name: &str) -> &mut Row {
        if self.rows.len() >= REPORT_ROWS_MAX && !self.rows.contains_key(name) {
            return &mut self.others;
        }
        self.rows.entry_ref(name).or_default()
    }

    fn write(&self, title: &str, all: &Row, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<_> = self.rows.iter().map(|(name, row)| (name.as_str(), row)).collect();
        rows.sort_by_key(|(name, row)| (std::cmp::Reverse(row.attempts()), *name));
        let shown = &rows[..rows.len().min(SHOWN)];
        let mut others = self.others.clone();
        rows[shown.len()..].iter().for_each(|(_, row)| others.merge(row));

        let heads = ["recipients", "delivered", "deferred", "bounced", "median", "p99"];
        let mut lines = vec![line(title, heads.map(String::from))];
        lines.extend(shown.iter().map(|(name, row)| line(name, row.cells())));
        if others.attempts() > 0 {
            lines.push(line("others", others.cells()));
        }
        lines.push(line("all", all.cells()));
        write_aligned(&lines, f)
    }
}

const COLUMNS: usize = 7;

fn line(name: &str, cells: [String; COLUMNS - 1]) -> [String; COLUMNS] {
    let mut cells = cells.into_iter();
    std::array::from_fn(|column| {
        if column == 0 { short(name) } else { cells.next().expect("one less than columns") }
    })
}

/// A name that fits a terminal and changes nothing on it.
fn short(name: &str) -> String {
    const WIDTH: usize = 40;
    let shown = |character: char| if character.is_control() { '?' } else { character };
    if name.chars().count() <= WIDTH {
        return name.chars().map(shown).collect();
    }
    name.chars().take(WIDTH - 1).map(shown).chain(['…']).collect()
}

/// Names to the left, figures to the right.
fn write_aligned(lines: &[[String; COLUMNS]], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| width(column).unwrap_or(0));
    for line in lines {
        write!(f, "{:<width$}", line[0], width = widths[0])?;
        for (cell, width) in line.iter().zip(widths).skip(1) {
            write!(f, "  {cell:>width$}")?;
        }
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::{MessageId, ShardId};
    use crate::base::time::WallTime;
    use crate::outcome::event::Delays;
    use std::time::Duration;

    fn event<'a>(kind: Kind, domain: &'a str, upstream: &'a str, ms: u64) -> Event<'a> {
        Event {
            domain: domain.into(),
            peer: if kind == Kind::Expired { "" } else { "mx" }.into(),
            upstream: upstream.into(),
            attempt: 1,
            delays: Some(Delays { transmit: Duration::from_millis(ms), ..Delays::default() }),
            accept: (kind == Kind::Received).then_some(Duration::from_millis(3)),
            ..Event::new(kind, MessageId(0), WallTime(0), ShardId(0))
        }
    }

    #[test]
    fn the_table_is_as_documented() {
        let mut report = Report::default();
        for _ in 0..9 {
            report.add(&event(Kind::Received, "big.example", "", 0));
            report.add(&event(Kind::Delivered, "big.example", "one", 40));
        }
        report.add(&event(Kind::Received, "big.example", "", 0));
        let of = |class: &'static str, event| Event { class: class.into(), ..event };
        report.add(&of("bad-mailbox", event(Kind::Bounced, "big.example", "one", 40)));
        report.add(&of("rate-limit", event(Kind::Deferred, "slow.example", "", 40)));
        report.add(&event(Kind::Delivered, "slow.example", "", 90_000));
        report.add(&event(Kind::Expired, "gone.example", "", 0));
        report.add(&event(Kind::Held, "gone.example", "", 0));
        let expected = "\
10 recipients received; from the end of content to 250: median 3 ms, p99 3 ms.
Delivered and bounced (expired and removed ones included) are shares of those that came
to an end; deferred is the share of attempts.

destination domain  recipients  delivered  deferred  bounced   median      p99
big.example                 10      90.0%      0.0%    10.0%    40 ms    40 ms
slow.example                 1     100.0%     50.0%     0.0%  1.5 min  1.5 min
gone.example                 1       0.0%         -   100.0%        -        -
all                         12      83.3%      8.3%    16.7%    40 ms  1.5 min

upstream        recipients  delivered  deferred  bounced   median      p99
one                     10      90.0%      0.0%    10.0%    40 ms    40 ms
(direct to MX)           1     100.0%     50.0%     0.0%  1.5 min  1.5 min
(none reached)           1       0.0%         -   100.0%        -        -
all                     12      83.3%      8.3%    16.7%    40 ms  1.5 min

why             bounced  deferred
bad-mailbox           1         0
rate-limit            0         1
(not said)            1         0
";
        assert_eq!(report.to_string(), expected);
    }

    #[test]
    fn nothing_at_all_is_a_table_too() {
        let text = Report::default().to_string();
        assert!(
            text.contains("\nall                          0          -         -        -"),
            "{text}"
        );
    }

    #[test]
    fn rows_are_bounded_and_nothing_is_lost_by_it() {
        let mut report = Report::default();
        for number in 0..REPORT_ROWS_MAX + 500 {
            report.add(&event(Kind::Delivered, &format!("d{number}.example"), "", 10));
        }
        assert_eq!(report.domains.rows.len(), REPORT_ROWS_MAX);
        assert_eq!(report.domains.others.attempts(), 500);
        let text = report.to_string();
        let others = text.lines().find(|line| line.starts_with("others")).expect("others");
        let counted = (REPORT_ROWS_MAX + 500 - SHOWN).to_string();
        assert_eq!(others.split_whitespace().nth(1), Some(counted.as_str()));
        assert!(text.lines().count() < SHOWN + 15);
    }

    #[test]
    fn a_name_cannot_write_on_the_terminal() {
        assert_eq!(short("a\x1b[2Jb"), "a?[2Jb");
        assert_eq!(short(&"é".repeat(60)).chars().count(), 40);
    }
}
