//! `relay-fast spool`: what a stopped relay left behind is verified, shown, repaired and delivered.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::client::{Client, send};
use crate::node::{Node, printed, refusal, run, text, wait_for};
use crate::sink::Sink;

const LATER: &str = "[queue]\nretry_first = \"1h\"\nretry_jitter = 0\n";

fn spool(verb: &str, directory: &Path, more: &[&str]) -> Output {
    run(&[&["spool", verb, text(directory)], more].concat())
}

/// What each line of `--json` says.
fn objects(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// Every file below a directory with its content.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// A stopped relay with one shard, five deferred messages in its queue, each in a group of its
/// own, and one that is done.
fn stopped() -> (Node, Sink) {
    let sink = Sink::by(|mailbox, _| {
        let is_first = mailbox == "first@b.example";
        if is_first { "250 2.1.5 Ok" } else { "451 4.7.1 Later" }.to_owned()
    });
    let mut node = Node::idle(&crate::node::to_upstream(&sink.address.to_string(), LATER));
    node.run(1);
    send(node.listen[0], "<a@a.example>", &["<first@b.example>"], "first");
    sink.wait_for_mail_to("first@b.example");
    for number in 1..=5 {
        let mut client = Client::connect(node.listen[0]);
        let content =
            format!("Subject: m{number}\r\n\r\n{}", format!("Line {number}\r\n").repeat(500));
        client.send("<a@a.example>", &[&format!("<m{number}@b.example>")], &content);
    }
    wait_for("all deferred", || (node.stat("deferred") == 5).then_some(()));
    node.drain();
    (node, sink)
}

/// Flip a bit in the content of message `m3`; its id, and the octet's place in the file.
fn damage(node: &Node) -> (String, u64) {
    let segment = node.spool().join("000/00000001.seg");
    let bytes = fs::read(&segment).unwrap();
    let words = b"Line 3\r\nLine 3\r\nLine 3\r\n";
    let place = bytes.windows(words.len()).position(|window| window == words).unwrap() + 700;
    let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(&[bytes[place] ^ 4], place as u64).unwrap();
    let dumped = objects(&spool("dump", &node.spool(), &["--json"]));
    let it = dumped.iter().find(|one| one["recipients"][0]["recipient"] == "<m3@b.example>");
    let id = it.unwrap()["id"].as_str().unwrap().to_owned();
    (id, place as u64)
}

#[test]
fn a_spool_at_rest_is_checked_and_shown_and_nothing_in_it_changes() {
    let (node, _sink) = stopped();
    let before = files(&node.spool());
    let checked = spool("check", &node.spool(), &["--json"]);
    assert_eq!(checked.status.code(), Some(0));
    let told = objects(&checked);
    let directory = &told[0];
    assert_eq!((&directory["kind"], &directory["directory"]), (&"directory".into(), &0.into()));
    assert_eq!(directory["messages"], serde_json::json!({"live": 5, "damaged": 0, "done": 1}));
    assert_eq!(directory["recipients"]["deferred"], 5);
    assert!(directory["groups"].as_u64() >= Some(6), "{directory}");
    assert!(directory["live_octets"].as_u64() < directory["disk_octets"].as_u64());
    let words = printed(&spool("check", &node.spool(), &[]));
    for part in ["directory 000\n", "messages    5 live, 0 damaged, 1 done\n", "no damage\n"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let dumped = printed(&spool("dump", &node.spool(), &[]));
    for number in 1..=5 {
        let line = format!("<m{number}@b.example>: deferred, 1 attempts, due ");
        assert!(dumped.contains(&line), "{line}: {dumped}");
    }
    assert!(dumped.contains("451 4.7.1 Later") && dumped.contains("000/00000001.seg at "));
    assert_eq!(printed(&spool("repair", &node.spool(), &[])).lines().count(), 1);
    assert_eq!(files(&node.spool()), before, "nothing was written");
    let sibling = node.folder.path().join("spool.before-repair-1");
    assert!(!sibling.exists(), "nothing to repair, nothing to copy");
}

#[test]
fn one_message_is_written_out_as_it_would_be_sent() {
    let (mut node, sink) = stopped();
    let dumped = objects(&spool("dump", &node.spool(), &["--json"]));
    for (number, one) in (1..).zip(&dumped) {
        let id = one["id"].as_str().unwrap();
        let output = spool("dump", &node.spool(), &[id]);
        let content = printed(&output);
        assert!(content.starts_with("Received: from "), "{content}");
        assert!(content.ends_with(&format!("Line {number}\r\nLine {number}\r\n\r\n")), "{content}");
        assert_eq!(one["octets"], content.len());
        let about = String::from_utf8(output.stderr).unwrap();
        assert!(about.starts_with(id) && about.contains(&format!("<m{number}@b.example>")));
    }
    // The configured spool, if none is named.
    let id = dumped[0]["id"].as_str().unwrap();
    let configured = run(&["spool", "dump", id, "--spool", text(&node.spool())]);
    let first = printed(&configured);
    sink.change(|_, _| "250 Ok".to_owned());
    node.run(1);
    node.ask(&["flush", "--all"]);
    assert_eq!(sink.wait_for_mail_to("m1@b.example").content, first, "and so it was sent");
    node.drain();
    let gone = spool("dump", &node.spool(), &[id]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(refusal(&gone).contains(&format!("{id} is not in the spool")));
}

#[test]
fn a_flipped_bit_is_found_repaired_and_costs_one_message() {
    let (mut node, sink) = stopped();
    let (id, place) = damage(&node);
    let checked = spool("check", &node.spool(), &[]);
    assert_eq!(checked.status.code(), Some(1));
    let told = String::from_utf8(checked.stdout).unwrap();
    let line = told.lines().find(|line| line.contains("DAMAGE: ")).unwrap();
    assert!(line.contains("000/00000001.seg at ") && line.contains(&id), "{line}");
    assert!(line.ends_with("queued, and cannot be delivered"), "{line}");
    assert!(String::from_utf8(checked.stderr).unwrap().contains("spool repair"));
    let told = objects(&spool("check", &node.spool(), &["--json"]));
    let [finding] = of_kind(&told, "damage")[..] else { panic!("{told:?}") };
    let start = finding["offset"].as_u64().unwrap();
    assert!((start..start + finding["octets"].as_u64().unwrap()).contains(&place), "{finding}");
    assert_eq!(
        (&finding["messages"][0]["id"], &finding["segment"]),
        (&id.as_str().into(), &"000/00000001.seg".into())
    );
    assert_eq!(spool("dump", &node.spool(), &[&id]).status.code(), Some(1), "it is not whole");

    let before = files(&node.spool());
    let words = printed(&spool("repair", &node.spool(), &[]));
    let copy = node.folder.path().join("spool.before-repair-1");
    for part in [text(&copy), "4 messages moved", "000/00000001.seg", &id, "<m3@b.example>"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let below = |files: BTreeMap<PathBuf, Vec<u8>>, root: &Path| -> Vec<(PathBuf, Vec<u8>)> {
        let relative = |path: PathBuf| path.strip_prefix(root).unwrap().to_owned();
        files.into_iter().map(|(path, bytes)| (relative(path), bytes)).collect()
    };
    let copied = below(files(&copy), &copy);
    assert!(copied == below(before, &node.spool()), "the copy is the spool as it was");
    let damaged = node.spool().join("damaged");
    assert!(damaged.join("000/00000001.seg").exists());
    let notes = fs::read_to_string(damaged.join(format!("{id}.txt"))).unwrap();
    for part in [&id, "reverse-path: <a@a.example>", "recipient: <m3@b.example> deferred"] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    let rest = fs::read_to_string(damaged.join(format!("{id}.eml"))).unwrap();
    assert!(rest.contains("Subject: m3") && rest.matches("Line 3\r\n").count() >= 499);

    let again = printed(&spool("repair", &node.spool(), &[]));
    assert!(again.contains("nothing is to be done"), "{again}");
    assert_eq!(spool("check", &node.spool(), &[]).status.code(), Some(0));
    sink.change(|_, _| "250 Ok".to_owned());
    node.run(2);
    assert_eq!(node.stat("deferred"), 4, "with their attempts");
    node.ask(&["flush", "--all"]);
    for number in [1, 2, 4, 5] {
        let taken = sink.wait_for_mail_to(&format!("m{number}@b.example"));
        assert!(taken.content.matches(&format!("Line {number}\r\n")).count() == 500);
    }
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
    assert!(!node.log().contains("damaged"), "{}", node.log());
    assert_eq!(sink.asked("m3@b.example"), 1, "only before it was damaged");
}

#[test]
fn a_repair_is_told_to_programs_too() {
    let (node, _sink) = stopped();
    let (id, _) = damage(&node);
    let dumped = printed(&spool("dump", &node.spool(), &[]));
    let line = dumped.lines().find(|line| line.starts_with(&id)).unwrap();
    assert!(line.ends_with(", DAMAGED"), "{line}");
    let told = objects(&spool("repair", &node.spool(), &["--json"]));
    let copy = node.folder.path().join("spool.before-repair-1");
    assert_eq!(told[0], serde_json::json!({"kind": "repair", "copy": copy}));
    let aside = serde_json::json!({
        "kind": "directory", "directory": 0, "moved": 4, "set_aside": ["000/00000001.seg"],
    });
    assert_eq!(told[1], aside);
    let [damaged] = of_kind(&told, "damaged")[..] else { panic!("{told:?}") };
    assert_eq!(damaged["name"], id.as_str());
    assert!(damaged["notes"].as_str().unwrap().contains("recipient: <m3@b.example> deferred"));
    let again = objects(&spool("repair", &node.spool(), &["--json"]));
    assert_eq!(again, [serde_json::json!({"kind": "repair", "copy": null})]);
    let left = objects(&spool("dump", &node.spool(), &["--json"]));
    assert!(left.iter().all(|one| one["whole"] == true && one["id"] != id.as_str()));
    assert_eq!(left.len(), 4);
}

#[test]
fn a_spool_that_a_relay_runs_on_is_let_alone() {
    let (mut node, _sink) = stopped();
    node.run(1);
    let pid = node.pid().as_raw_nonzero().to_string();
    for verb in ["check", "dump", "repair"] {
        let output = spool(verb, &node.spool(), &[]);
        assert_eq!(output.status.code(), Some(2), "{verb}");
        let line = refusal(&output);
        assert!(line.contains("a relay runs on the spool") && line.contains(&pid), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
    }
    node.drain();
}

#[test]
fn what_is_no_spool_or_of_another_version_cannot_be_read() {
    let (node, _sink) = stopped();
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    for (path, words) in [(folder.path(), "is no spool"), (&missing, "No such file")] {
        for verb in ["check", "dump", "repair"] {
            let output = spool(verb, path, &[]);
            assert_eq!(output.status.code(), Some(2), "{verb}");
            assert!(refusal(&output).contains(words), "{verb}");
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
    let segment = node.spool().join("000/00000001.seg");
    let mut header = fs::read(&segment).unwrap()[..64].to_vec();
    header[12] = 9;
    let crc = crc32c::crc32c(&header[12..]);
    header[8..12].copy_from_slice(&crc.to_le_bytes());
    fs::OpenOptions::new().write(true).open(&segment).unwrap().write_all_at(&header, 0).unwrap();
    for verb in ["check", "dump", "repair"] {
        let output = spool(verb, &node.spool(), &[]);
        assert_eq!(output.status.code(), Some(2), "{verb}");
        assert!(refusal(&output).contains("000/00000001.seg: format 9 is not known"), "{verb}");
    }
    assert!(
        refusal(&spool("dump", folder.path(), &["X"])).contains("neither a directory nor an id")
    );
}

#[test]
fn the_ways_to_write_are_measured_and_nothing_is_left() {
    // In memory where there is such a place: what is tested is not how fast the disk is.
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::tempdir_in(base).unwrap();
    let table = printed(&spool("bench", folder.path(), &[]));
    for octets in ["4096", "65536", "524288"] {
        let rows = table.lines().filter(|line| line.trim_start().starts_with(octets));
        assert_eq!(rows.clone().filter(|row| row.contains(" * write")).count(), 3, "{table}");
        assert!(rows.count() > 3, "others to compare with: {table}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let refused = refusal(&spool("bench", &folder.path().join("not/there"), &[]));
    assert!(refused.contains("not/there cannot be written to: No such file"), "{refused}");
}

/// A segment that cannot be opened holds recovery up for as long as the test wants.
#[test]
fn mail_is_taken_and_delivered_while_the_spool_is_recovered() {
    let is_new = |mailbox: &str| mailbox.starts_with("new");
    let answer = move |mailbox: &str| if is_new(mailbox) { "250 Ok" } else { "451 4.7.1 Later" };
    let sink = Sink::by(move |mailbox, _| answer(mailbox).to_owned());
    let mut node = Node::idle(&crate::node::to_upstream(&sink.address.to_string(), LATER));
    // As much as keeps reclaim from emptying the first segments.
    let content = format!("Subject: large\r\n\r\n{}", "0123456789abcde\r\n".repeat(220_000));
    node.run(1);
    for _ in 0..8 {
        Client::connect(node.listen[0]).send("<a@a.example>", &["<b@b.example>"], &content);
    }
    wait_for("deferred", || (node.stat("deferred") == 8).then_some(()));
    node.drain();
    node.run(1);
    send(node.listen[0], "<a@a.example>", &["<b@b.example>"], "of the second run");
    wait_for("deferred", || (node.stat("deferred") == 9).then_some(()));
    node.drain();
    let dumped = objects(&spool("dump", &node.spool(), &["--json"]));
    let ids: Vec<&str> = dumped.iter().map(|one| one["id"].as_str().unwrap()).collect();
    let segment = node.spool().join("000/00000002.seg");
    let aside = node.folder.path().join("aside");
    fs::rename(&segment, &aside).unwrap();
    fs::create_dir(&segment).unwrap();
    for new in ["<new1@b.example>", "<new2@b.example>"] {
        node.run_ahead(node.command(1));
        node.wait_for_log("a segment cannot be opened, and is awaited");
        send(node.listen[0], "<a@a.example>", &[new], new);
        sink.wait_for_mail_to(&new[1..new.len() - 1]);
        assert_eq!(node.metric("relay_fast_recovering"), 1.0);
        assert_eq!(node.metric("relay_fast_messages_recovered_total"), 0.0);
        assert!(node.get("/healthz").0.contains(" 200 "), "it takes mail");
        for id in &ids {
            let refused = refusal(&node.queue(&["show", id]));
            assert!(refused.contains("the spool is being recovered"), "{refused}");
        }
        // Neither a stop nor a kill in the midst of it loses anything.
        if new.contains("new1") { node.drain() } else { node.kill() }
    }
    node.run_ahead(node.command(1));
    fs::remove_dir(&segment).unwrap();
    fs::rename(&aside, &segment).unwrap();
    node.wait_until_recovered();
    let recovered = node.metric("relay_fast_messages_recovered_total");
    assert!((9.0..=10.0).contains(&recovered), "{recovered}: the kill may bring one back");
    ids.iter().for_each(|id| assert!(node.ask(&["show", id]).contains("<b@b.example>")));
    wait_for("what was deferred", || (node.stat("recipients") == 9).then_some(()));
    assert_eq!(node.metric("relay_fast_spool_damaged_total"), 0.0);
    node.drain();
}
