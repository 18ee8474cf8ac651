//! AUTH at the real program: who may relay, what is bound, reloads, failures.

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use relay_fast::policy::credentials::{self, Salts};
use relay_fast::smtp::sasl::Password;
use rustix::process::Signal;

use crate::client::{Client, message};
use crate::node::{Node, refusal, run, text, wait_for};
use crate::sink::Sink;

/// Add a name to the text of a file of credentials; or change it.
fn with(file: &str, name: &str, password: &str, domains: Option<&str>) -> String {
    let name = credentials::name(name).unwrap();
    let password = Password::prepare(password.as_bytes()).unwrap();
    let salts = Salts { argon2: [1; 16], scram: [2; 16], decoys: [3; 32] };
    credentials::put(file, &name, &password, domains, &salts).unwrap()
}

fn plain(name: &str, password: &str) -> String {
    use base64::Engine as _;
    let message = format!("\0{name}\0{password}");
    format!("AUTH PLAIN {}", base64::engine::general_purpose::STANDARD.encode(message))
}

/// A relay that relays for nobody but those of its file.
struct Guarded {
    node: Node,
    sink: Sink,
}

impl Guarded {
    fn start(credentials: &str, listener: &str) -> Self {
        let mut guarded = Self { node: Node::idle(""), sink: Sink::start() };
        guarded.write(credentials);
        guarded.node.configure(&format!(
            "hostname = \"node.example\"\ndefault_route = \"smart\"\n\
            [spool]\nsegment_size = \"16MiB\"\nreserve = \"16MiB\"\n\
            [[listener]]\naddress = \"127.0.0.1:0\"\nrelay_for = []\n\
            auth_without_tls = \"allow\"\n{listener}\n\
            [auth]\ncredentials = {:?}\n\
            [[upstream]]\nname = \"smart\"\nhosts = \"{}\"\n",
            guarded.file(),
            guarded.sink.address
        ));
        guarded.node.run(2);
        guarded
    }

    fn file(&self) -> std::path::PathBuf {
        self.node.folder.path().join("credentials")
    }

