//! Fetch MTA-STS policies by HTTPS, and keep them on disk (RFC 8461 §3.3).
//!
//! A file a domain below the spool: the id and the time on its first line, then the policy as it
//! was served. What was kept holds across restarts, and where nothing new can be fetched, until
//! it expires: whoever can cut us off from a domain's policy cannot make us forget it.
//! Lives on: threads that wait for the network, a few at a time.

use std::io::{self, Read as _};
use std::path::Path;

use ureq::Error;

use crate::base::limits::{STS_BYTES_MAX, STS_FETCH_MAX};
use crate::base::time::WallTime;
use crate::platform::https::{agent, is_of_certificate, is_of_network};
use crate::platform::{clock, files};
use crate::policy::mta_sts::{Policy, PolicyTrouble};
use crate::shard::platform::{FetchedPolicy, PolicyRequest};

/// The folder of a spool that policies are kept in.
const FOLDER: &str = "mta-sts";

/// The policy that is asked for: as it is kept, if that is the one, else as it is served now; else,
/// as long as it holds, what is kept.
pub(super) fn obtain(
    spool: &Path,
    request: &PolicyRequest,
) -> Result<FetchedPolicy, PolicyTrouble> {
    let now = clock::now().wall;
    let path = spool.join(FOLDER).join(request.domain.as_str());
    let kept = keep_until_expiry(recall(&path), now);
    let Some(id) = &request.id else {
        return kept.ok_or_else(|| PolicyTrouble::Unknown("no policy is kept".into()));
    };
    if let Some(kept) = kept.clone().filter(|kept| kept.id == *id) {
        return Ok(kept);
    }
    let fetched = fetch(request).and_then(|text| {
        // What is no policy must not take the place of one.
        Policy::parse(&text)?;
        Ok(FetchedPolicy { id: id.clone(), text: text.into(), fetched: now })
    });
    match (fetched, kept) {
        (Ok(fetched), _) => {
            if let Err(error) = remember(&path, &fetched) {
                tracing::warn!(domain = %request.domain, %error, "cannot keep an MTA-STS policy");
            }
            Ok(fetched)
        }
        (Err(error), Some(kept)) => {
            tracing::info!(domain = %request.domain, %error, "MTA-STS: the kept policy holds");
            Ok(kept)
        }
        (Err(error), None) => Err(error),
    }
}

fn keep_until_expiry(kept: Option<FetchedPolicy>, now: WallTime) -> Option<FetchedPolicy> {
    kept.filter(|kept| Policy::parse(&kept.text).is_ok_and(|it| kept.fetched + it.max_age > now))
}

fn recall(path: &Path) -> Option<FetchedPolicy> {
    let mut content = String::new();
    std::fs::File::open(path).ok()?.take(2 * STS_BYTES_MAX).read_to_string(&mut content).ok()?;
    let (head, text) = content.split_once('\n')?;
    let (id, fetched) = head.split_once(' ')?;
    let fetched = WallTime(fetched.parse().ok()?);
    Some(FetchedPolicy { id: id.into(), text: text.into(), fetched })
}

fn remember(path: &Path, fetched: &FetchedPolicy) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    files::replace(path, format!("{} {}\n{}", fetched.id, fetched.fetched.0, fetched.text))
}

/// The text that the domain's policy host serves, at most `STS_BYTES_MAX`. Redirects are not
/// followed.
pub(super) fn fetch(request: &PolicyRequest) -> Result<String, PolicyTrouble> {
    let missing = || PolicyTrouble::Unknown("no certificate authorities".into());
    let authorities = request.authorities.as_ref().ok_or_else(missing)?;
    let agent = agent(authorities, request.addresses.clone(), STS_FETCH_MAX);
    let url = format!("https://mta-sts.{}/.well-known/mta-sts.txt", request.domain);
    let mut response = agent.get(&url).call().map_err(|error| trouble(&url, &error))?;
    if response.status() != 200 {
        let status = format!("{url}: {}", response.status());
        return Err(PolicyTrouble::NotServed(status.into()));
    }
    let body = response.body_mut().with_config().limit(STS_BYTES_MAX);
    body.read_to_string().map_err(|error| trouble(&url, &error))
}

/// Whose fault it is that there is no policy: the network's between, or the policy host's.
fn trouble(url: &str, error: &Error) -> PolicyTrouble {
    let said = format!("{url}: {error}").into();
    if is_of_certificate(error) {
        PolicyTrouble::Untrusted(said)
    } else if is_of_network(error) {
        PolicyTrouble::Unknown(said)
    } else {
        PolicyTrouble::NotServed(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::Domain;

    fn request(id: Option<&str>) -> PolicyRequest {
        PolicyRequest {
            domain: Domain::parse("example.com").expect("a domain"),
            id: id.map(Into::into),
            addresses: Vec::new(),
            authorities: None,
        }
    }

    #[test]
    fn what_was_kept_holds_until_it_expires_whatever_cannot_be_fetched() {
        let spool = tempfile::tempdir().expect("a folder");
        assert!(obtain(spool.path(), &request(Some("1"))).is_err());
        let path = spool.path().join(FOLDER).join("example.com");
        let text = "version: STSv1\nmode: enforce\nmx: mx.example.com\nmax_age: 3600\n";
        let now = clock::now().wall;
        let keep = |fetched: WallTime| {
            let policy = FetchedPolicy { id: "1".into(), text: text.into(), fetched };
            remember(&path, &policy).expect("a disk");
            policy
        };
        let kept = keep(now);
        for id in [Some("1"), Some("2"), None] {
            assert_eq!(obtain(spool.path(), &request(id)), Ok(kept.clone()), "{id:?}");
        }
        keep(WallTime(now.0 - 3_600_001));
        for id in [Some("1"), Some("2"), None] {
            assert!(obtain(spool.path(), &request(id)).is_err(), "{id:?}");
        }
        std::fs::write(&path, "1 soon\n").expect("a disk");
        assert!(obtain(spool.path(), &request(Some("1"))).is_err());
    }
}
