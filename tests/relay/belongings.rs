//! All that a node writes below its spool is known for the spool's, with everything on: whoever was
//! root until yesterday and names a `user` today starts.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::client::Client;
use crate::inject::{post, request};
use crate::node::{Node, printed, run, text, to_upstream, wait_for};
use crate::process::{USER, idle, is_root, user};
use crate::sink::Sink;

/// What lies in the spool of a node that has all of this, and nothing else: who adds a file adds it
/// to `platform::spool_owner` too.
const NAMES: [&str; 12] = [
    "000",
    "001",
    "LOCK",
    "campaigns",
    "events",
    "exporters",
    "injected.redb",
    "kpis.redb",
    "paused.json",
    "shaping.json",
    "suppression.redb",
    "tls-reports.json",
];

const EVERYTHING: &str = "[kpis]\ncount = \"yes\"\n[suppression]\nat = \"rcpt\"\n\
    [senders]\nfields = \"remove\"\n[shaping]\nshipped = \"on\"\n\
    [tls_report]\nfrom = \"tls@a.example\"\n[[tenant]]\nname = \"acme\"\n";

/// Sections that name files of the node.
fn with_files(node: &Node) -> String {
    let (secrets, out) = (node.folder.path().join("secrets"), node.folder.path().join("out"));
    fs::write(&secrets, "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::set_permissions(&secrets, Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(&out).unwrap();
    format!(
        "[bounces]\naddress = \"bounces@back.example\"\nsecrets = \"{}\"\n\
         [[exporter]]\nname = \"archive\"\nkind = \"file\"\nto = \"{}\"\n",
        text(&secrets),
        text(&out.join("events.jsonl")),
    )
}

/// Use all that writes something.
fn use_everything(node: &Node, sink: &Sink) {
    let content = "X-Tenant: acme\r\nX-Campaign: news\r\nFrom: <a@a.example>\r\n\r\nHello.";
    Client::connect(node.listen[0]).send("<a@a.example>", &["<b@b.example>"], content);
    sink.wait_for_mail_to("b@b.example");
    let headers = ["Content-Type: application/json", "Idempotency-Key: one"];
    let injected = post(node, &headers, &request(&["c@b.example"]).to_string());
    assert_eq!(injected.status, 200, "{}", injected.body);
    let admin = node.admin.to_string();
    for words in [
        &["suppress", "add", "gone@b.example"][..],
        &["queue", "pause", "--tenant", "acme"],
        &["shaping", "set", "127.0.0.1", "rate=1/d"],
    ] {
        printed(&run(&[words, &["--admin", &admin]].concat()));
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Everything below a folder that belongs to somebody else.
fn of_others(folder: &Path, found: &mut Vec<String>) {
    for name in names(folder) {
        let path = folder.join(name);
        let metadata = fs::symlink_metadata(&path).unwrap();
        if (metadata.uid(), metadata.gid()) != USER {
            found.push(text(&path).to_owned());
        }
        if metadata.is_dir() {
            of_others(&path, found);
        }
    }
}

#[test]
fn a_spool_with_everything_in_it_is_given_to_a_user() {
    if !is_root() {
        return;
    }
    let sink = Sink::start();
    let mut node = idle("");
    let files = with_files(&node);
    let to_sink = |more: &str| to_upstream(&sink.address.to_string(), more);
    node.configure(&to_sink(&format!("{EVERYTHING}{files}")));
    node.run(2);
    use_everything(&node, &sink);
    // Figures, cursors and reports are written a little later.
    wait_for("all that is kept", || {
        let lacking: Vec<_> = ["kpis.redb", "exporters", "tls-reports.json"]
            .into_iter()
            .filter(|name| !node.spool().join(name).exists())
            .collect();
        lacking.is_empty().then_some(())
    });
    node.drain();
    assert_eq!(names(&node.spool()), BTreeSet::from(NAMES.map(str::to_owned)));
    node.configure(&format!("{}{}", user(USER), to_sink("")));
    node.run(1);
    let mut found = Vec::new();
    of_others(&node.spool(), &mut found);
    assert!(found.is_empty(), "{found:?}");
}
