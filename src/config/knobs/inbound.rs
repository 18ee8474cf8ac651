//! What comes in: listeners, limits, deadlines.

use crate::base::limits::{
    CONNECTIONS_MAX, HEADER_BYTES_DEFAULT, HOLD_SECONDS_MAX, MESSAGE_BYTES_DEFAULT, RECEIVED_MAX,
    RECIPIENTS_MAX, SESSION_ERRORS_MAX, SESSIONS_MAX, TEXT_LINE_MAX,
};
use crate::config::knob::{Kind, Knob, TakesEffect};
use crate::config::knobs::{DAY, GIB, HOUR, KIB, MIB, MINUTE, SECOND, duration};

pub(in crate::config) const LISTENER_ADDRESS: Knob = Knob {
    path: "listener[].address",
    kind: Kind::Text { form: "address and port", default: "127.0.0.1:2525" },
    help: "Where clients connect.",
    cost: "a socket a shard",
    takes_effect: TakesEffect::Restart,
};

pub(in crate::config) const LISTENER_RELAY_FOR: Knob = Knob {
    path: "listener[].relay_for",
    kind: Kind::List { form: "address ranges", default: "[\"127.0.0.0/8\", \"::1/128\"]" },
    help: "Clients that may send to any domain.",
    cost: "trust: who is in it can send as anyone",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_PROXY_FROM: Knob = Knob {
    path: "listener[].proxy_from",
    kind: Kind::List { form: "address ranges", default: "[]" },
    help: "Proxies, whose connections begin with a PROXY header (v1 or v2) that names the client.",
    cost: "trust: they can be any client; what they do for themselves counts as their own address",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_XCLIENT_FROM: Knob = Knob {
    path: "listener[].xclient_from",
    kind: Kind::List { form: "address ranges", default: "[]" },
    help: "Clients that are offered XCLIENT, to say for whom they connect.",
    cost: "trust: they can be any client, and anyone who may log in",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_TLS: Knob = Knob {
    path: "listener[].tls",
    kind: Kind::Choice { default: "none", words: &["none", "starttls", "require", "implicit"] },
    help: "On offer by STARTTLS, wanted before any mail, or from the first octet (port 465).",
    cost: "a handshake a connection; needs a [[certificate]]",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_CLIENT_CA: Knob = Knob {
    path: "listener[].client_ca",
    kind: Kind::Text { form: "path", default: "nobody" },
    help: "PEM file of authorities: a client with a certificate of theirs may send to any domain.",
    cost: "trust: who has such a certificate can send as anyone",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_AUTH: Knob = Knob {
    path: "listener[].auth",
    kind: Kind::Choice { default: "none", words: &["none", "offer", "require"] },
    help: "AUTH: not here, for clients that want to send to any domain, or before any mail.",
    cost: "a password 19 MiB and 13 ms of a CPU to check, SCRAM nearly nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_AUTH_MECHANISMS: Knob = Knob {
    path: "listener[].auth_mechanisms",
    kind: Kind::List {
        form: "SCRAM-SHA-256, PLAIN or LOGIN",
        default: "[\"SCRAM-SHA-256\", \"PLAIN\", \"LOGIN\"]",
    },
    help: "How clients may log in; SCRAM-SHA-256-PLUS comes with SCRAM-SHA-256 in TLS 1.3.",
    cost: "PLAIN and LOGIN say the password",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_AUTH_WITHOUT_TLS: Knob = Knob {
    path: "listener[].auth_without_tls",
    kind: Kind::Choice { default: "refuse", words: &["refuse", "allow"] },
    help: "AUTH in clear.",
    cost: "allow: whoever is on the way reads passwords",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const AUTH_CREDENTIALS: Knob = Knob {
    path: "auth.credentials",
    kind: Kind::Text { form: "path", default: "none" },
    help: "Who may log in: a file of `relay-fast passwd`, read again when it changes.",
    cost: "trust: who is in it can send to anyone",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CERTIFICATE_FILE: Knob = Knob {
    path: "certificate[].file",
    kind: Kind::Text { form: "path", default: "required" },
    help: "PEM file: this node's certificate, then its chain. The first one answers unknown names.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CERTIFICATE_KEY: Knob = Knob {
    path: "certificate[].key",
    kind: Kind::Text { form: "path", default: "required" },
    help: "PEM file of its private key; nobody but its owner and group may read it.",
    cost: "nothing",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_VERIFY: Knob = Knob {
    path: "listener[].verify",
    kind: Kind::Choice {
        default: "off",
        words: &["off", "monitor", "tag", "reject", "quarantine"],
    },
    help: "SPF, DKIM, DMARC and ARC of strangers' mail: log it, say it in the mail, act on it.",
    cost: "DNS before 250, 10s at most; reject loses what breaks signatures, as some lists do",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_PRIORITIES: Knob = Knob {
    path: "listener[].priorities",
    kind: Kind::Choice { default: "ignore", words: &["ignore", "offer"] },
    help: "MT-PRIORITY (RFC 6710): clients that may relay say what of theirs goes before what.",
    cost: "nothing: each band has twice the share of the one below, none is left out",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_HOLD: Knob = Knob {
    path: "listener[].hold",
    kind: Kind::Duration {
        default: duration(0),
        least: duration(0),
        most: duration(HOLD_SECONDS_MAX as u64),
    },
    help: "FUTURERELEASE (RFC 4865): clients that may relay have messages held so long; 0: none.",
    cost: "what is held is in the queue all the time",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_DELIVER_BY: Knob = Knob {
    path: "listener[].deliver_by",
    kind: Kind::Choice { default: "ignore", words: &["ignore", "offer"] },
    help: "DELIVERBY (RFC 2852): clients say by when, and whether what is late comes back.",
    cost: "what is to be returned goes to hosts alone that offer it too",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_LINE_ENDINGS: Knob = Knob {
    path: "listener[].line_endings",
    kind: Kind::Choice { default: "strict", words: &["strict", "normalize"] },
    help: "A bare CR or LF: refuse the message, or make it CR LF.",
    cost: "normalize changes content, which breaks signatures",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_DURABILITY: Knob = Knob {
    path: "listener[].durability",
    kind: Kind::Choice { default: "commit", words: &["commit", "memory"] },
    help: "250 once a message is synced, or once it is in memory and on its way to the disk.",
    cost: "memory: a crash or power loss loses what was acknowledged and is not synced yet",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_SESSIONS: Knob = Knob {
    path: "listener[].sessions",
    kind: Kind::Count {
        unit: "sessions",
        default: Some(SESSIONS_MAX as u64),
        least: 1,
        most: SESSIONS_MAX as u64,
    },
    help: "Sessions on this listener, a shard.",
    cost: "8 KiB of memory an idle session",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const LISTENER_MESSAGE_SIZE: Knob = Knob {
    path: "listener[].message_size",
    kind: Kind::Size { default: MESSAGE_BYTES_DEFAULT, least: 64 * KIB, most: GIB },
    help: "Largest message taken (SIZE).",
    cost: "disk; memory while it comes in",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SESSIONS: Knob = Knob {
    path: "limits.sessions",
    kind: Kind::Count {
        unit: "sessions",
        default: Some(SESSIONS_MAX as u64),
        least: 1,
        most: SESSIONS_MAX as u64,
    },
    help: "Sessions on all listeners, a shard.",
    cost: "8 KiB of memory an idle session",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const SESSIONS_PER_ADDRESS: Knob = Knob {
    path: "limits.sessions_per_address",
    kind: Kind::Count {
        unit: "sessions",
        default: Some(SESSIONS_MAX as u64),
        least: 1,
        most: SESSIONS_MAX as u64,
    },
    help: "Sessions from one address, or one IPv6 /64, a shard.",
    cost: "one client can take all of `limits.sessions`",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CONNECTION_RATE: Knob = Knob {
    path: "limits.connection_rate",
    kind: Kind::Rate { default: None },
    help: "Connections from one address, or one IPv6 /64, that may not relay, a shard; else 421.",
    cost: "low: many of a large sender's connections are turned away",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const MESSAGE_RATE: Knob = Knob {
    path: "limits.message_rate",
    kind: Kind::Rate { default: None },
    help: "Messages of a client at such an address that has not logged in, a shard; else 451.",
    cost: "low: mail of large senders comes late",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const RECIPIENTS: Knob = Knob {
    path: "limits.recipients",
    kind: Kind::Count {
        unit: "recipients",
        default: Some(RECIPIENTS_MAX as u64),
        least: 100,
        most: RECIPIENTS_MAX as u64,
    },
    help: "Recipients a transaction.",
    cost: "up to 2 KiB of memory each, until the message is stored",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const ERRORS: Knob = Knob {
    path: "limits.errors",
    kind: Kind::Count {
        unit: "errors",
        default: Some(SESSION_ERRORS_MAX as u64),
        least: 1,
        most: 1_000,
    },
    help: "Errors in a session before 421.",
    cost: "guesses that a stranger gets",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const TEXT_LINE: Knob = Knob {
    path: "limits.text_line",
    kind: Kind::Count {
        unit: "octets",
        default: Some(TEXT_LINE_MAX as u64),
        least: 1_000,
        most: MIB,
    },
    help: "Longest line of content, CR LF included.",
    cost: "next hops may refuse lines over 1000",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const HEADER_SIZE: Knob = Knob {
    path: "limits.header_size",
    kind: Kind::Size { default: HEADER_BYTES_DEFAULT as u64, least: 4 * KIB, most: 16 * MIB },
    help: "Largest header section.",
    cost: "a DSN that returns headers is as large",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const RECEIVED: Knob = Knob {
    path: "limits.received",
    kind: Kind::Count { unit: "fields", default: Some(RECEIVED_MAX as u64), least: 5, most: 1_000 },
    help: "`Received:` fields; more is a loop, and bounces.",
    cost: "a loop goes round so often",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const MEMORY: Knob = Knob {
    path: "limits.memory",
    kind: Kind::Size { default: 256 * MIB, least: 16 * MIB, most: 64 * GIB },
    help: "Content on its way to the disk, a shard; above, MAIL gets 452.",
    cost: "memory, for each shard",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const CONNECTIONS: Knob = Knob {
    path: "limits.connections",
    kind: Kind::Count {
        unit: "connections",
        default: Some(CONNECTIONS_MAX as u64),
        least: 1,
        most: CONNECTIONS_MAX as u64,
    },
    help: "Connections out, a shard.",
    cost: "16 KiB of memory each",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const DEADLINE_COMMAND: Knob = Knob {
    path: "deadlines.command",
    kind: Kind::Duration {
        default: duration(5 * MINUTE),
        least: duration(10 * SECOND),
        most: duration(HOUR),
    },
    help: "From our reply to the client's next command.",
    cost: "idle sessions are kept so long",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const DEADLINE_CONTENT_BLOCK: Knob = Knob {
    path: "deadlines.content_block",
    kind: Kind::Duration {
        default: duration(3 * MINUTE),
        least: duration(10 * SECOND),
        most: duration(HOUR),
    },
    help: "For each 4 KiB of content.",
    cost: "slow senders are kept so long",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const DEADLINE_CONTENT: Knob = Knob {
    path: "deadlines.content",
    kind: Kind::Duration { default: duration(HOUR), least: duration(MINUTE), most: duration(DAY) },
    help: "For the content of one message.",
    cost: "slow senders are kept so long",
    takes_effect: TakesEffect::Reload,
};

pub(in crate::config) const DEADLINE_SESSION: Knob = Knob {
    path: "deadlines.session",
    kind: Kind::Duration {
        default: duration(DAY),
        least: duration(MINUTE),
        most: duration(7 * DAY),
    },
    help: "For a session, cut between transactions.",
    cost: "a session is kept so long",
    takes_effect: TakesEffect::Reload,
};
