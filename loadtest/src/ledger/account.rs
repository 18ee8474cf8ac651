//! The ledger itself: lines in, one account out, without files.
//!
//! The unit is a recipient of a message. Invariant: accepted = delivered + bounced + spared +
//! queued + lost, where a recipient that was both delivered and bounced counts as delivered.

use std::fmt::Write as _;

use hashbrown::HashMap;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::source::{latencies, quantiles};

/// What is known of one recipient of one message.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    accepted: bool,
    /// Copies that the source sent whole; more than one may rightly arrive.
    copies: u32,
    intended_ms: u64,
    delivered: u32,
    first_delivered_ms: u64,
    bounced: bool,
    changed: bool,
    /// Nothing is to be sent to them, and no word of that either.
    spared: bool,
}

/// What a sink saw of one recipient that was accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Deliveries.
    pub(crate) delivered: u32,
    pub(crate) bounced: bool,
    /// Nothing was to be sent to them.
    pub(crate) spared: bool,
}

/// Lines read so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: HashMap<String, Entry>,
    key: String,
    foreign: u64,
    unreadable: u64,
}

/// What became of everything.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) bounced: u64,
    /// Those that nothing was to be sent to, and nothing was.
    pub(crate) spared: u64,
    pub(crate) queued: u64,
    pub(crate) lost: u64,
    /// Accepted and nowhere seen: the lost ones, and those in the queue, which nobody can tell
    /// apart by name.
    pub(crate) missing: Vec<String>,
    /// Deliveries beyond the first of a recipient.
    pub(crate) duplicates: u64,
    /// Those of them that the source had sent again itself.
    pub(crate) duplicates_of_source: u64,
    pub(crate) duplicated: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) bounced_and_delivered: Vec<String>,
    /// Seen at a sink without having been accepted: the 250 was lost on the way.
    pub(crate) never_accepted: u64,
    /// Lines about mail that is no load message.
    pub(crate) foreign: u64,
    pub(crate) unreadable: u64,
    /// From the intended send time to the first delivery, in microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Ledger {
    /// Takes a line of an accepted file: id, unix ms, copies, recipients; or an id alone.
    pub(crate) fn accept(&mut self, line: &str) {
        let mut words = line.split(' ');
        let id = words.next().unwrap_or_default();
        if id.is_empty() {
            self.unreadable += 1;
            return;
        }
        let (Some(time), Some(copies)) = (words.next(), words.next()) else {
            self.entry(id, "*").accepted = true;
            return;
        };
        let (Ok(intended_ms), Ok(copies)) = (time.parse(), copies.parse::<u32>()) else {
            self.unreadable += 1;
            return;
        };
        for recipient in words {
            let entry = self.entry(id, recipient);
            entry.accepted = true;
            entry.copies = entry.copies.max(copies);
            entry.intended_ms = intended_ms;
        }
    }

    /// Takes a line of a received file: id, listener, recipient, unix ms, kind; `spared` is said by
    /// who knows that the recipient is on a suppression list.
    pub(crate) fn receive(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, _, recipient, time, kind] = words[..] else {
            self.unreadable += 1;
            return;
        };
        let Ok(unix_ms) = time.parse() else {
            self.unreadable += 1;
            return;
        };
        if id == "-" {
            self.foreign += 1;
            return;
        }
        let recipient = if self.knows_id_alone(id) { "*" } else { recipient };
        let entry = self.entry(id, recipient);
        match kind.strip_prefix("dsn:") {
            Some(report) => entry.bounced |= report.starts_with("failed"),
            None if kind == "spared" => entry.spared = true,
            None => {
                if entry.delivered == 0 || unix_ms < entry.first_delivered_ms {
                    entry.first_delivered_ms = unix_ms;
                }
                entry.delivered += 1;
                entry.changed |= kind != "ok";
            }
        }
    }

    /// The account, where the relay says that it queues `queued` recipients.
    pub(crate) fn account(&self, queued: u64) -> Account {
        let mut account = Account::new(self.foreign, self.unreadable);
        for (name, entry) in &self.entries {
            account.enter(name, entry);
        }
        let missing = account.missing.len() as u64;
        account.queued = queued.min(missing);
        account.lost = missing - account.queued;
        for names in [
            &mut account.missing,
            &mut account.duplicated,
            &mut account.changed,
            &mut account.bounced_and_delivered,
        ] {
            names.sort_unstable();
        }
        account
    }

    /// Id and address of each recipient that was accepted, and what was seen of it.
    pub(crate) fn each(&self, mut look: impl FnMut(&str, &str, Seen)) {
        for (name, entry) in self.entries.iter().filter(|(_, entry)| entry.accepted) {
            if let Some((id, recipient)) = name.split_once(' ') {
                let Entry { delivered, bounced, spared, .. } = *entry;
                look(id, recipient, Seen { delivered, bounced, spared });
            }
        }
    }

    /// How often the source sent the message of `name`, which is `id recipient`.
    pub(crate) fn copies_of(&self, name: &str) -> u32 {
        self.entries.get(name).map_or(0, |entry| entry.copies)
    }

    fn entry(&mut self, id: &str, recipient: &str) -> &mut Entry {
        self.write_key(id, recipient);
        self.entries.entry_ref(self.key.as_str()).or_default()
    }

    fn knows_id_alone(&mut self, id: &str) -> bool {
        self.write_key(id, "*");
        self.entries.contains_key(self.key.as_str())
    }

    fn write_key(&mut self, id: &str, recipient: &str) {
        self.key.clear();
        self.key.push_str(id);
        self.key.push(' ');
        self.key.push_str(recipient);
    }
}

