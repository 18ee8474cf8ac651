//! Publish events to a topic of Kafka, each one in all replicas that are in sync.
//!
//! In: batches. Out: records; whether the leaders of their partitions have them. The events of one
//! shard of one node have one key, so that they lie in one partition, in their order. The topic is
//! there already: how many partitions and replicas it has is for the cluster's operator to say.

mod messages;
mod records;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tokio::time::timeout;

use crate::base::limits::{EXPORT_REST_MAX, KAFKA_ANSWER_MAX};
use crate::base::time::Monotonic;
use crate::config::options::{Broker, KafkaTopic, Outlet};
use crate::control::exporters::batch::{Batch, named_by};
use crate::control::exporters::dial::{Dialer, Link};
use crate::control::exporters::kafka::messages::{Api, Batches, Cluster, Trouble};
use crate::control::exporters::kafka::records::Record;
use crate::control::exporters::kafka::wire::Writer;
use crate::control::exporters::secret::{Login, SecretError};
use crate::control::exporters::worker::Refused;

/// The brokers of a cluster.
pub(super) struct Kafka {
    topic: KafkaTopic,
    /// The broker whose turn it is to be asked for the others.
    turn: usize,
    outlet: Outlet,
    login: Option<Login>,
    dialer: Dialer,
    /// `None` until somebody was asked, and after a failure: leaders change.
    cluster: Option<(Cluster, Broker)>,
    /// To brokers, by where they are.
    lines: BTreeMap<String, Line>,
    /// When something was published last.
    used: Monotonic,
}

impl Kafka {
    pub(super) fn new(topic: &KafkaTopic, outlet: &Outlet) -> Result<Self, SecretError> {
        Ok(Self {
            topic: topic.clone(),
            turn: 0,
            login: outlet.secret.as_deref().map(|secret| Login::parse(secret)).transpose()?,
            dialer: Dialer::new(outlet),
            outlet: outlet.clone(),
            cluster: None,
            lines: BTreeMap::new(),
            used: Monotonic(0),
        })
    }

    /// Publish a batch, and wait until all of it is kept.
    pub(super) async fn publish(&mut self, batch: &Batch, now: Monotonic) -> Result<(), Refused> {
        self.used = now;
        let longest = self.outlet.exporter.timeout;
        let published = match timeout(longest, self.hand_over(batch)).await {
            Ok(published) => published,
            Err(_) => Err(Refused::because("no answer in time")),
        };
        if published.is_err() {
            self.forget();
        }
        published
    }

    fn forget(&mut self) {
        self.cluster = None;
        self.lines.clear();
    }

    async fn hand_over(&mut self, batch: &Batch) -> Result<(), Refused> {
        let topic_of = |one| named_by(&self.topic.name, batch.line(one));
        let topics: Vec<String> = batch.events.iter().map(topic_of).collect();
        let wanted: BTreeSet<&str> = topics.iter().map(String::as_str).collect();
        let (cluster, by) = match self.cluster.take() {
            Some(known) if wanted.iter().all(|one| known.0.topics.contains_key(*one)) => known,
            _ => self.ask_for_cluster(&wanted).await?,
        };
        for (leader, batches) in self.by_leader(&cluster, batch, &topics)? {
            let place = cluster.brokers.get(&leader);
            let (host, port) =
                place.ok_or_else(|| Refused::because("a partition has no leader"))?;
            let broker = Broker { host: host.as_str().into(), port: *port, ..by.clone() };
            if !broker.is_tls && !broker.is_here() {
                let why = format!("the cluster sends us to {broker}, in clear");
                return Err(Refused::because(why));
            }
            self.produce(&broker, &batches).await?;
        }
        self.cluster = Some((cluster, by));
        Ok(())
    }

    /// What each leader is sent.
    fn by_leader(
        &self,
        cluster: &Cluster,
        batch: &Batch,
        topics: &[String],
    ) -> Result<BTreeMap<i32, Batches>, Refused> {
        let node = &*self.outlet.node;
        let names = batch.events.iter().map(|one| (key(node, one.shard.0), one.id(node)));
        let named: Vec<_> = names.collect();
        let mut sorted: BTreeMap<(i32, &str, usize), Vec<Record<'_>>> = BTreeMap::new();
        for ((one, topic), (key, id)) in batch.events.iter().zip(topics).zip(&named) {
            let no_topic = || Refused::because(format!("the cluster tells nothing of `{topic}`"));
            let leaders = cluster.topics.get(topic).ok_or_else(no_topic)?;
            let partition = records::partition(key.as_bytes(), leaders.len());
            let headers = [("relay-fast-node", node), ("relay-fast-id", &**id)];
            let record = Record { time: one.time, key, value: batch.line(one), headers };
            sorted.entry((leaders[partition], topic, partition)).or_default().push(record);
        }
        let mut all: BTreeMap<i32, Batches> = BTreeMap::new();
        for ((leader, topic, partition), records) in sorted {
            let topics = all.entry(leader).or_default();
            let partitions = topics.entry(topic.to_owned()).or_default();
            partitions.insert(partition, records::batch(&records));
        }
        Ok(all)
    }

