//! Keep what operators paused: over restarts in a file below the spool, and told to all shards.
//!
//! Invariant: the file is written before any shard is told; what a shard is told is all that is
//! paused, so that two orders cannot cross. Lives on: the thread that asks.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::base::limits::PAUSES_MAX;
use crate::base::time::WallTime;
use crate::mail::handling::{CampaignName, TenantName};
use crate::platform::channels::Posts;
use crate::platform::{clock, orders};
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
    /// Those of before it was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<String>,
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
    kept: Mutex<Kept>,
}

/// What is paused, as shards are told, and since when.
#[derive(Debug, Default)]
struct Kept {
    all: Arc<BTreeSet<Pause>>,
    since: Since,
}

/// Since when each is paused, where that is known.
pub(super) type Since = BTreeMap<Pause, Option<WallTime>>;

impl Pauses {
    /// Those that `spool` has, of the shards that `posts` leads to.
    pub(super) fn open(spool: &Path, posts: Posts) -> Result<Self, PauseError> {
        let path = spool.join(FILE);
        let read = orders::read(&path, parse);
        let since = read.map_err(|error| PauseError::File(path.clone(), error))?;
        let all = Arc::new(since.keys().cloned().collect());
        Ok(Self { path, posts, kept: Mutex::new(Kept { all, since }) })
    }

    /// All of them.
    pub(super) fn all(&self) -> Arc<BTreeSet<Pause>> {
        self.kept().all.clone()
    }

    /// All of them, and since when.
    pub(super) fn since(&self) -> Since {
        self.kept().since.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pause, or let go on; whether that changes anything.
    pub(super) fn set(&self, pause: &Pause, paused: bool) -> Result<bool, PauseError> {
        let mut kept = self.kept();
        if kept.all.contains(pause) == paused {
            return Ok(false);
        }
        if paused && kept.all.len() == PAUSES_MAX {
            return Err(PauseError::TooMany);
        }
        let mut new = kept.since.clone();
        if paused {
            new.insert(pause.clone(), Some(clock::now().wall));
        } else {
            new.remove(pause);
        }
        let written = orders::write(&self.path, &render(&new));
        written.map_err(|error| PauseError::File(self.path.clone(), error))?;
        *kept = Kept { all: Arc::new(new.keys().cloned().collect()), since: new };
        for shard in self.posts.shard_ids() {
            self.posts.post(shard, Crossing::Pauses(kept.all.clone()));
        }
        Ok(true)
    }
}

fn parse(octets: &[u8]) -> io::Result<Since> {
    let lines: Vec<Line> = serde_json::from_slice(octets)?;
    let pause = |line: Line| {
        let tenant = TenantName::parse(&line.tenant).map_err(io::Error::other)?;
        let campaign = line.campaign.as_deref().map(CampaignName::parse).transpose();
        let since = line.since.as_deref().and_then(WallTime::from_rfc3339);
        Ok((Pause { tenant, campaign: campaign.map_err(io::Error::other)? }, since))
    };
    lines.into_iter().map(pause).collect()
}

fn render(all: &Since) -> Vec<u8> {
    let line = |(pause, since): (&Pause, &Option<WallTime>)| Line {
        tenant: pause.tenant.to_string(),
        campaign: pause.campaign.as_ref().map(ToString::to_string),
        since: since.map(WallTime::to_rfc3339),
    };
    orders::text(all.iter().map(line))
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
        let since = Some(WallTime(1_795_000_000_123));
        let all = Since::from([
            (pause("a", None), since),
            (pause("a", Some("b")), None),
            (pause("c", Some("d")), since),
        ]);
        assert_eq!(parse(&render(&all)).unwrap(), all);
        assert_eq!(parse(&render(&Since::new())).unwrap(), Since::new());
        let before = parse(b"[{\"tenant\": \"a\"}]").unwrap();
        assert_eq!(before, Since::from([(pause("a", None), None)]), "as earlier versions wrote");
        for wrong in ["", "{}", "[{}]", "[{\"tenant\":\"a b\"}]", "[{\"tenant\":\"a\",\"x\":1}]"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
