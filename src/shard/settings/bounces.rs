//! What comes back to us, as the parts of a shard ask for it.

use std::sync::Arc;

use crate::base::limits::TRANSACTION_RECIPIENTS_MAX;
use crate::base::time::WallTime;
use crate::config::options::Config;
use crate::mail::address::{Domain, Mailbox};
use crate::policy::returns::{Mode, Returns, Tenants};
use crate::policy::verp::Verp;
use crate::shard::settings::{Settings, Surroundings};
use crate::spool::stored::Stored;

/// `None`: nothing does.
pub(super) fn returns(config: &Config, around: &Surroundings) -> Option<Arc<Returns>> {
    let options = config.returns.as_ref()?;
    let verp = Verp::new(options.address.clone(), around.secrets.clone()?, options.lifetime)?;
    Some(Arc::new(Returns {
        verp,
        mode: options.mode,
        classic: options.classic,
        complaints: options.complaints.clone(),
        announces: options.announces,
        forward_to: options.forward_to.clone(),
        tenants: Tenants::new(config.senders.tenants.iter().map(|tenant| &tenant.name)),
        campaigns: around.campaigns.clone(),
    }))
}

impl Settings {
    /// What a message says in MAIL to recipients at one domain in place of its own reverse-path.
    pub(crate) fn reverse_path(
        &self,
        stored: &Stored,
        recipients: &[u16],
        now: WallTime,
    ) -> Option<Mailbox> {
        let returns = self.returns.as_deref()?;
        let envelope = &stored.envelope;
        let first = &envelope.recipients[usize::from(*recipients.first()?)];
        // What is passed on inside is others' mail, and bounces go to them.
        let is_inside = |domain: &Domain| self.relay.is_relay_domain(domain);
        if first.forward_path.domain().is_none_or(is_inside) {
            return None;
        }
        returns.reverse_path(stored.id, envelope, recipients, now)
    }

    /// Recipients of a message that leave in one transaction.
    pub(crate) fn recipients_together_max(&self) -> usize {
        match &self.returns {
            Some(returns) if returns.mode == Mode::Recipient => 1,
            Some(_) | None => TRANSACTION_RECIPIENTS_MAX,
        }
    }
}
