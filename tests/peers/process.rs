//! Run programs: those that end with the test, and those whose output it reads.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long anything may take that is waited for. Nothing should come near it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Octets of a log that a failed test shows, from its end.
const SHOWN: usize = 20_000;

/// A program that runs until this is dropped, with all that it started.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Start `command`; all that it says goes to the file `log`.
    pub(crate) fn start(command: &Command, log: &Path) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = std::fs::File::create(log).unwrap();
        // A test that is interrupted drops nothing: then the kernel ends the program.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            // A group of its own, so that its children can be ended with it.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name, child, log: log.to_owned() }
    }

    /// Everything said so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it has not ended.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        // Those that clean up behind themselves get a chance to; nobody is waited for.
        let _ = kill_process_group(group, Signal::TERM);
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read(&self.log).unwrap_or_default();
            let end = String::from_utf8_lossy(&log[log.len().saturating_sub(SHOWN)..]);
            eprintln!("---- what {} said:\n{end}----", self.name);
        }
    }
}

/// What `probe` finds, however long it takes, within reason.
pub(crate) fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a program wrote on stdout, given `input` on stdin; it must succeed.
pub(crate) fn output(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let (is_success, out, errors) = outcome(command, input);
    assert!(is_success, "{command:?}: {}{errors}", String::from_utf8_lossy(&out));
    out
}

/// Whether a program succeeded, and what it wrote.
pub(crate) fn outcome(command: &mut Command, input: &[u8]) -> (bool, Vec<u8>, String) {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // On a thread: it may want to write before it has read all. Whether it reads at all is its
    // own affair.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), output.stdout, errors)
}
