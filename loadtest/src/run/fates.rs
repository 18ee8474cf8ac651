//! What became of each campaign's mail: as the ledger's files have it, and as the relay tells it.
//!
//! In: lines of the ledger's files, lines of the event log. Out: counts by tenant, campaign and
//! domain, and where two accounts differ. Invariant: neither side is made from the other.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use hashbrown::{HashMap, HashSet};
use serde::Deserialize;

use crate::ledger::account::Ledger;
use crate::ledger::each_line;
use crate::message::{TAG_LEN, number_of};
use crate::source::Labels;

/// Of whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Whose {
    pub(crate) tenant: String,
    pub(crate) campaign: String,
    pub(crate) domain: String,
}

/// Recipients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    pub(crate) injected: u64,
    pub(crate) delivered: u64,
    pub(crate) bounced: u64,
    pub(crate) bounced_later: u64,
    pub(crate) complained: u64,
    pub(crate) spared: u64,
    pub(crate) unsubscribed: u64,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { injected, delivered, bounced, bounced_later, complained, spared, unsubscribed } =
            self;
        write!(
            f,
            "{injected} injected, {delivered} delivered, {bounced} bounced, {bounced_later} \
             later, {complained} complained, {unsubscribed} unsubscribed, {spared} spared"
        )
    }
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fates(pub(crate) BTreeMap<Whose, Fate>);

/// Who sent what, by the tag of its ids.
#[derive(Debug, Default)]
pub(crate) struct Senders(HashMap<String, Labels>);

impl Senders {
    /// The messages in an accepted file are of these.
    pub(crate) fn add(&mut self, accepted: &Path, labels: &Labels) -> Result<()> {
        each_line(accepted, |line| {
            if let Some(tag) = line.get(..TAG_LEN)
                && !self.0.contains_key(tag)
            {
                self.0.insert(tag.to_owned(), labels.clone());
            }
        })
    }

    pub(crate) fn whose(&self, id: &str, recipient: &str) -> Option<Whose> {
        let (tenant, campaign) = self.0.get(id.get(..TAG_LEN)?)?.of(number_of(id.as_bytes())?);
        let (_, domain) = recipient.rsplit_once('@')?;
        Some(Whose { tenant, campaign, domain: domain.to_owned() })
    }
}

impl Fates {
    fn of(&mut self, whose: Whose) -> &mut Fate {
        self.0.entry(whose).or_default()
    }

    /// From the ledger, and the lines of what recipients sent back.
    pub(crate) fn by_ledger(ledger: &Ledger, returned: &Path, senders: &Senders) -> Result<Self> {
        let mut fates = Self::default();
        ledger.each(|id, recipient, seen| {
            let Some(whose) = senders.whose(id, recipient) else { return };
            let fate = fates.of(whose);
            fate.injected += 1;
            fate.delivered += u64::from(seen.delivered);
            fate.bounced += u64::from(seen.bounced);
            fate.spared += u64::from(seen.spared);
        });
        if !returned.exists() {
            return Ok(fates);
        }
        each_line(returned, |line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [id, recipient, what, _] = words[..] else { return };
            let Some(whose) = senders.whose(id, recipient) else { return };
            let fate = fates.of(whose);
            match what {
                "bounce" => fate.bounced_later += 1,
                "unsubscribe" => fate.unsubscribed += 1,
                _ => fate.complained += 1,
            }
        })?;
        Ok(fates)
    }

    /// Where `self`, who is right, and `other` differ: in words, at most `most` of them.
    pub(crate) fn differences(&self, other: &Self, most: usize) -> Vec<String> {
        let names = self.0.keys().chain(other.0.keys().filter(|name| !self.0.contains_key(*name)));
        let of = |fates: &Self, whose: &Whose| fates.0.get(whose).copied().unwrap_or_default();
        let differ = |whose: &&Whose| of(self, whose) != of(other, whose);
        let words = |whose: &Whose| {
            let Whose { tenant, campaign, domain } = whose;
            format!("{tenant}/{campaign}/{domain}: {} told, {}", of(other, whose), of(self, whose))
        };
        names.filter(differ).take(most).map(words).collect()
    }

    /// All of it together.
    pub(crate) fn total(&self) -> Fate {
        self.0.values().fold(Fate::default(), |sum, fate| Fate {
            injected: sum.injected + fate.injected,
            delivered: sum.delivered + fate.delivered,
            bounced: sum.bounced + fate.bounced,
            bounced_later: sum.bounced_later + fate.bounced_later,
            complained: sum.complained + fate.complained,
            spared: sum.spared + fate.spared,
            unsubscribed: sum.unsubscribed + fate.unsubscribed,
        })
    }
}

