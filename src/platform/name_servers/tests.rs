//! A name server of ours on loopback, over UDP and TCP.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record};

use super::*;
use crate::dns::{Finding, Kind, Name, Records};

/// An hour from now: nothing here takes so long.
fn late() -> Monotonic {
    clock::now().mono + Duration::from_secs(3_600)
}

fn options(server: SocketAddr) -> Options {
    Options { servers: vec![server], ..Options::default() }
}

fn question(name: &str) -> Question {
    Question { name: Name::parse(name).unwrap(), kind: Kind::Txt }
}

/// Both transports on one port of the kernel's choice.
fn listen() -> (SocketAddr, UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        // Somebody else may have the port there.
        if let Ok(tcp) = TcpListener::bind(address) {
            return (address, udp, tcp);
        }
    }
}

/// The answer to a query: its own name as text.
fn answer_to(query: &[u8], is_truncated: bool) -> Vec<u8> {
    let query = Message::from_vec(query).unwrap();
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.truncation = is_truncated;
    let asked = &query.queries[0];
    message.add_query(asked.clone());
    let text = asked.name.to_ascii().to_lowercase();
    if !is_truncated {
        let data = RData::TXT(TXT::new(vec![text]));
        message.answers.push(Record::from_rdata(asked.name.clone(), 300, data));
    }
    message.to_vec().unwrap()
}

fn text_of(answer: &Answer) -> String {
    let Finding::Records(Records::Txt(texts)) = &answer.finding else { panic!("{answer:?}") };
    String::from_utf8(texts[0].to_vec()).unwrap()
}

#[test]
fn many_questions_are_answered_over_udp() {
    let (address, udp, _tcp) = listen();
    thread::spawn(move || {
        let mut query = [0; 1_500];
        while let Ok((length, from)) = udp.recv_from(&mut query) {
            udp.send_to(&answer_to(&query[..length], false), from).unwrap();
        }
    });
    let mut servers = NameServers::new(options(address));
    let names: Vec<String> = (0..50).map(|number| format!("n{number}.example")).collect();
    for name in &names {
        assert_eq!(servers.ask(question(name)), None);
    }
    let mut answered = Vec::new();
    while answered.len() < names.len() {
        let answers = servers.wait(late());
        assert!(!answers.is_empty());
        answered.extend(answers.iter().map(|answer| text_of(answer)));
    }
    answered.sort();
    let mut expected: Vec<String> = names.iter().map(|name| format!("{name}.")).collect();
    expected.sort();
    assert_eq!(answered, expected);
    assert!(servers.lines.is_empty(), "all sockets are closed");
    assert!(servers.ask(question("n7.example")).is_some(), "it is known now");
}

#[test]
fn a_truncated_answer_is_asked_for_over_tcp_and_may_come_in_pieces() {
    let (address, udp, tcp) = listen();
    thread::spawn(move || {
        let mut query = [0; 1_500];
        let (length, from) = udp.recv_from(&mut query).unwrap();
        udp.send_to(&answer_to(&query[..length], true), from).unwrap();
        let (mut stream, _) = tcp.accept().unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query).unwrap();
        let answer = answer_to(&query, false);
        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
        for octet in length.iter().chain(&answer) {
            stream.write_all(&[*octet]).unwrap();
        }
    });
    let mut servers = NameServers::new(options(address));
    assert_eq!(servers.ask(question("large.example")), None);
    let answers = servers.wait(late());
    assert_eq!(text_of(&answers[0]), "large.example.");
    assert!(servers.lines.is_empty());
}

#[test]
fn nobody_there_and_nobody_who_answers() {
    let (address, udp, tcp) = listen();
    drop(tcp);
    let mut servers = NameServers::new(options(address));
    assert_eq!(servers.ask(question("silent.example")), None);
    let soon = clock::now().mono + Duration::from_millis(20);
    assert_eq!(servers.wait(soon), [], "the asker goes on at its own time");
    drop(udp);
    let mut servers = NameServers::new(options(address));
    assert_eq!(servers.ask(question("refused.example")), None);
    let answers = servers.wait(late());
    let Finding::Temporary(reason) = &answers[0].finding else { panic!("{answers:?}") };
    assert!(reason.contains("refused"), "{reason}");
}
