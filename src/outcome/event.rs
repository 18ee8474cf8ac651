//! One line of JSON for each thing that happens to a recipient.
//!
//! In: what the shard knows. Out: a line, ended by LF, in the event log; and back, for reports.
//! Unit: times are RFC 3339 in UTC, delays are seconds with three decimals.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::ids::{MessageId, ShardId};
use crate::base::time::WallTime;
use crate::mail::durability::Durability;
use crate::mail::outcome::Stage;
use crate::mail::status::EnhancedStatus;
use crate::mail::verified::Verified;

pub mod cursor;
pub mod filter;
pub mod follow;
mod form;
mod returned;
pub mod sequence;

pub use returned::Returned;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// We took responsibility: the message is on stable storage.
    Received,
    /// The next hop took responsibility.
    Delivered,
    /// An attempt failed; there will be another.
    Deferred,
    /// Given up for what a peer or DNS said.
    Bounced,
    /// Given up for its age.
    Expired,
    /// Taken out of the queue by an operator.
    Removed,
    /// Kept back by an operator, or by a milter since it came in.
    Held,
    /// Let go by an operator.
    Released,
    /// A milter wants the message held: `received` and `held` follow.
    Quarantined,
    /// A milter, or its failure, had the message refused at the end of its content; it was never
    /// ours.
    Refused,
    /// A milter had the message thrown away, though its client was told that it was taken.
    Discarded,
    /// It was looked into whom a stranger's message is from: once a message, with its first
    /// recipient.
    Verified,
    /// A message of ours was taken by its next hop, and bounced later: `returned` has which.
    #[serde(rename = "bounced-later")]
    BouncedLater,
    /// A recipient wants no more of what we send.
    Complained,
    /// Anything else that came back: a delay, a vacation notice, a complaint about nobody's mail.
    Returned,
}

/// Where the time went, as Postfix's `delays=` has it. In a line, only milliseconds are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delays {
    /// From MAIL to the end of data.
    #[serde(with = "form::seconds")]
    pub before_queue: Duration,
    /// From the end of data to the start of this attempt: the commit and waits between attempts
    /// included.
    #[serde(with = "form::seconds")]
    pub in_queue: Duration,
    /// Route, DNS, connect, greeting and EHLO; zero on a connection that was open.
    #[serde(with = "form::seconds")]
    pub connect: Duration,
    /// From MAIL to the reply to the content.
    #[serde(with = "form::seconds")]
    pub transmit: Duration,
}

impl Delays {
    /// From the start of the transaction in to the end of this attempt.
    pub fn total(&self) -> Duration {
        self.before_queue + self.in_queue + self.connect + self.transmit
    }
}

/// One thing that happened to one recipient. Empty strings, zero attempts and `None` are left out
/// of the line; names that a later version adds are passed over in reading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event<'a> {
    /// Counts the events of this shard, over all its runs ([`sequence`]).
    pub sequence: u64,
    /// When.
    #[serde(with = "form::time")]
    pub time: WallTime,
    /// Which home shard tells it.
    #[serde(with = "form::shard")]
    pub shard: ShardId,
    /// What.
    pub kind: Kind,
    /// The message.
    #[serde(with = "form::text")]
    pub id: MessageId,
    /// Without brackets; empty for the null reverse-path.
    #[serde(borrow)]
    pub reverse_path: Cow<'a, str>,
    /// The forward-path, without brackets.
    #[serde(borrow)]
    pub recipient: Cow<'a, str>,
    /// Its destination domain.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub domain: Cow<'a, str>,
    /// Who sends, where that is known.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub tenant: Cow<'a, str>,
    /// What it is sent for.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub campaign: Cow<'a, str>,
    /// Octets of content.
    pub size: u64,
    /// What the 250 to its content was worth; lines of earlier versions do not say it.
    #[serde(with = "form::text", default)]
    pub durability: Durability,
    /// The site that the attempt went to.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub site: Cow<'a, str>,
    /// Upstream or MX host with address, as `mx1.example.net[192.0.2.1]:25`.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub peer: Cow<'a, str>,
    /// The milter that had this happen.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub milter: Cow<'a, str>,
    /// The upstream relay's name, where one was used.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub upstream: Cow<'a, str>,
    /// The TLS that the attempt went through, as `TLS1.3, verified`; `none:` and why, where it was
    /// to be used if it came about, and did not.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub tls: Cow<'a, str>,
    /// How far the attempt came.
    #[serde(with = "form::stage", default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The peer's reply code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// The status of the judgement.
    #[serde(with = "form::optional_text", default, skip_serializing_if = "Option::is_none")]
    pub status: Option<EnhancedStatus>,
    /// What kind of refusal that is: one of `outcome::classes`.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub class: Cow<'a, str>,
    /// The peer's words, or ours where no peer spoke.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub reply: Cow<'a, str>,
    /// Counted from 1; 0 where there was none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// When a deferred recipient is tried next.
    #[serde(with = "form::optional_time", default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<WallTime>,
    /// Where the time went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delays: Option<Delays>,
    /// From the end of content to our 250, with the first recipient of a message received.
    #[serde(with = "form::optional_seconds", default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<Duration>,
    /// What verification found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Cow<'a, Verified>>,
    /// What came back. The event is that of the message that says so; `recipient`, `code`,
    /// `status`, `class`, `reply` and `peer` are of what it speaks of.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<Returned<'a>>,
}

