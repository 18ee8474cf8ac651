//! Why recipients were given up and had to wait: how often each class of refusal.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use crate::base::limits::REPORT_CLASSES_MAX;
use crate::outcome::event::{Event, Kind};

/// By class: recipients that were given up, and attempts after which they waited.
#[derive(Debug, Default)]
pub(super) struct Classes(BTreeMap<String, [u64; 2]>);

/// Of events of earlier versions, and of what an operator took out.
const NOT_SAID: &str = "(not said)";

impl Classes {
    pub(super) fn add(&mut self, event: &Event<'_>) {
        let place = match event.kind {
            Kind::Bounced | Kind::Expired | Kind::Removed => 0,
            Kind::Deferred => 1,
            Kind::Received | Kind::Delivered | Kind::Held | Kind::Released => return,
            Kind::Quarantined | Kind::Refused | Kind::Discarded | Kind::Verified => return,
            // Not of an attempt: each was counted as delivered.
            Kind::BouncedLater | Kind::Complained | Kind::Returned => return,
            Kind::Opened | Kind::Clicked | Kind::Unsubscribed => return,
        };
        let is_new = !self.0.contains_key(&*event.class);
        let class = match (event.class.is_empty(), is_new && self.0.len() >= REPORT_CLASSES_MAX) {
            (true, _) | (_, true) => NOT_SAID,
            (false, false) => &*event.class,
        };
        self.0.entry(class.to_owned()).or_default()[place] += 1;
    }
}

/// The most frequent first, those that are over before those that wait.
impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<_> = self.0.iter().collect();
        rows.sort_by_key(|(class, [over, waits])| (*class == NOT_SAID, Reverse((*over, *waits))));
        if !rows.is_empty() {
            writeln!(f, "\n{:14}  {:>7}  {:>8}", "why", "bounced", "deferred")?;
        }
        for (class, [over, waits]) in rows {
            writeln!(f, "{:14}  {over:7}  {waits:8}", class.escape_debug().to_string())?;
        }
        Ok(())
    }
}
