//! Send some of the mail again, to the same recipients: who has bounced or complained is spared.
//!
//! In: the servers' answers, and what recipients sent back. Out: two findings, and a file of the
//! recipients that the relay was right to leave out. Invariant: who is to be spared follows from
//! the lines alone; the relay is asked only how many it knows.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hashbrown::HashSet;
use serde_json::Value;

use super::scenario::{Scenario, USERS};
use crate::campaign::rig::{Rig, TICK};
use crate::campaign::verdict::Verdict;
use crate::ledger::each_line;
use crate::ledger::queued::agent;
use crate::source::Labels;

/// Name of the file of what is accepted of it.
pub(super) const AGAIN: &str = "accepted-again";
/// Longest wait for the lists to have everybody: the relay reads its own log for it.
const LISTED_WAIT: Duration = Duration::from_secs(60);

/// Tenants and recipients who will have no more of each other.
type Listed = HashSet<(String, String)>;

/// Sends the first so many messages again, once all else is through.
pub(super) async fn send(scenario: &Scenario, rig: &mut Rig, verdict: &mut Verdict) -> Result<()> {
    let (Some(messages), Some(labels)) = (scenario.again, &scenario.labels) else { return Ok(()) };
    rig.wait_for_returns().await;
    let listed = listed(rig, labels)?;
    let known = wait_for_lists(rig, listed.len() as u64).await?;
    let text = format!("the suppression lists have {known} of {} recipients", listed.len());
    verdict.add(known == listed.len() as u64, text);
    let mut source = scenario.source(rig.plan.listen)?;
    let messages = messages.min(scenario.messages);
    (source.messages, source.rate) = (messages, None);
    rig.inject_aside(AGAIN, source)?;
    rig.progress.say("some of it is sent again");
    while !rig.aside_is_accepted()? {
        rig.tick().await?;
        if rig.is_stuck() {
            bail!("what is sent again is not accepted");
        }
        tokio::time::sleep(TICK).await;
    }
    let spared = write_spared(rig, labels, &listed)?;
    rig.spared = spared;
    rig.wait_for_the_last().await?;
    let mut written_to = 0;
    rig.ledger()?.each(|_, _, seen| {
        written_to += u64::from(seen.spared && (seen.delivered > 0 || seen.bounced));
    });
    let text =
        format!("of {messages} messages sent again {spared} were for them: {written_to} left");
    verdict.add(spared > 0 && written_to == 0, text);
    Ok(())
}

/// Who is unknown (5.1.1), bounced later, or objected, and at whose mail.
fn listed(rig: &Rig, labels: &Labels) -> Result<Listed> {
    let mut listed = Listed::default();
    let mut add = |recipient: &str| {
        if let Some(tenant) = tenant_of(recipient, labels) {
            listed.insert((tenant, recipient.to_owned()));
        }
    };
    each_line(&rig.answered_file(), |line| {
        let words: Vec<&str> = line.split(' ').collect();
        if let [_, _, recipient, code, "5.1.1"] = words[..]
            && code.starts_with('5')
        {
            add(recipient);
        }
    })?;
    each_line(&rig.returned_file(), |line| {
        if let Some(recipient) = line.split(' ').nth(1) {
            add(recipient);
        }
    })?;
    Ok(listed)
}

/// Whose message goes to this recipient, of the run's own mail.
fn tenant_of(recipient: &str, labels: &Labels) -> Option<String> {
    let number = recipient.strip_prefix(USERS)?.split_once('.')?.0.parse().ok()?;
    Some(labels.of(number).0)
}

/// Waits until the relay's lists have so many entries; how many they have.
async fn wait_for_lists(rig: &Rig, wanted: u64) -> Result<u64> {
    let admin = rig.plan.admin;
    let began = Instant::now();
    loop {
        let known = tokio::task::spawn_blocking(move || {
            let url = format!("http://{admin}/v1/suppression/stats");
            let mut answer = agent().get(&url).call().with_context(|| format!("asking {url}"))?;
            let text = answer.body_mut().read_to_string().context("reading it")?;
            let value: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
            // Each list with the number of its entries.
            let lists = value["entries"].as_array().with_context(|| text.clone())?;
            anyhow::Ok(lists.iter().filter_map(|list| list[1].as_u64()).sum::<u64>())
        });
        let known = known.await??;
        if known == wanted || began.elapsed() > LISTED_WAIT {
            return Ok(known);
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Writes down which recipients of what was sent again are to be spared; how many.
fn write_spared(rig: &Rig, labels: &Labels, listed: &Listed) -> Result<u64> {
    let accepted = rig.accepted_files();
    let file = accepted.last().context("it was sent again")?;
    let (mut lines, mut count) = (String::new(), 0);
    each_line(file, |line| {
        let mut words = line.split(' ');
        let id = words.next().unwrap_or_default();
        for recipient in words.skip(2) {
            let Some(tenant) = tenant_of(recipient, labels) else { continue };
            if listed.contains(&(tenant, recipient.to_owned())) {
                writeln!(lines, "{id} - {recipient} 0 spared").expect("memory takes every write");
                count += 1;
            }
        }
    })?;
    let path = rig.spared_file();
    std::fs::write(&path, lines).with_context(|| format!("writing {}", path.display()))?;
    Ok(count)
}
