//! A spool that is carried to another place goes on there.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, message};
use crate::node::{Node, to_upstream, wait_for};
use crate::sink::Sink;
use crate::tool;

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_spool_is_copied_to_another_place_and_its_mail_delivered_from_there() {
    let sink = Sink::by(|_, _| "451 4.7.1 Later".to_owned());
    let later = "[queue]\nretry_first = \"1h\"\nretry_jitter = 0\n";
    let config = to_upstream(&sink.address.to_string(), later);
    let mut node = Node::idle(&config);
    node.run(3);
    for n in 0..30 {
        let mut client = Client::connect(node.listen[0]);
        client.send("<a@a.example>", &[&format!("<b@d{n}.example>")], &message(&n.to_string()));
    }
    wait_for("all deferred", || (node.stat("deferred") == 30).then_some(()));
    node.kill();
    // As another machine would have it: other files, other times, another owner of the lock.
    let mut other = Node::idle(&config);
    copy(&node.spool(), &other.spool());
    drop(node);
    other.run(2);
    wait_for("all recovered", || (other.stat("recipients") == 30).then_some(()));
    sink.change(|_, _| "250 2.1.5 Ok".to_owned());
    other.ask(&["flush", "--all"]);
    wait_for("an empty queue", || (other.stat("recipients") == 0).then_some(()));
    let mut subjects: Vec<u32> =
        sink.taken().iter().map(|one| one.subject().parse().unwrap()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, (0..30).collect::<Vec<_>>(), "each once");
    assert!(!other.log().contains("damaged"), "{}", other.log());
}

/// What is in the page cache alone must not be acted on: a power cut could still take it back.
#[test]
fn what_a_killed_relay_wrote_is_synced_before_it_is_believed() {
    let Some(strace) = tool::find("strace") else { return };
    let sink = Sink::by(|_, _| "451 4.7.1 Later".to_owned());
    let mut node = Node::idle(&to_upstream(&sink.address.to_string(), ""));
    node.run(1);
    Client::connect(node.listen[0]).send("<a@a.example>", &["<b@b.example>"], &message("one"));
    node.kill();
    let calls = node.folder.path().join("calls");
    let relay = node.command(1);
    let mut traced = Command::new(strace);
    traced.args(["-f", "-y", "-e", "trace=fdatasync", "-o"]).arg(&calls).arg("--");
    traced.arg(relay.get_program()).args(relay.get_args());
    node.run_as(traced);
    let synced = "/000/00000001.seg>) = 0";
    wait_for("its sync", || {
        let calls = std::fs::read_to_string(&calls).ok()?;
        calls.lines().any(|line| line.contains(synced)).then_some(())
    });
    // Strace passes no signal on, and ends as its child does.
    let lock = std::fs::read_to_string(node.spool().join("LOCK")).unwrap();
    let relay = Pid::from_raw(lock.trim().parse().unwrap()).unwrap();
    kill_process(relay, Signal::TERM).unwrap();
    assert!(node.wait().success());
}
