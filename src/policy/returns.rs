//! Know what comes back to us, and see that it can: bounces and complaints about what was sent.
//!
//! In: reverse-paths on their way out, recipients of mail that comes in. Out: a reverse-path that
//! says which message it is of; and whether a recipient is one of these, or looks like one and is
//! not. Invariant: what is not ours is refused at RCPT, so that nobody is answered whose address
//! was forged; the null reverse-path is never given another; whom a report speaks of is only
//! believed where its token says the same.
//! Lives on: all shards, shared; a reload makes another.

use hashbrown::HashMap;

use crate::base::ids::MessageId;
use crate::base::time::WallTime;
use crate::mail::address::{Domain, ForwardPath, Mailbox};
use crate::mail::envelope::{Envelope, Recipient};
use crate::mail::handling::TenantName;
use crate::mail::status::Reply;
use crate::policy::reply;
use crate::policy::verp::{self, Mark, Sealed, TokenError, Trace, Use, Verp};

/// What is signed into reverse-paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: they leave as they came.
    #[default]
    Off,
    /// The message; and the recipient, where there is but one.
    Message,
    /// The message and the recipient: each recipient has a transaction of its own.
    Recipient,
}

/// What comes back, and where to.
#[derive(Debug)]
pub struct Returns {
    /// Signs and checks.
    pub verp: Verp,
    /// What is signed.
    pub mode: Mode,
    /// Reverse-paths at the same domain that sending platforms have made are taken too.
    pub classic: bool,
    /// Where complaints are sent to.
    pub complaints: Vec<Mailbox>,
    /// Whether messages say so in their header (RFC 9477).
    pub announces: bool,
    /// Who gets to see all of it.
    pub forward_to: Option<Mailbox>,
    /// Whose messages say whose they are.
    pub tenants: Tenants,
}

/// Tenants, by what stands for them in tokens.
#[derive(Debug, Default)]
pub struct Tenants(HashMap<Mark, TenantName>);

impl Tenants {
    /// These.
    pub fn new<'a>(names: impl Iterator<Item = &'a TenantName>) -> Self {
        Self(names.map(|name| (Mark::of_tenant(name), name.clone())).collect())
    }

    fn mark(&self, name: Option<&TenantName>) -> Option<Mark> {
        let mark = name.filter(|_| !self.0.is_empty()).map(Mark::of_tenant)?;
        self.0.contains_key(&mark).then_some(mark)
    }
}

/// What a recipient of ours is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Bounces of this message.
    Bounces(Trace),
    /// Bounces of what a platform has sent to this recipient, as its unsigned reverse-path says.
    Unsigned(Mailbox),
    /// Complaints.
    Complaints,
}

/// How much of a report is vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// The message and the recipient.
    Recipient,
    /// The message; whoever has had it may have written the report.
    Message,
}

impl Vouched {
    /// As events write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recipient => "recipient",
            Self::Message => "message",
        }
    }
}

/// What tokens say of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The message, and what stands for its recipient.
    pub trace: Option<Trace>,
    /// The recipient, where it is in the token itself.
    pub recipient: Option<Mailbox>,
    /// Whose message it was.
    pub tenant: Option<TenantName>,
}

/// Whom a report is about, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The message.
    pub message: Option<MessageId>,
    /// The recipient.
    pub recipient: Option<&'a Mailbox>,
    /// What a token vouches for of this.
    pub vouched: Option<Vouched>,
}

impl Returns {
    /// The reverse-path that a message leaves with; `None`: its own. `recipients`: places in its
    /// envelope of those that it leaves for.
    pub fn reverse_path(
        &self,
        message: MessageId,
        envelope: &Envelope,
        recipients: &[u16],
        now: WallTime,
    ) -> Option<Mailbox> {
        // What has none is not to be answered (RFC 5321 §4.5.5), by nobody.
        if self.mode == Mode::Off || envelope.reverse_path.is_null() {
            return None;
        }
        let recipient = match recipients {
            [only] if self.mode == Mode::Recipient || envelope.recipients.len() == 1 => Some(only),
            _ => None,
        };
        let path = |place: &u16| &envelope.recipients[usize::from(*place)].forward_path;
        let recipient = recipient.map(|place| Mark::of(path(place).as_str()));
        let handling = envelope.handling.as_ref();
        let tenant = self.tenants.mark(handling.and_then(|it| it.tenant.as_ref()));
        Some(self.verp.reverse_path(Trace { message, recipient, tenant }, now))
    }

    /// Whether mail to this domain may be ours.
    pub fn is_at(&self, domain: &Domain) -> bool {
        self.verp.address().domain() == domain
            || self.complaints.iter().any(|address| address.domain() == domain)
    }

