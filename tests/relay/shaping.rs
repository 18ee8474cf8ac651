//! Shaping: what peers say slows sources down and sets rules off; it is told, kept and changed.

use std::fs;
use std::process::Output;

use relay_fast::outcome::event::Kind;
use rustix::process::Signal;

use crate::client::{Client, send};
use crate::node::{Node, SOON, free_port, printed, refusal, run, text, to_upstream, wait_for};
use crate::sink::Sink;

const LIMITED: &str = "451 4.7.1 Rate limit exceeded, too many messages";
const OK: &str = "250 2.1.5 Ok";

/// A relay for loopback with all mail for `sink`, shaped by `rules`.
fn node(sink: &Sink, rules: &str, more: &str) -> Node {
    let mut node = Node::idle("");
    let file = node.folder.path().join("shaping.toml");
    fs::write(&file, rules).unwrap();
    let section = format!("{more}[shaping]\nfile = \"{}\"\n", text(&file));
    node.configure(&to_upstream(&sink.address.to_string(), &section));
    node.run(2);
    node
}

/// `relay-fast shaping …`, asking this node.
fn shaping(node: &Node, words: &[&str]) -> Output {
    let admin = node.admin.to_string();
    run(&[&["shaping"], words, &["--admin", &admin]].concat())
}

