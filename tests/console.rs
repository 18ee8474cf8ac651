//! The console of the real program in a real browser: what a person sees, clicks and types.
//!
//! `CONSOLE_PICTURES=DIR` keeps a picture of each page.

#![allow(clippy::unwrap_used, reason = "tests unwrap freely: in a test a panic is the report")]
#![cfg(feature = "runtime")]

#[path = "support/tool.rs"]
mod tool;

#[path = "console/browser.rs"]
mod browser;
#[allow(dead_code, reason = "the relay's tests need more of it")]
#[path = "relay/client.rs"]
mod client;
#[allow(dead_code, reason = "the relay's tests need more of it")]
#[path = "relay/node.rs"]
mod node;
#[allow(dead_code, reason = "the relay's tests need more of it")]
#[path = "relay/sink.rs"]
mod sink;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::browser::Browser;
use crate::client::{Client, send};
use crate::node::{Node, text, to_upstream, wait_for};
use crate::sink::Sink;

const SECRET: &str = "0123456789abcdef-0123456789abcdef";
const PAGES: [&str; 6] = ["overview", "destinations", "campaigns", "bounces", "messages", "domain"];

/// What a peer may say to whoever shows it.
const HOSTILE: &str = "452 4.2.2 <img src=x onerror=window.taken=1><b>full</b>";

/// A node that takes campaigns, whose sink has no room for some; mail of two of them is there.
fn with_mail() -> (Node, Sink) {
    let sink = Sink::by(|address, _| {
        let answer = if address.contains("full") { HOSTILE } else { "250 2.1.5 Ok" };
        answer.to_owned()
    });
    let more = "[queue]\nretry_first = \"1h\"\n[senders]\nfields = \"remove\"\n\
        [shaping]\nshipped = \"on\"\n[kpis]\ncount = \"yes\"\n";
    let node = Node::to(sink.address, more);
    for (tenant, campaign, to) in [
        ("acme", "spring-sale", "<one@b.example>"),
        ("acme", "spring-sale", "<full@b.example>"),
        ("acme", "receipts", "<two@c.example>"),
        ("globex", "newsletter", "<full2@c.example>"),
    ] {
        let mut client = Client::connect(node.listen[0]);
        let labels = format!("X-Tenant: {tenant}\r\nX-Campaign: {campaign}\r\n");
        client.send("<news@a.example>", &[to], &format!("{labels}Subject: x\r\n\r\nx\r\n"));
    }
    wait_for("two are deferred", || (node.stat("deferred") == 2).then_some(()));
    (node, sink)
}

fn page(node: &Node, place: &str) -> String {
    format!("http://{}/#/{place}", node.admin)
}

/// A browser on a desk, at a page of a node [`with_mail`]; `None` where there is no browser.
fn at(place: &str) -> Option<(Browser, Node, Sink)> {
    let browser = Browser::start()?;
    let (node, sink) = with_mail();
    browser.resize(1280, 900);
    browser.open(&page(&node, place));
    Some((browser, node, sink))
}

