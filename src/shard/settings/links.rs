//! What tenants want of their messages' links, as the parts of a shard ask for it.

use std::sync::Arc;

use crate::config::options::{Config, Tenant};
use crate::policy::links::Links;
use crate::policy::links::letter::{Rules, Terms};
use crate::shard::settings::Surroundings;

/// `None`: none of them wants anything.
pub(super) fn links(config: &Config, around: &Surroundings) -> Option<Arc<Rules>> {
    let wants = |tenant: &&Tenant| !tenant.links.is_off();
    let host = config.web.as_ref().map_or("", |web| &web.host);
    let terms = config.senders.tenants.iter().filter(wants).map(|tenant| {
        let links = &tenant.links;
        let terms = Terms {
            unsubscribe: links.unsubscribe,
            opens: links.opens,
            clicks: links.clicks,
            host: links.host.clone().unwrap_or_else(|| host.into()),
        };
        (tenant.name.clone(), terms)
    });
    let rules =
        Rules { links: around.link_secrets.as_deref().map(Links::new), terms: terms.collect() };
    (!rules.terms.is_empty()).then(|| Arc::new(rules))
}
