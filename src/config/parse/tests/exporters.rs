//! Who is handed events, and what cannot be.

use super::*;
use crate::config::options::Destination;

const HOOK: &str = "[[exporter]]\nname = \"h\"\nkind = \"webhook\"\nsecret = \"/s\"\n";
const AMQP: &str = "[[exporter]]\nname = \"b\"\nkind = \"amqp\"\ncredentials = \"/c\"\n";
const KAFKA: &str = "[[exporter]]\nname = \"k\"\nkind = \"kafka\"\nto = \"kafka://127.0.0.1\"\n";
const NATS: &str = "[[exporter]]\nname = \"n\"\nkind = \"nats\"\n";

#[test]
fn each_kind_is_read() {
    let read = read_file(WHOLE).exporters;
    let names: Vec<_> = read.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["hook", "stream", "bus", "lake", "file"]);
    let [hook, stream, bus, lake, file] = &read[..] else { panic!("five") };
    assert_eq!(hook.filter.to_string(), "kind=bounced,expired class=reputation");
    assert!(hook.is_from_end && hook.batch == 100 && hook.timeout.as_secs() == 10);
    assert!(hook.to.speaks_tls() && hook.to.secret().is_some());
    let Destination::Nats { servers, subject, .. } = &stream.to else { panic!("NATS") };
    assert_eq!(
        (servers.len(), &*servers[1], &**subject),
        (2, "tls://n2.example.com", "mail.{kind}")
    );
    assert!(stream.to.speaks_tls() && !file.is_from_end);
    let Destination::Amqp(exchange) = &bus.to else { panic!("AMQP") };
    assert_eq!(
        exchange.brokers.to_string(),
        "amqps://mq1.example.com:5671,amqps://[2001:db8::5]:5679"
    );
    assert_eq!(
        [&*exchange.vhost, &*exchange.name, &*exchange.routing_key],
        ["mail", "events", "mail.{kind}"]
    );
    assert!(bus.to.speaks_tls() && bus.to.secret().is_some());
    let Destination::Kafka(topic) = &lake.to else { panic!("Kafka") };
    assert_eq!(topic.brokers.to_string(), "tls://k1.example.com:9093,tls://k2.example.com:19093");
    assert!(&*topic.name == "mail.{kind}" && lake.to.speaks_tls() && lake.to.secret().is_none());
    assert_eq!(file.to, Destination::File("/var/log/relay-fast/events.jsonl".into()));
    assert!(!file.to.speaks_tls() && file.to.secret().is_none());
}

#[test]
fn what_leaves_the_machine_is_encrypted() {
    for good in ["https://a.example/x", "http://127.0.0.1:1/x", "http://[::1]/", "http://localhost"]
    {
        read_file(&format!("{HOOK}to = \"{good}\"\n"));
    }
    for (bad, why) in [
        ("http://a.example/", "in clear"),
        ("http://127.0.0.1.example/", "in clear"),
        ("http://10.0.0.1/", "in clear"),
        ("https://u:p@a.example/", "a password"),
        ("http://127.0.0.1@a.example/", "a password"),
        ("https://a.example/#x", "a fragment"),
        ("https:///x", "no host"),
        ("ftp://a.example", "no scheme"),
        ("a.example", "no scheme"),
        ("https://a b", "no URL"),
    ] {
        let found = problems(&format!("{HOOK}to = \"{bad}\"\n"));
        assert!(found[0].starts_with("5: ") && found[0].contains(why), "{bad}: {found:#?}");
    }
    read_file(&format!("{NATS}to = \"nats://127.0.0.1:4222\"\n"));
    let local = read_file(&format!("{AMQP}exchange = \"\"\nto = \"amqp://localhost\"\n")).exporters;
    let Destination::Amqp(exchange) = &local[0].to else { panic!("AMQP") };
    assert_eq!(exchange.brokers.to_string(), "amqp://localhost:5672");
    assert_eq!([&*exchange.vhost, &*exchange.routing_key], ["/", "relay-fast.{kind}"]);
    assert!(!local[0].to.speaks_tls());
    for (bad, why) in [
        ("amqp://mq.example", "in clear"),
        ("amqps://mq.example/mail", "is not `amqps://HOST`"),
        ("amqps://mq.example:0", "is not `amqps://HOST`"),
        ("amqps://mq.example:", "is not `amqps://HOST`"),
        ("amqps://[::1", "is not `amqps://HOST`"),
        ("amqps://mq.example:65536", "is not `amqps://HOST`"),
        ("amqps://u:p@mq.example", "a password"),
        ("tls://mq.example", "no scheme"),
    ] {
        let found = problems(&format!("{AMQP}exchange = \"x\"\nto = \"{bad}\"\n"));
        assert!(found[0].starts_with("6: ") && found[0].contains(why), "{bad}: {found:#?}");
    }
    let found = problems(&format!("{NATS}to = \"tls://a.example,nats://b.example\"\n"));
    assert!(found[0].contains("in clear"), "{found:#?}");
}

