//! What keeps a node from starting: one clear line each, with the remedy, and an exit code.

use std::process::{Command, Stdio};

use crate::node::{BINARY, Node, refusal, text, to_upstream};
use crate::sink::Sink;
use crate::tool;

/// A node that is ready to run, and one that runs.
fn two() -> (Node, Node, Sink) {
    let sink = Sink::start();
    let config = to_upstream(&sink.address.to_string(), "");
    (Node::idle(&config), Node::start(&config), sink)
}

/// The one line with which a command line is refused.
fn line_of(command: &mut Command) -> String {
    let text = refusal(&command.stdin(Stdio::null()).output().unwrap());
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    assert!(text.starts_with("relay-fast: ") && !text.contains("panicked"), "{text}");
    text
}

#[test]
fn a_second_relay_on_a_spool_refuses_and_the_first_goes_on() {
    let (second, first, sink) = two();
    let mut command = Command::new(BINARY);
    command.arg("--config").arg(second.config_path()).arg("--spool").arg(first.spool());
    let line = line_of(command.args(["--admin", "127.0.0.1:0"]));
    let pid = first.pid().as_raw_nonzero().to_string();
    for words in [text(&first.spool()), "in use by another relay", &pid, "--spool"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    crate::client::send(first.listen[0], "<a@a.example>", &["<b@b.example>"], "still here");
    assert_eq!(sink.wait(1)[0].subject(), "still here");
}

#[test]
fn a_taken_port_is_refused() {
    let (node, other, _sink) = two();
    let listen = other.listen[0].to_string();
    let line = line_of(node.command(2).args(["--listen", &listen]));
    for words in [listen.as_str(), "taken", "--listen"] {
        assert!(line.contains(words), "{words}: {line}");
    }
    let admin = other.admin.to_string();
    let mut command = Command::new(BINARY);
    command.arg("--config").arg(node.config_path()).arg("--spool").arg(node.spool());
    let line = line_of(command.args(["--admin", &admin]));
    for words in [admin.as_str(), "admin", "--admin"] {
        assert!(line.contains(words), "{words}: {line}");
    }
}

#[test]
fn an_address_of_another_machine_is_refused() {
    let node = Node::idle("");
    // TEST-NET-1: nobody has it.
    let line = line_of(node.command(1).args(["--listen", "192.0.2.1:2525"]));
    assert!(line.contains("192.0.2.1:2525") && line.contains("no interface"), "{line}");
}

#[test]
fn a_spool_that_cannot_be_written_is_refused() {
    let node = Node::idle(&to_upstream("127.0.0.1:9", ""));
    // Below a file there can be no directory, whoever asks.
    let spool = node.folder.path().join("file/spool");
    std::fs::write(node.folder.path().join("file"), "").unwrap();
    let mut command = Command::new(BINARY);
    command.arg("--config").arg(node.config_path()).arg("--spool").arg(&spool);
    let line = line_of(command.args(["--admin", "127.0.0.1:0"]));
    for words in [text(&spool), "cannot be used", "must be a directory that this user can write"] {
        assert!(line.contains(words), "{words}: {line}");
    }
}

/// Answers io_uring_setup (425 on every architecture) as a container's seccomp profile does.
const WITHOUT_IO_URING: &str = "
import ctypes, os, struct, sys
errno = int(sys.argv[1])
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x50000 | errno), (0x06, 0, 0, 0x7fff0000)]
filter = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *one) for one in code))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(code), ctypes.addressof(filter)))
libc = ctypes.CDLL(None, use_errno=True)
long = ctypes.c_ulong
for option in [(38, 1, 0), (22, 2, ctypes.addressof(program))]:
    if libc.prctl(option[0], long(option[1]), long(option[2]), long(0), long(0)) != 0:
        sys.exit('no filter: ' + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[2], sys.argv[2:])
";

#[test]
fn without_io_uring_the_reason_and_the_remedy_are_told() {
    let Some(python) = tool::find("python3") else { return };
    let node = Node::idle(&to_upstream("127.0.0.1:9", ""));
    // EPERM and ENOSYS.
    for (errno, remedy) in [("1", "seccomp"), ("38", "CONFIG_IO_URING")] {
        let mut command = Command::new(&python);
        command.args(["-c", WITHOUT_IO_URING, errno, BINARY, "--config"]).arg(node.config_path());
        command.arg("--spool").arg(node.spool()).args(["--admin", "127.0.0.1:0"]);
        let line = line_of(&mut command);
        assert!(line.contains("io_uring") && line.contains(remedy), "{line}");
        assert!(line.contains("io_uring_setup"), "{line}");
    }
}
