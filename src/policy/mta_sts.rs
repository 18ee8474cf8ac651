//! Read what a domain says of TLS with its MX hosts over HTTPS (RFC 8461).
//!
//! In: a TXT record, the text of a policy, names of MX hosts. Out: the record's id, the policy,
//! whether a host is one of its. Invariant: what is not a policy in full is none.

use std::time::Duration;

use crate::base::limits::{STS_AGE_MAX, STS_HOSTS_MAX};

/// What a domain wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How much it means that.
    pub mode: Mode,
    /// The hosts that take its mail, `*.` standing for one label; in lower case.
    hosts: Vec<Box<str>>,
    /// How long that holds.
    pub max_age: Duration,
}

/// How much a domain means its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Mail goes to these hosts, with a certificate that is right, or not at all.
    Enforce,
    /// What would be wrong is told, and nothing follows.
    Testing,
    /// There is no policy any more.
    None,
}

/// Why a text is no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Another version, or no text of this kind.
    #[error("no `version: STSv1`")]
    Version,
    /// No mode, or another than there are.
    #[error("no `mode` that is known")]
    Mode,
    /// No age, or none that can be read.
    #[error("no `max_age`")]
    MaxAge,
    /// No host though there must be one, or more than anyone has.
    #[error("no `mx`, or more than {STS_HOSTS_MAX}")]
    Hosts,
}

/// Why a policy that a domain tells of is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyTrouble {
    /// The web server does not serve it, or not as it must.
    #[error("{0}")]
    NotServed(Box<str>),
    /// The web server's certificate is wrong.
    #[error("{0}")]
    Untrusted(Box<str>),
    /// What it serves is none.
    #[error("{0}")]
    NoPolicy(#[from] PolicyError),
    /// It could not be asked from here.
    #[error("{0}")]
    Unknown(Box<str>),
}

/// The id in the TXT records at `_mta-sts.DOMAIN`; `None` where there is not one record of this
/// version exactly, in other words no policy (RFC 8461 §3.1).
pub fn id<'r>(records: impl Iterator<Item = &'r [u8]>) -> Option<Box<str>> {
    let texts = records.filter_map(|record| std::str::from_utf8(record).ok());
    let mut ours = texts
        .filter(|text| text.split(';').next().is_some_and(|first| is_field(first, "v", "STSv1")));
    let (Some(text), None) = (ours.next(), ours.next()) else { return None };
    let ids = text.split(';').filter_map(|field| field.split_once('='));
    let id = ids.filter(|(name, _)| name.trim() == "id").map(|(_, value)| value.trim()).next()?;
    let is_id =
        (1..=32).contains(&id.len()) && id.bytes().all(|octet| octet.is_ascii_alphanumeric());
    is_id.then(|| id.into())
}

fn is_field(field: &str, name: &str, value: &str) -> bool {
    field.split_once('=').is_some_and(|(n, v)| n.trim() == name && v.trim() == value)
}

