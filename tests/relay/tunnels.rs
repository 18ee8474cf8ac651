//! Mail that leaves through proxies: SOCKS5 and PROXY headers, and proxies that do not do as they
//! should.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use relay_fast::outcome::event::Kind;

use crate::client::send;
use crate::node::{Node, SOON, free_port, refusal, run, text, to_upstream, wait_for};
use crate::sink::Sink;

/// A proxy that hears as many octets, answers with the next of these, and so on; then it connects
/// to where the last of what it heard leads, and passes on. What it heard of each connection.
struct Tunnel {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tunnel {
    fn start(steps: &'static [(usize, &'static [u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let all = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let all = Arc::clone(&all);
                std::thread::spawn(move || drop(serve(stream, steps, &all)));
            }
        });
        Self { address, heard }
    }

    fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    steps: &[(usize, &[u8])],
    all: &Mutex<Vec<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut heard = Vec::new();
    for (octets, answer) in steps {
        let mut piece = vec![0; *octets];
        stream.read_exact(&mut piece)?;
        heard.extend(piece);
        // In single octets: no split matters.
        answer.iter().try_for_each(|octet| stream.write_all(&[*octet]))?;
    }
    let port = u16::from_be_bytes(*heard.last_chunk().unwrap());
    all.lock().unwrap().push(heard);
    let peer = TcpStream::connect(("127.0.0.1", port))?;
    let (mut to, mut from) = (peer.try_clone()?, stream.try_clone()?);
    let forth = std::thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
    let mut back = peer;
    drop(std::io::copy(&mut back, &mut stream));
    drop(stream.shutdown(Shutdown::Both));
    drop(forth.join());
    Ok(())
}

const TAKEN: &[u8] = &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

/// A source of that name that goes through `proxy`.
fn source(number: u8, proxy: &str) -> String {
    format!(
        "[[source]]\nname = \"s{number}\"\naddress = \"203.0.113.{number}\"\n\
        hello = \"s{number}.example\"\n{proxy}\n"
    )
}

fn relay(sink: &Sink, more: &str) -> Node {
    let mut node = Node::idle("");
    node.configure(&to_upstream(&sink.address.to_string(), more));
    node.run(1);
    node
}

fn post(node: &Node, to: &str) {
    send(node.listen[0], "<a@a.example>", &[to], to);
}

#[test]
fn mail_leaves_through_socks_with_a_login() {
    let sink = Sink::start();
    let tunnel = Tunnel::start(&[(4, &[5, 2]), (14, &[1, 0]), (10, TAKEN)]);
    let mut node = Node::idle("");
    let file = node.folder.path().join("login");
    fs::write(&file, "relay:geheim\n").unwrap();
    let proxy =
        |file: &str| format!("proxy = \"socks5://{}\"\nproxy_login = \"{file}\"", tunnel.address);
    let config = to_upstream(&sink.address.to_string(), &source(1, &proxy(text(&file))));
    node.configure(&config);
    // Whoever may not read it is not to read it.
    let check = ["check", "--config", text(&node.config_path())].map(str::to_owned);
    let check = || refusal(&run(&check.each_ref().map(String::as_str)));
    assert!(check().contains("can be read by everyone"), "{}", check());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "relay\n").unwrap();
    assert!(check().contains("is not one line `name:password`"), "{}", check());
    fs::write(&file, "relay:geheim\n").unwrap();
    node.run(1);
    post(&node, "<one@b.example>");
    post(&node, "<two@b.example>");
    assert!(sink.wait(2).iter().all(|taken| taken.hello == "s1.example"));
    let port = sink.address.port().to_be_bytes();
    let asked = [&[5, 2, 0, 2, 1, 5][..], b"relay", &[6], b"geheim", &[5, 1, 0, 1, 127, 0, 0, 1]];
    assert_eq!(tunnel.heard()[0], [&asked.concat()[..], &port].concat());
    let events = node.wait_for_events(Kind::Delivered, 2);
    let source = events.iter().find(|event| event.kind == Kind::Delivered).map(|it| &*it.source);
    assert_eq!(source, Some("s1"));
    assert!(!node.log().contains("geheim"));
}

#[test]
fn mail_leaves_through_a_proxy_that_wants_a_header() {
    let sink = Sink::start();
    let tunnel = Tunnel::start(&[(28, &[])]);
    let node = relay(&sink, &source(7, &format!("proxy = \"haproxy://{}\"", tunnel.address)));
    post(&node, "<one@b.example>");
    assert_eq!(sink.wait(1)[0].hello, "s7.example");
    let heard = tunnel.heard().remove(0);
    let (head, port) = (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", sink.address.port().to_be_bytes());
    let expected = [&head[..], &[203, 0, 113, 7, 127, 0, 0, 1, 0, 0], &port].concat();
    assert_eq!(heard, expected);
}

#[test]
fn a_source_whose_proxy_fails_is_relieved_by_another() {
    let sink = Sink::start();
    let (good, other) = (Tunnel::start(&[(3, &[5, 0]), (10, TAKEN)]), free_port());
    let proxies = [
        // Nobody listens; another language; no way to log in; not allowed.
        format!("127.0.0.1:{other}"),
        Tunnel::start(&[(3, b"HTTP/1.1 400")]).address.to_string(),
        Tunnel::start(&[(3, &[5, 255])]).address.to_string(),
        Tunnel::start(&[(3, &[5, 0]), (10, &[5, 2, 0, 1])]).address.to_string(),
    ];
    let mut more = String::new();
    for (number, proxy) in (1..).zip(&proxies) {
        more += &source(number, &format!("proxy = \"socks5://{proxy}\""));
    }
    more += &source(9, &format!("proxy = \"socks5://{}\"", good.address));
    let node = relay(&sink, &more);
    for number in 0..6 {
        post(&node, &format!("<{number}@b.example>"));
        let taken = sink.wait_for_mail_to(&format!("{number}@b.example"));
        assert_eq!(taken.hello, "s9.example");
    }
    // None of that was an attempt of the mail's.
    let events = node.wait_for_events(Kind::Delivered, 6);
    assert!(events.iter().all(|event| event.kind != Kind::Deferred), "{events:?}");
    assert!(node.log().contains("a source is passed over for a while"));
}

#[test]
fn mail_waits_and_says_why_where_no_proxy_brings_it_on() {
    let sink = Sink::start();
    // The proxy is well; the peer is what cannot be reached.
    let refused = Tunnel::start(&[(3, &[5, 0]), (10, &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0])]);
    let proxy = format!("proxy = \"socks5://{}\"", refused.address);
    let node = relay(&sink, &format!("{}{SOON}", source(1, &proxy)));
    post(&node, "<one@b.example>");
    let why =
        format!("through socks5://{}: the proxy answers: connection refused", refused.address);
    let events = node.wait_for_events(Kind::Deferred, 1);
    let deferred = events.iter().find(|event| event.kind == Kind::Deferred).unwrap();
    assert!(format!("{deferred:?}").contains(&why), "{deferred:?}");
    wait_for("the reason", || {
        let list = node.ask(&["list"]);
        let id = list.lines().nth(1)?.split_whitespace().next()?.to_owned();
        node.ask(&["show", &id]).contains(&why).then_some(())
    });
    assert!(sink.taken().is_empty());
}
