//! What operators' verbs cost the relay: how long they take, and its CPU time meanwhile.
//!
//! Asked over the admin address, as `relay-fast queue` does. The CPU of a verb is that of the whole
//! process while it ran, so that what the relay does anyway is in it; a line of its own shows that.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cpu::Meter;
use crate::ledger::queued::agent;

/// How often `show` and `stats` are asked for.
const ASKED: usize = 20;
/// How long the relay is watched while nobody asks anything.
const IDLE: Duration = Duration::from_secs(2);

/// What one verb costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// The middle one of some.
    pub(super) took: Duration,
    /// The relay's, on average.
    pub(super) cpu: Duration,
}

/// What the verbs cost with the queue as it is.
#[derive(Clone, Debug)]
pub(super) struct Verbs {
    pub(super) show: Cost,
    pub(super) stats: Cost,
    pub(super) list: Cost,
    pub(super) metrics: Cost,
    pub(super) flush: Cost,
    /// Recipients that the relay said it flushed, over all domains.
    pub(super) flushed: u64,
    /// CPU of the relay in each second without verbs.
    pub(super) idle: Duration,
}

/// The domain that is flushed at the `turn`-th time.
pub(super) fn flushed_domain(turn: u32) -> String {
    format!("f{turn:03}.flush.example")
}

impl Verbs {
    /// Asks for everything, and flushes `count` domains from the `first` on.
    pub(super) async fn measure(
        pid: u32,
        admin: SocketAddr,
        first: u32,
        count: u32,
    ) -> Result<Self> {
        let node = Node { pid, admin, agent: agent() };
        tokio::task::spawn_blocking(move || node.measure(first, count))
            .await
            .context("waiting for the verbs")?
    }
}

struct Node {
    pid: u32,
    admin: SocketAddr,
    agent: ureq::Agent,
}

impl Node {
    fn measure(&self, first: u32, count: u32) -> Result<Verbs> {
        let rows: Vec<Value> = serde_json::from_str(&self.get("v1/queue/list?limit=20")?)?;
        let ids: Vec<&str> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
        let show = |turn: usize| {
            let id = ids.get(turn % ids.len().max(1)).context("nothing is queued")?;
            self.get(&format!("v1/queue/show/{id}"))
        };
        let (show, _) = self.cost(ASKED, show)?;
        let (stats, _) = self.cost(ASKED, |_| self.get("v1/queue/stats"))?;
        let (list, _) = self.cost(ASKED, |_| self.get("v1/queue/list?limit=100"))?;
        let (metrics, _) = self.cost(ASKED, |_| self.get("metrics"))?;
        let meter = Meter::start(self.pid)?;
        std::thread::sleep(IDLE);
        let idle = meter.spent()?.div_f64(IDLE.as_secs_f64());
        let domains: Vec<String> = (first..first + count).map(flushed_domain).collect();
        let flush = |turn: usize| self.post(&format!("v1/queue/flush?domain={}", domains[turn]));
        let (flush, answers) = self.cost(domains.len(), flush)?;
        let flushed = answers.iter().filter_map(|text| changed(text)).sum();
        Ok(Verbs { show, stats, list, metrics, flush, flushed, idle })
    }

    /// Asks so often; the cost of one, and all answers.
    fn cost(
        &self,
        times: usize,
        ask: impl Fn(usize) -> Result<String>,
    ) -> Result<(Cost, Vec<String>)> {
        let (mut took, mut answers) = (Vec::new(), Vec::new());
        let meter = Meter::start(self.pid)?;
        for turn in 0..times {
            let begun = Instant::now();
            answers.push(ask(turn)?);
            took.push(begun.elapsed());
        }
        let cpu = meter.spent()?;
        took.sort_unstable();
        let cost = Cost { took: took[times / 2], cpu: cpu.div_f64(times as f64) };
        Ok((cost, answers))
    }

    fn get(&self, path: &str) -> Result<String> {
        self.read(path, self.agent.get(self.url(path)).call())
    }

    fn post(&self, path: &str) -> Result<String> {
        self.read(path, self.agent.post(self.url(path)).send_empty())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.admin)
    }

    fn read(
        &self,
        path: &str,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<String> {
        let mut answer = answer.with_context(|| format!("asking for {path}"))?;
        answer.body_mut().read_to_string().with_context(|| format!("reading {path}"))
    }
}

/// The count in a verb's answer.
fn changed(answer: &str) -> Option<u64> {
    serde_json::from_str::<Value>(answer).ok()?["recipients"].as_u64()
}
