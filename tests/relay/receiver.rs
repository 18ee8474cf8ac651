//! Someone who is called by webhooks: takes them, refuses them, or is dead.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use relay_fast::outcome::event::Event;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// In lower case.
    pub(crate) head: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    /// What it was answered.
    pub(crate) answer: String,
}

impl Call {
    /// Shard and number of each event in it.
    pub(crate) fn events(&self) -> Vec<(u8, u64)> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["type"], "relay-fast.events");
        let data = body["data"].as_array().unwrap();
        data.iter().map(|event| named(event.to_string().as_bytes())).collect()
    }
}

/// Shard and number of an event.
pub(crate) fn named(line: &[u8]) -> (u8, u64) {
    let event = Event::parse(line).unwrap();
    (event.shard.0, event.sequence)
}

/// Where it listens, and what came.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    answer: Arc<Mutex<String>>,
}

impl Receiver {
    /// Answers each request with this status line, and what may follow it.
    pub(crate) fn start(answer: &str) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    pub(crate) fn on(listener: TcpListener, answer: &str) -> Self {
        let address = listener.local_addr().unwrap();
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let answer = Arc::new(Mutex::new(answer.to_owned()));
        let (all, said) = (calls.clone(), answer.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (all, said) = (all.clone(), said.clone());
                thread::spawn(move || converse(stream.unwrap(), &all, &said));
            }
        });
        Self { address, calls, answer }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?x=1", self.address)
    }

    /// What is answered from now on.
    pub(crate) fn answer(&self, answer: &str) {
        answer.clone_into(&mut self.answer.lock().unwrap());
    }

    /// All that came.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Events that were answered with success, in their order, with repeats.
    pub(crate) fn taken(&self) -> Vec<(u8, u64)> {
        let calls = self.calls();
        let taken = calls.iter().filter(|call| call.answer.starts_with('2'));
        taken.flat_map(Call::events).collect()
    }
}

/// Request for request, until the other side has enough.
fn converse(stream: TcpStream, calls: &Mutex<Vec<Call>>, answer: &Mutex<String>) {
    let mut reader = BufReader::new(stream);
    while let Some((head, body)) = request(&mut reader) {
        let answer = answer.lock().unwrap().clone();
        calls.lock().unwrap().push(Call { head, body, answer: answer.clone() });
        let text = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
        if reader.get_mut().write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(BTreeMap<String, String>, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    assert_eq!(line, "POST /hook?x=1 HTTP/1.1\r\n");
    let mut head = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        head.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; head["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}
