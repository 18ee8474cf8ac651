//! What is known of DNS: the cache that the library asks instead of a name server.
//!
//! In: answers. Out: what the library wants to know, and the questions that it would have to ask.
//! Invariant: `get` always has something to say, so that the library never asks itself.

use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::dmarc::Dmarc;
use mail_auth::hickory_resolver::proto::op::ResponseCode;
use mail_auth::spf::{Macro, Mechanism, Spf};
use mail_auth::{DnsError, DnssecStatus, Error, MX, RecordSet, ResolverCache, SpfResult, Txt};

use crate::base::limits::{SPF_VOID_MAX, VERIFY_QUESTIONS_MAX};
use crate::dns::{Answer, Finding, Kind, MxRecord, Name, Question, Records};
use crate::policy::authenticity::spf_record;

/// Answers of name servers about one message.
#[derive(Debug)]
pub(super) struct Known {
    client: IpAddr,
    answers: HashMap<Question, Arc<Answer>>,
    /// To be asked, in the order in which they came up.
    questions: RefCell<Vec<Question>>,
    asked: RefCell<HashSet<Question>>,
    /// Nothing more is asked.
    closed: Cell<bool>,
    /// Of the SPF check under way: questions that came to nothing.
    voids: RefCell<Option<HashSet<Question>>>,
    /// Of it: some answer was temporary, and the library was told of no records.
    failing: Cell<bool>,
}

/// What is known of a name.
enum State<'a> {
    Records(&'a Records),
    /// There are none; the name may not even exist.
    Nothing(ResponseCode),
    /// Not known now.
    Temporary,
}

impl Known {
    /// Nothing yet.
    pub(super) fn new(client: IpAddr) -> Self {
        Self {
            client,
            answers: HashMap::new(),
            questions: RefCell::default(),
            asked: RefCell::default(),
            closed: Cell::new(false),
            voids: RefCell::default(),
            failing: Cell::new(false),
        }
    }

    /// Keep an answer.
    pub(super) fn learn(&mut self, answer: &Arc<Answer>) {
        self.answers.insert(answer.question.clone(), answer.clone());
    }

    /// Ask nothing more: what is not known is a temporary error.
    pub(super) fn close(&self) {
        self.closed.set(true);
    }

    /// What came up since this was last called.
    pub(super) fn take_questions(&self) -> Vec<Question> {
        self.questions.take()
    }

    /// An SPF check begins.
    pub(super) fn begin_spf(&self) {
        self.voids.replace(Some(HashSet::new()));
        self.failing.set(false);
    }

    /// It has ended: what it came to, where that is not what the library could know.
    pub(super) fn end_spf(&self) -> Option<SpfResult> {
        let voids = self.voids.take().map_or(0, |voids| voids.len());
        if self.failing.get() {
            return Some(SpfResult::TempError);
        }
        (voids > SPF_VOID_MAX).then_some(SpfResult::PermError)
    }

    /// Whether a domain is known not to exist. DMARC asks where a policy tells such domains apart.
    pub(super) fn is_missing(&self, domain: &str) -> bool {
        let name = Name::parse(domain).ok();
        let answer = name.and_then(|name| self.answers.get(&Question { name, kind: Kind::A }));
        answer.is_some_and(|answer| answer.finding == Finding::NoSuchName)
    }

    fn state(&self, name: &str, kind: Kind) -> State<'_> {
        // A macro may make what is no name; nobody has records there.
        let Ok(name) = Name::parse(name) else { return State::Nothing(ResponseCode::NXDomain) };
        self.of(Question { name, kind })
    }

    fn of(&self, question: Question) -> State<'_> {
        let Some(answer) = self.answers.get(&question) else {
            self.note(question);
            return State::Temporary;
        };
        let nothing = match &answer.finding {
            Finding::Records(records) => return State::Records(records),
            Finding::Temporary(_) => return State::Temporary,
            Finding::NoRecords => ResponseCode::NoError,
            Finding::NoSuchName => ResponseCode::NXDomain,
        };
        if let Some(voids) = &mut *self.voids.borrow_mut() {
            voids.insert(question);
        }
        State::Nothing(nothing)
    }

    /// Note a question, unless there were too many.
    fn note(&self, question: Question) {
        let mut asked = self.asked.borrow_mut();
        if !self.closed.get() && asked.len() < VERIFY_QUESTIONS_MAX && !asked.contains(&question) {
            asked.insert(question.clone());
            self.questions.borrow_mut().push(question);
        }
    }

    /// Records that the library takes as a list, without a way to say that they are not known.
    fn list<T>(&self, name: &str, kind: Kind, of: impl Fn(&Records) -> Vec<T>) -> RecordSet<T> {
        let (name, kind) = match name.strip_prefix(EXISTS) {
            Some(name) => (name, Kind::A),
            None => (name, kind),
        };
        match self.state(name, kind) {
            State::Records(records) => set(of(records)),
            State::Nothing(_) => set(Vec::new()),
            State::Temporary => {
                self.failing.set(true);
                set(Vec::new())
            }
        }
    }
}

