//! How a site stands, for its shard and for people.

use crate::base::time::Monotonic;
use crate::egress::cause::Why;
use crate::egress::site::Site;

impl<J: Copy> Site<J> {
    /// Why jobs of this site wait at the moment, if something holds them up.
    pub fn why(&self) -> Option<Why> {
        if self.suspension.until().is_some() {
            return Some(self.suspended());
        }
        self.blocked.as_ref().map(|(why, _)| why.clone())
    }

    /// Until when the site is left alone, if it is.
    pub fn suspended_until(&self) -> Option<Monotonic> {
        self.suspension.until()
    }

    /// Jobs that wait here.
    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Connections of this shard: opening, idle or busy.
    pub fn connections(&self) -> usize {
        self.pool.len()
    }

    /// Whether nothing is here that would be lost if the site were forgotten: no jobs, connections
    /// or actions, and no suspension.
    pub fn is_idle(&self) -> bool {
        let empty = self.line.is_empty() && self.pool.len() == 0 && self.out.is_empty();
        empty && self.suspension.until().is_none()
    }
}