fn is_zero(attempt: &u32) -> bool {
    *attempt == 0
}

impl Event<'_> {
    /// Append the line, LF included, to `into`.
    pub fn write_line(&self, into: &mut Vec<u8>) {
        serde_json::to_writer(&mut *into, self).expect("plain data, and a Vec takes all");
        into.push(b'\n');
    }

    /// Read a line back, with or without its LF. Strings are borrowed where nothing is escaped.
    pub fn parse(line: &[u8]) -> Result<Event<'_>, serde_json::Error> {
        serde_json::from_slice(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::verified::SpfFound;
    use proptest::prelude::*;

    fn deferred() -> Event<'static> {
        Event {
            sequence: 7,
            time: WallTime(1_795_491_661_007),
            shard: ShardId(3),
            kind: Kind::Deferred,
            id: MessageId(1),
            reverse_path: "s@a.example".into(),
            recipient: "r@b.example".into(),
            domain: "b.example".into(),
            tenant: "acme".into(),
            campaign: "news".into(),
            size: 10_240,
            durability: Durability::Memory,
            site: "mx.b.example".into(),
            peer: "mx.b.example[192.0.2.1]:25".into(),
            milter: "".into(),
            upstream: "".into(),
            tls: "TLS1.3".into(),
            stage: Some(Stage::Rcpt),
            code: Some(450),
            status: Some(EnhancedStatus::new(4, 7, 1)),
            class: "greylisted".into(),
            reply: "greylisted\n\"later\"".into(),
            attempt: 2,
            next_attempt: Some(WallTime(1_795_491_721_000)),
            delays: Some(Delays {
                before_queue: Duration::from_micros(1_999),
                in_queue: Duration::from_secs(60),
                connect: Duration::ZERO,
                transmit: Duration::from_millis(42),
            }),
            accept: None,
            verified: None,
            returned: None,
        }
    }

    fn line(event: &Event<'_>) -> String {
        let mut line = Vec::new();
        event.write_line(&mut line);
        String::from_utf8(line).expect("text")
    }

    #[test]
    fn a_line_is_as_documented() {
        let expected = "{\"sequence\":7,\"time\":\"2026-11-24T03:41:01.007Z\",\"shard\":3,\
            \"kind\":\"deferred\",\"id\":\"0000000000001\",\"reverse_path\":\"s@a.example\",\
            \"recipient\":\"r@b.example\",\"domain\":\"b.example\",\"tenant\":\"acme\",\
            \"campaign\":\"news\",\"size\":10240,\
            \"durability\":\"memory\",\"site\":\"mx.b.example\",\
            \"peer\":\"mx.b.example[192.0.2.1]:25\",\"tls\":\"TLS1.3\",\
            \"stage\":\"RCPT\",\"code\":450,\"status\":\"4.7.1\",\
            \"class\":\"greylisted\",\"reply\":\"greylisted\\n\\\"later\\\"\",\"attempt\":2,\
            \"next_attempt\":\"2026-11-24T03:42:01.000Z\",\
            \"delays\":{\"before_queue\":0.001,\"in_queue\":60.0,\"connect\":0.0,\
            \"transmit\":0.042}}\n";
        assert_eq!(line(&deferred()), expected);
    }

    #[test]
    fn a_line_reads_back() {
        let mut event = deferred();
        event.delays = Some(Delays { transmit: Duration::from_millis(1), ..Delays::default() });
        assert_eq!(Event::parse(line(&event).as_bytes()).expect("a line"), event);
        let text = line(&event);
        let parsed = Event::parse(text.as_bytes()).expect("a line");
        assert!(matches!(parsed.recipient, Cow::Borrowed(_)));
    }

    #[test]
    fn what_verification_found_reads_back() {
        let verified = Verified {
            source_ip: "2001:db8::7".parse().expect("an address"),
            header_from: "a.example".into(),
            disposition: "quarantine".into(),
            spf: SpfFound {
                domain: "a.example".into(),
                scope: "mfrom".into(),
                result: "softfail".into(),
            },
            dkim: Vec::new(),
            arc: "none".into(),
            dmarc: "fail".into(),
            policy: None,
        };
        let event = Event {
            kind: Kind::Verified,
            verified: Some(Cow::Owned(verified)),
            delays: None,
            ..deferred()
        };
        let text = line(&event);
        assert!(text.contains("\"verified\":{\"source_ip\":\"2001:db8::7\","), "{text}");
        assert_eq!(Event::parse(text.as_bytes()).expect("a line"), event);
    }

    #[test]
    fn what_came_back_reads_back() {
        let returned = Returned {
            what: "bounced".into(),
            form: "dsn".into(),
            original: Some(MessageId(77)),
            vouched: "recipient".into(),
            reported: "other@c.example".into(),
            message_id: "<1@a.example>".into(),
            envelope_id: "".into(),
        };
        let event = Event {
            kind: Kind::BouncedLater,
            returned: Some(returned),
            delays: None,
            ..deferred()
        };
        let text = line(&event);
        assert!(text.contains("\"kind\":\"bounced-later\""), "{text}");
        let expected = "\"returned\":{\"what\":\"bounced\",\"form\":\"dsn\",\
            \"original\":\"000000000002D\",\"vouched\":\"recipient\",\
            \"reported\":\"other@c.example\",\"message_id\":\"<1@a.example>\"}}";
        assert!(text.trim_end().ends_with(expected), "{text}");
        assert_eq!(Event::parse(text.as_bytes()).expect("a line"), event);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let received = Event {
            kind: Kind::Received,
            reverse_path: "".into(),
            site: "".into(),
            peer: "".into(),
            tls: "".into(),
            stage: None,
            code: None,
            status: None,
            class: "".into(),
            reply: "".into(),
            attempt: 0,
            next_attempt: None,
            delays: None,
            accept: Some(Duration::from_millis(7)),
            ..deferred()
        };
        let text = line(&received);
        assert!(text.ends_with(",\"accept\":0.007}\n"), "{text}");
        assert!(!text.contains("null") && !text.contains("site") && !text.contains("attempt"));
        assert_eq!(Event::parse(text.as_bytes()).expect("a line"), received);
    }

    #[test]
    fn every_stage_and_kind_reads_back() {
        let kinds = [
            Kind::Received,
            Kind::Delivered,
            Kind::Deferred,
            Kind::Bounced,
            Kind::Expired,
            Kind::Removed,
            Kind::Held,
            Kind::Released,
            Kind::Quarantined,
            Kind::Refused,
            Kind::Discarded,
            Kind::Verified,
            Kind::BouncedLater,
            Kind::Complained,
            Kind::Returned,
        ];
        for kind in kinds {
            for stage in form::STAGES {
                let event = Event { kind, stage: Some(*stage), delays: None, ..deferred() };
                assert_eq!(Event::parse(line(&event).as_bytes()).expect("a line"), event);
            }
        }
    }

    #[test]
    fn lines_of_a_later_version_are_read_and_broken_ones_refused() {
        let text = line(&deferred());
        let later = text.replace("\"shard\":3", "\"shard\":3,\"mood\":{\"x\":[1]}");
        assert!(Event::parse(later.as_bytes()).is_ok());
        let broken = [
            ("\"kind\":\"deferred\"", "\"kind\":\"maybe\""),
            ("2026-11-24T03:41:01.007Z", "yesterday"),
            ("\"RCPT\"", "\"TURN\""),
            ("\"4.7.1\"", "\"9.7.1\""),
            ("0.042", "-0.042"),
            ("0000000000001", "U"),
            ("{\"sequence\":7,", "{"),
        ];
        for (good, bad) in broken {
            assert!(text.contains(good), "{good}");
            assert!(Event::parse(text.replace(good, bad).as_bytes()).is_err(), "{bad}");
        }
        for end in 0..text.len() - 1 {
            assert!(Event::parse(&text.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn no_words_break_out_of_their_line(reply in "(?s).{0,60}", recipient in any::<String>()) {
            let event = Event {
                reply: reply.into(),
                recipient: recipient.into(),
                delays: None,
                ..deferred()
            };
            let text = line(&event);
            prop_assert_eq!(text.matches('\n').count(), 1);
            prop_assert_eq!(Event::parse(text.as_bytes()).expect("a line"), event);
        }

        #[test]
        fn no_bytes_panic(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Event::parse(&line);
        }
    }
}
