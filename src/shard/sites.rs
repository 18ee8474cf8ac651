//! Tell how sites and upstream relays stand, for those who watch.
//!
//! In: what this shard owns. Out: the sites with the most in line. Lives on: the owner.

use std::cmp::Reverse;

use crate::base::limits::SITES_LOOKED_AT_MAX;
use crate::base::time::Monotonic;
use crate::shard::commands::{SiteStanding, Standings};
use crate::shard::delivery::Delivery;
use crate::shard::settings::Settings;
use crate::shard::site_row::SiteRow;

impl Delivery {
    /// The `most` sites with the most in line, of the first `SITES_LOOKED_AT_MAX`; and every
    /// upstream relay.
    pub(super) fn standings(&self, most: usize, settings: &Settings, now: Monotonic) -> Standings {
        let looked_at = self.sites.iter().take(SITES_LOOKED_AT_MAX);
        let mut rows: Vec<&SiteRow> = looked_at.map(|(_, row)| row).collect();
        let rank = |row: &&SiteRow| (row.site.waiting(), row.site.connections());
        if most < rows.len() {
            rows.select_nth_unstable_by_key(most, |row| Reverse(rank(row)));
            rows.truncate(most);
        }
        rows.sort_by_key(|row| Reverse(rank(row)));
        let sites = rows.into_iter().map(|row| standing(row, now)).collect();
        let groups = settings.groups.iter().zip(&self.health);
        let upstreams = groups.flat_map(|(named, health)| {
            let members = named.group.members().iter().enumerate();
            members.map(move |(place, member)| {
                (member.host.to_string().into(), health.standing(place, now))
            })
        });
        Standings { sites, upstreams: upstreams.collect() }
    }
}

fn standing(row: &SiteRow, now: Monotonic) -> SiteStanding {
    SiteStanding {
        name: row.name.clone(),
        waiting: row.site.waiting() as u64,
        connections: row.site.connections() as u64,
        why: row.site.why().map(|why| why.to_string().into()),
        suspended: row.site.suspended_until().map(|until| until.since(now)),
        refused: row.refused.as_ref().map(|(at, reason)| (*at, reason.to_string().into())),
    }
}
