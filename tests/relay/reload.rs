//! SIGHUP: a good file is in force, a bad one changes nothing and says why in one line.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use crate::client::{Client, message, send};
use crate::node::{Node, SOON, printed, refusal, run, text, to_upstream, wait_for};
use crate::sink::Sink;

/// The code of RCPT for this mailbox, from a stranger.
fn rcpt(node: &Node, to: &str) -> u16 {
    Client::connect(node.listen[0]).envelope("<a@a.example>", &[to])[1]
}

#[test]
fn a_good_file_takes_effect_and_a_bad_one_changes_nothing() {
    let sink = Sink::start();
    let base = to_upstream(&sink.address.to_string(), "").replace(
        "address = \"127.0.0.1:0\"\n",
        "address = \"127.0.0.1:0\"\nrelay_for = [\"192.0.2.1\"]\n",
    );
    let domain =
        |name: &str| format!("[[relay_domain]]\ndomains = [\"{name}\"]\nupstream = \"smart\"\n");
    let mut node = Node::start(&format!("{base}{}", domain("old.example")));
    assert_eq!((rcpt(&node, "<a@old.example>"), rcpt(&node, "<a@new.example>")), (250, 550));
    let mut before = Client::connect(node.listen[0]);

    node.configure(&format!("{base}{}", domain("new.example")));
    node.signal(Signal::HUP);
    node.wait_for_log("reloaded changes=1");
    wait_for("the new domain", || (rcpt(&node, "<a@new.example>") == 250).then_some(()));
    wait_for("the old one gone", || (rcpt(&node, "<a@old.example>") == 550).then_some(()));
    // Who was in stays in, and goes by the new rules.
    before.send("<a@a.example>", &["<b@new.example>"], &message("after"));
    sink.wait_for_mail_to("b@new.example");

    let bad = [
        (
            format!("corse = 4\n{base}"),
            "relay.toml:1:1: unknown key `corse` (did you mean `cores`?)",
        ),
        (format!("{base}{}", domain("new.example\", \"new.example")), "new.example"),
        (base.replace("[spool]", "[spool]\nhot_memory = \"1MB\""), "did you mean \"1MiB\"?"),
        (base.replace("16MiB", "32MiB"), "restart to change spool.segment_size: \"16MiB\" -> "),
    ];
    for (number, (words, why)) in bad.iter().enumerate() {
        node.configure(words);
        node.signal(Signal::HUP);
        let lines = wait_for("the refusal", || {
            let log = node.log();
            let refused: Vec<_> =
                log.lines().filter(|line| line.contains("not reloaded")).collect();
            (refused.len() > number).then(|| refused.iter().map(ToString::to_string).collect())
        });
        let lines: Vec<String> = lines;
        assert_eq!(lines.len(), number + 1, "one line each: {lines:?}");
        let line = &lines[number];
        assert!(line.contains(why) && line.contains("nothing has changed"), "{line}");
        assert_eq!(rcpt(&node, "<a@new.example>"), 250);
    }
    std::fs::remove_file(node.config_path()).unwrap();
    node.signal(Signal::HUP);
    node.wait_for_log("cannot read ");
    assert_eq!(rcpt(&node, "<a@new.example>"), 250);
    let log = node.log();
    let stamped = |line: &str| line.starts_with("20");
    assert!(log.lines().all(stamped), "a line for each thing: {log}");
}

#[test]
fn a_reload_moves_what_waits_to_another_upstream() {
    let (mut dead, sink) = (Sink::start(), Sink::start());
    dead.stop();
    let mut node = Node::to(dead.address, SOON);
    send(node.listen[0], "<a@a.example>", &["<b@b.example>"], "moved");
    wait_for("it waits", || node.ask(&["list"]).contains("b@b.example").then_some(()));
    node.configure(&to_upstream(&sink.address.to_string(), SOON));
    node.signal(Signal::HUP);
    node.wait_for_log("reloaded");
    assert_eq!(sink.wait(1)[0].subject(), "moved");
}

/// `relay-fast VERB …`, asking a node.
fn ask(node: &Node, words: &[&str]) -> std::process::Output {
    let admin = node.admin.to_string();
    run(&[words, &["--admin", &admin]].concat())
}

fn config(node: &Node) -> Value {
    let (head, body) = node.get("/v1/config");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}\n{body}");
    serde_json::from_str(&body).unwrap()
}

