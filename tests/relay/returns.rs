//! What was sent comes back: bounces and complaints of others, by the reverse-path they were given.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use relay_fast::outcome::event::{Event, Kind};

use crate::client::{Client, Reply, message, send};
use crate::node::{Node, printed, run, text, to_upstream};
use crate::sink::{Sink, Taken};

const SECRETS: &str = "0123456789abcdef0123456789abcdef\n";

fn write_secrets(folder: &Path, secrets: &str) {
    let path = folder.join("secrets");
    fs::write(&path, secrets).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
}

/// A relay with a second listener, where nobody may relay, and with `more` of `[bounces]`.
fn start(sink: &Sink, bounces: &str, more: &str) -> Node {
    let mut node = Node::idle("");
    write_secrets(node.folder.path(), SECRETS);
    let secrets = node.folder.path().join("secrets");
    let more = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nrelay_for = []\n\
        [bounces]\naddress = \"bounces@back.example\"\nsecrets = \"{}\"\n{bounces}\n\
        [complaints]\naddresses = [\"fbl@back.example\"]\n{more}",
        text(&secrets)
    );
    node.configure(&to_upstream(&sink.address.to_string(), &more));
    node.run(2);
    node
}

/// The reverse-path of what was taken, with its brackets.
pub(crate) fn path(taken: &Taken) -> String {
    taken.mail.split(' ').next().unwrap().to_owned()
}

/// A stranger's message from the null reverse-path; what is said to RCPT and to its content.
pub(crate) fn from_outside(node: &Node, to: &str, content: &str) -> Reply {
    let mut client = Client::connect(node.listen[1]);
    assert_eq!(client.say("MAIL FROM:<>").code, 250);
    let reply = client.say(&format!("RCPT TO:{to}"));
    if reply.code != 250 {
        return reply;
    }
    client.content(content).unwrap()
}

pub(crate) fn bounce(recipient: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.b.example\r\nTo: <somebody@back.example>\r\n\
        Subject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/report; report-type=delivery-status; boundary=\"x\"\r\n\r\n\
        --x\r\n\r\nIt could not be delivered.\r\n--x\r\n\
        Content-Type: message/delivery-status\r\n\r\n\
        Reporting-MTA: dns; mx.b.example\r\n\r\nFinal-Recipient: rfc822; {recipient}\r\n\
        Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; store.b.example\r\n\
        Diagnostic-Code: smtp; 550 5.1.1 <{recipient}>: User unknown\r\n\r\n\
        --x\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <1@a.example>\r\n\r\n--x--"
    )
}

pub(crate) fn complaint(reverse_path: &str, returned: &str) -> String {
    format!(
        "From: fbl@provider.example\r\nTo: fbl@back.example\r\nSubject: complaint\r\n\
        MIME-Version: 1.0\r\n\
        Content-Type: multipart/report; report-type=feedback-report; boundary=\"x\"\r\n\r\n\
        --x\r\n\r\nA complaint.\r\n--x\r\nContent-Type: message/feedback-report\r\n\r\n\
        Feedback-Type: abuse\r\nUser-Agent: Test/1\r\nVersion: 1\r\n{reverse_path}\r\n\
        --x\r\nContent-Type: text/rfc822-headers\r\n\r\n{returned}\r\n\r\n--x--"
    )
}

/// The one event of a kind.
fn the(node: &Node, kind: Kind) -> Event<'static> {
    let events = node.wait_for_events(kind, 1);
    let mut found = events.into_iter().filter(|event| event.kind == kind);
    let event = found.next().unwrap();
    assert!(found.next().is_none(), "two of {kind:?}");
    event
}

/// The id of the one message that was delivered.
fn delivered(node: &Node) -> Event<'static> {
    the(node, Kind::Delivered)
}

