//! The relay under test as a process: build it, start it, ask whether it is ready, stop or kill it.
//!
//! Only its command line and its admin address matter; anything that keeps that contract will do.
//! Invariant: the process is gone when `Relay` is dropped, and when this process dies.

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tokio::process::{Child, Command};

use crate::cpu;
use crate::ledger::queued::agent;

/// Longest wait for readiness, and for the end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often readiness is asked for.
const LOOK: Duration = Duration::from_millis(50);
/// Octets of the relay's log that are shown when it failed.
const LOG_TAIL: usize = 4_000;

/// How to start a relay.
#[derive(Clone, Debug)]
pub(crate) struct RelayPlan {
    pub(crate) binary: PathBuf,
    pub(crate) config: Option<PathBuf>,
    pub(crate) cores: u32,
    pub(crate) listen: SocketAddr,
    /// The configuration says where to listen, and what holds there.
    pub(crate) listens_by_config: bool,
    pub(crate) admin: SocketAddr,
    /// As `--upstream` takes it; nothing leaves routing to the configuration.
    pub(crate) upstream: Option<String>,
    pub(crate) spool: PathBuf,
    /// File that gets what it prints.
    pub(crate) log: PathBuf,
    /// It is killed as one of its threads enters a ring for the so-manieth time.
    pub(crate) dies_at_entry: Option<u64>,
}

/// A running relay.
#[derive(Debug)]
pub(crate) struct Relay {
    child: Child,
    plan: RelayPlan,
    cpu_at_start: u64,
}

impl RelayPlan {
    fn arguments(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |name: &str, value: OsString| words.extend([name.into(), value]);
        if let Some(config) = &self.config {
            add("--config", config.into());
        }
        add("--cores", self.cores.to_string().into());
        if !self.listens_by_config {
            add("--listen", self.listen.to_string().into());
        }
        if let Some(upstream) = &self.upstream {
            add("--upstream", upstream.into());
        }
        add("--spool", self.spool.clone().into());
        add("--admin", self.admin.to_string().into());
        add("--hostname", "relay.load.example".into());
        words
    }

    /// The command line, to be shown.
    pub(crate) fn shown(&self) -> String {
        let words = self.arguments();
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        format!("{} {}", self.binary.display(), words.join(" "))
    }

    /// Starts the relay and waits until `/healthz` answers 200 and its spool is recovered.
    ///
    /// Errors: it cannot be started, ends at once, or is not ready in time; with the end of its
    /// log.
    pub(crate) async fn start(&self) -> Result<Relay> {
        let mut relay = self.spawn()?;
        relay.wait_until_ready().await?;
        relay.cpu_at_start = relay.cpu_us();
        Ok(relay)
    }

