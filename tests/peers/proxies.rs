//! Proxies in front of the relay: HAProxy, which says PROXY; nginx, which says XCLIENT; and swaks,
//! which says either.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::certificates::Authority;
use super::mail::{message, swaks, transaction};
use super::network::{Network, free_address};
use super::node::Node;
use super::process::{Running, until};
use super::python::{self, talk};
use super::sink::{ALL, Sink};
use crate::tool;

const FROM: &str = "a@a.example";
const TO: &str = "b@b.example";

/// Who may relay; everyone is on loopback.
const FRIEND: &str = "127.0.0.5";

/// A relay whose listeners have these knobs: one each.
fn relay(sink: &Sink, listeners: &[&str], more: &str) -> Node<'static> {
    let mut config = String::from("default_route = \"sink\"\n");
    for knobs in listeners {
        let friends = format!("relay_for = [\"{FRIEND}\", \"2001:db8::5\", \"::1\"]");
        writeln!(config, "[[listener]]\naddress = \"127.0.0.1:0\"\n{friends}\n{knobs}").unwrap();
    }
    let upstream = format!("[[upstream]]\nname = \"sink\"\nhosts = \"{}\"\n", sink.address());
    Node::start(&Network::Shared, &(config + &upstream + more))
}

/// What swaks shows of a message from a client at `from` to `server`.
fn send(server: SocketAddr, from: &str, options: &[&str]) -> String {
    let options = [&["--local-interface", from], options].concat();
    swaks(&Network::Shared, server, FROM, TO, &options, &message(FROM, TO, "hello\r\n")).unwrap()
}

/// Python's client sends a message to the port of `place` from and to `::1`; this is how it begins.
fn talk_to(place: SocketAddr, beginning: &[Value]) {
    let place = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), place.port());
    let content = message(FROM, TO, "hello\r\n");
    let steps = [beginning, &transaction(FROM, &[TO], &[], &content)].concat();
    let replies = talk(&Network::Shared, place, &steps);
    assert!(replies.iter().all(|reply| reply.code < 400), "{replies:?}");
}

/// The first `Received:` of the last of so many messages.
fn received(node: &Node<'_>, sink: &Sink, count: usize) -> String {
    node.wait_until_empty();
    let kept = sink.kept();
    assert_eq!(kept.len(), count);
    let content = String::from_utf8(kept[count - 1].content()).unwrap();
    content.split(';').next().unwrap().to_owned()
}

/// A proxy that runs, and where it takes clients.
struct Proxy {
    process: Running,
    places: Vec<SocketAddr>,
}

impl Proxy {
    /// One with so many places, which may turn out to be taken: then it is tried anew.
    fn start(count: usize, start: impl Fn(&[SocketAddr]) -> Running) -> Self {
        for _ in 0..5 {
            let places: Vec<_> = (0..count).map(|_| free_address()).collect();
            let mut process = start(&places);
            let is_open = until("a proxy that listens or has ended", || {
                let open = places.iter().all(|place| TcpStream::connect(place).is_ok());
                if open { Some(true) } else { (!process.is_alive()).then_some(false) }
            });
            if is_open {
                return Self { process, places };
            }
            eprintln!("the proxy has ended: {}", process.log());
        }
        panic!("no proxy");
    }
}

/// HAProxy in front of a relay: a place for clients for each of the options of its server, which
/// is the listener of that number.
fn haproxy(node: &Node<'_>, servers: &[(usize, &str)], folder: &TempDir) -> Option<Proxy> {
    let program = tool::find("haproxy")?;
    let file = folder.path().join("haproxy.cfg");
    Some(Proxy::start(servers.len(), |places| {
        let timeouts = " timeout connect 5s\n timeout client 60s\n timeout server 60s\n";
        let mut config = format!("defaults\n mode tcp\n{timeouts}");
        for (place, (listener, options)) in places.iter().zip(servers) {
            let (port, server) = (place.port(), node.listener(*listener));
            let place = format!("listen place{port}\n bind {place}\n bind [::1]:{port}\n");
            config += &format!("{place} option smtpchk EHLO haproxy.example\n");
            writeln!(config, " server relay {server} {options}").unwrap();
        }
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(&program);
        Running::start(command.arg("-db").arg("-f").arg(&file), &folder.path().join("log"))
    }))
}

const PROXY: &str = "proxy_from = [\"127.0.0.1\", \"::1\"]";

