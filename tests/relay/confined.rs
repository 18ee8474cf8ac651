//! What a relay goes on doing once it is confined and another user: all of it.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use relay_fast::outcome::event::Kind;
use relay_fast::policy::credentials::{self, Salts};
use relay_fast::smtp::sasl::Password;
use rustix::process::Signal;

use crate::certificates::Authority;
use crate::client::{Client, message};
use crate::node::{Node, printed, refusal, run, text, to_upstream, wait_for};
use crate::process::{USER, idle, is_root, user};
use crate::sink::Sink;
use crate::tool;

/// Put `content` in place of a file, as a tool does that renews it; the group of the user may read.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("next");
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o640)).unwrap();
    chown(&new, None, Some(USER.1)).unwrap();
    fs::rename(new, path).unwrap();
}

fn credentials_of(name: &str) -> String {
    let name = credentials::name(name).unwrap();
    let password = Password::prepare(b"secret").unwrap();
    let salts = Salts { argon2: [1; 16], scram: [2; 16], decoys: [3; 32] };
    credentials::put("", &name, &password, None, &salts).unwrap()
}

/// Whether this name can log in.
fn logs_in(address: SocketAddr, name: &str) -> bool {
    use base64::Engine as _;
    let message = base64::engine::general_purpose::STANDARD.encode(format!("\0{name}\0secret"));
    Client::connect(address).say(&format!("AUTH PLAIN {message}")).code == 235
}

