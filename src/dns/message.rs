//! Write a query that is hard to forge an answer to, and refuse answers to anything else.
//!
//! In: a question; later, bytes that claim to answer it. Out: the query's octets; a [`Reading`].
//! Invariant: nothing of a message is believed before its id, its question (RFC 5452 §9.1) and, by
//! the case of each letter (draft-vixie-dnsext-dns0x20), the guess of a forger are checked. That it
//! came from the server asked is the socket's business: each query has a connected one of its own.

use hickory_proto::op::{Edns, Header, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{self, DNSClass, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::base::limits::DNS_UDP_PAYLOAD_MAX;
use crate::base::prng::Prng;
use crate::dns::answer::{Kind, Question};
use crate::dns::reading::{self, Reading};

/// What must come back with an answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    id: u16,
    /// Fully qualified, each letter's case as it was sent.
    pub(super) name: rr::Name,
    pub(super) kind: Kind,
    /// An OPT record was sent (RFC 6891).
    pub(super) edns: bool,
}

/// Whether the case of a name is chosen at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// Over UDP: up to one more bit a letter that a forger must guess.
    Random,
    /// Over TCP, where there is nothing to guess: servers that fold names are understood too.
    Lower,
}

impl Asked {
    /// A new query for `question`, with a random id.
    pub(super) fn new(question: &Question, case: Case, edns: bool, prng: &mut Prng) -> Self {
        let [low, high, ..] = prng.next_u64().to_le_bytes();
        let name = question.name.to_wire(|| case == Case::Random && prng.below(2) == 1);
        Self { id: u16::from_le_bytes([low, high]), name, kind: question.kind, edns }
    }

    /// The query's octets.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut message = Message::new(self.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        // RFC 6840 §5.7: we understand AD and want to see it; DO would only bring signatures.
        message.metadata.authentic_data = true;
        message.add_query(Query::query(self.name.clone(), record_type(self.kind)));
        if self.edns {
            let mut edns = Edns::new();
            edns.set_max_payload(DNS_UDP_PAYLOAD_MAX);
            message.set_edns(edns);
        }
        message.to_vec().expect("one question of a checked name fits a message")
    }

    /// What `bytes` say to this query; `None` where they do not answer it: garbage, late, forged.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<Reading> {
        let header = self.header_if_ours(bytes)?;
        if header.truncation {
            return Some(Reading::OverTcp);
        }
        match Message::from_vec(bytes) {
            Ok(message) => Some(reading::of(&message, self)),
            Err(_) => Some(Reading::failed("a malformed answer", true)),
        }
    }

    //= RFC 5452 §9.1
    //# A resolver implementation MUST match responses to all of the following attributes of the
    //# query: [...] Query ID [...] Query name [...] Query class and type
    fn header_if_ours(&self, bytes: &[u8]) -> Option<Header> {
        let mut decoder = BinDecoder::new(bytes);
        let header = Header::read(&mut decoder).ok()?;
        let is_response = header.message_type == MessageType::Response
            && header.op_code == OpCode::Query
            && header.id == self.id
            && header.counts.queries == 1;
        if !is_response {
            return None;
        }
        let query = Query::read(&mut decoder).ok()?;
        let same = query.name.eq_case(&self.name)
            && query.query_type == record_type(self.kind)
            && query.query_class == DNSClass::IN;
        same.then_some(header)
    }
}

/// The wire's name for a kind.
pub(super) fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::Mx => RecordType::MX,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Txt => RecordType::TXT,
        Kind::Tlsa => RecordType::TLSA,
        Kind::Ptr => RecordType::PTR,
    }
}
