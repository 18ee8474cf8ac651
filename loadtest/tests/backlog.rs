//! `loadtest backlog` at a size for every run: nothing accepted is missing after restarts, and the
//! tool says so.

#![allow(clippy::unwrap_used, reason = "a test unwraps freely")]

use std::process::Command;

mod support;

use support::relay;

#[test]
fn a_backlog_is_whole_after_restarts() {
    let work = tempfile::tempdir().unwrap();
    let mut tool = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    tool.arg("backlog").arg("--relay").arg(relay()).arg("--work").arg(work.path());
    let output = tool.args(["--messages", "2000", "--size", "1KB"]).output().unwrap();
    let all = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{all}");
    for words in [
        "| octets a recipient ",
        "| SIGTERM, warm cache ",
        "| SIGKILL, cold cache ",
        "ok   3501 of 3501 queued after SIGTERM\n",
        "ok   3502 of 3502 queued after SIGKILL\n",
        "ok   3503 of 3503 queued after SIGKILL\n",
        "ok   500 recipients flushed, after a restart\n",
        "ok   0 lost\n",
    ] {
        assert!(all.contains(words), "{words}{all}");
    }
}
