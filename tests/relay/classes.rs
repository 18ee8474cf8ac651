//! What kind of refusal a reply is: in events, metrics, the report; by the operator's own rules.

use std::fs;

use rustix::process::Signal;

use crate::client::{Client, message};
use crate::node::{Node, printed, run, text, to_upstream, wait_for};
use crate::sink::Sink;

const RULES: &str = "[[rule]]\nclass = \"reputation\"\nwords = ['go away']\n";

fn replies(mailbox: &str, _: usize) -> String {
    let local = mailbox.split('@').next().unwrap();
    match local {
        "full" => "452 4.2.2 The mailbox is full",
        "gone" => "550 5.1.1 User unknown",
        _ => "550 5.7.1 Go away",
    }
    .to_owned()
}

#[test]
fn events_metrics_and_the_report_say_what_kind_of_refusal_it_was() {
    let sink = Sink::by(replies);
    let mut node = Node::idle("");
    let rules = node.folder.path().join("bounces.toml");
    fs::write(&rules, RULES).unwrap();
    let section = format!("[bounces]\nrules = \"{}\"\n", text(&rules));
    node.configure(&to_upstream(&sink.address.to_string(), &section));
    node.run(2);
    let send = |to: &str| {
        Client::connect(node.listen[0]).send("<>", &[&format!("<{to}>")], &message("m"));
    };
    let class_of = |to: &str| {
        wait_for(to, || {
            let events = node.events();
            let told =
                events.into_iter().find(|one| one.recipient == to && !one.class.is_empty())?;
            Some(told.class.into_owned())
        })
    };
    for (to, class) in [
        ("full@b.example", "quota"),
        ("gone@b.example", "bad-mailbox"),
        ("odd@b.example", "reputation"),
    ] {
        send(to);
        assert_eq!(class_of(to), class, "{to}");
    }
    for (outcome, class) in [("deferred", "quota"), ("bounced", "bad-mailbox")] {
        let series =
            format!("relay_fast_refusals_total{{outcome=\"{outcome}\",class=\"{class}\"}}");
        assert!((node.metric(&series) - 1.0).abs() < 0.5, "{series}");
    }
    let report = node.report();
    for line in ["bad-mailbox           1         0", "quota                 0         1"] {
        assert!(report.contains(line), "{report}");
    }
    let config = node.config_path();
    let arguments = ["classify", "--config", text(&config), "550 go away", "552 5.2.2 x"];
    let said = printed(&run(&arguments));
    assert_eq!(said, "reputation\tgo away\t550 go away\nquota\tx.2.2\t552 5.2.2 x\n");
    // Bad rules change nothing; others are in force once they are read.
    fs::write(&rules, "[[rule]]\nclass = \"tls\"\n").unwrap();
    node.signal(Signal::HUP);
    let line = node.wait_for_log("it fits everything");
    assert!(line.contains("not reloaded, nothing has changed"), "{line}");
    send("odd2@b.example");
    assert_eq!(class_of("odd2@b.example"), "reputation");
    fs::write(&rules, RULES.replace("reputation", "spam")).unwrap();
    node.signal(Signal::HUP);
    node.wait_for_log(" reloaded ");
    send("odd3@b.example");
    assert_eq!(class_of("odd3@b.example"), "spam");
}
