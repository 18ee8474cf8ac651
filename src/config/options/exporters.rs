//! Who is handed the event log.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::outcome::event::filter::Filter;
use crate::tls::Roots;

/// One who is handed events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exporter {
    /// Unique; a part of a file's name.
    pub name: Box<str>,
    /// Where they go.
    pub to: Destination,
    /// Which.
    pub filter: Filter,
    /// Where nothing was handed over yet: begin with what is written from then on, not with the
    /// oldest event.
    pub is_from_end: bool,
    /// Events that are handed over together, at most.
    pub batch: usize,
    /// How long that may take.
    pub timeout: Duration,
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To the end of a file.
    File(PathBuf),
    /// By POST.
    Webhook {
        /// `https://…`, or `http://…` on loopback.
        url: Box<str>,
        /// The file of what it is signed with.
        secret: PathBuf,
    },
    /// To a stream of NATS JetStream.
    Nats {
        /// `tls://…`, or `nats://…` on loopback; the servers of one cluster.
        servers: Vec<Box<str>>,
        /// What they are published under; `{kind}` is each event's.
        subject: Box<str>,
        /// The file of who this is.
        credentials: Option<PathBuf>,
    },
    /// To an exchange of AMQP 0-9-1.
    Amqp(AmqpExchange),
    /// To a topic of Kafka.
    Kafka(KafkaTopic),
}

/// A topic of Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaTopic {
    /// Who is asked for the others; in clear on loopback alone.
    pub brokers: Brokers,
    /// What it is called; `{kind}` is each event's.
    pub name: Box<str>,
    /// The file of who this is.
    pub credentials: Option<PathBuf>,
}

/// An exchange of AMQP 0-9-1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmqpExchange {
    /// Those of one cluster; in clear on loopback alone.
    pub brokers: Brokers,
    /// The virtual host.
    pub vhost: Box<str>,
    /// What events are published to.
    pub name: Box<str>,
    /// What they are routed by; `{kind}` is each event's.
    pub routing_key: Box<str>,
    /// The file of who this is.
    pub credentials: PathBuf,
}

/// The servers of a cluster, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brokers(pub Vec<Broker>);

impl Brokers {
    /// Whether one of them is spoken to by TLS.
    fn speak_tls(&self) -> bool {
        self.0.iter().any(|broker| broker.is_tls)
    }
}

impl fmt::Display for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.0.iter().map(Broker::to_string).collect();
        f.write_str(&all.join(","))
    }
}

/// A server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// How it is spoken to: `amqps://`.
    pub scheme: &'static str,
    /// Its name or address, without brackets.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// Whether it is spoken to by TLS.
    pub is_tls: bool,
}

impl Broker {
    /// Whether it is on this machine.
    pub fn is_here(&self) -> bool {
        is_here(&self.host)
    }
}

/// Whether a host is this machine, by its name or address alone.
pub fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "{}[{}]:{}", self.scheme, self.host, self.port),
            false => write!(f, "{}{}:{}", self.scheme, self.host, self.port),
        }
    }
}

impl Destination {
    /// Whether somebody's certificate is to be verified.
    pub fn speaks_tls(&self) -> bool {
        match self {
            Self::File(_) => false,
            Self::Webhook { url, .. } => url.starts_with("https:"),
            Self::Nats { servers, .. } => servers.iter().any(|server| server.starts_with("tls:")),
            Self::Amqp(exchange) => exchange.brokers.speak_tls(),
            Self::Kafka(topic) => topic.brokers.speak_tls(),
        }
    }

    /// The file of a secret.
    pub fn secret(&self) -> Option<&PathBuf> {
        match self {
            Self::File(_) => None,
            Self::Webhook { secret, .. } => Some(secret),
            Self::Nats { credentials, .. } => credentials.as_ref(),
            Self::Amqp(exchange) => Some(&exchange.credentials),
            Self::Kafka(topic) => topic.credentials.as_ref(),
        }
    }
}

/// An exporter, and what its files say.
#[derive(Clone)]
pub struct Outlet {
    /// What is configured.
    pub exporter: Exporter,
    /// What this node is called: a consumer may have several.
    pub node: Box<str>,
    /// The content of its secret's file; never printed.
    pub secret: Option<Zeroizing<Vec<u8>>>,
    /// Who is trusted to say who somebody is, where it speaks TLS.
    pub authorities: Option<Roots>,
    /// Their file.
    pub authorities_file: PathBuf,
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("exporter", &self.exporter).finish_non_exhaustive()
    }
}
