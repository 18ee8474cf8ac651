//! A small DNS, a web server, and this node.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::base::prng::Prng;
use crate::base::time::{Monotonic, WallTime};
use crate::dns::{Answer, Finding as Found, Kind, MxRecord, Name, Question, Records};
use crate::mail::address::Domain;
use crate::mail::tlsa::Tlsa;
use crate::policy::authenticity::Verifier;
use crate::policy::domain_check::{
    DomainCheck, PolicyTrouble, Report, Source, Status, Subject, Topic, Want,
};
use crate::policy::signing::{Algorithm, PrivateKey, Selector, Signer};
use crate::tls::Chain;

pub(super) const POLICY: &str =
    "version: STSv1\nmode: enforce\nmx: mx1.relay.example\nmax_age: 1209600\n";

/// What DNS has, and a web server serves.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) zone: HashMap<(String, Kind), (Found, bool)>,
    pub(super) policy: Result<String, PolicyTrouble>,
    /// In which order questions are answered.
    pub(super) seed: u64,
    /// After so many answers the asker gives up.
    pub(super) patience: usize,
}

/// What is the same in all worlds, since it is dear to make.
struct Kept {
    keys: [Arc<PrivateKey>; 2],
    chain: Chain,
    pem: String,
    verifier: Arc<Verifier>,
}

fn kept() -> &'static Kept {
    static KEPT: OnceLock<Kept> = OnceLock::new();
    KEPT.get_or_init(|| {
        let key = |algorithm| Arc::new(PrivateKey::generate(algorithm).unwrap());
        let names = vec![String::from("mx1.relay.example")];
        let CertifiedKey { cert, .. } = generate_simple_self_signed(names).unwrap();
        let pem = cert.pem();
        let chain = Chain::from_pem(pem.as_bytes()).unwrap();
        let verifier = Arc::new(Verifier::new().unwrap());
        Kept { keys: [key(Algorithm::Rsa), key(Algorithm::Ed25519)], chain, pem, verifier }
    })
}

pub(super) fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

pub(super) fn signer(selector: &str, key: &Arc<PrivateKey>) -> Arc<Signer> {
    Arc::new(Signer {
        domain: domain("news.example"),
        selector: Selector::parse(selector).unwrap(),
        subdomains: false,
        identities: Box::default(),
        tenants: Box::default(),
        key: key.clone(),
    })
}

/// The RSA key and the Ed25519 one, `r` and `e`.
pub(super) fn keys() -> &'static [Arc<PrivateKey>; 2] {
    &kept().keys
}

/// A certificate that is another one's.
pub(super) fn another_chain() -> Chain {
    let CertifiedKey { cert, .. } =
        generate_simple_self_signed(vec![String::from("mx1.relay.example")]).unwrap();
    assert_ne!(cert.pem(), kept().pem);
    Chain::from_pem(cert.pem().as_bytes()).unwrap()
}

/// `news.example`, signed by two keys and sent from two addresses, whose MX host is this node.
pub(super) fn subject() -> Subject {
    let source = |address: &str| Source {
        address: address.parse().unwrap(),
        hello: domain("mx1.relay.example"),
    };
    Subject {
        domain: domain("news.example"),
        sends: true,
        takes: false,
        hostname: domain("relay.example"),
        sources: vec![source("192.0.2.1"), source("2001:db8::1")],
        keys: vec![signer("r", &keys()[0]), signer("e", &keys()[1])],
        addresses: vec!["192.0.2.1".parse().unwrap()],
        certificates: [kept().chain.clone()].into(),
        now: WallTime(1_795_491_661_007),
    }
}

impl World {
    /// In which this node has a name server and a web server, and nothing is published.
    pub(super) fn bare() -> Self {
        let not_served = PolicyTrouble::NotServed("404".into());
        let mut world =
            Self { zone: HashMap::new(), policy: Err(not_served), seed: 0, patience: usize::MAX };
        world.a("relay.example", "192.0.2.1");
        world.a("mta-sts.news.example", "192.0.2.80");
        world
    }