//= proxy-protocol.txt §2, type=test
//# The receiver is given the client's address by a header of version 1 or 2.
#[test]
fn haproxy_says_who_the_client_is() {
    if tool::find("swaks").is_none() || !python::is_here() {
        return;
    }
    let (sink, folder) = (Sink::start(&Network::Shared, &ALL), tempfile::tempdir().unwrap());
    let node = relay(&sink, &[PROXY], "");
    let servers =
        ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"]
            .map(|options| (0, options));
    let Some(proxy) = haproxy(&node, &servers, &folder) else { return };
    for (number, place) in proxy.places.iter().copied().enumerate() {
        let said = send(place, FRIEND, &[]);
        assert!(said.contains("250 2.0.0 Stored as"), "{said}");
        let trace = received(&node, &sink, 2 * number + 1);
        assert!(trace.starts_with("Received: from client.example ([127.0.0.5])"), "{trace}");
        let said = send(place, "127.0.0.6", &[]);
        assert!(said.contains("550 5.7.1 Relaying denied"), "{said}");
        talk_to(place, &[json!(["ehlo", "client.example"])]);
        let trace = received(&node, &sink, 2 * number + 2);
        assert!(trace.starts_with("Received: from client.example ([IPv6:::1])"), "{trace}");
    }
    let metrics = node.get("metrics").unwrap();
    // `Proxy::start` connects and says nothing; its header came all the same.
    assert!(metrics.contains("\nrelay_fast_proxies_refused_total 0\n"), "{metrics}");
}

//= proxy-protocol.txt §2.2, type=test
//# LOCAL: such connections exist when the proxy sends health-checks.
#[test]
fn haproxy_finds_it_healthy_and_tls_goes_through() {
    if tool::find("swaks").is_none() || !python::is_here() {
        return;
    }
    let authority = Authority::new("an authority");
    authority.write("mx", &["mx.example"]);
    let (sink, folder) = (Sink::start(&Network::Shared, &ALL), tempfile::tempdir().unwrap());
    let listeners = [format!("{PROXY}\ntls = \"require\""), format!("{PROXY}\ntls = \"implicit\"")];
    let listeners = listeners.each_ref().map(String::as_str);
    let node = relay(&sink, &listeners, &authority.section("mx"));
    let servers = [
        (0, "send-proxy-v2 check inter 100ms check-send-proxy"),
        (0, "send-proxy check inter 100ms check-send-proxy"),
        (1, "send-proxy-v2"),
    ];
    let Some(proxy) = haproxy(&node, &servers, &folder) else { return };
    let ehlo = json!(["ehlo", "client.example"]);
    let handshake = |verb: &str| json!([verb, "mx.example", authority.file(), ""]);
    let starttls = [ehlo.clone(), handshake("starttls"), ehlo.clone()];
    let implicit = [handshake("implicit"), ehlo];
    let beginnings = [&starttls[..], &starttls, &implicit];
    for (number, (beginning, place)) in beginnings.into_iter().zip(&proxy.places).enumerate() {
        until("some checks", || {
            let metrics = node.get("metrics")?;
            let sessions = metrics.split("\nrelay_fast_sessions_total ").nth(1)?;
            (sessions.split('\n').next()?.parse::<u32>().ok()? > 20).then_some(())
        });
        talk_to(*place, beginning);
        let trace = received(&node, &sink, number + 1);
        assert!(trace.starts_with("Received: from client.example ([IPv6:::1])"), "{trace}");
        assert!(trace.contains("with ESMTPS id"), "{trace}");
    }
    assert!(!proxy.process.log().contains("DOWN"), "{}", proxy.process.log());
}

#[test]
fn swaks_says_proxy() {
    if tool::find("swaks").is_none() || !python::is_here() {
        return;
    }
    let sink = Sink::start(&Network::Shared, &ALL);
    let node = relay(&sink, &["proxy_from = [\"127.0.0.1\"]"], "");
    let own = ["--proxy-source-port", "99", "--proxy-dest-port", "25"];
    let v4 = ["--proxy-source", FRIEND, "--proxy-dest", "192.0.2.1"];
    let v6 = ["--proxy-source", "2001:db8::5", "--proxy-dest", "2001:db8::1"];
    let cases: [(&str, &str, [&str; 4], &str); 4] = [
        ("1", "TCP4", v4, "[127.0.0.5]"),
        ("1", "TCP6", v6, "[IPv6:2001:db8::5]"),
        ("2", "AF_INET", v4, "[127.0.0.5]"),
        ("2", "AF_INET6", v6, "[IPv6:2001:db8::5]"),
    ];
    for (number, (version, family, addresses, client)) in cases.into_iter().enumerate() {
        let first = ["--proxy-version", version, "--proxy-family", family];
        let said = send(node.listener(0), "127.0.0.1", &[first, addresses, own].concat());
        assert!(said.contains("250 2.0.0 Stored as"), "{said}");
        let trace = received(&node, &sink, number + 1);
        assert!(trace.starts_with(&format!("Received: from client.example ({client})")), "{trace}");
    }
    // Datagrams and sockets of the proxy's machine bring no SMTP; and others are not believed.
    let unix = ["--proxy-version", "2", "--proxy-family", "AF_UNIX"];
    let said = send(node.listener(0), "127.0.0.1", &[unix, v4, own].concat());
    assert!(!said.contains("220 ") && !said.contains("250 "), "{said}");
    let header = ["--proxy", "TCP4 127.0.0.5 192.0.2.1 99 25"];
    let said = send(node.listener(0), "127.0.0.7", &header);
    assert!(said.contains("500 5.5.1 Unknown command") && !said.contains("Stored"), "{said}");
}

