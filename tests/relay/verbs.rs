//! Every route of the API and every verb of the command line, at one relay that has all turned on.
//!
//! What there is comes from the program: the table of roles, and the command line's own tree. A
//! route or a verb that nobody says here how to ask for fails the test. What is answered is held
//! against `/v1/openapi.json`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use clap::CommandFactory;
use relay_fast::control::cli::Cli;
use relay_fast::control::roles::TABLE;
use serde_json::Value;

use crate::client::Client;
use crate::node::{self, BINARY, Node, printed, text, to_upstream, wait_for};
use crate::sink::Sink;

/// A node with all that is asked about, and a message of a tenant's campaign that waits.
fn node(sink: &Sink) -> Node {
    let mut node = Node::idle("");
    let folder = node.folder.path().to_owned();
    std::fs::write(folder.join("empty.toml"), "").unwrap();
    let key = ["dkim", "keygen", "a.example", "--ed25519", "--selector", "k", "--out"];
    let made = printed(&node::run(&[&key[..], &[text(&folder)]].concat()));
    let of_key = made.lines().skip_while(|line| *line != "; [[dkim]]");
    let of_key: String = of_key.map(|line| format!("{}\n", &line[2..])).collect();
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d");
    let more = format!(
        "[queue]\nretry_first = \"1h\"\n[senders]\nfields = \"remove\"\n[kpis]\ncount = \"yes\"\n\
        [suppression]\nat = \"rcpt\"\n[shaping]\nshipped = \"on\"\n\
        [dns]\nservers = [\"127.0.0.1:9\"]\n\
        [tls_report]\nfrom = \"tls@own.example\"\norganization = \"We\"\n\
        [[exporter]]\nname = \"file\"\nkind = \"file\"\nto = \"{}\"\n\
        [[source]]\nname = \"one\"\naddress = \"127.0.0.1\"\n\
        [[pool]]\nname = \"first\"\nsources = [\"one\"]\n\
        [[warm_up]]\nname = \"plan\"\ndays = [100, 200]\n\
        [[source]]\nname = \"new\"\naddress = \"127.0.0.2\"\n\
        warm_up = \"plan\"\nwarm_up_from = \"{today}\"\n{of_key}",
        text(&folder.join("events.jsonl"))
    );
    node.configure(&to_upstream(&sink.address.to_string(), &more));
    node.run(2);
    send(&node, "waits");
    wait_for("it waits", || (node.stat("deferred") == 1).then_some(()));
    node
}

fn send(node: &Node, name: &str) {
    let content = "X-Tenant: acme\r\nX-Campaign: news\r\nSubject: x\r\n\r\nx\r\n";
    Client::connect(node.listen[0]).send(
        "<a@a.example>",
        &[&format!("<{name}@b.example>")],
        content,
    );
}

