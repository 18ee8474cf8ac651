//! Suppression lists of a relay that runs: who is on one is refused at RCPT.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;

use crate::client::{Client, send};
use crate::node::{BINARY, Node, printed, refusal, run, text, to_upstream, wait_for};
use crate::sink::Sink;

const ON: &str = "[suppression]\nat = \"rcpt\"\n";

/// `relay-fast suppress …`, asking this node.
fn suppress(node: &Node, words: &[&str]) -> Output {
    let admin = node.admin.to_string();
    run(&[&["suppress"], words, &["--admin", &admin]].concat())
}

/// What it prints.
fn say(node: &Node, words: &[&str]) -> String {
    printed(&suppress(node, words))
}

/// The reply to RCPT for this mailbox.
fn rcpt(node: &Node, to: &str) -> String {
    let mut client = Client::connect(node.listen[0]);
    assert_eq!(client.say("MAIL FROM:<a@a.example>").code, 250);
    let reply = client.say(&format!("RCPT TO:<{to}>"));
    format!("{} {}", reply.code, reply.text)
}

const TAKEN: &str = "250 2.1.5 Recipient ok";

fn is_suppressed(node: &Node, to: &str) -> bool {
    let reply = rcpt(node, to);
    let is_refused = reply.starts_with("550 5.7.1 The ") && reply.contains(" suppression list ");
    assert!(is_refused || reply == TAKEN, "{reply}");
    is_refused
}

#[test]
fn who_is_on_a_list_is_refused_while_the_others_of_a_message_are_taken() {
    let sink = Sink::start();
    let mut node = Node::to(sink.address, ON);
    assert!(!is_suppressed(&node, "gone@b.example"));
    let words = ["add", "Gone@B.example", "--reason", "complaint", "--text", "it, \"said\" so"];
    assert_eq!(say(&node, &words), "added\n");
    assert_eq!(say(&node, &words), "replaced what was there\n");
    assert_eq!(say(&node, &["add", "@dead.example", "--reason", "hard-bounce"]), "added\n");
    assert_eq!(say(&node, &["add", "other@b.example", "--list", "shop-1"]), "added\n");
    assert_eq!(say(&node, &["add", "later@b.example", "--expires", "1h"]), "added\n");
    let check = |node: &Node| {
        let reply = rcpt(node, "GONE@b.EXAMPLE");
        let told = "550 5.7.1 The recipient is on the suppression list global: complaint of 20";
        assert!(reply.starts_with(told), "{reply}");
        let reply = rcpt(node, "anyone@dead.example");
        let told = "550 5.7.1 The domain is on the suppression list global: hard-bounce of 20";
        assert!(reply.starts_with(told), "{reply}");
        assert!(is_suppressed(node, "later@b.example"));
        for free in ["ended@b.example", "other@b.example", "new@b.example", "a@sub.dead.example"] {
            assert_eq!(rcpt(node, free), TAKEN, "{free}");
        }
    };
    check(&node);
    let shown = say(&node, &["show", "gone@b.example"]);
    assert!(shown.starts_with("global  gone@b.example  complaint of 20"), "{shown}");
    assert!(shown.ends_with(": it, \"said\" so\n"), "{shown}");
    assert!(say(&node, &["show", "x@dead.example"]).starts_with("global  @dead.example  "));
    assert_eq!(say(&node, &["show", "new@b.example"]), "new@b.example is on no list\n");
    let stats = say(&node, &["stats"]);
    assert_eq!(stats, "           3  global\n           1  shop-1\n");
    // It is over already, whether it was taken out by now or not.
    assert_eq!(say(&node, &["add", "ended@b.example", "--expires", "2026-01-01"]), "added\n");
    check(&node);
    assert_eq!(say(&node, &["list", "--list", "shop-1"]).lines().count(), 1);
    assert_eq!(say(&node, &["list", "--limit", "2"]).lines().count(), 2);

    // In one write: what waits for a lookup is answered in its place.
    let mut client = Client::connect(node.listen[0]);
    client.write(
        "MAIL FROM:<a@a.example>\r\nRCPT TO:<gone@b.example>\r\nRCPT TO:<one@b.example>\r\n\
         RCPT TO:<x@dead.example>\r\nRCPT TO:<two@b.example>\r\nDATA\r\n",
    );
    let codes: Vec<u16> = (0..6).map(|_| client.reply().code).collect();
    assert_eq!(codes, [250, 550, 250, 550, 250, 354]);
    client.write("Subject: some\r\n\r\nHello.\r\n.\r\n");
    assert_eq!(client.reply().code, 250);
    assert_eq!(sink.wait(1)[0].rcpt.len(), 2);

    let refused = node.metric("relay_fast_suppressed_recipients_total");
    assert!((refused - 8.0).abs() < 0.5, "{refused}");
    let entries = node.metric("relay_fast_suppression_entries{list=\"shop-1\"}");
    assert!((entries - 1.0).abs() < 0.5, "{entries}");
    node.kill();
    node.run(1);
    check(&node);
    assert_eq!(say(&node, &["remove", "GONE@b.example"]), "removed\n");
    assert_eq!(say(&node, &["remove", "gone@b.example"]), "there is no such entry\n");
    assert_eq!(rcpt(&node, "gone@b.example"), TAKEN);
}

