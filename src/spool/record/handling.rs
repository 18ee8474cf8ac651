//! Encode and decode how a sender wants a message handled; one stretch in records and in indexes.
//!
//! Invariant: decoding what was encoded gives the same value; anything else that says something
//! that cannot be gives `None`. Unit: octets, little-endian.
//!
//! | handling | | |
//! |---|---|---|
//! | 0 | 1 | octets of the tenant's name; 0: none |
//! | 1 | 1 | octets of the campaign's name; 0: none |
//! | 2 | 1 | priority, signed |
//! | 3 | 1 | 1 held until, 2 deliver by, 4 and then return, 8 and trace |
//! | 4 | 8 | held until: milliseconds since 1970, signed |
//! | 12 | 8 | deliver by: the same |
//! | 20 | | tenant, campaign |

use crate::base::time::WallTime;
use crate::mail::handling::{CampaignName, DeliverBy, Handling, Late, Priority, TenantName};
use crate::spool::record::reader::Reader;

const HELD: u8 = 1;
const BY: u8 = 2;
const RETURN: u8 = 4;
const TRACE: u8 = 8;

/// Append `handling`.
pub(in crate::spool) fn encode(handling: &Handling, out: &mut Vec<u8>) {
    let Handling { tenant, campaign, priority, hold_until, deliver_by } = handling;
    let tenant = tenant.as_ref().map_or("", TenantName::as_str);
    let campaign = campaign.as_ref().map_or("", CampaignName::as_str);
    let octets = |text: &str| u8::try_from(text.len()).expect("names are shorter");
    let mut flags = if hold_until.is_some() { HELD } else { 0 };
    if let Some(by) = deliver_by {
        flags |= BY;
        flags |= if by.late == Late::Return { RETURN } else { 0 };
        flags |= if by.trace { TRACE } else { 0 };
    }
    let [priority] = priority.value().to_le_bytes();
    out.extend_from_slice(&[octets(tenant), octets(campaign), priority, flags]);
    let times = [*hold_until, deliver_by.map(|by| by.at)];
    for time in times.map(|time| time.unwrap_or(WallTime(0))) {
        out.extend_from_slice(&time.0.to_le_bytes());
    }
    out.extend_from_slice(tenant.as_bytes());
    out.extend_from_slice(campaign.as_bytes());
}

/// Take a handling off the front of what is left to read.
pub(in crate::spool) fn decode(reader: &mut Reader<'_>) -> Option<Handling> {
    let [tenant, campaign, priority, flags] =
        [reader.u8()?, reader.u8()?, reader.u8()?, reader.u8()?];
    let (hold_until, by) = (WallTime(reader.i64()?), WallTime(reader.i64()?));
    let (tenant, campaign) = (reader.text(tenant.into())?, reader.text(campaign.into())?);
    let late = if flags & RETURN != 0 { Late::Return } else { Late::Notify };
    let deliver_by = DeliverBy { at: by, late, trace: flags & TRACE != 0 };
    Some(Handling {
        tenant: named(tenant, TenantName::parse)?,
        campaign: named(campaign, CampaignName::parse)?,
        priority: Priority::new(i8::from_le_bytes([priority]))?,
        hold_until: (flags & HELD != 0).then_some(hold_until),
        deliver_by: (flags & BY != 0).then_some(deliver_by),
    })
}

/// The name in `text`, if there is one; `None`: it is none that may be.
fn named<N, E>(text: &str, parse: impl FnOnce(&str) -> Result<N, E>) -> Option<Option<N>> {
    if text.is_empty() { Some(None) } else { parse(text).ok().map(Some) }
}

#[cfg(test)]
pub(in crate::spool) mod tests {
    use super::*;
    use crate::base::limits::{CAMPAIGN_NAME_MAX, TENANT_NAME_MAX};

    /// Handlings that say little and much.
    pub(in crate::spool) fn some() -> Vec<Handling> {
        let tenant = TenantName::parse(&"t".repeat(TENANT_NAME_MAX)).ok();
        let campaign = CampaignName::parse(&"c".repeat(CAMPAIGN_NAME_MAX)).ok();
        let by = |late, trace| Some(DeliverBy { at: WallTime(-7), late, trace });
        let priority = Priority::new(-9).expect("in range");
        vec![
            Handling::default(),
            Handling { tenant: TenantName::parse("acme").ok(), ..Handling::default() },
            Handling { hold_until: Some(WallTime(1_795_491_661_007)), ..Handling::default() },
            Handling { deliver_by: by(Late::Notify, true), ..Handling::default() },
            Handling {
                tenant,
                campaign,
                priority,
                hold_until: Some(WallTime(0)),
                deliver_by: by(Late::Return, false),
            },
        ]
    }

    #[test]
    fn what_was_said_reads_back() {
        for handling in some() {
            let mut out = Vec::new();
            encode(&handling, &mut out);
            for cut in 0..out.len() {
                assert_eq!(decode(&mut Reader::new(&out[..cut])), None, "{cut} of {handling:?}");
            }
            let mut reader = Reader::new(&out);
            assert_eq!(decode(&mut reader), Some(handling));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn what_cannot_be_is_not_read() {
        let mut right = Vec::new();
        encode(&some()[1], &mut right);
        for (place, octet) in [(2, 10), (2, 246), (20, b' '), (20, 0xff)] {
            let mut wrong = right.clone();
            wrong[place] = octet;
            assert_eq!(decode(&mut Reader::new(&wrong)), None, "{octet} at {place}");
        }
    }
}