impl Account {
    fn new(foreign: u64, unreadable: u64) -> Self {
        Self {
            accepted: 0,
            delivered: 0,
            bounced: 0,
            spared: 0,
            queued: 0,
            lost: 0,
            missing: Vec::new(),
            duplicates: 0,
            duplicates_of_source: 0,
            duplicated: Vec::new(),
            changed: Vec::new(),
            bounced_and_delivered: Vec::new(),
            never_accepted: 0,
            foreign,
            unreadable,
            latency: latencies(),
        }
    }

    fn enter(&mut self, name: &str, entry: &Entry) {
        if entry.delivered > 1 {
            let extra = u64::from(entry.delivered - 1);
            self.duplicates += extra;
            self.duplicates_of_source += extra.min(u64::from(entry.copies.saturating_sub(1)));
            self.duplicated.push(name.to_owned());
        }
        if entry.changed {
            self.changed.push(name.to_owned());
        }
        if entry.delivered > 0 && entry.bounced {
            self.bounced_and_delivered.push(name.to_owned());
        }
        if !entry.accepted {
            self.never_accepted += 1;
            return;
        }
        self.accepted += 1;
        if entry.delivered > 0 {
            self.delivered += 1;
            let ms = entry.first_delivered_ms.saturating_sub(entry.intended_ms);
            self.latency.saturating_record(ms.saturating_mul(1_000));
        } else if entry.bounced {
            self.bounced += 1;
        } else if entry.spared {
            self.spared += 1;
        } else {
            self.missing.push(name.to_owned());
        }
    }