impl Mode {
    /// As a policy says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

impl Policy {
    /// The policy that a text is (RFC 8461 §3.2). Fields that nobody knows are passed over, and of
    /// one that may be there once, the first counts.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let fields = || {
            let lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.map(|(name, value)| (name.trim_end(), value.trim()))
        };
        let first =
            |wanted: &str| fields().find(|(name, _)| *name == wanted).map(|(_, value)| value);
        if first("version") != Some("STSv1") {
            return Err(PolicyError::Version);
        }
        let mode = match first("mode") {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            Some(_) | None => return Err(PolicyError::Mode),
        };
        let max_age = first("max_age").and_then(|age| age.parse().ok());
        let max_age = Duration::from_secs(max_age.ok_or(PolicyError::MaxAge)?).min(STS_AGE_MAX);
        let hosts: Vec<Box<str>> = fields()
            .filter(|(name, _)| *name == "mx")
            .map(|(_, host)| host.trim_end_matches('.').to_ascii_lowercase().into())
            .take(STS_HOSTS_MAX + 1)
            .collect();
        let is_right = match mode {
            Mode::Enforce | Mode::Testing => (1..=STS_HOSTS_MAX).contains(&hosts.len()),
            Mode::None => hosts.len() <= STS_HOSTS_MAX,
        };
        if is_right { Ok(Self { mode, hosts, max_age }) } else { Err(PolicyError::Hosts) }
    }

    /// The hosts that it names.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| &**host)
    }

    /// Its fields, a line each, as far as they mean something here.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let head = [String::from("version: STSv1"), format!("mode: {}", self.mode.as_str())];
        let hosts = self.hosts().map(|host| format!("mx: {host}"));
        let age = format!("max_age: {}", self.max_age.as_secs());
        head.into_iter().chain(hosts).chain([age])
    }

    /// Whether mail may go to `host`: RFC 8461 §4.1. `*.` stands for one label, as in certificates.
    pub fn names(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.hosts.iter().any(|pattern| match pattern.strip_prefix("*.") {
            None => **pattern == *host,
            Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\n\
        mx: *.example.net\r\nmx: BackupMX.example.com.\r\nmax_age: 604800\r\n";

    //= RFC 8461 §3.2, type=test
    //# A policy has a version, a mode, a max_age and, unless the mode is none, one mx or more.
    //# Lines end with LF or CRLF.
    #[test]
    fn a_policy_is_read_with_either_line_end() {
        for text in [WHOLE.to_owned(), WHOLE.replace('\r', "")] {
            let policy = Policy::parse(&text).expect("a policy");
            assert_eq!((policy.mode, policy.max_age.as_secs()), (Mode::Enforce, 604_800));
            for host in
                ["mail.example.com", "MAIL.example.com", "a.example.net", "backupmx.example.com"]
            {
                assert!(policy.names(host), "{host}");
            }
            for host in
                ["example.net", "a.b.example.net", "example.com", "mail.example.com.evil", ""]
            {
                assert!(!policy.names(host), "{host}");
            }
        }
        let none = Policy::parse("version: STSv1\nmode: none\nmax_age: 86400\n").expect("a policy");
        assert_eq!(none.mode, Mode::None);
        let long = WHOLE.replace("604800", "99999999999");
        assert_eq!(Policy::parse(&long).expect("a policy").max_age, STS_AGE_MAX);
        let known = WHOLE.replace("mode", "colour: blue\r\nmode");
        assert_eq!(Policy::parse(&known), Policy::parse(WHOLE));
        let policy = Policy::parse(WHOLE).expect("a policy");
        let lines: Vec<_> = policy.lines().collect();
        assert_eq!(Policy::parse(&lines.join("\n")), Ok(policy));
    }

    #[test]
    fn what_is_not_a_policy_in_full_is_none() {
        for (good, bad, error) in [
            ("STSv1", "STSv2", PolicyError::Version),
            ("version", "Version", PolicyError::Version),
            ("enforce", "ENFORCE", PolicyError::Mode),
            ("mode: enforce\r\n", "", PolicyError::Mode),
            ("604800", "-1", PolicyError::MaxAge),
            ("604800", "soon", PolicyError::MaxAge),
            ("max_age", "age", PolicyError::MaxAge),
            ("mx:", "mail:", PolicyError::Hosts),
        ] {
            assert!(WHOLE.contains(good));
            assert_eq!(Policy::parse(&WHOLE.replace(good, bad)), Err(error), "{bad}");
        }
        let many = WHOLE.to_owned() + &"mx: a.example\r\n".repeat(STS_HOSTS_MAX);
        assert_eq!(Policy::parse(&many), Err(PolicyError::Hosts));
        for text in ["", "<html>", ":", "\u{0}"] {
            assert_eq!(Policy::parse(text), Err(PolicyError::Version));
        }
    }

    //= RFC 8461 §3.1, type=test
    //# Where there is not one record that begins with `v=STSv1;`, senders take it that the domain
    //# has no policy.
    #[test]
    fn the_id_is_that_of_the_one_record() {
        let of = |records: &[&str]| id(records.iter().map(|record| record.as_bytes()));
        assert_eq!(of(&["v=STSv1; id=20160831085700Z;"]).as_deref(), Some("20160831085700Z"));
        assert_eq!(of(&["v=spf1 -all", "v=STSv1;id=1"]).as_deref(), Some("1"));
        for none in [
            &[][..],
            &["v=STSv1; id=1;", "v=STSv1; id=2;"],
            &["v=STSv1"],
            &["v=STSv1; id=;"],
            &["v=STSv1; id=no-dashes;"],
            &["id=1; v=STSv1;"],
            &["v=STSv2; id=1;"],
            &["v=STSv1; id=123456789012345678901234567890123;"],
        ] {
            assert_eq!(of(none), None, "{none:?}");
        }
        assert_eq!(id([&b"v=STSv1; id=\xff"[..]].into_iter()), None);
    }
}
