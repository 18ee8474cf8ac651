//! Hold the relay's own figures against what source and servers wrote down: they must be equal.
//!
//! In: the lines of source and servers, and `/v1/kpis` by each dimension. Out: a finding a
//! dimension, and where figures differ. Invariant: what is expected is made from the lines alone.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::fates::{Senders, Whose};
use crate::campaign::verdict::Verdict;
use crate::ledger::account::Ledger;
use crate::ledger::each_line;
use crate::ledger::queued::agent;
use crate::source::Labels;

/// Longest wait for the relay to have counted everything: it is two seconds behind.
const COUNTED_WAIT: Duration = Duration::from_secs(120);
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(500);
/// Rows that are asked for: more keys than any scenario has.
const ROWS: u32 = 10_000;
/// Differences of a dimension that are named.
const DIFFERENCES_SHOWN: usize = 5;
/// By what figures are told apart.
const DIMENSIONS: [&str; 7] =
    ["all", "tenant", "campaign", "domain", "provider", "source", "upstream"];

/// How the relay calls what servers and source know by address.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KpiPart {
    /// The servers in their order, as providers.
    servers: Vec<String>,
    /// Sources by address.
    #[serde(default)]
    sources: BTreeMap<String, String>,
    /// Classes of refusals for good, by their status.
    #[serde(default)]
    classes: BTreeMap<String, String>,
}

/// What became of some recipients; the relay's answer has more, which nobody else counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Numbers {
    injected: u64,
    delivered: u64,
    deferred: u64,
    bounced: u64,
    bounced_by_class: BTreeMap<String, u64>,
    expired: u64,
    suppressed: u64,
    removed: u64,
    bounced_later: u64,
    complaints: u64,
    unsubscribes: u64,
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { injected, delivered, deferred, bounced, expired, suppressed, .. } = self;
        let Self { removed, bounced_later, complaints, bounced_by_class, unsubscribes, .. } = self;
        write!(f, "{injected} injected, {delivered} delivered, {deferred} deferred, ")?;
        write!(f, "{bounced} bounced {bounced_by_class:?}, {bounced_later} later, ")?;
        write!(f, "{complaints} complaints")?;
        let rest = [
            (unsubscribes, "unsubscribed"),
            (expired, "expired"),
            (suppressed, "suppressed"),
            (removed, "removed"),
        ];
        let mut rest = rest.iter().filter(|(count, _)| **count > 0);
        rest.try_for_each(|(count, word)| write!(f, ", {count} {word}"))
    }
}

/// An answer of `/v1/kpis`.
#[derive(Debug, Deserialize)]
struct Answer {
    rows: Vec<Row>,
    others: Option<Numbers>,
    counted: Standing,
}

#[derive(Debug, Deserialize)]
struct Row {
    key: String,
    #[serde(flatten)]
    numbers: Numbers,
}

#[derive(Debug, Deserialize)]
struct Standing {
    gaps: u64,
    error: Option<String>,
}

/// Whom something happened to; empty: that is not known, or there is none.
#[derive(Clone, Copy, Debug, Default)]
struct Keys<'a> {
    tenant: &'a str,
    campaign: &'a str,
    domain: &'a str,
    provider: &'a str,
    source: &'a str,
    upstream: &'a str,
}

/// Figures by dimension and key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Book([BTreeMap<String, Numbers>; DIMENSIONS.len()]);

impl Book {
    fn add(&mut self, keys: Keys<'_>, count: impl Fn(&mut Numbers)) {
        let Keys { tenant, campaign, domain, provider, source, upstream } = keys;
        let both = !tenant.is_empty() && !campaign.is_empty();
        let campaign = if both { format!("{tenant} {campaign}") } else { campaign.to_owned() };
        let keys = ["", tenant, &campaign, domain, provider, source, upstream];
        for (rows, key) in self.0.iter_mut().zip(keys) {
            count(rows.entry(key.to_owned()).or_default());
        }
    }
}

/// What source and servers wrote down.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) senders: &'a Senders,
    /// Whose recipients begin with which word.
    pub(super) users: &'a [(&'a str, &'a Labels)],
    /// The servers' answers to recipients.
    pub(super) answered: &'a Path,
    /// What recipients sent back.
    pub(super) returned: &'a Path,
    /// The servers, in their order.
    pub(super) servers: &'a [SocketAddr],
}

/// An answer of a server.
struct Answered<'a> {
    client: &'a str,
    listener: &'a str,
    recipient: &'a str,
    code: &'a str,
    status: &'a str,
}

