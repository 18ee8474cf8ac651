//! The end of a run: the servers relent, the last message is waited for, and all is read and told.

use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result};

use super::{ACCOUNT_EVERY, Outcome, QUIET, RETURNS_WAIT, Rig, TICK};
use crate::ledger::account::Account;
use crate::ledger::queued;
use crate::run::sample::{self, Sampler};

impl Rig {
    /// From now on the sink takes everything.
    pub(crate) async fn relent(&mut self) -> Result<()> {
        self.sink.relent();
        self.wait_for_returns().await;
        self.plan.flush().await
    }

    /// Waits until what recipients send back was taken.
    pub(crate) async fn wait_for_returns(&self) {
        let began = Instant::now();
        while self.sink.open_returns.load(Ordering::Relaxed) > 0 && began.elapsed() < RETURNS_WAIT {
            tokio::time::sleep(TICK).await;
        }
    }

    /// Waits until nothing that was accepted is missing, or nothing moves any more.
    pub(crate) async fn wait_for_the_last(&mut self) -> Result<()> {
        let mut looked = None::<Instant>;
        while !self.is_stuck() {
            self.tick().await?;
            let due = looked.is_none_or(|looked| looked.elapsed() >= ACCOUNT_EVERY);
            if due && self.recorded() + self.spared >= self.accepted() {
                looked = Some(Instant::now());
                if self.account(0)?.missing.is_empty() {
                    return Ok(());
                }
            }
            if self.last_change.elapsed() > QUIET && self.relay_queues_nothing() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the relay says so itself: then what is missing will not come.
    fn relay_queues_nothing(&mut self) -> bool {
        let due = self.asked.is_none_or(|asked| asked.elapsed() >= QUIET);
        if due {
            self.asked = Some(Instant::now());
        }
        due && matches!(queued::ask(self.plan.admin), Ok(0))
    }

    fn account(&self, queued: u64) -> Result<Account> {
        Ok(self.ledger()?.account(queued))
    }

    /// Ends source, relay and sink, and reads what they wrote.
    pub(crate) async fn finish(mut self) -> Result<Outcome> {
        self.control.stop.store(true, Ordering::Relaxed);
        let source = self.source_report().await?;
        self.progress.finish(self.accepted(), self.recorded());
        let still_queued = match self.account(0)?.missing.len() {
            0 => 0,
            _ => queued::ask(self.plan.admin).unwrap_or_else(|error| {
                eprintln!("the relay does not say what it queues: {error:#}");
                0
            }),
        };
        let relay = self.relay.take().context("no relay is running")?;
        let relay_cpu_us = self.cpu_of_killed_us + relay.cpu_since_ready_us();
        let shards_cpu_us = relay.pid().map(sample::shards_us).unwrap_or_default();
        let samples = self.sampler.as_mut().map(Sampler::finish).unwrap_or_default();
        let relay_report = self.plan.report().await;
        let end = relay.stop().await;
        let account = self.account(still_queued)?;
        let clean = account.is_clean() && end.as_ref().is_ok_and(|(status, _)| status.success());
        if clean && !self.options.keep {
            self.folder.disable_cleanup(false);
        } else {
            eprintln!("kept: {}", self.folder.path().display());
        }
        let sink = self.sink.finish()?;
        Ok(Outcome {
            source,
            sink,
            account,
            dkim_keys: self.made.dkim_keys,
            relay_cpu_us,
            shards_cpu_us,
            samples,
            relay_report,
            end,
        })
    }
}
