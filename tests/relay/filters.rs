//! Milters: what they want done is done, on disk as well; where they fail, the knob says what is.

use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use relay_fast::outcome::event::{Event, Kind};

use crate::client::{Client, Reply, message};
use crate::milters::{Asked, Trouble, config, fickle, troubled};
use crate::node::{Node, printed, run, text, to_upstream, wait_for};
use crate::sink::{Sink, Taken};
use crate::tool;

const FROM: &str = "<s@a.example>";
const TO: &str = "<r@a.example>";

fn ask(node: &Node, to: &[&str], content: &str) -> Reply {
    let mut client = Client::connect(node.listen[0]);
    client.envelope(FROM, to);
    client.content(content).expect("a reply")
}

/// What came of a message with this subject, that was taken.
fn through(node: &Node, sink: &Sink, subject: &str) -> Taken {
    let before = sink.taken().len();
    let reply = ask(node, &[TO, "<t@a.example>"], &message(subject));
    assert_eq!(reply.code, 250, "{reply:?}");
    sink.wait(before + 1).pop().expect("it came")
}

/// A relay that asks `asked.py`, and where it delivers.
fn asking(more: &str) -> Option<(Asked, Node, Sink)> {
    let (asked, sink) = (Asked::start()?, Sink::start());
    let node = Node::to(sink.address, &asked.config(more));
    Some((asked, node, sink))
}

#[test]
fn a_milter_on_libmilter_is_told_everything() {
    let Some((_asked, node, sink)) = asking("") else { return };
    let taken = through(&node, &sink, "tell");
    let field = |name| taken.field(name).unwrap_or_default();
    let client = format!("unknown 127.0.0.1 client.example at {}", "127.0.0.1:0");
    assert_eq!(field("X-Client"), client);
    assert_eq!(field("X-Envelope"), "<s@a.example> <r@a.example> <t@a.example>");
    assert_eq!(field("X-Fields"), "From Subject");
    assert_eq!(field("X-Body"), "8");
    assert!(field("X-Parameters").starts_with("SIZE="), "{}", field("X-Parameters"));
    let id = &node.wait_for_events(Kind::Received, 1)[0].id;
    assert_eq!(field("X-Id"), id.to_string());
}

#[test]
fn what_it_wants_changed_is_changed() {
    let Some((_asked, node, sink)) = asking("") else { return };
    let content = "X-Two: 1\r\nX-Gone: 1\r\nX-Two: 2\r\nSubject: fields\r\nX-Two: 3\r\n\r\nHello.";
    assert_eq!(ask(&node, &[TO], content).code, 250);
    let taken = sink.wait(1).pop().expect("it came");
    let (_, behind) = taken.content.split_once("X-Top:").expect("at the top");
    assert_eq!(
        behind,
        " first\r\n\tand folded\r\nX-Two: 1\r\nX-Two: changed\r\nSubject: fields\r\nX-Two: 3\r\n\
         X-Split: one\r\n X-Forged: two\r\n\r\nHello.\r\n"
    );
    let taken = through(&node, &sink, "envelope");
    assert!(taken.is_for("r@a.example") && taken.is_for("new@a.example"));
    assert!(!taken.is_for("t@a.example"));
    assert!(taken.mail.starts_with("<other@a.example>"), "{}", taken.mail);
    let taken = through(&node, &sink, "body");
    let (_, body) = taken.content.split_once("\r\n\r\n").expect("a body");
    assert!(body == format!("new\r\n.\r\nbody\r\n{}", "0123456789abc\r\n".repeat(30_000)));
    let long = format!("Subject: tell skip\r\n\r\n{}", "0123456789abc\r\n".repeat(100_000));
    assert_eq!(ask(&node, &[TO], &long).code, 250);
    let taken = sink.wait(4).pop().expect("it came");
    let seen: usize = taken.field("X-Body").unwrap().parse().unwrap();
    assert!((1..long.len() / 2).contains(&seen), "it saw {seen} octets");
    assert!(taken.content.contains(&long[long.len() - 100_000..]));
}

