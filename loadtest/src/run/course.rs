//! What happens in the course of a run: servers and consumers die and come back, a small campaign
//! sets out beside the others; and what is to be seen of that at its end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::again::AGAIN;
use super::consumer::Consumer;
use super::fates::{Fates, Senders, Told};
use super::kpis::{self, Lines};
use super::scenario::{SMALL_USERS, Scenario, USERS};
use super::warm;
use crate::campaign::rig::{Rig, TICK};
use crate::campaign::verdict::Verdict;
use crate::ledger::account::Account;

/// Longest wait for the consumer to have taken everything: exporters try again within five minutes.
const CONSUMER_WAIT: Duration = Duration::from_secs(360);
/// The event log is written within 200 ms.
const LOG_WAIT: Duration = Duration::from_secs(1);
/// Differences between accounts that are named.
const DIFFERENCES_SHOWN: usize = 5;
/// Names of the small campaign's files, sent alone and beside the others.
const ALONE: &str = "accepted-alone";
const BESIDE: &str = "accepted-beside";

/// See the module. Shares are of the messages that are to be accepted.
pub(super) struct Course<'a> {
    scenario: &'a Scenario,
    consumer: Option<Consumer>,
    /// When the first server comes back.
    dead_until: Option<u64>,
    consumer_dies: Option<u64>,
    consumer_back: Option<Instant>,
    small_from: Option<u64>,
    /// The small campaign's p99, in ms: alone, and beside the others.
    alone: Option<f64>,
    beside: Option<f64>,
}

impl<'a> Course<'a> {
    pub(super) async fn new(scenario: &'a Scenario) -> Result<Self> {
        let share = |percent: u32| u64::from(scenario.messages) * u64::from(percent) / 100;
        let consumer = match &scenario.consumer {
            Some(_) => Some(Consumer::start().await?),
            None => None,
        };
        Ok(Self {
            scenario,
            consumer,
            dead_until: scenario.dead_until.map(share),
            consumer_dies: scenario.consumer.as_ref().and_then(|part| part.dies_at).map(share),
            consumer_back: None,
            small_from: scenario.small.as_ref().map(|small| share(small.at)),
            alone: None,
            beside: None,
        })
    }

    /// URL and secret of who takes events.
    pub(super) fn webhook(&self) -> Option<(String, String)> {
        self.consumer.as_ref().map(|consumer| (consumer.url(), consumer.secret()))
    }

    /// Before the first message of the others.
    pub(super) async fn begin(&mut self, rig: &mut Rig) -> Result<()> {
        if self.dead_until.is_some() {
            rig.sink.kill(0);
        }
        let Some(small) = &self.scenario.small else { return Ok(()) };
        rig.inject_aside(ALONE, small.source(rig.plan.listen))?;
        self.alone = Some(p99(&delivered(rig).await?));
        Ok(())
    }

    /// Whatever is due.
    pub(super) async fn step(&mut self, rig: &mut Rig) -> Result<()> {
        let accepted = rig.accepted();
        let is_due = |at: &mut u64| accepted >= *at;
        if self.dead_until.take_if(is_due).is_some() {
            rig.sink.revive(0);
            rig.progress.say("the dead server is back");
        }
        if self.small_from.take_if(is_due).is_some()
            && let Some(small) = &self.scenario.small
        {
            rig.inject_aside(BESIDE, small.source(rig.plan.listen))?;
            rig.progress.say("the small campaign sets out beside the others");
        }
        if let Some((consumer, part)) = self.consumer.as_mut().zip(self.scenario.consumer.as_ref())
        {
            if self.consumer_dies.take_if(is_due).is_some() {
                consumer.die().await;
                self.consumer_back = Some(Instant::now() + part.down.least());
                rig.progress.say("the consumer of events dies");
            }
            if self.consumer_back.take_if(|back| Instant::now() >= *back).is_some() {
                consumer.revive().await?;
                rig.progress.say("the consumer of events is back");
            }
        }
        Ok(())
    }

