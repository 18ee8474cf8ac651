//! Read who is handed the event log: the tables of `[[exporter]]`.

use crate::base::limits::{
    EXPORT_SERVERS_MAX, EXPORT_SUBJECT_MAX, EXPORT_URL_MAX, EXPORTERS_MAX, KAFKA_TOPIC_MAX,
};
use crate::config::knobs;
use crate::config::options::{
    AmqpExchange, Broker, Brokers, Destination, Exporter, KafkaTopic, is_here,
};
use crate::config::parse::forms;
use crate::config::reader::{Given, Reader, Section};
use crate::config::units::Wrong;
use crate::outcome::event::filter::Filter;

/// Kinds of events are words of a topic: a queue that wants all is bound with `relay-fast.*`.
const ROUTING_KEY: &str = "relay-fast.{kind}";

pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> Vec<Exporter> {
    let mut exporters: Vec<Exporter> = Vec::new();
    for section in reader.tables(root, "exporter", "exporter[]") {
        let Some(exporter) = exporter(reader, &section) else { continue };
        let is_twice = exporters.iter().any(|other| other.name == exporter.name);
        if is_twice {
            let wrong = Wrong::new(format!("there are two exporters named `{}`", exporter.name));
            reader.finder.add(section.place(), wrong);
        } else if exporters.len() == EXPORTERS_MAX {
            let wrong = Wrong::new(format!("there are {EXPORTERS_MAX} exporters already"));
            reader.finder.add(section.place(), wrong);
        } else {
            exporters.push(exporter);
        }
    }
    exporters
}

fn exporter(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Exporter> {
    let name = reader.required(section, &knobs::EXPORTER_NAME, name);
    let kind = reader.required(section, &knobs::EXPORTER_KIND, kind);
    let filter = reader.text(section, &knobs::EXPORTER_WHERE, None, |text| {
        Filter::parse(text).map_err(|error| Wrong::new(error.to_string()))
    });
    let is_from_end = reader.choice(section, &knobs::EXPORTER_FROM) == "end";
    let batch = reader.count(section, &knobs::EXPORTER_BATCH, None, 0);
    let timeout = reader.duration(section, &knobs::EXPORTER_TIMEOUT).value;
    let to = destination(reader, section, kind.map(|given| given.value));
    Some(Exporter {
        name: name?.value.into(),
        to: to?,
        filter: filter.map(|given| given.value).unwrap_or_default(),
        is_from_end,
        batch: usize::try_from(batch).expect("the knob's range is small"),
        timeout,
    })
}

fn destination(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    kind: Option<&'static str>,
) -> Option<Destination> {
    let to = &knobs::EXPORTER_TO;
    let secret = reader.text(section, &knobs::EXPORTER_SECRET, None, forms::path);
    let subject = reader.text(section, &knobs::EXPORTER_SUBJECT, None, subject);
    let credentials = reader.text(section, &knobs::EXPORTER_CREDENTIALS, None, forms::path);
    let topic = reader.text(section, &knobs::EXPORTER_TOPIC, None, kafka_topic);
    let vhost = reader.text(section, &knobs::EXPORTER_VHOST, None, amqp_name);
    let exchange = reader.text(section, &knobs::EXPORTER_EXCHANGE, None, amqp_name);
    let key = reader.text(section, &knobs::EXPORTER_ROUTING_KEY, None, amqp_name);
    let kind = kind?;
    only(reader, section, "secret", secret.as_ref(), kind == "webhook");
    only(reader, section, "subject", subject.as_ref(), kind == "nats");
    only(
        reader,
        section,
        "credentials",
        credentials.as_ref(),
        ["nats", "amqp", "kafka"].contains(&kind),
    );
    only(reader, section, "topic", topic.as_ref(), kind == "kafka");
    only(reader, section, "vhost", vhost.as_ref(), kind == "amqp");
    only(reader, section, "exchange", exchange.as_ref(), kind == "amqp");
    only(reader, section, "routing_key", key.as_ref(), kind == "amqp");
    match kind {
        "file" => {
            let path = reader.required(section, to, forms::path)?;
            Some(Destination::File(path.value.into()))
        }
        "nats" => {
            let servers = reader.required(section, to, servers)?.value;
            let subject = subject.map_or_else(|| "relay-fast.events".into(), |given| given.value);
            Some(Destination::Nats {
                servers: servers.split(',').map(|one| one.trim().into()).collect(),
                subject: subject.into(),
                credentials: credentials.map(|given| given.value.into()),
            })
        }
        "kafka" => {
            let brokers = reader.required(section, to, kafka_brokers)?.value;
            let name = topic.map_or_else(|| "relay-fast.events".into(), |given| given.value).into();
            let credentials = credentials.map(|given| given.value.into());
            Some(Destination::Kafka(KafkaTopic { brokers, name, credentials }))
        }
        "amqp" => {
            reader.check_present(section, &knobs::EXPORTER_EXCHANGE);
            reader.check_present(section, &knobs::EXPORTER_CREDENTIALS);
            let brokers = reader.required(section, to, amqp_brokers)?.value;
            Some(Destination::Amqp(AmqpExchange {
                brokers,
                vhost: vhost.map_or_else(|| "/".into(), |given| given.value).into(),
                name: exchange?.value.into(),
                routing_key: key.map_or_else(|| ROUTING_KEY.into(), |given| given.value).into(),
                credentials: credentials?.value.into(),
            }))
        }
        _ => {
            reader.check_present(section, &knobs::EXPORTER_SECRET);
            let url = reader.required(section, to, webhook)?;
            Some(Destination::Webhook { url: url.value.into(), secret: secret?.value.into() })
        }
    }
}

/// A knob that is of no use here is a slip.
fn only<T>(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    knob: &str,
    given: Option<&Given<T>>,
    is_of_use: bool,
) {
    if let (Some(given), false) = (given, is_of_use) {
        let wrong = Wrong::new(format!("an exporter of this kind has no `{knob}`"));
        reader.finder.add(given.place_or(section.place()), wrong);
    }
}

/// A part of a file's name, and a label of metrics.
fn name(text: &str) -> Result<String, Wrong> {
    let is_right = (1..=64).contains(&text.len())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet));
    match is_right {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new("write up to 64 letters, digits, `-` and `_`")),
    }
}

