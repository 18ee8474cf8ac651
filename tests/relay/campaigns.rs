//! `relay-fast campaigns` and `/v1/campaigns`: how far campaigns are.

use serde_json::Value;

use crate::client::Client;
use crate::node::{Node, printed, refusal, run, wait_for};
use crate::sink::Sink;

/// A node whose sink has no room for those called `full`.
fn node(more: &str) -> (Node, Sink) {
    let sink = Sink::by(|address, _| {
        let answer = match address {
            address if address.contains("full") => "452 4.2.2 Full",
            address if address.contains("no") => "550 5.1.1 No such user",
            _ => "250 2.1.5 Ok",
        };
        answer.to_owned()
    });
    let more = format!("[queue]\nretry_first = \"1h\"\n[senders]\nfields = \"remove\"\n{more}");
    let node = Node::to(sink.address, &more);
    (node, sink)
}

fn send(node: &Node, whose: &str, to: &[&str]) {
    let (tenant, campaign) = whose.split_once('/').unwrap_or((whose, ""));
    let mut content = format!("X-Tenant: {tenant}\r\n");
    if !campaign.is_empty() {
        content += &format!("X-Campaign: {campaign}\r\n");
    }
    content += "Subject: x\r\n\r\nx\r\n";
    Client::connect(node.listen[0]).send("<a@a.example>", to, &content);
}

fn get(node: &Node, query: &str) -> Value {
    let (head, body) = node.get(&format!("/v1/campaigns{query}"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{query}: {head}\n{body}");
    serde_json::from_str(&body).unwrap()
}

/// The rows, each as `tenant/campaign state queued`.
fn rows(page: &Value) -> Vec<String> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let row = |row: &Value| {
        let (tenant, campaign) = (text(row, "tenant"), text(row, "campaign"));
        format!("{tenant}/{campaign} {} {}", text(row, "state"), row["queue"]["recipients"])
    };
    page["campaigns"].as_array().unwrap().iter().map(row).collect()
}

fn ask(node: &Node, words: &[&str]) -> std::process::Output {
    let admin = node.admin.to_string();
    run(&[&["campaigns"], words, &["--admin", &admin]].concat())
}

#[test]
fn campaigns_say_how_far_they_are_by_queue_figures_and_pauses() {
    let (mut node, _sink) = node(
        "[kpis]\ncount = \"yes\"\n\
        [[tenant]]\nname = \"acme\"\nweight = 7\n\
        [[campaign]]\nname = \"news\"\nrate = \"600/m\"\n",
    );
    send(&node, "acme/news", &["<a@b.example>", "<full1@b.example>", "<full2@c.example>"]);
    send(&node, "acme/news", &["<no@b.example>"]);
    send(&node, "acme/codes", &["<b@b.example>"]);
    send(&node, "globex", &["<full3@b.example>"]);
    node.ask(&["pause", "--tenant", "globex", "--campaign", "later"]);
    let page = wait_for("all of it counted", || {
        let page = get(&node, "");
        let rows = rows(&page);
        let row = |text: &str| rows.iter().any(|row| row == text);
        let is_there = row("acme/news sending 2") && row("acme/codes done 0");
        is_there.then_some(page)
    });
    let all =
        ["acme/news sending 2", "globex/ sending 1", "acme/codes done 0", "globex/later paused 0"];
    let mut told = rows(&page);
    told[2..].sort();
    assert_eq!((told, page["more"].as_bool()), (all.map(str::to_owned).into(), Some(false)));
    let news = &page["campaigns"][0];
    assert_eq!((&news["queue"]["deferred"], &news["figures"]["delivered"]), (&2.into(), &1.into()));
    assert_eq!((&news["figures"]["bounced"], &news["progress"]), (&1.into(), &0.5.into()));
    assert!(news["per_second"].as_f64().unwrap() > 0.0 && news["left_s"].is_u64(), "{news}");
    let terms = &news["terms"];
    assert_eq!((&terms["rate"], &terms["tenant_weight"]), (&"600/m".into(), &7.into()));
    // Those of one tenant, and no more than is asked for.
    assert_eq!(rows(&get(&node, "?tenant=globex")), ["globex/ sending 1", "globex/later paused 0"]);
    let first = get(&node, "?limit=1");
    assert_eq!((rows(&first), &first["more"]), (vec![all[0].to_owned()], &true.into()));
    assert_eq!(rows(&get(&node, "?tenant=acme&campaign=news")), [all[0]]);
    // A tenant's pause is its campaigns', over a restart too, and its time is kept.
    node.ask(&["pause", "--tenant", "acme"]);
    node.drain();
    node.run(1);
    let page = get(&node, "?tenant=acme&campaign=news");
    assert_eq!(rows(&page), ["acme/news paused 2"]);
    let paused = &page["campaigns"][0]["paused"];
    let since = paused["since"].as_str().unwrap();
    assert_eq!(paused["whole_tenant"], true);
    assert!(node.ask(&["paused"]).contains(&format!("all of acme, since {since}\n")));
    // The same in words.
    let shown = printed(&ask(&node, &["--tenant", "acme", "--campaign", "news"]));
    for line in [
        &format!("news of acme: paused with its tenant since {since}\n"),
        "done        50.0%\n",
        "waiting     2: 0 ready, 0 attempting, 2 deferred, 0 held\n",
        "so far      4 injected, 1 delivered, 1 bounced, 0 expired, 0 suppressed, 0 removed; 2 ",
        "rate        600/m, its tenant's any\n",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let table = printed(&ask(&node, &["--limit", "1"]));
    let cells: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[..8], ["acme", "news", "paused", "50.0%", "2", "2", "1", "1"], "{table}");
    assert!(table.ends_with("there are more: raise --limit, or name a --tenant\n"), "{table}");
    // Cancelled, it is done; what became of it stays.
    node.ask(&["remove", "--tenant", "acme", "--campaign", "news"]);
    wait_for("it is cancelled", || {
        let page = get(&node, "?tenant=acme&campaign=news");
        (page["campaigns"][0]["figures"]["removed"] == 2).then_some(())
    });
}

#[test]
fn without_figures_the_queue_says_what_it_knows() {
    let (node, _sink) = node("");
    send(&node, "acme/news", &["<full@b.example>"]);
    send(&node, "acme/news", &["<a@b.example>"]);
    wait_for("one waits", || (node.stat("deferred") == 1).then_some(()));
    wait_for("one is delivered", || (node.stat("recipients") == 1).then_some(()));
    let page = get(&node, "");
    assert_eq!(rows(&page), ["acme/news sending 1"]);
    assert_eq!((&page["counted"], &page["campaigns"][0]["figures"]), (&Value::Null, &Value::Null));
    let json = printed(&ask(&node, &["--json"]));
    assert_eq!(rows(&serde_json::from_str(&json).unwrap()), ["acme/news sending 1"]);
    for (query, words) in [
        ("?campaign=news", "whose campaign? Name its tenant too"),
        ("?tenant=a+b", "tenant a b: "),
        ("?what=1", "unknown field `what`"),
    ] {
        let (head, body) = node.get(&format!("/v1/campaigns{query}"));
        assert!(head.starts_with("HTTP/1.1 400 ") && body.contains(words), "{query}: {body}");
    }
    let wrong = refusal(&ask(&node, &["--tenant", "a b"]));
    assert!(wrong.contains("tenant a b: "), "{wrong}");
}
