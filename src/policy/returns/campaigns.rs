//! Know campaigns by what stands for them in tokens, which have no room for a name.
//!
//! In: campaigns that mail leaves of, and the day. Out: what stands for one; and of that, the name
//! again. Invariant: a mark stands for one campaign of a tenant at a time; what is given out was
//! told to whoever keeps it, so that the next run knows it too. Bounded: where there are too many,
//! those of the same tenant that nothing was sent of for longest make room, but none of today.
//! Lives on: all shards, shared; it stays over reloads, and `platform::campaigns` keeps it.

use std::fmt;
use std::str::FromStr;
use std::sync::mpsc::SyncSender;
use std::sync::{OnceLock, PoisonError, RwLock};

use hashbrown::HashMap;

use crate::base::limits::{VERP_CAMPAIGNS_MAX, VERP_CAMPAIGNS_OF_TENANT_MAX};
use crate::base::time::WallTime;
use crate::mail::handling::{CampaignName, TenantName};
use crate::policy::verp::{self, Mark};

/// A campaign that mail left of on a day, counted from 1970-01-01. As text: day, tenant, campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The last one.
    pub day: u16,
    /// Whose.
    pub tenant: TenantName,
    /// Which.
    pub campaign: CampaignName,
}

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.day, self.tenant, self.campaign)
    }
}

/// It is no line that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNoted;

impl FromStr for Noted {
    type Err = NotNoted;

    fn from_str(line: &str) -> Result<Self, NotNoted> {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().ok_or(NotNoted);
        let (day, tenant, campaign) = (word()?, word()?, word()?);
        Ok(Self {
            day: day.parse().map_err(|_| NotNoted)?,
            tenant: TenantName::parse(tenant).map_err(|_| NotNoted)?,
            campaign: CampaignName::parse(campaign).map_err(|_| NotNoted)?,
        })
    }
}

/// The campaigns.
#[derive(Debug, Default)]
pub struct KnownCampaigns {
    rows: RwLock<Rows>,
    /// Whom new ones are told to.
    keeper: OnceLock<SyncSender<Noted>>,
}

#[derive(Debug, Default)]
struct Rows {
    of_tenant: HashMap<TenantName, HashMap<Mark, Row>>,
    count: usize,
}

#[derive(Debug)]
struct Row {
    campaign: CampaignName,
    day: u16,
}

impl KnownCampaigns {
    /// Tell new ones from now on.
    pub fn tell(&self, keeper: SyncSender<Noted>) {
        // Whoever was first keeps it.
        let _ = self.keeper.set(keeper);
    }

    /// What stands for a campaign that mail leaves of at `now`; `None`: there is no room, or it
    /// stands for another one.
    pub fn note(
        &self,
        tenant: &TenantName,
        campaign: &CampaignName,
        now: WallTime,
    ) -> Option<Mark> {
        let (mark, day) = (Mark::of_campaign(campaign), verp::day(now));
        {
            let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
            let row = rows.of_tenant.get(tenant).and_then(|rows| rows.get(&mark));
            if let Some(row) = row
                && (row.day >= day || row.campaign != *campaign)
            {
                return (row.campaign == *campaign).then_some(mark);
            }
        }
        let noted = Noted { day, tenant: tenant.clone(), campaign: campaign.clone() };
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        if !rows.has_room(&noted, mark) {
            return None;
        }
        if let Some(keeper) = self.keeper.get()
            && keeper.try_send(noted.clone()).is_err()
        {
            return None;
        }
        rows.insert(noted, mark);
        Some(mark)
    }

    /// Know what an earlier run knew, where mail left of it since `oldest`.
    pub fn restore(&self, noted: Noted, oldest: WallTime) {
        if noted.day < verp::day(oldest) {
            return;
        }
        let mark = Mark::of_campaign(&noted.campaign);
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        if rows.has_room(&noted, mark) {
            rows.insert(noted, mark);
        }
    }

    /// The campaign that a mark stands for.
    pub fn find(&self, tenant: &TenantName, mark: Mark) -> Option<CampaignName> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        Some(rows.of_tenant.get(tenant)?.get(&mark)?.campaign.clone())
    }

    /// All of them.
    pub fn all(&self) -> Vec<Noted> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let noted = |(tenant, Row { campaign, day }): (&TenantName, &Row)| Noted {
            day: *day,
            tenant: tenant.clone(),
            campaign: campaign.clone(),
        };
        let of_tenant = rows.of_tenant.iter();
        of_tenant
            .flat_map(|(tenant, rows)| rows.values().map(move |row| noted((tenant, row))))
            .collect()
    }
}

