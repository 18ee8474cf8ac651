//! Find out whether a stranger is on a block list that DNS serves (RFC 5782).
//!
//! In: who the client is, what it calls itself and who it says sends; answers of name servers. Out:
//! questions to name servers; [`Found`] for each list that it is on. Invariant: a list that cannot
//! be asked, is late, answers with what is no answer of a list, or has on it what no list has on
//! it, has nobody on it. What is known stays known for as long as a session asks for the same.
//! Lives on: the home shard, one a session of a stranger.

mod rests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::base::limits::BLOCK_TEXT_MAX;
use crate::dns::{Answer, Finding, Kind, Name, Question, Records};
use crate::mail::address::{Domain, ForwardPath};
use crate::mail::status::Reply;
use crate::policy::reply;

pub use rests::Rests;

/// A list, and what it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockList {
    /// The zone that it is served in.
    pub zone: Name,
    /// Of what it is.
    pub of: Of,
    /// Addresses that mean that somebody is on it.
    pub answers: Vec<AnswerRange>,
    /// What is done about whoever is.
    pub action: Action,
}

/// What a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Addresses of clients (RFC 5782 §2.1, §2.4).
    Client,
    /// Domains of reverse-paths (§3 of it).
    Sender,
    /// Names that clients call themselves in EHLO.
    Hello,
    /// Domains that URLs in messages lead to.
    Url,
}

/// What is done about who is on a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is told.
    Log,
    /// And none of its recipients is taken.
    Reject,
}

/// Addresses from one to another, both of them included, all of them in 127.0.0.0/8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerRange {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl AnswerRange {
    //= RFC 5782 §2.1
    //# The A record contents conventionally have the value 127.0.0.2, but MAY have other values as
    //# described below in Section 2.3.
    /// What means that somebody is on a list where nobody says otherwise: all of 127.0.0.0/8 but
    /// its ends. Lists answer `127.0.0.1` and `127.255.255.0/24` to whoever may not ask.
    pub const USUAL: Self =
        Self { first: Ipv4Addr::new(127, 0, 0, 2), last: Ipv4Addr::new(127, 254, 255, 255) };

    /// From `first` to `last`, if these are such addresses in this order.
    pub fn new(first: Ipv4Addr, last: Ipv4Addr) -> Option<Self> {
        (first.is_loopback() && last.is_loopback() && first <= last).then_some(Self { first, last })
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }
}

impl fmt::Display for AnswerRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

impl BlockList {
    /// What says so in an answer that somebody is on it, if anything does. Records outside of
    /// 127.0.0.0/8 are none of a list: its domain has a new owner.
    fn hit(&self, answer: &Answer) -> Option<Ipv4Addr> {
        let Finding::Records(Records::A(addresses)) = &answer.finding else { return None };
        let means = |address: &&Ipv4Addr| self.answers.iter().any(|one| one.contains(**address));
        addresses.iter().find(means).copied()
    }

    /// Whether a name is in its zone.
    pub fn serves(&self, name: &Name) -> bool {
        let above = name.as_str().strip_suffix(self.zone.as_str());
        above.is_some_and(|above| above.ends_with('.'))
    }

    /// What it is asked about `text`, if that can be asked.
    fn name(&self, text: &str) -> Option<Name> {
        let is_address = Name::parse(text).ok()?.is_address();
        // An address in the place of a name would be asked for backwards.
        if is_address { None } else { Name::parse(&format!("{text}.{}", self.zone)).ok() }
    }

    //= RFC 5782 §2.1
    //# The entry's name is created by reversing the order of the octets of the text representation
    //# of the IP address, and appending the domain name of the DNSxL.
    //= RFC 5782 §2.4
    //# Each entry's name MUST be a 32-component hex nibble-reversed IPv6 address suffixed by the
    //# DNSxL domain.
    fn name_of(&self, address: IpAddr) -> Option<Name> {
        let reverse = Name::reverse_of(address);
        let digits = reverse.as_str().strip_suffix(".arpa")?.rsplit_once('.')?.0;
        Name::parse(&format!("{digits}.{}", self.zone)).ok()
    }

