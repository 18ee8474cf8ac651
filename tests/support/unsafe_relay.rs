//! Build the relay that acknowledges before the sync, or before the write.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What such a relay wants to see in its environment; a release build of it too.
pub(crate) const PERMIT: &str = "RELAY_FAST_POWERCUT_AUDIT";

/// Its binary, as optimized as the relay `ours` of this `workspace`. It is built beside all others.
pub(crate) fn built(ours: &Path, workspace: &Path) -> PathBuf {
    let target = ours.ancestors().nth(2).unwrap().join("powercut");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--locked", "--bin", "relay-fast"]);
    build.args(["--features", "ack-before-sync", "--manifest-path"]);
    build.arg(workspace.join("Cargo.toml"));
    build.arg("--target-dir").arg(&target).env(PERMIT, "1");
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    if profile == "release" {
        build.arg("--release");
    }
    let status = build.status().unwrap();
    assert!(status.success(), "the relay that loses mail is not built: {status}");
    target.join(profile).join("relay-fast")
}
