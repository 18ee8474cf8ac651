//! Mail over HTTP: what is answered 200 is on disk, signed and delivered; what is not says why.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use relay_fast::outcome::event::Kind;
use serde_json::{Value, json};

use crate::node::{Node, SOON, printed, refusal, run, text, to_upstream, wait_for};
use crate::sink::Sink;
use crate::tool;

pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Value,
}

impl Answer {
    /// What came of a recipient: its message's id, or a reply.
    pub(crate) fn of(&self, place: usize) -> &str {
        let told = &self.body["recipients"][place];
        told["id"].as_str().or(told["reply"].as_str()).unwrap_or_else(|| panic!("{}", self.body))
    }
}

pub(crate) fn post(node: &Node, headers: &[&str], body: &str) -> Answer {
    let mut stream = TcpStream::connect(node.admin).unwrap();
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!(
        "POST /v1/inject HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    Answer { status, head: head.to_lowercase(), body }
}

pub(crate) fn inject(node: &Node, request: &Value) -> Answer {
    wait_for("a node that has started", || {
        let answer = post(node, &["Content-Type: application/json"], &request.to_string());
        let is_starting = answer.body.to_string().contains("4.3.2 Starting");
        (!is_starting).then_some(answer)
    })
}

/// A request for these, in which nothing is substituted.
pub(crate) fn request(to: &[&str]) -> Value {
    let recipients: Vec<_> = to.iter().map(|to| json!({ "to": to })).collect();
    json!({
        "from": "News <news@a.example>",
        "content": { "subject": "Hello", "text": "Hi\n" },
        "recipients": recipients,
    })
}

/// The `[[dkim]]` of a new key of `a.example`, below the node's own folder.
fn dkim(node: &Node) -> String {
    let keys = node.folder.path().join("keys");
    fs::create_dir(&keys).unwrap();
    let made = printed(&run(&["dkim", "keygen", "a.example", "--ed25519", "--out", text(&keys)]));
    let comments = made.lines().skip_while(|line| *line != "; [[dkim]]");
    comments.map(|line| format!("{}\n", line.trim_start_matches("; "))).collect()
}

#[test]
fn what_is_accepted_is_signed_and_delivered_to_each() {
    let sink = Sink::start();
    let mut node = Node::idle("");
    let dkim = dkim(&node);
    node.configure(&to_upstream(&sink.address.to_string(), &dkim));
    node.run(2);
    let mut letter = request(&["shared1@b.example", "Shared <shared2@b.example>", "none"]);
    letter["tenant"] = json!("acme");
    letter["campaign"] = json!("autumn");
    letter["priority"] = json!(3);
    letter["content"]["subject"] = json!("Grüße, {{ name }}");
    letter["content"]["html"] = json!("<b>{{ name }}</b>");
    let octets: Vec<u8> = (0..=255).collect();
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &octets);
    letter["content"]["attachments"] = json!([{ "name": "ä.bin", "data": data }]);
    let own = json!({ "to": "Ann <ann@b.example>", "substitutions": { "name": "Ann & Bob" } });
    letter["recipients"].as_array_mut().unwrap().push(own);
    let answer = inject(&node, &letter);
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!(200)), "{}", answer.body);
    assert_eq!((&answer.body["accepted"], &answer.body["refused"]), (&json!(3), &json!(1)));
    assert_eq!(answer.of(0), answer.of(1), "they have one message");
    assert_ne!(answer.of(0), answer.of(3));
    assert!(answer.of(2).starts_with("501 5.1.3 "), "{}", answer.of(2));
    let taken = sink.wait(2);
    let own = taken.iter().find(|one| one.is_for("ann@b.example")).expect("her own");
    assert!(own.rcpt.len() == 1 && own.mail.starts_with("<news@a.example>"), "{own:?}");
    for one in &taken {
        let signature = one.content.split("From:").next().expect("what goes before");
        assert!(
            signature.contains("DKIM-Signature:") && signature.contains("d=a.example"),
            "{signature}"
        );
        let id = if one.rcpt.len() == 1 { answer.of(3) } else { answer.of(0) };
        let received = one.field("Received").expect("a trace");
        assert!(received.starts_with(&format!("by node.example with HTTP id {id}")), "{received}");
        let hidden = ["undisclosed-recipients", "To: \"Ann\" <ann@b.example>"];
        assert!(hidden.iter().any(|to| one.content.contains(to)), "{}", one.content);
    }
    let events = node.wait_for_events(Kind::Delivered, 3);
    let is_its = |event: &&relay_fast::outcome::event::Event<'_>| event.kind == Kind::Delivered;
    for event in events.iter().filter(is_its) {
        assert_eq!((&*event.tenant, &*event.campaign), ("acme", "autumn"));
    }
    read_by_python(&node, &own.content);
}