fn set<T>(records: Vec<T>) -> RecordSet<T> {
    RecordSet { rrset: records.into(), dnssec_status: DnssecStatus::Indeterminate }
}

/// What a record set is made of, whatever it is asked by.
macro_rules! cache {
    ($key:ty, $value:ty, $known:ident, $name:ident => $get:expr) => {
        impl ResolverCache<$key, $value> for Known {
            fn get<Q>(&self, $name: &Q) -> Option<$value>
            where
                $key: Borrow<Q>,
                Q: Hash + Eq + ?Sized,
            {
                let $known = self;
                Some($get)
            }

            fn remove<Q>(&self, _: &Q) -> Option<$value>
            where
                $key: Borrow<Q>,
                Q: Hash + Eq + ?Sized,
            {
                None
            }

            fn insert(&self, _: $key, _: $value, _: Instant) {}
        }
    };
}

cache!(Box<str>, Txt, known, name => known.text(&text_of(name)));
cache!(Box<str>, RecordSet<MX>, known, name => known.list(&text_of(name), Kind::Mx, exchanges));
cache!(Box<str>, RecordSet<Ipv4Addr>, known, name => known.list(&text_of(name), Kind::A, v4));
cache!(Box<str>, RecordSet<Ipv6Addr>, known, name => known.list(&text_of(name), Kind::Aaaa, v6));
// The client's own address is the only one whose names are asked for.
cache!(IpAddr, RecordSet<Box<str>>, known, _name => known.names_of_client());

impl Known {
    fn text(&self, name: &str) -> Txt {
        match self.state(name, Kind::Txt) {
            State::Records(Records::Txt(texts)) => txt(name, texts, self.client),
            State::Records(_) => none(ResponseCode::NoError),
            State::Nothing(code) => none(code),
            State::Temporary => Txt::Error(Error::Dns(DnsError::Resolver("not known now".into()))),
        }
    }

    fn names_of_client(&self) -> RecordSet<Box<str>> {
        let question = Question { name: Name::reverse_of(self.client), kind: Kind::Ptr };
        set(match self.of(question) {
            State::Records(Records::Ptr(names)) => {
                // Without the root's dot: the library compares them so with the target's name.
                names.iter().map(|name| name.as_str().into()).collect()
            }
            //= RFC 7208 §5.5
            //# If a DNS error occurs while doing the PTR RR lookup, then this mechanism fails to
            //# match.
            State::Records(_) | State::Nothing(_) | State::Temporary => Vec::new(),
        })
    }
}

fn exchanges(records: &Records) -> Vec<MX> {
    let exchange = |record: &MxRecord| {
        let host = record.exchange.as_ref()?;
        let exchanges = [format!("{host}.").into()].into();
        Some(MX { preference: record.preference, exchanges })
    };
    if let Records::Mx(records) = records {
        records.iter().filter_map(exchange).collect()
    } else {
        Vec::new()
    }
}

fn v4(records: &Records) -> Vec<Ipv4Addr> {
    if let Records::A(addresses) = records { addresses.clone() } else { Vec::new() }
}

fn v6(records: &Records) -> Vec<Ipv6Addr> {
    match records {
        Records::Aaaa(addresses) => addresses.clone(),
        // See `EXISTS`: any address will do.
        Records::A(addresses) => addresses.iter().map(Ipv4Addr::to_ipv6_mapped).collect(),
        Records::Mx(_) | Records::Txt(_) | Records::Ptr(_) | Records::Tlsa(_) => Vec::new(),
    }
}