#[test]
fn a_bounce_comes_back_to_its_message_and_recipient() {
    let sink = Sink::start();
    let mut node = start(&sink, "", "");
    send(node.listen[0], "<news@a.example>", &["<user@b.example>"], "news");
    let path = path(&sink.wait(1)[0]);
    assert!(path.starts_with("<bounces+") && path.ends_with("@back.example>"), "{path}");
    let original = delivered(&node).id;
    // Hosts on the way back may change its case.
    let shouted = path.to_uppercase();
    assert_eq!(from_outside(&node, &shouted, &bounce("user@b.example")).code, 250);
    let event = the(&node, Kind::BouncedLater);
    let returned = event.returned.unwrap();
    assert_eq!((&*event.recipient, &*event.domain), ("user@b.example", "b.example"));
    assert_eq!((event.code, &*event.class), (Some(550), "bad-mailbox"));
    assert_eq!(event.status.unwrap().to_string(), "5.1.1");
    assert_eq!((&*event.peer, &*event.reverse_path), ("store.b.example", ""));
    assert_eq!(&*event.reply, "550 5.1.1 <user@b.example>: User unknown");
    assert_eq!((&*returned.what, &*returned.form), ("bounced", "dsn"));
    assert_eq!((returned.original, &*returned.vouched), (Some(original), "recipient"));
    assert_eq!(&*returned.message_id, "<1@a.example>");
    assert_ne!(event.id, original, "it is a message of its own");
    assert!(node.metric("relay_fast_returns_total{what=\"bounced\"}") == 1.0);
    // It is over with an orderly end: nothing waits, nobody was answered, nothing is told again.
    node.drain();
    node.run(2);
    assert_eq!((node.stat("recipients"), sink.taken().len()), (0, 1));
    the(&node, Kind::BouncedLater);
}

#[test]
fn what_is_forged_or_untouched_is_refused_at_rcpt() {
    let sink = Sink::start();
    let node = start(&sink, "", "");
    send(node.listen[0], "<news@a.example>", &["<user@b.example>"], "news");
    let path = path(&sink.wait(1)[0]);
    let token = path.trim_start_matches("<bounces+").split('@').next().unwrap();
    let other = if token.ends_with('a') { 'b' } else { 'a' };
    let forged = format!("<bounces+{}{other}@back.example>", &token[..token.len() - 1]);
    for to in [
        &*forged,
        "<bounces@back.example>",
        "<bounces+@back.example>",
        "<bounces+user=b.example@back.example>",
    ] {
        let reply = from_outside(&node, to, &bounce("user@b.example"));
        assert_eq!((reply.code, &*reply.text), (550, "5.1.1 No such recipient here"), "{to}");
    }
    for to in ["<news@back.example>", "<user@b.example>", "<postmaster@back.example>"] {
        let reply = from_outside(&node, to, &bounce("user@b.example"));
        assert_eq!((reply.code, &*reply.text), (550, "5.7.1 Relaying denied"), "{to}");
    }
    assert!(node.metric("relay_fast_returns_forged_total") == 4.0);
    assert!(node.events().iter().all(|event| event.kind != Kind::BouncedLater));
    // Two in a transaction would be told twice.
    let mut client = Client::connect(node.listen[1]);
    let codes = client.envelope("<>", &[&path, "<fbl@back.example>", &path]);
    assert_eq!(codes, [250, 250, 452, 452]);
}

/// Who has had a message has its token, and could name anybody.
#[test]
fn a_bounce_of_somebody_else_is_not_vouched_for() {
    let sink = Sink::start();
    let node = start(&sink, "", "");
    send(node.listen[0], "<news@a.example>", &["<user@b.example>"], "news");
    let path = path(&sink.wait(1)[0]);
    assert_eq!(from_outside(&node, &path, &bounce("victim@c.example")).code, 250);
    let event = the(&node, Kind::BouncedLater);
    let returned = event.returned.unwrap();
    assert_eq!((&*event.recipient, &*returned.vouched), ("victim@c.example", "message"));
}

