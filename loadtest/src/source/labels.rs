//! For whom a message is sent, and what for: header fields that say so.
//!
//! Invariant: the answer depends on the message's number alone, so that the ledger can be split by
//! it afterwards.

use std::io::Write;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Most campaigns, and so most tenants.
const CAMPAIGNS_MAX: u32 = 1_000_000;

/// What messages say of their sender.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Labels {
    /// So many tenants with so many campaigns among them; messages are of each campaign in turn.
    Numbered { tenants: u32, campaigns: u32 },
    /// All are of this one.
    Named { tenant: String, campaign: String },
}

impl FromStr for Labels {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some((tenant, campaign)) = text.split_once('/') {
            let is_name =
                |name: &str| !name.is_empty() && name.bytes().all(|c| c.is_ascii_graphic());
            if !is_name(tenant) || !is_name(campaign) {
                bail!("{text:?}: tenant and campaign are words");
            }
            return Ok(Self::Named { tenant: tenant.into(), campaign: campaign.into() });
        }
        let numbers = text.split_once(':').and_then(|(tenants, campaigns)| {
            Some((tenants.parse().ok()?, campaigns.parse().ok()?))
        });
        let (tenants, campaigns) =
            numbers.with_context(|| format!("{text:?} is neither 10:50 nor tenant/campaign"))?;
        if tenants == 0 || campaigns < tenants || campaigns > CAMPAIGNS_MAX {
            bail!("{text:?}: each tenant has a campaign, and there are {CAMPAIGNS_MAX} at most");
        }
        Ok(Self::Numbered { tenants, campaigns })
    }
}

impl TryFrom<String> for Labels {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|error: anyhow::Error| error.to_string())
    }
}

impl Labels {
    /// Tenant and campaign of message `number`.
    pub(crate) fn of(&self, number: u32) -> (String, String) {
        match self {
            Self::Named { tenant, campaign } => (tenant.clone(), campaign.clone()),
            Self::Numbered { tenants, campaigns } => {
                let campaign = number % campaigns;
                (format!("t{:03}", campaign % tenants), format!("c{campaign:03}"))
            }
        }
    }

    /// Appends the fields of message `number`.
    pub(super) fn write(&self, number: u32, out: &mut Vec<u8>) {
        let (tenant, campaign) = self.of(number);
        write!(out, "X-Tenant: {tenant}\r\nX-Campaign: {campaign}\r\n")
            .expect("memory takes every write");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_is_of_one_tenant_and_all_have_their_turn() {
        let labels: Labels = "10:50".parse().unwrap();
        assert_eq!(labels.of(0), ("t000".into(), "c000".into()));
        assert_eq!(labels.of(57), ("t007".into(), "c007".into()));
        assert_eq!(labels.of(49), ("t009".into(), "c049".into()));
        let mut out = Vec::new();
        labels.write(57, &mut out);
        assert_eq!(out, b"X-Tenant: t007\r\nX-Campaign: c007\r\n");
        let one: Labels = "acme/news".parse().unwrap();
        assert_eq!(one.of(9), ("acme".into(), "news".into()));
    }

    #[test]
    fn what_names_nobody_is_refused() {
        for text in ["", "10", "0:5", "6:5", "a:b", "/x", "x/", "a b/c", "1:1000001"] {
            assert!(text.parse::<Labels>().is_err(), "{text}");
        }
    }
}
