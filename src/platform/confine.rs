//! Give up what a relay that runs does not need: capabilities, files, system calls.
//!
//! In: the configuration, for the files that it names. Out: one line that says what is in force.
//! Before any thread is made: those that are made later begin with it. Invariant: nothing is
//! loosened by it, and what the kernel does not have is said, never taken for granted.
//!
//! What the shards' rings do counts too where files are concerned: the kernel asks Landlock at the
//! file, whoever opens it. System calls are filtered where they enter the kernel, so that what a
//! ring does instead (sockets of any family, say) passes; what is denied here no ring can do.

mod syscalls;

use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, geteuid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_no_new_privs,
};

use crate::config::Config;
use crate::config::options::Destination;
use crate::platform::{files, user};

/// The newest Landlock whose rights were looked at one by one. Later ones know rights that this
/// process would lose unseen.
const KNOWN: ABI = ABI::V6;

/// The folders that are open to a process that Landlock confines.
static OPEN: OnceLock<BTreeSet<PathBuf>> = OnceLock::new();

/// Why a process cannot be confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// Some thread would keep its rights.
    #[error("cannot give up rights: {0} threads run already")]
    Threads(usize),
    /// The kernel refuses what every kernel has.
    #[error("cannot give up rights: {0}; `sandbox = \"off\"` does without")]
    System(#[from] io::Error),
    /// Landlock is there, and refuses.
    #[error("cannot give up files by Landlock: {0}; `sandbox = \"off\"` does without")]
    Landlock(#[from] RulesetError),
    /// Seccomp is there, and refuses.
    #[error("cannot give up system calls by seccomp: {0}; `sandbox = \"off\"` does without")]
    Seccomp(#[from] seccompiler::Error),
}

/// What is in force.
#[derive(Debug)]
pub struct Confinement {
    /// Root's are left.
    capabilities: bool,
    /// With what can be read beside the spool.
    landlock: Option<(RestrictionStatus, BTreeSet<PathBuf>)>,
    seccomp: Option<usize>,
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.capabilities { "capabilities: root's" } else { "capabilities: none" })?;
        let Some((status, folders)) = &self.landlock else {
            return f.write_str(", sandbox off");
        };
        match (&status.ruleset, status.landlock) {
            (RulesetStatus::NotEnforced, _) => f.write_str(", Landlock: not in this kernel")?,
            (RulesetStatus::PartiallyEnforced, LandlockStatus::Available { effective_abi, .. }) => {
                let version = effective_abi as i32;
                write!(f, ", Landlock (only ABI {version}): the spool, and to read {folders:?}")?;
            }
            (RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced, _) => {
                write!(f, ", Landlock: the spool, and to read {folders:?}")?;
            }
        }
        match self.seccomp {
            Some(denied) => write!(f, ", seccomp: {denied} system calls denied"),
            None => f.write_str(", seccomp: not in this kernel"),
        }
    }
}

/// Confine the process. `file` is the configuration's, which a reload reads again.
pub fn confine(config: &Config, file: Option<&Path>) -> Result<Confinement, ConfineError> {
    let threads = user::threads();
    if threads != 1 {
        return Err(ConfineError::Threads(threads));
    }
    let capabilities = keep_no_capability(config).map_err(io::Error::from)?;
    set_no_new_privs(true).map_err(io::Error::from)?;
    if !config.is_confined {
        return Ok(Confinement { capabilities, landlock: None, seccomp: None });
    }
    // Keys and passwords are in memory: they are to be in no core dump, and for no debugger.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(io::Error::from)?;
    let folders = folders(config, file);
    let written = written(config);
    let status = keep_files(&config.spool.directory, &folders, &written)?;
    if status.ruleset != RulesetStatus::NotEnforced {
        // Done once: a process is confined once.
        let _ = OPEN.set(folders.clone());
    }
    let seccomp = syscalls::deny()?;
    Ok(Confinement { capabilities, landlock: Some((status, folders)), seccomp })
}

/// Whether `path` is closed to this process though nothing but its being confined says so.
pub(super) fn is_closed(path: &Path) -> bool {
    let Some(open) = OPEN.get() else { return false };
    let real = path.canonicalize();
    let path = real.as_deref().unwrap_or(path);
    !open.iter().any(|folder| path.starts_with(folder))
}

/// Drop all capabilities, but those of a root that is to stay what it is; whether those are left.
fn keep_no_capability(config: &Config) -> rustix::io::Result<bool> {
    if geteuid().is_root() && config.user.is_none() {
        tracing::warn!("this is root, and stays so: name a `user` that has nothing but the spool");
        return Ok(true);
    }
    let none = CapabilitySet::empty();
    clear_ambient_capability_set()?;
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(false)
}

/// The folders of files that events are written to.
fn written(config: &Config) -> BTreeSet<PathBuf> {
    let files = config.exporters.iter().filter_map(|one| match &one.to {
        Destination::File(path) => folder_of(path),
        Destination::Webhook { .. }
        | Destination::Nats { .. }
        | Destination::Amqp(_)
        | Destination::Kafka(_) => None,
    });
    files.filter_map(|folder| folder.canonicalize().ok()).collect()
}

fn folder_of(path: &Path) -> Option<PathBuf> {
    path.parent().map(|folder| match folder.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => folder.to_owned(),
    })
}

/// Give up all files but those below `spool`, which are written too, and in `folders`, and those in
/// `written`, which are made and written.
fn keep_files(
    spool: &Path,
    folders: &BTreeSet<PathBuf>,
    written: &BTreeSet<PathBuf>,
) -> Result<RestrictionStatus, RulesetError> {
    let none = AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
    let spooling = AccessFs::from_all(KNOWN) & !none;
    let read = AccessFs::ReadFile.into();
    let write = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::Truncate;
    let below = |(path, access): (&Path, BitFlags<AccessFs>)| {
        // What is not there can be read by nobody.
        let open = PathFd::new(path).ok()?;
        Some(Ok::<_, RulesetError>(PathBeneath::new(open, access)))
    };
    let all = folders.iter().map(|folder| (folder.as_path(), read)).chain([(spool, spooling)]);
    let all = all.chain(written.iter().map(|folder| (folder.as_path(), write)));
    Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(all.filter_map(below))?
        .restrict_self()
}

/// Whatever a reload reads, by folder: files are replaced, and Landlock knows them by what they
/// are, not by their names. Where a link leads counts as well.
fn folders(config: &Config, file: Option<&Path>) -> BTreeSet<PathBuf> {
    // What a panic shows of its way is read from the program itself.
    let program = env::current_exe().ok();
    let itself = fs::canonicalize("/proc/self").ok();
    let named = files::paths(config).chain(file).chain([Path::new(files::RESOLV_CONF)]);
    let of_both =
        |path: &Path| [folder_of(path), path.canonicalize().ok().as_deref().and_then(folder_of)];
    let folders = named.flat_map(of_both).flatten().chain(program).chain(itself);
    folders.filter_map(|folder| folder.canonicalize().ok()).collect()
}