/// A node that hands events to a webhook; what stands in its file beside the upstream relay, and
/// the file of the webhook's secret.
fn with_webhook(sink: &Sink) -> (Node, String, PathBuf) {
    let mut node = Node::idle("");
    let secret = node.folder.path().join("secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let more = format!(
        "[queue]\nlifetime = \"3d\"\n[[exporter]]\nname = \"e\"\nkind = \"webhook\"\n\
        to = \"http://127.0.0.1:9/in?key=hush\"\nsecret = \"{}\"\n",
        text(&secret)
    );
    node.configure(&to_upstream(&sink.address.to_string(), &more));
    node.run(1);
    (node, more, secret)
}

#[test]
fn whoever_asks_for_a_reload_is_told_what_came_of_it() {
    let sink = Sink::start();
    let upstream = sink.address.to_string();
    let (mut node, more, _secret) = with_webhook(&sink);
    let first = config(&node);
    assert_eq!((&first["epoch"], &first["how"]), (&1.into(), &"start".into()));
    assert_eq!((&first["differs"], &first["problem"]), (&Value::from([(); 0]), &Value::Null));
    let knob = |page: &Value, path: &str| {
        let rows = page["knobs"].as_array().unwrap();
        let row = rows.iter().find(|row| row["path"] == path).expect(path);
        [&row["value"], &row["origin"]].map(|one| one.as_str().unwrap().to_owned())
    };
    assert_eq!(knob(&first, "cores"), ["1", "--cores"]);
    assert_eq!(knob(&first, "queue.delay_report"), ["\"4h\"", "default"]);
    let [lifetime, line] = knob(&first, "queue.lifetime");
    assert!(lifetime == "\"3d\"" && line.ends_with("relay.toml:12"), "{line}");
    assert_eq!(knob(&first, "exporter[0].to")[0], "\"http://127.0.0.1:9/…\"");
    assert!(!first.to_string().contains("hush"), "{first}");

    // What is written is told of, and put in force on demand.
    node.configure(&to_upstream(&upstream, &more.replace("3d", "2d")));
    let shown = printed(&ask(&node, &["config"]));
    assert!(shown.starts_with("epoch 1, in force since the start, 2"), "{shown}");
    let change = "  queue.lifetime: \"3d\" -> \"2d\"\n";
    assert!(shown.contains(&format!("what is written differs\n{change}")), "{shown}");
    assert!(shown.contains("cores = 1  # --cores\n") && !shown.contains("delay_report"), "{shown}");
    assert!(
        printed(&ask(&node, &["config", "--all"])).contains("delay_report = \"4h\"  # default")
    );
    let done = printed(&ask(&node, &["reload"]));
    assert_eq!(done, format!("reloaded: epoch 2, 1 value changed\n{change}"));
    let second = config(&node);
    assert_eq!((&second["epoch"], &second["how"]), (&2.into(), &"asked".into()));
    assert_eq!(second["changed"][0]["path"], "queue.lifetime");
    assert_eq!(knob(&second, "queue.lifetime")[0], "\"2d\"");

    // What is wrong changes nothing, and whoever asked is told what.
    for (words, why) in [
        (format!("corse = 1\n{}", to_upstream(&upstream, &more)), "did you mean `cores`?"),
        (to_upstream(&upstream, &more).replace("16MiB", "32MiB"), "restart to change spool."),
    ] {
        node.configure(&words);
        let refused = refusal(&ask(&node, &["reload"]));
        assert!(refused.contains(why), "{refused}");
        let page = config(&node);
        assert_eq!(
            (&page["epoch"], &page["changed"][0]["path"]),
            (&2.into(), &"queue.lifetime".into())
        );
        assert!(page["refused"]["why"].as_str().unwrap().contains(why), "{page}");
    }
    let page = config(&node);
    assert_eq!(page["differs"][0]["takes_effect"], "reload");
    assert!(page["differs"].as_array().unwrap().iter().any(|row| row["takes_effect"] == "restart"));
}

#[test]
fn a_signal_and_a_file_that_changed_begin_epochs_too() {
    let sink = Sink::start();
    let (mut node, more, secret) = with_webhook(&sink);
    node.configure(&to_upstream(&sink.address.to_string(), &more.replace("3d", "2d")));
    node.signal(Signal::HUP);
    wait_for("the second epoch", || {
        let page = config(&node);
        (page["epoch"] == 2 && page["how"] == "signal").then_some(())
    });
    std::fs::write(&secret, "whsec_AfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    wait_for("the third epoch", || {
        let page = config(&node);
        (page["epoch"] == 3 && page["how"] == "files").then_some(())
    });
}