/// The digest of octets in base64, by OpenSSL.
fn sha256(octets: &[u8]) -> Option<String> {
    let mut command = Command::new(tool::find("openssl")?);
    let command = command.args(["dgst", "-sha256", "-binary"]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(octets).unwrap();
    Some(BASE64_STANDARD.encode(child.wait_with_output().unwrap().stdout))
}

#[test]
fn what_it_changed_is_what_is_signed() {
    let (Some(asked), sink) = (Asked::start(), Sink::start()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let key = ["dkim", "keygen", "a.example", "--ed25519", "--out", text(folder.path())];
    let printed = printed(&run(&key));
    let comments = printed.lines().skip_while(|line| *line != "; [[dkim]]");
    let dkim: String =
        comments.map(|line| format!("{}\n", line.trim_start_matches("; "))).collect();
    let node = Node::to(sink.address, &(asked.config("") + &dkim));
    for subject in ["body", "well"] {
        let taken = through(&node, &sink, subject);
        let (header, body) = taken.content.split_once("\r\n\r\n").expect("a body");
        let Some(digest) = sha256(body.as_bytes()) else { return };
        let header: String = header.split_whitespace().collect();
        assert!(header.contains(&format!("bh={digest};")), "{subject}: {digest}: {header}");
    }
}

/// A name server that knows no name.
fn nothing_is_known() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut message = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut message) {
            // RFC 1035 §4.1.1: a response, with the response code for "name error".
            message[2] |= 0x80;
            message[3] = 3;
            let _ = socket.send_to(&message[..length], client);
        }
    });
    address
}

#[test]
fn what_is_verified_is_seen_by_milters() {
    let (Some(asked), sink) = (Asked::start(), Sink::start()) else { return };
    let strangers = format!(
        "relay_for = []\nverify = \"quarantine\"\n\
         [[relay_domain]]\ndomains = [\"a.example\"]\nupstream = \"smart\"\n\
         [dns]\nservers = [\"{}\"]\n",
        nothing_is_known()
    );
    let listener = "address = \"127.0.0.1:0\"\n";
    let config = to_upstream(&sink.address.to_string(), &asked.config(""));
    let node = Node::start(&config.replacen(listener, &format!("{listener}{strangers}"), 1));
    let forged = "Authentication-Results: node.example; dmarc=pass\r\n";
    assert_eq!(ask(&node, &[TO], &format!("{forged}{}", message("tell"))).code, 250);
    let taken = sink.wait(1).pop().expect("it came");
    assert_eq!(taken.field("X-Fields").unwrap(), "Authentication-Results From Subject");
    let (_, behind) = taken.content.split_once("Authentication-Results:").unwrap();
    assert!(behind.contains("dmarc=none") && !behind.contains("dmarc=pass"), "{behind}");
    assert_eq!(ask(&node, &[TO], &format!("{forged}{}", message("no"))).code, 554);
}

#[test]
fn what_it_does_not_want_goes_nowhere() {
    let Some((_asked, node, sink)) = asking("") else { return };
    let no = ask(&node, &[TO], &message("no"));
    assert_eq!((no.code, no.text.as_str()), (554, "5.7.1 No\n5.7.1 and no again"));
    let later = ask(&node, &[TO], &message("later"));
    assert!(later.code == 451 && later.text.starts_with("4.7.1 "), "{later:?}");
    // One that is refused at RCPT is, at the end of data, for all.
    let refused = ask(&node, &[TO, "<refused@a.example>"], &message("well"));
    assert_eq!((refused.code, refused.text.as_str()), (550, "5.1.1 Nobody of that name"));
    for subject in ["discard", "nobody"] {
        assert_eq!(ask(&node, &[TO], &message(subject)).code, 250, "{subject}");
    }
    assert_eq!(ask(&node, &[TO], &message("well")).code, 250);
    assert_eq!(sink.wait(1)[0].subject(), "well", "and nothing before it");
    // Each shard writes its own.
    node.wait_for_events(Kind::Discarded, 2);
    let events = node.wait_for_events(Kind::Refused, 4);
    let refused = events.iter().filter(|event| event.kind == Kind::Refused);
    let mut codes: Vec<_> = refused.map(|event| event.code.expect("a reply")).collect();
    codes.sort_unstable();
    assert_eq!(codes, [451, 550, 550, 554], "one for each recipient");
    let told = |event: &&Event<'_>| matches!(event.kind, Kind::Refused | Kind::Discarded);
    assert!(events.iter().filter(told).all(|event| event.milter == "asked"));
    assert_eq!(sink.taken().len(), 1);
}

