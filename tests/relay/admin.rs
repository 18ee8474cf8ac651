//! Who may ask a node, at the real program: Unix sockets, tokens, certificates, names, pages.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use relay_fast::base::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_HEAD_MAX};
use rustix::process::Signal;

use crate::certificates::Authority;
use crate::client::send;
use crate::node::{BINARY, Node, SOON, printed, refusal, run, text, to_upstream, wait_for};
use crate::process::{USER, idle, is_root, user};
use crate::tool;

const SECRET: &str = "0123456789abcdef-0123456789abcdef";

/// A relay whose next hop is not there, with these knobs of `[admin]`, at the addresses that they
/// name.
fn start(mut node: Node, more: &str, admin: &str) -> Node {
    let upstream = to_upstream("127.0.0.1:1", &format!("{SOON}[admin]\n{admin}"));
    node.configure(&format!("{more}{upstream}"));
    let command = node.command_as_configured(1);
    node.run_ahead(command);
    node
}

/// `relay-fast queue …` by the node's own configuration.
fn queue(node: &Node, words: &[&str]) -> Output {
    let config = node.config_path();
    let spool = node.spool();
    let flags = ["--config", text(&config), "--spool", text(&spool)];
    run(&[&["queue"], words, &flags].concat())
}

fn write_token(node: &Node, token: &str) -> PathBuf {
    let path = node.folder.path().join("token");
    let new = path.with_extension("new");
    fs::write(&new, format!("{token}\n")).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, &path).unwrap();
    path
}

/// What is said over a connection, and all that is answered until it is closed.
fn talk(mut stream: impl Read + Write, words: &str) -> String {
    stream.write_all(words.as_bytes()).unwrap();
    let mut answer = String::new();
    // A reset ends it as well: what was not read of the question is the reason.
    drop(stream.read_to_string(&mut answer));
    answer
}