impl<'a> Answered<'a> {
    fn parse(line: &'a str) -> Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [client, listener, recipient, code, status] = words[..] else {
            bail!("{line:?} is no answer of a server")
        };
        Ok(Self { client, listener, recipient, code, status })
    }

    fn domain(&self) -> &'a str {
        self.recipient.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl Lines<'_> {
    /// The figures that must come of them.
    fn book(&self, part: &KpiPart) -> Result<Book> {
        let mut book = Book::default();
        self.ledger.each(|id, recipient, seen| {
            if let Some(Whose { tenant, campaign, domain }) = self.senders.whose(id, recipient) {
                let (tenant, campaign, domain) = (&*tenant, &*campaign, &*domain);
                let keys = Keys { tenant, campaign, domain, ..Keys::default() };
                book.add(keys, |numbers| {
                    numbers.injected += 1;
                    numbers.suppressed += u64::from(seen.spared);
                });
            }
        });
        self.add_returned(&mut book)?;
        self.add_answers(part, &mut book)?;
        Ok(book)
    }

    /// What came back: a report is a message to this node, and says something of another.
    fn add_returned(&self, book: &mut Book) -> Result<()> {
        if !self.returned.exists() {
            return Ok(());
        }
        each_line(self.returned, |line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [id, recipient, what, to] = words[..] else { return };
            let Some(whose) = self.senders.whose(id, recipient) else { return };
            let Whose { tenant, campaign, domain } = &whose;
            let keys = Keys { tenant, campaign, domain, ..Keys::default() };
            if what == "unsubscribe" {
                return book.add(keys, |numbers| numbers.unsubscribes += 1);
            }
            let here = to.rsplit_once('@').map_or("", |(_, domain)| domain);
            let report = Keys { domain: here, ..Keys::default() };
            book.add(report, |numbers| numbers.injected += 1);
            book.add(keys, |numbers| match what {
                "bounce" => numbers.bounced_later += 1,
                _ => numbers.complaints += 1,
            });
        })
    }

    /// What the servers answered.
    fn add_answers(&self, part: &KpiPart, book: &mut Book) -> Result<()> {
        let names: BTreeMap<String, &str> = self
            .servers
            .iter()
            .zip(&part.servers)
            .map(|(address, name)| (address.to_string(), name.as_str()))
            .collect();
        let mut failed = Ok(());
        each_line(self.answered, |line| {
            let mut add = || -> Result<()> {
                let answered = Answered::parse(line)?;
                let source = part.sources.get(answered.client).map_or("", String::as_str);
                let provider = names.get(answered.listener).copied().unwrap_or_default();
                let upstream = answered.listener;
                let keys = Keys { provider, source, upstream, ..Keys::default() };
                self.add_answer(part, &answered, keys, book);
                Ok(())
            };
            if failed.is_ok() {
                failed = add();
            }
        })?;
        failed
    }

    fn add_answer(&self, part: &KpiPart, answered: &Answered<'_>, way: Keys<'_>, book: &mut Book) {
        let domain = answered.domain();
        let sender = self.sender(answered.recipient);
        let (tenant, campaign) = sender.clone().unwrap_or_default();
        let (tenant, campaign) = (&*tenant, &*campaign);
        let class = part.classes.get(answered.status).map_or("?", String::as_str);
        if sender.is_none() {
            // The relay's own: a DSN.
            let keys = Keys { domain, ..Keys::default() };
            book.add(keys, |numbers| numbers.injected += 1);
        }
        let keys = Keys { tenant, campaign, domain, ..way };
        book.add(keys, |numbers| match answered.code.as_bytes().first() {
            Some(b'2') => numbers.delivered += 1,
            Some(b'4') => numbers.deferred += 1,
            _ => {
                numbers.bounced += 1;
                *numbers.bounced_by_class.entry(class.to_owned()).or_default() += 1;
            }
        });
    }

    /// Tenant and campaign whose message goes to this recipient.
    fn sender(&self, recipient: &str) -> Option<(String, String)> {
        let (local_part, _) = recipient.rsplit_once('@')?;
        let digits = local_part.find(|letter: char| letter.is_ascii_digit())?;
        let (user, number) = local_part.split_at(digits);
        let (_, labels) = self.users.iter().find(|(word, _)| *word == user)?;
        Some(labels.of(number.split_once('.')?.0.parse().ok()?))
    }
}

/// Asks the relay, once it has counted everything, and compares.
pub(super) async fn judge(
    part: &KpiPart,
    lines: &Lines<'_>,
    admin: SocketAddr,
    verdict: &mut Verdict,
) -> Result<()> {
    let expected = lines.book(part)?;
    let began = Instant::now();
    let told = loop {
        let told = tokio::task::spawn_blocking(move || ask_all(admin)).await??;
        if told == expected || began.elapsed() > COUNTED_WAIT {
            break told;
        }
        tokio::time::sleep(LOOK).await;
    };
    for (place, name) in DIMENSIONS.into_iter().enumerate() {
        let (expected, told) = (&expected.0[place], &told.0[place]);
        let differences = differences(expected, told);
        let keys = expected.len();
        let what = match expected.get("").filter(|_| name == "all") {
            Some(all) => format!("the figures of all mail are the ledger's: {all}"),
            None => format!("the figures by {name} are the ledger's: {keys} keys"),
        };
        verdict.add(differences.is_empty(), what);
        for difference in differences.into_iter().take(DIFFERENCES_SHOWN) {
            verdict.add(false, format!("by {name}: {difference}"));
        }
    }
    Ok(())
}