/// What the event log has.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Of those who are in `senders`.
    pub(crate) fates: Fates,
    /// Shard and sequence of each event.
    pub(crate) events: HashSet<(u64, u64)>,
}

#[derive(Deserialize)]
struct Event<'a> {
    shard: u64,
    sequence: u64,
    kind: &'a str,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    campaign: String,
    #[serde(default)]
    domain: String,
    #[serde(default)]
    class: String,
}

impl Told {
    /// Reads all event logs of a spool; mail of nobody (reports, the relay's own) is not counted.
    pub(crate) fn read(spool: &Path) -> Result<Self> {
        let mut told = Self::default();
        let folder = spool.join("events");
        let entries = std::fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("reading {}", folder.display()))?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|end| end == "jsonl") {
                each_line(&path, |line| told.take(line))?;
            }
        }
        Ok(told)
    }

    fn take(&mut self, line: &str) {
        let Ok(event) = serde_json::from_str::<Event<'_>>(line) else { return };
        self.events.insert((event.shard, event.sequence));
        let Event { kind, tenant, campaign, domain, class, .. } = event;
        if tenant.is_empty() {
            return;
        }
        let add = |count: fn(&mut Fate) -> &mut u64, campaign: String| {
            *count(self.fates.of(Whose { tenant, campaign, domain })) += 1;
        };
        match kind {
            "received" => add(|fate| &mut fate.injected, campaign),
            "delivered" => add(|fate| &mut fate.delivered, campaign),
            "bounced" if class == "suppressed" => add(|fate| &mut fate.spared, campaign),
            "bounced" | "expired" => add(|fate| &mut fate.bounced, campaign),
            "unsubscribed" => add(|fate| &mut fate.unsubscribed, campaign),
            "bounced-later" => add(|fate| &mut fate.bounced_later, campaign),
            "complained" => add(|fate| &mut fate.complained, campaign),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::RunTag;

    #[test]
    fn two_accounts_of_the_same_agree_and_name_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let [accepted, returned] = ["accepted", "returned"].map(|name| folder.path().join(name));
        let ids = [0, 1, 2].map(|number| RunTag::from_seed(1).id(number));
        let [a, b, c] = ids.map(|id| String::from_utf8(id.to_vec()).unwrap());
        let line = |id: &str| format!("{id} 1 1 u@x.example");
        std::fs::write(&accepted, [&a, &b, &c].map(|id| line(id) + "\n").concat()).unwrap();
        std::fs::write(&returned, format!("{b} u@x.example complaint fbl@y.example\n")).unwrap();
        let mut ledger = Ledger::default();
        [&a, &b, &c].iter().for_each(|id| ledger.accept(&line(id)));
        ledger.receive(&format!("{a} L u@x.example 2 ok"));
        ledger.receive(&format!("{b} L u@x.example 2 ok"));
        ledger.receive(&format!("{c} L u@x.example 2 dsn:failed:5.1.1"));
        let mut senders = Senders::default();
        senders.add(&accepted, &"2:2".parse().unwrap()).unwrap();
        let fates = Fates::by_ledger(&ledger, &returned, &senders).unwrap();

        let mut told = Told::default();
        let event = |sequence: u64, kind: &str, place: u64| {
            format!(
                "{{\"sequence\":{sequence},\"shard\":0,\"kind\":\"{kind}\",\"tenant\":\
                 \"t00{place}\",\"campaign\":\"c00{place}\",\"domain\":\"x.example\"}}"
            )
        };
        for (place, kinds) in [(0, "received received delivered bounced"), (1, "received")] {
            kinds.split(' ').for_each(|kind| {
                let sequence = told.events.len() as u64;
                told.take(&event(sequence, kind, place));
            });
        }
        told.take(&event(90, "complained", 1));
        told.take("{\"sequence\":91,\"shard\":0,\"kind\":\"delivered\",\"domain\":\"x.example\"}");
        let differences = fates.differences(&told.fates, 9);
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert!(
            differences[0].starts_with("t001/c001/x.example: 1 injected, 0"),
            "{differences:?}"
        );
        told.take(&event(92, "delivered", 1));
        assert_eq!(fates, told.fates);
        assert_eq!((fates.total().injected, fates.total().complained), (3, 1));
        assert_eq!(told.events.len(), 8);
    }
}
