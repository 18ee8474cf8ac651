//! Say what follows from a failure: the only place of failure policy.
//!
//! In: the stage and what went wrong there. Out: defer or bounce, for whom, and under which
//! enhanced status.

use crate::mail::outcome::{Failure, Stage};
use crate::mail::status::{EnhancedStatus, Reply, Severity};

/// What becomes of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Tried again later.
    Defer,
    /// Given up; the reverse-path is told.
    Bounce,
}

/// Whom a failure concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// This recipient only.
    Recipient,
    /// Every recipient of this message that went the same way.
    Message,
    /// The connection: it is of no more use. Its recipients may be tried on another at once; the
    /// verdict holds when that fails too.
    Connection,
    /// The host: it takes nothing from us now. Other hosts of the site are tried first; the verdict
    /// holds when none is left.
    Site,
}

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Judgement {
    /// Defer or bounce.
    pub verdict: Verdict,
    /// Whom it concerns.
    pub scope: Scope,
    /// The peer's enhanced status where it gave one, else ours; its class fits the verdict.
    pub status: EnhancedStatus,
}

/// What follows from `failure` at `stage`.
pub fn judge(stage: Stage, failure: &Failure) -> Judgement {
    match failure {
        Failure::Reply(reply) => judge_reply(stage, reply),
        // RFC 5321 §5.1: the other hosts are tried, then the message waits.
        Failure::Connect(_) => defer(Scope::Site, NO_ANSWER),
        Failure::TimedOut if stage <= Stage::Connect => defer(Scope::Site, NO_ANSWER),
        Failure::TimedOut | Failure::Closed => defer(whose_connection(stage), BAD_CONNECTION),
        Failure::Protocol(_) => defer(whose_connection(stage), PROTOCOL),
        // RFC 8461 §5, RFC 7672 §2.2: what is wrong may be mended; other hosts may have it right.
        Failure::Tls(_) => defer(Scope::Site, CRYPTOGRAPHY),
        // RFC 8689 §4.2.1: other hosts are tried; if there are no more, the reverse-path is told.
        Failure::RequireTls { status, .. } => bounce(Scope::Site, *status),
        // RFC 5321 §5.1: if the domain name is not found, the mail is undeliverable.
        Failure::NoSuchDomain => bounce(Scope::Message, BAD_DOMAIN),
        // RFC 3463 §3.5: unable to route. It is no better for being tried again.
        Failure::Unroutable(_) => bounce(Scope::Message, UNROUTABLE),
        // RFC 7505 §4.1: a sender that meets a null MX should return the message as undeliverable.
        Failure::NullMx => bounce(Scope::Message, NULL_MX),
        // RFC 5321 §5.1: if this host is the most preferred one, that is an error: a loop.
        Failure::Loop => bounce(Scope::Message, ROUTING_LOOP),
        // RFC 5321 §5.1: if a temporary error is returned, the message must be queued.
        Failure::Dns(_) => defer(Scope::Message, DIRECTORY),
        // RFC 6152 §3, RFC 6531 §3.5, RFC 1870 §6.1: returned, never converted behind the back.
        Failure::Incapable { status, .. } => bounce(Scope::Recipient, *status),
        // RFC 5321 §4.5.4.1: after the give-up time. The class stays 4: RFC 3464 §2.3.4.
        Failure::Expired => {
            Judgement { verdict: Verdict::Bounce, scope: Scope::Recipient, status: EXPIRED }
        }
        Failure::Removed => bounce(Scope::Recipient, REMOVED),
    }
}

