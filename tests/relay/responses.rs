//! What recipients do with campaigns is in their figures, over a kill: opens, clicks, unsubscribes,
//! complaints, bounces that come later.

use std::collections::BTreeMap;

use crate::client::Client;
use crate::kpis::get;
use crate::links::{ONE_CLICK, Scene, link};
use crate::node::wait_for;
use crate::returns::{bounce, complaint, from_outside, path};
use crate::tool;

const SECTIONS: &str = "[kpis]\ncount = \"yes\"\n[senders]\nfields = \"remove\"\n\
    [bounces]\naddress = \"bounces@back.example\"\nsecrets = SECRETS\n\
    [complaints]\naddresses = [\"fbl@back.example\"]\ncfbl = \"yes\"\n\
    [[listener]]\naddress = \"127.0.0.1:0\"\nrelay_for = []\n\
    [[tenant]]\nname = \"acme\"\nunsubscribe = \"add\"\ntracking = \"all\"\n\
    [[tenant]]\nname = \"globex\"\ntracking = \"all\"\n";

const FIGURES: [&str; 9] = [
    "injected",
    "delivered",
    "bounced_later",
    "complaints",
    "opens_people",
    "opens_machine",
    "clicks",
    "clicks_machine",
    "unsubscribes",
];

type Table = BTreeMap<String, [u64; FIGURES.len()]>;

/// What came to the next hop: its reverse-path, and its content.
struct Letter {
    path: String,
    content: String,
}

fn send(scene: &Scene, (tenant, campaign): (&str, &str), to: &str) -> Letter {
    let content = format!(
        "X-Tenant: {tenant}\r\nX-Campaign: {campaign}\r\nFrom: <news@a.example>\r\n\
         To: <{to}>\r\nContent-Type: text/html\r\n\r\n<body>\r\n\
         <a href=\"https://shop.example/\">Shop</a>\r\n</body>"
    );
    let mut client = Client::connect(scene.node.listen[0]);
    client.send("<news@a.example>", &[&format!("<{to}>")], &content);
    let taken = scene.sink.wait_for_mail_to(to);
    Letter { path: path(&taken), content: taken.content }
}

/// A bounce of what had been taken.
fn bounce_later(scene: &Scene, letter: &Letter, to: &str) {
    assert_eq!(from_outside(&scene.node, &letter.path, &bounce(to)).code, 250);
}

fn complain(scene: &Scene, letter: &Letter, to: &str) {
    let id = letter.content.lines().find(|line| line.starts_with("CFBL-Feedback-ID: "));
    let who = format!("Original-Mail-From: {}\r\nOriginal-Rcpt-To: {to}", letter.path);
    let report = complaint(&who, id.expect("the field"));
    assert_eq!(from_outside(&scene.node, "<fbl@back.example>", &report).code, 250);
}

/// The figures of all that somebody sends, by key.
fn table(scene: &Scene, by: &str) -> Table {
    let totals = get(&scene.node, &format!("/v1/kpis?by={by}&interval=day&from=2d"));
    let rows = totals["rows"].as_array().unwrap().iter();
    let figures = |row: &serde_json::Value| FIGURES.map(|name| row[name].as_u64().unwrap());
    let table = rows.map(|row| (row["key"].as_str().unwrap().to_owned(), figures(row)));
    // What came back is mail as well, of nobody.
    table.filter(|(key, _)| !key.is_empty()).collect()
}

fn expect(scene: &Scene, by: &str, expected: &[(&str, [u64; FIGURES.len()])]) {
    let expected = expected.iter().map(|(key, row)| (key.to_string(), *row)).collect::<Table>();
    let mut last = Table::new();
    let found = wait_for_table(scene, by, &expected, &mut last);
    assert!(found, "{by}: {FIGURES:?}\n{last:?}\nand not\n{expected:?}");
}

