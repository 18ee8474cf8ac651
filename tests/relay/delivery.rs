//! What becomes of messages: replies by recipient, deferrals, expiry, relay domains, loops,
//! failover, capabilities.

use relay_fast::outcome::event::Kind;

use crate::client::{Client, message, send};
use crate::node::{Node, SOON, to_upstream, wait_for};
use crate::sink::Sink;

/// 250, 450 or 550 as the local part says; what is deferred is taken the second time.
fn as_named(mailbox: &str, nth: usize) -> String {
    match mailbox.split('@').next().unwrap_or_default() {
        "no" => "550 5.1.1 Nobody of that name".to_owned(),
        "later" if nth == 1 => "450 4.2.1 Mailbox\u{7} busy, come again".to_owned(),
        _ => "250 2.1.5 Ok".to_owned(),
    }
}

#[test]
fn each_recipient_has_its_own_outcome() {
    let sink = Sink::by(as_named);
    let node = Node::to(sink.address, SOON);
    let to = ["<yes@b.example>", "<later@b.example>", "<no@b.example>"];
    send(node.listen[0], "<sender@a.example>", &to, "three");
    let taken = sink.wait(3);
    let of_three: Vec<_> = taken.iter().filter(|one| one.subject() == "three").collect();
    assert_eq!(of_three.len(), 2, "one for now, one for later");
    assert!(of_three[0].is_for("yes@b.example") && !of_three[0].is_for("no@b.example"));
    assert_eq!(of_three[1].rcpt.len(), 1, "only who was deferred is tried again");
    assert_eq!(of_three[0].content, of_three[1].content, "a retry sends the same octets");
    let dsn = sink.wait_for_mail_to("sender@a.example");
    assert_eq!(dsn.mail.split(' ').next(), Some("<>"));
    assert!(dsn.content.contains("no@b.example") && !dsn.content.contains("yes@b.example"));
    let events = node.wait_for_events(Kind::Delivered, 3);
    let of = |name: &str| {
        let of_it = events.iter().filter(|event| event.recipient.starts_with(name));
        of_it.map(|event| (event.kind, event.code, event.attempt)).collect::<Vec<_>>()
    };
    let received = (Kind::Received, None, 0);
    assert_eq!(of("yes@"), [received, (Kind::Delivered, Some(250), 1)]);
    let deferred = (Kind::Deferred, Some(450), 1);
    assert_eq!(of("later@"), [received, deferred, (Kind::Delivered, Some(250), 2)]);
    assert_eq!(of("no@"), [received, (Kind::Bounced, Some(550), 1)]);
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
}

//= RFC 5321 §4.5.3.1.8, type=test
//# The minimum total number of recipients that MUST be buffered is 100
//# recipients.
#[test]
fn a_message_for_a_thousand_recipients_reaches_each_once() {
    let sink = Sink::start();
    let node = Node::to(sink.address, "");
    let to: Vec<String> = (0..1_000).map(|n| format!("<r{n}@d{}.example>", n % 40)).collect();
    let mut client = Client::connect(node.listen[0]);
    let commands: String = to.iter().map(|to| format!("RCPT TO:{to}\r\n")).collect();
    client.write(format!("MAIL FROM:<a@a.example>\r\n{commands}RCPT TO:<more@b.example>\r\n"));
    assert!((0..=1_000).all(|_| client.reply().code == 250));
    let too_many = client.reply();
    assert_eq!((too_many.code, &too_many.text[..5]), (452, "4.5.3"), "{too_many:?}");
    assert_eq!(client.content(&message("many")).unwrap().code, 250);
    let mut reached = wait_for("a thousand recipients", || {
        let all: Vec<String> = sink.taken().into_iter().flat_map(|one| one.rcpt).collect();
        (all.len() >= 1_000).then_some(all)
    });
    reached.iter_mut().for_each(|one| one.truncate(one.find('>').unwrap() + 1));
    reached.sort();
    let mut to = to;
    to.sort();
    assert_eq!(reached, to);
    node.wait_for_events(Kind::Delivered, 1_000);
}

