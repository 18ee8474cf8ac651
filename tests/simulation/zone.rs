//! Answer as name servers do: with records, without, with failure, truncated, or not at all.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, MX, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::agenda::Agenda;

const TTL: u32 = 300;

/// What a name is.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    /// MX hosts: preference and name.
    Domain(Vec<(u16, String)>),
    /// RFC 7505.
    NullMx,
    /// Addresses.
    Host(Vec<Ipv4Addr>),
    Alias(String),
}

/// What all name servers know.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    pub(crate) names: BTreeMap<String, Owner>,
    /// These domains, and all below them, get SERVFAIL; until when.
    pub(crate) failing: BTreeMap<String, u64>,
    /// So many questions in a thousand are not answered at all.
    pub(crate) lossy: u64,
    /// So many answers in a thousand over UDP are truncated.
    pub(crate) truncating: u64,
    /// Questions that came.
    pub(crate) asked: u64,
}

impl Zone {
    /// The answer to a query over UDP or TCP.
    pub(crate) fn answer(
        &mut self,
        query: &[u8],
        tcp: bool,
        agenda: &mut Agenda,
    ) -> Option<Vec<u8>> {
        self.asked += 1;
        if agenda.chance(self.lossy) {
            return None;
        }
        let query = Message::from_vec(query).expect("the relay asks in good form");
        let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.metadata.recursion_available = true;
        let asked = query.queries[0].clone();
        message.add_query(asked.clone());
        if !tcp && agenda.chance(self.truncating) {
            message.metadata.truncation = true;
        } else {
            let name = asked.name.to_ascii().to_lowercase();
            self.fill(name.trim_end_matches('.'), asked.query_type, &mut message, agenda.now);
        }
        Some(message.to_vec().expect("small"))
    }

    fn fill(&self, name: &str, kind: RecordType, message: &mut Message, now: u64) {
        let fails = |(domain, until): (&String, &u64)| name.ends_with(&**domain) && now < *until;
        if self.failing.iter().any(fails) {
            message.metadata.response_code = ResponseCode::ServFail;
            return;
        }
        let mut name = name;
        while let Some(Owner::Alias(target)) = self.names.get(name) {
            message.add_answer(record(name, RData::CNAME(CNAME(wire(target)))));
            name = target;
        }
        match (self.names.get(name), kind) {
            (Some(Owner::Domain(hosts)), RecordType::MX) => {
                for (preference, host) in hosts {
                    let data = RData::MX(MX::new(*preference, wire(host)));
                    message.add_answer(record(name, data));
                }
            }
            (Some(Owner::NullMx), RecordType::MX) => {
                let data = RData::MX(MX::new(0, Name::root()));
                message.add_answer(record(name, data));
            }
            (Some(Owner::Host(addresses)), RecordType::A) => {
                for address in addresses {
                    message.add_answer(record(name, RData::A(A(*address))));
                }
            }
            (Some(_), _) => add_soa(message),
            (None, _) => {
                message.metadata.response_code = ResponseCode::NXDomain;
                add_soa(message);
            }
        }
    }
}

fn add_soa(message: &mut Message) {
    let data = SOA::new(wire("ns.example"), wire("root.example"), 1, 2, 3, 4, 60);
    message.add_authority(record("example", RData::SOA(data)));
}

fn record(owner: &str, data: RData) -> Record {
    Record::from_rdata(wire(owner), TTL, data)
}

fn wire(text: &str) -> Name {
    let labels = text.split('.').filter(|label| !label.is_empty());
    Name::from_labels(labels.map(str::as_bytes)).expect("well-formed")
}