    /// What a recipient is for; `None`: it is none of ours. An error is what its client is told.
    pub fn judge(&self, recipient: &Mailbox, now: WallTime) -> Option<Result<Address, Reply>> {
        let is_complaints = |address: &&Mailbox| is_same(address, recipient);
        if self.complaints.iter().find(is_complaints).is_some() {
            return Some(Ok(Address::Complaints));
        }
        match self.verp.read(recipient, now) {
            Some(Ok(trace)) => Some(Ok(Address::Bounces(trace))),
            Some(Err(error)) => Some(Err(refusal(error))),
            None if recipient.domain() != self.verp.address().domain() => None,
            None if is_same(self.verp.address(), recipient) => {
                Some(Err(refusal(TokenError::Forged)))
            }
            None if self.classic => {
                verp::original_recipient(recipient).map(|of| Ok(Address::Unsigned(of)))
            }
            None => None,
        }
    }

    /// Whose message a token is of, where the node knows tenants.
    fn tenant(&self, trace: Option<Trace>) -> Option<&TenantName> {
        self.tenants.0.get(&trace?.tenant?)
    }

    /// Fields that tell providers where to send complaints, and about which message (RFC 9477).
    pub fn announcement(
        &self,
        message: MessageId,
        envelope: &Envelope,
        tenant: Option<&TenantName>,
        now: WallTime,
    ) -> Option<String> {
        let address = self.complaints.first().filter(|_| self.announces)?;
        if envelope.reverse_path.is_null() {
            return None;
        }
        let token = match envelope.recipients.as_slice() {
            [Recipient { forward_path: ForwardPath::Mailbox(only), .. }] => {
                let (recipient, tenant) = (only.clone(), tenant.cloned());
                self.verp.seal(Use::FeedbackId, &Sealed { message, recipient, tenant }, now)
            }
            _ => {
                let tenant = self.tenants.mark(tenant);
                let trace = Trace { message, recipient: None, tenant };
                self.verp.token(Use::FeedbackId, trace, now)
            }
        };
        Some(format!("CFBL-Address: {address}; report=arf\r\nCFBL-Feedback-ID: {token}\r\n"))
    }

    /// What a report to `Address::Complaints` is about: by the id, or else the reverse-path, that
    /// it gives back.
    pub fn known(
        &self,
        reverse_path: Option<&Mailbox>,
        feedback_id: Option<&str>,
        now: WallTime,
    ) -> Known {
        let sealed = feedback_id.and_then(|id| self.verp.open(Use::FeedbackId, id, now).ok());
        let by_path = reverse_path.and_then(|path| self.verp.read(path, now)?.ok());
        if let Some(Sealed { message, recipient, tenant }) = sealed {
            let trace =
                Trace { message, recipient: Some(Mark::of(recipient.as_str())), tenant: None };
            // An id is made before the header of a message says whose it is.
            let of_same = by_path.filter(|by_path| by_path.message == message);
            let tenant = tenant.or_else(|| self.tenant(of_same).cloned());
            return Known { trace: Some(trace), recipient: Some(recipient), tenant };
        }
        let by_id = || self.verp.check(Use::FeedbackId, feedback_id?, now).ok();
        self.traced(by_path.or_else(by_id))
    }

    /// What a token says.
    pub fn traced(&self, trace: Option<Trace>) -> Known {
        Known { trace, recipient: None, tenant: self.tenant(trace).cloned() }
    }

    /// Whom something is about that came back. `named`: the recipient that it speaks of, or whom
    /// the sender wrote to, where it says that; `others`: whom the message may have been for.
    pub fn subject<'a>(
        trace: Option<Trace>,
        named: impl Iterator<Item = &'a Mailbox> + Clone,
        others: impl Iterator<Item = &'a Mailbox>,
    ) -> Subject<'a> {
        let first = named.clone().next();
        let Some(Trace { message, recipient: mark, tenant: _ }) = trace else {
            return Subject { message: None, recipient: first, vouched: None };
        };
        let message = Some(message);
        let is_marked = |one: &&Mailbox| Some(Mark::of(one.as_str())) == mark;
        // Who was written to may have sent it on, to somebody whom the report names.
        match named.chain(others).find(is_marked) {
            Some(marked) => {
                let vouched = Some(Vouched::Recipient);
                Subject { message, recipient: Some(marked), vouched }
            }
            None => Subject { message, recipient: first, vouched: Some(Vouched::Message) },
        }
    }
}

/// What is said to a second address of ours in a transaction: a report is about one.
pub fn one_at_a_time() -> Reply {
    reply(452, (4, 5, 3), "One of these at a time")
}

fn is_same(one: &Mailbox, other: &Mailbox) -> bool {
    one.domain() == other.domain() && one.local_part().eq_ignore_ascii_case(other.local_part())
}