/// It is a filter that says "perhaps": the store says no, and the server behind is asked.
#[test]
fn who_was_taken_from_a_list_is_looked_at_as_anyone_else() {
    let sink = Sink::by(|mailbox: &str, _| {
        match mailbox.starts_with("user") {
            true => "250 2.1.5 Ok",
            false => "550 5.1.1 no such user",
        }
        .to_owned()
    });
    let more = "[[relay_domain]]\ndomains = [\"corp.example\"]\nupstream = \"smart\"\n\
         recipients = \"callout\"\n";
    let node = Node::to(sink.address, &format!("{ON}{more}"));
    for to in ["user@corp.example", "nobody@corp.example"] {
        say(&node, &["add", to]);
        assert!(is_suppressed(&node, to));
        say(&node, &["remove", to]);
    }
    say(&node, &["add", "still@corp.example"]);
    assert_eq!(rcpt(&node, "user@corp.example"), TAKEN);
    let unknown = "550 5.1.1 The server behind says: no such user";
    assert_eq!(rcpt(&node, "nobody@corp.example"), unknown);
    assert!((node.metric("relay_fast_suppression_lookups_total") - 4.0).abs() < 0.5);
}

#[test]
fn hard_bounces_enter_by_themselves_once_there_are_enough() {
    let sink = Sink::by(|mailbox: &str, _| {
        match mailbox.to_ascii_lowercase().split('@').next() {
            Some("gone") => "550 5.1.1 User unknown",
            Some("full") => "550 5.7.1 Refused as spam",
            _ => "250 2.1.5 Ok",
        }
        .to_owned()
    });
    let mut node = Node::to(sink.address, &format!("{ON}hard_bounces = \"2 in 1d\"\n"));
    let bounced = |node: &Node, count: usize| {
        node.wait_for_events(relay_fast::outcome::event::Kind::Bounced, count);
    };
    send(node.listen[0], "<a@a.example>", &["<Gone@b.example>"], "one");
    send(node.listen[0], "<a@a.example>", &["<full@b.example>"], "one");
    bounced(&node, 2);
    send(node.listen[0], "<a@a.example>", &["<full@b.example>"], "two");
    bounced(&node, 3);
    // Killed in between, whether it was counted by then or not.
    node.kill();
    node.run(2);
    send(node.listen[0], "<a@a.example>", &["<gone@b.example>"], "two");
    let shown = wait_for("the entry", || {
        let shown = say(&node, &["show", "gone@b.example"]);
        shown.starts_with("global").then_some(shown)
    });
    assert!(shown.starts_with("global  gone@b.example  hard-bounce of 20"), "{shown}");
    assert!(shown.contains(" by 0") && shown.ends_with(": 550 5.1.1 User unknown\n"), "{shown}");
    assert!(is_suppressed(&node, "gone@b.example"));
    assert!(!is_suppressed(&node, "full@b.example"));
}