    /// In which all is right.
    pub(super) fn good() -> Self {
        let mut world = Self::bare();
        world.policy = Ok(POLICY.to_owned());
        world.mx("news.example", 10, "mx1.relay.example");
        world.a("mx1.relay.example", "192.0.2.1");
        world.a("mx1.relay.example", "2001:db8::1");
        world.ptr("192.0.2.1", "mx1.relay.example");
        world.ptr("2001:db8::1", "mx1.relay.example");
        let spf = "v=spf1 ip4:192.0.2.0/28 include:_spf.news.example -all";
        world.txt("news.example", &["google-site=1", spf]);
        world.txt("_spf.news.example", &["v=spf1 a:mx1.relay.example -all"]);
        world.txt("mx1.relay.example", &["v=spf1 a -all"]);
        for (selector, key) in ["r", "e"].iter().zip(keys()) {
            world.txt(&format!("{selector}._domainkey.news.example"), &[&key.record()]);
        }
        world.txt("_dmarc.news.example", &["v=DMARC1; p=reject; rua=mailto:d@news.example"]);
        world.txt("_mta-sts.news.example", &["v=STSv1; id=1;"]);
        world.txt("_smtp._tls.news.example", &["v=TLSRPTv1; rua=https://news.example/tls"]);
        world.tlsa("mx1.relay.example", &kept().chain);
        world.vouch();
        world
    }

    /// DNSSEC vouches for all that is there now.
    pub(super) fn vouch(&mut self) {
        self.zone.values_mut().for_each(|(_, vouched)| *vouched = true);
    }

    pub(super) fn set(&mut self, name: &str, kind: Kind, found: Found) {
        self.zone.insert((name.to_owned(), kind), (found, false));
    }

    pub(super) fn remove(&mut self, name: &str, kind: Kind) {
        self.zone.remove(&(name.to_owned(), kind));
    }

    pub(super) fn fail(&mut self, question: &Question) {
        let found = Found::Temporary(format!("{question}: SERVFAIL").into());
        self.set(question.name.as_str(), question.kind, found);
    }

    /// These records and no others.
    pub(super) fn txt(&mut self, name: &str, texts: &[&str]) {
        let texts = texts.iter().map(|text| text.as_bytes().into()).collect();
        self.set(name, Kind::Txt, Found::Records(Records::Txt(texts)));
    }

    pub(super) fn mx(&mut self, name: &str, preference: u16, host: &str) {
        let exchange = Name::parse(host).ok();
        let records = vec![MxRecord { preference, exchange }];
        self.set(name, Kind::Mx, Found::Records(Records::Mx(records)));
    }

    pub(super) fn ptr(&mut self, address: &str, host: &str) {
        let name = Name::reverse_of(address.parse().unwrap());
        let records = Records::Ptr(vec![Name::parse(host).unwrap()]);
        self.set(name.as_str(), Kind::Ptr, Found::Records(records));
    }

    pub(super) fn a(&mut self, name: &str, address: &str) {
        let (kind, records) = match address.parse().unwrap() {
            IpAddr::V4(v4) => (Kind::A, Records::A(vec![v4])),
            IpAddr::V6(v6) => (Kind::Aaaa, Records::Aaaa(vec![v6])),
        };
        self.set(name, kind, Found::Records(records));
    }

    pub(super) fn tlsa(&mut self, host: &str, chain: &Chain) {
        self.tlsa_record(host, chain.record().unwrap());
    }

    pub(super) fn tlsa_record(&mut self, host: &str, record: Tlsa) {
        let name = format!("_25._tcp.{host}");
        self.set(&name, Kind::Tlsa, Found::Records(Records::Tlsa(vec![record])));
    }

    /// Put into the zone what a report prints, and nothing else; its policy is served.
    pub(super) fn publish(&mut self, report: &Report) {
        for finding in &report.findings {
            for record in &finding.publish {
                self.publish_line(&record.to_string(), finding.replaces);
            }
            if let Some(served) = &finding.serve {
                self.policy = Ok(served.text.clone());
            }
        }
        self.vouch();
    }

