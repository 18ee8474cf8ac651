//! A seeded storm of connects, sends, pauses, closes and aborts on both sides: nothing leaks.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::base::prng::Prng;
use crate::platform::tests::support::{Script, Shards, pattern};
use crate::shard::mesh::Crossing;
use crate::shard::platform::{ConnectionId, Event, Platform};

/// Does anything that is legal, at any time, to any connection it knows of or knew of.
struct Storm {
    prng: Prng,
    known: Vec<ConnectionId>,
    peer: Option<SocketAddr>,
    over: bool,
}

impl Storm {
    fn act(&mut self, platform: &mut dyn Platform) {
        if self.known.is_empty() {
            return;
        }
        let chosen = self.known[self.prng.below(self.known.len() as u64) as usize];
        match self.prng.below(9) {
            0 | 1 => platform.send(chosen, pattern(self.prng.below(200_000) as usize)),
            2 => platform.pause(chosen),
            3 | 4 => platform.resume(chosen),
            5 => platform.close(chosen),
            6 => platform.abort(chosen),
            7 => {
                let hangs = "127.0.0.1:1".parse().unwrap();
                let peer = self.peer.filter(|_| self.prng.below(8) > 0).unwrap_or(hangs);
                let connection = platform.connect(peer, None);
                self.known.push(connection);
                if self.prng.below(3) == 0 {
                    platform.abort(connection);
                }
            }
            _ => {
                let nobody = "127.0.0.1:9".parse().unwrap();
                let asked = platform.ask(nobody, b"question");
                if self.prng.below(2) == 0 {
                    platform.forget(asked);
                }
            }
        }
    }
}

impl Script for Storm {
    fn on(&mut self, event: Event<'_>, platform: &mut dyn Platform) {
        match event {
            Event::Accepted { connection, local, .. } => {
                self.peer = Some(local);
                self.known.push(connection);
            }
            Event::Received { connection, bytes } => {
                assert!(!bytes.is_empty());
                platform.send(connection, bytes.to_vec());
            }
            Event::Crossing(Crossing::Drain) => self.over = true,
            _ => {}
        }
        (0..self.prng.below(3)).for_each(|_| self.act(platform));
        if self.known.len() > 300 {
            self.known.drain(..100).for_each(|connection| platform.abort(connection));
        }
    }

    fn is_over(&self) -> bool {
        self.over
    }
}

fn client(address: SocketAddr, mut prng: Prng) {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return;
    };
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    for _ in 0..prng.below(10) {
        // A reset by the other side is part of the storm.
        let _ = match prng.below(4) {
            0 => stream.write(&pattern(prng.below(100_000) as usize)).map(drop),
            1 => stream.read(&mut [0; 10_000]).map(drop),
            2 => stream.shutdown(Shutdown::Write),
            _ => stream.write(b"x").map(drop),
        };
    }
    if prng.below(2) == 0 {
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

#[test]
fn a_storm_leaves_nothing_under_way() {
    for seed in 0..6 {
        println!("seed {seed}");
        let shards = Shards::start(2, move |shard| Storm {
            prng: Prng::from_number(seed * 2 + u64::from(shard.0)),
            known: Vec::new(),
            peer: None,
            over: false,
        });
        let address = shards.address;
        let clients: Vec<_> = (0..4)
            .map(|thread| {
                std::thread::spawn(move || {
                    for n in 0..100 {
                        client(address, Prng::from_number(seed << 20 | thread << 10 | n));
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        let counters = shards.end();
        assert!(counters.iter().all(|counters| counters.panics == 0), "{counters:?}");
    }
}