    /// Whether nothing was lost and nothing changed on the way.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.changed.is_empty()
    }

    /// The account for a terminal, with `list` ids of each kind at most.
    pub(crate) fn text(&self, list: usize) -> String {
        let [p50, p99, p999, most] = quantiles(&self.latency);
        let mut out = format!(
            "accepted    {:>10} recipients\ndelivered   {:>10}\nbounced     {:>10}\n\
             queued      {:>10}\nlost        {:>10}\n\
             duplicates  {:>10}  ({} of them sent again by the source itself)\n\
             changed     {:>10}\n\
             {} = {} + {} + {}{}\n\
             end to end  p50 {p50:.0} ms, p99 {p99:.0} ms, p99.9 {p999:.0} ms, max {most:.0} ms\n",
            self.accepted,
            self.delivered,
            self.bounced,
            self.queued,
            self.lost,
            self.duplicates,
            self.duplicates_of_source,
            self.changed.len(),
            self.accepted,
            self.delivered,
            self.bounced,
            self.queued,
            [(self.spared, "spared"), (self.lost, "LOST")]
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, word)| format!(" + {count} {word}"))
                .collect::<String>(),
        );
        for (count, words) in [
            (self.spared, "recipients of a suppression list were sent nothing"),
            (self.never_accepted, "recipients arrived whose 250 never reached the source"),
            (self.foreign, "recipients arrived of mail that is not ours"),
            (self.unreadable, "lines could not be read"),
        ] {
            if count > 0 {
                writeln!(out, "{count} {words}").expect("memory takes every write");
            }
        }
        let missing = if self.lost > 0 { &self.missing[..] } else { &[] };
        for (names, words) in [
            (missing, "lost, or queued: accepted and nowhere seen"),
            (&self.duplicated, "duplicated"),
            (&self.changed, "changed on the way"),
            (&self.bounced_and_delivered, "bounced and delivered"),
        ] {
            if !names.is_empty() {
                writeln!(out, "{words} ({}):", names.len()).expect("memory takes every write");
            }
            for name in names.iter().take(list) {
                writeln!(out, "  {name}").expect("memory takes every write");
            }
        }
        out
    }

    /// The account for a machine, every id included.
    pub(crate) fn json(&self) -> Value {
        let [p50, p99, p999, most] = quantiles(&self.latency);
        json!({
            "accepted": self.accepted,
            "delivered": self.delivered,
            "bounced": self.bounced,
            "spared": self.spared,
            "queued": self.queued,
            "lost": self.lost,
            "missing_ids": self.missing,
            "duplicates": self.duplicates,
            "duplicates_of_source": self.duplicates_of_source,
            "duplicated_ids": self.duplicated,
            "changed_ids": self.changed,
            "bounced_and_delivered_ids": self.bounced_and_delivered,
            "never_accepted": self.never_accepted,
            "foreign": self.foreign,
            "unreadable": self.unreadable,
            "end_to_end_ms": {"p50": p50, "p99": p99, "p99_9": p999, "max": most},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(accepted: &[&str], received: &[&str]) -> Ledger {
        let mut ledger = Ledger::default();
        accepted.iter().for_each(|line| ledger.accept(line));
        received.iter().for_each(|line| ledger.receive(line));
        ledger
    }

    #[test]
    fn every_recipient_is_delivered_bounced_queued_or_lost() {
        let ledger = ledger(
            &["i1 1000 1 a@x b@x", "i2 1000 1 a@x", "i3 1000 1 a@x"],
            &["i1 L a@x 1500 ok", "i1 L b@x 1600 dsn:failed:5.1.1"],
        );
        let account = ledger.account(1);
        assert_eq!((account.accepted, account.delivered, account.bounced), (4, 1, 1));
        assert_eq!((account.queued, account.lost), (1, 1));
        assert_eq!(account.missing, ["i2 a@x", "i3 a@x"]);
        assert!(!account.is_clean());
        assert!(account.text(9).contains("4 = 1 + 1 + 1 + 1 LOST"));
        assert!(account.text(9).contains("  i2 a@x"));
        assert_eq!(ledger.account(2).lost, 0);
        assert!(ledger.account(2).is_clean());
        let over = ledger.account(99);
        assert_eq!((over.queued, over.lost), (2, 0), "DSNs are queued too");
    }

    #[test]
    fn who_is_to_be_spared_is_neither_lost_nor_written_to() {
        let spared = ["i1 - a@x 0 spared", "i2 - a@x 0 spared", "i2 L a@x 9 ok"];
        let ledger = ledger(&["i1 1000 1 a@x", "i2 1000 1 a@x"], &spared);
        let account = ledger.account(0);
        assert_eq!((account.accepted, account.spared, account.delivered), (2, 1, 1));
        assert!(account.is_clean() && account.text(9).contains("2 = 1 + 0 + 0 + 1 spared\n"));
        let mut written_to = 0;
        ledger.each(|_, _, seen| written_to += u32::from(seen.spared && seen.delivered > 0));
        assert_eq!(written_to, 1);
    }

    #[test]
    fn duplicates_are_counted_and_those_of_the_source_apart() {
        let account = ledger(
            &["i1 1 1 a@x", "i2 1 2 a@x"],
            &["i1 L a@x 1 ok", "i1 M a@x 2 ok", "i2 L a@x 1 ok", "i2 L a@x 2 ok", "i2 L a@x 3 ok"],
        )
        .account(0);
        assert_eq!((account.duplicates, account.duplicates_of_source), (3, 1));
        assert_eq!(account.duplicated, ["i1 a@x", "i2 a@x"]);
        assert!(account.is_clean(), "duplicates are counted, not refused");
    }

    #[test]
    fn a_delayed_report_is_no_bounce() {
        let account =
            ledger(&["i1 1 1 a@x"], &["i1 L a@x 2 dsn:delayed:4.4.1", "i1 L a@x 9 ok"]).account(0);
        assert_eq!((account.delivered, account.bounced), (1, 0));
        assert!(account.bounced_and_delivered.is_empty());
    }

    #[test]
    fn bounced_and_delivered_counts_as_delivered_and_is_named() {
        let account =
            ledger(&["i1 1 1 a@x"], &["i1 L a@x 2 dsn:failed:5.0.0", "i1 L a@x 9 ok"]).account(0);
        assert_eq!((account.delivered, account.bounced), (1, 0));
        assert_eq!(account.bounced_and_delivered, ["i1 a@x"]);
    }

    #[test]
    fn a_changed_body_is_not_clean() {
        let account = ledger(&["i1 1 1 a@x"], &["i1 L a@x 2 changed"]).account(0);
        assert_eq!((account.delivered, account.changed.len()), (1, 1));
        assert!(!account.is_clean());
    }

    #[test]
    fn what_was_never_accepted_and_what_is_not_ours_loses_nothing() {
        let account = ledger(
            &["", "i1 x 1 a@x"],
            &["i9 L a@x 2 ok", "- L a@x 2 unknown", "torn", "i1 L a@x y ok"],
        )
        .account(0);
        assert_eq!((account.accepted, account.lost), (0, 0));
        assert_eq!((account.never_accepted, account.foreign, account.unreadable), (1, 1, 4));
        assert!(account.is_clean());
    }

    #[test]
    fn a_list_of_ids_alone_is_enough() {
        let account = ledger(&["i1", "i2"], &["i1 L a@x 2 ok"]).account(0);
        assert_eq!((account.accepted, account.delivered, account.lost), (2, 1, 1));
    }

    #[test]
    fn latency_counts_from_the_intended_time_to_the_first_delivery() {
        let account =
            ledger(&["i1 1000 1 a@x"], &["i1 L a@x 1300 ok", "i1 L a@x 1250 ok"]).account(0);
        assert_eq!(account.latency.len(), 1);
        let p50 = account.json()["end_to_end_ms"]["p50"].as_f64().unwrap();
        assert!((p50 - 250.0).abs() < 1.0, "{p50}");
    }
}