    fn publish_line(&mut self, line: &str, replaces: bool) {
        let (name, rest) = line.split_once(". IN ").unwrap();
        let (kind, data) = rest.split_once(' ').unwrap();
        match kind {
            "A" | "AAAA" => self.a(name, data),
            "MX" => {
                let (preference, host) = data.split_once(' ').unwrap();
                self.mx(name, preference.parse().unwrap(), host);
            }
            "PTR" => {
                let records = Records::Ptr(vec![Name::parse(data).unwrap()]);
                self.set(name, Kind::Ptr, Found::Records(records));
            }
            "TLSA" => {
                let parts: Vec<&str> = data.split(' ').collect();
                let [usage, selector, matching] = [0, 1, 2].map(|at| parts[at].parse().unwrap());
                let octet = |at: usize| u8::from_str_radix(&parts[3][at..at + 2], 16).unwrap();
                let data = (0..parts[3].len()).step_by(2).map(octet).collect();
                let host = name.strip_prefix("_25._tcp.").unwrap();
                self.tlsa_record(host, Tlsa { usage, selector, matching, data });
            }
            "TXT" => {
                let text: String = data.split('"').skip(1).step_by(2).collect();
                let version = |text: &[u8]| text.iter().take(4).copied().collect::<Vec<_>>();
                let mut texts = match self.zone.get(&(name.to_owned(), Kind::Txt)) {
                    Some((Found::Records(Records::Txt(texts)), _)) => texts.clone(),
                    Some(_) | None => Vec::new(),
                };
                texts.retain(|old| !replaces || version(old) != version(text.as_bytes()));
                texts.push(text.as_bytes().into());
                self.set(name, Kind::Txt, Found::Records(Records::Txt(texts)));
            }
            other => panic!("{other}"),
        }
    }

    fn answer(&self, question: &Question) -> Arc<Answer> {
        let key = (question.name.as_str().to_owned(), question.kind);
        let (finding, authenticated) = self.zone.get(&key).cloned().unwrap_or_else(|| {
            let exists = self.zone.keys().any(|(name, _)| *name == key.0);
            (if exists { Found::NoRecords } else { Found::NoSuchName }, false)
        });
        let expires = Monotonic(u64::MAX);
        Arc::new(Answer { question: question.clone(), finding, authenticated, expires })
    }

    /// Check a domain, answering in this world's order; the report, and all that was asked.
    pub(super) fn check(&self, subject: Subject) -> (Report, Vec<Question>) {
        let mut check = DomainCheck::new(&kept().verifier, subject);
        let mut prng = Prng::from_number(self.seed);
        let mut open = Vec::new();
        let mut asked = HashSet::new();
        let mut order = Vec::new();
        while check.report().is_none() {
            while let Some(want) = check.poll_want() {
                assert!(asked.insert(want.clone()), "{want:?} is asked twice");
                if let Want::Answer(question) = &want {
                    order.push(question.clone());
                }
                open.push(want);
            }
            prng.shuffle(&mut open);
            match open.pop() {
                _ if asked.len() - open.len() > self.patience => check.give_up(),
                Some(Want::Answer(question)) => check.handle_answer(&self.answer(&question)),
                Some(Want::Policy(wanted)) => {
                    let text = self.policy.clone().map(String::into_boxed_str);
                    check.handle_policy(&wanted, text);
                }
                None => panic!("it waits for nothing"),
            }
        }
        assert_eq!(check.poll_want(), None, "nothing is asked after the end");
        (check.report().unwrap().clone(), order)
    }
}

/// All that is to be published.
pub(super) fn lines(report: &Report) -> Vec<String> {
    let records = report.findings.iter().flat_map(|finding| &finding.publish);
    records.map(ToString::to_string).collect()
}

pub(super) fn statuses(report: &Report, topic: Topic) -> Vec<Status> {
    let of_topic = report.findings.iter().filter(|finding| finding.topic == topic);
    of_topic.map(|finding| finding.status).collect()
}