    /// Once all is accepted: until nobody is dead any more, and the small campaign is through.
    pub(super) async fn end(&mut self, rig: &mut Rig) -> Result<()> {
        while self.consumer_back.is_some() {
            rig.tick().await?;
            rig.excuse();
            self.step(rig).await?;
        }
        if self.scenario.small.is_some() {
            self.beside = Some(p99(&delivered(rig).await?));
        }
        Ok(())
    }

    /// What was promised to those who send, once the last message is through.
    pub(super) async fn judge(&self, rig: &Rig, verdict: &mut Verdict) -> Result<()> {
        if let (Some(small), Some(alone), Some(beside)) =
            (&self.scenario.small, self.alone, self.beside)
        {
            let text =
                format!("the small campaign: p99 {alone:.0} ms alone, {beside:.0} ms beside");
            verdict.add(beside <= small.times * alone, text);
        }
        rig.wait_for_returns().await;
        tokio::time::sleep(LOG_WAIT).await;
        if let Some(consumer) = &self.consumer {
            judge_consumer(consumer, rig, verdict).await?;
        }
        if let Some(labels) = &self.scenario.labels {
            let mut senders = Senders::default();
            senders.add(&rig.accepted_file(), labels)?;
            for file in rig.accepted_files().iter().skip(1) {
                let small = self.scenario.small.as_ref().filter(|_| !file.ends_with(AGAIN));
                senders.add(file, small.map_or(labels, |small| &small.labels))?;
            }
            let ledger = rig.ledger()?;
            let fates = Fates::by_ledger(&ledger, &rig.returned_file(), &senders)?;
            let told = Told::read(&rig.plan.spool)?;
            let differences = fates.differences(&told.fates, DIFFERENCES_SHOWN);
            verdict.add(
                differences.is_empty(),
                format!("the event log says what the ledger does: {}", fates.total()),
            );
            for difference in differences {
                verdict.add(false, difference);
            }
            if let Some(part) = &self.scenario.kpis {
                let small = self.scenario.small.as_ref().map(|small| (SMALL_USERS, &small.labels));
                let users: Vec<_> = std::iter::once((USERS, labels)).chain(small).collect();
                let lines = Lines {
                    ledger: &ledger,
                    senders: &senders,
                    users: &users,
                    answered: &rig.answered_file(),
                    returned: &rig.returned_file(),
                    servers: &rig.sink.addresses,
                };
                if let Some(part) = &self.scenario.warm {
                    warm::judge(part, lines.answered, verdict)?;
                }
                kpis::judge(part, &lines, rig.plan.admin, verdict).await?;
            }
        }
        Ok(())
    }
}

/// It has taken each event.
async fn judge_consumer(consumer: &Consumer, rig: &Rig, verdict: &mut Verdict) -> Result<()> {
    let began = Instant::now();
    let events = loop {
        let told = Told::read(&rig.plan.spool)?;
        if consumer.look(|taken| taken.events == told.events) || began.elapsed() > CONSUMER_WAIT {
            break told.events.len();
        }
        tokio::time::sleep(LOG_WAIT).await;
    };
    consumer.look(|taken| {
        let (got, again) = (taken.events.len(), taken.repeated);
        let text = format!("the consumer has {got} of {events} events; {again} came again");
        verdict.add(got == events && taken.forged == 0, text);
    });
    Ok(())
}

/// Waits until the small campaign is through.
async fn delivered(rig: &mut Rig) -> Result<Account> {
    loop {
        tokio::time::sleep(TICK).await;
        rig.tick().await?;
        if let Some(account) = rig.aside_account()? {
            return Ok(account);
        }
        if rig.is_stuck() {
            bail!("the small campaign does not get through");
        }
    }
}

/// In ms.
fn p99(account: &Account) -> f64 {
    account.latency.value_at_quantile(0.99) as f64 / 1_000.0
}
