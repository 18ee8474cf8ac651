//! What the tests of the tool share.

use std::path::PathBuf;
use std::process::Command;

/// The relay, built as this test was.
pub(crate) fn relay() -> PathBuf {
    let tool = PathBuf::from(env!("CARGO_BIN_EXE_loadtest"));
    let relay = tool.with_file_name("relay-fast");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--workspace", "--bin", "relay-fast", "--quiet"]);
    if tool.components().any(|part| part.as_os_str() == "release") {
        build.arg("--release");
    }
    let built = build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).status().unwrap();
    assert!(built.success() && relay.is_file(), "no relay at {}", relay.display());
    relay
}
