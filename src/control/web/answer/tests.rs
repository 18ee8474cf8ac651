//! What is wanted of a link, by request.

use std::time::Duration;

use super::*;
use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::address::Mailbox;
use crate::mail::visit::About;
use crate::policy::links::Links;
use crate::policy::verp::Secrets;

const HOST: &str = "links.example";

fn rules() -> Rules {
    Rules {
        links: Links::new(&Secrets::parse(&"s".repeat(40)).expect("a secret")),
        hosts: vec![HOST.into(), "links.acme.example".into()],
        acceptor: None,
        soon: Duration::ZERO,
        honours_do_not_track: true,
    }
}

fn link(action: Action) -> Link {
    let recipient = Mailbox::parse("reader@b.example", true).ok();
    let (message, taken) = (MessageId(7), WallTime(1_795_491_661_000));
    Link { about: About { message, taken, recipient, tenant: None, campaign: None }, action }
}

fn url(link: &Link) -> String {
    rules().links.url(HOST, &link.about, &link.action)
}

fn ask(method: &str, target: &str, host: &str) -> Wanted {
    let request = Request::builder().method(method).uri(target).header("host", host);
    wanted(&rules(), &request.body(()).expect("a request"))
}

fn at(method: &str, url: &str) -> Wanted {
    ask(method, url.strip_prefix("https://links.example").expect("of ours"), HOST)
}

#[test]
fn who_only_looks_unsubscribes_nobody() {
    let link = link(Action::Unsubscribe);
    let url = url(&link);
    for method in ["GET", "HEAD"] {
        assert_eq!(at(method, &url), Wanted::Page(Page::Ask), "{method}");
    }
    for method in ["PUT", "DELETE", "OPTIONS", "PATCH"] {
        assert_eq!(at(method, &url), Wanted::Page(Page::Method("GET, HEAD, POST")), "{method}");
    }
    assert_eq!(at("POST", &url), Wanted::Unsubscribe(link));
}

#[test]
fn pictures_and_links_are_looked_at() {
    for action in [Action::Open, Action::Click("https://shop.example/?a=b".into())] {
        let link = link(action);
        let url = url(&link);
        assert_eq!(at("POST", &url), Wanted::Page(Page::Method("GET, HEAD")));
        assert_eq!(at("HEAD", &url), Wanted::Use(link.clone()));
        let more = format!("{url}?to=https://evil.example/");
        assert_eq!(at("GET", &more), Wanted::Use(link), "what else it says counts for nothing");
    }
}

#[test]
fn a_link_is_good_at_its_own_host_alone() {
    let url = url(&link(Action::Open));
    let path = url.strip_prefix("https://links.example").expect("of ours");
    for same in ["LINKS.example", "links.example:8443", "links.example."] {
        assert!(matches!(ask("GET", path, same), Wanted::Use(_)), "{same}");
    }
    assert_eq!(ask("GET", path, "links.acme.example"), Wanted::Page(Page::Unknown));
    for other in ["evil.example", "127.0.0.1", "", "links.example.evil.example"] {
        assert_eq!(ask("GET", path, other), Wanted::Page(Page::Misdirected), "{other}");
    }
    let twice = Request::builder().uri(path).header("host", HOST).header("host", HOST);
    let twice = wanted(&rules(), &twice.body(()).expect("a request"));
    assert_eq!(twice, Wanted::Page(Page::Misdirected));
}

#[test]
fn nothing_else_is_there() {
    for path in
        ["/", "/healthz", "/metrics", "/queue/list", "/v1/queue", "/suppression/list", "/u/"]
    {
        assert_eq!(ask("GET", path, HOST), Wanted::Page(Page::Unknown), "{path}");
        assert_eq!(ask("POST", path, HOST), Wanted::Page(Page::Unknown), "{path}");
    }
    assert_eq!(ask("GET", "/robots.txt", HOST), Wanted::Robots);
}

#[test]
fn one_click_is_said_by_either_form() {
    let form = "application/x-www-form-urlencoded";
    for (kind, body, is_it) in [
        (form, "List-Unsubscribe=One-Click", true),
        (form, "a=b&List-Unsubscribe=One-Click\r\n", true),
        ("", "List-Unsubscribe=One-Click", true),
        (form, "List-Unsubscribe=", false),
        (form, "Unsubscribe=One-Click", false),
        (form, "", false),
        (
            "multipart/form-data; boundary=XX",
            "--XX\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\n\
             One-Click\r\n--XX--\r\n",
            true,
        ),
        (
            "multipart/form-data; boundary=XX",
            "--XX\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n\
             One-Click\r\n--XX--\r\n",
            false,
        ),
        ("multipart/form-data", "List-Unsubscribe=One-Click", false),
        ("multipart/form-data; boundary=XX", "\0\0", false),
    ] {
        assert_eq!(is_one_click(kind, body.as_bytes()), is_it, "{kind}: {body}");
    }
}

#[test]
fn wishes_of_browsers_are_heard() {
    let with = |name: &'static str, value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a value"));
        headers
    };
    assert!(asks_not_to_be_tracked(&with("dnt", "1")));
    assert!(asks_not_to_be_tracked(&with("sec-gpc", "1")));
    assert!(!asks_not_to_be_tracked(&with("dnt", "0")));
    assert!(!asks_not_to_be_tracked(&HeaderMap::new()));
    assert!(is_prefetch(&with("sec-purpose", "prefetch;prerender")));
    assert!(is_prefetch(&with("purpose", "Prefetch")) && is_prefetch(&with("x-moz", "prefetch")));
    assert!(!is_prefetch(&with("sec-purpose", "")));
}