    fn write(&self, credentials: &str) {
        let new = self.node.folder.path().join("credentials.next");
        fs::write(&new, credentials).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    fn connect(&self) -> Client {
        Client::connect(self.node.listen[0])
    }
}

//= RFC 3848 §2, type=test
//# ESMTPA: mail received with ESMTP and SMTP AUTH
#[test]
fn an_identity_sends_to_any_domain_and_as_what_it_is_bound_to() {
    let file = with("", "free", "one", None);
    let file = with(&file, "bound", "two", Some("a.example,.b.example"));
    let guarded = Guarded::start(&file, "auth = \"offer\"");
    let mut stranger = guarded.connect();
    assert_eq!(stranger.envelope("<a@a.example>", &["<c@c.example>"]), [250, 550]);
    let mut free = guarded.connect();
    assert_eq!(free.say(&plain("free", "one")).code, 235);
    free.send("<anyone@else.example>", &["<c@c.example>"], &message("free"));
    let kept = guarded.sink.wait(1);
    assert!(kept[0].content.contains("by node.example with ESMTPA id"), "{}", kept[0].content);
    let mut bound = guarded.connect();
    assert_eq!(bound.say(&plain("bound", "two")).code, 235);
    let refused = bound.say("MAIL FROM:<a@c.example>");
    assert!(refused.code == 553 && refused.text.starts_with("5.7.1 "), "{refused:?}");
    for sender in ["<a@a.example>", "<a@x.b.example>", "<>"] {
        assert_eq!(bound.envelope(sender, &["<c@c.example>"]), [250, 250], "{sender}");
        bound.say("RSET");
    }
    assert_eq!(guarded.node.metric("relay_fast_authentications_total{result=\"succeeded\"}"), 2.0);
}

#[test]
fn nobody_sends_where_everybody_must_say_who_they_are() {
    let guarded = Guarded::start(&with("", "free", "one", None), "auth = \"require\"");
    let mut client = guarded.connect();
    let refused = client.say("MAIL FROM:<a@a.example>");
    assert!(refused.code == 530 && refused.text.starts_with("5.7.0 "), "{refused:?}");
    let failed = client.say(&plain("free", "two"));
    assert!(failed.code == 535 && failed.text.starts_with("5.7.8 "), "{failed:?}");
    assert_eq!(client.say(&plain("nobody", "one")), failed, "no difference is to be seen");
    let log = guarded.node.wait_for_log("authentication failed");
    assert!(log.contains("name=\"free\"") && log.contains("client=127.0.0.1:"), "{log}");
    // What comes behind AUTH waits for its answer, and so does the end of the connection.
    let mail = "MAIL FROM:<a@a.example>\r\nRCPT TO:<c@c.example>\r\nQUIT";
    client.write(format!("{}\r\n{mail}\r\n", plain("free", "one")));
    let codes: Vec<_> = std::iter::from_fn(|| client.try_reply()).map(|reply| reply.code).collect();
    assert_eq!(codes, [235, 250, 250, 221]);
}

#[test]
fn a_file_that_changes_is_read_again_and_a_bad_one_changes_nothing() {
    let first = with("", "first", "one", None);
    let guarded = Guarded::start(&first, "auth = \"offer\"");
    let answers = |name: &str| guarded.connect().say(&plain(name, "one")).code;
    let mut before = guarded.connect();
    assert_eq!(before.say(&plain("first", "one")).code, 235);
    guarded.write("nonsense\n");
    guarded.node.signal(Signal::HUP);
    let line = guarded.node.wait_for_log("not reloaded");
    assert!(line.contains("credentials, line 1, column 1: a line is NAME:VERIFIER"), "{line}");
    assert_eq!(answers("first"), 235);
    guarded.write(&with("", "second", "one", None));
    guarded.node.signal(Signal::HUP);
    guarded.node.wait_for_log("reloaded changes=0");
    wait_for("the new name", || (answers("second") == 235).then_some(()));
    let withdrawn = before.say("MAIL FROM:<a@a.example>");
    assert!(withdrawn.code == 421 && withdrawn.text.starts_with("4.7.0 "), "{withdrawn:?}");
}

#[test]
fn who_guesses_is_slowed_down_alone() {
    let guarded = Guarded::start(&with("", "ours", "one", None), "auth = \"offer\"");
    let from =
        |last: u8| Client::connect_from(IpAddr::from([127, 0, 0, last]), guarded.node.listen[0]);
    assert_eq!(from(9).say(&plain("ours", "one")).code, 235);
    // A shard lets ten fail; there are two of them.
    let codes: Vec<_> =
        (0..21).map(|n| from(2).say(&plain(&format!("name{n}"), "x")).code).collect();
    assert!(codes[..10].iter().all(|code| *code == 535), "{codes:?}");
    assert!(codes.contains(&421), "{codes:?}");
    assert_eq!(from(9).say(&plain("ours", "one")).code, 235, "others are none the worse");
    assert!(guarded.node.metric("relay_fast_authentications_total{result=\"limited\"}") >= 1.0);
}

/// A verifier that takes seconds, of nobody's password.
fn dear() -> String {
    let hash = "c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    format!("dear:$argon2id$v=19$m=262144,t=16,p=1${hash}\n")
}

#[test]
fn checks_that_take_long_hold_up_no_shard_and_more_than_a_few_are_put_off() {
    let guarded = Guarded::start(&dear(), "auth = \"offer\"");
    // Names that nobody has cost as much as the one that somebody has.
    let _clients: Vec<_> = (10..60)
        .map(|last| {
            let from = IpAddr::from([127, 0, 0, last]);
            let mut client = Client::connect_from(from, guarded.node.listen[0]);
            client.write(format!("{}\r\n", plain(&format!("name{last}"), "x")));
            client
        })
        .collect();
    wait_for("some are put off", || {
        let busy = guarded.node.metric("relay_fast_authentications_total{result=\"busy\"}");
        (busy >= 10.0).then_some(())
    });
    let mut other = guarded.connect();
    assert_eq!(other.say("NOOP").code, 250);
}

#[test]
fn a_file_that_is_no_secret_keeps_the_relay_from_starting() {
    let mut node = Node::idle("");
    let file = node.folder.path().join("credentials");
    fs::write(&file, with("", "ours", "one", None)).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    node.configure(&format!(
        "hostname = \"node.example\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
        auth = \"offer\"\nauth_without_tls = \"allow\"\n[auth]\ncredentials = {file:?}\n"
    ));
    let (config, spool) = (node.config_path(), node.spool());
    let check = ["check", "--config", text(&config), "--spool", text(&spool)];
    let refused = refusal(&run(&check));
    assert!(refused.contains("can be read by everyone: chmod o="), "{refused}");
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    assert!(run(&check).status.success());
}