/// The status that a request to `address` gets.
fn status(address: SocketAddr, request: &str, headers: &[&str]) -> u16 {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let words = format!("{request} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    let answer = talk(TcpStream::connect(address).unwrap(), &words);
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap()
}

#[test]
fn a_unix_socket_is_for_its_owner_alone_and_outlives_a_crash() {
    let node = Node::idle("");
    let path = node.folder.path().join("run/admin.sock");
    let mut node = start(node, "", &format!("listen = [\"unix:{}\"]\n", text(&path)));
    node.wait_for_log(&format!("admin=unix:{}", text(&path)));
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    send(node.listen[0], "<a@a.example>", &["<b@b.example>"], "waits");
    assert!(printed(&queue(&node, &["list"])).contains("b@b.example"));
    assert_eq!(printed(&queue(&node, &["hold", "--all"])), "1 recipient held\n");
    assert!(printed(&queue(&node, &["list"])).contains("held"));
    let answer = talk(
        UnixStream::connect(&path).unwrap(),
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");
    let evil = talk(
        UnixStream::connect(&path).unwrap(),
        "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    );
    assert!(evil.starts_with("HTTP/1.1 421 "), "{evil}");

    let flag = format!("unix:{}", text(&path));
    assert!(printed(&run(&["queue", "stats", "--admin", &flag])).contains("held"));
    let other = Node::idle("");
    let mut second = other.command_as_configured(1);
    let said = refusal(&second.args(["--admin", &flag]).output().unwrap());
    assert!(said.contains("somebody listens there already"), "{said}");
    node.kill();
    assert!(path.exists());
    let nobody = refusal(&queue(&node, &["stats"]));
    assert!(nobody.contains(&format!("no node answers on {flag}")), "{nobody}");
    let again = node.command_as_configured(1);
    node.run_ahead(again);
    wait_for("its queue", || printed(&queue(&node, &["list"])).contains("held").then_some(()));
}

#[test]
fn a_unix_socket_is_the_users_and_its_groups() {
    let Some(setpriv) = tool::find("setpriv").filter(|_| is_root()) else { return };
    let Some(curl) = tool::find("curl") else { return };
    let node = idle("");
    let path = node.folder.path().join("run/admin.sock");
    let listen = format!("listen = [\"unix:{}\"]\n", text(&path));
    // As (user, group), with no other group: curl's exit code.
    let ask = |uid: u32, gid: u32| {
        let mut command = Command::new(&setpriv);
        command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
        command.arg("--clear-groups").arg(&curl).args(["-sf", "--unix-socket", text(&path)]);
        command.arg("http://localhost/metrics").output().unwrap().status.code()
    };
    let mut node = start(node, &user(USER), &listen);
    let made = fs::metadata(&path).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (USER.0, USER.1, 0o600));
    // 7: it could not connect.
    assert_eq!((ask(USER.0, 1), ask(1, USER.1), ask(1, 1)), (Some(0), Some(7), Some(7)));
    assert!(printed(&queue(&node, &["stats"])).contains("messages"));
    node.drain();

    let mut node = start(node, &user(USER), &format!("{listen}group = \"daemon\"\n"));
    let made = fs::metadata(&path).unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (USER.0, 1, 0o660));
    assert_eq!((ask(USER.0, 0), ask(2, 1), ask(2, 2)), (Some(0), Some(0), Some(7)));
    node.drain();

    node.configure(&format!("[admin]\n{listen}group = \"no-such-group-here\"\n"));
    let said = refusal(&node.command_as_configured(1).output().unwrap());
    assert!(said.contains("there is no group no-such-group-here"), "{said}");
}

#[test]
fn beyond_loopback_a_token_is_said() {
    let mut node = Node::idle("[admin]\nlisten = [\"0.0.0.0:0\"]\n");
    let said = refusal(&node.command_as_configured(1).output().unwrap());
    assert!(said.contains("0.0.0.0:0 can be reached by other machines"), "{said}");
    let token = write_token(&node, SECRET);
    let admin = format!("listen = [\"0.0.0.0:0\"]\ntoken = {token:?}\n");
    for (mode, content, words) in [
        (0o604, SECRET, "can be read by everyone"),
        (0o600, "short", "a token has 24 to 512 octets, not 5"),
        (0o600, "spaces are not for a token, no", "a token is one line of letters"),
    ] {
        fs::write(&token, content).unwrap();
        fs::set_permissions(&token, Permissions::from_mode(mode)).unwrap();
        node.configure(&format!("[admin]\n{admin}"));
        for mut command in [node.command_as_configured(1), {
            let mut check = Command::new(BINARY);
            check.args(["check", "--spool", "/nowhere", "--config"]).arg(node.config_path());
            check
        }] {
            let said = refusal(&command.output().unwrap());
            let said = said.lines().last().unwrap();
            assert!(said.contains(text(&token)) && said.contains(words), "{said}");
        }
    }
    write_token(&node, SECRET);
    let node = start(node, "", &admin);
    node.wait_for_log("the admin token crosses the network in clear");
    let address: SocketAddr = format!("127.0.0.1:{}", node.admin.port()).parse().unwrap();
    let ask = |said: &str| status(address, "GET /metrics", &["Host: localhost", said]);
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    assert_eq!(ask(&bearer(SECRET)), 200);
    assert_eq!((ask(&bearer(&SECRET[1..])), ask("X: y")), (401, 401));
    let post =
        |said: &str| status(address, "POST /v1/queue/flush?all=true", &["Host: localhost", said]);
    assert_eq!((post("X: y"), post(&bearer(SECRET))), (401, 200));
    let by_address = format!("{}:{}", node.admin.ip(), node.admin.port());
    assert_eq!(by_address, node.admin.to_string());
    let flags = ["--admin", &by_address];
    let told = refusal(&run(&[&["queue", "stats"], &flags[..]].concat()));
    assert!(told.contains("can be reached by other machines"), "{told}");
    let by_flag = |verb: &str| queue(&node, &[&[verb], &flags[..]].concat());
    assert!(printed(&by_flag("stats")).contains("messages"), "with the token of the configuration");

    // Another token is in force once it is there.
    let renewed = format!("{SECRET}-renewed");
    write_token(&node, &renewed);
    node.signal(Signal::HUP);
    wait_for("the new token", || (ask(&bearer(&renewed)) == 200).then_some(()));
    assert_eq!(ask(&bearer(SECRET)), 401);
    assert!(printed(&by_flag("stats")).contains("messages"));
    // One that is none changes nothing.
    write_token(&node, "none");
    node.signal(Signal::HUP);
    node.wait_for_log("a token has 24 to 512 octets, not 4");
    assert_eq!(ask(&bearer(&renewed)), 200);
}

#[test]
fn on_loopback_a_token_can_be_asked_for() {
    let node = Node::idle("");
    let token = write_token(&node, SECRET);
    let admin = format!("listen = [\"127.0.0.1:0\"]\ntoken = {token:?}\n");
    let node = start(node, "", &admin);
    assert_eq!(status(node.admin, "GET /healthz", &["Host: localhost"]), 401);
    let admin = node.admin.to_string();
    assert!(printed(&queue(&node, &["stats", "--admin", &admin])).contains("messages"));
    let without = refusal(&run(&["queue", "stats", "--admin", &admin]));
    assert!(without.contains("say the token"), "{without}");
}

#[test]
fn tokens_have_roles() {
    let node = Node::idle("");
    let folder = node.folder.path().to_owned();
    let write = |name: &str, content: &str| {
        let path = folder.join(name);
        fs::write(&path, format!("{content}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    };
    let secret = |name: &str| format!("{SECRET}-{name}");
    let token = |name: &str, more: &str| {
        let file = write(name, &secret(name));
        format!("[[token]]\nname = {name:?}\nfile = {file:?}\n{more}")
    };
    let tokens = token("reads", "")
        + &token("hands-in", "role = \"inject\"\ntenant = \"acme\"\n")
        + &token("operates", "role = \"operate\"\n");
    let admin = format!("listen = [\"127.0.0.1:0\"]\n{tokens}");
    let mut node = start(node, "", &admin);
    let admin = node.admin;
    let ask = |request: &str, name: &str| {
        let said = format!("Authorization: Bearer {}", secret(name));
        status(admin, request, &["Host: localhost", &said])
    };
    for (request, expected) in [
        ("GET /metrics", [200, 403, 200]),
        ("GET /v1/queue/list", [200, 403, 200]),
        ("POST /v1/queue/flush?all=true", [403, 403, 200]),
        ("POST /v1/shaping/reset?site=a.example", [403, 403, 409]),
        ("GET /queue/list", [404; 3]),
        ("PUT /v1/queue/list", [405; 3]),
    ] {
        let told = ["reads", "hands-in", "operates"].map(|name| ask(request, name));
        assert_eq!(told, expected, "{request}");
    }
    assert_eq!((ask("GET /metrics", "other"), ask("GET /nothing", "other")), (401, 401));
    node.wait_for_log("an operator's request by=\"operates\" status=200");
    // The command line says the one that may do everything.
    let by_flag = queue(&node, &["stats", "--admin", &admin.to_string()]);
    assert!(printed(&by_flag).contains("messages"));
    // Two files with the same content would be one token with two roles.
    write("reads", &secret("operates"));
    node.signal(Signal::HUP);
    node.wait_for_log("another file has the same token");
    assert_eq!(ask("GET /metrics", "reads"), 200, "nothing has changed");
    node.drain();
}

/// curl to the node by its name, with the authority's trust; its exit code and what it printed.
fn curl(authority: &Authority, port: u16, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(tool::find("curl").unwrap());
    command.args(["-s", "--max-time", "30", "--cacert", &authority.file()]);
    command.args(["--resolve", &format!("node.example:{port}:127.0.0.1")]).args(more);
    let output = command.arg(format!("https://node.example:{port}/metrics")).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn beyond_loopback_a_certificate_is_shown() {
    if tool::find("curl").is_none() {
        return;
    }
    let (servers, clients) = (Authority::new("Servers"), Authority::new("Clients"));
    servers.write("node", &["node.example"]);
    servers.write("stranger", &["stranger.example"]);
    clients.write("operator", &["operator.example"]);
    let admin = format!(
        "listen = [\"0.0.0.0:0\"]\ncertificate = {:?}\nkey = {:?}\nclient_ca = {:?}\n",
        servers.path("node.pem"),
        servers.path("node.key"),
        clients.file()
    );
    let node = start(Node::idle(""), "", &admin);
    let port = node.admin.port();
    let shown = |authority: &Authority, name: &str| {
        let (file, key) =
            (authority.path(&format!("{name}.pem")), authority.path(&format!("{name}.key")));
        curl(&servers, port, &["--cert", &file, "--key", &key])
    };
    let (code, said) = shown(&clients, "operator");
    assert!(code == Some(0) && said.starts_with("# HELP "), "{code:?} {said}");
    for (code, said) in [shown(&servers, "stranger"), curl(&servers, port, &[])] {
        assert!(code != Some(0) && said.is_empty(), "{code:?} {said}");
    }
    let address: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let clear = talk(
        TcpStream::connect(address).unwrap(),
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert!(!clear.contains("HTTP"), "{clear:?}");
    let told = refusal(&queue(&node, &["stats"]));
    assert!(told.contains("every admin address of this node wants TLS"), "{told}");

    // Another certificate, at a signal: who trusts the old authority alone is told.
    clients.write("node", &["node.example"]);
    for kind in ["pem", "key"] {
        let name = format!("node.{kind}");
        fs::rename(clients.path(&name), servers.path(&name)).unwrap();
    }
    node.signal(Signal::HUP);
    node.wait_for_log("reloaded changes=0");
    wait_for("the new certificate", || (shown(&clients, "operator").0 == Some(60)).then_some(()));
}

#[test]
fn no_page_reaches_the_queue() {
    let admin = "listen = [\"127.0.0.1:0\"]\nhosts = [\"relay.example\"]\n";
    let node = start(Node::idle(""), "", admin);
    send(node.listen[0], "<a@a.example>", &["<b@b.example>"], "stays");
    let remove = "/v1/queue/remove?all=true";
    let ask = |request: &str, headers: &[&str]| status(node.admin, request, headers);
    let post = format!("POST {remove}");
    for host in ["evil.example", "192.0.2.1", "localhost.evil.example", "node.example.evil"] {
        let host = format!("Host: {host}");
        assert_eq!((ask("GET /metrics", &[&host]), ask(&post, &[&host])), (421, 421), "{host}");
    }
    assert_eq!(ask("GET /metrics", &[]), 400);
    for host in ["relay.example:80", "node.example", "127.0.0.1", "[::1]:8025", "LOCALHOST"] {
        assert_eq!(ask("GET /metrics", &[&format!("Host: {host}")]), 200, "{host}");
    }
    let local = "Host: localhost:8025";
    for page in ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"] {
        assert_eq!(ask(&post, &[local, page]), 403, "{page}");
    }
    for form in ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded"] {
        assert_eq!(ask(&post, &[local, &format!("Content-Type: {form}")]), 415, "{form}");
    }
    for verb in ["flush", "hold", "release", "remove"] {
        let path = format!("/v1/queue/{verb}?all=true");
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            assert_eq!(ask(&format!("{method} {path}"), &[local]), 405, "{method} {path}");
        }
        let words = format!("GET {path} HTTP/1.1\r\n{local}\r\nConnection: close\r\n\r\n");
        let answer = talk(TcpStream::connect(node.admin).unwrap(), &words);
        assert!(answer.to_lowercase().contains("\r\nallow: post\r\n"), "{answer}");
    }
    for path in ["/healthz", "/metrics", "/v1/queue/list", "/v1/queue/stats"] {
        assert_eq!(ask(&format!("POST {path}"), &[local]), 405, "{path}");
    }
    let list = node.ask(&["list"]);
    assert!(list.contains("b@b.example") && !list.contains("held"), "{list}");
    assert_eq!(ask(&post, &[local, "Origin: http://localhost:8025"]), 200, "a page of its own");
    assert!(node.ask(&["list"]).contains("0 recipients listed"));
}

#[test]
fn clients_that_hang_are_cut_and_keep_nobody_out_elsewhere() {
    let node = Node::idle("");
    let path = node.folder.path().join("admin.sock");
    let listen = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]\n", text(&path));
    let node = start(node, "", &listen);
    let connect = || {
        let stream = TcpStream::connect(node.admin).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    };
    let full = "x".repeat(ADMIN_HEAD_MAX);
    let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {full}\r\n\r\n");
    assert!(talk(connect(), &head).starts_with("HTTP/1.1 431 "));
    let fields = "X: y\r\n".repeat(100);
    let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    assert!(talk(connect(), &head).starts_with("HTTP/1.1 431 "));
    // Some say nothing, some half of it, some ask and then leave it at that.
    let hanging: Vec<_> = (0..ADMIN_CONNECTIONS_MAX)
        .map(|number| {
            let mut stream = connect();
            let said = ["", "GET /healthz HT", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"];
            stream.write_all(said[number % 3].as_bytes()).unwrap();
            stream
        })
        .collect();
    assert!(printed(&queue(&node, &["stats"])).contains("messages"), "at the other address");
    for mut stream in hanging {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("it is closed");
    }
    assert!(node.get("/healthz").1.contains("ok"));
    let endless = "POST /v1/queue/flush?all=true HTTP/1.1\r\nHost: localhost\r\n\
        Content-Length: 1000000000000\r\n\r\n";
    assert!(talk(connect(), endless).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_socket_that_somebody_lays_there_is_not_taken() {
    let node = Node::idle("");
    let precious = node.folder.path().join("precious");
    fs::write(&precious, "content").unwrap();
    let path = |name: &str| node.folder.path().join(name);
    std::os::unix::fs::symlink(&precious, path("link")).unwrap();
    for name in ["precious", "link"] {
        let at: &Path = &path(name);
        let mut command = node.command_as_configured(1);
        let said = command.args(["--admin", &format!("unix:{}", text(at))]).output().unwrap();
        let said = refusal(&said);
        assert!(said.contains("something is there that is no socket"), "{said}");
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "content");
}
