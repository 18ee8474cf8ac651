//! The end of a shard, and its event log: what was given is written.

use std::fs;

use crate::platform::event_log::EventLogOptions;
use crate::platform::tests::support::{Shards, acting, event_lines, pattern, read_to_end, words};
use crate::shard::mesh::Crossing;
use crate::shard::platform::Event;

#[test]
fn what_was_given_to_a_closed_connection_is_sent_after_the_machine_is_over() {
    const OCTETS: usize = 6 * 1024 * 1024;
    let shards = Shards::start(1, |_| {
        let mut connections = Vec::new();
        acting(1, move |event, platform| match event {
            Event::Accepted { connection, .. } => connections.push(connection),
            Event::Crossing(Crossing::Drain) => {
                for connection in connections.drain(..) {
                    platform.send(connection, pattern(OCTETS));
                    platform.close(connection);
                }
            }
            Event::Received { connection, .. } => platform.send(connection, b"+".to_vec()),
            _ => {}
        })
    });
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let mut client = shards.connect();
            std::io::Write::write_all(&mut client, b"?").unwrap();
            std::io::Read::read_exact(&mut client, &mut [0]).unwrap();
            client
        })
        .collect();
    shards.drain();
    for client in clients {
        assert!(read_to_end(client) == pattern(OCTETS));
    }
    shards.join();
}

#[test]
fn a_stopped_listener_refuses_and_its_connections_live_on() {
    let (tell, told) = words();
    let shards = Shards::start(1, move |_| {
        let tell = tell.clone();
        acting(2, move |event, platform| match event {
            Event::Crossing(Crossing::Drain) => {
                platform.stop_listening();
                tell.send("stopped".to_owned()).unwrap();
            }
            Event::Received { connection, bytes } => platform.send(connection, bytes.to_vec()),
            _ => {}
        })
    });
    let mut client = shards.connect();
    shards.drain();
    assert_eq!(told.recv().unwrap(), "stopped");
    std::io::Write::write_all(&mut client, b"!").unwrap();
    std::io::Read::read_exact(&mut client, &mut [0]).unwrap();
    // That the reply came proves that the turn which stopped listening is over.
    assert!(std::net::TcpStream::connect(shards.address).is_err());
    drop(client);
    shards.end();
}

#[test]
fn events_are_written_in_order_and_over_several_files() {
    const ROUNDS: usize = 6;
    const LINES: usize = 5_000;
    let directory = tempfile::tempdir().unwrap();
    let options = EventLogOptions { file_bytes: 100_000, files: 100, ..Default::default() };
    let shards = Shards::start_in(directory, 1, options, move |_| {
        let mut sequence = 0;
        acting(ROUNDS, move |event, platform| {
            if matches!(event, Event::Crossing(Crossing::Drain)) {
                for _ in 0..LINES {
                    platform.log_events(format!("{{\"sequence\":{sequence}}}\n").as_bytes());
                    sequence += 1;
                }
            }
        })
    });
    let events = shards.spool.path().join("events");
    for round in 1..ROUNDS {
        shards.drain();
        event_lines(&events, round * LINES);
    }
    // What the last turn gives is written before the shard ends.
    shards.drain();
    let (counters, spool) = shards.join_keeping_spool();
    assert_eq!(counters[0].event_lines_lost, 0);
    let lines = event_lines(&spool.path().join("events"), 0);
    let expected: Vec<_> = (0..ROUNDS * LINES).map(|n| format!("{{\"sequence\":{n}}}")).collect();
    assert!(lines == expected, "{} lines", lines.len());
    let files = fs::read_dir(spool.path().join("events")).unwrap().count();
    assert!((3..=ROUNDS + 1).contains(&files), "{files} files");
}
