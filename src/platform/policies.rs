//! Fetch MTA-STS policies by HTTPS, and keep them on disk (RFC 8461 §3.3).
//!
//! A file a domain below the spool: the id and the time on its first line, then the policy as it
//! was served. What was kept holds across restarts, and where nothing new can be fetched, until
//! it expires: whoever can cut us off from a domain's policy cannot make us forget it.
//! Lives on: threads that wait for the network, a few at a time.

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use crate::base::limits::{POLICY_ADDRESSES_MAX, STS_BYTES_MAX, STS_FETCH_MAX};
use crate::base::time::WallTime;
use crate::platform::clock;
use crate::policy::domain_check::PolicyTrouble;
use crate::policy::mta_sts::Policy;
use crate::shard::platform::{FetchedPolicy, PolicyRequest};

/// The folder of a spool that policies are kept in.
const FOLDER: &str = "mta-sts";

/// The policy that is asked for: as it is kept, if that is the one, else as it is served now; else,
/// as long as it holds, what is kept.
pub(super) fn obtain(spool: &Path, request: &PolicyRequest) -> Result<FetchedPolicy, Box<str>> {
    let now = clock::now().wall;
    let path = spool.join(FOLDER).join(request.domain.as_str());
    let kept = keep_until_expiry(recall(&path), now);
    let Some(id) = &request.id else { return kept.ok_or_else(|| "no policy is kept".into()) };
    if let Some(kept) = kept.clone().filter(|kept| kept.id == *id) {
        return Ok(kept);
    }
    let fetched = fetch(request).map_err(|error| error.to_string()).and_then(|text| {
        // What is no policy must not take the place of one.
        Policy::parse(&text).map_err(|error| error.to_string())?;
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
        (Err(error), None) => Err(error.into()),
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
    let new = PathBuf::from(format!("{}.new", path.display()));
    std::fs::write(&new, format!("{} {}\n{}", fetched.id, fetched.fetched.0, fetched.text))?;
    std::fs::rename(&new, path)
}

/// The text that the domain's policy host serves, at most `STS_BYTES_MAX`. Redirects are not
/// followed.
pub(super) fn fetch(request: &PolicyRequest) -> Result<String, PolicyTrouble> {
    let missing = || PolicyTrouble::Unknown("no certificate authorities".into());
    let authorities = request.authorities.as_ref().ok_or_else(missing)?;
    let roots = authorities.certificates().map(|der| Certificate::from_der(der).to_owned());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
        .unversioned_rustls_crypto_provider(crate::tls::provider())
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(STS_FETCH_MAX))
        .max_redirects(0)
        .https_only(true)
        .proxy(None)
        .build();
    let known = Known { addresses: request.addresses.clone() };
    let agent = Agent::with_parts(config, DefaultConnector::new(), known);
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
    let is_lost = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::TimedOut
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::PermissionDenied
        )
    };
    let is_between = if let Error::Io(error) = error {
        is_lost(error)
    } else {
        matches!(error, Error::Timeout(_) | Error::ConnectionFailed | Error::HostNotFound)
    };
    let said = format!("{url}: {error}").into();
    if is_between { PolicyTrouble::Unknown(said) } else { PolicyTrouble::NotServed(said) }
}

/// The addresses that our own resolver found.
#[derive(Debug)]
struct Known {
    addresses: Vec<IpAddr>,
}

impl Resolver for Known {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.empty();
        let port = uri.port_u16().unwrap_or(443);
        for address in self.addresses.iter().take(POLICY_ADDRESSES_MAX) {
            found.push(SocketAddr::new(*address, port));
        }
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
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