    //= RFC 5782 §5
    //# IPv4-based DNSxLs MUST NOT contain an entry for 127.0.0.1. […] IPv6-based DNSxLs […] MUST
    //# NOT contain an entry for ::FFFF:7F00:1 […] Domain-name-based DNSxLs […] MUST NOT contain an
    //# entry for the reserved domain name "INVALID".
    /// What is on no list but on one that has everything on it.
    fn proof(&self, client: IpAddr) -> Option<Name> {
        match (self.of, client) {
            (Of::Client, IpAddr::V4(_)) => self.name_of(Ipv4Addr::LOCALHOST.into()),
            (Of::Client, IpAddr::V6(_)) => {
                let mapped: Ipv6Addr = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
                self.name_of(mapped.into())
            }
            (Of::Sender | Of::Hello | Of::Url, _) => self.name("invalid"),
        }
    }
}

/// About whom lists are asked.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The client's address, canonical.
    pub client: IpAddr,
    /// What it calls itself in EHLO.
    pub hello: &'a str,
    /// The domain of the reverse-path, if it has one.
    pub sender: Option<&'a Domain>,
}

/// What somebody is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The list's place among all.
    pub place: usize,
    /// Who is on it: an address, a domain or a name.
    pub who: Box<str>,
    /// What its answer was.
    pub answer: Ipv4Addr,
    /// The list's own words, printable and cut; empty where it has none.
    pub text: Box<str>,
}

/// All lists, asked about one client and what it says.
#[derive(Debug)]
pub struct Inquiry {
    lists: Arc<[BlockList]>,
    /// By list; then those of the message's URLs.
    rows: Vec<Row>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    /// The list's.
    place: usize,
    /// What is asked; `None`: nothing can be.
    name: Option<Name>,
    /// What no list has on it.
    proof: Option<Name>,
    who: Box<str>,
    standing: Standing,
}

#[derive(Clone, Debug, Default)]
enum Standing {
    /// To be asked.
    #[default]
    New,
    /// Asked.
    Open,
    /// It is on the list, by its answer; these are still asked: the list's words, and whether
    /// it has everything on it.
    Doubted { answer: Ipv4Addr, text: Box<str>, text_open: bool, proof_open: bool },
    /// It is on the list; and that was told.
    On { answer: Ipv4Addr, text: Box<str>, is_told: bool },
    /// It is not.
    Off,
}

impl Inquiry {
    /// To those lists.
    pub fn new(lists: Arc<[BlockList]>) -> Self {
        let rows = (0..lists.len()).map(|place| Row { place, ..Row::default() }).collect();
        Self { lists, rows }
    }

    /// The list at a place.
    pub fn list(&self, place: usize) -> &BlockList {
        &self.lists[place]
    }

    /// Whether it is to these lists.
    pub fn is_to(&self, lists: &Arc<[BlockList]>) -> bool {
        Arc::ptr_eq(&self.lists, lists)
    }

    /// Ask about this client and what it says now: what lists are to be asked for that was not.
    /// Those of which `rests` says so are not asked. What URLs led to is forgotten.
    pub fn ask(
        &mut self,
        subject: Subject<'_>,
        rests: impl Fn(&BlockList) -> bool,
    ) -> Vec<Question> {
        self.rows.truncate(self.lists.len());
        for (place, (list, row)) in self.lists.iter().zip(&mut self.rows).enumerate() {
            let (name, who) = match (list.of, subject.sender) {
                (Of::Client, _) => (list.name_of(subject.client), subject.client.to_string()),
                (Of::Hello, _) => (list.name(subject.hello), subject.hello.to_owned()),
                (Of::Sender, Some(domain)) => (list.name(domain.as_str()), domain.to_string()),
                (Of::Sender, None) | (Of::Url, _) => (None, String::new()),
            };
            if name.is_none() || name != row.name {
                let proof = list.proof(subject.client);
                let is_asked = name.is_some() && !rests(list);
                let standing = if is_asked { Standing::New } else { Standing::Off };
                *row = Row { place, name, proof, who: who.into(), standing };
            }
        }
        self.open()
    }

