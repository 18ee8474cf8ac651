//! Make requests of Kafka, and read what brokers answer.
//!
//! In: what is asked, octets of an answer. Out: octets of a request; what was said. The versions
//! that are spoken are those of Kafka 0.11 to 4: each broker is asked whether it speaks them.

use std::collections::BTreeMap;

use crate::base::text::harmless;
use crate::control::exporters::kafka::wire::Writer;
use crate::control::exporters::octets::Reader;

/// Why a broker does not take something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("this is no Kafka: {0}")]
    Foreign(&'static str),
    #[error("the broker does not speak version {} of {:?}", .0.version(), .0)]
    Version(Api),
    #[error("{what}: {}{said}", name(*.code))]
    Code { what: String, code: i16, said: String },
    #[error("the broker takes no {0} login, but {1}")]
    Mechanisms(&'static str, String),
}

impl Trouble {
    /// Whether less might be taken.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, Self::Code { code: 10 | 18, .. })
    }
}

/// What a broker is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Produce,
    Metadata,
    /// Where the broker speaks no newer one: it may make topics that are asked for.
    OldMetadata,
    SaslHandshake,
    Versions,
    SaslAuthenticate,
}

impl Api {
    fn key(self) -> i16 {
        match self {
            Self::Produce => 0,
            Self::Metadata | Self::OldMetadata => 3,
            Self::SaslHandshake => 17,
            Self::Versions => 18,
            Self::SaslAuthenticate => 36,
        }
    }

    fn version(self) -> i16 {
        match self {
            // The first that takes records of magic 2.
            Self::Produce => 3,
            // The first that makes no topic.
            Self::Metadata => 4,
            Self::OldMetadata => 2,
            Self::SaslHandshake => 1,
            Self::Versions | Self::SaslAuthenticate => 0,
        }
    }

    /// A whole request, to which `number` belongs.
    pub(super) fn request(self, number: i32, body: &Writer) -> Vec<u8> {
        let head = Writer::default().int16(self.key()).int16(self.version()).int32(number);
        let mut request = head.string("relay-fast");
        request.0.extend(&body.0);
        Writer::default().bytes(&request.0).0
    }
}

/// How a broker is asked for its cluster, if it speaks what is needed, by what it answered to
/// [`Api::Versions`].
pub(super) fn check_versions(answer: &[u8]) -> Result<Api, Trouble> {
    let reader = &mut Reader::new(answer);
    let code = reader.int16().ok_or(SHORT)?;
    check(code, || "asked for its versions".to_owned())?;
    let range = |r: &mut Reader<'_>| Some((r.int16()?, r.int16()?..=r.int16()?));
    let spoken = reader.array(range).ok_or(SHORT)?;
    let is_spoken = |api: &Api| {
        spoken.iter().any(|(key, range)| *key == api.key() && range.contains(&api.version()))
    };
    if !is_spoken(&Api::Produce) {
        return Err(Trouble::Version(Api::Produce));
    }
    let known = [Api::Metadata, Api::OldMetadata].into_iter().find(is_spoken);
    known.ok_or(Trouble::Version(Api::Metadata))
}

/// Which brokers there are, and which partitions topics have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cluster {
    /// Host and port, by number.
    pub(super) brokers: BTreeMap<i32, (String, u16)>,
    /// The number of each partition's leader; there is a partition at least.
    pub(super) topics: BTreeMap<String, Vec<i32>>,
}

/// Ask for [`Api::Metadata`], or the older one, of topics.
pub(super) fn metadata<'t>(api: Api, topics: impl ExactSizeIterator<Item = &'t str>) -> Writer {
    let count = Writer::default().array(topics.len());
    let all = topics.fold(count, Writer::string);
    // None is to be made.
    if api == Api::Metadata { all.int8(0) } else { all }
}

/// What was answered to that.
pub(super) fn cluster(api: Api, answer: &[u8]) -> Result<Cluster, Trouble> {
    let reader = &mut Reader::new(answer);
    if api == Api::Metadata {
        let _throttled = reader.int32().ok_or(SHORT)?;
    }
    let (brokers, topics) = read_cluster(reader).ok_or(SHORT)?;
    let mut cluster = Cluster::default();
    for (number, host, port) in brokers {
        let port = u16::try_from(port).map_err(|_| Trouble::Foreign("a broker without a port"))?;
        cluster.brokers.insert(number, (harmless(&host, ' '), port));
    }
    for (code, topic, partitions) in topics {
        check(code, || format!("topic `{topic}`"))?;
        let mut leaders = vec![-1; partitions.len()];
        for (place, leader) in partitions {
            let place = usize::try_from(place).ok().and_then(|place| leaders.get_mut(place));
            *place.ok_or(Trouble::Foreign("partitions that are not numbered"))? = leader;
        }
        if leaders.is_empty() {
            return Err(Trouble::Foreign("a topic without a partition"));
        }
        cluster.topics.insert(topic, leaders);
    }
    Ok(cluster)
}

type Broker = (i32, String, i32);
type Topic = (i16, String, Vec<(i32, i32)>);

