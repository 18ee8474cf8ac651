//! Every knob, one constant each: path, default, range, what it does, what it costs.
//!
//! The reference (`relay-fast knobs`), the reader of the file and its list of known keys are all
//! made from these constants: what is not here cannot be set, and what is here is documented.

mod admin;
mod bounces;
mod checks;
mod dkim;
mod events;
mod exporters;
mod inbound;
mod kpis;
mod milters;
mod node;
mod outbound;
mod senders;
mod shaping;
mod sources;
mod suppression;
mod tls_report;
mod tokens;

use std::time::Duration;

use crate::config::knob::Knob;

pub(super) use self::{
    admin::*, bounces::*, checks::*, dkim::*, events::*, exporters::*, inbound::*, kpis::*,
    milters::*, node::*, outbound::*, senders::*, shaping::*, sources::*, suppression::*,
    tls_report::*, tokens::*,
};

const SECOND: u64 = 1;
const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const fn duration(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// In the order of the reference.
pub const ALL: &[&Knob] = &[
    &HOSTNAME,
    &POSTMASTER,
    &CORES,
    &USER,
    &SANDBOX,
    &LOG_LEVEL,
    &DOMAIN_CHECK,
    &DRAIN_DEADLINE,
    &DEFAULT_ROUTE,
    &SPOOL_DIRECTORY,
    &SEGMENT_SIZE,
    &HOT_MEMORY,
    &SPOOL_RESERVE,
    &EVENT_RETENTION,
    &EVENT_SIZE,
    &EVENT_FILE_SIZE,
    &EVENT_FILE_AGE,
    &EXPORTER_NAME,
    &EXPORTER_KIND,
    &EXPORTER_TO,
    &EXPORTER_WHERE,
    &EXPORTER_FROM,
    &EXPORTER_BATCH,
    &EXPORTER_TIMEOUT,
    &EXPORTER_SECRET,
    &EXPORTER_SUBJECT,
    &EXPORTER_CREDENTIALS,
    &KPI_COUNT,
    &KPI_KEYS,
    &KPI_MINUTES,
    &KPI_HOURS,
    &KPI_DAYS,
    &KPI_SIZE,
    &BOUNCE_RULES,
    &BOUNCE_ADDRESS,
    &BOUNCE_SECRETS,
    &BOUNCE_VERP,
    &BOUNCE_LIFETIME,
    &BOUNCE_CLASSIC,
    &BOUNCE_FORWARD,
    &COMPLAINT_ADDRESSES,
    &COMPLAINT_CFBL,
    &ADMIN_LISTEN,
    &ADMIN_GROUP,
    &ADMIN_TOKEN,
    &ADMIN_HOSTS,
    &ADMIN_CERTIFICATE,
    &ADMIN_KEY,
    &ADMIN_CLIENT_CA,
    &TOKEN_NAME,
    &TOKEN_FILE,
    &TOKEN_ROLE,
    &TOKEN_TENANT,
    &LISTENER_ADDRESS,
    &LISTENER_RELAY_FOR,
    &LISTENER_PROXY_FROM,
    &LISTENER_XCLIENT_FROM,
    &LISTENER_TLS,
    &LISTENER_CLIENT_CA,
    &LISTENER_CHECKS,
    &LISTENER_VERIFY,
    &LISTENER_AUTH,
    &LISTENER_AUTH_MECHANISMS,
    &LISTENER_AUTH_WITHOUT_TLS,
    &LISTENER_PRIORITIES,
    &LISTENER_HOLD,
    &LISTENER_DELIVER_BY,
    &LISTENER_LINE_ENDINGS,
    &LISTENER_DURABILITY,
    &LISTENER_SESSIONS,
    &LISTENER_MESSAGE_SIZE,
    &CERTIFICATE_FILE,
    &CERTIFICATE_KEY,
    &AUTH_CREDENTIALS,
    &SESSIONS,
    &SESSIONS_PER_ADDRESS,
    &CONNECTION_RATE,
    &MESSAGE_RATE,
    &RECIPIENTS,
    &ERRORS,
    &TEXT_LINE,
    &HEADER_SIZE,
    &RECEIVED,
    &MEMORY,
    &CONNECTIONS,
    &DEADLINE_COMMAND,
    &DEADLINE_CONTENT_BLOCK,
    &DEADLINE_CONTENT,
    &DEADLINE_SESSION,
    &UPSTREAM_NAME,
    &UPSTREAM_HOSTS,
    &UPSTREAM_CONNECTIONS,
    &UPSTREAM_MESSAGES,
    &UPSTREAM_RATE,
    &UPSTREAM_TLS,
    &RELAY_DOMAINS,
    &RELAY_UPSTREAM,
    &RELAY_RECIPIENTS,
    &RELAY_UNVERIFIED,
    &ROUTE_DOMAINS,
    &ROUTE_TO,
    &ROUTE_TLS,
    &ROUTE_POOL,
    &SITE_CONNECTIONS,
    &SITE_MESSAGES,
    &SITE_RATE,
    &SHARD_EXCESS,
    &SITE_TLS,
    &SITE_REFUSES,
    &TLS_CA,
    &SHAPING_FILE,
    &SHAPING_SHIPPED,
    &SOURCE_NAME,
    &SOURCE_ADDRESS,
    &SOURCE_HELLO,
    &SOURCE_CERTIFICATE,
    &SOURCE_KEY,
    &SOURCE_PROXY,
    &SOURCE_PROXY_LOGIN,
    &POOL_NAME,
    &POOL_SOURCES,
    &DKIM_DOMAIN,
    &DKIM_SELECTOR,
    &DKIM_KEY,
    &DKIM_SUBDOMAINS,
    &DKIM_IDENTITIES,
    &DKIM_TENANTS,
    &ARC_DOMAIN,
    &TLS_REPORT_FROM,
    &TLS_REPORT_ORGANIZATION,
    &TLS_REPORT_CONTACT,
    &SUPPRESSION_AT,
    &SUPPRESSION_HARD_BOUNCES,
    &SUPPRESSION_COMPLAINTS,
    &REFUSE_ATTACHMENTS,
    &BLOCK_LIST_ZONE,
    &BLOCK_LIST_OF,
    &BLOCK_LIST_ANSWERS,
    &BLOCK_LIST_ACTION,
    &MILTER_NAME,
    &MILTER_ADDRESS,
    &MILTER_LISTENERS,
    &MILTER_ON_FAILURE,
    &MILTER_NULL_REVERSE_PATH,
    &MILTER_CONNECTIONS,
    &MILTER_CONNECT,
    &MILTER_COMMAND,
    &MILTER_END,
    &SENDERS_FIELDS,
    &SENDERS_TENANT_FIELD,
    &SENDERS_CAMPAIGN_FIELD,
    &TENANT_NAME,
    &TENANT_WEIGHT,
    &TENANT_LOGINS,
    &TENANT_LISTENERS,
    &TENANT_QUEUED,
    &TENANT_POOL,
    &TENANT_RATE,
    &TENANT_LIFETIME,
    &TENANT_DURABILITY,
    &CAMPAIGN_NAME,
    &CAMPAIGN_TENANT,
    &CAMPAIGN_WEIGHT,
    &CAMPAIGN_RATE,
    &CAMPAIGN_WINDOW,
    &CAMPAIGN_TIME_ZONE,
    &CAMPAIGN_LIFETIME,
    &CAMPAIGN_DURABILITY,
    &CAMPAIGN_POOL,
    &RETRY_FIRST,
    &RETRY_FACTOR,
    &RETRY_LONGEST,
    &RETRY_JITTER,
    &LIFETIME,
    &DELAY_REPORT,
    &DNS_SERVERS,
];
