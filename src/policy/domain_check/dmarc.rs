//! DMARC (RFC 9989): a policy, the domain's own or one above it, that asks for something; and
//! reports that somebody gets.

use crate::base::limits::{CHECK_REPORT_HOSTS_MAX, DMARC_WALK_LABELS_MAX};
use crate::policy::domain_check::Subject;
use crate::policy::domain_check::finding::{Finding, Status, Topic};
use crate::policy::domain_check::known::Known;
use crate::policy::domain_check::reports::{Target, targets};
use crate::policy::domain_check::tags::{Tags, TagsError, begins};
use crate::policy::zone::Record;

const POLICY: &str = "RFC 9989 §4.7";
const WALK: &str = "RFC 9989 §4.10";
const ELSEWHERE: &str = "RFC 7489 §7.1";

/// The words of a policy, from the weakest on.
const POLICIES: [&str; 3] = ["none", "quarantine", "reject"];

/// What stands at a name.
enum At<'a> {
    Nothing,
    One(Tags<'a>),
    Broken(TagsError),
    Several(Vec<&'a [u8]>),
    Unknown(&'a str),
}

/// The names of a walk up the tree, and what stands there; the domain itself first.
struct Walk<'a>(Vec<(&'a str, At<'a>)>);

pub(super) fn check(subject: &Subject, known: &Known) -> Option<Vec<Finding>> {
    let domain = subject.domain.as_str();
    let walk = Walk::of(domain, known)?;
    let finding = |status, found: &str, rfc| {
        Finding::new(Topic::Dmarc, format!("_dmarc.{domain}"), status, found, rfc)
    };
    let own = walk.0.first().map_or(&At::Nothing, |(_, at)| at);
    let (at, tags) = match own {
        At::Unknown(reason) => return Some(vec![finding(Status::Unchecked, reason, POLICY)]),
        At::Broken(error) => {
            let found = format!("the record is malformed: {error}");
            return Some(vec![finding(Status::Fail, &found, POLICY).instead(usual(domain, 0))]);
        }
        // RFC 9989 §4.10: of several records at a name, none counts.
        At::Several(several) => {
            let found = format!("{} DMARC records, so none counts", several.len());
            let right = strictest(several).map(|text| Record::txt(&record_name(domain), &text));
            let right = right.unwrap_or_else(|| usual(domain, 0));
            return Some(vec![finding(Status::Fail, &found, WALK).instead(right)]);
        }
        At::One(tags) => (domain, tags),
        At::Nothing => match walk.inherited() {
            Ok(Some(found)) => found,
            Ok(None) => {
                let found = "no DMARC record: large receivers refuse bulk mail without one";
                let status = if subject.sends { Status::Fail } else { Status::Warn };
                return Some(vec![finding(status, found, POLICY).add([usual(domain, 0)])]);
            }
            Err(reason) => return Some(vec![finding(Status::Unchecked, reason, WALK)]),
        },
    };
    let mut findings = vec![judge(domain, at, tags)];
    findings.extend(reports(at, tags, walk.organization(), known)?);
    Some(findings)
}

fn record_name(domain: &str) -> String {
    format!("_dmarc.{domain}")
}

/// A record for a domain that has none, with one of [`POLICIES`].
fn usual(domain: &str, policy: usize) -> Record {
    let policy = POLICIES[policy];
    let text = format!("v=DMARC1; p={policy}; rua=mailto:postmaster@{domain}");
    Record::txt(&record_name(domain), &text)
}

/// Of several records the one that asks for the most.
fn strictest(records: &[&[u8]]) -> Option<String> {
    let rank = |tags: &Tags<'_>| POLICIES.iter().position(|word| tags.find("p") == Some(*word));
    let read = records.iter().filter_map(|record| Tags::parse(record).ok());
    let best = read.filter_map(|tags| Some((rank(&tags)?, tags))).max_by_key(|(rank, _)| *rank)?;
    Some(best.1.text())
}

impl<'a> Walk<'a> {
    //= RFC 9989 §4.10
    //# the domain, then each above it; of long names the left is cut, so that eight questions do
    fn of(domain: &'a str, known: &'a Known) -> Option<Self> {
        let labels = |name: &str| name.split('.').count();
        let above = std::iter::successors(Some(domain), |name| Some(name.split_once('.')?.1));
        let asked = above.filter(|name| *name == domain || labels(name) <= DMARC_WALK_LABELS_MAX);
        let seen: Vec<_> = asked.map(|name| (name, known.texts(&record_name(name)))).collect();
        let seen = seen.into_iter().map(|(name, texts)| {
            let texts = match texts? {
                Err(reason) => return Some((name, At::Unknown(reason))),
                Ok(texts) => texts,
            };
            let mut records: Vec<_> =
                texts.into_iter().filter(|text| begins(text, "v", "DMARC1")).collect();
            // Name servers give them in any order.
            records.sort_unstable();
            let at = match records.as_slice() {
                [] => At::Nothing,
                [one] => Tags::parse(one).map_or_else(At::Broken, At::One),
                _ => At::Several(records),
            };
            Some((name, at))
        });
        seen.collect::<Option<_>>().map(Self)
    }

    fn found(&self) -> impl DoubleEndedIterator<Item = (&'a str, &Tags<'a>)> {
        self.0.iter().filter_map(|(name, at)| match at {
            At::One(tags) => Some((*name, tags)),
            At::Nothing | At::Broken(_) | At::Several(_) | At::Unknown(_) => None,
        })
    }

    /// The domain that an organization begins at, as far as records tell (RFC 9989 §4.10.2).
    fn organization(&self) -> &'a str {
        let own = self.0.first().map_or("", |(name, _)| *name);
        let says = |word: &str| self.found().find(|(_, tags)| tags.find("psd") == Some(word));
        if let Some((name, _)) = says("n") {
            return name;
        }
        if let Some((suffix, _)) = says("y").filter(|(suffix, _)| *suffix != own) {
            let left = own.len().saturating_sub(suffix.len() + 1);
            return own[..left].rfind('.').map_or(own, |dot| &own[dot + 1..]);
        }
        self.found().next_back().map_or(own, |(name, _)| name)
    }

    /// The policy above a domain that has none; or why nobody can say.
    fn inherited(&self) -> Result<Option<(&'a str, &Tags<'a>)>, &'a str> {
        let unknown = self.0.iter().find_map(|(_, at)| match at {
            At::Unknown(reason) => Some(*reason),
            At::Nothing | At::One(_) | At::Broken(_) | At::Several(_) => None,
        });
        let organization = self.organization();
        let of_organization = self.found().find(|(name, _)| *name == organization);
        let found = of_organization.or_else(|| self.found().next_back());
        match (found, unknown) {
            (None, Some(reason)) => Err(reason),
            (found, _) => Ok(found),
        }
    }
}

