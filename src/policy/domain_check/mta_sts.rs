//! MTA-STS (RFC 8461): a record with an id, a policy that is served, and MX hosts that are in it.

use crate::base::limits::STS_AGE_USUAL;
use crate::dns::Name;
use crate::policy::domain_check::finding::{Finding, Served, Status, Topic};
use crate::policy::domain_check::known::Known;
use crate::policy::domain_check::mx::{Mail, mail};
use crate::policy::domain_check::tags::begins;
use crate::policy::domain_check::{PolicyTrouble, PolicyWanted, Subject};
use crate::policy::mta_sts::{Mode, Policy, id};
use crate::policy::zone::Record;

const RECORD: &str = "RFC 8461 §3.1";
const POLICY: &str = "RFC 8461 §3.2";
const FETCH: &str = "RFC 8461 §3.3";
const HOSTS: &str = "RFC 8461 §4.1";

pub(super) fn check(subject: &Subject, known: &Known) -> Option<Vec<Finding>> {
    let name = format!("_mta-sts.{}", subject.domain);
    let finding = |status, found: &str, rfc| Finding::new(Topic::MtaSts, &name, status, found, rfc);
    let (mail, texts) = (mail(subject, known), known.texts(&name));
    let (mail, texts) = (mail?, texts?);
    if matches!(mail, Mail::Null) {
        return Some(vec![finding(Status::Info, "not needed: it takes no mail", RECORD)]);
    }
    let texts = match texts {
        Err(reason) => return Some(vec![finding(Status::Unchecked, reason, RECORD)]),
        Ok(texts) => texts,
    };
    let here = Name::try_from(&subject.hostname).ok();
    let here = here.filter(|_| is_told(&mail));
    let unknown = if let Mail::Unknown(reason) = &mail { Some(reason.as_str()) } else { None };
    let advice = Advice { subject, name: &name, hosts: hosts(&mail), unknown, here };
    let records: Vec<_> = texts.iter().copied().filter(|text| begins(text, "v", "STSv1")).collect();
    let id = id(records.iter().copied());
    Some(vec![match (records.len(), id) {
        (0, _) => {
            let found = "no policy: TLS to its MX hosts can be stripped by who is between";
            let finding = finding(Status::Warn, found, RECORD).add([advice.record()]);
            advice.serve(finding, Mode::Testing)
        }
        //= RFC 8461 §3.1
        //# If the number of resulting records is not one, or if the resulting record is
        //# syntactically invalid, senders MUST assume the recipient domain does not have an
        //# available MTA-STS Policy
        (1, None) => finding(Status::Fail, "the record has no id that is right", RECORD)
            .instead(advice.record()),
        (1, Some(id)) => return of_policy(&id, &advice, known).map(|one| vec![one]),
        (several, _) => {
            let found = format!("{several} records, so there is no policy");
            finding(Status::Fail, &found, RECORD).instead(advice.record())
        }
    }])
}

/// The hosts that mail goes to now.
fn hosts(mail: &Mail) -> Vec<&Name> {
    match mail {
        Mail::Hosts { hosts, .. } => hosts.iter().map(|(_, host)| host).collect(),
        Mail::Null | Mail::NoHosts(_) | Mail::NoDomain | Mail::Unknown(_) => Vec::new(),
    }
}

/// Whether the domain is told to make this node its MX host.
fn is_told(mail: &Mail) -> bool {
    match mail {
        Mail::Hosts { implicit, .. } => *implicit,
        Mail::NoHosts(_) | Mail::NoDomain => true,
        Mail::Null | Mail::Unknown(_) => false,
    }
}