const KINDS: [&str; 5] = ["file", "webhook", "nats", "amqp", "kafka"];

fn kind(text: &str) -> Result<&'static str, Wrong> {
    let known = KINDS.into_iter().find(|kind| *kind == text);
    let wrong = || Wrong::new(format!("`{text}` is not one of {}", KINDS.join(", ")));
    known.ok_or_else(wrong)
}

fn subject(text: &str) -> Result<String, Wrong> {
    let plain = text.replace("{kind}", "kind");
    let is_token = |token: &str| {
        !token.is_empty() && token.bytes().all(|o| o.is_ascii_graphic() && !b"*>{}".contains(&o))
    };
    match plain.len() <= EXPORT_SUBJECT_MAX && plain.split('.').all(is_token) {
        true => Ok(text.to_owned()),
        false => {
            let wrong = Wrong::new(format!("`{text}` is no subject that can be published under"));
            Err(wrong.help("write words with `.` between, as `mail.events.{kind}`"))
        }
    }
}

/// The servers of one cluster, with commas between.
fn servers(text: &str) -> Result<String, Wrong> {
    let all: Vec<_> = text.split(',').map(str::trim).collect();
    if all.len() > EXPORT_SERVERS_MAX {
        return Err(Wrong::new(format!("there are {EXPORT_SERVERS_MAX} servers already")));
    }
    all.iter().try_for_each(|one| url(one, "tls://", "nats://"))?;
    Ok(text.to_owned())
}

