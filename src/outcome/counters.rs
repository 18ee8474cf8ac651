//! Count what a shard does, in plain numbers that it alone writes.
//!
//! Each shard has one [`Counters`]; the control thread is sent copies, merges them and exposes the
//! sum. Names follow Prometheus' rules: base units, `_total` for what only grows.

use std::time::Duration;

use crate::base::limits::COMMIT_GROUP_MAX;
use crate::outcome::classes::Class;
use crate::outcome::counters::histogram::Histogram;
use crate::outcome::counters::sizes::Sizes;

pub mod histogram;
pub mod sizes;

/// How a value behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the start of the process.
    Counter,
    /// What is now; shards' values add up.
    Gauge,
}

/// One row of the table of counts: a series of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountRow {
    /// The count.
    pub count: Count,
    /// The metric family.
    pub name: &'static str,
    /// `name="value"` pairs, or nothing.
    pub labels: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// What it means; the same for all series of a family.
    pub help: &'static str,
}

/// One row of the table of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyRow {
    /// The latency.
    pub latency: Latency,
    /// The metric family; the unit is seconds.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
}

/// One row of the table of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRow {
    /// The size.
    pub size: Size,
    /// The metric family; its name ends with the unit.
    pub name: &'static str,
    /// The first bucket's bound is 2 to this power.
    pub first_bits: u32,
    /// What it means.
    pub help: &'static str,
}

/// Declare an enum and the table of its rows together, so that neither can lack one.
macro_rules! counts {
    ($($count:ident $kind:ident $name:literal $labels:literal $help:literal;)*) => {
        /// What is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Count {
            $(#[doc = $help] $count,)*
        }

        /// Every count, in order of exposition: series of one family stand together.
        pub const COUNTS: &[CountRow] = &[
            $(CountRow {
                count: Count::$count,
                name: $name,
                labels: $labels,
                kind: Kind::$kind,
                help: $help,
            },)*
        ];
    };
}

