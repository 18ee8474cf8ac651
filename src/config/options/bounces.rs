//! What comes back about mail that has left.

use std::path::PathBuf;
use std::time::Duration;

use crate::mail::address::Mailbox;
use crate::policy::returns::Mode;

/// Where bounces and complaints come back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnOptions {
    /// Reverse-paths are this one with a token; it fits.
    pub address: Mailbox,
    /// The file of what signs tokens.
    pub secrets: PathBuf,
    /// What they say.
    pub mode: Mode,
    /// How long they are good for.
    pub lifetime: Duration,
    /// Whether platforms' own reverse-paths are taken as well.
    pub classic: bool,
    /// Who gets to see all of it.
    pub forward_to: Option<Mailbox>,
    /// Where complaints are sent to.
    pub complaints: Vec<Mailbox>,
    /// Whether messages say so; there is an address then.
    pub announces: bool,
}