#[test]
fn what_is_quarantined_is_held_across_a_crash_until_an_operator_lets_it_go() {
    let Some((_asked, mut node, sink)) = asking("") else { return };
    assert_eq!(ask(&node, &[TO, "<t@a.example>"], &message("hold")).code, 250);
    assert_eq!(ask(&node, &[TO], &message("well")).code, 250);
    assert_eq!(sink.wait(1)[0].subject(), "well");
    let events = node.wait_for_events(Kind::Held, 2);
    let quarantined = events.iter().find(|event| event.kind == Kind::Quarantined).unwrap();
    assert_eq!((&*quarantined.milter, &*quarantined.reply), ("asked", "looks odd"));
    assert_eq!(node.stat("held"), 2);
    node.kill();
    node.run(1);
    assert_eq!(node.stat("held"), 2, "on disk as well");
    let id = quarantined.id.to_string();
    node.ask(&["release", "--id", &id]);
    let taken = sink.wait(2).pop().expect("it came");
    assert_eq!(taken.subject(), "hold");
    // Let go, it stays so: an orderly stop leaves nothing to do.
    wait_for("an empty queue", || (node.stat("messages") == 0).then_some(()));
    node.drain();
    node.run(2);
    assert_eq!(node.stat("messages"), 0);
}

#[test]
fn whoever_writes_the_null_reverse_path_gets_past_no_milter_unless_it_is_to_pass() {
    for (more, code) in [("", 554), ("null_reverse_path = \"pass\"", 250)] {
        let Some((_asked, node, _sink)) = asking(more) else { return };
        let mut client = Client::connect(node.listen[0]);
        client.envelope("<>", &[TO]);
        assert_eq!(client.content(&message("no")).unwrap().code, code, "{more}");
    }
}

#[test]
fn a_milter_sees_the_listeners_that_it_is_for() {
    let (Some(asked), sink) = (Asked::start(), Sink::start()) else { return };
    let config = to_upstream(&sink.address.to_string(), &asked.config("listeners = [\"[::1]:0\"]"));
    let node = Node::start(&(config + "[[listener]]\naddress = \"[::1]:0\"\n"));
    assert_eq!(ask(&node, &[TO], &message("no")).code, 250);
    let mut client = Client::connect(node.listen[1]);
    client.envelope(FROM, &[TO]);
    assert_eq!(client.content(&message("no")).unwrap().code, 554);
}

#[test]
fn one_connection_serves_many_sessions_in_turn() {
    let Some((_asked, node, sink)) = asking("connections = 1") else { return };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = Client::connect(node.listen[0]);
                for _ in 0..5 {
                    client.send(FROM, &[TO], &message("tell"));
                }
            });
        }
    });
    let taken = sink.wait(40);
    assert!(taken.iter().all(|one| one.field("X-Client").is_some()), "each was seen");
    assert_eq!(node.metric("relay_fast_filtered_total{outcome=\"failed\"}"), 0.0);
}

#[test]
fn content_that_comes_behind_a_filtered_message_is_not_lost() {
    let Some((_asked, node, sink)) = asking("") else { return };
    let mut client = Client::connect(node.listen[0]);
    let one = |subject: &str| {
        let content = message(subject);
        format!("MAIL FROM:{FROM}\r\nRCPT TO:{TO}\r\nBDAT {} LAST\r\n{content}", content.len())
    };
    let subjects = ["well 1", "no", "well 2", "body", "discard", "well 3"];
    client.write(subjects.map(one).concat());
    let codes: Vec<u16> = (0..18).map(|_| client.reply().code).skip(2).step_by(3).collect();
    assert_eq!(codes, [250, 554, 250, 250, 250, 250]);
    let taken = sink.wait(4);
    let mut came: Vec<_> = taken.iter().map(Taken::subject).collect();
    came.sort_unstable();
    assert_eq!(came, ["body", "well 1", "well 2", "well 3"]);
}