    /// Starts the relay, ready or not.
    pub(crate) fn spawn(&self) -> Result<Relay> {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("opening {}", self.log.display()))?;
        let errors = log.try_clone().context("sharing the relay's log")?;
        let ourselves = std::env::current_exe().context("finding this program")?;
        let mut command = match self.dies_at_entry {
            None => Command::new(&ourselves),
            Some(entry) => killed_at_entry(entry, &ourselves),
        };
        // This program becomes the relay, once it has asked to die with its parent.
        let child = command
            .arg("become")
            .arg(&self.binary)
            .args(self.arguments())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))?;
        Ok(Relay { child, plan: self.clone(), cpu_at_start: 0 })
    }

    /// Runs `queue flush --all`: everything that waits is due now.
    pub(crate) async fn flush(&self) -> Result<()> {
        let output = Command::new(&self.binary)
            .args(["queue", "flush", "--all", "--admin", &self.admin.to_string()])
            .stdin(Stdio::null())
            .output()
            .await
            .with_context(|| format!("running {} queue flush", self.binary.display()))?;
        if !output.status.success() {
            bail!("queue flush: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Runs `report --since 1h` and returns what it prints.
    pub(crate) async fn report(&self) -> Result<String> {
        let output = Command::new(&self.binary)
            .args(["report", "--since", "1h", "--spool"])
            .arg(&self.spool)
            .stdin(Stdio::null())
            .output()
            .await
            .with_context(|| format!("running {} report", self.binary.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!(
                "report ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(text)
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(LOG_TAIL);
        String::from_utf8_lossy(&text[from..]).into_owned()
    }
}

impl Relay {
    async fn wait_until_ready(&mut self) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.ended()? {
                bail!("the relay ended at once with {status}:\n{}", self.plan.log_tail());
            }
            if self.is_healthy().await {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("the relay was not ready in {PATIENCE:?}:\n{}", self.plan.log_tail())
    }

    async fn is_healthy(&self) -> bool {
        let base = format!("http://{}", self.plan.admin);
        let asked = tokio::task::spawn_blocking(move || {
            agent().get(&format!("{base}/healthz")).call().ok()?;
            // What it stored in earlier lives is in the queue again, to be counted.
            let mut metrics = agent().get(&format!("{base}/metrics")).call().ok()?;
            let metrics = metrics.body_mut().read_to_string().ok()?;
            metrics.contains("\nrelay_fast_recovering 0\n").then_some(())
        });
        matches!(asked.await, Ok(Some(())))
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("asking for the relay's state")
    }

    /// Fails with the end of its log if it has ended by itself.
    pub(crate) fn expect_running(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => bail!("the relay ended with {status}:\n{}", self.plan.log_tail()),
        }
    }

    /// Its process; nothing once it has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// CPU that it used since it was ready, in microseconds.
    pub(crate) fn cpu_since_ready_us(&self) -> u64 {
        self.cpu_us().saturating_sub(self.cpu_at_start)
    }

    fn cpu_us(&self) -> u64 {
        // A process that is gone has used what was last read.
        self.child.id().and_then(|pid| cpu::of_process_us(pid).ok()).unwrap_or(self.cpu_at_start)
    }

    /// SIGKILL, as a crash.
    pub(crate) async fn kill(mut self) -> Result<()> {
        self.child.kill().await.context("killing the relay")
    }

    /// SIGTERM, as an orderly stop; returns how it ended and how long that took.
    pub(crate) async fn stop(mut self) -> Result<(ExitStatus, Duration)> {
        let begin = Instant::now();
        let pid = self.child.id().context("the relay has ended already")?;
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a pid fits")?;
        kill_process(pid, Signal::TERM).context("sending SIGTERM to the relay")?;
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => Ok((status.context("waiting for the relay")?, begin.elapsed())),
            Err(_) => bail!("the relay did not end in {PATIENCE:?} after SIGTERM"),
        }
    }
}

/// `program` under strace, which kills it as one of its threads enters a ring for the
/// `entry`-th time: before the kernel looks at what was submitted.
fn killed_at_entry(entry: u64, program: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=io_uring_enter"]);
    command.arg("-e").arg(format!("inject=io_uring_enter:signal=KILL:when={entry}"));
    command.arg("--").arg(program);
    command
}

/// Turns this process into `program`, which then dies with the process that started this one.
pub(crate) fn become_program(program: &Path, arguments: &[OsString]) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("asking to die with the parent")?;
    let failed = std::process::Command::new(program).args(arguments).exec();
    Err(failed).with_context(|| format!("starting {}", program.display()))
}

/// The relay's binary: `given`, or built from this workspace.
pub(crate) async fn binary(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return std::path::absolute(path).context("finding the relay's binary");
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new(cargo)
        .args(["build", "--release", "--package", "relay-fast", "--bin", "relay-fast"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(if workspace.is_dir() { workspace } else { ".".into() })
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("running cargo; give the relay's binary with --relay instead")?;
    if !output.status.success() {
        bail!("cargo could not build relay-fast ({})", output.status);
    }
    executable(&output.stdout).context("cargo named no relay-fast binary; give it with --relay")
}

/// The path of relay-fast in cargo's messages.
fn executable(messages: &[u8]) -> Option<PathBuf> {
    let lines = messages.split(|&octet| octet == b'\n');
    lines.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok()).find_map(
        |value| {
            let named = value.get("target")?.get("name")? == "relay-fast";
            let path = value.get("executable")?.as_str()?;
            named.then(|| PathBuf::from(path))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> RelayPlan {
        RelayPlan {
            binary: "relay-fast".into(),
            config: None,
            cores: 2,
            listen: "127.0.0.1:1".parse().unwrap(),
            listens_by_config: false,
            admin: "127.0.0.1:2".parse().unwrap(),
            upstream: Some("127.0.0.1:3*3,127.0.0.1:4".into()),
            spool: "spool".into(),
            log: "log".into(),
            dies_at_entry: None,
        }
    }

    #[test]
    fn the_command_line_is_the_contract() {
        let line = "relay-fast --cores 2 --listen 127.0.0.1:1 --upstream 127.0.0.1:3*3,127.0.0.1:4 \
                    --spool spool --admin 127.0.0.1:2 --hostname relay.load.example";
        assert_eq!(plan().shown(), line);
        let routed = RelayPlan { config: Some("c".into()), upstream: None, ..plan() };
        assert!(routed.shown().starts_with("relay-fast --config c --cores 2"));
        assert!(!routed.shown().contains("--upstream"));
        let by_config = RelayPlan { listens_by_config: true, ..plan() };
        assert!(!by_config.shown().contains("--listen"));
    }

    #[test]
    fn the_binary_is_found_among_cargos_messages() {
        let messages = b"{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"relay_fast\"},\
            \"executable\":null}\nnoise\n{\"reason\":\"compiler-artifact\",\
            \"target\":{\"name\":\"relay-fast\"},\"executable\":\"/x/relay-fast\"}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("/x/relay-fast")));
        assert_eq!(executable(b"{}"), None);
    }
}
