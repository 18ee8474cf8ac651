//! Links of messages, from their way into one to their use by curl, through the public door.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use relay_fast::mail::visit::By;
use relay_fast::outcome::event::{Event, Kind};
use rustix::process::Signal;
use serde_json::json;

use crate::certificates::Authority;
use crate::client::Client;
use crate::inject::inject;
use crate::node::{Node, free_port, to_upstream, wait_for};
use crate::sink::Sink;
use crate::tool;

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0";
const SHOP: &str = "https://shop.example/?a=1&b=2";

/// A node whose links are answered, in front of a sink.
pub(crate) struct Scene {
    pub(crate) node: Node,
    pub(crate) sink: Sink,
    port: u16,
    authority: Authority,
}

impl Scene {
    /// With these knobs of `[web]` and of the tenant `acme`, who comes by the listener.
    fn start(web: &str, tenant: &str) -> Self {
        Self::with(
            web,
            &format!("[[tenant]]\nname = \"acme\"\nlisteners = [\"127.0.0.1:0\"]\n{tenant}\n"),
        )
    }

    /// With these knobs of `[web]`, and all of these sections; `SECRETS` is the file of secrets.
    pub(crate) fn with(web: &str, sections: &str) -> Self {
        let (sink, authority, port) = (Sink::start(), Authority::new("authority"), free_port());
        authority.write("links", &["links.example"]);
        let mut node = Node::idle("");
        let secrets = node.folder.path().join("secrets");
        fs::write(&secrets, "0123456789abcdef0123456789abcdef\n").unwrap();
        fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).unwrap();
        let (certificate, key) = (authority.path("links.pem"), authority.path("links.key"));
        let more = format!(
            "[suppression]\nat = \"rcpt\"\n[web]\nlisten = [\"127.0.0.1:{port}\"]\n\
             host = \"links.example\"\nsecrets = {secrets:?}\ncertificate = {certificate:?}\n\
             key = {key:?}\nmachine_within = \"0s\"\n{web}\n{sections}\n"
        );
        let more = more.replace("SECRETS", &format!("{secrets:?}"));
        node.configure(&to_upstream(&sink.address.to_string(), &more));
        node.run(2);
        Self { node, sink, port, authority }
    }

    /// What comes to the sink of a message with this content to `to`.
    fn send(&self, to: &[&str], content: &str) -> String {
        let before = self.sink.taken().len();
        let mut client = Client::connect(self.node.listen[0]);
        let paths: Vec<String> = to.iter().map(|to| format!("<{to}>")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        client.send("<news@a.example>", &paths, content);
        self.sink.wait(before + 1)[before].content.clone()
    }

    fn page(&self, to: &str) -> String {
        let page = format!(
            "From: <news@a.example>\r\nTo: <{to}>\r\nContent-Type: text/html\r\n\r\n<body>\r\n\
             <a href=\"{}\">Shop</a>\r\n</body>",
            SHOP.replace('&', "&amp;")
        );
        self.send(&[to], &page)
    }

    /// curl, with these arguments: what it prints, the head of the answer first.
    fn curl(&self, url: &str, arguments: &[&str]) -> String {
        let mut curl = Command::new("curl");
        let there = format!("::127.0.0.1:{}", self.port);
        curl.args(["-sS", "-i", "--connect-to", &there, "--cacert", &self.authority.file()]);
        let output = curl.args(["-A", FIREFOX]).args(arguments).arg(url).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn status(&self, url: &str, arguments: &[&str]) -> u16 {
        let answer = self.curl(url, arguments);
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// How RCPT is answered on a session of `acme`.
    fn rcpt(&self, to: &str) -> u16 {
        let mut client = Client::connect(self.node.listen[0]);
        client.envelope("<news@a.example>", &[&format!("<{to}>")])[1]
    }

    fn count(&self, what: &str) -> f64 {
        self.node.metric(&format!("relay_fast_web_requests_total{{what=\"{what}\"}}"))
    }
}

/// The first link of ours whose path begins so.
pub(crate) fn link(content: &str, path: &str) -> String {
    let begin = format!("https://links.example{path}");
    let start = content.find(&begin).unwrap_or_else(|| panic!("no {path} in {content}"));
    let end = content[start..].find(['"', '>']).expect("it ends") + start;
    content[start..end].to_owned()
}

fn of_kind(events: &[Event<'static>], kind: Kind) -> Vec<Event<'static>> {
    events.iter().filter(|event| event.kind == kind).cloned().collect()
}

pub(crate) const ONE_CLICK: [&str; 2] = ["--data", "List-Unsubscribe=One-Click"];

#[test]
fn what_comes_over_http_gets_what_its_tenant_wants() {
    let letter = json!({
        "from": "News <news@a.example>",
        "tenant": "acme",
        "content": { "subject": "Shop", "html": format!("<a href=\"{SHOP}\">Shop</a>") },
        "recipients": [{ "to": "ann@b.example" }],
    });
    let scene = Scene::start("", "unsubscribe = \"add\"\ntracking = \"clicks\"");
    let answer = inject(&scene.node, &letter);
    assert_eq!(answer.status, 200, "{}", answer.of(0));
    let content = scene.sink.wait(1)[0].content.clone();
    assert!(content.contains("List-Unsubscribe: <https://links.example/u/"), "{content}");
    assert!(content.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"), "{content}");
    let is_led_by_us = content.contains("https://links.example/c/");
    assert!(is_led_by_us && !content.contains("shop.example"), "{content}");
    drop(scene);
    let scene = Scene::start("", "unsubscribe = \"check\"");
    let answer = inject(&scene.node, &letter);
    assert_eq!(answer.status, 422);
    assert!(answer.of(0).starts_with("550 5.7.1 List-Unsubscribe"), "{}", answer.of(0));
}

#[test]
fn whoever_unsubscribes_by_one_click_gets_no_more_of_this_sender() {
    if tool::find("curl").is_none() {
        return;
    }
    let scene = Scene::start("", "unsubscribe = \"add\"");
    let content = scene.page("reader@b.example");
    assert!(content.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"), "{content}");
    assert!(content.contains(&SHOP.replace('&', "&amp;")), "nothing else was asked for");
    let url = link(&content, "/u/");
    for look in [&[][..], &["-I"]] {
        let shown = scene.curl(&url, look);
        assert!(shown.starts_with("HTTP/1.1 200 "), "{shown}");
        assert!(!shown.contains("reader@b.example"), "{shown}");
    }
    assert!(scene.curl(&url, &[]).contains("<form method=\"post\">"));
    assert_eq!(scene.status(&url, &["--data", "other=thing"]), 400);
    let large = "x".repeat(10_000);
    assert_eq!(scene.status(&url, &["--data", &large]), 413);
    assert_eq!(scene.status(&url, &["-X", "PUT"]), 405);
    assert_eq!(scene.rcpt("reader@b.example"), 250, "who only looks unsubscribes nobody");
    for form in [&ONE_CLICK, &["-F", "List-Unsubscribe=One-Click"]] {
        let done = scene.curl(&url, form);
        assert!(done.starts_with("HTTP/1.1 200 ") && done.contains("unsubscribed"), "{done}");
        assert_eq!(scene.rcpt("reader@b.example"), 550);
    }
    assert_eq!(scene.rcpt("other@b.example"), 250);
    let told = scene.node.wait_for_events(Kind::Unsubscribed, 1);
    let [event] = &of_kind(&told, Kind::Unsubscribed)[..] else { panic!("told once: {told:?}") };
    assert_eq!((&*event.recipient, &*event.tenant), ("reader@b.example", "acme"));
    assert_eq!(event.id, of_kind(&told, Kind::Delivered)[0].id);
    let (_, shown) = scene.node.get("/v1/suppression/show?address=reader@b.example");
    assert!(shown.contains("\"list\":\"acme\"") && shown.contains("\"unsubscribe\""), "{shown}");
}

#[test]
fn who_opens_and_follows_links_is_told_of_people_and_machines_apart() {
    if tool::find("curl").is_none() {
        return;
    }
    let scene = Scene::start("", "tracking = \"all\"");
    let content = scene.page("reader@b.example");
    let (picture, click) = (link(&content, "/o/"), link(&content, "/c/"));
    assert!(!content.contains("shop.example"), "{content}");
    let shown = scene.curl(&picture, &[]);
    assert!(shown.contains("content-type: image/gif\r\n") && shown.contains("no-store"), "{shown}");
    let gone = scene.curl(&format!("{click}?to=https://evil.example/"), &[]);
    assert!(gone.starts_with("HTTP/1.1 302 "), "{gone}");
    assert!(gone.contains(&format!("location: {SHOP}\r\n")), "{gone}");
    assert_eq!(scene.status(&click, &["-A", "python-requests/2.31"]), 302);
    assert_eq!(scene.status(&click, &["-H", "DNT: 1"]), 302);
    assert_eq!(scene.status(&picture, &["-H", "Sec-GPC: 1"]), 200);
    scene.node.wait_for_events(Kind::Clicked, 2);
    let told = scene.node.wait_for_events(Kind::Opened, 1);
    let [opened] = &of_kind(&told, Kind::Opened)[..] else { panic!("once: {told:?}") };
    assert_eq!((opened.by, &*opened.url), (Some(By::Person), ""));
    let clicks = of_kind(&scene.node.events(), Kind::Clicked);
    let by: Vec<_> = clicks.iter().map(|event| (event.by, &*event.url)).collect();
    assert_eq!(by, [(Some(By::Person), SHOP), (Some(By::Machine), SHOP)]);
    for event in clicks.iter().chain([opened]) {
        assert_eq!((&*event.recipient, &*event.tenant), ("reader@b.example", "acme"));
        assert_eq!(event.domain, "b.example");
    }
    assert_eq!((scene.count("unwanted"), scene.count("lost")), (2.0, 0.0));
    let tracked = scene.node.metric("relay_fast_tracked_messages_total{what=\"tracked\"}");
    assert_eq!(tracked, 1.0);
}

#[test]
fn links_are_not_changed_where_that_is_not_asked_for_and_no_link_is_made_up() {
    if tool::find("curl").is_none() {
        return;
    }
    let scene = Scene::start("", "tracking = \"clicks\"\nunsubscribe = \"add\"");
    let both = ["one@b.example", "two@b.example"];
    let page =
        "From: <n@a.example>\r\nContent-Type: text/html\r\n\r\n<a href=\"https://s.example/\">";
    let content = scene.send(&both, page);
    assert!(!content.contains("List-Unsubscribe") && !content.contains("<img"), "{content}");
    let click = link(&content, "/c/");
    assert_eq!(scene.status(&click, &[]), 302);
    let told = scene.node.wait_for_events(Kind::Clicked, 1);
    assert_eq!(of_kind(&told, Kind::Clicked)[0].recipient, "", "nobody knows which of them");
    let plain = scene.send(&["one@b.example"], "From: <n@a.example>\r\n\r\nhttps://s.example/");
    assert!(plain.ends_with("\r\n\r\nhttps://s.example/\r\n"), "{plain}");
    let mut forged = click.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    assert_eq!(scene.status(&forged, &[]), 404);
    assert_eq!(scene.status("https://links.example/c/https://evil.example/", &[]), 404);
    for path in ["/metrics", "/healthz", "/queue/list", "/v1/queue", "/suppression/list"] {
        assert_eq!(scene.status(&format!("https://links.example{path}"), &[]), 404, "{path}");
        let elsewhere = ["-H", "Host: localhost"];
        assert_eq!(scene.status(&format!("https://links.example{path}"), &elsewhere), 421);
    }
}

#[test]
fn a_message_without_one_click_is_refused_where_that_is_checked() {
    let scene = Scene::start("", "unsubscribe = \"check\"");
    let mut client = Client::connect(scene.node.listen[0]);
    let to = ["<reader@b.example>"];
    assert_eq!(client.envelope("<news@a.example>", &to), [250, 250]);
    let refused = client.content("From: <n@a.example>\r\n\r\nHello.").unwrap();
    assert_eq!(refused.code, 550);
    assert!(refused.text.starts_with("5.7.1 List-Unsubscribe"), "{refused:?}");
    let own = "List-Unsubscribe: <https://a.example/u>\r\n\
        List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nFrom: <n@a.example>\r\n\r\nHello.";
    client.send("<news@a.example>", &to, own);
    let refused = scene.node.metric("relay_fast_unsubscribe_total{what=\"refused\"}");
    assert_eq!(refused, 1.0);
}

/// More than may be open at a time say nothing at all.
#[test]
fn whoever_floods_the_public_door_keeps_nobody_from_mail_or_the_admin_address() {
    let scene = Scene::start("", "tracking = \"all\"");
    let door = ("127.0.0.1", scene.port);
    let open: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(door).unwrap()).collect();
    let content = scene.page("reader@b.example");
    assert!(content.contains("https://links.example/o/"));
    assert_eq!(scene.node.get("/healthz").1, "ok\n");
    drop(open);
    if tool::find("curl").is_some() {
        let url = link(&content, "/o/");
        wait_for("an answer", || (scene.status(&url, &[]) == 200).then_some(()));
    }
}

#[test]
fn what_is_no_request_is_answered_or_cut() {
    let scene = Scene::start("do_not_track = \"ignore\"", "tracking = \"all\"");
    for nonsense in [&b"\x16\x03\x01\x00\x05nonsense"[..], b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0"] {
        let mut stream = TcpStream::connect(("127.0.0.1", scene.port)).unwrap();
        stream.write_all(nonsense).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }
    assert!(scene.page("reader@b.example").contains("/o/"));
}

#[test]
fn secrets_change_while_it_runs() {
    if tool::find("curl").is_none() {
        return;
    }
    let scene = Scene::start("", "tracking = \"opens\"");
    let old = link(&scene.page("reader@b.example"), "/o/");
    let secrets = scene.node.folder.path().join("secrets");
    let (new, before) =
        ("fedcba9876543210fedcba9876543210\n", "0123456789abcdef0123456789abcdef\n");
    fs::write(&secrets, format!("{new}{before}")).unwrap();
    scene.node.signal(Signal::HUP);
    scene.node.wait_for_log("reloaded");
    let fresh = link(&scene.page("reader@b.example"), "/o/");
    assert_eq!((scene.status(&old, &[]), scene.status(&fresh, &[])), (200, 200));
    fs::write(&secrets, new).unwrap();
    scene.node.signal(Signal::HUP);
    wait_for("the old secret is forgotten", || (scene.status(&old, &[]) == 404).then_some(()));
    assert_eq!(scene.status(&fresh, &[]), 200);
}