impl Rows {
    /// Whether it is there, or there is room for it now.
    fn has_room(&mut self, noted: &Noted, mark: Mark) -> bool {
        let own = self.of_tenant.get_mut(&noted.tenant);
        if let Some(row) = own.as_ref().and_then(|own| own.get(&mark)) {
            return row.campaign == noted.campaign;
        }
        let of_tenant = own.as_ref().map_or(0, |own| own.len());
        if of_tenant < VERP_CAMPAIGNS_OF_TENANT_MAX && self.count < VERP_CAMPAIGNS_MAX {
            return true;
        }
        let Some(own) = own else { return false };
        let Some(oldest) = own.values().map(|row| row.day).min() else { return false };
        if oldest >= noted.day {
            return false;
        }
        own.retain(|_, row| row.day > oldest);
        self.count -= of_tenant - own.len();
        true
    }

    fn insert(&mut self, noted: Noted, mark: Mark) {
        let Noted { day, tenant, campaign } = noted;
        let own = self.of_tenant.entry(tenant).or_default();
        let before = own.insert(mark, Row { campaign, day });
        self.count += usize::from(before.is_none());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use super::*;

    const NOW: WallTime = WallTime(1_795_491_661_007);
    const DAY: Duration = Duration::from_secs(86_400);

    fn tenant(name: &str) -> TenantName {
        TenantName::parse(name).expect("a name")
    }

    fn campaign(name: &str) -> CampaignName {
        CampaignName::parse(name).expect("a name")
    }

    #[test]
    fn a_mark_gives_back_the_campaign_of_its_tenant_and_of_no_other() {
        let known = KnownCampaigns::default();
        let (acme, news) = (tenant("acme"), campaign("news/2026"));
        let mark = known.note(&acme, &news, NOW).expect("room");
        assert_eq!(known.note(&acme, &news, NOW), Some(mark));
        assert_eq!(known.find(&acme, mark), Some(news.clone()));
        assert_eq!(known.find(&tenant("globex"), mark), None);
        assert_eq!(known.find(&acme, Mark::of_campaign(&campaign("else"))), None);
        assert_eq!(known.all().len(), 1);
    }

    #[test]
    fn who_keeps_them_is_told_once_a_day_and_before_a_token_has_it() {
        let known = KnownCampaigns::default();
        let (sender, told) = sync_channel(1);
        known.tell(sender);
        let (acme, news, more) = (tenant("acme"), campaign("news"), campaign("more"));
        let mark = known.note(&acme, &news, NOW);
        assert!(mark.is_some() && known.note(&acme, &news, NOW) == mark);
        assert_eq!(known.note(&acme, &more, NOW), None, "nobody would know it afterwards");
        let noted = told.try_recv().expect("told");
        assert_eq!(noted.to_string().parse(), Ok(noted.clone()));
        assert!(told.try_recv().is_err(), "once a day");
        assert!(known.note(&acme, &more, NOW).is_some(), "there is room again");
        assert_eq!(told.try_recv().map(|noted| noted.campaign), Ok(more));
        assert_eq!(known.note(&acme, &news, NOW + DAY), mark);
        assert_eq!(told.try_recv().map(|noted| noted.day), Ok(noted.day + 1));
        let later = KnownCampaigns::default();
        later.restore(noted.clone(), NOW + DAY);
        assert!(later.all().is_empty(), "too old");
        later.restore(noted, NOW);
        assert_eq!(later.find(&acme, mark.expect("a mark")), Some(news));
    }

    #[test]
    fn a_tenant_takes_no_more_than_its_room_and_what_is_old_makes_it() {
        let known = KnownCampaigns::default();
        let acme = tenant("acme");
        let note = |number: usize, now| known.note(&acme, &campaign(&format!("c{number}")), now);
        let first = note(0, NOW).expect("room");
        for number in 1..VERP_CAMPAIGNS_OF_TENANT_MAX {
            assert!(note(number, NOW + DAY).is_some(), "{number}");
        }
        assert_eq!(known.all().len(), VERP_CAMPAIGNS_OF_TENANT_MAX);
        assert!(known.note(&tenant("globex"), &campaign("c"), NOW).is_some(), "it has its own");
        assert!(note(VERP_CAMPAIGNS_OF_TENANT_MAX, NOW + DAY).is_some(), "in the first one's room");
        assert_eq!(known.find(&acme, first), None);
        assert_eq!(note(0, NOW + DAY), None, "all are of today");
        assert!(note(0, NOW + 2 * DAY).is_some());
    }

    #[test]
    fn other_lines_say_nothing() {
        for line in
            ["", "1", "1 acme", "x acme news", "70000 acme news", "1 acme a b", "1 global a"]
        {
            assert_eq!(line.parse::<Noted>(), Err(NotNoted), "{line}");
        }
    }
}
