//! Flags, the file, and what `check`, `knobs` and `--help` print.

use std::path::Path;
use std::process::Command;

use crate::client::{Client, message, send};
use crate::node::{BINARY, Node, free_port, printed, refusal, run, text, to_upstream, wait_for};
use crate::sink::Sink;

/// A configuration file that says this, and where it is.
fn file(folder: &Path, words: &str) -> String {
    let path = folder.join("relay.toml");
    std::fs::write(&path, words).unwrap();
    text(&path).to_owned()
}

/// `relay-fast check` on a file, and more arguments.
fn check(words: &str, more: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), words);
    run(&[&["check", "--config", &path], more].concat())
}

#[test]
fn the_form_that_outside_measurements_rely_on_works_exactly_so() {
    let sink = Sink::start();
    let mut node = Node::idle("");
    let spool = node.folder.path().join("not/yet/there");
    let from_port = |port: u16| {
        let mut command = Command::new(BINARY);
        command.args(["--cores", "2", "--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--upstream", &sink.address.to_string()]).arg("--spool").arg(&spool);
        command
    };
    // Without --admin it is the one fixed port of this test; another run of it may have it.
    wait_for("the admin port of the defaults", || {
        std::net::TcpListener::bind("127.0.0.1:8025").ok()
    });
    let port = free_port();
    node.run_as(from_port(port));
    assert_eq!(node.listen, [format!("127.0.0.1:{port}").parse().unwrap()]);
    assert_eq!(node.admin, "127.0.0.1:8025".parse().unwrap());
    let to = ["<b@b.example>", "<c@c.example>"];
    send(node.listen[0], "<a@a.example>", &to, "exactly so");
    let taken = sink.wait(2);
    assert!(taken.iter().all(|one| one.subject() == "exactly so"));
    assert!(spool.join("001").is_dir() && spool.join("events").is_dir());
    node.drain();
}

#[test]
fn with_neither_file_nor_flags_the_defaults_hold() {
    let folder = tempfile::tempdir().unwrap();
    let by_environment = |key: &str| {
        let mut command = Command::new(BINARY);
        command.arg("check").env_remove("XDG_STATE_HOME").env_remove("HOME");
        printed(&command.env(key, folder.path()).output().unwrap())
    };
    let state = by_environment("XDG_STATE_HOME");
    let spool = |below: &str| format!("directory = \"{}/{below}", text(folder.path()));
    assert!(state.contains(&spool("relay-fast\"")), "{state}");
    let home = by_environment("HOME");
    assert!(home.contains(&spool(".local/state/relay-fast\"")), "{home}");
    for expected in [
        "address = \"127.0.0.1:2525\" ",
        "relay_for = [\"127.0.0.0/8\", \"::1/128\"] ",
        "default_route = \"mx\" ",
        "listen = [\"127.0.0.1:8025\"] ",
        "lifetime = \"5d\" ",
        "delay_report = \"4h\" ",
    ] {
        assert!(state.contains(expected), "{expected}: {state}");
    }
    let sets = |line: &&str| line.contains(" = ");
    assert!(state.lines().filter(sets).all(|line| line.ends_with("  # default")), "{state}");
    assert!(!folder.path().join("relay-fast").exists(), "a check makes nothing");
    let nowhere = Command::new(BINARY).arg("check").env_clear().output().unwrap();
    let refusal = refusal(&nowhere);
    assert!(refusal.contains("--spool") && !refusal.contains("panicked"), "{refusal}");
}