    /// Whether URLs are asked about.
    pub fn asks_for_urls(&self) -> bool {
        self.lists.iter().any(|list| list.of == Of::Url)
    }

    /// Ask about the domains that URLs of the message of this client lead to.
    pub fn ask_urls(
        &mut self,
        domains: &[Box<str>],
        client: IpAddr,
        rests: impl Fn(&BlockList) -> bool,
    ) -> Vec<Question> {
        let lists = self.lists.clone();
        let asked = lists.iter().enumerate();
        for (place, list) in asked.filter(|(_, list)| list.of == Of::Url && !rests(list)) {
            for who in domains.iter().flat_map(|domain| registered(domain)) {
                let name = list.name(who);
                let is_new = self.rows.iter().all(|row| row.place != place || row.name != name);
                if name.is_some() && is_new {
                    let (proof, who) = (list.proof(client), who.into());
                    self.rows.push(Row { place, name, proof, who, standing: Standing::New });
                }
            }
        }
        self.open()
    }

    /// The questions of what is to be asked.
    fn open(&mut self) -> Vec<Question> {
        let mut questions: Vec<Question> = Vec::new();
        for row in &mut self.rows {
            if let (Standing::New, Some(name)) = (&row.standing, &row.name) {
                let question = Question { name: name.clone(), kind: Kind::A };
                row.standing = Standing::Open;
                if !questions.contains(&question) {
                    questions.push(question);
                }
            }
        }
        questions
    }

    /// Name servers have answered, or could not: what else is to be asked then.
    pub fn handle_answer(&mut self, answer: &Answer) -> Vec<Question> {
        let mut questions = Vec::new();
        for row in &mut self.rows {
            questions.extend(row.learn(&self.lists[row.place], answer));
        }
        questions
    }

    /// Nobody will answer this.
    pub fn unanswered(&mut self, question: &Question) {
        for row in &mut self.rows {
            let is_own = row.name.as_ref() == Some(&question.name);
            let is_proof = row.proof.as_ref() == Some(&question.name);
            match row.standing {
                Standing::Open if is_own && question.kind == Kind::A => row.give_up(),
                Standing::Doubted { .. } if is_own || is_proof => row.give_up(),
                Standing::New | Standing::Open | Standing::Doubted { .. } => {}
                Standing::On { .. } | Standing::Off => {}
            }
        }
    }

    /// Whatever is not known by now will not be.
    pub fn give_up(&mut self) {
        self.rows.iter_mut().for_each(Row::give_up);
    }

    /// Whether a list that would have it refused has yet to answer.
    pub fn is_open(&self) -> bool {
        self.rows.iter().any(|row| {
            self.lists[row.place].action == Action::Reject
                && matches!(row.standing, Standing::Open | Standing::Doubted { .. })
        })
    }

    /// The next list that it turned out to be on; each is told once.
    pub fn poll_found(&mut self) -> Option<Found> {
        self.rows.iter_mut().find_map(|row| {
            let place = row.place;
            let Standing::On { answer, text, is_told: told @ false } = &mut row.standing else {
                return None;
            };
            *told = true;
            Some(Found { place, who: row.who.clone(), answer: *answer, text: text.clone() })
        })
    }