/// What AMQP has as a name: short, and without characters that act on a terminal.
fn amqp_name(text: &str) -> Result<String, Wrong> {
    let is_right = text.replace("{kind}", "suppressed").len() <= EXPORT_SUBJECT_MAX
        && !text.contains(char::is_control);
    match is_right {
        true => Ok(text.to_owned()),
        false => Err(Wrong::new(format!("write up to {EXPORT_SUBJECT_MAX} octets of text"))),
    }
}

/// What Kafka takes as a topic's name.
fn kafka_topic(text: &str) -> Result<String, Wrong> {
    let plain = text.replace("{kind}", "suppressed");
    let is_right = (1..=KAFKA_TOPIC_MAX).contains(&plain.len())
        && plain.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-_".contains(&octet))
        && ![".", ".."].contains(&text);
    match is_right {
        true => Ok(text.to_owned()),
        false => {
            let wrong = format!("write up to {KAFKA_TOPIC_MAX} letters, digits, `.`, `-` and `_`");
            Err(Wrong::new(wrong))
        }
    }
}

fn kafka_brokers(text: &str) -> Result<Brokers, Wrong> {
    brokers(text, ("tls://", 9093), ("kafka://", 9092))
}

fn amqp_brokers(text: &str) -> Result<Brokers, Wrong> {
    brokers(text, ("amqps://", 5671), ("amqp://", 5672))
}

/// A scheme, and the port that is usual for it.
type Scheme = (&'static str, u16);

/// The servers of one cluster, by two schemes.
fn brokers(text: &str, secure: Scheme, clear: Scheme) -> Result<Brokers, Wrong> {
    let all: Vec<_> = text.split(',').map(str::trim).collect();
    if all.len() > EXPORT_SERVERS_MAX {
        return Err(Wrong::new(format!("there are {EXPORT_SERVERS_MAX} servers already")));
    }
    let brokers: Result<_, _> = all.iter().map(|one| broker(one, secure, clear)).collect();
    brokers.map(Brokers)
}

/// One of them: a host, and a port, and nothing behind.
fn broker(text: &str, secure: Scheme, clear: Scheme) -> Result<Broker, Wrong> {
    url(text, secure.0, clear.0)?;
    let is_tls = text.starts_with(secure.0);
    let (scheme, usual) = if is_tls { secure } else { clear };
    let rest = text.strip_prefix(scheme).unwrap_or_default();
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // An address of IPv6 stands in brackets.
    let (host, port) = match rest.strip_prefix('[') {
        Some(literal) => literal.split_once(']').unwrap_or((literal, "]")),
        None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port > 0),
        None => port.is_empty().then_some(usual),
    };
    match port.filter(|_| !host.contains(['/', '?'])) {
        Some(port) => Ok(Broker { scheme, host: host.into(), port, is_tls }),
        None => Err(Wrong::new(format!("`{text}` is not `{scheme}HOST` or `{scheme}HOST:PORT`"))),
    }
}

fn webhook(text: &str) -> Result<String, Wrong> {
    url(text, "https://", "http://").map(|()| text.to_owned())
}

/// A URL of one of two schemes: what is sent in clear stays on this machine.
fn url(text: &str, secure: &str, clear: &str) -> Result<(), Wrong> {
    let help = format!("write `{secure}HOST…`, or `{clear}127.0.0.1…` on this machine");
    let wrong = |why: &str| Err(Wrong::new(format!("`{text}` {why}")).help(help.clone()));
    if text.len() > EXPORT_URL_MAX || !text.bytes().all(|octet| octet.is_ascii_graphic()) {
        return wrong("is no URL");
    }
    let (rest, is_clear) = match (text.strip_prefix(secure), text.strip_prefix(clear)) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        (None, None) => return wrong("is of no scheme that is spoken here"),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') || text.contains('#') {
        return wrong("has a password or a fragment: they are shown and logged");
    }
    let host = match authority.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if host.is_empty() {
        return wrong("has no host");
    }
    if is_clear && !is_here(host) {
        return wrong("would tell of everyone's mail in clear");
    }
    Ok(())
}