/// RFC 3463 §3.5: no answer from host.
const NO_ANSWER: EnhancedStatus = EnhancedStatus::new(4, 4, 1);
/// RFC 3463 §3.5: bad connection: made, but unable to complete the transaction.
const BAD_CONNECTION: EnhancedStatus = EnhancedStatus::new(4, 4, 2);
/// RFC 3463 §3.6: other or undefined protocol status.
const PROTOCOL: EnhancedStatus = EnhancedStatus::new(4, 5, 0);
/// RFC 3463 §3.8: cryptographic failure.
const CRYPTOGRAPHY: EnhancedStatus = EnhancedStatus::new(4, 7, 5);
/// RFC 3463 §3.5: directory server failure: a network service such as DNS is of no help.
const DIRECTORY: EnhancedStatus = EnhancedStatus::new(4, 4, 3);
/// RFC 3463 §3.2: bad destination system address.
const BAD_DOMAIN: EnhancedStatus = EnhancedStatus::new(5, 1, 2);
/// RFC 7505 §4.1: recipient address has null MX.
const NULL_MX: EnhancedStatus = EnhancedStatus::new(5, 1, 10);
/// RFC 3463 §3.5: unable to route.
const UNROUTABLE: EnhancedStatus = EnhancedStatus::new(5, 4, 4);
/// RFC 3463 §3.5: routing loop detected.
const ROUTING_LOOP: EnhancedStatus = EnhancedStatus::new(5, 4, 6);
/// RFC 3463 §3.5: delivery time expired.
const EXPIRED: EnhancedStatus = EnhancedStatus::new(4, 4, 7);
/// RFC 3463 §3.8: other or undefined security status: somebody decided so.
const REMOVED: EnhancedStatus = EnhancedStatus::new(5, 7, 0);

fn defer(scope: Scope, status: EnhancedStatus) -> Judgement {
    Judgement { verdict: Verdict::Defer, scope, status }
}

fn bounce(scope: Scope, status: EnhancedStatus) -> Judgement {
    Judgement { verdict: Verdict::Bounce, scope, status }
}

/// A host that does not get as far as a transaction is sick; later it may be just this connection.
fn whose_connection(stage: Stage) -> Scope {
    if stage <= Stage::Tls { Scope::Site } else { Scope::Connection }
}

/// One rule about replies. The first that fits decides.
#[derive(Debug)]
struct Rule {
    stages: &'static [Stage],
    replies: Replies,
    verdict: Verdict,
    scope: Scope,
}