/// What is to be said of a domain that says that it has a policy.
fn of_policy(id: &str, advice: &Advice<'_>, known: &Known) -> Option<Finding> {
    let domain = &advice.subject.domain;
    let finding =
        |status, found: &str, rfc| Finding::new(Topic::MtaSts, advice.name, status, found, rfc);
    let host = format!("mta-sts.{domain}");
    let Ok(web) = Name::parse(&host) else {
        return Some(finding(Status::Fail, "the name of its policy host is too long", FETCH));
    };
    let addresses = known.addresses(&web)?;
    if let (true, Some(reason)) = (addresses.all.is_empty(), addresses.unknown) {
        return Some(finding(Status::Unchecked, &reason, FETCH));
    }
    if addresses.all.is_empty() {
        let found = format!("there is no host {host}, which would serve the policy");
        return Some(advice.serve(finding(Status::Fail, &found, FETCH), Mode::Testing));
    }
    let wanted = PolicyWanted { domain: domain.clone(), addresses: addresses.all };
    let text = match known.policy(wanted)? {
        Err(PolicyTrouble::Unknown(reason)) => {
            return Some(finding(Status::Unchecked, &reason, FETCH));
        }
        Err(trouble) => {
            let reason = trouble.to_string();
            let finding = finding(Status::Fail, &reason, FETCH);
            return Some(advice.serve(finding, Mode::Testing));
        }
        Ok(text) => text,
    };
    if let Some(reason) = advice.unknown {
        return Some(finding(Status::Unchecked, reason, HOSTS));
    }
    Some(match Policy::parse(text) {
        Ok(policy) => judge(&policy, id, advice),
        Err(error) => {
            let found = format!("what is served is no policy: {error}");
            let finding = finding(Status::Fail, &found, POLICY).instead(advice.record());
            advice.serve(finding, Mode::Testing)
        }
    })
}

/// What a policy is worth.
fn judge(policy: &Policy, id: &str, advice: &Advice<'_>) -> Finding {
    let finding =
        |status, found: &str, rfc| Finding::new(Topic::MtaSts, advice.name, status, found, rfc);
    let changed = |finding: Finding, mode| advice.serve(finding.instead(advice.record()), mode);
    let stranger = advice.hosts.iter().find(|host| !policy.names(host.as_str()));
    if let Some(host) = stranger.filter(|_| policy.mode != Mode::None) {
        let found = format!("MX host {host} is not in the policy");
        return match policy.mode {
            Mode::Enforce => changed(finding(Status::Fail, &found, HOSTS), Mode::Enforce),
            Mode::Testing | Mode::None => {
                changed(finding(Status::Warn, &found, HOSTS), Mode::Testing)
            }
        };
    }
    match policy.mode {
        Mode::None => {
            let found = "mode: none, as if there were no policy";
            changed(finding(Status::Warn, found, POLICY), Mode::Testing)
        }
        Mode::Testing => {
            let found = "mode: testing, so that nothing is enforced yet";
            changed(finding(Status::Warn, found, POLICY), Mode::Enforce)
        }
        Mode::Enforce if policy.max_age < STS_AGE_USUAL => {
            let found = format!("max_age: {}, weeks are usual", policy.max_age.as_secs());
            changed(finding(Status::Warn, &found, POLICY), Mode::Enforce)
        }
        Mode::Enforce => {
            let days = policy.max_age.as_secs() / 86_400;
            finding(Status::Pass, &format!("enforced for {days} days, id {id}"), POLICY)
        }
    }
}

/// What would be right.
struct Advice<'a> {
    subject: &'a Subject,
    name: &'a str,
    /// MX hosts as they are.
    hosts: Vec<&'a Name>,
    /// Why they are not known.
    unknown: Option<&'a str>,
    /// The one that there should be instead.
    here: Option<Name>,
}

impl Advice<'_> {
    //= RFC 8461 §3.1
    //# id: A short string used to track policy updates.
    /// The record, with an id that no policy had before.
    fn record(&self) -> Record {
        let now = self.subject.now.to_rfc3339();
        let id: String = now.chars().take(19).filter(char::is_ascii_alphanumeric).collect();
        Record::txt(self.name, &format!("v=STSv1; id={id}Z;"))
    }

    /// And with a policy to serve, where it is known of which hosts.
    fn serve(&self, mut finding: Finding, mode: Mode) -> Finding {
        let mode = match mode {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        };
        let hosts = match &self.here {
            Some(here) => vec![here],
            None => self.hosts.clone(),
        };
        if !hosts.is_empty() {
            let hosts: String = hosts.iter().map(|host| format!("mx: {host}\n")).collect();
            let age = STS_AGE_USUAL.as_secs();
            finding.serve = Some(Served {
                url: format!("https://mta-sts.{}/.well-known/mta-sts.txt", self.subject.domain),
                text: format!("version: STSv1\nmode: {mode}\n{hosts}max_age: {age}\n"),
            });
        }
        finding
    }
}
