//! A relay under a service manager: what it tells it, and whether the unit lets it work.

use std::collections::BTreeSet;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::chown;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::client::send;
use crate::node::{BINARY, to_upstream};
use crate::process::{USER, idle, is_root, readable_copy, user};
use crate::sink::Sink;
use crate::tool;

const UNIT: &str = include_str!("../../packaging/relay-fast.service");

/// The next that the manager is told.
fn told(manager: &UnixDatagram) -> String {
    let mut text = [0; 256];
    let length = manager.recv(&mut text).expect("within a minute");
    std::str::from_utf8(&text[..length]).unwrap().to_owned()
}

#[test]
fn the_manager_is_told_of_starts_reloads_and_stops() {
    let sink = Sink::start();
    // As root becomes a user where that can be, and confined: it is told all the same.
    let who = if is_root() { user(USER) } else { String::new() };
    let config = format!("{who}{}", to_upstream(&sink.address.to_string(), ""));
    let mut node = idle(&config);
    let path = node.folder.path().join("notify");
    let name = format!("relay-fast-manager-{}", std::process::id());
    let by_name = SocketAddr::from_abstract_name(&name).unwrap();
    for (manager, address) in [
        (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned()),
        (UnixDatagram::bind_addr(&by_name).unwrap(), format!("@{name}")),
    ] {
        manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut command = node.command(1);
        command.env("NOTIFY_SOCKET", address);
        node.run_as(command);
        assert_eq!(told(&manager), "READY=1");
        // A reload that is refused is over as well.
        for broken in ["", "corse = 1\n"] {
            node.configure(&format!("{broken}{config}"));
            node.signal(Signal::HUP);
            let reloading = told(&manager);
            assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
            assert_eq!(told(&manager), "READY=1");
        }
        node.drain();
        assert_eq!(told(&manager), "STOPPING=1");
        node.configure(&config);
    }
}

/// The unit with this program, in a file of its name.
fn unit_in(folder: &Path) -> String {
    let path = folder.join("relay-fast.service");
    fs::write(&path, UNIT.replace("/usr/local/bin/relay-fast", BINARY)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_unit_is_right_and_exposes_little() {
    let Some(analyze) = tool::find("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    let unit = unit_in(folder.path());
    let verified = Command::new(&analyze).args(["verify", &unit]).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    let ours: Vec<_> = said.lines().filter(|line| line.contains("relay-fast")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
    // Of 100: what is left is the network, port 25 among it.
    let mut security = Command::new(&analyze);
    security.args(["security", "--offline=true", "--threshold=20", "--no-pager", &unit]);
    let judged = security.output().unwrap();
    let table = String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success(), "{table}");
}

/// System calls of a set, and of the sets in it.
fn members(analyze: &Path, set: &str, into: &mut BTreeSet<String>) {
    let output = Command::new(analyze).args(["syscall-filter", set]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for word in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        match word.starts_with('@') {
            true if word != set => members(analyze, word, into),
            true => {}
            false => drop(into.insert(word.to_owned())),
        }
    }
}

/// The system calls that the unit lets pass.
fn allowed(analyze: &Path) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in UNIT.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (denies, words) = line.strip_prefix('~').map_or((false, line), |words| (true, words));
        let mut named = BTreeSet::new();
        for word in words.split_whitespace() {
            match word.starts_with('@') {
                true => members(analyze, word, &mut named),
                false => drop(named.insert(word.to_owned())),
            }
        }
        match denies {
            true => allowed.retain(|call| !named.contains(call)),
            false => allowed.extend(named),
        }
    }
    allowed
}

#[test]
fn the_unit_lets_every_system_call_pass_that_is_made() {
    let tools = [tool::find("systemd-analyze"), tool::find("strace"), tool::find("setpriv")];
    let [Some(analyze), Some(strace), Some(setpriv)] = tools else { return };
    if !is_root() {
        return;
    }
    let allowed = allowed(&analyze);
    assert!(allowed.contains("io_uring_enter") && !allowed.contains("setuid"), "{allowed:?}");
    let sink = Sink::start();
    let mut node = idle(&to_upstream(&sink.address.to_string(), ""));
    fs::create_dir(node.spool()).unwrap();
    chown(node.spool(), Some(USER.0), Some(USER.1)).unwrap();
    let traced = node.folder.path().join("trace");
    fs::create_dir(&traced).unwrap();
    chown(&traced, Some(USER.0), Some(USER.1)).unwrap();
    let binary = readable_copy(&node);
    let mut command = Command::new(setpriv);
    command.arg(format!("--reuid={}", USER.0)).arg(format!("--regid={}", USER.1));
    command.args(["--clear-groups", "--inh-caps=-all,+net_bind_service"]);
    command.args(["--ambient-caps=-all,+net_bind_service", "--"]).arg(strace);
    command.args(["-qq", "-ff", "-o"]).arg(traced.join("calls")).arg(binary);
    command.args(node.command(2).get_args());
    node.run_as(command);
    send(node.listen[0], "<a@a.example>", &["<b@b.example>"], "traced");
    assert_eq!(sink.wait(1)[0].subject(), "traced");
    assert!(node.ask(&["stats"]).contains("messages"));
    // It is strace's child that is told: strace would end by the signal, and not pass it on.
    let traces = fs::read_dir(&traced).unwrap().map(|entry| entry.unwrap().path());
    let traces: Vec<_> = traces.collect();
    let pids = traces.iter().filter_map(|path| path.extension()?.to_str()?.parse::<i32>().ok());
    let relay = rustix::process::Pid::from_raw(pids.min().unwrap()).unwrap();
    rustix::process::kill_process(relay, Signal::HUP).unwrap();
    node.wait_for_log("reloaded changes=0");
    rustix::process::kill_process(relay, Signal::TERM).unwrap();
    assert!(node.wait().success());
    let text: String = traces.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let name = |line: &str| line.split_once('(').map(|(name, _)| name.to_owned());
    let is_word =
        |name: &String| name.bytes().all(|octet| octet == b'_' || octet.is_ascii_alphanumeric());
    let made: BTreeSet<_> = text.lines().filter_map(name).filter(is_word).collect();
    assert!(made.contains("io_uring_enter") && made.len() > 30, "{made:?}");
    let denied: Vec<_> = made.difference(&allowed).collect();
    assert!(denied.is_empty(), "made, and denied by the unit: {denied:?}");
}