counts! {
    SessionsOpened Counter "relay_fast_sessions_total" ""
        "Connections that clients opened.";
    SessionsOpen Gauge "relay_fast_sessions" ""
        "Connections of clients that are open.";
    SessionsRefused Counter "relay_fast_sessions_refused_total" ""
        "Connections of clients that were turned away with 421.";
    RateOfConnections Counter "relay_fast_rate_limited_total" "of=\"connections\""
        "What strangers began more often than limits.connection_rate and message_rate let them.";
    RateOfMessages Counter "relay_fast_rate_limited_total" "of=\"messages\""
        "What strangers began more often than limits.connection_rate and message_rate let them.";
    ProxiesRefused Counter "relay_fast_proxies_refused_total" ""
        "Connections of proxies that did not say for whom they were.";
    TlsInFull Counter "relay_fast_tls_handshakes_total" "side=\"in\",result=\"full\""
        "TLS handshakes, by what came of them.";
    TlsInResumed Counter "relay_fast_tls_handshakes_total" "side=\"in\",result=\"resumed\""
        "TLS handshakes, by what came of them.";
    TlsInFailed Counter "relay_fast_tls_handshakes_total" "side=\"in\",result=\"failed\""
        "TLS handshakes, by what came of them.";
    TlsOutFull Counter "relay_fast_tls_handshakes_total" "side=\"out\",result=\"full\""
        "TLS handshakes, by what came of them.";
    TlsOutResumed Counter "relay_fast_tls_handshakes_total" "side=\"out\",result=\"resumed\""
        "TLS handshakes, by what came of them.";
    TlsOutFailed Counter "relay_fast_tls_handshakes_total" "side=\"out\",result=\"failed\""
        "TLS handshakes, by what came of them.";
    AuthSucceeded Counter "relay_fast_authentications_total" "result=\"succeeded\""
        "Clients that said who they are, by what came of it.";
    AuthFailed Counter "relay_fast_authentications_total" "result=\"failed\""
        "Clients that said who they are, by what came of it.";
    AuthLimited Counter "relay_fast_authentications_total" "result=\"limited\""
        "Clients that said who they are, by what came of it.";
    AuthBusy Counter "relay_fast_authentications_total" "result=\"busy\""
        "Clients that said who they are, by what came of it.";
    RefusedMail Counter "relay_fast_commands_refused_total" "command=\"mail\""
        "Commands that were answered with 4xx or 5xx.";
    RefusedRcpt Counter "relay_fast_commands_refused_total" "command=\"rcpt\""
        "Commands that were answered with 4xx or 5xx.";
    RefusedContent Counter "relay_fast_commands_refused_total" "command=\"content\""
        "Commands that were answered with 4xx or 5xx.";
    TenantsRefused Counter "relay_fast_tenants_refused_total" ""
        "Messages that were put off, since their tenant has too many recipients in the queue.";
    UnlistedRecipients Counter "relay_fast_unknown_recipients_total" "by=\"list\""
        "Recipients of relay domains that were refused since there is none of that name.";
    UnknownRecipients Counter "relay_fast_unknown_recipients_total" "by=\"callout\""
        "Recipients of relay domains that were refused since there is none of that name.";
    SuppressionLookups Counter "relay_fast_suppression_lookups_total" ""
        "Recipients that the filter did not rule out and that were looked for in the store.";
    SuppressedRecipients Counter "relay_fast_suppressed_recipients_total" ""
        "Recipients that were refused, or given up unsent, for they are on a suppression list.";
    CalloutsKnown Counter "relay_fast_callouts_total" "result=\"known\""
        "Recipients that upstream relays were asked about, by what came of it.";
    CalloutsUnknown Counter "relay_fast_callouts_total" "result=\"unknown\""
        "Recipients that upstream relays were asked about, by what came of it.";
    CalloutsUnsure Counter "relay_fast_callouts_total" "result=\"unsure\""
        "Recipients that upstream relays were asked about, by what came of it.";
    RecipientsRemembered Gauge "relay_fast_callout_recipients" ""
        "Recipients of which it is remembered what an upstream relay said.";
    ReturnsBounced Counter "relay_fast_returns_total" "what=\"bounced\""
        "What came back about mail that had left, by what it says of a recipient.";
    ReturnsComplained Counter "relay_fast_returns_total" "what=\"complained\""
        "What came back about mail that had left, by what it says of a recipient.";
    ReturnsOther Counter "relay_fast_returns_total" "what=\"other\""
        "What came back about mail that had left, by what it says of a recipient.";
    ReturnsForged Counter "relay_fast_returns_forged_total" ""
        "Recipients refused that look like reverse-paths of this node and are not, or too old.";
    UnsubscribeAdded Counter "relay_fast_unsubscribe_total" "what=\"added\""
        "Messages that were made to say how to unsubscribe, or refused for not saying it.";
    UnsubscribeRefused Counter "relay_fast_unsubscribe_total" "what=\"refused\""
        "Messages that were made to say how to unsubscribe, or refused for not saying it.";
    TrackedMessages Counter "relay_fast_tracked_messages_total" "what=\"tracked\""
        "Messages of tenants with tracking: with links of ours, or why not.";
    TrackedNone Counter "relay_fast_tracked_messages_total" "what=\"none\""
        "Messages of tenants with tracking: with links of ours, or why not.";
    TrackedLarge Counter "relay_fast_tracked_messages_total" "what=\"large\""
        "Messages of tenants with tracking: with links of ours, or why not.";
    TrackedSigned Counter "relay_fast_tracked_messages_total" "what=\"signed\""
        "Messages of tenants with tracking: with links of ours, or why not.";
    MessagesReceived Counter "relay_fast_messages_received_total" ""
        "Messages that were stored and answered with 250.";
    RecipientsReceived Counter "relay_fast_recipients_received_total" ""
        "Recipients of messages that were stored and answered with 250.";
    BytesReceived Counter "relay_fast_received_bytes_total" ""
        "Octets of content that were stored and answered with 250.";
    Delivered Counter "relay_fast_recipient_outcomes_total" "outcome=\"delivered\""
        "Outcomes of attempts, and ends of recipients without one.";
    Deferred Counter "relay_fast_recipient_outcomes_total" "outcome=\"deferred\""
        "Outcomes of attempts, and ends of recipients without one.";
    Bounced Counter "relay_fast_recipient_outcomes_total" "outcome=\"bounced\""
        "Outcomes of attempts, and ends of recipients without one.";
    Expired Counter "relay_fast_recipient_outcomes_total" "outcome=\"expired\""
        "Outcomes of attempts, and ends of recipients without one.";
    Removed Counter "relay_fast_recipient_outcomes_total" "outcome=\"removed\""
        "Outcomes of attempts, and ends of recipients without one.";
    TransactionsSent Counter "relay_fast_transactions_sent_total" ""
        "Transactions to next hops that came to their end.";
    BytesSent Counter "relay_fast_sent_bytes_total" ""
        "Octets of content that next hops took.";
    ConnectionsMade Counter "relay_fast_connections_total" "result=\"made\""
        "Connections to next hops, by what came of them.";
    ConnectionsFailed Counter "relay_fast_connections_total" "result=\"failed\""
        "Connections to next hops, by what came of them.";
    ConnectionsOpen Gauge "relay_fast_connections" ""
        "Connections to next hops that are open.";
    SlowedDown Counter "relay_fast_slowed_down_total" ""
        "Times that a source was slowed down at a site for what that said.";
    ShapingRules Counter "relay_fast_shaping_rules_total" ""
        "Times that a rule on replies came in force.";
    OutletsSlowed Gauge "relay_fast_sources_held_up" "by=\"peer\""
        "Sources that a site is sent less from for what it said, or nothing by a rule; by site.";
    OutletsSuspended Gauge "relay_fast_sources_held_up" "by=\"rule\""
        "Sources that a site is sent less from for what it said, or nothing by a rule; by site.";
    WarmUpSources Gauge "relay_fast_warm_up_sources" ""
        "Sources that are warmed up and are not warm yet.";
    WarmUpUsedUp Gauge "relay_fast_warm_up_used_up" ""
        "Pairs of a source that is warmed up and a provider that is sent no more from it today.";
    QueueReady Gauge "relay_fast_queue_recipients" "state=\"ready\""
        "Recipients in the queue.";
    QueueDeferred Gauge "relay_fast_queue_recipients" "state=\"deferred\""
        "Recipients in the queue.";
    QueueAttempting Gauge "relay_fast_queue_recipients" "state=\"attempting\""
        "Recipients in the queue.";
    QueueHeld Gauge "relay_fast_queue_recipients" "state=\"held\""
        "Recipients in the queue.";
    DsnsFailed Counter "relay_fast_dsns_total" "action=\"failed\""
        "Delivery status notifications written.";
    DsnsDelayed Counter "relay_fast_dsns_total" "action=\"delayed\""
        "Delivery status notifications written.";
    DsnsSuccess Counter "relay_fast_dsns_total" "action=\"success\""
        "Delivery status notifications written.";
    ChecksForm Counter "relay_fast_checks_failed_total" "check=\"form\""
        "What the relay's own checks found, whether it was refused for it or not.";
    ChecksAttachment Counter "relay_fast_checks_failed_total" "check=\"attachment\""
        "What the relay's own checks found, whether it was refused for it or not.";
    ChecksBlockList Counter "relay_fast_checks_failed_total" "check=\"block_list\""
        "What the relay's own checks found, whether it was refused for it or not.";
    DmarcPass Counter "relay_fast_messages_verified_total" "dmarc=\"pass\""
        "Messages of strangers that were verified, by the DMARC result.";
    DmarcFail Counter "relay_fast_messages_verified_total" "dmarc=\"fail\""
        "Messages of strangers that were verified, by the DMARC result.";
    DmarcNone Counter "relay_fast_messages_verified_total" "dmarc=\"none\""
        "Messages of strangers that were verified, by the DMARC result.";
    DmarcTempError Counter "relay_fast_messages_verified_total" "dmarc=\"temperror\""
        "Messages of strangers that were verified, by the DMARC result.";
    DmarcPermError Counter "relay_fast_messages_verified_total" "dmarc=\"permerror\""
        "Messages of strangers that were verified, by the DMARC result.";
    Signatures Counter "relay_fast_dkim_signatures_total" "result=\"made\""
        "DKIM signatures, by what came of them.";
    SignaturesFailed Counter "relay_fast_dkim_signatures_total" "result=\"failed\""
        "DKIM signatures, by what came of them.";
    FilterPassed Counter "relay_fast_filtered_total" "outcome=\"passed\""
        "Messages that a milter was asked about, by what it made of them.";
    FilterChanged Counter "relay_fast_filtered_total" "outcome=\"changed\""
        "Messages that a milter was asked about, by what it made of them.";
    FilterQuarantined Counter "relay_fast_filtered_total" "outcome=\"quarantined\""
        "Messages that a milter was asked about, by what it made of them.";
    FilterRefused Counter "relay_fast_filtered_total" "outcome=\"refused\""
        "Messages that a milter was asked about, by what it made of them.";
    FilterDiscarded Counter "relay_fast_filtered_total" "outcome=\"discarded\""
        "Messages that a milter was asked about, by what it made of them.";
    FilterFailed Counter "relay_fast_filtered_total" "outcome=\"failed\""
        "Messages that a milter was asked about, by what it made of them.";
    SpoolCommits Counter "relay_fast_spool_commits_total" "result=\"synced\""
        "Commit groups, by what came of their sync.";
    SpoolCommitsFailed Counter "relay_fast_spool_commits_total" "result=\"failed\""
        "Commit groups, by what came of their sync.";
    SpoolBytes Counter "relay_fast_spool_written_bytes_total" ""
        "Octets appended to the spool.";
    InMemoryOnly Gauge "relay_fast_messages_in_memory_only" ""
        "Messages answered from memory (durability memory) that are not on stable storage yet.";
    SpoolSegments Gauge "relay_fast_spool_segments" ""
        "Segments of the spool that hold something live.";
    SpoolDamaged Counter "relay_fast_spool_damaged_total" ""
        "Places of the spool that were found damaged at the start.";
    Recovering Gauge "relay_fast_recovering" ""
        "Spool directories of which the messages are not all back in the queue.";
    MessagesRecovered Counter "relay_fast_messages_recovered_total" ""
        "Messages of earlier runs that came back into the queue.";
    DnsQuestions Counter "relay_fast_dns_questions_total" ""
        "Questions sent to DNS servers.";
    DnsCacheHits Counter "relay_fast_dns_cache_hits_total" ""
        "Lookups that were answered without a question.";
    DnsFailures Counter "relay_fast_dns_failures_total" ""
        "Lookups that came to no answer.";
    CrossingsSent Counter "relay_fast_crossings_total" ""
        "Dispatches and reports handed to other shards.";
    EventsWritten Counter "relay_fast_events_total" ""
        "Lines written to the event log.";
}

