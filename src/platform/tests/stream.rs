//! Connections: what is sent arrives once, in order and whole, whatever happens in between.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::Sender;

use crate::platform::tests::support::{Shards, acting, echo, pattern, read_to_end, reply, words};
use crate::shard::mesh::Crossing;
use crate::shard::platform::{Event, Platform};

#[test]
fn many_connections_are_echoed_round_after_round() {
    let shards = Shards::start(2, |_| acting(1, echo));
    let mut clients: Vec<_> = (0..200).map(|_| shards.connect()).collect();
    for round in 0..20u32 {
        for (client, n) in clients.iter_mut().zip(0u32..) {
            client.write_all(&(n + round).to_be_bytes()).unwrap();
        }
        for (client, n) in clients.iter_mut().zip(0u32..) {
            let mut back = [0; 4];
            client.read_exact(&mut back).unwrap();
            assert_eq!(u32::from_be_bytes(back), n + round);
        }
    }
    drop(clients);
    let counters = shards.end();
    assert_eq!(counters.iter().map(|counters| counters.accepted).sum::<u64>(), 200);
}

#[test]
fn a_slow_reader_gets_everything_that_was_sent() {
    const PIECE: usize = 100_000;
    const PIECES: usize = 200;
    let (tell, told) = words();
    let shards = Shards::start(1, move |_| {
        let tell = tell.clone();
        acting(1, move |event, platform| match event {
            Event::Accepted { connection, .. } => {
                let all = pattern(PIECE * PIECES);
                all.chunks(PIECE).for_each(|piece| reply(platform, connection, piece));
            }
            Event::Sent { connection } => {
                tell.send("sent".to_owned()).unwrap();
                platform.close(connection);
            }
            _ => {}
        })
    });
    let mut client = shards.connect();
    let mut received = Vec::new();
    let mut little = [0; 1_000];
    for _ in 0..50 {
        let count = client.read(&mut little).unwrap();
        received.extend_from_slice(&little[..count]);
    }
    client.read_to_end(&mut received).unwrap();
    assert!(received == pattern(PIECE * PIECES), "{} octets", received.len());
    drop(client);
    shards.end();
    assert_eq!(told.iter().count(), 1, "Sent comes once nothing is left, not before");
}

/// Pause at the first octet; resume at the first `Drain`; end at the second.
fn pausing(tell: Sender<String>) -> impl FnMut(Event<'_>, &mut dyn Platform) {
    let mut received = Vec::new();
    let mut paused = None;
    move |event, platform| match event {
        Event::Received { connection, bytes } => {
            received.extend_from_slice(bytes);
            if paused.is_none() {
                platform.pause(connection);
                paused = Some(connection);
                tell.send(format!("paused {}", received.len())).unwrap();
            }
        }
        Event::Ended { connection } => {
            let right = received == pattern(received.len());
            tell.send(format!("ended {} {right}", received.len())).unwrap();
            platform.close(connection);
        }
        Event::Crossing(Crossing::Drain) => {
            tell.send(format!("resumed {}", received.len())).unwrap();
            paused.into_iter().for_each(|connection| platform.resume(connection));
        }
        _ => {}
    }
}

#[test]
fn a_paused_connection_delivers_nothing_and_loses_nothing() {
    const OCTETS: usize = 8 * 1024 * 1024;
    for first in [1, 7, 5_000] {
        let (tell, told) = words();
        let shards = Shards::start(1, move |_| acting(2, pausing(tell.clone())));
        let mut client = shards.connect();
        client.write_all(&pattern(first)).unwrap();
        let paused = told.recv().unwrap();
        let writer = std::thread::spawn(move || {
            client.write_all(&pattern(OCTETS)[first..]).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            read_to_end(client)
        });
        shards.drain();
        let resumed = told.recv().unwrap();
        assert_eq!(paused.replace("paused", "resumed"), resumed, "delivered while paused");
        assert_eq!(told.recv().unwrap(), format!("ended {OCTETS} true"));
        assert_eq!(writer.join().unwrap(), b"");
        shards.end();
    }
}