const XCLIENT: &str = "xclient_from = [\"127.0.0.1\"]";

//= XCLIENT_README, type=test
//# C: XCLIENT NAME=… ADDR=…  S: 220  C: HELO …
#[test]
fn swaks_says_xclient() {
    if tool::find("swaks").is_none() || !python::is_here() {
        return;
    }
    let authority = Authority::new("an authority");
    authority.write("mx", &["mx.example"]);
    let sink = Sink::start(&Network::Shared, &ALL);
    let knobs = format!("{XCLIENT}\ntls = \"starttls\"");
    let node = relay(&sink, &[&knobs], &authority.section("mx"));
    let attributes = [
        ["--xclient-name", "friend.example"],
        ["--xclient-addr", FRIEND],
        ["--xclient-port", "99"],
        ["--xclient-helo", "friend.example"],
        ["--xclient-proto", "ESMTP"],
        ["--xclient-destaddr", "192.0.2.1"],
        ["--xclient-destport", "25"],
    ]
    .concat();
    let in_two = [&attributes[..4], &["--xclient-delim"], &attributes[4..]].concat();
    for (number, options) in [&attributes, &in_two].into_iter().enumerate() {
        let said = send(node.listener(0), "127.0.0.1", options);
        assert!(said.contains("250 2.0.0 Stored as"), "{said}");
        let trace = received(&node, &sink, number + 1);
        assert!(trace.starts_with("Received: from friend.example ([127.0.0.5])"), "{trace}");
    }
    // Inside TLS as well.
    let ehlo = json!(["ehlo", "proxy.example"]);
    let starttls = json!(["starttls", "mx.example", authority.file(), ""]);
    let xclient = json!(["command", "XCLIENT ADDR=127.0.0.5 HELO=friend.example"]);
    let mut steps = vec![ehlo.clone(), starttls, ehlo.clone(), xclient, ehlo];
    steps.extend(transaction(FROM, &[TO], &[], &message(FROM, TO, "hello\r\n")));
    let replies = talk(&Network::Shared, node.listener(0), &steps);
    assert!(replies.iter().all(|reply| reply.code < 400), "{replies:?}");
    let trace = received(&node, &sink, 3);
    assert!(trace.starts_with("Received: from friend.example ([127.0.0.5])"), "{trace}");
    assert!(trace.contains("with ESMTPS id"), "{trace}");
    let unknown = ["--xclient-addr", "[UNAVAILABLE]", "--xclient-login", "[UNAVAILABLE]"];
    let said = send(node.listener(0), "127.0.0.1", &unknown);
    assert!(said.contains("550 5.7.1 Relaying denied"), "{said}");
    // Whoever is not listed is offered nothing, and not heard either.
    let said = send(node.listener(0), "127.0.0.7", &["--xclient-addr", FRIEND]);
    assert!(said.contains("Host did not advertise XCLIENT"), "{said}");
    let said = send(node.listener(0), "127.0.0.7", &["--xclient", "ADDR=127.0.0.5"]);
    assert!(!said.contains("Stored as"), "{said}");
}

/// What nginx asks where to connect: HTTP, and its answer in header fields.
fn directory(relay: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let (ip, port) = (relay.ip(), relay.port());
            let fields = format!("Auth-Status: OK\r\nAuth-Server: {ip}\r\nAuth-Port: {port}\r\n");
            // It may hang up early; then its client fails, and with it the test.
            let _ = write!(stream, "HTTP/1.0 200 OK\r\n{fields}\r\n");
        }
    });
    address
}

#[test]
fn nginx_says_xclient_and_passes_on_what_its_client_says() {
    let modules = Path::new("/usr/lib/nginx/modules/ngx_mail_module.so");
    let (Some(program), Some(_)) = (tool::find("nginx"), tool::find("swaks")) else { return };
    if !modules.exists() {
        return tool::skip("no mail module of nginx here");
    }
    let sink = Sink::start(&Network::Shared, &ALL);
    let node = relay(&sink, &[XCLIENT], "");
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let directory = directory(node.listener(0));
    let proxy = Proxy::start(1, |places| {
        let config = format!(
            "load_module {};\ndaemon off;\npid nginx.pid;\nerror_log stderr info;\nevents {{}}\n\
             mail {{\n server_name proxy.example;\n auth_http {directory}/;\n server {{\n  \
             listen {};\n  protocol smtp;\n  smtp_auth none;\n  xclient on;\n }}\n}}\n",
            modules.display(),
            places[0]
        );
        std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
        let mut command = Command::new(&program);
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        Running::start(&command, &folder.path().join("log"))
    });
    let place = proxy.places[0];
    let said = send(place, FRIEND, &[]);
    assert!(said.contains("250 2.0.0 Stored as"), "{said}\n{}", proxy.process.log());
    let trace = received(&node, &sink, 1);
    assert!(trace.starts_with("Received: from client.example ([127.0.0.5])"), "{trace}");
    let said = send(place, "127.0.0.6", &[]);
    assert!(said.contains("550 5.7.1 Relaying denied"), "{said}");
}