//= RFC 5321 §4.5.2, type=test
//# When a line of mail text is received by the SMTP server, it checks
//# the line.
#[test]
fn content_arrives_as_it_was_sent() {
    let sink = Sink::start();
    let node = Node::to(sink.address, "");
    let lines = ["Subject: dots", "", "..two", ".", "x.", "", "end"];
    let stuffed = lines.join("\r\n").replace("\r\n.", "\r\n..");
    let mut client = Client::connect(node.listen[0]);
    client.send("<a@a.example>", &["<b@b.example>"], &stuffed);
    let long = "y".repeat(600_000);
    let long: Vec<&str> = (0..long.len()).step_by(70).map(|at| &long[at..at + 10]).collect();
    let long = format!("Subject: long\r\n\r\n{}", long.join("\r\n"));
    client.envelope("<a@a.example> BODY=BINARYMIME", &["<b@b.example>"]);
    client.say("RSET");
    assert_eq!(client.envelope("<a@a.example>", &["<b@b.example>"]), [250, 250]);
    client.write(format!("BDAT {} LAST\r\n{long}\r\n", long.len() + 2));
    assert_eq!(client.reply().code, 250);
    let taken = sink.wait(2);
    let of = |subject: &str| taken.iter().find(|one| one.subject() == subject).expect("taken");
    assert!(of("dots").content.ends_with(&format!("{}\r\n", lines.join("\r\n"))));
    assert!(of("long").content.ends_with(&format!("{long}\r\n")));
    for one in &taken {
        assert!(one.content.starts_with("Received: from client.example"), "{}", one.content);
    }
}

#[test]
fn what_stays_undeliverable_is_reported_late_and_expires() {
    let sink = Sink::by(|mailbox, _| match mailbox {
        "stuck@b.example" => "451 4.7.1 Greylisted for ever".to_owned(),
        _ => "250 Ok".to_owned(),
    });
    let ages = format!("{SOON}lifetime = \"4s\"\ndelay_report = \"1s\"\n");
    let node = Node::to(sink.address, &ages);
    let mut client = Client::connect(node.listen[0]);
    let to = ["<stuck@b.example> NOTIFY=DELAY,FAILURE", "<fine@b.example>"];
    client.send("<sender@a.example>", &to, &message("stuck"));
    let dsns = wait_for("two reports", || {
        let to_sender = |one: &crate::sink::Taken| one.is_for("sender@a.example");
        let dsns: Vec<_> = sink.taken().into_iter().filter(to_sender).collect();
        (dsns.len() >= 2).then_some(dsns)
    });
    assert!(dsns[0].content.contains("Action: delayed"), "{}", dsns[0].content);
    assert!(dsns[0].content.contains("Will-Retry-Until: "), "{}", dsns[0].content);
    assert!(dsns[1].content.contains("Action: failed"), "{}", dsns[1].content);
    assert!(dsns[1].content.contains("Status: 4.4.7"), "{}", dsns[1].content);
    for dsn in &dsns {
        assert!(dsn.content.contains("451 4.7.1 Greylisted for ever"), "{}", dsn.content);
        assert!(!dsn.content.contains("fine@b.example"), "{}", dsn.content);
    }
    let events = node.wait_for_events(Kind::Expired, 1);
    let expired = events.iter().find(|event| event.kind == Kind::Expired).unwrap();
    assert_eq!(expired.recipient, "stuck@b.example");
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
    assert!(sink.asked("stuck@b.example") >= 2, "it was tried again meanwhile");
}