/// The id of the message that waits.
fn id(node: &Node) -> String {
    let listed = node.ask(&["list"]);
    listed.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

// --- HTTP ---

/// Status and body of an answer; of one that goes on, its first event.
fn request(node: &Node, method: &str, path: &str, (kind, body): (&str, &str)) -> (u16, String) {
    let mut stream = TcpStream::connect(node.admin).unwrap();
    let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{kind}\
        Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut octets = [0; 4096];
    while path != "/v1/live" || !answer.windows(6).any(|part| part == b"data: ") {
        match stream.read(&mut octets).unwrap() {
            0 => break,
            count => answer.extend_from_slice(&octets[..count]),
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// What is asked at a route, with its body, and what is answered.
fn asked(route: &str, id: &str) -> Option<(String, (&'static str, &'static str), u16)> {
    let injection = r#"{"from": "n@a.example", "content": {"subject": "S", "text": "T"},
        "recipients": [{"to": "c@b.example"}]}"#;
    let query = match route {
        "/console/{name}" => return Some(("/console/app.js".to_owned(), ("", ""), 200)),
        "/v1/queue/show/{id}" => return Some((format!("/v1/queue/show/{id}"), ("", ""), 200)),
        "/v1/inject" => return Some((route.to_owned(), ("application/json", injection), 200)),
        "/v1/suppression/import" => {
            return Some((route.to_owned(), ("text/csv", "address\na@b.example\n"), 200));
        }
        "/" | "/console/" | "/healthz" | "/metrics" | "/v1/config" | "/v1/config/reload" => "",
        "/v1/campaigns" => "?tenant=acme",
        "/v1/check-domain" => "?domain=a.example",
        "/v1/diversions" | "/v1/exporters" | "/v1/live" | "/v1/openapi.json" => "",
        "/v1/kpis" => "?by=campaign",
        "/v1/kpis/series" => "?by=tenant&key=acme",
        "/v1/messages" => "?tenant=acme",
        "/v1/overview" | "/v1/pauses" | "/v1/shaping" | "/v1/tls-reports" => "",
        "/v1/queue/list" => "?tenant=acme",
        "/v1/queue/stats" | "/v1/tls-reports/send" => "",
        "/v1/suppression/list" | "/v1/suppression/stats" => "",
        "/v1/suppression/add" | "/v1/suppression/remove" | "/v1/suppression/show" => {
            "?address=x@b.example"
        }
        "/v1/warm-up" => "?source=new",
        "/v1/warm-up/{verb}" => return Some(("/v1/warm-up/hold?source=new".into(), ("", ""), 200)),
        "/v1/trace" => "?domain=b.example",
        "/v1/queue/flush" | "/v1/queue/hold" | "/v1/queue/release" => "?domain=b.example",
        "/v1/queue/remove" => "?domain=nowhere.example",
        "/v1/queue/pause" | "/v1/queue/resume" => "?tenant=acme&campaign=news",
        "/v1/queue/rebind" => "?tenant=acme&to=first",
        "/v1/queue/reroute" => "?tenant=acme&to=smart",
        "/v1/shaping/set" => "?site=127.0.0.1&rate=10/m",
        "/v1/shaping/reset" => "?site=127.0.0.1",
        _ => return None,
    };
    Some((format!("{route}{query}"), ("", ""), 200))
}

/// Why a value is not what a schema says; nothing that is not told of is sent.
fn misfit(value: &Value, schema: &Value, document: &Value) -> Option<String> {
    if let Some(at) = schema["$ref"].as_str() {
        let schema = document.pointer(at.trim_start_matches('#')).expect(at);
        return misfit(value, schema, document);
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = |one: &Value| one == kind || (one == "number" && kind == "integer");
    let is_one = match &schema["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(fits),
        one => fits(one),
    };
    if !is_one {
        return Some(format!("{value} is no {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return Some(format!("{value} is none of {}", schema["enum"]));
    }
    match (value, &schema["properties"], &schema["items"]) {
        (Value::Object(fields), Value::Object(told), _) => fields.iter().find_map(|(name, one)| {
            let Some(schema) = told.get(name) else {
                return Some(format!("{name} is not told of"));
            };
            misfit(one, schema, document).map(|why| format!("{name}: {why}"))
        }),
        (Value::Array(all), _, items @ Value::Object(_)) => {
            all.iter().find_map(|one| misfit(one, items, document))
        }
        _ => None,
    }
}

#[test]
fn every_route_answers_what_the_document_says() {
    let sink = Sink::by(|_, _| "450 4.2.1 Later".to_owned());
    let node = node(&sink);
    let id = id(&node);
    let (_, document) = request(&node, "GET", "/v1/openapi.json", ("", ""));
    let document: Value = serde_json::from_str(&document).unwrap();
    for entry in TABLE {
        let (method, route) = (entry.method, entry.path);
        let (path, body, expected) =
            asked(route, &id).unwrap_or_else(|| panic!("nobody says how to ask for {route}"));
        let (status, answer) = request(&node, method, &path, body);
        assert_eq!(status, expected, "{method} {path}: {answer}");
        let told = &document["paths"][route][method.to_lowercase()]["responses"];
        let schema = &told["200"]["content"]["application/json"]["schema"];
        if schema.is_object() {
            let answer: Value = serde_json::from_str(&answer).unwrap();
            let why = misfit(&answer, schema, &document);
            assert_eq!(why, None, "{method} {path}: {answer}");
        }
    }
}

// --- The command line ---

/// All verbs: `queue list`.
fn verbs(command: &clap::Command, above: &str, all: &mut Vec<String>) {
    for below in command.get_subcommands().filter(|one| one.get_name() != "help") {
        let name = format!("{above} {}", below.get_name()).trim_start().to_owned();
        match below.get_subcommands().any(|one| one.get_name() != "help") {
            true => verbs(below, &name, all),
            false => all.push(name),
        }
    }
}

/// What a verb is given beside itself, in `folder`, about message `id`; and what it prints.
fn given(verb: &str, folder: &Path, id: &str) -> Option<(Vec<String>, &'static str)> {
    let at = |name: &str| text(&folder.join(name)).to_owned();
    let config = || vec!["--config".to_owned(), at("relay.toml")];
    let words = |words: &str| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let with = |more: &str| [words(more), config()].concat();
    Some(match verb {
        "check" => (config(), "hostname = \"node.example\""),
        "config" => (vec![], "epoch 1, in force since the start"),
        "reload" => (vec![], "reloaded: epoch 2, 0 values changed\n"),
        "knobs" => (vec![], "spool.segment_size"),
        "metrics" => (vec![], "relay_fast_recovering"),
        "dkim keygen" => (words("a.example --selector s --ed25519"), "s._domainkey.a.example"),
        "dkim record" => (config(), "k._domainkey.a.example"),
        "check-domain" => (with("a.example"), "a.example"),
        "queue list" => (vec![], "1 recipient listed"),
        "queue show" => (words(id), "<waits@b.example>: deferred"),
        "queue stats" => (vec![], "deferred             1"),
        "queue flush" => (words("--all"), "1 recipient flushed\n"),
        "queue hold" => (words("--all"), "1 recipient held\n"),
        "queue release" => (words("--all"), "1 recipient released\n"),
        "queue remove" => (words("--domain nowhere.example"), "0 recipients removed\n"),
        "queue pause" => (words("--tenant acme"), "all of acme is paused"),
        "queue paused" => (vec![], "all of acme, since 2"),
        "queue resume" => (words("--tenant acme"), "all of acme goes on\n"),
        "queue reroute" => (words("--tenant acme --to smart"), "mail of acme goes to smart; "),
        "queue rebind" => (words("--tenant acme --to first"), "mail of acme leaves from first; "),
        "queue diverted" => (vec![], "mail of acme goes to smart, leaves from first, since 2"),
        "inject" => (vec![at("mail.json")], "c@b.example"),
        "messages" => (words("--tenant acme"), "<waits@b.example>: "),
        "campaigns" => (words("--tenant acme"), "acme    news"),
        "tls-reports show" => (vec![], "waiting to go out\n"),
        "tls-reports send" => (vec![], "on the way to whoever"),
        "suppress add" => (words("x@b.example"), "added\n"),
        "suppress show" => (words("x@b.example"), "manual"),
        "suppress list" => (vec![], "x@b.example"),
        "suppress stats" => (vec![], "global"),
        "suppress export" => (vec![], "x@b.example"),
        "suppress import" => (vec![at("list.csv")], "1 added, 0 replaced"),
        "suppress remove" => (words("x@b.example"), "removed\n"),
        "spool check" => (vec![at("spool")], "no damage"),
        "spool dump" => (vec![at("spool")], "waits@b.example"),
        "spool repair" => (vec![at("spool")], "nothing"),
        "spool bench" => (vec![at("spool")], ""),
        "passwd" => (vec![at("credentials"), "one".to_owned()], ""),
        "classify" => (vec!["550 5.1.1 No such user".to_owned()], "5.1.1"),
        "events" => (vec!["--spool".to_owned(), at("spool")], "waits@b.example"),
        "exporters" => (vec![], "file"),
        "kpis" => (words("--by tenant"), "all mail"),
        "shaping check" => (vec![at("empty.toml")], ""),
        "shaping show" => (with("a.example"), "a.example"),
        "shaping status" => (words("--all"), "127.0.0.1"),
        "shaping set" => (words("127.0.0.1 rate=10/m"), "127.0.0.1"),
        "shaping reset" => (words("127.0.0.1"), "127.0.0.1"),
        "warm-up show" | "warm-up hold" | "warm-up resume" => (words("new"), "new"),
        "warm-up day" => (words("new 2"), "new"),
        "warm-up finish" => (words("new"), "new"),
        "health" => (vec![], "ok\n"),
        "top" => (words("--once"), "node.example"),
        "trace" => (words("--domain b.example"), "> MAIL FROM:<a@a.example>"),
        "man" => (vec![text(folder).to_owned()], ""),
        "completions" => (words("bash"), "_relay__fast"),
        "report" => (vec!["--spool".to_owned(), at("spool")], "b.example"),
        _ => return None,
    })
}

/// Those that end by themselves, to their end; with a password for those that ask.
fn run(verb: &str, arguments: &[String], folder: &Path) -> Output {
    let mut command = Command::new(BINARY);
    command.args(verb.split(' ')).args(arguments).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Most do not read it.
    drop(child.stdin.take().unwrap().write_all(b"a password\n"));
    child.wait_with_output().unwrap()
}

/// `trace` goes on until nobody reads it.
fn follow(node: &Node, arguments: &[String], words: &'static str) {
    let mut command = Command::new(BINARY);
    let mut child = command.arg("trace").args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        if lines.any(|line| line.is_ok_and(|line| line.contains(words))) {
            tell.send(()).unwrap();
        }
    });
    wait_for(words, || {
        node.ask(&["flush", "--all"]);
        told.try_recv().ok()
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Those that change what others look at, in this order; all others come between.
const FIRST: [&str; 15] = [
    "config",
    "queue list",
    "queue show",
    "queue stats",
    "queue reroute",
    "queue rebind",
    "queue diverted",
    "queue flush",
    "trace",
    "queue hold",
    "queue release",
    "queue pause",
    "queue paused",
    "queue resume",
    "suppress add",
];
const LAST: [&str; 6] =
    ["suppress remove", "inject", "spool check", "spool dump", "spool bench", "spool repair"];

#[test]
fn every_verb_does_something() {
    let sink = Sink::by(|_, _| "450 4.2.1 Later".to_owned());
    let mut node = node(&sink);
    let folder = node.folder.path().to_owned();
    let injection = r#"{"from": "n@a.example", "content": {"subject": "S", "text": "T"},
        "recipients": [{"to": "c@b.example"}]}"#;
    std::fs::write(folder.join("mail.json"), injection).unwrap();
    std::fs::write(folder.join("list.csv"), "address\nz@b.example\n").unwrap();
    let id = id(&node);
    let mut all = Vec::new();
    verbs(&Cli::command(), "", &mut all);
    let place = |verb: &String, of: &[&str]| of.iter().position(|one| one == verb);
    all.sort_by_key(|verb| match (place(verb, &FIRST), place(verb, &LAST)) {
        (Some(place), _) => place,
        (None, last) => FIRST.len() + last.map_or(0, |place| 1 + place),
    });
    for verb in &all {
        let Some((mut arguments, words)) = given(verb, &folder, &id) else {
            panic!("nobody says how `{verb}` is used")
        };
        if verb.starts_with("queue ") && verb != "queue release" {
            wait_for("it is put off", || (node.stat("deferred") == 1).then_some(()));
        }
        if verb == "spool check" {
            node.drain();
        }
        let is_off = arguments.iter().any(|one| one == "--config" || one == "--spool");
        if !is_off && !verb.starts_with("spool ") {
            arguments.extend(["--admin".to_owned(), node.admin.to_string()]);
        }
        if verb == "trace" {
            follow(&node, &arguments, words);
            continue;
        }
        let output = run(verb, &arguments, &folder);
        let printed = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        // Nobody is asked of domains here: what could not be checked is 3.
        let code = if verb == "check-domain" { 3 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{verb}: {printed}{errors}");
        assert!(printed.contains(words), "{verb}: {words}: {printed}{errors}");
    }
}