/// The text of a name of which nothing is known but that it can be hashed: what it gives the hash.
fn text_of<Q: Hash + ?Sized>(name: &Q) -> String {
    struct Taken(Vec<u8>);
    impl Hasher for Taken {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }
    let mut taken = Taken(Vec::new());
    name.hash(&mut taken);
    // Text is ended by an octet that UTF-8 does not have.
    taken.0.retain(|octet| *octet != 0xff);
    String::from_utf8(taken.0).unwrap_or_default()
}

fn none(code: ResponseCode) -> Txt {
    Txt::Error(Error::Dns(DnsError::RecordNotFound(code)))
}

/// The record that counts of those at a name; which kind it is, its place says.
fn txt(name: &str, texts: &[Box<[u8]>], client: IpAddr) -> Txt {
    if name.starts_with("_report.") || name.contains("._atps.") {
        return none(ResponseCode::NoError);
    }
    if name.contains("._domainkey.") {
        let keys = texts.iter().map(|text| DomainKey::parse(text));
        let right = keys.reduce(|first, second| if first.is_ok() { first } else { second });
        return right.map_or_else(|| none(ResponseCode::NoError), Txt::from);
    }
    let is_dmarc = name.starts_with("_dmarc.");
    let word: &[u8] = if is_dmarc { b"v=DMARC1" } else { b"v=spf1" };
    let mut records = texts.iter().filter(|text| begins(text, word));
    match (records.next(), records.next(), is_dmarc) {
        (None, _, _) => none(ResponseCode::NoError),
        (Some(record), None, true) => Dmarc::parse(record).into(),
        (Some(record), None, false) => {
            let spf = spf_record::clean(record).ok_or(Error::ParseError);
            let spf = spf.and_then(|record| Spf::parse(&record));
            spf.map(|spf| asked_otherwise(spf, client)).into()
        }
        //= RFC 7489 §6.6.3
        //# If the remaining set contains multiple records …, policy discovery terminates and DMARC
        //# processing is not applied to this message.
        (Some(_), Some(_), true) => none(ResponseCode::NoError),
        //= RFC 7208 §4.5
        //# If the resultant record set includes more than one record, check_host() produces the
        //# "permerror" result.
        (Some(_), Some(_), false) => Txt::Error(Error::ParseError),
    }
}

/// The label before the name of an `exists` mechanism; nobody's name begins so.
///
/// The library takes whatever the cache knows of such a name, be it that there are no addresses,
/// for a sign that it exists. So it is asked for `a` with no bit of the address to be the same
/// instead, which matches where there is any; by this label we know that A is meant, whatever the
/// client's family (RFC 7208 §5.7).
const EXISTS: &str = "_relay-fast-exists.";

/// A policy that means the same to the library as it is asked here, without the explanation for
/// people, which nobody gets to see, and without networks of the other family, whose every address
/// it takes for the client's where their length is 0.
fn asked_otherwise(mut spf: Spf, client: IpAddr) -> Spf {
    spf.exp = None;
    let is_others = |mechanism: &Mechanism| match mechanism {
        Mechanism::Ip4 { .. } => client.is_ipv6(),
        Mechanism::Ip6 { .. } => client.is_ipv4(),
        Mechanism::All
        | Mechanism::A { .. }
        | Mechanism::Mx { .. }
        | Mechanism::Include { .. }
        | Mechanism::Ptr { .. }
        | Mechanism::Exists { .. } => false,
    };
    let directives = std::mem::take(&mut spf.directives).into_vec();
    spf.directives =
        directives.into_iter().filter(|directive| !is_others(&directive.mechanism)).collect();
    for directive in &mut spf.directives {
        let Mechanism::Exists { macro_string } = &mut directive.mechanism else { continue };
        let label = Macro::Literal(EXISTS.as_bytes().into());
        let parts = match std::mem::replace(macro_string, Macro::None) {
            Macro::List(parts) => parts.into_vec(),
            part @ (Macro::Literal(_) | Macro::Variable { .. } | Macro::None) => vec![part],
        };
        let macro_string = Macro::List(std::iter::once(label).chain(parts).collect());
        directive.mechanism = Mechanism::A { macro_string, ip4_mask: 0, ip6_mask: 0 };
    }
    spf
}

/// Whether a record begins with this word, in whatever case, and not with a longer one.
fn begins(text: &[u8], word: &[u8]) -> bool {
    let (head, rest) = text.split_at(text.len().min(word.len()));
    head.eq_ignore_ascii_case(word) && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
}