#[test]
fn a_pause_holds_a_little_and_leaves_the_rest_to_the_window() {
    let (tell, told) = words();
    let shards = Shards::start(1, move |_| acting(2, pausing(tell.clone())));
    let mut client = shards.connect();
    client.write_all(&pattern(1)).unwrap();
    assert_eq!(told.recv().unwrap(), "paused 1");
    // More than all buffers on the way hold: the write can only end after the resume.
    client.set_nonblocking(true).unwrap();
    let all = pattern(64 * 1024 * 1024);
    let mut written = 1;
    let mut refusals = 0;
    while refusals < 50 {
        match client.write(&all[written..]) {
            Ok(count) => written += count,
            Err(_) => {
                refusals += 1;
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
    }
    assert!(written < all.len(), "a paused connection took {written} octets");
    client.set_nonblocking(false).unwrap();
    shards.drain();
    assert_eq!(told.recv().unwrap(), "resumed 1");
    client.write_all(&all[written..]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(told.recv().unwrap(), format!("ended {} true", all.len()));
    drop(client);
    shards.end();
}

#[test]
fn after_the_peers_end_we_may_still_send() {
    let shards = Shards::start(1, |_| {
        acting(1, |event, platform| {
            if let Event::Ended { connection } = event {
                reply(platform, connection, b"221 bye\r\n");
                platform.close(connection);
            }
        })
    });
    let mut client = shards.connect();
    client.write_all(b"QUIT\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(client), b"221 bye\r\n");
    shards.end();
}

#[test]
fn a_last_reply_reaches_a_client_that_is_still_sending() {
    let shards = Shards::start(1, |_| {
        acting(1, |event, platform| {
            if let Event::Received { connection, .. } = event {
                reply(platform, connection, b"421 too much\r\n");
                platform.close(connection);
            }
        })
    });
    for _ in 0..20 {
        let mut client = shards.connect();
        client.write_all(&pattern(300_000)).unwrap();
        let mut line = [0; 14];
        client.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"421 too much\r\n");
        assert_eq!(read_to_end(client), b"", "an orderly end, not a reset");
    }
    shards.end();
}

#[test]
fn a_reset_is_a_loss_and_an_abort_is_a_reset() {
    let (tell, told) = words();
    let shards = Shards::start(1, move |_| {
        let tell = tell.clone();
        acting(1, move |event, platform| match event {
            Event::Received { connection, bytes: b"abort" } => platform.abort(connection),
            Event::Received { connection, .. } => reply(platform, connection, b"+"),
            Event::Lost { error, .. } => tell.send(error.to_string()).unwrap(),
            _ => {}
        })
    });
    let mut client = shards.connect();
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0]).unwrap();
    socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    assert!(told.recv().unwrap().contains("reset"));
    let mut client = shards.connect();
    client.write_all(b"abort").unwrap();
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    shards.end();
    assert_eq!(told.iter().count(), 0, "an abort is not told as a loss");
}

/// Connect to `peer` at the start, and say how it went.
fn connecting(
    peer: SocketAddr,
    source: Option<IpAddr>,
    tell: Sender<String>,
) -> impl FnMut(Event<'_>, &mut dyn Platform) {
    move |event, platform| match event {
        Event::Accepted { .. } => drop(platform.connect(peer, source)),
        Event::Connected { connection, local } => {
            tell.send(format!("from {}", local.ip())).unwrap();
            platform.close(connection);
        }
        Event::ConnectFailed { error, .. } => tell.send(format!("{}", error.errno)).unwrap(),
        _ => {}
    }
}

fn connect_says(peer: SocketAddr, source: Option<IpAddr>) -> String {
    let (tell, told) = words();
    let shards = Shards::start(1, move |_| acting(1, connecting(peer, source, tell.clone())));
    let client = shards.connect();
    let said = told.recv().unwrap();
    drop(client);
    shards.end();
    said
}

#[test]
fn connects_succeed_and_fail_by_events() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = listener.local_addr().unwrap();
    assert_eq!(connect_says(there, None), "from 127.0.0.1");
    assert_eq!(connect_says(there, Some("127.0.0.9".parse().unwrap())), "from 127.0.0.9");
    let nobodys = connect_says(there, Some("192.0.2.1".parse().unwrap()));
    assert_eq!(nobodys, libc::EADDRNOTAVAIL.to_string());
    drop(listener);
    assert_eq!(connect_says(there, None), libc::ECONNREFUSED.to_string());
}

