//! `relay-fast trace` and `/v1/trace`: what is said to next hops, as it is said.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use relay_fast::control::trace::Page;

use crate::client::send;
use crate::node::{BINARY, Node, refusal, run, wait_for};
use crate::sink::Sink;

fn page(node: &Node, asked: &str) -> Page {
    let (head, body) = node.get(&format!("/v1/trace?{asked}"));
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {body}");
    serde_json::from_str(&body).expect("a page")
}

#[test]
fn the_dialogue_about_one_domain_is_told_without_its_content() {
    let sink = Sink::by(|address, _| {
        let taken = !address.contains("nobody@");
        if taken { "250 2.1.5 Ok" } else { "550 5.1.1 No such user" }.to_owned()
    });
    let node = Node::to(sink.address, "");
    let first = page(&node, "domain=b.example");
    assert!(first.lines.is_empty() && first.lost == 0);
    let to = ["<one@b.example>", "<nobody@b.example>"];
    send(node.listen[0], "<a@a.example>", &to, "the subject is content");
    sink.wait(1);
    let mut lines = Vec::new();
    let mut after = first.after;
    wait_for("the end of the dialogue", || {
        let page = page(&node, &format!("domain=b.example&after={after}"));
        after = page.after;
        lines.extend(page.lines);
        lines
            .iter()
            .any(|line| line.said == "received" && line.text.starts_with("250 2.0.0"))
            .then_some(())
    });
    let told: Vec<String> = lines.iter().map(|one| format!("{} {}", one.said, one.text)).collect();
    let mut rest = told.iter();
    for words in [
        "note connecting",
        "received 220 ",
        "sent EHLO node.example",
        "received 250",
        "note message ",
        "sent MAIL FROM:<a@a.example>",
        "sent RCPT TO:<one@b.example>",
        "sent RCPT TO:<nobody@b.example>",
        "received 250 2.1.5 Ok",
        "received 550 5.1.1 No such user",
        "note content from octet 0: ",
    ] {
        assert!(rest.any(|line| line.starts_with(words)), "{words}: {told:#?}");
    }
    assert!(!told.iter().any(|line| line.contains("the subject")), "{told:#?}");
    assert_eq!(lines[0].peer, format!("[127.0.0.1]:{}", sink.address.port()));
    // Another domain's dialogue is nobody's business here.
    send(node.listen[0], "<a@a.example>", &["<two@c.example>"], "x");
    sink.wait(2);
    let other = page(&node, &format!("domain=d.example&after={after}"));
    assert!(other.lines.is_empty());
    let (head, _) = node.get("/v1/trace?domain=b.example&after=1");
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
}

#[test]
fn the_command_line_prints_it_as_it_happens() {
    let sink = Sink::start();
    let node = Node::to(sink.address, "");
    let words = ["trace", "--domain", "b.example", "--admin", &node.admin.to_string()];
    let mut child = Command::new(BINARY).args(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    // It may not follow yet when the first one goes out.
    for n in 0..20 {
        send(node.listen[0], "<a@a.example>", &["<b@b.example>"], &n.to_string());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    sink.wait(20);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lines.any(|line| line.contains(" > MAIL FROM:<a@a.example>")));
    let wrong = refusal(&run(&["trace", "--domain", "..", "--admin", &node.admin.to_string()]));
    assert!(wrong.contains(".."), "{wrong}");
}