#[test]
fn what_makes_no_exporter_is_told_where_it_stands() {
    let file = "[[exporter]]\nname = \"f\"\nkind = \"file\"\nto = \"/f\"\n";
    for (text, line, why) in [
        (format!("{file}{file}"), 5, "two exporters named `f`"),
        (format!("{file}secret = \"/s\"\n"), 5, "of this kind has no `secret`"),
        (format!("{file}subject = \"s\"\n"), 5, "of this kind has no `subject`"),
        (format!("{file}exchange = \"s\"\n"), 5, "of this kind has no `exchange`"),
        (format!("{NATS}vhost = \"s\"\n"), 4, "of this kind has no `vhost`"),
        (format!("{AMQP}to = \"amqps://a\"\n"), 1, "`exchange` is missing"),
        (AMQP.replace("credentials", "secret"), 4, "of this kind has no `secret`"),
        (AMQP.replace("credentials = \"/c\"", ""), 1, "`credentials` is missing"),
        (format!("{NATS}topic = \"s\"\n"), 4, "of this kind has no `topic`"),
        (format!("{KAFKA}subject = \"s\"\n"), 5, "of this kind has no `subject`"),
        (format!("{KAFKA}topic = \"a b\"\n"), 5, "letters, digits"),
        (format!("{KAFKA}topic = \"..\"\n"), 5, "letters, digits"),
        (format!("{KAFKA}topic = \"\"\n"), 5, "letters, digits"),
        (KAFKA.replace("127.0.0.1", "k.example"), 4, "in clear"),
        (format!("{file}where = \"colour=red\"\n"), 5, "no field `colour`"),
        (
            file.replace("\"file\"", "\"smoke\""),
            3,
            "`smoke` is not one of file, webhook, nats, amqp, kafka",
        ),
        (file.replace("\"f\"", "\"../f\""), 2, "letters, digits"),
        (HOOK.replace("secret = \"/s\"\n", "to = \"https://a\"\n"), 1, "`secret` is missing"),
        (format!("{NATS}to = \"tls://a\"\nsubject = \"a.>\"\n"), 5, "no subject"),
        (format!("{NATS}to = \"tls://a\"\nsubject = \"a..b\"\n"), 5, "no subject"),
        (format!("{NATS}to = \"tls://a\"\nsubject = \"{{code}}\"\n"), 5, "no subject"),
    ] {
        let found = problems(&text);
        let is_told = |one: &String| one.starts_with(&format!("{line}: ")) && one.contains(why);
        assert!(found.iter().any(is_told), "{text}{found:#?}");
    }
    let many: String = (0..17).map(|n| file.replace("\"f\"", &format!("\"f{n}\""))).collect();
    assert!(problems(&many)[0].contains("16 exporters already"));
}
