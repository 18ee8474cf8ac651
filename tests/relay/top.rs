//! `relay-fast top` as a person uses it: at a terminal, without one, and when the terminal is gone.

use std::process::{Command, Output};

use crate::client::send;
use crate::node::{BINARY, Node, printed, refusal, run};
use crate::sink::Sink;
use crate::tool;

fn node() -> (Node, Sink) {
    let sink = Sink::start();
    let node = Node::to(sink.address, "");
    send(node.listen[0], "<a@a.example>", &["<b@b.example>"], "x");
    sink.wait(1);
    (node, sink)
}

/// `top` at a terminal of its own; `None` without Python.
fn at_terminal(what: &str, admin: &str) -> Option<Output> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/terminal.py");
    let words = [script, what, BINARY, "top", "--admin", admin];
    Some(Command::new(tool::find("python3")?).args(words).output().unwrap())
}

#[test]
fn it_shows_the_node_takes_keys_and_gives_the_terminal_back() {
    let (node, _sink) = node();
    let Some(output) = at_terminal("quit", &node.admin.to_string()) else { return };
    let shown = printed(&output);
    for words in ["Received/s", "Delivery rate", "Upstream relays"] {
        assert!(shown.contains(words), "{words}: {shown:?}");
    }
    // It leaves the screen that it took (xterm's alternate screen), and the cursor in sight.
    assert!(shown.contains("\u{1b}[?1049h") && shown.contains("\u{1b}[?1049l"), "{shown:?}");
}

#[test]
fn it_ends_with_its_terminal() {
    let (node, _sink) = node();
    // That it ends at all is what is tested: the script waits for it.
    let Some(output) = at_terminal("hang", &node.admin.to_string()) else { return };
    assert!(output.status.code().is_some(), "{output:?}");
}

#[test]
fn without_a_terminal_it_says_so_or_prints_once() {
    let (node, _sink) = node();
    let admin = node.admin.to_string();
    let refused = refusal(&run(&["top", "--admin", &admin]));
    assert!(refused.contains("this is no terminal: `relay-fast top --once`"), "{refused}");
    let text = printed(&run(&["top", "--once", "--admin", &admin]));
    for words in ["node.example  relay-fast ", "In the queue", "100%", "flows"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let nobody = refusal(&run(&["top", "--once", "--admin", "127.0.0.1:1"]));
    assert!(nobody.contains("no node answers on 127.0.0.1:1"), "{nobody}");
}

#[test]
fn health_is_an_exit_code_and_words() {
    let (mut node, _sink) = node();
    let admin = node.admin.to_string();
    assert_eq!(printed(&run(&["health", "--admin", &admin])), "ok\n");
    node.kill();
    let refused = refusal(&run(&["health", "--admin", &admin]));
    assert!(refused.contains("no node answers"), "{refused}");
}
