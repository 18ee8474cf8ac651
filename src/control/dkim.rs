//! Make keys that sign, and write the DNS records of those that do.
//!
//! In: what was asked, and the keys of the configuration. Out: text for a zone file; what is meant
//! for people stands in comments. What touches files is the caller's.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::base::time::WallTime;
use crate::mail::address::Domain;
use crate::policy::signing::{Algorithm, PrivateKey, Selector, Signer, Signers};

/// Octets of one character string of a TXT record (RFC 1035 §3.3).
const STRING: usize = 255;

/// What is asked about keys that sign.
#[derive(Subcommand)]
pub enum DkimVerb {
    /// Make a key: write it to a file, print its DNS record and its part of the configuration
    Keygen(Keygen),
    /// Print the DNS records of the configured keys
    Record {
        /// Of this domain alone
        domain: Option<String>,
    },
}

/// A key that is wanted.
#[derive(Args)]
pub struct Keygen {
    /// The domain that it will sign for
    domain: String,
    /// Its name in DNS; year, month and kind if not given
    #[arg(long, value_name = "NAME")]
    selector: Option<String>,
    /// RSA with 2048 bits, which all verify; so it is if neither is given
    #[arg(long)]
    rsa: bool,
    /// Ed25519: short and fast, and not known to all; better beside an RSA key than alone
    #[arg(long, conflicts_with = "rsa")]
    ed25519: bool,
    /// The folder to write it to; the present one if not given
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

impl DkimVerb {
    /// What is printed. `write` makes a file in a folder, of a name and a text; `keys` are those of
    /// the configuration.
    pub fn answer(
        &self,
        now: WallTime,
        write: impl FnOnce(&Path, &str, &str) -> io::Result<PathBuf>,
        keys: impl FnOnce() -> Result<Signers, Box<dyn Error>>,
    ) -> Result<String, Box<dyn Error>> {
        match self {
            Self::Keygen(ask) => keygen(ask, now, |name, pem| write(&ask.out, name, pem)),
            Self::Record { domain } => Ok(records(&keys()?, domain.as_deref())?),
        }
    }
}

/// Make a key and hand its file's name and text to `write`; what to do with it.
fn keygen(
    ask: &Keygen,
    now: WallTime,
    write: impl FnOnce(&str, &str) -> io::Result<PathBuf>,
) -> Result<String, Box<dyn Error>> {
    let domain = Domain::parse(&ask.domain).ok().filter(|domain| domain.literal().is_none());
    let domain = domain.ok_or_else(|| format!("`{}` is no domain", ask.domain))?;
    let algorithm = if ask.ed25519 { Algorithm::Ed25519 } else { Algorithm::Rsa };
    let selector = ask.selector.clone().unwrap_or_else(|| usual_selector(algorithm, now));
    let selector = Selector::parse(&selector).ok_or(format!("`{selector}` is no selector"))?;
    let name = selector.record_name(&domain).ok_or("selector and domain are too long for DNS")?;
    let key = PrivateKey::generate(algorithm)?;
    let file = format!("{domain}.{selector}.pem");
    let path = write(&file, &key.to_pem()?)
        .map_err(|error| format!("cannot write {}: {error}", ask.out.join(&file).display()))?;
    let path = path.to_string_lossy();
    Ok(format!(
        "; Put this into the zone of {domain}:\n{}\n\
         ; and then, once DNS has it, this into the configuration file:\n; [[dkim]]\n\
         ; domain = \"{domain}\"\n; selector = \"{selector}\"\n; key = {path:?}\n",
        zone_lines(&name, &key.record()),
    ))
}

/// The DNS records of all keys, or of those of one domain.
fn records(signers: &Signers, domain: Option<&str>) -> Result<String, String> {
    let wanted =
        domain.map(|text| Domain::parse(text).map_err(|_| format!("`{text}` is no domain")));
    let wanted = wanted.transpose()?;
    let is_wanted = |signer: &&Signer| wanted.as_ref().is_none_or(|one| signer.domain == *one);
    let mut text = String::new();
    for signer in signers.iter().filter(is_wanted) {
        let name = signer.selector.record_name(&signer.domain).expect("the configuration's check");
        text.push_str(&zone_lines(&name, &signer.key.record()));
    }
    if text.is_empty() {
        Err(String::from("there is no such key in the configuration"))
    } else {
        Ok(text)
    }
}

/// So that the next year's key has another name than this one's.
fn usual_selector(algorithm: Algorithm, now: WallTime) -> String {
    let date = now.to_rfc3339();
    let kind = match algorithm {
        Algorithm::Rsa => "rsa",
        Algorithm::Ed25519 => "ed25519",
    };
    format!("{}-{kind}", &date[..7])
}

/// A TXT record as zone files have it, in as many strings as it takes (RFC 6376 §3.6.2.2).
fn zone_lines(name: &str, record: &str) -> String {
    let mut text = format!("{name}. IN TXT (");
    let mut rest = record;
    while !rest.is_empty() {
        let (string, after) = rest.split_at(rest.len().min(STRING));
        write!(text, "\n\t\"{string}\"").expect("memory takes every write");
        rest = after;
    }
    text.push_str(" )\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC 6376 §3.6.2.2, type=test
    //# Strings in a TXT RR MUST be concatenated together before use with no intervening whitespace.
    #[test]
    fn a_record_is_split_into_strings_that_dns_can_hold() {
        let record = format!("v=DKIM1; k=rsa; p={}", "A".repeat(392));
        let text = zone_lines("s._domainkey.example.com", &record);
        assert!(text.starts_with("s._domainkey.example.com. IN TXT (\n\t\"v=DKIM1; k=rsa; p=AA"));
        let strings: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
        assert!(strings.len() == 2 && strings.iter().all(|string| string.len() <= STRING));
        assert_eq!(strings.concat(), record);
    }

    #[test]
    fn selectors_are_named_after_their_month() {
        let now = WallTime(1_795_491_661_007);
        assert_eq!(usual_selector(Algorithm::Rsa, now), "2026-11-rsa");
        assert_eq!(usual_selector(Algorithm::Ed25519, now), "2026-11-ed25519");
    }
}
