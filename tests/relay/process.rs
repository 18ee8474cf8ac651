//! What the process may do once it runs: whose it is, and what it has given up.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::client::{Client, message, send};
use crate::node::{BINARY, Node, SOON, refusal, text, to_upstream, wait_for};
use crate::sink::Sink;
use crate::tool;

/// Nobody's numbers, in any distribution.
pub(crate) const USER: (u32, u32) = (61_234, 61_235);
const OTHER: (u32, u32) = (61_236, 61_237);

pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        tool::skip("only root becomes another user");
    }
    root
}

pub(crate) fn user((uid, gid): (u32, u32)) -> String {
    format!("user = \"{uid}:{gid}\"\n")
}

/// A folder that everyone can look into, and a relay that does not run there yet.
pub(crate) fn idle(config: &str) -> Node {
    let node = Node::idle(config);
    fs::set_permissions(node.folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(node.config_path(), Permissions::from_mode(0o644)).unwrap();
    node
}

/// A field of the status of each thread of a process.
fn fields(node: &Node, name: &str) -> Vec<String> {
    let tasks = PathBuf::from(format!("/proc/{}/task", node.pid().as_raw_nonzero()));
    let of_thread = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        value.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    fs::read_dir(tasks).unwrap().map(|task| of_thread(task.unwrap())).collect()
}

/// All threads have this in their status.
fn assert_all(node: &Node, name: &str, expected: &str) {
    let all = fields(node, name);
    assert!(all.len() > 4, "shards, and what helps them: {all:?}");
    assert!(all.iter().all(|value| value == expected), "{name}: {all:?}");
}

fn has_landlock() -> bool {
    fs::read_to_string("/sys/kernel/security/lsm").map_or_else(
        // Not mounted in a container: then the log says what was found.
        |_| true,
        |modules| modules.contains("landlock"),
    )
}

#[test]
fn root_becomes_a_user_that_has_nothing() {
    if !is_root() {
        return;
    }
    let sink = Sink::start();
    let low: SocketAddr = "127.25.0.25:25".parse().unwrap();
    let config = to_upstream(&sink.address.to_string(), "");
    let config = config.replace("127.0.0.1:0", &low.to_string());
    let mut node = idle(&format!("{}{config}", user(USER)));
    node.run(2);
    let (uid, gid) = USER;
    assert_all(&node, "Uid", &[uid; 4].map(|id| id.to_string()).join(" "));
    assert_all(&node, "Gid", &[gid; 4].map(|id| id.to_string()).join(" "));
    assert_all(&node, "Groups", "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_all(&node, set, "0000000000000000");
    }
    assert_all(&node, "NoNewPrivs", "1");
    assert_all(&node, "Seccomp", "2");
    node.wait_for_log("capabilities: none, Landlock: ");
    let memory = format!("/proc/{}/mem", node.pid().as_raw_nonzero());
    assert_eq!(fs::metadata(memory).unwrap().uid(), 0, "not even its own user reads its memory");

    send(low, "<a@a.example>", &["<b@b.example>"], "from a user");
    assert_eq!(sink.wait(1)[0].subject(), "from a user");
    node.signal(Signal::HUP);
    node.wait_for_log("reloaded changes=0");
    let spool = node.spool();
    for path in [spool.clone(), spool.join("LOCK"), spool.join("000"), spool.join("events")] {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), USER, "{path:?}");
    }
    assert_eq!(fs::metadata(&spool).unwrap().mode() & 0o777, 0o700);
    for path in [spool.join("LOCK"), spool.join("000"), spool.join("events")] {
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o077, 0, "{path:?}");
    }
    node.drain();
}

#[test]
fn a_spool_goes_from_root_to_a_user_and_to_another() {
    if !is_root() {
        return;
    }
    let mut sink = Sink::start();
    let address = sink.address;
    sink.stop();
    let config = to_upstream(&address.to_string(), SOON);
    let mut node = idle(&config);
    for (place, who) in [None, Some(USER), Some(OTHER), None, Some(USER)].into_iter().enumerate() {
        let as_whom = who.map(user).unwrap_or_default();
        node.configure(&format!("{as_whom}{config}"));
        node.run(2);
        assert_eq!(node.stat("messages"), place as u64, "all that came before is there");
        let subject = format!("message {place}");
        send(node.listen[0], "<a@a.example>", &["<b@b.example>"], &subject);
        node.kill();
    }
    sink.resume();
    node.run(2);
    let mut subjects: Vec<_> = sink.wait(5).iter().map(|it| it.subject().to_owned()).collect();
    subjects.sort();
    assert_eq!(subjects, [0, 1, 2, 3, 4].map(|place| format!("message {place}")));
}