    async fn produce(&mut self, broker: &Broker, batches: &Batches) -> Result<(), Refused> {
        let longest = i32::try_from(self.outlet.exporter.timeout.as_millis()).unwrap_or(i32::MAX);
        let request = messages::produce(batches, longest);
        let line = self.line(broker).await.map_err(|refused| at(broker, refused))?;
        let answer = line.ask(Api::Produce, &request).await;
        let checked = answer
            .and_then(|answer| messages::check_produced(&answer, batches).map_err(Refused::from));
        checked.map_err(|refused| at(broker, refused))
    }

    /// Who leads which partition; and who said so.
    async fn ask_for_cluster(
        &mut self,
        topics: &BTreeSet<&str>,
    ) -> Result<(Cluster, Broker), Refused> {
        let mut troubles = Vec::new();
        for _ in 0..self.topic.brokers.0.len() {
            let broker = self.topic.brokers.0[self.turn % self.topic.brokers.0.len()].clone();
            // Whatever becomes of this one, time running out included: the next is another.
            self.turn += 1;
            match self.ask_one(&broker, topics).await {
                Ok(cluster) => return Ok((cluster, broker)),
                Err(refused) => troubles.push(at(&broker, refused).words),
            }
        }
        Err(Refused::because(troubles.join("; ")))
    }

    async fn ask_one(
        &mut self,
        broker: &Broker,
        topics: &BTreeSet<&str>,
    ) -> Result<Cluster, Refused> {
        let line = self.line(broker).await?;
        let request = messages::metadata(line.metadata, topics.iter().copied());
        let answer = line.ask(line.metadata, &request).await?;
        messages::cluster(line.metadata, &answer).map_err(Refused::from)
    }

    /// The connection to a broker, which knows who we are.
    async fn line(&mut self, broker: &Broker) -> Result<&mut Line, Refused> {
        let place = broker.to_string();
        if !self.lines.contains_key(&place) {
            let link = self.dialer.connect(broker).await.map_err(Refused::because)?;
            let mut line = Line { link, input: Vec::new(), number: 0, metadata: Api::Metadata };
            line.begin(self.login.as_ref()).await?;
            self.lines.insert(place.clone(), line);
        }
        self.lines.get_mut(&place).ok_or_else(|| Refused::because("no connection"))
    }

    /// Nothing is to be published at present: connections that rest for long are closed.
    pub(super) fn rest(&mut self, now: Monotonic) {
        if now.since(self.used) >= EXPORT_REST_MAX {
            self.forget();
        }
    }
}

impl From<Trouble> for Refused {
    fn from(trouble: Trouble) -> Self {
        Self { is_too_large: trouble.is_too_large(), ..Self::because(trouble) }
    }
}

/// All events of a shard have it.
fn key(node: &str, shard: u8) -> String {
    format!("{node}/{shard}")
}

fn at(broker: &Broker, refused: Refused) -> Refused {
    Refused { words: format!("{broker}: {}", refused.words), ..refused }
}

/// A connection to one broker: a request, then its answer.
struct Line {
    link: Link,
    input: Vec<u8>,
    /// Of the last request.
    number: i32,
    /// How the broker is asked for its cluster.
    metadata: Api,
}

impl Line {
    /// Find out whether we understand each other, and log in.
    async fn begin(&mut self, login: Option<&Login>) -> Result<(), Refused> {
        let answer = self.ask(Api::Versions, &Writer::default()).await?;
        self.metadata = messages::check_versions(&answer)?;
        let Some(login) = login else { return Ok(()) };
        let handshake = Writer::default().string("PLAIN");
        let answer = self.ask(Api::SaslHandshake, &handshake).await?;
        messages::check_mechanism(&answer, "PLAIN")?;
        let said = Writer::default().bytes(&login.plain());
        let answer = self.ask(Api::SaslAuthenticate, &said).await?;
        Ok(messages::check_login(&answer)?)
    }

    async fn ask(&mut self, api: Api, body: &Writer) -> Result<Vec<u8>, Refused> {
        self.number = self.number.wrapping_add(1);
        let mut output = VecDeque::from(api.request(self.number, body));
        loop {
            if let Some((head, rest)) = self.input.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*head) as usize;
                if length > KAFKA_ANSWER_MAX {
                    return Err(Trouble::Foreign("an answer that is too long").into());
                }
                if let Some(answer) = rest.get(..length) {
                    let answer = answer.strip_prefix(&self.number.to_be_bytes());
                    let answer = answer.ok_or(Trouble::Foreign("an answer to something else"))?;
                    let answer = answer.to_vec();
                    self.input.drain(..4 + length);
                    return Ok(answer);
                }
            }
            let octets = self.link.exchange(&mut output).await.map_err(Refused::because)?;
            self.input.extend_from_slice(octets);
        }
    }
}
