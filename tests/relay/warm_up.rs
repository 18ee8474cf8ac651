//! Warm-up: so many messages a day leave from a new source; it is told, kept and steered.

use std::fs;
use std::process::Output;

use rustix::process::Signal;

use crate::client::send;
use crate::node::{Node, SOON, free_port, printed, refusal, run, text, to_upstream, wait_for};
use crate::sink::Sink;

/// Sources that greet as `new.example`, by this plan from today on, and as `warm.example`.
fn sources(days: &str) -> String {
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d");
    format!(
        "[[warm_up]]\nname = \"plan\"\ndays = {days}\n\
         [[source]]\nname = \"new\"\naddress = \"127.0.0.2\"\nhello = \"new.example\"\n\
         warm_up = \"plan\"\nwarm_up_from = \"{today}\"\n\
         [[source]]\nname = \"warm\"\naddress = \"127.0.0.3\"\nhello = \"warm.example\"\n"
    )
}

const COLD: &str = "[[pool]]\nname = \"default\"\nsources = [\"new\"]\n";

fn configure(node: &mut Node, sink: &Sink, more: &str) {
    let file = node.folder.path().join("shaping.toml");
    fs::write(&file, "[[provider]]\nname = 'here'\nmx = ['127.0.0.1']\n").unwrap();
    let section = format!("{SOON}{more}[shaping]\nfile = \"{}\"\n", text(&file));
    node.configure(&to_upstream(&sink.address.to_string(), &section));
}

fn warm_up(node: &Node, words: &[&str]) -> Output {
    let admin = node.admin.to_string();
    run(&[&["warm-up"], words, &["--admin", &admin]].concat())
}

fn row(node: &Node) -> serde_json::Value {
    let told = printed(&warm_up(node, &["--json"]));
    serde_json::from_str(told.lines().next().expect("one source")).unwrap()
}

fn post(node: &Node, to: &str) {
    send(node.listen[0], "<a@a.example>", &[&format!("<{to}>")], to);
}

/// Why the message to `to` waits, once that is known.
fn limit(node: &Node, to: &str) -> String {
    wait_for("the limit", || {
        let list = node.ask(&["list"]);
        let id = list.lines().find(|line| line.contains(to))?.split_whitespace().next()?.to_owned();
        let shown = String::from_utf8(node.queue(&["show", &id]).stdout).unwrap();
        shown.contains("warm-up").then_some(shown)
    })
}

#[test]
fn a_days_number_leaves_and_the_rest_goes_the_warm_way_or_waits_until_an_operator_says_more() {
    let sink = Sink::start();
    let mut node = Node::idle("");
    configure(&mut node, &sink, &sources("[4, 9]"));
    node.run(2);
    for number in 0..40 {
        post(&node, &format!("{number}@b.example"));
    }
    let taken = sink.wait(40);
    let new = taken.iter().filter(|one| one.hello == "new.example").count();
    assert!(new <= 4, "{new} of 4");
    // The rest of the day's number, and no more, where there is no other source.
    configure(&mut node, &sink, &format!("{}{COLD}", sources("[4, 9]")));
    node.signal(Signal::HUP);
    node.wait_for_log(" reloaded ");
    for number in 0..6 {
        post(&node, &format!("more{number}@b.example"));
    }
    sink.wait(40 + 4 - new);
    let told = wait_for("the day's number", || {
        let row = row(&node);
        (row["sent"] == 4).then_some(row)
    });
    assert_eq!(
        (&told["day"], &told["days"], &told["state"]),
        (&1.into(), &2.into(), &"warming".into())
    );
    let provider = &told["providers"][0];
    assert_eq!((&provider["provider"], &provider["allowed"]), (&"here".into(), &4.into()));
    assert_eq!(provider["used_up"], true);
    let table = printed(&warm_up(&node, &[]));
    let line = table.lines().find(|line| line.starts_with("new ")).expect("a line");
    let cells: Vec<&str> = line.split_whitespace().take(7).collect();
    assert_eq!(cells, ["new", "plan", "1/2", "warming", "here", "4", "4"]);
    post(&node, "late@b.example");
    let why = limit(&node, "late@b.example");
    assert!(why.contains("the warm-up of new at here is used up until "), "{why}");
    assert_eq!(sink.asked("late@b.example"), 0);
    assert!((node.metric("relay_fast_warm_up_sources") - 1.0).abs() < 0.5);
    assert!((node.metric("relay_fast_warm_up_used_up") - 1.0).abs() < 0.5);
}

#[test]
fn what_was_sent_outlives_a_kill_and_an_operators_word_a_restart() {
    let sink = Sink::start();
    let mut node = Node::idle("");
    configure(&mut node, &sink, &format!("{}{COLD}", sources("[4, 9]")));
    node.run(2);
    for number in 0..5 {
        post(&node, &format!("{number}@b.example"));
    }
    sink.wait(4);
    // Killed: what was sent is known, and nothing more leaves.
    node.kill();
    node.run(3);
    assert_eq!(row(&node)["sent"], 4);
    post(&node, "after@b.example");
    limit(&node, "after@b.example");
    assert_eq!(sink.asked("after@b.example"), 0);
    // Day 2 has nine: what waits is called back.
    let told = printed(&warm_up(&node, &["day", "new", "2"]));
    assert!(told.contains("2/2"), "{told}");
    sink.wait(5);
    sink.wait_for_mail_to("after@b.example");
    printed(&warm_up(&node, &["hold", "new"]));
    node.drain();
    node.run(2);
    assert_eq!((&row(&node)["state"], &row(&node)["day"]), (&"held".into(), &2.into()));
    printed(&warm_up(&node, &["resume", "new"]));
    printed(&warm_up(&node, &["finish", "new"]));
    assert_eq!(row(&node)["state"], "warm");
    for number in 0..20 {
        post(&node, &format!("free{number}@b.example"));
    }
    for number in 0..20 {
        sink.wait_for_mail_to(&format!("free{number}@b.example"));
    }
    for (words, said) in [
        (&["hold", "warm"][..], "warm is no source with a warm-up"),
        (&["show", "nobody"][..], "nobody is no source with a warm-up"),
        (&["hold", "new"][..], "the warm-up of new is over"),
        (&["day", "new", "3"][..], "the plan of new has days 1 to 2"),
    ] {
        let error = refusal(&warm_up(&node, words));
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_node_without_warm_up_says_so_and_a_plan_without_providers_is_refused() {
    let mut node = Node::idle("");
    node.configure(&to_upstream(&format!("127.0.0.1:{}", free_port()), ""));
    node.run(1);
    assert_eq!(printed(&warm_up(&node, &[])), "no source is to be warmed up\n");
    assert!(!node.spool().join("warm-up.jsonl").exists());
    let config = node.folder.path().join("other.toml");
    fs::write(&config, sources("[1]")).unwrap();
    let error = refusal(&run(&["check", "--config", text(&config)]));
    assert!(error.contains("no shaping rules are in force"), "{error}");
}
