//! Stops, crashes and other numbers of shards: what was acknowledged is never lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use relay_fast::outcome::event::Kind;
use rustix::process::Signal;

use crate::client::{Client, message, send};
use crate::node::{Node, SOON, to_upstream, wait_for};
use crate::sink::Sink;

#[test]
fn sigterm_finishes_what_is_in_flight_and_leaves() {
    let sink = Sink::start();
    let mut node = Node::to(sink.address, "");
    let mut client = Client::connect(node.listen[0]);
    assert_eq!(client.envelope("<a@a.example>", &["<b@b.example>"]), [250, 250]);
    assert_eq!(client.say("DATA").code, 354);
    client.write("Subject: in flight\r\n\r\nfirst half,");
    node.signal(Signal::TERM);
    node.wait_for_log("draining");
    let address = node.listen[0];
    wait_for("no more clients", || std::net::TcpStream::connect(address).err());
    client.write(" second half\r\n.\r\n");
    let reply = client.reply();
    assert_eq!(reply.code, 250, "the transaction in flight is finished: {reply:?}");
    assert!(client.try_reply().is_none_or(|reply| reply.code == 421), "and no other begins");
    let status = node.wait();
    assert_eq!(status.code(), Some(0));
    assert!(node.log().contains("drained"));
    // Delivered before the end, or after the next start: not lost.
    if sink.taken().is_empty() {
        node.run(2);
    }
    let taken = sink.wait(1);
    assert!(taken[0].content.ends_with("first half, second half\r\n"), "{:?}", taken[0]);
}

#[test]
fn an_idle_client_does_not_hold_up_a_drain() {
    let mut node = Node::to("127.0.0.1:9".parse().unwrap(), "");
    let mut idle = Client::connect(node.listen[0]);
    let mut between = Client::connect(node.listen[0]);
    between.envelope("<a@a.example>", &["<b@b.example>"]);
    between.say("RSET");
    node.signal(Signal::TERM);
    for client in [&mut idle, &mut between] {
        let bye = client.try_reply().expect("a word at the end");
        assert_eq!((bye.code, &bye.text[..5]), (421, "4.3.2"), "{bye:?}");
    }
    assert!(node.wait().success());
}

#[test]
fn a_second_signal_leaves_at_once_and_loses_nothing() {
    let sink = Sink::start();
    sink.hold();
    let mut node = Node::to(sink.address, "");
    for n in 0..20 {
        send(node.listen[0], "<a@a.example>", &[&format!("<b@d{n}.example>")], &n.to_string());
    }
    wait_for("some under way", || (node.stat("attempting") > 0).then_some(()));
    node.signal(Signal::TERM);
    node.wait_for_log("draining");
    node.signal(Signal::TERM);
    let status = node.wait();
    assert!(status.code().is_some_and(|code| code != 0), "it did not end in order: {status}");
    assert!(node.log().contains("left at once, on a second signal"), "{}", node.log());
    sink.let_go();
    node.run(2);
    for n in 0..20 {
        sink.wait_for_mail_to(&format!("b@d{n}.example"));
    }
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
}

/// Send messages named `prefix-number` until told to stop; how many were acknowledged.
fn pour(mut client: Client, prefix: &str, stop: &AtomicBool) -> usize {
    for number in 0.. {
        let subject = format!("{prefix}-{number}");
        let to = format!("b@d{}.example", number % 50);
        client.try_write(format!("MAIL FROM:<a@a.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n"));
        let replies = [(); 3].map(|()| client.try_reply().map(|reply| reply.code));
        let goes_on = replies == [Some(250), Some(250), Some(354)];
        if !goes_on || !client.try_write(format!("{}\r\n.\r\n", message(&subject))) {
            return number;
        }
        if client.try_reply().is_none_or(|reply| reply.code != 250) {
            return number;
        }
        if stop.load(Ordering::Relaxed) {
            return number + 1;
        }
    }
    unreachable!("numbers do not end")
}

#[test]
fn kill_9_and_other_numbers_of_shards_lose_nothing_acknowledged() {
    let sink = Sink::start();
    let mut node = Node::idle(&to_upstream(&sink.address.to_string(), SOON));
    let mut acknowledged = BTreeMap::new();
    for (run, cores) in [1, 4, 2, 3].into_iter().enumerate() {
        node.run(cores);
        if run == 1 {
            assert!(node.spool().join("003").is_dir());
        }
        let stop = AtomicBool::new(false);
        let before = sink.taken().len();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..4)
                .map(|number| {
                    let client = Client::connect(node.listen[0]);
                    let (prefix, stop) = (format!("{run}-{number}"), &stop);
                    scope.spawn(move || (pour(client, &prefix, stop), prefix))
                })
                .collect();
            wait_for("mail in both directions", || {
                (sink.taken().len() > before + 60).then_some(())
            });
            node.kill();
            stop.store(true, Ordering::Relaxed);
            for client in clients {
                let (count, prefix) = client.join().unwrap();
                acknowledged.insert(prefix, count);
            }
        });
    }
    node.run(1);
    let names: Vec<String> = acknowledged
        .iter()
        .flat_map(|(prefix, count)| (0..*count).map(move |number| format!("{prefix}-{number}")))
        .collect();
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
    let taken = sink.taken();
    let mut times = BTreeMap::<&str, usize>::new();
    taken.iter().for_each(|one| *times.entry(one.subject()).or_default() += 1);
    let lost: Vec<_> = names.iter().filter(|name| !times.contains_key(name.as_str())).collect();
    assert!(lost.is_empty(), "lost of {}: {lost:?}", names.len());
    // Only what was in flight at a crash may come again: four crashes, four clients.
    let again = times.values().filter(|count| **count > 1).count();
    assert!(again <= taken.len() / 2, "{again} of {} came twice", taken.len());
    assert!(!node.log().contains("damaged"), "{}", node.log());
}

