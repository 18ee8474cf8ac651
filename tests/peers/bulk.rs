//! Postfix's own load tools on both sides: all that smtp-source sends, smtp-sink counts.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::network::Network;
use super::node::Node;
use super::process::{output, until};
use super::sink::smtp_sink;
use crate::tool;

/// The recipients in the files that smtp-sink made, one file a message.
fn recipients(folder: &Path) -> Vec<String> {
    let mut recipients = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let header = text.lines().take_while(|line| !line.is_empty());
        let named = header.filter_map(|line| line.strip_prefix("X-Rcpt-Args: "));
        recipients.extend(named.map(|path| path[..=path.find('>').unwrap()].to_owned()));
    }
    recipients
}

/// What smtp-sink counts as messages, by the last of its lines so far.
fn counted(log: &str) -> Option<u32> {
    let (_, last) = log.rsplit_once("mesg=")?;
    let digits = last.find(|c: char| !c.is_ascii_digit())?;
    last[..digits].parse().ok()
}

#[test]
fn what_smtp_source_sends_smtp_sink_gets() {
    let Some(source) = tool::find("smtp-source") else { return };
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("dump");
    std::fs::create_dir(&dump).unwrap();
    for path in [folder.path(), &dump] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let template = dump.join("m.").display().to_string();
    let Some((sink, address)) = smtp_sink(&["-c", "-d", &template], folder.path()) else { return };
    let node = Node::start(
        &Network::Shared,
        &format!(
            "default_route = \"sink\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
             [[upstream]]\nname = \"sink\"\nhosts = \"{address}\"\n"
        ),
    );

    // A session a message, then sessions that go on; 3 recipients each, no two the same.
    for (sessions, first, options) in [("8", "a", &["-N"][..]), ("4", "b", &["-N", "-d"])] {
        let to = format!("{first}@bulk.example");
        let mut command = Network::Shared.command(&source);
        command.args(["-s", sessions, "-m", "100", "-r", "3", "-l", "3000", "-f", "s@a.example"]);
        command.args(["-t", &to]).args(options).arg(node.listener(0).to_string());
        output(&mut command, b"");
    }
    node.wait_until_empty();

    until("smtp-sink has counted all", || (counted(&sink.log())? == 200).then_some(()));
    let came = recipients(&dump);
    assert_eq!(came.len(), 600);
    assert_eq!(came.iter().collect::<HashSet<_>>().len(), 600, "none came twice");
    // The event log is written behind mail.
    let events = until("all events", || {
        let events = node.events();
        let delivered = events.iter().filter(|event| event["kind"] == "delivered").count();
        (delivered == 600).then_some(events)
    });
    let received = events.iter().filter(|event| event["kind"] == "received").count();
    assert_eq!((received, events.len()), (600, 1_200), "and nothing else happened");
    let report = node.ask(&["report", "--since", "1h"]);
    assert!(report.starts_with("600 recipients received;"), "{report}");
    let row = report.lines().find(|line| line.starts_with("bulk.example ")).unwrap();
    assert!(row.split_whitespace().nth(1) == Some("600"), "{report}");
}