/// The certificate that is shown at STARTTLS, as openssl prints it.
fn shown(openssl: &Path, address: SocketAddr) -> String {
    let mut command = Command::new(openssl);
    command.args(["s_client", "-starttls", "smtp", "-connect", &address.to_string()]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----\n").expect("a certificate");
    let (body, _) = rest.split_once("-----END CERTIFICATE-----").unwrap();
    body.to_owned()
}

/// Certificate, key, credentials and signing key of a node, for the user's group.
struct Files {
    folder: PathBuf,
    authority: Authority,
}

impl Files {
    fn new(node: &Node) -> Self {
        let folder = node.folder.path().join("secrets");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        let files = Self { folder, authority: Authority::new("Test CA") };
        files.renew("one");
        let key = ["dkim", "keygen", "a.example", "--selector", "s", "--ed25519", "--out"];
        let made = tempfile::tempdir().unwrap();
        printed(&run(&[&key[..], &[text(made.path())]].concat()));
        let key = fs::read_to_string(made.path().join("a.example.s.pem")).unwrap();
        replace(&files.folder.join("dkim.pem"), &key);
        files
    }

    /// Another certificate with another key, and another name that logs in.
    fn renew(&self, name: &str) {
        self.authority.write(name, &["node.example"]);
        for kind in ["pem", "key"] {
            let made = fs::read_to_string(self.authority.path(&format!("{name}.{kind}"))).unwrap();
            replace(&self.folder.join(format!("node.{kind}")), &made);
        }
        replace(&self.folder.join("credentials"), &credentials_of(name));
    }

    fn config(&self, upstream: &str) -> String {
        let at = |name: &str| self.folder.join(name);
        let listener = "address = \"127.0.0.1:0\"\ntls = \"starttls\"\nauth = \"offer\"\n\
            auth_without_tls = \"allow\"\n";
        let base = to_upstream(upstream, "").replace("address = \"127.0.0.1:0\"\n", listener);
        format!(
            "{}{base}[auth]\ncredentials = {:?}\n[[certificate]]\nfile = {:?}\nkey = {:?}\n\
            [[dkim]]\ndomain = \"a.example\"\nselector = \"s\"\nkey = {:?}\n",
            user(USER),
            at("credentials"),
            at("node.pem"),
            at("node.key"),
            at("dkim.pem")
        )
    }
}

#[test]
fn files_are_read_again_by_the_user_who_was_root() {
    let Some(openssl) = tool::find("openssl").filter(|_| is_root()) else { return };
    let sink = Sink::start();
    let mut node = idle("");
    let files = Files::new(&node);
    node.configure(&files.config(&sink.address.to_string()));
    node.run(2);
    let address = node.listen[0];
    let first = shown(&openssl, address);
    assert!(logs_in(address, "one") && !logs_in(address, "two"));

    // By themselves, when they change; then at a signal.
    files.renew("two");
    wait_for("the new name", || logs_in(address, "two").then_some(()));
    let second = wait_for("the new certificate", || {
        Some(shown(&openssl, address)).filter(|shown| *shown != first)
    });
    files.renew("three");
    node.signal(Signal::HUP);
    node.wait_for_log("reloaded changes=0");
    wait_for("the next name", || logs_in(address, "three").then_some(()));
    assert!(![first, second].contains(&shown(&openssl, address)));

    // What everyone can read is used no more, and what was in force stays so.
    let key = files.folder.join("node.key");
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    node.signal(Signal::HUP);
    node.wait_for_log("node.key can be read by everyone");
    shown(&openssl, address);

    Client::connect(address).send("<a@a.example>", &["<b@b.example>"], &message("signed"));
    let mail = sink.wait(1);
    assert!(mail[0].content.contains("DKIM-Signature: "), "{}", mail[0].content);
    node.drain();
}

#[test]
fn the_spool_grows_and_shrinks() {
    if !is_root() {
        return;
    }
    let mut sink = Sink::start();
    let upstream = sink.address.to_string();
    sink.stop();
    let soon = crate::node::SOON;
    let mut node = idle(&format!("{}{}", user(USER), to_upstream(&upstream, soon)));
    node.run(1);
    let segments = |node: &Node| {
        let names = fs::read_dir(node.spool().join("000")).unwrap();
        names.filter(|name| text(&name.as_ref().unwrap().path()).ends_with(".seg")).count()
    };
    let before = segments(&node);
    let line = "x".repeat(70) + "\r\n";
    let large = format!("Subject: large\r\n\r\n{}", line.repeat(6 * 1024 * 1024 / line.len()));
    let mut client = Client::connect(node.listen[0]);
    for _ in 0..12 {
        client.send("<a@a.example>", &["<b@b.example>"], &large);
    }
    let grown = segments(&node);
    assert!(grown > before, "12 messages of 6 MiB in segments of 16");
    sink.resume();
    node.wait_for_events(Kind::Delivered, 12);
    client.send("<a@a.example>", &["<b@b.example>"], &message("small"));
    wait_for("segments that are free", || (segments(&node) < grown).then_some(()));
    node.drain();
}

#[test]
fn every_secret_that_everyone_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let authority = Authority::new("Test CA");
    authority.write("node", &["node.example"]);
    for (made, name) in [("node.pem", "chain"), ("node.key", "secret")] {
        fs::copy(authority.path(made), path(name)).unwrap();
    }
    let (chain, secret) = (path("chain"), path("secret"));
    fs::create_dir(path("folder")).unwrap();
    fs::set_permissions(path("folder"), Permissions::from_mode(0o700)).unwrap();
    let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), fifo, mode, 0).unwrap();
    for config in [
        format!("[[certificate]]\nfile = {chain:?}\nkey = {secret:?}\n"),
        format!("[[source]]\naddress = \"127.0.0.1\"\ncertificate = {chain:?}\nkey = {secret:?}\n"),
        format!("[[dkim]]\ndomain = \"a.example\"\nselector = \"s\"\nkey = {secret:?}\n"),
        format!("[auth]\ncredentials = {secret:?}\n"),
    ] {
        let file = path("relay.toml");
        fs::write(&file, &config).unwrap();
        let check = || run(&["check", "--config", text(&file), "--spool", "/nowhere"]);
        for mode in [0o604, 0o602, 0o601] {
            fs::set_permissions(&secret, Permissions::from_mode(mode)).unwrap();
            let said = refusal(&check());
            assert!(said.contains("secret can be read by everyone: chmod o="), "{mode:o}: {said}");
        }
        fs::set_permissions(&secret, Permissions::from_mode(0o640)).unwrap();
        let output = check();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("everyone"), "{said}");
        // Neither a folder nor a pipe holds anything up.
        for kind in ["folder", "pipe"] {
            fs::write(&file, config.replace(text(&secret), text(&path(kind)))).unwrap();
            let said = refusal(&check());
            assert!(said.contains(&format!("{kind} is no file")), "{said}");
        }
    }
}
