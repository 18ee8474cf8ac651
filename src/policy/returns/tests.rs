//! What comes back says whose it was, as far as a token vouches for it.

use std::time::Duration;

use super::*;
use crate::mail::address::ReversePath;
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
        campaigns: Arc::default(),
    }
}

fn envelope(recipients: &[&str]) -> Envelope {
    let recipient = |address: &&str| Recipient::plain(mailbox(address));
    Envelope::plain(
        ReversePath(Some(mailbox("news@a.example"))),
        recipients.iter().map(recipient).collect(),
    )
}

fn of(tenant: Option<&TenantName>) -> Whose<'_> {
    Whose { tenant, campaign: None }
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
        let expected =
            Trace { message: MESSAGE, recipient: expected, tenant: None, campaign: None };
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
        let fields = returns.announcement(MESSAGE, &envelope, of(tenant.as_ref()), NOW);
        let fields = fields.expect("fields");
        let id = fields.rsplit(' ').next().expect("an id").trim_end();
        assert_eq!(returns.known(None, Some(id), NOW).tenant, tenant);
        // Made before its header said whose the message is, as the reverse-path was not.
        let early = returns.announcement(MESSAGE, &envelope, of(None), NOW).expect("fields");
        let id = early.rsplit(' ').next().expect("an id").trim_end();
        let told = returns.known(Some(&path), Some(id), NOW).tenant;
        assert_eq!(told, tenant.filter(|_| known));
        let other = returns.announcement(MessageId(78), &envelope, of(None), NOW).expect("fields");
        let id = other.rsplit(' ').next().expect("an id").trim_end();
        assert_eq!(returns.known(Some(&path), Some(id), NOW).tenant, None);
    }
    assert_eq!(returns.tenant(None), None);
}

#[test]
fn a_campaign_comes_back_with_its_tenant() {
    let name = TenantName::parse("acme").expect("a name");
    let (news, more) = (CampaignName::parse("news/2026"), CampaignName::parse("more"));
    let (news, more) = (news.expect("a name"), more.expect("a name"));
    let of_campaign = |tenant: &TenantName, campaign: &CampaignName, recipients: &[&str]| {
        let (tenant, campaign) = (Some(tenant.clone()), Some(campaign.clone()));
        let handling = Handling { tenant, campaign, ..Handling::default() };
        Envelope { handling: Some(handling.into()), ..envelope(recipients) }
    };
    let mut returns = returns(Mode::Message);
    let one = of_campaign(&name, &news, &["u@x.example"]);
    let path = returns.reverse_path(MESSAGE, &one, &[0], NOW).expect("a path");
    let bounced = |returns: &Returns, id| returns.bounced(trace(returns, &path), id, NOW).campaign;
    assert_eq!(bounced(&returns, None), Some(news.clone()));
    // A complaint has it by its id; or by its reverse-path, where its id was made too early.
    let id = |returns: &Returns, envelope: &Envelope, whose| {
        let fields = returns.announcement(MESSAGE, envelope, whose, NOW).expect("fields");
        fields.rsplit(' ').next().expect("an id").trim_end().to_owned()
    };
    let whose = Whose { tenant: Some(&name), campaign: Some(&news) };
    let two = of_campaign(&name, &news, &["u@x.example", "v@x.example"]);
    for (path, id) in [
        (None, id(&returns, &one, whose)),
        (None, id(&returns, &two, whose)),
        (Some(&path), id(&returns, &one, of(Some(&name)))),
    ] {
        let known = returns.known(path, Some(&id), NOW);
        assert_eq!((known.tenant.as_ref(), known.campaign.as_ref()), (Some(&name), Some(&news)));
    }
    // Nobody's, and that of a tenant whom the node does not know, are not taken note of.
    let other = TenantName::parse("else").expect("a name");
    let else_one = of_campaign(&other, &more, &["u@x.example"]);
    let unknown = returns.reverse_path(MESSAGE, &else_one, &[0], NOW).expect("a path");
    let trace_of_unknown = trace(&returns, &unknown);
    assert_eq!((trace_of_unknown.tenant, trace_of_unknown.campaign), (None, None));
    assert_eq!(returns.campaigns.all().len(), 1);
    // Whoever forgot it still has it by the id of the same message, and of no other.
    let right = id(&returns, &one, whose);
    let wrong = returns.announcement(MessageId(78), &one, whose, NOW).expect("fields");
    let wrong = wrong.rsplit(' ').next().expect("an id").trim_end();
    returns.campaigns = Arc::default();
    assert_eq!(bounced(&returns, None), None);
    assert_eq!(bounced(&returns, Some(wrong)), None);
    assert_eq!(bounced(&returns, Some(&right)), Some(news));
}

#[test]
fn the_null_reverse_path_stays_and_announces_nothing() {
    let returns = returns(Mode::Recipient);
    let null = Envelope { reverse_path: ReversePath::NULL, ..envelope(&["u@x.example"]) };
    assert_eq!(returns.reverse_path(MESSAGE, &null, &[0], NOW), None);
    assert_eq!(returns.announcement(MESSAGE, &null, of(None), NOW), None);
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
    let fields = returns.announcement(MESSAGE, &envelope(&["u@x.example"]), of(None), NOW);
    let fields = fields.expect("fields");
    let id = fields.strip_prefix("CFBL-Address: fbl@b.example; report=arf\r\n");
    let id = id.and_then(|rest| rest.strip_prefix("CFBL-Feedback-ID: ")).expect("an id");
    let known = returns.known(None, Some(id.trim_end()), NOW);
    let mark = Some(Mark::of("u@x.example"));
    let trace = Trace { message: MESSAGE, recipient: mark, tenant: None, campaign: None };
    assert_eq!((known.trace, known.recipient), (Some(trace), Some(mailbox("u@x.example"))));
    assert_eq!(returns.known(None, Some("x"), NOW), Known::default());
    let two = envelope(&["u@x.example", "v@x.example"]);
    let fields = returns.announcement(MESSAGE, &two, of(None), NOW).expect("fields");
    let id = fields.rsplit(' ').next().expect("an id").trim_end();
    let known = returns.known(None, Some(id), NOW);
    let trace = Trace { message: MESSAGE, recipient: None, tenant: None, campaign: None };
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
    let marked = Some(Trace { message: MESSAGE, recipient: mark, tenant: None, campaign: None });
    let message = Some(Trace { message: MESSAGE, recipient: None, tenant: None, campaign: None });
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
