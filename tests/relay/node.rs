//! A relay as a process: started, asked as an operator asks, and killed on drop.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use relay_fast::outcome::event::Event;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_relay-fast");
const PATIENCE: Duration = Duration::from_secs(60);

/// Ask again and again until there is something, for a minute.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The program run to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// What a program wrote where it should have failed; panics if it did not.
pub(crate) fn refusal(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!output.status.success(), "it did not refuse: {text}");
    assert!(output.stdout.is_empty(), "a refusal goes to standard error");
    text
}

/// What a program printed where it should have succeeded.
pub(crate) fn printed(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A folder with a spool, a configuration and a log, and perhaps a relay that runs there.
pub(crate) struct Node {
    pub(crate) folder: TempDir,
    config: String,
    child: Option<Child>,
    /// Where clients are taken, in the order of the listeners.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) admin: SocketAddr,
}

impl Node {
    /// A place for a relay with this configuration; it does not run yet.
    pub(crate) fn idle(config: &str) -> Self {
        let node = Self {
            folder: tempfile::tempdir().unwrap(),
            config: String::new(),
            child: None,
            listen: Vec::new(),
            admin: "127.0.0.1:0".parse().unwrap(),
        };
        node.with_config(config)
    }

    fn with_config(mut self, config: &str) -> Self {
        self.configure(config);
        self
    }

    /// A relay with two shards that runs by this configuration.
    pub(crate) fn start(config: &str) -> Self {
        let mut node = Self::idle(config);
        node.run(2);
        node
    }

    /// A relay for loopback with all mail for `upstream`, and more lines of configuration.
    pub(crate) fn to(upstream: SocketAddr, more: &str) -> Self {
        Self::start(&to_upstream(&upstream.to_string(), more))
    }

    /// Write the configuration; a relay that runs is not told.
    pub(crate) fn configure(&mut self, config: &str) {
        self.config = config.to_owned();
        fs::write(self.config_path(), &self.config).unwrap();
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.path().join("relay.toml")
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The command line of a relay with so many shards.
    pub(crate) fn command(&self, cores: usize) -> Command {
        let mut command = self.command_as_configured(cores);
        command.args(["--admin", "127.0.0.1:0"]);
        command
    }

    /// As `command`, with the admin addresses of the configuration.
    pub(crate) fn command_as_configured(&self, cores: usize) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("--config").arg(self.config_path()).args(["--cores", &cores.to_string()]);
        command.arg("--spool").arg(self.spool());
        command
    }

    /// Start the relay, and wait until it is ready.
    pub(crate) fn run(&mut self, cores: usize) {
        let command = self.command(cores);
        self.run_as(command);
    }

    /// Start a relay by a command line of the test's own, and wait until all of its spool's
    /// messages are back in the queue.
    pub(crate) fn run_as(&mut self, command: Command) {
        self.run_ahead(command);
        self.wait_until_recovered();
    }

    /// Wait until all of the spool's messages are back in the queue.
    pub(crate) fn wait_until_recovered(&mut self) {
        wait_for("recovery", || {
            assert!(self.is_running(), "it ended:\n{}", self.log());
            self.get("/metrics").1.contains("\nrelay_fast_recovering 0\n").then_some(())
        });
    }

    /// Start a relay, and wait until it takes clients.
    pub(crate) fn run_ahead(&mut self, mut command: Command) {
        let log = File::options().append(true).create(true).open(self.log_path()).unwrap();
        let before = self.log().len();
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(child.spawn().unwrap());
        let ready = wait_for("ready", || {
            let log = self.log();
            let line = log[before..].lines().find(|line| line.contains(" ready "));
            assert!(line.is_some() || self.is_running(), "it ended:\n{log}");
            line.map(str::to_owned)
        });
        let (_, rest) = ready.split_once(" listen=[").expect("where it listens");
        let (listen, admin) = rest.split_once("] admin=").expect("where it is asked");
        // The first one that is no Unix socket, if there is one.
        let tcp = admin.split(',').find_map(|one| one.parse().ok());
        self.admin = tcp.unwrap_or(self.admin);
        self.listen = listen.split(", ").map(|one| one.parse().unwrap()).collect();
    }

    fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Wait until the process is gone.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = wait_for("its end", || self.child.as_mut().unwrap().try_wait().unwrap());
        self.child = None;
        status
    }

    /// SIGTERM, and its end.
    pub(crate) fn drain(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status} after SIGTERM");
    }

    /// As a power cut ends it.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Everything that the relay has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Wait for a line of the log with `words`; it.
    pub(crate) fn wait_for_log(&self, words: &str) -> String {
        wait_for(words, || self.log().lines().find(|line| line.contains(words)).map(str::to_owned))
    }

    /// `relay-fast queue …`, asking this node.
    pub(crate) fn queue(&self, words: &[&str]) -> Output {
        let admin = self.admin.to_string();
        let arguments = [&["queue"], words, &["--admin", &admin]].concat();
        run(&arguments)
    }

    /// What `relay-fast queue …` prints.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        printed(&self.queue(words))
    }

    /// A figure of `queue stats`.
    pub(crate) fn stat(&self, name: &str) -> u64 {
        let stats = self.ask(&["stats"]);
        let line = stats.lines().find(|line| line.trim_start().starts_with(name)).expect(name);
        line.split_whitespace().last().unwrap().parse().unwrap()
    }

    pub(crate) fn report(&self) -> String {
        let spool = self.spool();
        printed(&run(&["report", "--since", "1h", "--spool", spool.to_str().unwrap()]))
    }

    /// GET a path of the admin address: status line, headers and body.
    pub(crate) fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// The value of a series of `/metrics`.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let (_, body) = self.get("/metrics");
        let line = body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.expect(series).parse().unwrap()
    }

    /// The lines of all event logs, in order of their files.
    pub(crate) fn events(&self) -> Vec<Event<'static>> {
        let mut lines = Vec::new();
        let mut files: Vec<PathBuf> = fs::read_dir(self.spool().join("events"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        for path in &files {
            let text = match fs::read_to_string(path) {
                // Too old since the look at the folder.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                text => text.unwrap(),
            };
            let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines.extend(whole.map(|line| {
                let line: &'static str = line.to_owned().leak();
                Event::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"))
            }));
        }
        lines
    }

    /// Wait until so many events of a kind are logged; all events.
    pub(crate) fn wait_for_events(
        &self,
        kind: relay_fast::outcome::event::Kind,
        count: usize,
    ) -> Vec<Event<'static>> {
        wait_for(&format!("{count} events {kind:?}"), || {
            let events = self.events();
            (events.iter().filter(|event| event.kind == kind).count() >= count).then_some(events)
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() || std::env::var_os("SHOW").is_some() {
            eprintln!("--- configuration ---\n{}\n--- log ---\n{}", self.config, self.log());
        }
    }
}

/// A configuration with a listener on loopback, all mail for these upstream relays, small segments
/// and soon another attempt.
pub(crate) fn to_upstream(list: &str, more: &str) -> String {
    format!(
        "hostname = \"node.example\"\ndefault_route = \"smart\"\n\
        [spool]\nsegment_size = \"16MiB\"\nreserve = \"16MiB\"\n\
        [[listener]]\naddress = \"127.0.0.1:0\"\n\
        [[upstream]]\nname = \"smart\"\nhosts = \"{list}\"\n{more}"
    )
}

/// `queue` knobs with which the second attempt comes soon.
pub(crate) const SOON: &str =
    "[queue]\nretry_first = \"1s\"\nretry_longest = \"1s\"\nretry_jitter = 0\n";

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}
