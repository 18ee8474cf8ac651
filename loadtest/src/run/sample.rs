//! Look at a run now and then: how much is through, how much waits, what it costs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::cpu;
use crate::ledger::queued;
use crate::proc::octets;

/// How often a look is taken, at first.
const EVERY: Duration = Duration::from_millis(250);
/// Samples kept: beyond, every second one goes, and looks are half as often.
const SAMPLES_MAX: usize = 600;

/// What one look saw; counts and CPU since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) ms: u64,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    /// Recipients, by the relay's own count.
    pub(crate) queued: u64,
    pub(crate) relay_cpu_us: u64,
    /// Resident memory of the relay that no file backs.
    pub(crate) memory_kib: u64,
}

/// Takes samples of one run.
#[derive(Debug)]
pub(crate) struct Sampler {
    begin: Instant,
    every: Duration,
    last: Option<Instant>,
    taken: Vec<Sample>,
}

impl Sampler {
    pub(crate) fn start() -> Self {
        Self { begin: Instant::now(), every: EVERY, last: None, taken: Vec::new() }
    }

    /// Look if it is time to. `seen` has what the caller knows: counts, and the CPU used so far.
    pub(crate) fn look(&mut self, pid: u32, admin: SocketAddr, seen: impl FnOnce() -> Sample) {
        if self.last.is_some_and(|last| last.elapsed() < self.every) {
            return;
        }
        self.last = Some(Instant::now());
        let ms = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        // A relay that does not answer at the moment still has what it had.
        let before = self.taken.last().copied().unwrap_or_default();
        let queued = queued::ask(admin).unwrap_or(before.queued);
        let memory_kib = memory_kib(pid).unwrap_or(before.memory_kib);
        self.keep(Sample { ms, queued, memory_kib, ..seen() });
    }

    fn keep(&mut self, sample: Sample) {
        self.taken.push(sample);
        if self.taken.len() > SAMPLES_MAX {
            let mut place = 0;
            self.taken.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// All samples.
    pub(crate) fn finish(&mut self) -> Vec<Sample> {
        std::mem::take(&mut self.taken)
    }
}

/// `RssAnon` of proc_pid_status(5).
fn memory_kib(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(octets(&text, "RssAnon")? / 1_024)
}

/// CPU time of each of a relay's shards until now, by their number.
pub(crate) fn shards_us(pid: u32) -> Vec<u64> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let shard = |task: std::fs::DirEntry| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let number: usize = name.trim_end().strip_prefix("shard-")?.parse().ok()?;
        Some((number, cpu::of_task_ns(&task.path())? / 1_000))
    };
    let mut shards: Vec<(usize, u64)> = tasks.flatten().filter_map(shard).collect();
    shards.sort_unstable();
    shards.into_iter().map(|(_, used)| used).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_few_samples_in_even_steps() {
        let mut sampler = Sampler::start();
        for ms in 0..5_000 {
            if u128::from(ms) % (sampler.every.as_millis() / EVERY.as_millis()) == 0 {
                sampler.keep(Sample { ms, ..Sample::default() });
            }
        }
        let samples = sampler.finish();
        assert!(samples.len() <= SAMPLES_MAX, "{}", samples.len());
        let step = samples[1].ms - samples[0].ms;
        assert!(step > 1);
        assert!(samples.windows(2).all(|two| two[1].ms - two[0].ms == step));
    }

    #[test]
    fn this_process_has_memory_and_no_shards() {
        assert!(memory_kib(std::process::id()) > Some(100));
        assert_eq!(shards_us(std::process::id()), Vec::<u64>::new());
    }
}
