//! Another server as a process with children: found, started in a folder of its own, and stopped.
//!
//! In: what its module says of it. Out: CPU of all its processes, its end. Invariant: none of them
//! is left when it is dropped, where this process may make control groups.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::cgroup::Cgroup;
use crate::cpu;

/// Longest wait until it listens.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often that is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Longest wait until it ends.
const END: Duration = Duration::from_secs(20);
/// Octets of its log that are shown when it failed.
const LOG_TAIL: usize = 2_000;
/// What it prints, in its folder.
const LOG: &str = "printed.log";
/// Folders that are looked through after those of PATH, which not every root has.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// What a server has done for a message when it answers 250, as it is set up here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// Content and name of its file are on disk.
    Synced,
    /// Its content is on disk, but the name by which it is found after a crash may not be.
    ContentSynced,
    /// The kernel has it: a power cut may take it.
    NotSynced,
}

impl Promise {
    /// In a column of the table.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::ContentSynced => "name not synced",
            Self::NotSynced => "not synced",
        }
    }
}

/// A server that is installed here, and can be run.
pub(super) trait Peer {
    /// Its name and version, as `Postfix 3.7`.
    fn version(&self) -> &str;

    /// What its 250 is worth.
    fn promise(&self) -> Promise;

    /// Writes its configuration and says how it is started.
    fn plan(&self, place: &Place<'_>) -> Result<Plan>;

    /// What is left to do once it listens.
    fn settle(&self, _server: &Server, _place: &Place<'_>) -> Result<()> {
        Ok(())
    }
}

/// Where a server is to be, and what it relays to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// An empty folder of its own, that every user may pass through.
    pub(super) folder: &'a Path,
    pub(super) listen: SocketAddr,
    pub(super) upstream: SocketAddr,
}

impl Place<'_> {
    /// Makes a folder in that of the server.
    pub(super) fn make(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(folder)
    }

    /// Writes a file of the server's folder.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

/// How a server is started. It stays in the foreground.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// Its processes can only be counted in a control group: some are nobody's children.
    pub(super) needs_group: bool,
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    name: String,
    child: Child,
    log: PathBuf,
    /// All its processes; nothing where this process may not make groups.
    group: Option<Cgroup>,
    cpu_at_start: u64,
}

impl Server {
    /// Starts `peer` and waits until it listens.
    pub(super) async fn start(peer: &dyn Peer, place: &Place<'_>) -> Result<Self> {
        // Its processes may run as another user.
        let open = Permissions::from_mode(0o755);
        std::fs::set_permissions(place.folder, open).context("opening the folder to its user")?;
        let mut server = Self::spawn(peer.version(), &peer.plan(place)?, place.folder)?;
        server.wait_until_it_listens(place.listen).await?;
        peer.settle(&server, place)?;
        server.cpu_at_start = server.all_cpu_us()?;
        Ok(server)
    }

    fn spawn(name: &str, plan: &Plan, folder: &Path) -> Result<Self> {
        let group = match Cgroup::new() {
            Err(error) if plan.needs_group => {
                return Err(error.context(format!("{name} is counted by a control group")));
            }
            made => made.ok(),
        };
        let log = folder.join(LOG);
        let printed = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let errors = printed.try_clone().context("sharing its log")?;
        let ourselves = std::env::current_exe().context("finding this program")?;
        let mut command = Command::new(ourselves);
        command.arg("become");
        if let Some(group) = &group {
            command.arg("--cgroup").arg(group.folder());
        }
        let child = command
            .arg(&plan.program)
            .args(&plan.arguments)
            .stdin(Stdio::null())
            .stdout(printed)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), child, log, group, cpu_at_start: 0 })
    }

    async fn wait_until_it_listens(&mut self, listen: SocketAddr) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().context("asking for its state")? {
                bail!("{} ended at once with {status}:\n{}", self.name, self.log_tail());
            }
            if tokio::net::TcpStream::connect(listen).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        let tail = self.log_tail();
        bail!("{} did not listen on {listen} within {PATIENCE:?}:\n{tail}", self.name)
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(LOG_TAIL);
        String::from_utf8_lossy(&text[from..]).into_owned()
    }

    /// CPU of all its processes since it was up, those that have ended included.
    pub(super) fn cpu_us(&self) -> Result<u64> {
        Ok(self.all_cpu_us()?.saturating_sub(self.cpu_at_start))
    }

    fn all_cpu_us(&self) -> Result<u64> {
        match &self.group {
            Some(group) => group.cpu_us(),
            None => cpu::of_tree_us(self.child.id().context("it has ended")?),
        }
    }

    /// All its processes, where they are in a group.
    pub(super) fn pids(&self) -> Result<Vec<u32>> {
        self.group.as_ref().context("its processes are in no group")?.pids()
    }

    /// SIGTERM to the process that was started, which ends the others; whatever is left is killed.
    pub(super) async fn stop(mut self) -> Result<()> {
        let pid = self.child.id().with_context(|| format!("{} has ended already", self.name))?;
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a pid fits")?;
        kill_process(pid, Signal::TERM).context("sending SIGTERM")?;
        let ended = tokio::time::timeout(END, self.child.wait()).await;
        ended.with_context(|| format!("{} did not end within {END:?}", self.name))?.map(|_| ())?;
        Ok(())
    }
}

/// The first program of `names` that is on PATH, or where the system has its servers.
pub(super) fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(SYSTEM_FOLDERS.map(PathBuf::from)).collect();
    first_in(&folders, names)
}

fn first_in(folders: &[PathBuf], names: &[&str]) -> Option<PathBuf> {
    let paths = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let mut programs = paths.filter(|path| {
        let found = path.metadata();
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    });
    programs.next()
}

/// What `program` prints with `arguments`, on either way out, whatever its exit code.
pub(super) fn printed(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = std::process::Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("running {}", program.display()))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Fails where `name` could not be started as it wants to be.
pub(super) fn expect_root(name: &str) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("{name} has to be started by root");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_in_order_and_only_if_they_can_run() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
        let file = |folder: &Path, name: &str, mode| {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join(name), "").unwrap();
            std::fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
        };
        file(&first, "one", 0o644);
        file(&second, "one", 0o755);
        file(&first, "two", 0o755);
        std::fs::create_dir(first.join("three")).unwrap();
        let folders = [first.clone(), second.clone()];
        assert_eq!(first_in(&folders, &["one", "two"]), Some(second.join("one")));
        assert_eq!(first_in(&folders, &["none", "two"]), Some(first.join("two")));
        assert_eq!(first_in(&folders, &["three"]), None);
    }
}
