//! Keys: what `dkim keygen` makes, what is refused, and what a reload takes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::client::{Client, send};
use crate::node::{Node, printed, refusal, run, text, to_upstream};
use crate::sink::Sink;

/// Make a key in `folder`; its zone file's text, and its part of the configuration.
fn keygen(folder: &Path, more: &[&str]) -> (String, String) {
    let arguments = [&["dkim", "keygen", "a.example", "--out", text(folder)], more].concat();
    let printed = printed(&run(&arguments));
    let comments = printed.lines().skip_while(|line| *line != "; [[dkim]]");
    let config = comments.map(|line| format!("{}\n", line.trim_start_matches("; "))).collect();
    (printed, config)
}

/// The one file in `folder`.
fn file_in(folder: &Path) -> PathBuf {
    let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let file = files.next().unwrap();
    assert!(files.next().is_none());
    file
}

fn check(folder: &Path, config: &str) -> std::process::Output {
    let path = folder.join("relay.toml");
    fs::write(&path, config).unwrap();
    run(&["check", "--config", text(&path), "--spool", "/nowhere"])
}

/// What `dkim record` says of a configuration file.
fn record(config: &Path, more: &[&str]) -> std::process::Output {
    let file = ["dkim", "record", "--config", text(config), "--spool", "/nowhere"];
    run(&[&file[..], more].concat())
}

#[test]
fn a_new_key_is_its_owners_alone_and_is_never_overwritten() {
    for (more, kind, size) in [
        (&["--selector", "s"][..], "rsa", 392),
        (&["--selector", "s", "--rsa"], "rsa", 392),
        (&["--selector", "s", "--ed25519"], "ed25519", 44),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (zone, config) = keygen(folder.path(), more);
        let begin = format!("\ns._domainkey.a.example. IN TXT (\n\t\"v=DKIM1; k={kind}; p=");
        assert!(zone.contains(&begin), "{zone}");
        let file = file_in(folder.path());
        assert_eq!(file.file_name().unwrap(), "a.example.s.pem");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        let out = ["--out", text(folder.path()), "--selector", "s"];
        let again = refusal(&run(&[&["dkim", "keygen", "a.example"], &out[..]].concat()));
        assert!(again.contains("a.example.s.pem: File exists"), "{again}");
        // The same record comes out of the file.
        let path = folder.path().join("relay.toml");
        fs::write(&path, &config).unwrap();
        let records = printed(&record(&path, &[]));
        assert!(zone.contains(&records), "{zone}\n{records}");
        assert_eq!(printed(&record(&path, &["A.example"])), records);
        let key: String = records.split('"').skip(1).step_by(2).collect();
        assert_eq!(key.split_once("p=").unwrap().1.len(), size, "{key}");
        let none = refusal(&record(&path, &["b.example"]));
        assert!(none.contains("no such key"), "{none}");
    }
    for bad in [&["keygen", "a b"][..], &["keygen", "a.b", "--selector", "a;b"]] {
        refusal(&run(&[&["dkim"], bad].concat()));
    }
}

#[test]
fn what_is_wrong_with_a_key_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    fs::create_dir(&keys).unwrap();
    let (_, config) = keygen(&keys, &[]);
    let shown = printed(&check(folder.path(), &config));
    assert!(shown.contains("[[dkim]]"), "{shown}");
    let file = file_in(&keys);
    let told = |words: &str| {
        let output = check(folder.path(), &config);
        let told = refusal(&output);
        assert!(told.contains(text(&file)) && told.contains(words), "{told}");
    };
    for mode in [0o644, 0o604, 0o602] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        told("can be read by everyone: chmod o= it");
    }
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    printed(&check(folder.path(), &config));
    fs::write(&file, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").unwrap();
    told("it holds a public key");
    fs::write(&file, "no key").unwrap();
    told("no private key is in it");
    fs::remove_file(&file).unwrap();
    told("cannot read ");
}

#[test]
fn a_reload_takes_a_new_key_and_refuses_a_bad_one() {
    let sink = Sink::start();
    let plain = to_upstream(&sink.address.to_string(), "");
    let mut node = Node::start(&plain);
    // Below the configuration's own folder, which a confined relay may read.
    let keys = node.folder.path().join("keys");
    fs::create_dir(&keys).unwrap();
    let (_, key) = keygen(&keys, &["--selector", "one", "--ed25519"]);
    let listener = node.listen[0];
    let signatures = |nth: usize| {
        send(listener, "<s@a.example>", &["<b@b.example>"], "signed");
        sink.wait(nth)[nth - 1].content.matches("DKIM-Signature:").count()
    };
    assert_eq!(signatures(1), 0);
    node.configure(&format!("{plain}{key}"));
    node.signal(Signal::HUP);
    node.wait_for_log("reloaded changes=6");
    assert_eq!(signatures(2), 1);
    assert!(node.metric("relay_fast_dkim_signatures_total{result=\"made\"}") == 1.0);
    fs::set_permissions(file_in(&keys), Permissions::from_mode(0o644)).unwrap();
    node.signal(Signal::HUP);
    let line = node.wait_for_log("not reloaded");
    assert!(line.contains("can be read by everyone"), "{line}");
    assert_eq!(signatures(3), 1, "by the key that was read before");
    node.drain();
    let refused = refusal(&node.command(1).output().unwrap());
    assert!(refused.contains("can be read by everyone"), "{refused}");
}

#[test]
fn a_tenant_has_keys_of_its_own_for_a_domain_that_others_send_from_too() {
    let sink = Sink::start();
    let mut node = Node::idle("");
    let keys = node.folder.path().join("keys");
    fs::create_dir(&keys).unwrap();
    let mut config = to_upstream(&sink.address.to_string(), "");
    for tenant in ["acme", "globex"] {
        let (_, key) = keygen(&keys, &["--selector", tenant, "--ed25519"]);
        config += &format!("{key}tenants = [\"{tenant}\"]\n");
    }
    config += "[[tenant]]\nname = \"globex\"\nlisteners = [\"127.0.0.1:0\"]\n\
        [senders]\nfields = \"remove\"\n";
    node.configure(&config);
    node.run(1);
    let long = format!("X-Long: {}\r\n", "x".repeat(900)).repeat(100);
    for (nth, (fields, expected)) in [
        ("X-Tenant: acme\r\n".to_owned(), Some("s=acme;")),
        (String::new(), Some("s=globex;")),
        ("X-Tenant: initech\r\n".to_owned(), None),
        (format!("X-Tenant: acme\r\n{long}"), Some("s=acme;")),
        (format!("{long}X-Tenant: acme\r\n"), Some("s=acme;")),
    ]
    .into_iter()
    .enumerate()
    {
        let content = format!("From: <s@a.example>\r\n{fields}\r\nbody\r\n");
        Client::connect(node.listen[0]).send("<s@a.example>", &["<b@b.example>"], &content);
        let taken = sink.wait(nth + 1)[nth].content.clone();
        let signatures = taken.split("DKIM-Signature:").skip(1).count();
        assert_eq!(signatures, usize::from(expected.is_some()), "{nth}: {taken:.999}");
        assert!(expected.is_none_or(|selector| taken.contains(selector)), "{nth}: {taken:.999}");
    }
}