macro_rules! latencies {
    ($($latency:ident $name:literal $help:literal;)*) => {
        /// What is timed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Latency {
            $(#[doc = $help] $latency,)*
        }

        /// Every latency, in order of exposition.
        pub const LATENCIES: &[LatencyRow] = &[
            $(LatencyRow { latency: Latency::$latency, name: $name, help: $help },)*
        ];
    };
}

latencies! {
    Filter "relay_fast_filter_seconds"
        "From the end of content until all milters of a message have spoken.";
    Accept "relay_fast_accept_seconds"
        "From the end of a client's content to its 250, by the clock of the turns that saw them.";
    Commit "relay_fast_spool_commit_seconds"
        "From the start of a commit group's write to the end of its sync.";
    Connect "relay_fast_connect_seconds"
        "From the start of a connection to a next hop to the end of its EHLO.";
    Transmit "relay_fast_transmit_seconds"
        "From MAIL to the next hop's reply to the content.";
    Delivery "relay_fast_delivery_seconds"
        "From a message's 250 to its delivery to a recipient, waits between attempts included.";
    Lookup "relay_fast_dns_lookup_seconds"
        "Lookups that needed a question.";
}

/// What is counted by size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    /// Messages in a commit group.
    GroupMessages,
    /// Octets of a commit group.
    GroupBytes,
}