#[test]
fn a_milter_that_is_out_of_order_stops_nobody_else() {
    let sink = Sink::start();
    for trouble in Trouble::ALL {
        let address = troubled(trouble).to_string();
        let patience = "connect_timeout = \"1s\"\ncommand_timeout = \"1s\"\nend_timeout = \"1s\"\n\
             listeners = [\"127.0.0.1:0\"]\non_failure = ";
        let milter = config("broken", &address, &format!("{patience}\"reject\""));
        let config = to_upstream(&sink.address.to_string(), &milter);
        let mut node = Node::idle(&(config + "[[listener]]\naddress = \"[::1]:0\"\n"));
        node.run(1);
        let mut waiting = Client::connect(node.listen[0]);
        waiting.envelope(FROM, &[TO]);
        assert_eq!(waiting.say("DATA").code, 354);
        waiting.write(format!("{}\r\n.\r\n", message("broken")));
        // The only shard has time for others meanwhile.
        let mut other = Client::connect(node.listen[1]);
        other.send(FROM, &[TO], &message("well"));
        let reply = waiting.reply();
        assert_eq!(reply.code, 550, "{trouble:?}: {reply:?}");
        assert_eq!(reply.text, "5.7.1 Filter out of order");
        assert_eq!(waiting.say("NOOP").code, 250, "the session goes on");
        let refused = node.wait_for_events(Kind::Refused, 1);
        let refused = refused.iter().find(|event| event.kind == Kind::Refused).unwrap();
        assert_eq!(refused.milter, "broken");
    }
    assert!(sink.wait(Trouble::ALL.len()).iter().all(|taken| taken.subject() == "well"));
}

#[test]
fn a_milter_that_hangs_up_when_it_is_asked_again_is_asked_over_another_connection() {
    let (sink, address) = (Sink::start(), fickle().to_string());
    let node = Node::to(sink.address, &config("fickle", &address, "on_failure = \"reject\""));
    let mut client = Client::connect(node.listen[0]);
    for number in 0..4 {
        client.send(FROM, &[TO], &message(&format!("number {number}")));
    }
    assert_eq!(sink.wait(4).len(), 4);
    assert_eq!(node.metric("relay_fast_filtered_total{outcome=\"failed\"}"), 0.0);
}

#[test]
fn where_nobody_listens_the_knob_says_what_is_done() {
    let sink = Sink::start();
    let nobody = crate::node::free_port();
    for (on_failure, code) in [("accept", 250), ("tempfail", 451), ("reject", 550)] {
        let more = format!("on_failure = \"{on_failure}\"");
        let milter = config("gone", &format!("127.0.0.1:{nobody}"), &more);
        let node = Node::to(sink.address, &milter);
        assert_eq!(ask(&node, &[TO], &message(on_failure)).code, code);
        node.wait_for_log("a milter fails");
        if code == 250 {
            assert_eq!(sink.wait(1)[0].subject(), "accept");
        }
    }
    let missing = config("gone", "unix:/nowhere/socket", "");
    assert_eq!(ask(&Node::to(sink.address, &missing), &[TO], &message("x")).code, 451);
    assert_eq!(sink.taken().len(), 1);
}

#[test]
fn a_client_that_leaves_takes_its_message_along_and_a_drain_waits_for_the_others() {
    let sink = Sink::start();
    let address = troubled(Trouble::Stuck).to_string();
    let more = "connections = 1\ncommand_timeout = \"2s\"\non_failure = \"accept\"\n";
    let mut node =
        Node::idle(&to_upstream(&sink.address.to_string(), &config("stuck", &address, more)));
    node.run(1);
    let begin = |subject: &str| {
        let mut client = Client::connect(node.listen[0]);
        client.envelope(FROM, &[TO]);
        assert_eq!(client.say("DATA").code, 354);
        client.write(format!("{}\r\n.\r\n", message(subject)));
        client
    };
    let (leaves, mut waits, also_leaves) = (begin("leaves"), begin("waits"), begin("leaves"));
    leaves.reset();
    also_leaves.reset();
    wait_for("they are gone", || (node.metric("relay_fast_sessions") < 2.0).then_some(()));
    node.signal(rustix::process::Signal::TERM);
    assert_eq!(waits.reply().code, 250, "it goes on without the milter");
    node.wait();
    node.run(1);
    let taken = sink.wait(1);
    assert_eq!((taken.len(), taken[0].subject()), (1, "waits"));
}