/// Who wants no campaigns has mail of strangers all the same.
#[test]
fn mail_of_strangers_for_a_relay_domain_is_not_held_against_lists() {
    let sink = Sink::start();
    for at in ["rcpt", "queue"] {
        let domain = "[[relay_domain]]\ndomains = [\"corp.example\"]\nupstream = \"smart\"\n";
        let more = format!("{domain}[suppression]\nat = \"{at}\"\n");
        let config = to_upstream(&sink.address.to_string(), &more).replace(
            "address = \"127.0.0.1:0\"\n",
            "address = \"127.0.0.1:0\"\nrelay_for = [\"192.0.2.1\"]\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\n",
        );
        let node = Node::start(&config);
        let to = format!("{at}@corp.example");
        say(&node, &["add", &to, "--reason", "unsubscribe"]);
        send(node.listen[0], "<a@a.example>", &[&format!("<{to}>")], "of a stranger");
        assert_eq!(sink.wait_for_mail_to(&to).subject(), "of a stranger");
        let mut own = Client::connect(node.listen[1]);
        let codes = own.envelope("<a@a.example>", &[&format!("<{to}>")]);
        assert_eq!(codes, [250, if at == "rcpt" { 550 } else { 250 }]);
        if at == "queue" {
            own.content(&crate::client::message("own")).unwrap();
            node.wait_for_events(relay_fast::outcome::event::Kind::Bounced, 1);
        }
        assert_eq!(sink.asked(&to), 1, "{at}");
    }
}

/// Its hard bounces are its own too.
#[test]
fn a_tenants_list_holds_for_its_mail_alone() {
    let sink = Sink::by(|mailbox: &str, _| {
        let is_gone = mailbox.starts_with("gone");
        if is_gone { "550 5.1.1 User unknown" } else { "250 2.1.5 Ok" }.to_owned()
    });
    let of = |tenant: &str| {
        let tenant = format!("[[tenant]]\nname = \"{tenant}\"\nlisteners = [\"127.0.0.1:0\"]\n");
        Node::to(sink.address, &format!("{ON}hard_bounces = \"1 in 1d\"\n{tenant}"))
    };
    let (shop, other) = (of("shop-1"), of("shop-2"));
    for node in [&shop, &other] {
        say(node, &["add", "mine@b.example", "--list", "shop-1"]);
        say(node, &["add", "all@b.example"]);
        assert!(is_suppressed(node, "all@b.example"));
    }
    let told = "550 5.7.1 The recipient is on the suppression list shop-1: manual of 20";
    assert!(rcpt(&shop, "mine@b.example").starts_with(told));
    assert_eq!(rcpt(&other, "mine@b.example"), TAKEN);
    send(shop.listen[0], "<a@a.example>", &["<gone@b.example>"], "one");
    wait_for("the entry", || {
        say(&shop, &["show", "gone@b.example"]).starts_with("shop-1  gone@b").then_some(())
    });
    assert!(is_suppressed(&shop, "gone@b.example"));
}

