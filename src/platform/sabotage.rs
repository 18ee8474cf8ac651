//! Break the promise on purpose, so that the power-cut audit can show that it would notice.
//!
//! The feature `ack-before-sync` makes a relay that answers 250 once a commit is written and does
//! not wait for its sync: what a careless change could make of this one. Nobody wants such a relay
//! but `tests/powercut.rs`. So a release build of it needs [`PERMIT`] in the environment, each
//! start of any build of it needs the same, and it says loudly what it is.

/// Whether commits are reported as soon as they are written.
pub(super) const ACKNOWLEDGES_BEFORE_SYNC: bool = cfg!(feature = "ack-before-sync");

/// The environment variable that the audit sets.
const PERMIT: &str = "RELAY_FAST_POWERCUT_AUDIT";

const _: () = assert!(
    !ACKNOWLEDGES_BEFORE_SYNC
        || cfg!(debug_assertions)
        || option_env!("RELAY_FAST_POWERCUT_AUDIT").is_some(),
    "the feature ack-before-sync loses mail: it is for the power-cut audit alone"
);

/// This build loses mail, and nobody asked for that.
#[derive(Debug, thiserror::Error)]
#[error(
    "this relay was built with the feature ack-before-sync: a power cut loses mail that it \
    acknowledged; build it without, or set {PERMIT} if this is the power-cut audit"
)]
pub struct Sabotaged;

/// Say what this build is; refuse to run it outside the audit.
pub(super) fn confess() -> Result<(), Sabotaged> {
    if !ACKNOWLEDGES_BEFORE_SYNC {
        return Ok(());
    }
    if std::env::var_os(PERMIT).is_none() {
        return Err(Sabotaged);
    }
    tracing::error!("THIS BUILD LOSES MAIL: it acknowledges before the sync, for an audit");
    Ok(())
}