    //= RFC 3463 §3.8
    //# X.7.1 Delivery not authorized, message refused
    //= RFC 5321 §4.5.1
    //# SMTP systems are expected to make every reasonable effort to accept mail directed to
    //# Postmaster from any other system on the Internet.
    /// Why none of its mail for this recipient is taken, or not this message; whoever is on a list
    /// by mistake can tell the postmaster.
    pub fn refusal(&self, to: &ForwardPath) -> Option<Reply> {
        if is_postmaster(to) {
            return None;
        }
        let (zone, row, text) = self.rows.iter().find_map(|row| match &row.standing {
            Standing::On { text, .. } if self.lists[row.place].action == Action::Reject => {
                Some((&self.lists[row.place].zone, row, text))
            }
            Standing::New | Standing::Open | Standing::Doubted { .. } => None,
            Standing::On { .. } | Standing::Off => None,
        })?;
        let colon = if text.is_empty() { "" } else { ": " };
        let words = format!("{} is on the block list {zone}{colon}{text}", row.who);
        Some(reply(550, (5, 7, 1), &words))
    }
}

impl Row {
    fn learn(&mut self, list: &BlockList, answer: &Answer) -> Vec<Question> {
        let Question { name, kind } = &answer.question;
        let is_own = self.name.as_ref() == Some(name);
        let is_proof = self.proof.as_ref() == Some(name);
        match &mut self.standing {
            Standing::Open if is_own && *kind == Kind::A => {
                let Some(hit) = list.hit(answer).filter(|_| !is_proof) else {
                    self.standing = Standing::Off;
                    return Vec::new();
                };
                let text = Question { name: name.clone(), kind: Kind::Txt };
                let proof = self.proof.clone().map(|name| Question { name, kind: Kind::A });
                self.standing = Standing::Doubted {
                    answer: hit,
                    text: Box::default(),
                    text_open: true,
                    proof_open: proof.is_some(),
                };
                return [text].into_iter().chain(proof).collect();
            }
            Standing::Doubted { text, text_open, .. } if is_own && *kind == Kind::Txt => {
                *text = words(answer);
                *text_open = false;
            }
            Standing::Doubted { proof_open, .. } if is_proof && *kind == Kind::A => {
                *proof_open = false;
                if list.hit(answer).is_some() {
                    self.standing = Standing::Off;
                }
            }
            Standing::New | Standing::Open | Standing::Doubted { .. } => {}
            Standing::On { .. } | Standing::Off => {}
        }
        if let Standing::Doubted { text_open: false, proof_open: false, .. } = self.standing {
            self.give_up();
        }
        Vec::new()
    }

    /// What is known now is what is known.
    fn give_up(&mut self) {
        self.standing = match std::mem::replace(&mut self.standing, Standing::Off) {
            Standing::New | Standing::Open | Standing::Off => Standing::Off,
            Standing::Doubted { answer, text, .. } => Standing::On { answer, text, is_told: false },
            on @ Standing::On { .. } => on,
        };
    }
}

//= RFC 5782 §2.1
//# The TXT record describes the reason that the IP address is listed in the DNSxL, and is often
//# used as the text of an SMTP error response
/// The names that a list of domains may have of this one: it has what somebody registered, which is
/// two or three labels, as `a.example` or `a.co.example`.
fn registered(domain: &str) -> impl Iterator<Item = &str> {
    let starts = domain.rmatch_indices('.').map(|(at, _)| at + 1).chain([0]);
    starts.skip(1).take(2).map(|at| &domain[at..])
}

/// A list's own words, in one line that is fit for a reply.
fn words(answer: &Answer) -> Box<str> {
    let Finding::Records(Records::Txt(texts)) = &answer.finding else { return "".into() };
    let text = texts.first().map_or(&[][..], |text| &text[..text.len().min(BLOCK_TEXT_MAX)]);
    let printable =
        |octet: &u8| if (b' '..=b'~').contains(octet) { char::from(*octet) } else { '?' };
    text.iter().map(printable).collect::<String>().into()
}

fn is_postmaster(to: &ForwardPath) -> bool {
    match to {
        ForwardPath::Postmaster => true,
        ForwardPath::Mailbox(mailbox) => mailbox.local_part().eq_ignore_ascii_case("postmaster"),
    }
}