#[test]
fn what_is_exported_is_imported_as_it_was_and_rows_that_are_wrong_are_told() {
    let sink = Sink::start();
    let node = Node::to(sink.address, ON);
    let path = node.folder.path().join("list.csv");
    fs::write(
        &path,
        "reason,address,text\r\nunsubscribe,A@b.example,\"so, \"\"he\"\"\nsaid\"\r\n\
         complaint,nobody,\r\n,\"\"\"a b\"\"@c.example\",\r\nspam,d@e.example,\r\n\
         hard-bounce,@f.example,gone",
    )
    .unwrap();
    let output = suppress(&node, &["import", text(&path), "--list", "t", "--reason", "complaint"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = "line 4: nobody: malformed address\nline 6: no reason is called `spam`: say one \
         of hard-bounce, complaint, unsubscribe, manual\nrelay-fast: 2 rows are no entries; the \
         others were taken\n";
    assert_eq!(said, expected);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3 added, 0 replaced\n");
    say(&node, &["add", "x@y.example", "--expires", "2030-01-01T00:00:00Z"]);
    let exported = say(&node, &["export"]);
    let addresses: Vec<&str> =
        exported.lines().filter_map(|line| line.split(",t,").next()).collect();
    assert_eq!(addresses[0], "address,list,reason,text,when,expires,message");
    assert!(addresses[1].starts_with("x@y.example,global,manual,,20"), "{}", addresses[1]);
    assert!(addresses[1].ends_with(",2030-01-01T00:00:00.000Z,"), "{}", addresses[1]);
    assert_eq!(
        addresses[2..],
        [
            "\"\"\"a b\"\"@c.example\"",
            "@f.example",
            "a@b.example",
            "said\"\
        ,20"
        ]
        .map(|it| addresses.iter().find(|one| one.starts_with(it)).copied().unwrap_or(it))
    );
    assert_eq!(say(&node, &["export", "--list", "global"]).lines().count(), 2);

    let (other, copy) = (Node::to(sink.address, ON), node.folder.path().join("copy.csv"));
    fs::write(&copy, &exported).unwrap();
    assert_eq!(say(&other, &["import", text(&copy)]), "4 added, 0 replaced\n");
    assert_eq!(say(&other, &["export"]), exported);
    assert_eq!(say(&other, &["import", text(&copy)]), "0 added, 4 replaced\n");
    let headless = node.folder.path().join("headless.csv");
    fs::write(&headless, "a@b.example\n").unwrap();
    let why = refusal(&suppress(&other, &["import", text(&headless)]));
    assert!(why.contains("the first line names the columns, of address,list,"), "{why}");
}

/// As a program of somebody else's does it.
#[test]
fn rows_are_taken_over_http_and_walked_through_page_by_page() {
    let sink = Sink::start();
    let node = Node::to(sink.address, ON);
    let post = |path: &str, kind: &str, body: &str| {
        let mut stream = TcpStream::connect(node.admin).unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let rows = "address,list\na@b.example,t\nnobody,\nb@b.example,t\na@b.example,t\n";
    let answer = post("/v1/suppression/import?reason=complaint", "text/csv", rows);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let said = "{\"done\":{\"added\":2,\"replaced\":1,\"removed\":0},\"wrong\":1,\
         \"errors\":[\"line 3: nobody: malformed address\"]}";
    assert!(answer.ends_with(said), "{answer}");
    let answer = post("/v1/suppression/import", "text/csv", "a@b.example\n");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("names the columns"));
    let answer = post("/v1/suppression/import", "text/plain", rows);
    assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
    let answer = post("/v1/suppression/add?address=c@b.example&reason=odd", "text/csv", "");
    assert!(answer.contains("no reason is called `odd`"), "{answer}");
    let (_, page) = node.get("/v1/suppression/list?limit=1");
    let row = "\"address\":\"a@b.example\",\"list\":\"t\",\"reason\":\"complaint\"";
    assert!(page.contains(row), "{page}");
    assert!(page.ends_with(",\"next\":\"t a@b.example\"}"), "{page}");
    let (_, page) = node.get("/v1/suppression/list?limit=9&after=t%20a@b.example");
    assert!(page.contains("\"b@b.example\"") && page.ends_with(",\"next\":null}"), "{page}");
}

/// Whatever was answered is there, all of a batch or none; and it goes on from there.
#[test]
fn a_relay_that_is_killed_amid_an_import_keeps_what_it_said() {
    const ROWS: usize = 60_000;
    let sink = Sink::start();
    let mut node = Node::to(sink.address, ON);
    let path = node.folder.path().join("list.csv");
    let mut rows = String::from("address\n");
    for row in 0..ROWS {
        rows.push_str(&format!("user{row}@d{}.example\n", row % 97));
    }
    fs::write(&path, rows).unwrap();
    let mut import = Command::new(BINARY)
        .args(["suppress", "import", text(&path), "--admin", &node.admin.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let count = |node: &Node| -> usize {
        let stats = say(node, &["stats"]);
        stats.split_whitespace().next().map_or(0, |count| count.parse().unwrap())
    };
    let before = wait_for("some rows", || Some(count(&node)).filter(|count| *count > 0));
    node.kill();
    assert!(!import.wait().unwrap().success() || before == ROWS);
    node.run(1);
    let after = count(&node);
    assert!((before..=ROWS).contains(&after), "{before} were there, now {after}");
    // In the order of the file, whole batches: all up to there, and nothing behind.
    let address = |row: usize| format!("user{row}@d{}.example", row % 97);
    assert!(is_suppressed(&node, &address(0)) && is_suppressed(&node, &address(after - 1)));
    assert!(after == ROWS || !is_suppressed(&node, &address(after)));
    let said = say(&node, &["import", text(&path)]);
    assert_eq!(said, format!("{} added, {after} replaced\n", ROWS - after));
    assert_eq!(count(&node), ROWS);
    for row in (0..ROWS).step_by(9_973) {
        assert!(is_suppressed(&node, &address(row)), "{row}");
    }
}

#[test]
fn lists_are_there_once_the_configuration_asks_for_them() {
    let sink = Sink::start();
    let mut node = Node::to(sink.address, "");
    let why = "there are no lists: set `at` in [suppression]";
    assert!(refusal(&suppress(&node, &["add", "a@b.example"])).contains(why));
    assert!(!node.spool().join("suppression.redb").exists());
    let configure = |node: &mut Node, more: &str| {
        node.configure(&to_upstream(&sink.address.to_string(), more));
        node.signal(Signal::HUP);
    };
    configure(&mut node, ON);
    wait_for("lists", || suppress(&node, &["stats"]).status.success().then_some(()));
    say(&node, &["add", "a@b.example"]);
    assert!(is_suppressed(&node, "a@b.example"));
    for (wrong, why) in [
        (&["add", "nobody"][..], "nobody: malformed address"),
        (&["add", "a@b.example", "--expires", "soon"], "expires: `soon` is no time, as 2026"),
    ] {
        let said = refusal(&suppress(&node, wrong));
        assert!(said.contains(why), "{said}");
    }
    configure(&mut node, "");
    wait_for("no lists", || (!suppress(&node, &["stats"]).status.success()).then_some(()));
    assert!(!is_suppressed(&node, "a@b.example"));
    configure(&mut node, ON);
    wait_for("lists again", || suppress(&node, &["stats"]).status.success().then_some(()));
    assert!(is_suppressed(&node, "a@b.example"));
}

/// A message whose header says that it is `tenant`'s.
fn send_as(node: &Node, tenant: &str, to: &[&str], subject: &str) {
    let content = format!("X-Tenant: {tenant}\r\n{}", crate::client::message(subject));
    Client::connect(node.listen[0]).send("<a@a.example>", to, &content);
}

/// An ESP's software reads events: there is no DSN, and no attempt.
#[test]
fn who_is_on_a_list_is_given_up_in_the_queue_without_an_attempt_or_a_dsn() {
    use relay_fast::outcome::event::Kind;
    let sink = Sink::start();
    let more = "[suppression]\nat = \"queue\"\n[senders]\nfields = \"remove\"\n";
    let mut node = Node::to(sink.address, more);
    say(&node, &["add", "gone@b.example", "--reason", "unsubscribe"]);
    say(&node, &["add", "@dead.example"]);
    say(&node, &["add", "mine@b.example", "--list", "shop-1"]);
    let to = ["<gone@b.example>", "<one@b.example>", "<x@dead.example>", "<mine@b.example>"];
    send_as(&node, "shop-1", &to, "first");
    send_as(&node, "shop-2", &to, "second");
    node.wait_for_events(Kind::Delivered, 3);
    let events = node.wait_for_events(Kind::Bounced, 5);
    for event in events.iter().filter(|event| event.kind == Kind::Bounced) {
        assert_eq!((&*event.class, event.attempt), ("suppressed", 0), "{event:?}");
        assert!(event.reply.contains(" is on the suppression list "), "{}", event.reply);
        let is_own = event.recipient == "mine@b.example";
        assert!(!is_own || event.tenant == "shop-1", "{event:?}");
    }
    // What is left of a message leaves together.
    let mut delivered: Vec<(String, usize)> =
        sink.wait(2).iter().map(|mail| (mail.subject().to_owned(), mail.rcpt.len())).collect();
    delivered.sort_unstable();
    assert_eq!(delivered, [("first".to_owned(), 1), ("second".to_owned(), 2)]);
    assert_eq!(node.stat("recipients"), 0);
    assert!((node.metric("relay_fast_dsns_total{action=\"failed\"}")).abs() < 0.5);
    assert!((node.metric("relay_fast_suppressed_recipients_total") - 5.0).abs() < 0.5);
    for gone in ["gone@b.example", "x@dead.example"] {
        assert_eq!(sink.asked(gone), 0, "{gone}");
    }
    // On the list while it waits in the queue, across a restart.
    sink.change(|_, _| "451 4.3.0 later".to_owned());
    send(node.listen[0], "<a@a.example>", &["<late@b.example>"], "third");
    node.wait_for_events(Kind::Deferred, 1);
    say(&node, &["add", "late@b.example"]);
    node.kill();
    node.run(1);
    node.ask(&["flush", "--all"]);
    let told = wait_for("the end", || {
        node.events()
            .into_iter()
            .find(|one| one.recipient == "late@b.example" && one.kind == Kind::Bounced)
    });
    assert_eq!(told.class, "suppressed");
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
}
