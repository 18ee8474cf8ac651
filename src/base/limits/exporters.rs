//! Bounds of who is handed the event log: one who is dead costs mail nothing.

use std::time::Duration;

/// Exporters: each has a batch in memory, and reads the log for itself.
pub const EXPORTERS_MAX: usize = 16;
/// Events that are handed over together unless a knob says otherwise,
pub const EXPORT_BATCH_DEFAULT: usize = 500;
/// and at most.
pub const EXPORT_BATCH_MAX: usize = 10_000;
/// Octets of events after which a batch is whole, however few they are.
pub const EXPORT_BATCH_BYTES_MAX: usize = 1 << 20;
/// Events that are looked at, wanted or not, before the other exporters have their turn.
pub const EXPORT_LOOK_MAX: usize = 4_096;
/// How often it is written down how far an exporter came while nothing of what it passes is wanted.
pub const EXPORT_MARK_EVERY: Duration = Duration::from_secs(1);
/// A batch that nobody took is tried again after this long, then after twice as long each time,
pub const EXPORT_RETRY_FIRST: Duration = Duration::from_secs(1);
/// and at most this long.
pub const EXPORT_RETRY_MAX: Duration = Duration::from_secs(300);
/// As long as a consumer may ask for.
pub const EXPORT_RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// Characters of a URL.
pub const EXPORT_URL_MAX: usize = 2_048;
/// Servers of a cluster.
pub const EXPORT_SERVERS_MAX: usize = 16;
/// Octets of a subject, an exchange, a routing key, a virtual host.
pub const EXPORT_SUBJECT_MAX: usize = 255;
/// Octets of a file of secrets.
pub const EXPORT_SECRET_MAX: u64 = 16 * 1024;
/// Signatures of a request: the secret that is going, the one that comes, and some more.
pub const EXPORT_SECRETS_MAX: usize = 8;
/// Octets of a secret (Standard Webhooks: between 24 and 64).
pub const EXPORT_KEY_MIN: usize = 24;
/// See [`EXPORT_KEY_MIN`].
pub const EXPORT_KEY_MAX: usize = 64;
/// Octets of what somebody says of why a batch was not taken.
pub const EXPORT_WORDS_MAX: usize = 256;
/// Octets of a file that says how far an exporter came.
pub const EXPORT_CURSOR_MAX: u64 = 64 * 1024;
/// How much less than shards the thread is entitled to: the niceness of setpriority(2).
pub const EXPORT_NICENESS: i32 = 10;
/// Octets of an answer to a webhook that are read; nobody looks at them.
pub const EXPORT_ANSWER_MAX: u64 = 64 * 1024;
/// Octets of a frame of AMQP, however long its broker takes them: what RabbitMQ says unasked.
pub const AMQP_FRAME_MAX: usize = 131_072;
/// Octets of a frame that each broker takes (AMQP 0-9-1 has it as frame-min-size).
pub const AMQP_FRAME_MIN: usize = 4_096;
/// Octets of an answer of Kafka: all brokers of a cluster, and the partitions of a topic.
pub const KAFKA_ANSWER_MAX: usize = 4 << 20;
/// Characters of a topic, as Kafka has it.
pub const KAFKA_TOPIC_MAX: usize = 249;
/// Octets that are read of a broker at a time.
pub const EXPORT_READ_MAX: usize = 16 * 1024;
/// A connection that nothing was published on for so long is closed: no heartbeat is needed.
pub const EXPORT_REST_MAX: Duration = Duration::from_secs(30);