fn read_cluster(reader: &mut Reader<'_>) -> Option<(Vec<Broker>, Vec<Topic>)> {
    let brokers = reader.array(|r| {
        let broker = (r.int32()?, r.string()?, r.int32()?);
        let _rack = r.string()?;
        Some(broker)
    })?;
    let (_cluster, _controller) = (reader.string()?, reader.int32()?);
    let topics = reader.array(|r| {
        let (code, name, _is_internal) = (r.int16()?, r.string()?, r.int8()?);
        let partitions = r.array(|r| {
            let (_code, place, leader) = (r.int16()?, r.int32()?, r.int32()?);
            let (_replicas, _in_sync) = (r.array(Reader::int32)?, r.array(Reader::int32)?);
            Some((place, leader))
        })?;
        Some((code, name, partitions))
    })?;
    Some((brokers, topics))
}

/// Batches of records, by topic and partition.
pub(super) type Batches = BTreeMap<String, BTreeMap<usize, Vec<u8>>>;

/// Ask for [`Api::Produce`]: taken once all replicas in sync have it, in so many milliseconds.
pub(super) fn produce(batches: &Batches, timeout_ms: i32) -> Writer {
    // No transaction, all replicas.
    let head = Writer::default().int16(-1).int16(-1).int32(timeout_ms).array(batches.len());
    batches.iter().fold(head, |all, (topic, partitions)| {
        let all = all.string(topic).array(partitions.len());
        partitions.iter().fold(all, |all, (place, records)| {
            let place = i32::try_from(*place).expect("a partition that the cluster numbered");
            all.int32(place).bytes(records)
        })
    })
}

/// Whether all of `batches` was taken.
pub(super) fn check_produced(answer: &[u8], batches: &Batches) -> Result<(), Trouble> {
    let partition = |r: &mut Reader<'_>| {
        let told = (r.int32()?, r.int16()?);
        let (_offset, _time) = (r.int64()?, r.int64()?);
        Some(told)
    };
    let topic = |r: &mut Reader<'_>| Some((r.string()?, r.array(partition)?));
    let told = Reader::new(answer).array(topic).ok_or(SHORT)?;
    let mut taken = 0;
    for (topic, partitions) in &told {
        for (place, code) in partitions {
            check(*code, || format!("partition {place} of `{topic}`"))?;
            let asked = batches.get(topic).zip(usize::try_from(*place).ok());
            taken += usize::from(asked.is_some_and(|(all, place)| all.contains_key(&place)));
        }
    }
    match taken == batches.values().map(BTreeMap::len).sum::<usize>() {
        true => Ok(()),
        false => Err(Trouble::Foreign("an answer about other partitions")),
    }
}

/// Whether a broker takes a login by `mechanism`.
pub(super) fn check_mechanism(answer: &[u8], mechanism: &'static str) -> Result<(), Trouble> {
    let reader = &mut Reader::new(answer);
    let (code, all) = (reader.int16().ok_or(SHORT)?, reader.array(Reader::string));
    match code {
        33 => {
            let all = harmless(&all.ok_or(SHORT)?.join(", "), ' ');
            Err(Trouble::Mechanisms(mechanism, all))
        }
        code => check(code, || format!("login by {mechanism}")),
    }
}

/// Whether a login is taken.
pub(super) fn check_login(answer: &[u8]) -> Result<(), Trouble> {
    let reader = &mut Reader::new(answer);
    let (code, said) = (reader.int16().ok_or(SHORT)?, reader.string().ok_or(SHORT)?);
    match code {
        0 => Ok(()),
        code => {
            let said = if said.is_empty() { said } else { format!(": {}", harmless(&said, ' ')) };
            Err(Trouble::Code { what: "login".to_owned(), code, said })
        }
    }
}

const SHORT: Trouble = Trouble::Foreign("an answer that ends too early");

fn check(code: i16, what: impl FnOnce() -> String) -> Result<(), Trouble> {
    match code {
        0 => Ok(()),
        code => {
            let what = harmless(&what(), ' ');
            Err(Trouble::Code { what, code, said: String::new() })
        }
    }
}

/// What Kafka's documentation calls an error.
fn name(code: i16) -> String {
    let name = match code {
        2 => "CORRUPT_MESSAGE",
        3 => "UNKNOWN_TOPIC_OR_PARTITION",
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        7 => "REQUEST_TIMED_OUT",
        10 => "MESSAGE_TOO_LARGE",
        17 => "INVALID_TOPIC_EXCEPTION",
        18 => "RECORD_LIST_TOO_LARGE",
        19 => "NOT_ENOUGH_REPLICAS",
        20 => "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        29 => "TOPIC_AUTHORIZATION_FAILED",
        31 => "CLUSTER_AUTHORIZATION_FAILED",
        32 => "INVALID_TIMESTAMP",
        34 => "ILLEGAL_SASL_STATE",
        35 => "UNSUPPORTED_VERSION",
        44 => "POLICY_VIOLATION",
        56 => "KAFKA_STORAGE_ERROR",
        58 => "SASL_AUTHENTICATION_FAILED",
        87 => "INVALID_RECORD",
        _ => return format!("error {code}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests;