/// Every size, in order of exposition.
pub const SIZES: &[SizeRow] = &[
    SizeRow {
        size: Size::GroupMessages,
        name: "relay_fast_spool_group_messages",
        first_bits: 0,
        help: "Messages in a commit group that was synced and held any.",
    },
    SizeRow {
        size: Size::GroupBytes,
        name: "relay_fast_spool_group_bytes",
        first_bits: 10,
        help: "Octets of a commit group that was synced.",
    },
];
// The last bucket holds the largest group.
const _: () = assert!(1 << (SIZES[1].first_bits + 12) >= COMMIT_GROUP_MAX);

/// One value, as exposition wants it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample<'a> {
    /// A counter or gauge.
    Count(&'static CountRow, u64),
    /// A histogram of seconds.
    Latency(&'static LatencyRow, &'a Histogram),
    /// A histogram of sizes.
    Size(&'static SizeRow, &'a Sizes),
}

/// All counts, latencies and sizes of a shard, or of several merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    counts: [u64; COUNTS.len()],
    latencies: [Histogram; LATENCIES.len()],
    sizes: [Sizes; SIZES.len()],
    /// Recipients that wait, and that were given up, by the class of their refusal.
    refused: [[u64; Class::ALL.len()]; 2],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            counts: [0; COUNTS.len()],
            latencies: std::array::from_fn(|_| Histogram::default()),
            sizes: std::array::from_fn(|_| Sizes::default()),
            refused: [[0; Class::ALL.len()]; 2],
        }
    }
}