/// What another mail library reads in a message.
fn read_by_python(node: &Node, content: &str) {
    let Some(python) = tool::find("python3") else { return };
    let file = node.folder.path().join("message");
    fs::write(&file, content).unwrap();
    let script = "import sys, email, email.policy\n\
        m = email.message_from_binary_file(open(sys.argv[1], 'rb'), policy=email.policy.default)\n\
        a = list(m.iter_attachments())[0]\n\
        print(m['subject'], '|', m['to'], '|', m.get_body(('html',)).get_content().strip(), '|',\n\
        a.get_filename(), '|', a.get_content() == bytes(range(256)), '|',\n\
        bool(m['date'].datetime), '|', len(m.defects), '|', m['message-id'].endswith('>'))";
    let output = Command::new(python).args(["-c", script]).arg(&file).output().unwrap();
    let expected = "Grüße, Ann & Bob | Ann <ann@b.example> | <b>Ann &amp; Bob</b> | ä.bin | True \
        | True | 0 | True\n";
    assert_eq!(printed(&output), expected, "{content}");
}

#[test]
fn what_was_answered_outlives_a_crash_and_is_not_done_twice() {
    let mut node = Node::start(&to_upstream("127.0.0.1:1", SOON));
    let own = |n: usize| json!({ "to": format!("r{n}@b.example"), "substitutions": { "n": n } });
    let mut letter = request(&[]);
    letter["content"]["text"] = json!("{{ n }}");
    letter["recipients"] = (0..50).map(own).collect();
    let (json, key) = ("Content-Type: application/json", "Idempotency-Key: campaign-1");
    let first = post(&node, &[json, key], &letter.to_string());
    assert_eq!((first.status, &first.body["accepted"]), (200, &json!(50)), "{}", first.body);
    assert!(!first.head.contains("idempotency-replayed"));
    node.kill();
    node.run(2);
    assert_eq!(node.stat("messages"), 50);
    let list = node.ask(&["list"]);
    assert!((0..50).all(|n| list.contains(first.of(n))), "{list}");
    let again = post(&node, &[json, key], &letter.to_string());
    assert_eq!((again.status, &again.body), (200, &first.body));
    assert!(again.head.contains("\r\nidempotency-replayed: true"), "{}", again.head);
    letter["content"]["text"] = json!("other {{ n }}");
    let other = post(&node, &[json, key], &letter.to_string());
    assert_eq!(other.status, 422, "{}", other.body);
    assert_eq!(node.stat("messages"), 50, "nothing was done twice");
    let without = post(&node, &[json], &request(&["x@b.example"]).to_string());
    assert_eq!((without.status, node.stat("messages")), (200, 51));
    let twice = post(&node, &[json, key, key], "{}");
    assert_eq!(twice.status, 400, "{}", twice.body);
    // A key under which nothing was accepted is free.
    let (refused, fine) = (request(&["none"]), request(&["y@b.example"]));
    let key = "Idempotency-Key: campaign-2";
    assert_eq!(post(&node, &[json, key], &refused.to_string()).status, 422);
    assert_eq!(post(&node, &[json, key], &fine.to_string()).status, 200);
}