#[test]
fn a_stranger_may_send_to_relay_domains_only() {
    let (sink, behind) = (Sink::start(), Sink::start());
    let config = to_upstream(&sink.address.to_string(), "").replace(
        "address = \"127.0.0.1:0\"\n",
        "address = \"127.0.0.1:0\"\nrelay_for = [\"127.0.0.9\"]\n",
    );
    let node = Node::start(&format!(
        "{config}[[upstream]]\nname = \"behind\"\nhosts = \"{}\"\n\
        [[relay_domain]]\ndomains = [\"ours.example\", \".sub.example\"]\nupstream = \"behind\"\n",
        behind.address
    ));
    let mut stranger = Client::connect(node.listen[0]);
    let to = [
        "<a@ours.example>",
        "<a@OURS.example>",
        "<a@deep.sub.example>",
        "<a@sub.example>",
        "<a@elsewhere.example>",
        "<\"a@elsewhere.example\"@ours.example>",
        "<a@x.ours.example>",
    ];
    let codes = stranger.envelope("<stranger@x.example>", &to);
    assert_eq!(codes, [250, 250, 250, 250, 550, 550, 250, 550]);
    let refused = stranger.say("RCPT TO:<b@elsewhere.example>");
    assert_eq!((refused.code, &refused.text[..6]), (550, "5.7.1 "), "{refused:?}");
    assert_eq!(stranger.content(&message("for us")).unwrap().code, 250);
    let mut friend = Client::connect_from("127.0.0.9".parse().unwrap(), node.listen[0]);
    friend.send("<friend@x.example>", &["<b@elsewhere.example>"], &message("for others"));
    behind.wait_for_mail_to("a@deep.sub.example");
    sink.wait_for_mail_to("b@elsewhere.example");
    assert!(behind.taken().iter().all(|one| one.subject() == "for us"));
    assert!(sink.taken().iter().all(|one| one.subject() == "for others"));
}

//= RFC 5321 §6.3, type=test
//# Simple counting of the number of "Received:" header fields in a
//# message has proven to be an effective, although rarely optimal,
//# method of detecting loops in mail systems.
#[test]
fn a_message_that_has_gone_round_too_often_bounces() {
    let sink = Sink::start();
    let node = Node::to(sink.address, "");
    let mut client = Client::connect(node.listen[0]);
    let with = |hops: usize, subject: &str| {
        format!("{}Subject: {subject}\r\n\r\nHello.", "Received: from x by y;\r\n".repeat(hops))
    };
    client.send("<a@a.example>", &["<b@b.example>"], &with(50, "fifty"));
    // Either the client is told, or the reverse-path is.
    client.envelope("<looper@a.example>", &["<b@b.example>"]);
    let reply = client.content(&with(51, "one more")).unwrap();
    if reply.code == 250 {
        let dsn = sink.wait_for_mail_to("looper@a.example");
        assert!(dsn.content.contains("Status: 5.4.6"), "{}", dsn.content);
    } else {
        assert_eq!((reply.code, &reply.text[..5]), (554, "5.4.6"), "{reply:?}");
    }
    sink.wait_for_mail_to("b@b.example");
    node.wait_for_events(Kind::Delivered, 1);
    assert!(sink.taken().iter().all(|one| one.subject() != "one more"));
}

#[test]
fn mail_moves_to_the_next_upstream_and_comes_back() {
    let (mut first, second) = (Sink::start(), Sink::start());
    let list = format!("{};{}", first.address, second.address);
    let node = Node::start(&to_upstream(&list, SOON));
    let to = |n: usize| format!("<x@d{n}.example>");
    send(node.listen[0], "<a@a.example>", &[&to(0)], "before");
    first.wait(1);
    first.stop();
    for n in 0..20 {
        send(node.listen[0], "<a@a.example>", &[&to(n)], "while the first is down");
    }
    second.wait(20);
    assert!(second.taken().iter().all(|one| one.subject() == "while the first is down"));
    first.resume();
    // The first one is looked at again from time to time.
    let mut sent = 0;
    wait_for("mail at the first again", || {
        send(node.listen[0], "<a@a.example>", &[&to(sent % 20)], "after");
        sent += 1;
        (first.taken().len() > 1).then_some(())
    });
    node.wait_for_events(Kind::Delivered, 21 + sent);
    assert_eq!(first.taken().len() + second.taken().len(), 21 + sent, "each once");
}

