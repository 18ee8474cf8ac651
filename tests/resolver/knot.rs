//! The resolver against a real name server, Knot DNS on loopback, over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use relay_fast::base::prng::Prng;
use relay_fast::base::time::Monotonic;
use relay_fast::dns::{
    Answer, Finding, Kind, MxLookup, MxOutcome, OwnNames, Records, Resolver, Transmit, Transport,
};
use relay_fast::mail::address::Domain;

use crate::tool;
use crate::world::{options, question, v4};

/// How long a socket may be silent before the resolver is told that the exchange failed.
const PATIENCE: Duration = Duration::from_secs(2);

const ZONE: &str = "\
$ORIGIN example.
$TTL 300
@         SOA  ns root 1 3600 600 86400 60
@         NS   ns
ns        A    127.0.0.1
mail      MX   20 mx2
mail      MX   10 mx1
mx1       A    192.0.2.1
mx1       AAAA 2001:db8::1
mx2       A    192.0.2.2
bare      A    192.0.2.3
null      MX   0 .
alias     CNAME mail
loop      CNAME pool
pool      CNAME loop
dead      MX   10 gone
away      CNAME www.elsewhere.test.
";

struct Knot {
    server: SocketAddr,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Knot {
    /// A server for `ZONE`; `None` where knot is not installed. Its port was free a moment ago, but
    /// may be taken for one of the two transports by now: then another is tried.
    fn start() -> Option<Self> {
        let knotd = tool::find("knotd")?;
        for _ in 0..8 {
            let mut knot = Self::on_some_port(&knotd);
            if knot.answers() {
                return Some(knot);
            }
        }
        panic!("knotd does not answer");
    }

    fn on_some_port(knotd: &std::path::Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        // Free for both transports a moment ago.
        let server = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!(
            "server:\n  rundir: {at}\n  listen: 127.0.0.1@{}\ndatabase:\n  storage: {at}\n\
             zone:\n  - domain: example\n    storage: {at}\n    file: example.zone\n",
            server.port()
        );
        let long = "long TXT \"0123456789012345678901234567890123456789\"\n";
        let many: String =
            (0..100).map(|n| long.replace("TXT \"", &format!("TXT \"{n} "))).collect();
        std::fs::write(folder.path().join("example.zone"), format!("{ZONE}{many}")).unwrap();
        std::fs::write(folder.path().join("knot.conf"), config).unwrap();
        let process = Command::new(knotd)
            .arg("-c")
            .arg(folder.path().join("knot.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { server, process, _folder: folder }
    }

    /// Wait until the zone is served, or the server has given up.
    fn answers(&mut self) -> bool {
        for seed in 0..100 {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            let mut client = Client::new(self.server, seed);
            if client.answer("ns.example", Kind::A).finding == v4(&["127.0.0.1"]) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A resolver whose exchanges are run one after another.
struct Client {
    resolver: Resolver<()>,
    prng: Prng,
    now: Monotonic,
    over_tcp: usize,
}

impl Client {
    fn new(server: SocketAddr, seed: u64) -> Self {
        Self {
            resolver: Resolver::new(options(&[server]), Prng::from_number(seed)),
            prng: Prng::from_number(seed),
            now: Monotonic(0),
            over_tcp: 0,
        }
    }

    fn answer(&mut self, text: &str, kind: Kind) -> Arc<Answer> {
        match self.resolver.lookup(question(text, kind), (), self.now) {
            Some(answer) => answer,
            None => self.run().remove(0),
        }
    }

    fn mail_hosts(&mut self, domain: &str) -> MxOutcome {
        let domain = Domain::parse(domain).unwrap();
        let mut lookup = MxLookup::new(&domain, Arc::new(OwnNames::default()));
        loop {
            let (resolver, prng) = (&mut self.resolver, &mut self.prng);
            if let Some(outcome) = lookup.advance(resolver, prng, (), self.now) {
                return outcome;
            }
            for answer in self.run() {
                lookup.handle_answer(&answer, &mut self.prng);
            }
        }
    }

    /// Run all exchanges to their ends.
    fn run(&mut self) -> Vec<Arc<Answer>> {
        while let Some(transmit) = self.resolver.poll_transmit() {
            let heard = match transmit.transport {
                Transport::Udp => self.over_udp(&transmit),
                Transport::Tcp => self.over_tcp(&transmit),
            };
            if let Err(error) = heard {
                self.resolver.handle_failed(transmit.exchange, &error.to_string(), self.now);
            }
            assert_eq!(self.resolver.poll_closed(), Some(transmit.exchange));
        }
        std::iter::from_fn(|| self.resolver.poll_answer()).map(|(_, answer)| answer).collect()
    }

    fn over_udp(&mut self, transmit: &Transmit) -> std::io::Result<()> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(transmit.server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(&transmit.query)?;
        let mut bytes = [0; 65_535];
        let length = socket.recv(&mut bytes)?;
        self.resolver.handle_datagram(transmit.exchange, &bytes[..length], self.now);
        Ok(())
    }

    fn over_tcp(&mut self, transmit: &Transmit) -> std::io::Result<()> {
        self.over_tcp += 1;
        let mut stream = TcpStream::connect(transmit.server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&transmit.query)?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut bytes)?;
        self.resolver.handle_tcp_bytes(transmit.exchange, &length, self.now);
        for piece in bytes.chunks(100) {
            self.resolver.handle_tcp_bytes(transmit.exchange, piece, self.now);
        }
        Ok(())
    }
}

#[test]
fn a_real_server_is_understood() {
    let Some(knot) = Knot::start() else { return };
    let mut client = Client::new(knot.server, 1);

    for domain in ["mail.example", "alias.example"] {
        let MxOutcome::Hosts(hosts) = client.mail_hosts(domain) else { panic!("{domain}") };
        let listed: Vec<_> = hosts.iter().map(|host| (&*host.name, host.addresses.len())).collect();
        assert_eq!(listed, [("mx1.example", 2), ("mx2.example", 1)], "{domain}");
    }
    let MxOutcome::Hosts(hosts) = client.mail_hosts("bare.example") else { panic!("implicit MX") };
    assert_eq!(*hosts[0].name, *"bare.example");
    assert_eq!(client.mail_hosts("null.example"), MxOutcome::NullMx);
    assert_eq!(client.mail_hosts("gone.example"), MxOutcome::NoSuchDomain);
    assert_eq!(client.mail_hosts("dead.example"), MxOutcome::NoSuchDomain);
    // Its zone is not here: Knot refuses, and so there is no answer now.
    for domain in ["loop.example", "away.example", "www.elsewhere.test"] {
        let outcome = client.mail_hosts(domain);
        assert!(matches!(outcome, MxOutcome::Temporary(_)), "{domain}: {outcome:?}");
    }

    let before = client.over_tcp;
    let answer = client.answer("long.example", Kind::Txt);
    let Finding::Records(Records::Txt(texts)) = &answer.finding else { panic!("texts") };
    assert_eq!((texts.len(), client.over_tcp), (100, before + 1));
    assert_eq!(answer.expires.since(client.now), Duration::from_secs(300));
    let answer = client.answer("ns.example", Kind::Aaaa);
    assert_eq!(answer.finding, Finding::NoRecords);
    assert_eq!(answer.expires.since(client.now), Duration::from_secs(60), "the SOA's minimum");
    assert_eq!(client.resolver.counts().traffic.mismatched, 0);
}