#[test]
fn recipients_of_a_message_share_a_reverse_path_or_have_their_own() {
    for (verp, transactions) in [("message", 1), ("recipient", 3), ("off", 1)] {
        let sink = Sink::start();
        let node = start(&sink, &format!("verp = \"{verp}\""), "");
        let all = ["<u@b.example>", "<v@b.example>", "<w@b.example>"];
        send(node.listen[0], "<news@a.example>", &all, "news");
        sink.wait(transactions);
        node.wait_for_events(Kind::Delivered, 3);
        let taken = sink.taken();
        assert_eq!(taken.len(), transactions, "{verp}");
        let mut paths: Vec<String> = taken.iter().map(path).collect();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), transactions, "{verp}: {paths:?}");
        assert_eq!(paths[0] == "<news@a.example>", verp == "off", "{paths:?}");
        if verp != "off" {
            let of = taken.iter().find(|one| one.is_for("v@b.example")).unwrap();
            assert_eq!(from_outside(&node, &path(of), &bounce("v@b.example")).code, 250);
            let event = the(&node, Kind::BouncedLater);
            let vouched = event.returned.unwrap().vouched;
            assert_eq!((&*event.recipient, &*vouched), ("v@b.example", verp));
        }
    }
}

#[test]
fn a_dsn_of_ours_keeps_its_null_reverse_path() {
    let sink = Sink::by(|mailbox, _| match mailbox {
        "no@b.example" => "550 5.1.1 Not here".into(),
        _ => "250 Ok".into(),
    });
    let node = start(&sink, "", "");
    send(node.listen[0], "<news@a.example>", &["<no@b.example>"], "news");
    // It goes to who sent, not to where others' bounces go.
    let dsn = sink.wait_for_mail_to("news@a.example");
    assert_eq!(path(&dsn), "<>");
}

#[test]
fn complaints_come_back_by_their_reverse_path_or_their_id() {
    let sink = Sink::start();
    let node = start(&sink, "", "cfbl = \"yes\"\n");
    send(node.listen[0], "<news@a.example>", &["<user@b.example>"], "news");
    let taken = sink.wait(1)[0].clone();
    let original = delivered(&node).id;
    assert_eq!(taken.field("CFBL-Address"), Some("fbl@back.example; report=arf"));
    let id = taken.field("CFBL-Feedback-ID").unwrap();
    // The provider keeps to itself who complains: it is in the id.
    let by_id = complaint("", &format!("CFBL-Feedback-ID: {id}"));
    let by_path =
        format!("Original-Mail-From: {}\r\nOriginal-Rcpt-To: user@b.example", path(&taken));
    let by_path = complaint(&by_path, "Subject: news");
    let by_none = complaint("Original-Rcpt-To: user@b.example", "Subject: news");
    for content in [&by_id, &by_path, &by_none] {
        assert_eq!(from_outside(&node, "<fbl@back.example>", content).code, 250);
    }
    let events = node.wait_for_events(Kind::Complained, 3);
    let complaints: Vec<_> = events.iter().filter(|one| one.kind == Kind::Complained).collect();
    assert!(complaints.iter().all(|event| event.recipient == "user@b.example"));
    let mut vouched: Vec<_> = complaints
        .iter()
        .map(|event| event.returned.as_ref().unwrap())
        .map(|returned| (returned.original, &*returned.vouched, &*returned.what))
        .collect();
    vouched.sort();
    let ours = (Some(original), "recipient", "abuse");
    assert_eq!(vouched, [(None, "", "abuse"), ours, ours]);
}

/// RFC 9477 §3.1.4: both fields are in `h=`.
#[test]
fn where_complaints_go_is_signed() {
    let sink = Sink::start();
    let mut node = start(&sink, "", "cfbl = \"yes\"\n");
    node.drain();
    let keys = node.folder.path().join("keys");
    fs::create_dir(&keys).unwrap();
    let out = ["dkim", "keygen", "a.example", "--out", text(&keys), "--selector", "s"];
    let zone = printed(&run(&out));
    let key: String = zone
        .lines()
        .skip_while(|line| *line != "; [[dkim]]")
        .map(|line| format!("{}\n", line.trim_start_matches("; ")))
        .collect();
    let config = fs::read_to_string(node.config_path()).unwrap();
    node.configure(&format!("{config}{key}"));
    node.run(2);
    send(node.listen[0], "<news@a.example>", &["<user@b.example>"], "news");
    let taken = sink.wait(1)[0].clone();
    let signature = taken.content.split("DKIM-Signature:").nth(1).unwrap().to_lowercase();
    let names = signature.split("h=").nth(1).unwrap().split(';').next().unwrap();
    let names: Vec<&str> = names.split(':').map(str::trim).collect();
    assert!(names.contains(&"cfbl-address") && names.contains(&"cfbl-feedback-id"), "{names:?}");
}