/// A relay that was killed is gone before its port is: rings are wound up later.
#[test]
fn a_port_that_is_let_go_of_in_a_moment_is_waited_for() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = to_upstream("127.0.0.1:9", "").replace("127.0.0.1:0", &address.to_string());
    let mut node = Node::idle(&config);
    let lock = node.spool().join("LOCK");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The spool is locked just before the listeners are made.
            wait_for("a locked spool", || std::fs::read_to_string(&lock).ok()?.pop());
            drop(taken);
        });
        node.run(2);
    });
    assert_eq!(node.listen, [address]);
}

#[test]
fn held_attempts_and_the_last_reply_survive_a_crash_and_another_number_of_shards() {
    let words = "451 4.7.1 Come back after the crash";
    let sink = Sink::by(move |_, _| words.to_owned());
    let mut node = Node::to(sink.address, "[queue]\nretry_first = \"1h\"\nretry_jitter = 0\n");
    for n in 0..6 {
        let mut client = Client::connect(node.listen[0]);
        let to = [format!("<x@d{n}.example>"), format!("<held@d{n}.example>")];
        client.send("<a@a.example>", &[&to[0], &to[1]], &message("survives"));
    }
    wait_for("all deferred", || (node.stat("deferred") == 12).then_some(()));
    for n in 0..3 {
        node.ask(&["hold", "--domain", &format!("d{n}.example")]);
    }
    node.ask(&["flush", "--domain", "d5.example"]);
    wait_for("the second attempt", || (sink.asked("x@d5.example") == 2).then_some(()));
    wait_for("all deferred", || (node.stat("deferred") == 6).then_some(()));
    // Each line of the list is the state of a recipient; what shows it is on disk by then.
    let listed = |node: &Node| {
        let list = node.ask(&["list"]);
        let mut lines: Vec<String> = list.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = listed(&node);
    // A state is written with the next commit group: one more message makes sure of that.
    send(node.listen[0], "<a@a.example>", &["<gone@d9.example>"], "a group more");
    wait_for("it is deferred too", || (node.stat("deferred") == 7).then_some(()));
    node.ask(&["remove", "--domain", "d9.example"]);
    wait_for("it is gone", || (node.stat("recipients") == 12).then_some(()));
    node.wait_for_events(Kind::Removed, 1);
    for cores in [3, 1] {
        node.kill();
        node.run(cores);
        let after = wait_for("all recovered", || {
            let after = listed(&node);
            (after.len() >= before.len()).then_some(after)
        });
        assert_eq!(after, before);
        assert_eq!((node.stat("held"), node.stat("deferred")), (6, 6));
        let id = before.iter().find(|line| line.contains("x@d5.example")).unwrap();
        let shown = node.ask(&["show", id.split(' ').next().unwrap()]);
        assert!(
            shown.contains("attempts: 2; the next one at ") && shown.contains(words),
            "{shown}"
        );
    }
    assert_eq!(sink.asked("held@d0.example"), 1, "held ones were not tried");
    sink.change(|_, _| "250 Ok".to_owned());
    node.ask(&["release", "--all"]);
    node.ask(&["flush", "--all"]);
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
}

/// User and system time of a process, in hundredths of a second.
fn cpu_ticks(node: &Node) -> u64 {
    let path = format!("/proc/{}/stat", node.pid().as_raw_nonzero());
    let stat = std::fs::read_to_string(path).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = fields.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn an_idle_relay_uses_less_than_a_hundredth_of_a_cpu() {
    let sink = Sink::start();
    let node = Node::to(sink.address, "");
    let mut client = Client::connect(node.listen[0]);
    for n in 0..50 {
        client.send("<a@a.example>", &[&format!("<b@d{n}.example>")], &message("before"));
    }
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
    drop(client);
    // What the mail left to be done is over when a second passes with next to nothing done.
    const SECONDS: u64 = 4;
    let mut used = u64::MAX;
    for _ in 0..5 {
        let before = cpu_ticks(&node);
        std::thread::sleep(std::time::Duration::from_secs(SECONDS));
        used = cpu_ticks(&node) - before;
        if used <= SECONDS {
            return;
        }
    }
    panic!("{used} hundredths of a second of CPU in {SECONDS} idle seconds");
}

#[test]
fn a_delivery_in_flight_is_finished_and_its_connection_too() {
    let sink = Sink::start();
    sink.hold();
    let config = to_upstream(&sink.address.to_string(), SOON);
    // The deadline is an hour: nothing here may wait for it.
    let mut node = Node::start(&format!("drain_deadline = \"1h\"\n{config}"));
    for n in 0..4 {
        send(node.listen[0], "<a@a.example>", &[&format!("<b@d{n}.example>")], "in flight");
    }
    wait_for("all are with the sink", || (sink.asked("b@d0.example") == 1).then_some(()));
    node.signal(Signal::TERM);
    node.wait_for_log("draining");
    sink.let_go();
    assert!(node.wait().success());
    assert!(!sink.taken().is_empty(), "what was with the sink was waited for");
    node.run(2);
    wait_for("an empty queue", || (node.stat("recipients") == 0).then_some(()));
    assert_eq!(sink.taken().len(), 4, "each once: a drain breaks nothing off");
}