#[test]
fn a_connect_that_hangs_can_be_aborted() {
    // A listener whose line is full answers nothing: connects to it hang.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    full.listen(0).unwrap();
    let peer = full.local_addr().unwrap().as_socket().unwrap();
    let _in_line = TcpStream::connect(peer).unwrap();
    let (tell, told) = words();
    let shards = Shards::start(1, move |_| {
        let tell = tell.clone();
        acting(2, move |event, platform| match event {
            Event::Crossing(Crossing::Drain) => {
                let hanging: Vec<_> = (0..50).map(|_| platform.connect(peer, None)).collect();
                hanging.into_iter().step_by(2).for_each(|connection| platform.abort(connection));
                tell.send("asked".to_owned()).unwrap();
            }
            Event::ConnectFailed { .. } | Event::Lost { .. } => tell.send("told".into()).unwrap(),
            _ => {}
        })
    });
    shards.drain();
    assert_eq!(told.recv().unwrap(), "asked");
    // The other half is aborted by the end of the shard, which leaves nothing under way.
    shards.end();
    assert_eq!(told.iter().count(), 1, "nothing is told of what was aborted");
}

#[test]
fn a_panic_costs_its_connection_and_no_other() {
    let shards = Shards::start(1, |_| {
        acting(1, |event, platform| match event {
            Event::Received { bytes: b"panic", .. } => panic!("as the test wants"),
            event => echo(event, platform),
        })
    });
    let (mut good, mut bad) = (shards.connect(), shards.connect());
    bad.write_all(b"panic").unwrap();
    assert!(bad.read(&mut [0]).is_err(), "aborted");
    good.write_all(b"!").unwrap();
    good.read_exact(&mut [0]).unwrap();
    drop(good);
    assert_eq!(shards.end()[0].panics, 1);
}

#[test]
fn a_question_is_answered_or_fails_or_is_forgotten() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let there = server.local_addr().unwrap();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (tell, told) = words();
    let shards = Shards::start(1, move |_| {
        let tell = tell.clone();
        acting(2, move |event, platform| match event {
            Event::Crossing(Crossing::Drain) => {
                platform.ask(there, b"forgotten");
                let forgotten = platform.ask(there, b"forgotten at once");
                platform.forget(forgotten);
                platform.ask(there, b"query");
                platform.ask(nobody, b"query");
            }
            Event::Datagram { id, bytes } => {
                tell.send(String::from_utf8_lossy(bytes).into_owned()).unwrap();
                if bytes == b"last" {
                    platform.forget(id);
                }
            }
            Event::DatagramFailed { error, .. } => {
                assert_eq!(error.errno, libc::ECONNREFUSED);
                tell.send("refused".to_owned()).unwrap();
            }
            _ => {}
        })
    });
    shards.drain();
    assert_eq!(told.recv().unwrap(), "refused");
    let mut query = [0; 64];
    loop {
        let (count, from) = server.recv_from(&mut query).unwrap();
        if &query[..count] == b"query" {
            // An empty datagram is no answer and ends nothing.
            for answer in [&b"first"[..], b"", b"second", b"last", b"too late"] {
                server.send_to(answer, from).unwrap();
            }
            break;
        }
    }
    let answers: Vec<_> = (0..3).map(|_| told.recv().unwrap()).collect();
    assert_eq!(answers, ["first", "second", "last"]);
    shards.end();
    assert_eq!(told.iter().count(), 0, "nothing comes after forget");
}