fn status(node: &Node) -> Vec<serde_json::Value> {
    let told = printed(&shaping(node, &["status", "--json"]));
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The one source of this node at its one site.
fn outlet(node: &Node) -> serde_json::Value {
    let mut rows = status(node);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

fn post(node: &Node, to: &str) {
    send(node.listen[0], "<a@a.example>", &[to], to);
}

/// What is told of the messages that wait.
fn limits(node: &Node) -> String {
    let list = node.ask(&["list"]);
    let rows = list.lines().filter(|line| line.contains('@'));
    let ids = rows.filter_map(|line| line.split_whitespace().next());
    // It may be gone by now.
    let shown = ids.map(|id| String::from_utf8(node.queue(&["show", id]).stdout).unwrap());
    shown.collect()
}

#[test]
fn a_site_that_says_that_it_is_too_much_is_sent_less_until_it_is_reset() {
    // The first is too much, whatever comes when.
    let sink = Sink::by(|mailbox, nth| {
        if mailbox.starts_with("much") && nth == 1 { LIMITED } else { OK }.to_owned()
    });
    let rules = "[[site]]\nmx = ['127.0.0.1']\nrate = '100/s'\nrecovery = '10d'\n\
        rate_floor = '1/d'\n\
        [[automation]]\nname = 'very slow'\ncodes = ['4xx']\nwords = ['rate limit']\n\
        action = 'slow-down'\nrate = '1/d'\nfor = '5h'\ncount = 2\nwithin = '1h'\n";
    let mut node = node(&sink, rules, SOON);
    post(&node, "<plain@b.example>");
    sink.wait_for_mail_to("plain@b.example");
    assert_eq!(
        (outlet(&node)["by"].as_str(), outlet(&node)["rate"].as_str()),
        (Some("rules"), Some("100/s"))
    );
    // One deferral halves the rate, whatever the rule says at its second.
    post(&node, "<much1@b.example>");
    sink.wait_for_mail_to("much1@b.example");
    let halved = outlet(&node);
    assert_eq!((halved["by"].as_str(), halved["rate_max"].as_str()), (Some("peer"), Some("100/s")));
    assert!(halved["rate"].as_str().unwrap().starts_with("50"), "{halved}");
    for series in ["relay_fast_slowed_down_total", "relay_fast_sources_held_up{by=\"peer\"}"] {
        assert!((node.metric(series) - 1.0).abs() < 0.5, "{series}");
    }
    let told = printed(&shaping(&node, &["status", "127.0.0.1"]));
    assert!(
        told.contains("slowed down, on its way to 100/s") && told.contains("of 100 connections"),
        "{told}"
    );
    // What is known outlives the process.
    node.drain();
    node.run(2);
    assert_eq!(outlet(&node)["by"].as_str(), Some("peer"), "{:?}", status(&node));
    // An operator's word goes over it, and mail goes by that.
    printed(&shaping(&node, &["set", "127.0.0.1", "rate=1/d"]));
    post(&node, "<first@b.example>");
    sink.wait_for_mail_to("first@b.example");
    assert_eq!(outlet(&node)["by"].as_str(), Some("operator"));
    post(&node, "<second@b.example>");
    let why = wait_for("the limit", || {
        let shown = limits(&node);
        shown.contains("as an operator set").then_some(shown)
    });
    assert!(why.contains("1/d to its site, as an operator set"), "{why}");
    assert_eq!(sink.asked("second@b.example"), 0);
    printed(&shaping(&node, &["reset", "127.0.0.1"]));
    sink.wait_for_mail_to("second@b.example");
    assert_eq!(outlet(&node)["by"].as_str(), Some("rules"));
    for (words, said) in [
        (&["set", "mx.example", "rate=1/d"][..], "no site that this node sends to"),
        (&["set", "127.0.0.1", "rate=1"][..], "write it as 100/s"),
        (&["set", "127.0.0.1", "speed=1/d"][..], "neither rate"),
    ] {
        let error = refusal(&shaping(&node, words));
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn events_say_where_an_attempt_left_from_and_the_provider_that_it_went_to() {
    let sink = Sink::by(|mailbox, nth| {
        if mailbox.starts_with("much") && nth == 1 { LIMITED } else { OK }.to_owned()
    });
    let rules = "[[provider]]\nname = 'here'\nmx = ['127.0.0.1']\n";
    let mut node = node(&sink, rules, &format!("{SOON}[[source]]\naddress = \"127.0.0.1\"\n"));
    post(&node, "<much@b.example>");
    let first = node.wait_for_events(Kind::Delivered, 1);
    // Nobody listens there, and no rules are in force: a connection that was not made has a source.
    node.drain();
    let nowhere = format!("127.0.0.1:{}", free_port());
    node.configure(&to_upstream(&nowhere, SOON));
    node.run(2);
    post(&node, "<none@b.example>");
    let all = node.wait_for_events(Kind::Deferred, 2);
    let told = |kind: Kind, to: &str| {
        let mut fitting = all.iter().filter(|event| event.kind == kind && event.recipient == to);
        let event = fitting.next().unwrap();
        (event.source.to_string(), event.provider.to_string())
    };
    let here = ("127.0.0.1".to_owned(), "here".to_owned());
    assert_eq!(told(Kind::Deferred, "much@b.example"), here);
    assert_eq!(told(Kind::Delivered, "much@b.example"), here);
    assert_eq!(told(Kind::Received, "much@b.example"), Default::default());
    assert_eq!(told(Kind::Deferred, "none@b.example"), ("node.example".to_owned(), String::new()));
    assert!(all.len() > first.len());
}

#[test]
fn rules_suspend_the_site_or_bounce_and_end_when_they_are_reset() {
    let sink = Sink::by(|mailbox, nth| {
        let answer = match mailbox {
            "never@b.example" => "451 4.7.0 Permanently deferred",
            "enough@b.example" if nth == 1 => "450 4.2.0 Enough for today",
            _ => OK,
        };
        answer.to_owned()
    });
    let rules = "[[automation]]\nname = 'no use'\ncodes = ['4xx']\n\
        words = ['permanently deferred']\naction = 'bounce'\n\
        [[automation]]\nname = 'for today'\nwords = ['enough for today']\nmx = ['127.0.0.1']\n\
        action = 'suspend'\nfor = '1d'\n";
    let node = node(&sink, rules, SOON);
    post(&node, "<never@b.example>");
    let events = node.wait_for_events(Kind::Bounced, 1);
    let bounced = events.iter().find(|event| event.kind == Kind::Bounced).unwrap();
    assert_eq!(bounced.recipient, "never@b.example");
    assert_eq!(sink.asked("never@b.example"), 1);
    post(&node, "<enough@b.example>");
    node.wait_for_log("for today: leave the site alone for 1d");
    post(&node, "<later@b.example>");
    wait_for("the limit", || {
        limits(&node).contains("left alone for a while: for today").then_some(())
    });
    let row = outlet(&node);
    assert_eq!(row["why"].as_str(), Some("for today"), "{row}");
    assert!(row["suspended_s"].as_u64().is_some_and(|left| left > 80_000), "{row}");
    assert_eq!(sink.asked("later@b.example"), 0);
    assert!((node.metric("relay_fast_shaping_rules_total") - 2.0).abs() < 0.5);
    printed(&shaping(&node, &["reset", "127.0.0.1"]));
    sink.wait_for_mail_to("later@b.example");
    sink.wait_for_mail_to("enough@b.example");
    assert!(outlet(&node)["suspended_s"].is_null());
}

#[test]
fn a_source_that_is_not_wanted_is_relieved_by_another() {
    let sink = Sink::by(|mailbox, nth| {
        if mailbox.starts_with("not") && nth == 1 { "451 4.7.1 Not from there" } else { OK }
            .to_owned()
    });
    let rules = "[default]\nconnections = 1\n[[automation]]\nname = 'another'\n\
        words = ['not from there']\naction = 'switch-source'\nfor = '1h'\n";
    let sources = "[[source]]\naddress = \"127.0.0.2\"\nhello = \"two.example\"\n\
        [[source]]\naddress = \"127.0.0.3\"\nhello = \"three.example\"\n";
    let node = node(&sink, rules, &format!("{SOON}{sources}"));
    post(&node, "<not@b.example>");
    let other = sink.wait_for_mail_to("not@b.example").hello;
    let suspended = status(&node);
    let left_alone: Vec<_> = suspended.iter().filter(|row| !row["suspended_s"].is_null()).collect();
    assert_eq!(left_alone.len(), 1, "{suspended:?}");
    let address = left_alone[0]["source"].as_str().unwrap();
    assert_eq!(address, if other == "two.example" { "127.0.0.3" } else { "127.0.0.2" });
    for number in 0..20 {
        post(&node, &format!("<{number}@b.example>"));
    }
    let taken = sink.wait(21);
    assert!(taken.iter().all(|one| one.hello == other), "all from {other}");
    // There is no third: if that one is not wanted either, it goes on.
    post(&node, "<nota@b.example>");
    assert_eq!(sink.wait_for_mail_to("nota@b.example").hello, other);
}

#[test]
fn rules_that_change_are_in_force_for_sites_that_are_there_and_wrong_ones_are_not() {
    let sink = Sink::start();
    let rule = |rate: &str| format!("[[site]]\nmx = ['127.0.0.1']\nrate = '{rate}'\n");
    let node = node(&sink, &rule("500/s"), "");
    post(&node, "<a@b.example>");
    sink.wait(1);
    let file = node.folder.path().join("shaping.toml");
    fs::write(&file, "[[site]]\nmx = ['127.0.0.1']\nspeed = 1\n").unwrap();
    node.signal(Signal::HUP);
    let line = node.wait_for_log("unknown field");
    assert!(
        line.contains("shaping.toml: line 3") && line.contains("nothing has changed"),
        "{line}"
    );
    assert_eq!(outlet(&node)["rate"].as_str(), Some("500/s"));
    fs::write(&file, rule("7/h")).unwrap();
    node.signal(Signal::HUP);
    node.wait_for_log(" reloaded ");
    // An upstream relay's site begins anew with the next message.
    post(&node, "<b@b.example>");
    sink.wait(2);
    assert_eq!(outlet(&node)["rate"].as_str(), Some("7/h"));
    let config = node.config_path();
    let show = ["shaping", "show", "127.0.0.1", "--config", text(&config)];
    let shown = printed(&run(&show));
    assert!(shown.contains("rate") && shown.contains("[[site]] 127.0.0.1, line 1"), "{shown}");
    let checked = printed(&run(&["shaping", "check", text(&file)]));
    assert_eq!(checked, "1 rules of shapes, 0 of what follows from replies\n");
    assert!(refusal(&run(&["shaping", "check", text(&config)])).contains("unknown field"));
}

/// A message of a tenant's campaign.
fn post_for(node: &Node, (tenant, campaign): (&str, &str), to: &str) {
    let content = format!(
        "X-Tenant: {tenant}\r\nX-Campaign: {campaign}\r\nFrom: <a@a.example>\r\n\r\nHello."
    );
    Client::connect(node.listen[0]).send("<a@a.example>", &[&format!("<{to}>")], &content);
}

#[test]
fn a_site_that_wants_no_more_of_a_campaign_or_a_tenant_has_everything_else() {
    let sink = Sink::by(|mailbox, nth| {
        let answer = match (mailbox.split('@').next(), nth) {
            (Some("news1"), 1) => "451 4.7.1 No more of this campaign today",
            (Some("sales1"), 1) => "451 4.7.1 No more of this customer today",
            _ => OK,
        };
        answer.to_owned()
    });
    let rules = "[[automation]]\nname = 'campaign'\nwords = ['of this campaign']\n\
        action = 'suspend-campaign'\nfor = '1d'\n\
        [[automation]]\nname = 'tenant'\nwords = ['of this customer']\n\
        action = 'suspend-tenant'\nfor = '1d'\n";
    let node = node(&sink, rules, "[senders]\nfields = \"remove\"\n");
    let (news, sales, globex) = (("acme", "news"), ("acme", "sales"), ("globex", "news"));
    post_for(&node, news, "news1@b.example");
    node.wait_for_log("campaign: nothing of the campaign for 1d");
    post_for(&node, news, "news2@b.example");
    for (who, to) in [(sales, "sales0@b.example"), (globex, "other@b.example")] {
        post_for(&node, who, to);
        sink.wait_for_mail_to(to);
    }
    let why = "its site has nothing of its sender for a while: campaign (acme, news)";
    wait_for("the reason", || limits(&node).contains(why).then_some(()));
    post_for(&node, sales, "sales1@b.example");
    node.wait_for_log("tenant: nothing of the tenant for 1d");
    post_for(&node, sales, "sales2@b.example");
    post_for(&node, globex, "last@b.example");
    sink.wait_for_mail_to("last@b.example");
    wait_for("the reason", || limits(&node).contains("a while: tenant (acme)").then_some(()));
    assert_eq!((sink.asked("news2@b.example"), sink.asked("sales2@b.example")), (0, 0));
    let rules = outlet(&node)["rules"].to_string();
    assert!(rules.contains("campaign (acme, news)") && rules.contains("tenant (acme)"), "{rules}");
    // What waits looks again within a minute, and what comes in for another domain at once.
    printed(&shaping(&node, &["reset", "127.0.0.1"]));
    post_for(&node, news, "news3@c.example");
    sink.wait_for_mail_to("news3@c.example");
}