#[test]
fn what_came_back_is_read_after_a_restart_and_forwarded_to_who_wants_it() {
    let sink = Sink::start();
    let more = "forward_to = \"desk@a.example\"";
    let mut node = start(&sink, more, "");
    send(node.listen[0], "<news@a.example>", &["<user@b.example>"], "news");
    let path = path(&sink.wait(1)[0]);
    assert_eq!(from_outside(&node, &path, &bounce("user@b.example")).code, 250);
    let forwarded = sink.wait_for_mail_to("desk@a.example");
    assert!(forwarded.content.contains("Final-Recipient: rfc822; user@b.example"));
    assert_eq!((forwarded.mail.split(' ').next(), forwarded.rcpt.len()), (Some("<>"), 1));
    the(&node, Kind::BouncedLater);
    // A token is good across a restart, and by a secret that is of before.
    node.drain();
    write_secrets(node.folder.path(), &format!("{}\n{SECRETS}", "z".repeat(40)));
    node.run(1);
    assert_eq!(from_outside(&node, &path, &bounce("user@b.example")).code, 250);
    node.wait_for_events(Kind::BouncedLater, 2);
    node.drain();
    write_secrets(node.folder.path(), &"z".repeat(40));
    node.run(1);
    assert_eq!(from_outside(&node, &path, &bounce("user@b.example")).code, 550);
}

#[test]
fn a_vacation_notice_is_no_bounce_and_a_platforms_own_reverse_path_is_taken_where_wanted() {
    let sink = Sink::start();
    let node = start(&sink, "classic = \"yes\"", "");
    send(node.listen[0], "<news@a.example>", &["<user@b.example>"], "news");
    let path = path(&sink.wait(1)[0]);
    let away = "From: user@b.example\r\nAuto-Submitted: auto-replied\r\n\
        Subject: Out of office: news\r\n\r\nUser unknown 550 5.1.1 is what I am.";
    assert_eq!(from_outside(&node, &path, away).code, 250);
    let event = the(&node, Kind::Returned);
    assert_eq!((&*event.recipient, &*event.class), ("user@b.example", ""));
    assert_eq!(event.returned.unwrap().what, "auto-reply");
    let classic = "<list+user=b.example@back.example>";
    assert_eq!(from_outside(&node, classic, &bounce("other@c.example")).code, 250);
    let event = the(&node, Kind::BouncedLater);
    let returned = event.returned.unwrap();
    assert_eq!((&*event.recipient, &*returned.reported), ("user@b.example", "other@c.example"));
    assert_eq!((returned.original, &*returned.vouched), (None, ""));
}

/// What is passed on to the servers behind is not ours, nor are its bounces; and a bounce domain
/// may be one that has mailboxes too.
#[test]
fn mail_that_is_passed_on_inside_keeps_its_reverse_path() {
    let sink = Sink::start();
    let inside = "[[relay_domain]]\ndomains = [\"corp.example\", \"back.example\"]\n\
        upstream = \"smart\"\n";
    let node = start(&sink, "", inside);
    let to = ["<user@corp.example>", "<postmaster@back.example>", "<jane@back.example>"];
    send(node.listen[1], "<stranger@c.example>", &to, "hello");
    send(node.listen[0], "<news@a.example>", &["<user@b.example>"], "news");
    for mailbox in ["user@corp.example", "postmaster@back.example", "jane@back.example"] {
        assert_eq!(path(&sink.wait_for_mail_to(mailbox)), "<stranger@c.example>");
    }
    let path = path(&sink.wait_for_mail_to("user@b.example"));
    assert!(path.starts_with("<bounces+"), "{path}");
    assert_eq!(from_outside(&node, &path, &bounce("user@b.example")).code, 250);
    the(&node, Kind::BouncedLater);
}