/// What a policy that stands at `at` is worth to `domain`.
fn judge(domain: &str, at: &str, tags: &Tags<'_>) -> Finding {
    let is_own = at == domain;
    let inherited = || tags.find("sp").or_else(|| tags.find("p"));
    let policy = if is_own { tags.find("p") } else { inherited() };
    let finding = |status, found: &str| {
        Finding::new(Topic::Dmarc, record_name(domain), status, found, POLICY)
    };
    let Some(rank) = POLICIES.iter().position(|word| policy == Some(*word)) else {
        let found = format!("p={} is no policy", policy.unwrap_or_default());
        return finding(Status::Fail, &found).instead(usual(domain, 0));
    };
    let mut problems = Vec::new();
    if rank == 0 {
        problems.push("p=none: receivers are asked for nothing");
    }
    if tags.find("t") == Some("y") {
        problems.push("t=y: it is under test");
    }
    if tags.find("pct").is_some_and(|percent| percent != "100") {
        problems.push("pct=: it is meant for a part of the mail, or for none");
    }
    if tags.find("rua").is_none() {
        problems.push("no rua=: nobody gets reports");
    }
    let shown = tags.text();
    let from = if is_own { shown } else { format!("{shown} (of {at})") };
    if problems.is_empty() {
        return finding(Status::Pass, &from);
    }
    let finding = finding(Status::Warn, &problems.join("; "));
    if is_own { finding.instead(improved(domain, tags)) } else { finding.add([usual(domain, 1)]) }
}

/// The record without what is wrong with it.
fn improved(domain: &str, tags: &Tags<'_>) -> Record {
    let rua = format!("mailto:postmaster@{domain}");
    let mut tags = tags.clone();
    tags.remove("t");
    tags.remove("pct");
    if tags.find("p") == Some(POLICIES[0]) {
        tags.set("p", POLICIES[1]);
    }
    if tags.find("rua").is_none() {
        tags.set("rua", &rua);
    }
    Record::txt(&record_name(domain), &tags.text())
}

/// Whether those elsewhere to whom reports go have said that they take them. Without that most
/// receivers send none.
fn reports(at: &str, tags: &Tags<'_>, organization: &str, known: &Known) -> Option<Vec<Finding>> {
    let is_within = |host: &str| {
        let above = host.strip_suffix(organization);
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    };
    let mut hosts: Vec<String> = targets(tags.find("rua").unwrap_or_default())
        .filter_map(|target| match target {
            Target::Mail(host) => Some(host.to_ascii_lowercase()),
            Target::Web | Target::Other(_) => None,
        })
        .filter(|host| !is_within(host))
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts.truncate(CHECK_REPORT_HOSTS_MAX);
    let names = hosts.into_iter().map(|host| format!("{at}._report._dmarc.{host}"));
    let seen: Vec<_> = names.map(|name| (known.texts(&name), name)).collect();
    let mut findings = Vec::new();
    for (texts, name) in seen {
        let finding =
            |status, found: &str| Finding::new(Topic::Dmarc, &name, status, found, ELSEWHERE);
        match texts? {
            Err(reason) => findings.push(finding(Status::Unchecked, reason)),
            Ok(texts) if texts.iter().any(|text| begins(text, "v", "DMARC1")) => {}
            Ok(_) => {
                let found = "no record there, so most receivers send no reports there";
                let right = Record::txt(&name, "v=DMARC1");
                findings.push(finding(Status::Warn, found).add([right]));
            }
        }
    }
    Some(findings)
}
