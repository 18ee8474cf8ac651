//! Say what keeps a message that an owner holds: the limit that binds at its site.
//!
//! A home knows why its recipients wait in its own queue. Those that it calls *attempting* may be
//! in line at their owner, for a connection or for their turn by a rate, or follow another on its
//! connection. Lives on: the owner.

use hashbrown::HashMap;

use crate::base::ids::MessageId;
use crate::shard::commands::Wait;
use crate::shard::delivery::{Delivery, Job, JobId};

impl Delivery {
    /// What keeps the recipients of `id` that this shard holds and that are not being sent.
    pub(crate) fn waits(&self, id: MessageId) -> Vec<Wait> {
        let carried: HashMap<JobId, Option<&str>> = self.on_connections().collect();
        let held = self.jobs.iter().map(|(slot, job)| (JobId(slot), job));
        held.filter(|(_, job)| job.dispatch.stored.id == id)
            .filter_map(|(name, job)| {
                let why = match carried.get(&name) {
                    Some(None) => return None,
                    Some(Some(peer)) => {
                        format!("the reply to the message before it on its connection ({peer})")
                            .into()
                    }
                    None => self.why(name, job)?,
                };
                let recipients = job.dispatch.departure.recipients.as_slice().to_vec();
                Some(Wait { recipients, why })
            })
            .collect()
    }

    fn why(&self, name: JobId, job: &Job) -> Option<Box<str>> {
        if self.is_asking(name) {
            return Some("an answer from DNS".into());
        }
        let row = self.site_of(job)?;
        let handling = job.dispatch.stored.envelope.handling.as_deref();
        let of_sender = || row.site.why_of(handling?.sender()).cloned();
        let why = of_sender().or_else(|| row.site.why())?;
        Some(format!("{why} ({})", row.name).into())
    }
}