#[test]
fn a_refusal_means_what_it_means_over_smtp() {
    let tenant = "[[tenant]]\nname = \"acme\"\nqueued = 1\n[suppression]\nat = \"rcpt\"\n";
    let node = Node::start(&to_upstream("127.0.0.1:1", &format!("{SOON}{tenant}")));
    let admin = node.admin.to_string();
    let add = ["suppress", "add", "gone@b.example", "--list", "acme", "--admin", &admin];
    printed(&run(&add));
    let mut letter = request(&["a@b.example", "gone@b.example"]);
    assert_eq!(inject(&node, &letter).body["accepted"], json!(2), "it is another's list");
    letter["tenant"] = json!("acme");
    let some = inject(&node, &letter);
    assert_eq!((some.status, &some.body["accepted"]), (200, &json!(1)), "{}", some.body);
    assert!(some.of(1).starts_with("550 5.7.1 "), "{}", some.of(1));
    assert_eq!(some.body["recipients"][1]["temporary"], json!(false));
    letter["recipients"] = json!([{ "to": "gone@b.example" }]);
    assert_eq!(inject(&node, &letter).status, 422);
    letter["recipients"] = json!([{ "to": "a@b.example" }]);
    let busy = wait_for("too many of its messages", || {
        let answer = inject(&node, &letter);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(busy.status, 503, "{}", busy.body);
    assert!(busy.head.contains("\r\nretry-after: "), "{}", busy.head);
    assert!(busy.of(0).starts_with("452 4.3.1 "), "{}", busy.of(0));
    assert_eq!(busy.body["recipients"][0]["temporary"], json!(true));
    letter["tenant"] = json!("globex");
    assert_eq!(inject(&node, &letter).status, 200, "others are told nothing");
}

#[test]
fn several_requests_are_a_batch() {
    let sink = Sink::start();
    let node = Node::to(sink.address, "");
    let mut wrong = request(&["x@b.example"]);
    wrong["campaign"] = json!("of nobody");
    let batch = json!([request(&["a@b.example"]), wrong, request(&["b@b.example", "c@b.example"])]);
    let answer = inject(&node, &batch);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let statuses: Vec<_> =
        answer.body.as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, [&json!(200), &json!(422), &json!(200)]);
    assert!(answer.body[1]["error"].as_str().unwrap().contains("campaign"), "{}", answer.body);
    assert_eq!(sink.wait(2).iter().map(|one| one.rcpt.len()).sum::<usize>(), 3);
}

#[test]
fn what_is_no_request_is_refused_whole() {
    let node = Node::start(&to_upstream("127.0.0.1:1", SOON));
    let json = "Content-Type: application/json";
    for (headers, body, status) in [
        (&[json][..], "{", 400),
        (&[json], "[]", 422),
        (&[json], "{\"content\": {}, \"recipients\": []}", 422),
        (&["Content-Type: text/plain"], "{}", 415),
        (&["Origin: http://evil.example"], "{}", 403),
    ] {
        let answer = post(&node, headers, body);
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert!(answer.body["error"].is_string(), "{}", answer.body);
    }
    let mut stream = TcpStream::connect(node.admin).unwrap();
    let head = "POST /v1/inject HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert!(node.get("/v1/inject").0.starts_with("HTTP/1.1 405 "));
    assert_eq!(node.stat("messages"), 0);
}

#[test]
fn a_token_hands_in_mail_of_its_tenants_alone() {
    let secret = "0123456789abcdef-0123456789abcdef";
    let mut node = Node::idle("");
    let file = node.folder.path().join("token");
    fs::write(&file, secret).unwrap();
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    fs::set_permissions(&file, mode).unwrap();
    let token = format!(
        "[[token]]\nname = \"shop\"\nfile = {file:?}\nrole = \"inject\"\ntenant = \"acme\"\n"
    );
    node.configure(&to_upstream("127.0.0.1:1", &format!("{SOON}{token}")));
    let command = node.command(1);
    node.run_ahead(command);
    let json = "Content-Type: application/json";
    let bearer = format!("Authorization: Bearer {secret}");
    let mut letter = request(&["a@b.example"]);
    assert_eq!(post(&node, &[json], &letter.to_string()).status, 401);
    let fine = post(&node, &[json, &bearer], &letter.to_string());
    assert_eq!(fine.status, 200, "{}", fine.body);
    letter["tenant"] = json!("globex");
    let others = post(&node, &[json, &bearer], &letter.to_string());
    assert_eq!(others.status, 403, "{}", others.body);
    assert!(node.wait_for_events(Kind::Received, 1).iter().all(|event| event.tenant == "acme"));
}

#[test]
fn the_command_line_hands_in_a_file() {
    let sink = Sink::start();
    let node = Node::to(sink.address, "");
    let admin = node.admin.to_string();
    let file = node.folder.path().join("mail.json");
    let hand_in = |letter: &Value, more: &[&str]| {
        fs::write(&file, letter.to_string()).unwrap();
        run(&[&["inject", text(&file), "--admin", &admin], more].concat())
    };
    let printed_once = printed(&hand_in(&request(&["a@b.example"]), &["--key", "k"]));
    assert!(printed_once.trim_end().ends_with("  a@b.example"), "{printed_once}");
    let again = printed(&hand_in(&request(&["a@b.example"]), &["--key", "k"]));
    assert_eq!(again, printed_once, "the same message");
    let some = hand_in(&request(&["b@b.example", "none"]), &[]);
    let told = String::from_utf8(some.stdout).unwrap();
    assert!(!some.status.success() && told.contains("refused  none: 501 5.1.3"), "{told}");
    assert!(String::from_utf8(some.stderr).unwrap().contains("1 of 2 recipients are refused"));
    assert!(refusal(&hand_in(&json!({}), &[])).contains("missing field"));
    assert_eq!(sink.wait(2).len(), 2);
}
