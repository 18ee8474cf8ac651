//! How sites and upstream relays stand, all shards together.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::time::WallTime;
use crate::egress::health::Standing;
use crate::shard::commands::Standings;

/// How a site stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRow {
    /// The upstream relay's name, or the first MX host's.
    pub site: String,
    /// Messages in line.
    pub waiting: u64,
    /// Connections.
    pub connections: u64,
    /// The limit that binds, where something waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Seconds for which nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_s: Option<u64>,
    /// When it last refused something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_at: Option<String>,
    /// Its words then, and who said them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How an upstream relay stands: each shard judges for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamRow {
    /// Host and port.
    pub upstream: String,
    /// Shards that use it.
    pub healthy: u64,
    /// Shards that are finding out whether it works again.
    pub probing: u64,
    /// Shards that leave it alone.
    pub ejected: u64,
}

#[derive(Default)]
struct Sum<'a> {
    waiting: u64,
    connections: u64,
    why: Option<&'a str>,
    suspended_s: Option<u64>,
    refused: Option<(WallTime, &'a str)>,
}

/// The `most` sites where the most waits.
pub(super) fn site_rows(shards: &[Standings], most: usize) -> Vec<SiteRow> {
    let mut sums: BTreeMap<&str, Sum<'_>> = BTreeMap::new();
    for site in shards.iter().flat_map(|shard| &shard.sites) {
        let sum = sums.entry(&*site.name).or_default();
        sum.waiting += site.waiting;
        sum.connections += site.connections;
        sum.why = sum.why.or(site.why.as_deref());
        sum.suspended_s = sum.suspended_s.max(site.suspended.map(|time| time.as_secs()));
        let refused = site.refused.as_ref().map(|(at, words)| (*at, &**words));
        sum.refused = sum.refused.max(refused);
    }
    let row = |(site, sum): (&str, Sum<'_>)| SiteRow {
        site: site.to_owned(),
        waiting: sum.waiting,
        connections: sum.connections,
        why: sum.why.map(str::to_owned),
        suspended_s: sum.suspended_s,
        refused_at: sum.refused.map(|(at, _)| at.to_rfc3339()),
        refused: sum.refused.map(|(_, words)| words.to_owned()),
    };
    let mut rows: Vec<SiteRow> = sums.into_iter().map(row).collect();
    rows.sort_by_key(|row| Reverse((row.waiting, row.connections)));
    rows.truncate(most);
    rows
}

/// Upstream relays in the order of the configuration.
pub(super) fn upstream_rows(shards: &[Standings]) -> Vec<UpstreamRow> {
    let mut rows: Vec<UpstreamRow> = Vec::new();
    for (upstream, standing) in shards.iter().flat_map(|shard| &shard.upstreams) {
        let known = rows.iter().position(|row| *row.upstream == **upstream);
        let place = known.unwrap_or_else(|| {
            rows.push(UpstreamRow { upstream: upstream.to_string(), ..UpstreamRow::default() });
            rows.len() - 1
        });
        let row = &mut rows[place];
        *match standing {
            Standing::Healthy => &mut row.healthy,
            Standing::Probe => &mut row.probing,
            Standing::Ejected => &mut row.ejected,
        } += 1;
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::shard::commands::SiteStanding;

    fn site(name: &str, waiting: u64) -> SiteStanding {
        SiteStanding {
            name: name.into(),
            waiting,
            connections: 1,
            why: None,
            suspended: None,
            refused: None,
        }
    }

    #[test]
    fn a_site_of_several_shards_is_one_row_with_its_last_refusal() {
        let mut first = Standings { sites: vec![site("a", 2), site("b", 5)], upstreams: vec![] };
        let mut second = Standings { sites: vec![site("a", 4)], upstreams: vec![] };
        first.sites[0].refused = Some((WallTime(2_000), "later".into()));
        first.sites[0].why = Some("20 connections of 20 in use".into());
        second.sites[0].refused = Some((WallTime(1_000), "sooner".into()));
        second.sites[0].suspended = Some(Duration::from_secs(90));
        let rows = site_rows(&[first, second], 9);
        let names: Vec<_> = rows.iter().map(|row| (&*row.site, row.waiting)).collect();
        assert_eq!(names, [("a", 6), ("b", 5)]);
        let expected = SiteRow {
            site: "a".into(),
            waiting: 6,
            connections: 2,
            why: Some("20 connections of 20 in use".into()),
            suspended_s: Some(90),
            refused_at: Some("1970-01-01T00:00:02.000Z".into()),
            refused: Some("later".into()),
        };
        assert_eq!(rows[0], expected);
    }

    #[test]
    fn only_so_many_sites_are_told_of() {
        let shard = Standings {
            sites: (0..9).map(|n| site(&n.to_string(), n)).collect(),
            upstreams: vec![],
        };
        let rows = site_rows(&[shard], 2);
        assert_eq!(rows.iter().map(|row| row.waiting).collect::<Vec<_>>(), [8, 7]);
    }

    #[test]
    fn each_shard_says_how_an_upstream_relay_stands() {
        let shard = |first, second| Standings {
            sites: vec![],
            upstreams: vec![("z.example:25".into(), first), ("a.example:25".into(), second)],
        };
        let rows = upstream_rows(&[
            shard(Standing::Healthy, Standing::Ejected),
            shard(Standing::Healthy, Standing::Probe),
        ]);
        let row = |upstream: &str, healthy, probing, ejected| UpstreamRow {
            upstream: upstream.into(),
            healthy,
            probing,
            ejected,
        };
        assert_eq!(rows, [row("z.example:25", 2, 0, 0), row("a.example:25", 0, 1, 1)]);
    }
}
