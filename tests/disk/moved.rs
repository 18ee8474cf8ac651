//! A spool that is carried to another place goes on there.

use std::path::Path;
use std::process::Command;

use crate::client::{Client, message};
use crate::node::{Node, to_upstream, wait_for};
use crate::sink::Sink;

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