/// Which replies a rule is about.
#[derive(Debug)]
enum Replies {
    Codes(&'static [u16]),
    /// 452, or 552 as RFC 821 had it, unless the enhanced status is about something else.
    TooManyRecipients,
    Transient,
    Permanent,
    /// 2yz and 3yz too.
    Any,
}

const ANY: &[Stage] = &Stage::ALL;
const OPENING: &[Stage] =
    &[Stage::Route, Stage::Connect, Stage::Greeting, Stage::Hello, Stage::Tls];
const TRANSACTION: &[Stage] = &[Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Content];
const BODY: &[Stage] = &[Stage::Data, Stage::Content];

static RULES: &[Rule] = &[
    // RFC 5321 §3.8: the host is leaving, and has not even said hello.
    rule(OPENING, Replies::Codes(&[421]), Verdict::Defer, Scope::Site),
    // RFC 5321 §3.8: the host ends this connection; it says nothing of the mail.
    rule(ANY, Replies::Codes(&[421]), Verdict::Defer, Scope::Connection),
    // RFC 4954 §6: it wants us to authenticate. An operator must mend that, not the sender.
    rule(ANY, Replies::Codes(&[530, 534, 535, 538]), Verdict::Defer, Scope::Site),
    // RFC 7504 §3: the host takes no mail, ever. Where all hosts say so, that is final.
    rule(OPENING, Replies::Codes(&[521]), Verdict::Bounce, Scope::Site),
    // RFC 5321 §3.1: it refuses us, not the mail. Postfix, too, tries the next host (its
    // smtp_skip_5xx_greeting) and waits when there is none: a list we are on is left again.
    rule(OPENING, Replies::Any, Verdict::Defer, Scope::Site),
    // RFC 5321 §4.2.4: out of sequence: we and the host are out of step; the mail is not judged.
    rule(TRANSACTION, Replies::Codes(&[503]), Verdict::Defer, Scope::Connection),
    // RFC 5321 §4.2.4: whoever took RCPT knows DATA: something between us is broken.
    rule(BODY, Replies::Codes(&[502]), Verdict::Defer, Scope::Connection),
    // RFC 5321 §4.2.1: the transaction is refused for now.
    rule(&[Stage::Mail], Replies::Transient, Verdict::Defer, Scope::Message),
    // RFC 5321 §4.2.1: the reverse-path, the size or a parameter will not be taken.
    rule(&[Stage::Mail], Replies::Permanent, Verdict::Bounce, Scope::Message),
    // RFC 5321 §4.5.3.1.10: no room in this transaction; 552 is to be taken as 452.
    rule(&[Stage::Rcpt], Replies::TooManyRecipients, Verdict::Defer, Scope::Recipient),
    // RFC 5321 §4.2.1: greylisting, a full mailbox, a rate.
    rule(&[Stage::Rcpt], Replies::Transient, Verdict::Defer, Scope::Recipient),
    // RFC 5321 §4.2.1: no such mailbox, or not for us.
    rule(&[Stage::Rcpt], Replies::Permanent, Verdict::Bounce, Scope::Recipient),
    // RFC 5321 §4.2.1: the reply to the content is for all whom RCPT had accepted.
    rule(BODY, Replies::Transient, Verdict::Defer, Scope::Message),
    rule(BODY, Replies::Permanent, Verdict::Bounce, Scope::Message),
    // Says nothing of the mail: RSET or QUIT refused, or a reply out of place.
    rule(ANY, Replies::Any, Verdict::Defer, Scope::Connection),
];

const fn rule(stages: &'static [Stage], replies: Replies, verdict: Verdict, scope: Scope) -> Rule {
    Rule { stages, replies, verdict, scope }
}

impl Replies {
    fn has(&self, reply: &Reply) -> bool {
        let code = reply.code.as_u16();
        match self {
            Self::Codes(codes) => codes.contains(&code),
            Self::TooManyRecipients => {
                matches!(code, 452 | 552)
                    && reply.enhanced.is_none_or(|status| (status.subject, status.detail) == (5, 3))
            }
            Self::Transient => reply.code.severity() == Severity::Transient,
            Self::Permanent => reply.code.severity() == Severity::Permanent,
            Self::Any => true,
        }
    }
}

fn judge_reply(stage: Stage, reply: &Reply) -> Judgement {
    let fits = |rule: &&Rule| rule.stages.contains(&stage) && rule.replies.has(reply);
    let rule = RULES.iter().find(fits).expect("the last rule fits all");
    let (subject, detail) = match reply.enhanced {
        Some(status) => (status.subject, status.detail),
        None => usual_status(stage, reply.code.as_u16()),
    };
    // RFC 3464 §2.3.4: the class tells what became of the recipient, not what the host thinks of
    // it.
    let class = match rule.verdict {
        Verdict::Defer => 4,
        Verdict::Bounce => 5,
    };
    let status = EnhancedStatus { class, subject, detail };
    Judgement { verdict: rule.verdict, scope: rule.scope, status }
}

/// Subject and detail for a host that gives none, where its code leaves little doubt (RFC 5321
/// §4.2.3, RFC 3463 §3); else 0.0, undefined.
fn usual_status(stage: Stage, code: u16) -> (u16, u16) {
    match code {
        // Other or undefined mailbox status.
        450 => (2, 0),
        // Other or undefined mail system status.
        451 => (3, 0),
        // Too many recipients.
        452 | 552 if stage == Stage::Rcpt => (5, 3),
        // Mail system full.
        452 => (3, 1),
        // Message too big for system.
        552 => (3, 4),
        // System not accepting network messages (521: RFC 7504).
        421 | 521 => (3, 2),
        // Syntax error.
        500 => (5, 2),
        // Invalid command.
        502 | 503 => (5, 1),
        // Invalid command arguments.
        455 | 501 | 504 | 555 => (5, 4),
        // Other or undefined security status.
        530 | 534 | 535 | 538 => (7, 0),
        // Destination mailbox has moved.
        551 => (1, 6),
        // Bad destination mailbox address syntax.
        553 => (1, 3),
        // Recipient address has null MX (RFC 7505).
        556 => (1, 10),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests;
