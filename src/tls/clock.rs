//! Say what time it is to whoever judges certificates.
//!
//! The time is a value that the shards set, as everywhere on these floors: to the second, which is
//! what certificates and tickets are dated by. Lives on: all shards, one atomic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::base::time::WallTime;

/// The wall time of the last turn of any shard, in whole seconds.
#[derive(Debug, Default)]
pub struct Clock {
    seconds: AtomicU64,
}

impl Clock {
    /// It is `now`. Cheap where the second is still the same.
    pub fn set(&self, now: WallTime) {
        let seconds = u64::try_from(now.0 / 1_000).unwrap_or_default();
        if self.seconds.load(Ordering::Relaxed) != seconds {
            self.seconds.store(seconds, Ordering::Relaxed);
        }
    }
}

impl TimeProvider for Clock {
    /// Without a time nothing is trusted.
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.seconds.load(Ordering::Relaxed);
        (seconds > 0).then(|| UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}
