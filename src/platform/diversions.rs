//! Keep what operators divert: over restarts in a file below the spool, and told to all shards.
//!
//! Invariant: the file is written before any shard is told; what a shard is told is all of it, so
//! that two orders cannot cross. Lives on: the thread that asks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::base::limits::DIVERSIONS_MAX;
use crate::base::time::WallTime;
use crate::egress::diversions::{Diverted, Orders, Way};
use crate::mail::address::Domain;
use crate::mail::handling::{CampaignName, TenantName};
use crate::platform::channels::Posts;
use crate::platform::{clock, orders};
use crate::shard::mesh::Crossing;

/// The file below a spool.
const FILE: &str = "diverted.json";

/// An order as the file has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    campaign: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    since: String,
}

/// Why something cannot be diverted, or go its way again.
#[derive(Debug, thiserror::Error)]
pub enum DivertError {
    /// The file.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// Each is looked at for each message.
    #[error("{DIVERSIONS_MAX} selections are diverted already")]
    TooMany,
}

/// What is diverted.
#[derive(Debug)]
pub(super) struct Diversions {
    path: PathBuf,
    posts: Posts,
    orders: Mutex<Arc<Orders>>,
}

impl Diversions {
    /// Those that `spool` has, of the shards that `posts` leads to.
    pub(super) fn open(spool: &Path, posts: Posts) -> Result<Self, DivertError> {
        let path = spool.join(FILE);
        let read = orders::read(&path, parse);
        let orders = read.map_err(|error| DivertError::File(path.clone(), error))?;
        Ok(Self { path, posts, orders: Mutex::new(Arc::new(orders)) })
    }

    fn orders(&self) -> MutexGuard<'_, Arc<Orders>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub(super) fn all(&self) -> Arc<Orders> {
        self.orders().clone()
    }

    /// Let `change` say what the way of `whose` is from now on; whether that is another.
    pub(super) fn set(
        &self,
        whose: &Diverted,
        change: impl FnOnce(&mut Way),
    ) -> Result<bool, DivertError> {
        let mut orders = self.orders();
        let before = orders.get(whose).cloned().unwrap_or_default();
        let mut way = before.clone();
        change(&mut way);
        if way == before {
            return Ok(false);
        }
        let mut new = Orders::clone(&orders);
        if way.is_none() {
            new.remove(whose);
        } else {
            way.since = clock::now().wall;
            new.insert(whose.clone(), way);
        }
        if new.len() > DIVERSIONS_MAX {
            return Err(DivertError::TooMany);
        }
        let written = orders::write(&self.path, &render(&new));
        written.map_err(|error| DivertError::File(self.path.clone(), error))?;
        *orders = Arc::new(new);
        for shard in self.posts.shard_ids() {
            self.posts.post(shard, Crossing::Diverted(orders.clone()));
        }
        Ok(true)
    }
}

fn parse(octets: &[u8]) -> io::Result<Orders> {
    let lines: Vec<Line> = serde_json::from_slice(octets)?;
    let order = |line: Line| {
        let domain = line.domain.as_deref().map(Domain::parse).transpose();
        let tenant = line.tenant.as_deref().map(TenantName::parse).transpose();
        let campaign = line.campaign.as_deref().map(CampaignName::parse).transpose();
        let whose = Diverted {
            domain: domain.map_err(io::Error::other)?,
            tenant: tenant.map_err(io::Error::other)?,
            campaign: campaign.map_err(io::Error::other)?,
        };
        let since = WallTime::from_rfc3339(&line.since);
        let since =
            since.ok_or_else(|| io::Error::other(format!("`{}` is no time", line.since)))?;
        let name = |text: Option<String>| text.map(String::into_boxed_str);
        let way = Way { to: name(line.to), pool: name(line.pool), since };
        if !whose.is_valid() || way.is_none() {
            return Err(io::Error::other("an order about nothing"));
        }
        Ok((whose, way))
    };
    lines.into_iter().map(order).collect()
}

fn render(all: &Orders) -> Vec<u8> {
    let line = |(whose, way): (&Diverted, &Way)| Line {
        domain: whose.domain.as_ref().map(ToString::to_string),
        tenant: whose.tenant.as_ref().map(ToString::to_string),
        campaign: whose.campaign.as_ref().map(ToString::to_string),
        to: way.to.as_deref().map(str::to_owned),
        pool: way.pool.as_deref().map(str::to_owned),
        since: way.since.to_rfc3339(),
    };
    orders::text(all.iter().map(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_diverted_is_read_back() {
        let whose = |domain: &str, tenant: &str| Diverted {
            domain: Domain::parse(domain).ok(),
            tenant: TenantName::parse(tenant).ok(),
            campaign: None,
        };
        let since = WallTime(1_795_000_000_123);
        let orders = Orders::from([
            (whose("a.example", ""), Way { to: Some("g".into()), pool: None, since }),
            (whose("", "acme"), Way { to: Some("mx".into()), pool: Some("p".into()), since }),
        ]);
        assert_eq!(parse(&render(&orders)).unwrap(), orders);
        assert_eq!(parse(&render(&Orders::new())).unwrap(), Orders::new());
        let time = "\"since\":\"2026-11-28T08:00:00.000Z\"";
        for wrong in [
            String::new(),
            "{}".to_owned(),
            format!("[{{{time},\"to\":\"g\"}}]"),
            format!("[{{{time},\"domain\":\"a.example\"}}]"),
            format!("[{{{time},\"domain\":\"a b\",\"to\":\"g\"}}]"),
            "[{\"since\":\"now\",\"domain\":\"a.example\",\"to\":\"g\"}]".to_owned(),
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
