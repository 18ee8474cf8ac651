//! `relay-fast check-domain` without anyone to ask: what is refused, and what cannot be checked.

use std::fs;
use std::net::UdpSocket;

use serde_json::Value;

use crate::node::{run, text};

#[test]
fn what_cannot_be_asked_has_a_code_of_its_own() {
    for (arguments, words) in [
        (&["check-domain"][..], "<DOMAIN>"),
        (&["check-domain", "a b"], "`a b` is no domain"),
        (&["check-domain", "[192.0.2.1]"], "is an address"),
        (&["check-domain", "a.example", "--source", "here"], "--source <ADDRESS>"),
        (&["check-domain", "a.example", "--config", "/nowhere.toml"], "cannot read /nowhere.toml"),
    ] {
        let output = run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(words), "{words}: {errors}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn without_a_name_server_nothing_is_right_or_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.toml");
    // A port that nobody has: the kernel refuses what is sent there.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "hostname = \"relay.example\"\n[dns]\nservers = [\"127.0.0.1:{port}\"]\n\
         [[source]]\naddress = \"192.0.2.1\"\n"
    );
    fs::write(&path, config).unwrap();
    let ask = ["check-domain", "a.example", "--config", text(&path), "--spool", "/nowhere"];
    let output = run(&ask);
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{told}");
    let (lines, _) = told.split_once("\n\n").unwrap();
    for line in lines.lines().filter(|line| !line.contains("  dkim  ")) {
        let is_told = line.starts_with("info  bimi") || line.contains("could not be checked; RFC");
        assert!(is_told && !line.starts_with("fail"), "{line}");
    }
    assert!(!told.contains('\u{1b}'), "no colours in a file: {told}");
    let output = run(&[&ask[..], &["--json", "--source", "192.0.2.7"]].concat());
    assert_eq!(output.status.code(), Some(3));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["verdict"], &json["exit"]), (&"unchecked".into(), &3.into()));
    let findings = json["findings"].as_array().unwrap();
    let is_of = |finding: &&Value| finding["check"] == "ptr" && finding["of"] == "192.0.2.7";
    assert_eq!(findings.iter().filter(is_of).count(), 1, "{json}");
}
