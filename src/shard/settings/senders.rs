//! Who sends, as the configuration says.

use std::sync::Arc;

use crate::config::options::Config;
use crate::policy::senders::Senders;
use crate::queue::{Tenants, Terms};

/// How it is known who sends.
pub(super) fn senders(config: &Config) -> Senders {
    let mut senders = Senders::new(config.senders.fields.clone());
    for tenant in &config.senders.tenants {
        for login in &tenant.logins {
            senders.insert_login(login.clone(), tenant.name.clone());
        }
        for listener in &tenant.listeners {
            senders.insert_listener(*listener, tenant.name.clone());
        }
    }
    senders
}

/// What holds for those of whom something is said.
pub(super) fn tenants(config: &Config) -> Tenants {
    let tenants = config.senders.tenants.iter().map(|tenant| {
        let terms = Terms { weight: tenant.weight, queued_max: tenant.queued_max };
        (tenant.name.clone(), terms)
    });
    Arc::new(tenants.collect())
}