fn wait_for_table(scene: &Scene, by: &str, expected: &Table, last: &mut Table) -> bool {
    wait_for("figures", || {
        *last = table(scene, by);
        (last == expected || last.values().zip(expected.values()).any(is_beyond)).then_some(())
    });
    last == expected
}

/// Whether something was counted that is not expected at all.
fn is_beyond((counted, expected): (&[u64; FIGURES.len()], &[u64; FIGURES.len()])) -> bool {
    counted.iter().zip(expected).any(|(counted, expected)| counted > expected)
}

#[test]
fn what_recipients_do_is_in_the_figures_of_tenant_and_campaign_over_a_kill() {
    if tool::find("curl").is_none() {
        return;
    }
    let mut scene = Scene::with("", SECTIONS);
    let news = ["a1", "a2", "a3", "a4"].map(|who| format!("{who}@b.example"));
    let news = news.each_ref().map(|to| (to, send(&scene, ("acme", "news/11"), to)));
    let sale = ["b1", "b2"].map(|who| format!("{who}@c.example"));
    let sale = sale.each_ref().map(|to| (to, send(&scene, ("acme", "sale"), to)));
    let other = send(&scene, ("globex", "news/11"), "g1@b.example");
    // A person opens it and follows a link, a proxy of pictures and a scanner do.
    let [a1, a2, a3, a4] = &news;
    let of = |letter: &Letter, kind| link(&letter.content, kind);
    assert_eq!(scene.status(&of(&a1.1, "/o/"), &[]), 200);
    assert_eq!(scene.status(&of(&a1.1, "/c/"), &[]), 302);
    assert_eq!(scene.status(&of(&a2.1, "/o/"), &["-A", "Mozilla/5.0"]), 200);
    assert_eq!(scene.status(&of(&a2.1, "/c/"), &["-A", "python-requests/2.31"]), 302);
    assert_eq!(scene.status(&of(&other, "/o/"), &[]), 200);
    assert_eq!(scene.status(&of(&a3.1, "/u/"), &ONE_CLICK), 200);
    assert_eq!(scene.status(&of(&a3.1, "/u/"), &ONE_CLICK), 200, "and counts once");
    complain(&scene, &a4.1, a4.0);
    bounce_later(&scene, &sale[0].1, sale[0].0);
    // Whatever anybody could have written counts for nobody.
    let forged = complaint("Original-Rcpt-To: a1@b.example", "Subject: news");
    assert_eq!(from_outside(&scene.node, "<fbl@back.example>", &forged).code, 250);
    let before = [
        ("acme news/11", [4, 4, 0, 1, 1, 1, 1, 1, 1]),
        ("acme sale", [2, 2, 1, 0, 0, 0, 0, 0, 0]),
        ("globex news/11", [1, 1, 0, 0, 1, 0, 0, 0, 0]),
    ];
    expect(&scene, "campaign", &before);
    expect(&scene, "tenant", &[("acme", [6, 6, 1, 1, 1, 1, 1, 1, 1]), ("globex", before[2].1)]);

    // What came back is told again, and counts no more for it.
    scene.node.kill();
    scene.node.run(1);
    expect(&scene, "campaign", &before);
    // What left before is known by its links and its reverse-path still.
    bounce_later(&scene, &sale[1].1, sale[1].0);
    bounce_later(&scene, &other, "g1@b.example");
    complain(&scene, &a2.1, a2.0);
    assert_eq!(scene.status(&of(&sale[1].1, "/o/"), &[]), 200);
    let after = [
        ("acme news/11", [4, 4, 0, 2, 1, 1, 1, 1, 1]),
        ("acme sale", [2, 2, 2, 0, 1, 0, 0, 0, 0]),
        ("globex news/11", [1, 1, 1, 0, 1, 0, 0, 0, 0]),
    ];
    expect(&scene, "campaign", &after);
    expect(&scene, "tenant", &[("acme", [6, 6, 2, 2, 2, 1, 1, 1, 1]), ("globex", after[2].1)]);
}