impl Counters {
    /// One more.
    pub fn increment(&mut self, count: Count) {
        self.add(count, 1);
    }

    /// `n` more.
    pub fn add(&mut self, count: Count, n: u64) {
        let value = &mut self.counts[count as usize];
        *value = value.wrapping_add(n);
    }

    /// What a gauge shows now.
    pub fn set(&mut self, gauge: Count, value: u64) {
        debug_assert_eq!(COUNTS[gauge as usize].kind, Kind::Gauge, "{gauge:?} only grows");
        self.counts[gauge as usize] = value;
    }

    /// The value of a count.
    pub fn count(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    /// One more recipient was refused so; whether it was given up for that.
    pub fn refused(&mut self, class: Class, is_over: bool) {
        let count = &mut self.refused[usize::from(is_over)][class as usize];
        *count = count.wrapping_add(1);
    }

    /// Recipients that were refused, by class: those that wait for it, those that were given up.
    pub fn refusals(&self) -> impl Iterator<Item = (Class, [u64; 2])> + '_ {
        let [waits, over] = &self.refused;
        Class::ALL.into_iter().map(|class| (class, [waits[class as usize], over[class as usize]]))
    }

    /// Note that something took so long.
    pub fn record(&mut self, latency: Latency, took: Duration) {
        self.latencies[latency as usize].record(took);
    }

    /// The histogram of a latency.
    pub fn latency(&self, latency: Latency) -> &Histogram {
        &self.latencies[latency as usize]
    }

    /// Note that something had this size.
    pub fn measure(&mut self, size: Size, value: u64) {
        self.sizes[size as usize].record(value, SIZES[size as usize].first_bits);
    }

    /// The histogram of a size.
    pub fn size(&self, size: Size) -> &Sizes {
        &self.sizes[size as usize]
    }

    /// Add another shard's values.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.wrapping_add(*theirs);
        }
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.sizes.iter_mut().zip(&other.sizes) {
            mine.merge(theirs);
        }
        let theirs = other.refused.iter().flatten();
        for (mine, theirs) in self.refused.iter_mut().flatten().zip(theirs) {
            *mine = mine.wrapping_add(*theirs);
        }
    }

    /// Every value, those of one family together.
    pub fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        let counts = COUNTS.iter().zip(&self.counts).map(|(row, n)| Sample::Count(row, *n));
        let latencies = LATENCIES.iter().zip(&self.latencies);
        let sizes = SIZES.iter().zip(&self.sizes).map(|(row, sizes)| Sample::Size(row, sizes));
        counts.chain(latencies.map(|(row, histogram)| Sample::Latency(row, histogram))).chain(sizes)
    }
}

#[cfg(test)]
mod tests;