#[test]
fn upstreams_share_by_weight_and_a_domain_stays_with_its_own() {
    let (heavy, light) = (Sink::start(), Sink::start());
    let node = Node::start(&to_upstream(&format!("{}*4,{}", heavy.address, light.address), ""));
    let mut client = Client::connect(node.listen[0]);
    for round in 0..2 {
        for n in 0..100 {
            let to = format!("<r{round}@d{n}.example>");
            client.send("<a@a.example>", &[&to], &message("weights"));
        }
    }
    node.wait_for_events(Kind::Delivered, 200);
    let (heavy, light) = (heavy.taken(), light.taken());
    assert_eq!(heavy.len() + light.len(), 200);
    // 160 are expected; 4.5 standard deviations either way.
    assert!((124..=196).contains(&heavy.len()), "{} of 200", heavy.len());
    for one in &light {
        let (_, domain) = one.rcpt[0].split_once('@').unwrap();
        assert!(heavy.iter().all(|other| !other.rcpt[0].ends_with(domain)), "{domain} is split");
    }
}

//= RFC 6152 §3, type=test
//# If the server SMTP does not support the 8-bit MIME transport
//# extension […] the client SMTP must […] not attempt
#[test]
fn what_the_peer_cannot_take_is_returned_and_never_changed() {
    let sink = Sink::with(&["PIPELINING", "SIZE 2000"], |_, _| "250 Ok".to_owned());
    let node = Node::to(sink.address, "");
    let mut client = Client::connect(node.listen[0]);
    let eight = "Subject: eight\r\n\r\nä".to_owned();
    client.envelope("<eight@a.example> BODY=8BITMIME", &["<b@b.example>"]);
    assert_eq!(client.content(&eight).unwrap().code, 250);
    let big = format!("Subject: big\r\n\r\n{}", "0123456789\r\n".repeat(400));
    client.send("<big@a.example>", &["<b@b.example>"], &big);
    client.envelope("<utf8@a.example> SMTPUTF8", &["<bär@b.example>"]);
    assert_eq!(client.content(&message("utf8")).unwrap().code, 250);
    for (sender, status) in [("eight", "5.6.3"), ("big", "5.3.4"), ("utf8", "5.6.7")] {
        let events = wait_for("the bounce", || {
            let path = format!("{sender}@a.example");
            let bounced = |event: &relay_fast::outcome::event::Event<'_>| {
                event.kind == Kind::Bounced && event.reverse_path == path
            };
            node.events().into_iter().find(bounced)
        });
        assert_eq!(events.status.unwrap().to_string(), status, "{sender}");
    }
    for subject in ["eight", "big", "utf8"] {
        assert!(sink.taken().iter().all(|one| one.subject() != subject));
    }
}

/// The group's only relay is probed again and again, each time by one job; meanwhile the node
/// answers, and a backlog costs no more probes than one message does.
#[test]
fn while_the_only_upstream_is_down_the_node_lives_and_then_delivers() {
    let mut sink = Sink::start();
    sink.stop();
    let node = Node::to(sink.address, SOON);
    let mut client = Client::connect(node.listen[0]);
    for n in 0..100 {
        client.send("<a@a.example>", &[&format!("<r{n}@d{}.example>", n % 10)], &message("down"));
    }
    let failed = "relay_fast_connections_total{result=\"failed\"}";
    // Shards judge for themselves: each of the two has seen it fail, and probed it in vain.
    wait_for("some probes", || (node.metric(failed) >= 4.0).then_some(()));
    assert!(node.metric(failed) < 20.0, "{} connections", node.metric(failed));
    assert!(node.get("/healthz").0.starts_with("HTTP/1.1 200"));
    sink.resume();
    let taken = sink.wait(100);
    assert_eq!(taken.len(), 100);
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
}