#[test]
fn each_flag_is_a_knob_too_and_goes_before_it() {
    let flags = [
        ("--cores", "3", "cores = 3"),
        ("--listen", "127.0.0.1:2600", "address = \"127.0.0.1:2600\""),
        ("--listen", "[::1]:2601", "address = \"[::1]:2601\""),
        ("--upstream", "a.example:26*3,b.example;c.example", "hosts = \"a.example:26*3,b.example"),
        ("--spool", "/var/spool/elsewhere", "directory = \"/var/spool/elsewhere\""),
        ("--admin", "127.0.0.1:8026", "listen = [\"127.0.0.1:8026\"]"),
        ("--hostname", "flag.example", "hostname = \"flag.example\""),
    ];
    let arguments: Vec<&str> = flags.iter().flat_map(|(name, value, _)| [*name, value]).collect();
    let knobs = "cores = 1\nhostname = \"file.example\"\ndefault_route = \"g\"\n\
        [admin]\nlisten = [\"127.0.0.1:1\"]\n[spool]\ndirectory = \"/file\"\n\
        [[listener]]\naddress = \"127.0.0.1:2\"\n\
        [[upstream]]\nname = \"g\"\nhosts = \"f.example\"\n";
    let by_file = printed(&check(knobs, &[]));
    for value in ["cores = 1", "\"file.example\"", "\"/file\"", "\"127.0.0.1:2\"", "\"f.example\""]
    {
        let line = by_file.lines().find(|line| line.contains(value)).expect(value);
        assert!(line.contains("relay.toml:"), "its line in the file: {line}");
    }
    let by_flag = printed(&check(knobs, &arguments));
    for (name, _, expected) in flags {
        let line = by_flag.lines().find(|line| line.starts_with(expected));
        let line = line.unwrap_or_else(|| panic!("{expected}: {by_flag}"));
        assert!(line.ends_with(&format!("# {name}")), "{line}");
    }
    assert!(by_flag.contains("default_route = \"upstream\""), "all mail goes there: {by_flag}");
    // What `check` prints is a file that means the same.
    let again = printed(&check(&by_flag, &[]));
    let values = |text: &str| -> Vec<String> {
        let value = |line: &str| line.split("  # ").next().unwrap_or("").trim_end().to_owned();
        text.lines().filter(|line| !line.starts_with('#')).map(value).collect()
    };
    assert_eq!(values(&again), values(&by_flag));
}

#[test]
fn a_wrong_file_is_refused_with_file_line_and_suggestion() {
    let upstream = "[[upstream]]\nname = \"smart\"\nhosts = \"a.example\"\n";
    let cases = [
        ("\ncorse = 4\n", "relay.toml:2:1", "unknown key `corse`", "did you mean `cores`?"),
        ("[spol]\n", "relay.toml:1:2", "unknown key `spol`", "did you mean `spool`?"),
        ("drain_deadline = \"30 secs\"\n", "relay.toml:1:18", "`secs` is no unit", "\"30s\"?"),
        ("[spool]\nsegment_size = \"64MB\"\n", "relay.toml:2:16", "`MB` is no unit", "\"64MiB\"?"),
        ("drain_deadline = \"30\"\n", "relay.toml:1:18", "has no unit", "if that is meant"),
        (
            &format!("default_route = \"smartt\"\n{upstream}"),
            "relay.toml:1:17",
            "no upstream group `smartt`",
            "did you mean `smart`?",
        ),
        (
            "[queue]\nretry_first = \"3h\"\nretry_longest = \"1h\"\n",
            "relay.toml:3:17",
            "is less than `retry_first`",
            "",
        ),
        (
            "[admin]\nlisten = [\"127.0.0.1:2525\"]\n",
            "relay.toml:2:11",
            "both a listener and an admin",
            "",
        ),
        ("admin = \"127.0.0.1:1\"\n", "relay.toml:1:9", "`admin` is a section", "[admin]"),
        (
            "[[listener]]\nrelay_for = [\"0.0.0.0/0\"]\n",
            "relay.toml:2:14",
            "open relay",
            "name the",
        ),
        ("cores = 2 3\n", "relay.toml:1:", "", ""),
    ];
    for (words, place, what, help) in cases {
        let refusal = refusal(&check(words, &["--spool", "/s"]));
        for expected in [place, what, help] {
            assert!(refusal.contains(expected), "no `{expected}` in: {refusal}");
        }
        assert!(refusal.contains("in the configuration") && !refusal.contains("panicked"));
    }
    let missing = refusal(&run(&["check", "--config", "/no/such/relay.toml"]));
    assert!(missing.contains("cannot read /no/such/relay.toml"), "{missing}");
    assert_eq!(missing.lines().count(), 1);
}