/// RFC 5321 §4.5.1: at a domain that has nothing else, too.
#[test]
fn the_postmaster_of_the_bounce_domain_is_the_nodes() {
    let sink = Sink::start();
    let mut node = start(&sink, "", "");
    node.drain();
    let config = fs::read_to_string(node.config_path()).unwrap();
    node.configure(&format!("postmaster = \"desk@a.example\"\n{config}"));
    node.run(2);
    assert_eq!(from_outside(&node, "<Postmaster@back.example>", &message("help")).code, 250);
    assert_eq!(sink.wait_for_mail_to("desk@a.example").subject(), "help");
}

#[test]
fn what_comes_back_says_whose_message_it_was() {
    let sink = Sink::start();
    let more = "[senders]\nfields = \"remove\"\n[[tenant]]\nname = \"acme\"\n";
    let node = start(&sink, "", more);
    let mut client = Client::connect(node.listen[0]);
    let content = format!("X-Tenant: acme\r\n{}", message("news"));
    client.send("<news@a.example>", &["<user@b.example>"], &content);
    let path = path(&sink.wait(1)[0]);
    assert_eq!(from_outside(&node, &path, &bounce("user@b.example")).code, 250);
    let event = the(&node, Kind::BouncedLater);
    assert_eq!((&*event.tenant, &*event.recipient), ("acme", "user@b.example"));
}

/// Each of them, however many, and though each returns a message that is long.
#[test]
fn many_reports_at_once_are_all_told() {
    let sink = Sink::start();
    let node = start(&sink, "", "");
    send(node.listen[0], "<news@a.example>", &["<user@b.example>"], "news");
    let path = path(&sink.wait(1)[0]);
    let long = bounce("user@b.example") + &"\r\n0123456789 550 5.1.1 <a@b.example>:".repeat(20_000);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::connect(node.listen[1]);
                (0..25).for_each(|_| client.send("<>", &[&path], &long));
            });
        }
    });
    let events = node.wait_for_events(Kind::BouncedLater, 200);
    let told = events.iter().filter(|event| event.kind == Kind::BouncedLater);
    assert!(told.clone().all(|event| event.recipient == "user@b.example"));
    assert_eq!(told.count(), 200);
}

/// RFC 5321 §6.1: who was told 250 has no more to do with it.
#[test]
fn a_report_that_was_taken_is_told_though_the_node_is_killed() {
    let sink = Sink::start();
    let mut node = start(&sink, "", "");
    send(node.listen[0], "<news@a.example>", &["<user@b.example>"], "news");
    let path = path(&sink.wait(1)[0]);
    for nth in 1..=4 {
        let recipient = format!("user{nth}@b.example");
        assert_eq!(from_outside(&node, &path, &bounce(&recipient)).code, 250);
        node.kill();
        node.run(2);
        let told = || {
            let events = node.wait_for_events(Kind::BouncedLater, nth);
            events.iter().any(|event| event.recipient == recipient).then_some(())
        };
        crate::node::wait_for("a bounce", told);
    }
}

#[test]
fn secrets_that_are_no_secret_or_none_are_not_used() {
    let sink = Sink::start();
    let mut node = start(&sink, "", "");
    node.drain();
    let secrets = node.folder.path().join("secrets");
    fs::set_permissions(&secrets, Permissions::from_mode(0o644)).unwrap();
    let refused = crate::node::refusal(&node.command(1).output().unwrap());
    assert!(refused.contains("can be read by everyone"), "{refused}");
    write_secrets(node.folder.path(), "short\n");
    let refused = crate::node::refusal(&node.command(1).output().unwrap());
    assert!(refused.contains("line 1: a secret is one word") && !refused.contains("short"));
}
