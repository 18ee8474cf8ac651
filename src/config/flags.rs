//! What the command line and the machine say, before any of it is checked.

use std::path::PathBuf;

/// The flags as they were given; each goes before the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--cores N`.
    pub cores: Option<String>,
    /// `--listen ADDR:PORT`, any number: all of the file's listeners are replaced.
    pub listen: Vec<String>,
    /// `--upstream LIST`: the group named `upstream`, and the default route to it.
    pub upstream: Option<String>,
    /// `--spool DIR`.
    pub spool: Option<String>,
    /// `--admin ADDR:PORT|unix:PATH`, any number: all of the file's addresses are replaced.
    pub admin: Vec<String>,
    /// `--hostname NAME`.
    pub hostname: Option<String>,
}

/// What the machine says of itself; where defaults come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub hostname: String,
    /// CPUs that this process may run on.
    pub cpus: usize,
    /// `XDG_STATE_HOME`, if set.
    pub state_home: Option<PathBuf>,
    /// `HOME`, if set.
    pub home: Option<PathBuf>,
}