#[test]
fn a_node_with_a_wrong_file_or_flag_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "corse = 4\n");
    let spool = folder.path().join("spool");
    let by_file = refusal(&run(&["--config", &path, "--spool", text(&spool)]));
    assert!(by_file.contains("did you mean `cores`?"), "{by_file}");
    for (flag, value) in
        [("--cores", "0"), ("--cores", "two"), ("--listen", "2525"), ("--admin", "")]
    {
        let by_flag = refusal(&run(&["--spool", text(&spool), flag, value]));
        assert!(by_flag.starts_with(&format!("relay-fast: {flag}: ")), "{by_flag}");
    }
    assert!(refusal(&run(&["--crores", "2"])).contains("unexpected argument"));
    assert!(!spool.exists());
}

#[test]
fn knobs_prints_a_row_for_each_knob() {
    let table = printed(&run(&["knobs"]));
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("| knob | unit | default | range |"), "{}", rows[0]);
    assert!(rows.iter().all(|row| row.matches('|').count() == rows[0].matches('|').count()));
    for knob in ["cores", "listener[].address", "upstream[].hosts", "queue.lifetime", "dns.servers"]
    {
        assert!(rows.iter().any(|row| row.starts_with(&format!("| `{knob}` |"))), "{knob}");
    }
}

#[test]
fn help_names_every_flag_and_verb() {
    let help = printed(&run(&["--help"]));
    for flag in ["config", "cores", "listen", "upstream", "spool", "admin", "hostname"] {
        assert!(help.contains(&format!("--{flag} <")), "{flag}: {help}");
    }
    let queue = printed(&run(&["queue", "--help"]));
    for verb in ["list", "show", "stats", "flush", "hold", "release", "remove"] {
        assert!(queue.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}: {queue}");
    }
    let spool = printed(&run(&["spool", "--help"]));
    for verb in ["check", "dump", "repair", "bench"] {
        assert!(spool.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}: {spool}");
    }
}

#[test]
fn more_shards_than_cpus_run_unpinned_and_say_so_in_one_line() {
    let sink = Sink::start();
    let mut node = Node::idle(&to_upstream(&sink.address.to_string(), ""));
    let allowed = rustix::thread::sched_getaffinity(None).unwrap().count();
    node.run(16);
    for number in 0..32 {
        send(node.listen[0], "<a@a.example>", &[&format!("<b@d{number}.example>")], "sixteen");
    }
    sink.wait(32);
    let log = node.log();
    let said = log.lines().filter(|line| line.contains("not pinned")).count();
    assert_eq!(said, usize::from(allowed < 16), "{log}");
    assert_eq!(
        std::fs::read_dir(node.spool()).unwrap().count(),
        16 + 2,
        "directories, events, LOCK"
    );
    node.drain();
}

#[test]
fn a_node_takes_clients_on_every_address_that_it_listens_on() {
    let sink = Sink::start();
    let mut node = Node::idle(&to_upstream(&sink.address.to_string(), ""));
    let mut command = node.command(2);
    command.args(["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0", "--hostname", "n.example"]);
    node.run_as(command);
    assert_eq!(node.listen.len(), 2);
    for address in node.listen.clone() {
        let mut client = Client::connect(address);
        client.send("<a@a.example>", &["<b@b.example>"], &message(&address.to_string()));
        let bye = client.say("QUIT");
        assert!(bye.text.contains("n.example"), "its name: {bye:?}");
    }
    let taken = sink.wait(2);
    for address in &node.listen {
        assert!(taken.iter().any(|one| one.subject() == address.to_string()));
    }
    assert!(taken[0].field("Received").is_some() && taken[0].content.contains("n.example"));
}
