//! Whom a listener trusts to say for whom they connect.

use crate::config::options::Listener;
use crate::policy::relay::AddressSet;

/// Of one listener.
#[derive(Debug)]
pub(crate) struct Proxies {
    /// They begin with a PROXY header.
    pub(crate) by_header: AddressSet,
    /// They may say XCLIENT.
    pub(crate) by_xclient: AddressSet,
}

impl Proxies {
    pub(super) fn new(listener: &Listener) -> Self {
        Self {
            by_header: AddressSet::new(listener.proxy_from.clone()),
            by_xclient: AddressSet::new(listener.xclient_from.clone()),
        }
    }
}