fn differences(
    expected: &BTreeMap<String, Numbers>,
    told: &BTreeMap<String, Numbers>,
) -> Vec<String> {
    let nothing = Numbers::default();
    let keys = expected.keys().chain(told.keys().filter(|key| !expected.contains_key(*key)));
    let pair = |key: &String| {
        let of = |rows: &BTreeMap<String, Numbers>| rows.get(key).unwrap_or(&nothing).clone();
        let (expected, told) = (of(expected), of(told));
        (expected != told).then(|| format!("{key:?}: told {told}; ledger {expected}"))
    };
    keys.filter_map(pair).collect()
}

/// All figures, as the relay tells them.
fn ask_all(admin: SocketAddr) -> Result<Book> {
    let mut book = Book::default();
    for (rows, by) in book.0.iter_mut().zip(DIMENSIONS) {
        // Of yesterday too: a run may go past midnight.
        let url = format!("http://{admin}/v1/kpis?by={by}&interval=day&from=1d&limit={ROWS}");
        let mut answer = agent().get(&url).call().with_context(|| format!("asking {url}"))?;
        let text = answer.body_mut().read_to_string().with_context(|| format!("reading {url}"))?;
        let Answer { rows: all, others, counted } =
            serde_json::from_str(&text).with_context(|| format!("{url}: {text}"))?;
        let Standing { gaps, error, .. } = counted;
        if others.is_some() || gaps > 0 || error.is_some() {
            bail!("{url}: keys that are not told apart, {gaps} gaps, {error:?}");
        }
        rows.extend(all.into_iter().map(|Row { key, numbers }| (key, numbers)));
    }
    Ok(book)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::RunTag;

    #[test]
    fn figures_come_of_the_lines_and_each_difference_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let ids = [0, 1].map(|number| RunTag::from_seed(1).id(number));
        let [a, b] = ids.map(|id| String::from_utf8(id.to_vec()).unwrap());
        let accepted = format!("{a} 1 1 u0.0@x.example\n{b} 1 1 u1.0@y.example\n");
        let mut ledger = Ledger::default();
        accepted.lines().for_each(|line| ledger.accept(line));
        let labels = "2:2".parse().unwrap();
        let mut senders = Senders::default();
        senders.add(&file("accepted", &accepted), &labels).unwrap();
        let answered = "127.0.0.8 127.0.1.1:25 u0.0@x.example 450 4.2.0\n\
                        127.0.0.8 127.0.1.1:25 u0.0@x.example 250 2.0.0\n\
                        127.0.0.9 127.0.1.2:25 u1.0@y.example 550 5.1.1\n\
                        127.0.0.9 127.0.1.2:25 campaign@load.example 250 2.0.0\n";
        let lines = Lines {
            ledger: &ledger,
            senders: &senders,
            users: &[("u", &labels)],
            answered: &file("answered", answered),
            returned: &file("returned", &format!("{a} u0.0@x.example bounce b+t@r.example\n")),
            servers: &["127.0.1.1:25".parse().unwrap(), "127.0.1.2:25".parse().unwrap()],
        };
        let part = KpiPart {
            servers: vec!["one".into(), "two".into()],
            sources: [("127.0.0.8".into(), "out".into())].into(),
            classes: [("5.1.1".into(), "bad-mailbox".into())].into(),
        };
        let book = lines.book(&part).unwrap();
        let shown = |place: usize, key: &str| book.0[place][key].to_string();
        let [all, tenant, campaign, domain, provider, source, upstream] = [0, 1, 2, 3, 4, 5, 6];
        let once = "0 injected, 1 delivered, 1 deferred, 0 bounced {}, 0 later, 0 complaints";
        let sent = "1 injected, 1 delivered, 1 deferred, 0 bounced {}, ";
        let bounced =
            "1 injected, 0 delivered, 0 deferred, 1 bounced {\"bad-mailbox\": 1}, 0 later";
        assert!(shown(all, "").starts_with("4 injected, 2 delivered, 1 deferred, 1 bounced"));
        assert_eq!(shown(tenant, "t000"), format!("{sent}1 later, 0 complaints"));
        assert_eq!(shown(campaign, "t000 c000"), format!("{sent}1 later, 0 complaints"));
        assert_eq!(shown(domain, "y.example"), format!("{bounced}, 0 complaints"));
        assert_eq!(shown(provider, "one"), once);
        assert_eq!(
            (shown(source, "out"), shown(upstream, "127.0.1.1:25")),
            (once.into(), once.into())
        );
        assert!(differences(&book.0[tenant], &book.0[tenant]).is_empty());
        let mut told = book.clone();
        told.0[domain].get_mut("y.example").unwrap().bounced += 1;
        told.0[domain].remove("r.example");
        let found = differences(&book.0[domain], &told.0[domain]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].starts_with("\"y.example\": told 1 injected, 0 delivered, 0 deferred, 2"));
    }
}