#[test]
fn what_the_user_cannot_read_is_told_at_the_start() {
    if !is_root() {
        return;
    }
    let config = format!("{}{}", user(USER), to_upstream("127.0.0.1:1", ""));
    let node = idle(&config);
    let start = |node: &Node| refusal(&node.command(1).output().unwrap());
    fs::set_permissions(node.config_path(), Permissions::from_mode(0o600)).unwrap();
    let said = start(&node);
    assert!(said.contains("as user 61234:61235: cannot read"), "{said}");

    let credentials = node.folder.path().join("credentials");
    fs::write(&credentials, "").unwrap();
    fs::set_permissions(&credentials, Permissions::from_mode(0o600)).unwrap();
    let mut node = node;
    node.configure(&format!("{config}[auth]\ncredentials = {credentials:?}\n"));
    fs::set_permissions(node.config_path(), Permissions::from_mode(0o644)).unwrap();
    let said = start(&node);
    assert!(said.contains("credentials: Permission denied"), "{said}");
    std::os::unix::fs::chown(&credentials, Some(USER.0), None).unwrap();
    node.run(1);
}

#[test]
fn a_reload_reads_what_is_in_folders_that_were_named() {
    let node = idle("");
    let config = |path: &Path| {
        let more = format!("[auth]\ncredentials = {path:?}\n");
        to_upstream("127.0.0.1:1", &more)
    };
    let write = |folder: &Path, name: &str| {
        let file = folder.join(name);
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        file
    };
    let folder = node.folder.path().join("keys");
    fs::create_dir(&folder).unwrap();
    let (first, second) = (write(&folder, "first"), write(&folder, "second"));
    let elsewhere = tempfile::tempdir().unwrap();
    let third = write(elsewhere.path(), "third");
    let mut node = node;
    node.configure(&config(&first));
    node.run(1);
    node.configure(&config(&second));
    node.signal(Signal::HUP);
    node.wait_for_log("reloaded changes=1");
    node.configure(&config(&third));
    node.signal(Signal::HUP);
    let logged = wait_for("what came of it", || {
        let log = node.log();
        let line = log.lines().find(|line| {
            line.contains("not reloaded, nothing has changed") || line.contains("changes=2")
        });
        line.map(str::to_owned)
    });
    if has_landlock() && !node.log().contains("Landlock: not in this kernel") {
        let words = "is in a folder that was not named when this relay was started";
        assert!(logged.contains(text(&third)) && logged.contains(words), "{logged}");
    }
}

#[test]
fn a_user_that_starts_it_gives_up_what_it_was_lent() {
    let Some(setpriv) = tool::find("setpriv").filter(|_| is_root()) else { return };
    let sink = Sink::start();
    let low: SocketAddr = "127.25.0.26:25".parse().unwrap();
    let config = to_upstream(&sink.address.to_string(), "");
    let mut node = idle(&config.replace("127.0.0.1:0", &low.to_string()));
    fs::create_dir(node.spool()).unwrap();
    std::os::unix::fs::chown(node.spool(), Some(USER.0), Some(USER.1)).unwrap();
    let binary = readable_copy(&node);
    let lent = |program: &Path| {
        let mut command = Command::new(&setpriv);
        command.arg(format!("--reuid={}", USER.0)).arg(format!("--regid={}", USER.1));
        command.args(["--clear-groups", "--inh-caps=-all,+net_bind_service"]);
        command.args(["--ambient-caps=-all,+net_bind_service", "--"]).arg(program);
        command
    };
    let mut command = lent(&binary);
    command.args(node.command(2).get_args());
    node.run_as(command);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_all(&node, set, "0000000000000000");
    }
    assert_all(&node, "Seccomp", "2");
    let log = node.log();
    assert!(log.contains("was open to others (mode 755): it is 700 now"), "{log}");
    assert_eq!(fs::metadata(node.spool()).unwrap().mode() & 0o777, 0o700);
    let mut client = Client::connect(low);
    client.send("<a@a.example>", &["<b@b.example>"], &message("lent"));
    assert_eq!(sink.wait(1)[0].subject(), "lent");
    node.drain();

    let mut other = idle(&format!("{}{}", user(OTHER), to_upstream("127.0.0.1:1", "")));
    let mut command = lent(&readable_copy(&other));
    command.args(other.command(1).get_args());
    let said = refusal(&command.output().unwrap());
    assert!(said.contains("only root can become 61236:61237"), "{said}");
    other.configure("user = \"no-such-user-here\"\n");
    let said = refusal(&other.command(1).output().unwrap());
    assert!(said.contains("there is no user no-such-user-here"), "{said}");
}

/// The program where a user who is not root may find it.
pub(crate) fn readable_copy(node: &Node) -> PathBuf {
    let copy = node.folder.path().join("relay-fast");
    fs::copy(BINARY, &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    copy
}

#[test]
fn the_sandbox_can_be_left_out() {
    let mut node = idle(&format!("sandbox = \"off\"\n{}", to_upstream("127.0.0.1:1", "")));
    node.run(1);
    node.wait_for_log(", sandbox off");
    assert_all(&node, "Seccomp", "0");
    assert_all(&node, "NoNewPrivs", "1");
}
