//! Keep what operators paused: over restarts in a file below the spool, and told to all shards.
//!
//! Invariant: the file is written before any shard is told; what a shard is told is all that is
//! paused, so that two orders cannot cross. Lives on: the thread that asks.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::base::limits::PAUSES_MAX;
use crate::mail::handling::{CampaignName, TenantName};
use crate::platform::channels::Posts;
use crate::platform::files;
use crate::queue::Pause;
use crate::shard::mesh::Crossing;

/// The file below a spool.
const FILE: &str = "paused.json";

/// A pause as the file has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    tenant: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
}

/// Why something cannot be paused, or go on.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// The file.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// Nobody keeps so much in mind.
    #[error("{PAUSES_MAX} tenants and campaigns are paused already")]
    TooMany,
}

/// What is paused.
#[derive(Debug)]
pub(super) struct Pauses {
    path: PathBuf,
    posts: Posts,
    all: Mutex<Arc<BTreeSet<Pause>>>,
}

impl Pauses {
    /// Those that `spool` has, of the shards that `posts` leads to.
    pub(super) fn open(spool: &Path, posts: Posts) -> Result<Self, PauseError> {
        let path = spool.join(FILE);
        let all = match fs::read(&path) {
            Ok(octets) => parse(&octets).map_err(|error| PauseError::File(path.clone(), error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(PauseError::File(path, error)),
        };
        Ok(Self { path, posts, all: Mutex::new(Arc::new(all)) })
    }

    /// All of them.
    pub(super) fn all(&self) -> Arc<BTreeSet<Pause>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Pause, or let go on; whether that changes anything.
    pub(super) fn set(&self, pause: &Pause, paused: bool) -> Result<bool, PauseError> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.contains(pause) == paused {
            return Ok(false);
        }
        if paused && all.len() == PAUSES_MAX {
            return Err(PauseError::TooMany);
        }
        let mut new = BTreeSet::clone(&all);
        if paused {
            new.insert(pause.clone());
        } else {
            new.remove(pause);
        }
        let written = files::replace(&self.path, render(&new));
        written.map_err(|error| PauseError::File(self.path.clone(), error))?;
        *all = Arc::new(new);
        for shard in self.posts.shard_ids() {
            self.posts.post(shard, Crossing::Pauses(all.clone()));
        }
        Ok(true)
    }
}

fn parse(octets: &[u8]) -> io::Result<BTreeSet<Pause>> {
    let lines: Vec<Line> = serde_json::from_slice(octets)?;
    let pause = |line: Line| {
        let tenant = TenantName::parse(&line.tenant).map_err(io::Error::other)?;
        let campaign = line.campaign.as_deref().map(CampaignName::parse).transpose();
        Ok(Pause { tenant, campaign: campaign.map_err(io::Error::other)? })
    };
    lines.into_iter().map(pause).collect()
}

fn render(all: &BTreeSet<Pause>) -> Vec<u8> {
    let line = |pause: &Pause| Line {
        tenant: pause.tenant.to_string(),
        campaign: pause.campaign.as_ref().map(ToString::to_string),
    };
    let lines: Vec<Line> = all.iter().map(line).collect();
    let mut text = serde_json::to_vec_pretty(&lines).expect("plain data");
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paused_is_read_back() {
        let pause = |tenant: &str, campaign: Option<&str>| Pause {
            tenant: TenantName::parse(tenant).unwrap(),
            campaign: campaign.map(|campaign| CampaignName::parse(campaign).unwrap()),
        };
        let all = BTreeSet::from([pause("a", None), pause("a", Some("b")), pause("c", Some("d"))]);
        assert_eq!(parse(&render(&all)).unwrap(), all);
        assert_eq!(parse(&render(&BTreeSet::new())).unwrap(), BTreeSet::new());
        for wrong in ["", "{}", "[{}]", "[{\"tenant\":\"a b\"}]", "[{\"tenant\":\"a\",\"x\":1}]"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
