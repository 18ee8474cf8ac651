//! A kernel that refuses a call into the ring now and then: nobody waits for it to be asked again.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, message};
use crate::node::{Node, to_upstream, wait_for};
use crate::sink::Sink;
use crate::tool;

/// As io_uring_enter(2) says: out of memory for requests; completions to be taken first; a signal.
const ERRORS: [&str; 3] = ["EAGAIN", "EBUSY", "EINTR"];
const MESSAGES: usize = 20;

#[test]
fn a_ring_that_refuses_to_be_entered_is_entered_again() {
    let Some(strace) = tool::find("strace") else { return };
    for error in ERRORS {
        let sink = Sink::by(|_, _| "451 4.7.1 Later".to_owned());
        let later = "[queue]\nretry_first = \"1h\"\n";
        let mut node = Node::idle(&to_upstream(&sink.address.to_string(), later));
        // More directories than shards: some are adopted.
        node.run(3);
        node.drain();
        let relay = node.command(2);
        let mut traced = Command::new(&strace);
        // Each thread's calls are counted apart: the start succeeds, then every other fails.
        let inject = format!("inject=io_uring_enter:error={error}:when=20+2");
        let trace = node.folder.path().join("calls");
        traced.args(["-f", "-q", "-e", "trace=io_uring_enter", "-e", &inject, "-o"]).arg(&trace);
        traced.arg("--").arg(relay.get_program()).args(relay.get_args());
        node.run_as(traced);
        let mut client = Client::connect(node.listen[0]);
        for n in 0..MESSAGES {
            let to = format!("<b@d{n}.example>");
            client.send("<a@a.example>", &[&to], &message(&n.to_string()));
        }
        wait_for("all deferred", || (node.stat("deferred") == MESSAGES as u64).then_some(()));
        for _ in 0..10 {
            node.ask(&["flush", "--all"]);
        }
        sink.change(|_, _| "250 2.1.5 Ok".to_owned());
        wait_for("an empty queue", || {
            node.ask(&["flush", "--all"]);
            (node.stat("recipients") == 0).then_some(())
        });
        let lock = std::fs::read_to_string(node.spool().join("LOCK")).unwrap();
        let relay = Pid::from_raw(lock.trim().parse().unwrap()).unwrap();
        kill_process(relay, Signal::TERM).unwrap();
        assert!(node.wait().success(), "{error}");
        let calls = std::fs::read_to_string(&trace).unwrap();
        let refused = calls.lines().filter(|line| line.contains("(INJECTED)")).count();
        assert!(refused > 20, "{refused} calls were refused with {error}");
        assert!(!node.log().contains("panic"), "{}", node.log());
    }
}