fn is_quiet(browser: &Browser) {
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn who_has_no_token_sees_nothing_and_who_has_it_sees_all_live() {
    let Some(browser) = Browser::start() else { return };
    let sink = Sink::start();
    let mut node = Node::idle("");
    let path = node.folder.path().join("token");
    fs::write(&path, SECRET).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let admin = format!("[admin]\ntoken = \"{}\"\n", text(&path));
    node.configure(&to_upstream(&sink.address.to_string(), &admin));
    // Whether it has recovered is told to nobody without the token.
    let command = node.command(2);
    node.run_ahead(command);
    browser.resize(1280, 900);
    browser.open(&page(&node, "overview"));
    browser.wait_for_text("This node asks for a token");
    assert!(!browser.text().contains("node.example"), "nothing of the node is told");
    browser.picture("login");
    browser.type_into("#token", "a token that nobody has given out");
    browser.press("\u{e007}");
    browser.wait_for_text("The node does not know this token");
    browser.type_into("#token", SECRET);
    browser.click("#login button");
    browser.wait_for_text("node.example");
    browser.wait_for_text("live");
    // What comes in shows by itself.
    for n in 0..5 {
        send(node.listen[0], "<a@a.example>", &[&format!("<{n}@b.example>")], "x");
    }
    browser.wait_for_text("5 messages in");
    browser.wait_for_text("100 %");
    // It stays logged in over a reload, and is forgotten with the tab.
    browser.run("location.reload()");
    browser.wait_for_text("5 messages in");
    assert_eq!(browser.run("return Object.keys(localStorage).length"), 0);
    is_quiet(&browser);
}

#[test]
fn every_page_fits_a_phone_and_a_desk_in_light_and_dark_and_takes_no_word_for_markup() {
    let Some((browser, _node, _sink)) = at("overview") else { return };
    browser.wait_for_text("live");
    for (width, height, size) in [(390, 844, "phone"), (1280, 900, "desk")] {
        browser.resize(width, height);
        for theme in ["light", "dark"] {
            browser.run(&format!("document.documentElement.dataset.theme = '{theme}'"));
            for place in PAGES {
                browser.run(&format!("location.hash = '#/{place}'"));
                let title = "return document.querySelector('nav [aria-current]').dataset.page";
                wait_for("the page is there", || (browser.run(title) == place).then_some(()));
                if place == "destinations" {
                    // In words, as the peer said it.
                    browser.wait_for_text("<img src=x onerror=window.taken=1><b>full</b>");
                }
                let over = "return document.documentElement.scrollWidth - innerWidth";
                assert!(browser.run(over).as_i64().unwrap() <= 0, "{place} is too wide: {size}");
                browser.picture(&format!("{place}-{size}-{theme}"));
            }
        }
    }
    assert_eq!(browser.run("return window.taken ?? null"), serde_json::Value::Null);
    let background = "return getComputedStyle(document.body).backgroundColor";
    let dark = browser.run(background);
    browser.click("#theme");
    assert_ne!(browser.run(background), dark, "the button turns it");
    is_quiet(&browser);
}

#[test]
fn a_site_is_left_alone_and_taken_up_again() {
    let Some((browser, node, sink)) = at("destinations") else { return };
    browser.wait_for_text(&sink.address.to_string());
    browser.wait_for_text("Rates and suspensions are of shaping");
    browser.click("tbody tr .act button:not([hidden])");
    browser.wait_for_text("Nothing is sent there for an hour");
    browser.picture("confirm");
    browser.click("#confirm-yes");
    browser.wait_for_text("left alone 5");
    browser.picture("destinations-suspended");
    send(node.listen[0], "<a@a.example>", &["<late@b.example>"], "x");
    browser.wait_for_text("an operator");
    assert!(!sink.taken().iter().any(|mail| mail.is_for("late@b.example")));
    browser.click("tbody tr .act button:not([hidden])");
    sink.wait_for_mail_to("late@b.example");
    is_quiet(&browser);
}

#[test]
fn a_campaign_shows_how_far_it_is_and_is_paused() {
    let Some((browser, node, _sink)) = at("campaigns") else { return };
    browser.wait_for_text("spring-sale");
    browser.wait_for_text("newsletter");
    let row =
        "[...document.querySelectorAll('tbody tr')].find(r => r.innerText.includes('spring'))";
    let cells = format!("return [...{row}.cells].map(cell => cell.innerText).join('|')");
    // One of two is there, the other waits.
    wait_for("its figures", || {
        let cells = browser.run(&cells);
        cells.as_str().unwrap().contains("acme|under way||1|1|0|").then_some(())
    });
    browser.run(&format!("{row}.querySelector('button').click()"));
    browser.wait_for_text("Pause spring-sale of acme?");
    browser.click("#confirm-yes");
    wait_for("it is paused", || {
        browser.run(&cells).as_str().unwrap().contains("paused").then_some(())
    });
    browser.picture("campaigns-paused");
    assert!(node.ask(&["paused"]).contains("campaign spring-sale of acme"));
    browser.run(&format!("{row}.querySelector('button').click()"));
    wait_for("it goes on", || (!node.ask(&["paused"]).contains("spring-sale")).then_some(()));
    is_quiet(&browser);
}

#[test]
fn a_message_is_found_and_its_life_is_told() {
    let Some((browser, _node, sink)) = at("overview") else { return };
    browser.wait_for_text("live");
    browser.press("/");
    browser.type_into("#find-text", "full@b.example\u{e007}");
    browser.wait_for_text("1 found.");
    browser.picture("messages-found");
    browser.press("j");
    browser.press("\u{e007}");
    browser.wait_for_text("Its life");
    browser.wait_for_text("acme for spring-sale");
    browser.wait_for_text("received");
    browser.wait_for_text("deferred");
    browser.wait_for_text("4.2.2 <img src=x");
    browser.picture("message");
    sink.change(|_, _| "250 2.1.5 Ok".to_owned());
    browser.run(
        "[...document.querySelectorAll('button')].find(b => b.innerText === 'Try now').click()",
    );
    sink.wait_for_mail_to("full@b.example");
    // The page looks again by itself.
    browser.wait_for_text("it has come to its end");
    browser.wait_for_text("delivered");
    is_quiet(&browser);
}

#[test]
fn keys_lead_everywhere() {
    let Some((browser, _node, _sink)) = at("overview") else { return };
    browser.wait_for_text("live");
    let here = "return document.querySelector('nav [aria-current]').dataset.page";
    for (n, place) in PAGES.iter().enumerate() {
        browser.press(&(n + 1).to_string());
        wait_for(place, || (browser.run(here) == *place).then_some(()));
    }
    browser.press("?");
    browser.wait_for_text("Next and previous row");
    browser.picture("keys");
    browser.press("\u{e00c}");
    browser.press("/");
    assert_eq!(browser.run("return document.activeElement.id"), "find-text");
    // What is typed there is no key.
    browser.press("2");
    assert_eq!(browser.run(here), "domain");
    is_quiet(&browser);
}