fn refusal(error: TokenError) -> Reply {
    match error {
        TokenError::Forged => reply(550, (5, 1, 1), "No such recipient here"),
        TokenError::Expired => reply(550, (5, 1, 6), "That was sent too long ago"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mail::address::ReversePath;
    use crate::mail::envelope::{BodyType, Notify, TlsWish};
    use crate::mail::handling::Handling;
    use crate::policy::verp::Secrets;

    const NOW: WallTime = WallTime(1_795_491_661_007);
    const MESSAGE: MessageId = MessageId(77);

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text, true).expect("an address")
    }

    fn returns(mode: Mode) -> Returns {
        let secrets = Secrets::parse("0123456789abcdef0123456789abcdef").expect("secrets");
        let lifetime = Duration::from_secs(30 * 86_400);
        let address = mailbox("bounces@b.example");
        Returns {
            verp: Verp::new(address, secrets.into(), lifetime).expect("it fits"),
            mode,
            classic: false,
            complaints: vec![mailbox("fbl@b.example"), mailbox("abuse@c.example")],
            announces: true,
            forward_to: None,
            tenants: Tenants::new([&TenantName::parse("acme").expect("a name")].into_iter()),
        }
    }

    fn envelope(recipients: &[&str]) -> Envelope {
        let recipient = |address: &&str| Recipient {
            forward_path: ForwardPath::Mailbox(mailbox(address)),
            notify: Notify::Default,
            original: None,
        };
        Envelope {
            reverse_path: ReversePath(Some(mailbox("news@a.example"))),
            body_type: BodyType::SevenBit,
            smtp_utf8: false,
            tls: TlsWish::Unsaid,
            ret: None,
            envelope_id: None,
            handling: None,
            recipients: recipients.iter().map(recipient).collect(),
        }
    }

    fn trace(returns: &Returns, path: &Mailbox) -> Trace {
        match returns.judge(path, NOW) {
            Some(Ok(Address::Bounces(trace))) => trace,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn a_recipient_is_signed_where_it_costs_nothing_or_is_wanted() {
        let (one, two) = (envelope(&["u@x.example"]), envelope(&["u@x.example", "v@x.example"]));
        let mark = Some(Mark::of("u@x.example"));
        for (mode, envelope, recipients, expected) in [
            (Mode::Message, &one, &[0][..], mark),
            (Mode::Message, &two, &[0], None),
            (Mode::Message, &two, &[0, 1], None),
            (Mode::Recipient, &one, &[0], mark),
            (Mode::Recipient, &two, &[0], mark),
            // Two in a transaction have one reverse-path.
            (Mode::Recipient, &two, &[0, 1], None),
        ] {
            let returns = returns(mode);
            let path = returns.reverse_path(MESSAGE, envelope, recipients, NOW).expect("a path");
            let expected = Trace { message: MESSAGE, recipient: expected, tenant: None };
            assert_eq!(trace(&returns, &path), expected, "{mode:?} {recipients:?}");
        }
        assert_eq!(returns(Mode::Off).reverse_path(MESSAGE, &one, &[0], NOW), None);
    }

    #[test]
    fn a_token_says_whose_message_it_is_where_the_node_knows_them() {
        let returns = returns(Mode::Message);
        let name = |text: &str| TenantName::parse(text).expect("a name");
        for (tenant, known) in [("acme", true), ("else", false)] {
            let tenant = Some(name(tenant));
            let handling = Some(Handling { tenant: tenant.clone(), ..Handling::default() }.into());
            let envelope = Envelope { handling, ..envelope(&["u@x.example"]) };
            let path = returns.reverse_path(MESSAGE, &envelope, &[0], NOW).expect("a path");
            let found = returns.tenant(Some(trace(&returns, &path)));
            assert_eq!(found, tenant.as_ref().filter(|_| known));
            let fields = returns.announcement(MESSAGE, &envelope, tenant.as_ref(), NOW);
            let fields = fields.expect("fields");
            let id = fields.rsplit(' ').next().expect("an id").trim_end();
            assert_eq!(returns.known(None, Some(id), NOW).tenant, tenant);
            // Made before its header said whose the message is, as the reverse-path was not.
            let early = returns.announcement(MESSAGE, &envelope, None, NOW).expect("fields");
            let id = early.rsplit(' ').next().expect("an id").trim_end();
            let told = returns.known(Some(&path), Some(id), NOW).tenant;
            assert_eq!(told, tenant.filter(|_| known));
            let other = returns.announcement(MessageId(78), &envelope, None, NOW).expect("fields");
            let id = other.rsplit(' ').next().expect("an id").trim_end();
            assert_eq!(returns.known(Some(&path), Some(id), NOW).tenant, None);
        }
        assert_eq!(returns.tenant(None), None);
    }

    #[test]
    fn the_null_reverse_path_stays_and_announces_nothing() {
        let returns = returns(Mode::Recipient);
        let null = Envelope { reverse_path: ReversePath::NULL, ..envelope(&["u@x.example"]) };
        assert_eq!(returns.reverse_path(MESSAGE, &null, &[0], NOW), None);
        assert_eq!(returns.announcement(MESSAGE, &null, None, NOW), None);
    }

    #[test]
    fn what_looks_like_ours_and_is_not_is_refused_and_the_rest_is_others() {
        let mut returns = returns(Mode::Message);
        let path = returns.reverse_path(MESSAGE, &envelope(&["u@x.example"]), &[0], NOW);
        let path = path.expect("a path");
        let late = NOW + Duration::from_secs(32 * 86_400);
        let expired = returns.judge(&path, late).expect("ours").expect_err("too old");
        assert_eq!(expired.to_string(), "550 5.1.6 That was sent too long ago");
        for forged in ["bounces@b.example", "Bounces@B.example", "bounces+x@b.example"] {
            let refused = returns.judge(&mailbox(forged), NOW).expect("ours").expect_err("forged");
            assert_eq!(refused.to_string(), "550 5.1.1 No such recipient here", "{forged}");
        }
        for address in ["fbl@b.example", "FBL@b.example", "abuse@c.example"] {
            assert_eq!(returns.judge(&mailbox(address), NOW), Some(Ok(Address::Complaints)));
        }
        for other in ["x@b.example", "news+u=x.example@b.example", "bounces+x@c.example"] {
            assert_eq!(returns.judge(&mailbox(other), NOW), None, "{other}");
        }
        returns.classic = true;
        let unsigned = returns.judge(&mailbox("news+u=x.example@b.example"), NOW);
        assert_eq!(unsigned, Some(Ok(Address::Unsigned(mailbox("u@x.example")))));
        let elsewhere = returns.judge(&mailbox("news+u=x.example@c.example"), NOW);
        assert_eq!(elsewhere, None);
    }

    /// RFC 9477 §3.3 wants an id that is hard to forge.
    #[test]
    fn complaints_are_told_where_to_go_and_come_back_by_their_id() {
        let returns = returns(Mode::Off);
        let fields = returns.announcement(MESSAGE, &envelope(&["u@x.example"]), None, NOW);
        let fields = fields.expect("fields");
        let id = fields.strip_prefix("CFBL-Address: fbl@b.example; report=arf\r\n");
        let id = id.and_then(|rest| rest.strip_prefix("CFBL-Feedback-ID: ")).expect("an id");
        let known = returns.known(None, Some(id.trim_end()), NOW);
        let mark = Some(Mark::of("u@x.example"));
        let trace = Trace { message: MESSAGE, recipient: mark, tenant: None };
        assert_eq!((known.trace, known.recipient), (Some(trace), Some(mailbox("u@x.example"))));
        assert_eq!(returns.known(None, Some("x"), NOW), Known::default());
        let two = envelope(&["u@x.example", "v@x.example"]);
        let fields = returns.announcement(MESSAGE, &two, None, NOW).expect("fields");
        let id = fields.rsplit(' ').next().expect("an id").trim_end();
        let known = returns.known(None, Some(id), NOW);
        let trace = Trace { message: MESSAGE, recipient: None, tenant: None };
        assert_eq!(known, Known { trace: Some(trace), ..Known::default() });
        // An id is no reverse-path.
        let path = mailbox(&format!("bounces+{id}@b.example"));
        assert_eq!(returns.known(Some(&path), None, NOW), Known::default());
    }

    /// Who has had a message can bounce it, but nobody else.
    #[test]
    fn a_report_speaks_of_no_other_recipient_than_its_token() {
        let user = mailbox("user@x.example");
        let (victim, forwarded) = (mailbox("victim@x.example"), mailbox("private@y.example"));
        let mark = Some(Mark::of("user@x.example"));
        let marked = Some(Trace { message: MESSAGE, recipient: mark, tenant: None });
        let message = Some(Trace { message: MESSAGE, recipient: None, tenant: None });
        for (trace, named, others, expected) in [
            (marked, vec![&user], vec![], (Some(&user), Some(Vouched::Recipient))),
            (marked, vec![&victim], vec![], (Some(&victim), Some(Vouched::Message))),
            (marked, vec![&forwarded], vec![&user], (Some(&user), Some(Vouched::Recipient))),
            (marked, vec![], vec![&user], (Some(&user), Some(Vouched::Recipient))),
            (marked, vec![], vec![], (None, Some(Vouched::Message))),
            (message, vec![&user], vec![], (Some(&user), Some(Vouched::Message))),
            (None, vec![&user], vec![], (Some(&user), None)),
        ] {
            let subject = Returns::subject(trace, named.into_iter(), others.into_iter());
            assert_eq!((subject.recipient, subject.vouched), expected);
            assert_eq!(subject.message, trace.map(|trace| trace.message));
        }
    }
}
