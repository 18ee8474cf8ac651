//! Find what is said of a campaign: by its name, or by how that begins; of one tenant, or of all.
//!
//! In: rows, each with a pattern. Out: for a tenant's campaign the one row that fits it best: its
//! tenant's own before everyone's, there a whole name before a beginning, a longer beginning before
//! a shorter one. Cost: a look-up a length of beginnings that occurs, at most
//! `CAMPAIGN_NAME_MAX`, whatever the number of rows.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use crate::mail::handling::{CampaignName, NameError, TenantName};

/// Which campaigns a row is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CampaignPattern {
    /// The one that is called so.
    Whole(CampaignName),
    /// Those whose names begin so, as `2026/*` says; with nothing, all.
    Beginning(Box<str>),
}

impl CampaignPattern {
    /// A name, or a beginning and `*`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Beginning("".into())),
            Some(beginning) => {
                CampaignName::parse(beginning).map(|name| Self::Beginning(name.as_str().into()))
            }
            None => CampaignName::parse(text).map(Self::Whole),
        }
    }
}

impl fmt::Display for CampaignPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(name) => name.fmt(f),
            Self::Beginning(beginning) => write!(f, "{beginning}*"),
        }
    }
}

/// What is said of campaigns, a `T` a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaigns<T> {
    of_everyone: Rows<T>,
    of_tenant: HashMap<TenantName, Rows<T>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rows<T> {
    by_name: HashMap<CampaignName, T>,
    by_beginning: HashMap<Box<str>, T>,
    /// Of the beginnings.
    lengths: BTreeSet<usize>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        let (by_name, by_beginning) = (HashMap::new(), HashMap::new());
        Self { by_name, by_beginning, lengths: BTreeSet::new() }
    }
}

impl<T> Default for Campaigns<T> {
    fn default() -> Self {
        Self { of_everyone: Rows::default(), of_tenant: HashMap::new() }
    }
}

impl<T> Rows<T> {
    fn find(&self, name: &CampaignName) -> Option<&T> {
        if let Some(row) = self.by_name.get(name) {
            return Some(row);
        }
        let beginning = |length: &usize| name.as_str().get(..*length);
        let mut beginnings = self.lengths.iter().rev().filter_map(beginning);
        beginnings.find_map(|beginning| self.by_beginning.get(beginning))
    }
}

impl<T> Campaigns<T> {
    /// Say `row` of the campaigns of `tenant`, or of everyone's; whether nothing was said of just
    /// these before.
    pub fn insert(
        &mut self,
        tenant: Option<&TenantName>,
        pattern: CampaignPattern,
        row: T,
    ) -> bool {
        let rows = match tenant {
            Some(tenant) => self.of_tenant.entry(tenant.clone()).or_default(),
            None => &mut self.of_everyone,
        };
        match pattern {
            CampaignPattern::Whole(name) => rows.by_name.insert(name, row).is_none(),
            CampaignPattern::Beginning(beginning) => {
                rows.lengths.insert(beginning.len());
                rows.by_beginning.insert(beginning, row).is_none()
            }
        }
    }

    /// What is said of a campaign of `tenant`.
    pub fn find(&self, tenant: &TenantName, name: &CampaignName) -> Option<&T> {
        let own = self.of_tenant.get(tenant).and_then(|rows| rows.find(name));
        own.or_else(|| self.of_everyone.find(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::CAMPAIGN_NAME_MAX;

    fn tenant(name: &str) -> TenantName {
        TenantName::parse(name).expect("a name")
    }

    fn pattern(text: &str) -> CampaignPattern {
        CampaignPattern::parse(text).expect("a pattern")
    }

    #[test]
    fn a_pattern_is_a_name_or_a_beginning() {
        for text in ["news", "2026/11:*", "*"] {
            assert_eq!(pattern(text).to_string(), text);
        }
        let long = "a".repeat(CAMPAIGN_NAME_MAX);
        assert!(CampaignPattern::parse(&format!("{long}*")).is_ok());
        for (text, error) in [
            ("", NameError::Empty),
            ("a b", NameError::Character),
            ("a*b", NameError::Character),
            ("**", NameError::Character),
            (&*format!("{long}a*"), NameError::TooLong(CAMPAIGN_NAME_MAX)),
        ] {
            assert_eq!(CampaignPattern::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_row_that_fits_best_is_found() {
        let mut campaigns = Campaigns::default();
        let (acme, globex) = (tenant("acme"), tenant("globex"));
        for (whose, text) in [
            (Some(&acme), "news*"),
            (Some(&acme), "news/2026"),
            (Some(&acme), "news/*"),
            (None, "news/2026"),
            (None, "receipts"),
            (None, "r*"),
        ] {
            assert!(campaigns.insert(whose, pattern(text), text), "{text}");
            assert!(!campaigns.insert(whose, pattern(text), text), "{text} is there");
        }
        let find = |whose: &TenantName, name: &str| {
            campaigns.find(whose, &CampaignName::parse(name).expect("a name")).copied()
        };
        for (whose, name, expected) in [
            (&acme, "news/2026", Some("news/2026")),
            (&acme, "news/2026b", Some("news/*")),
            (&acme, "news", Some("news*")),
            (&acme, "receipts", Some("receipts")),
            (&acme, "reports", Some("r*")),
            (&acme, "launch", None),
            (&globex, "news", None),
            (&globex, "news/2026", Some("news/2026")),
        ] {
            assert_eq!(find(whose, name), expected, "{whose}: {name}");
        }
        assert!(campaigns.insert(None, pattern("*"), "all"));
        let launch = CampaignName::parse("launch").expect("a name");
        assert_eq!(campaigns.find(&globex, &launch), Some(&"all"));
    }
}
