//! Say who sends a message: its tenant and its campaign.
//!
//! In: who logged in, which listener it came to, what its header says ([`labels`]). Out: a
//! [`Sender`], or a reply that refuses. Invariant: a login that belongs to a tenant sends as no
//! other; a header counts only where the client may relay, so nobody from outside becomes a tenant.
//! Lives on: all shards, shared; a reload makes another.

pub mod labels;

use std::collections::HashMap;

use crate::mail::handling::{CampaignName, TenantName};
use crate::mail::status::Reply;
use crate::policy::reply;
use crate::policy::senders::labels::{FieldNames, Labels};
use crate::smtp::sasl::Name;

/// Who sends a message, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// A customer.
    pub tenant: Option<TenantName>,
    /// What it is for; none without a tenant.
    pub campaign: Option<CampaignName>,
}

/// How a message's tenant is known.
#[derive(Clone, Debug, Default)]
pub struct Senders {
    by_login: HashMap<Name, TenantName>,
    /// By the listener's place.
    by_listener: HashMap<u16, TenantName>,
    fields: Option<FieldNames>,
}

impl Senders {
    /// Header fields of these names are read; `None`: no header is.
    pub fn new(fields: Option<FieldNames>) -> Self {
        Self { fields, ..Self::default() }
    }

    /// Whoever logs in as `login` sends as `tenant`.
    pub fn insert_login(&mut self, login: Name, tenant: TenantName) {
        self.by_login.insert(login, tenant);
    }

    /// What comes in on `listener` is `tenant`'s, unless a login or a header says otherwise.
    pub fn insert_listener(&mut self, listener: u16, tenant: TenantName) {
        self.by_listener.insert(listener, tenant);
    }

    /// Whether nobody is known: no login, no listener, no field.
    pub fn is_nobody(&self) -> bool {
        self.by_login.is_empty() && self.by_listener.is_empty() && self.fields.is_none()
    }

    /// The fields that are read in the header of a client that may relay.
    pub fn fields(&self) -> Option<&FieldNames> {
        self.fields.as_ref()
    }

    /// Whose the mail of a client is that may relay, before its header has come.
    pub fn tenant(&self, listener: u16, login: Option<&Name>) -> Option<&TenantName> {
        let of_login = login.and_then(|login| self.by_login.get(login));
        of_login.or_else(|| self.by_listener.get(&listener))
    }

    /// Who sends a message of such a client whose header says `said`.
    ///
    /// A refusal: the client's login is another tenant's, or there is a campaign and no tenant.
    pub fn sender(
        &self,
        listener: u16,
        login: Option<&Name>,
        said: Labels,
    ) -> Result<Sender, Reply> {
        let Labels { tenant, campaign } = said;
        let own = login.and_then(|login| self.by_login.get(login));
        let tenant = match (own, tenant) {
            (Some(own), Some(said)) if *own != said => {
                let text = format!("{own} is who logged in, and its header says {said}");
                return Err(reply(550, (5, 7, 1), &text));
            }
            (Some(own), _) => Some(own.clone()),
            (None, Some(said)) => Some(said),
            (None, None) => self.by_listener.get(&listener).cloned(),
        };
        if let (None, Some(campaign)) = (&tenant, &campaign) {
            let text = format!("The header names campaign {campaign} of no tenant");
            return Err(reply(550, (5, 6, 0), &text));
        }
        Ok(Sender { tenant, campaign })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantName {
        TenantName::parse(name).expect("a name")
    }

    fn login(name: &str) -> Name {
        Name::prepare(name.as_bytes()).expect("a login")
    }

    fn said(tenant: &str, campaign: &str) -> Labels {
        let (tenant, campaign) =
            (TenantName::parse(tenant).ok(), CampaignName::parse(campaign).ok());
        Labels { tenant, campaign }
    }

    fn senders() -> Senders {
        let mut senders = Senders::new(None);
        senders.insert_login(login("app"), tenant("acme"));
        senders.insert_listener(1, tenant("globex"));
        senders
    }

    /// The tenant, or the reply.
    fn whose(listener: u16, who: &str, labels: Labels) -> String {
        let login = (!who.is_empty()).then(|| login(who));
        match senders().sender(listener, login.as_ref(), labels) {
            Ok(Sender { tenant: Some(tenant), .. }) => tenant.to_string(),
            Ok(Sender { tenant: None, .. }) => String::new(),
            Err(reply) => reply.to_string(),
        }
    }

    #[test]
    fn a_login_goes_before_a_header_and_a_header_before_a_listener() {
        assert_eq!(whose(0, "", Labels::default()), "");
        assert_eq!(whose(0, "other", Labels::default()), "");
        assert_eq!(whose(1, "other", Labels::default()), "globex");
        assert_eq!(whose(1, "", said("initech", "")), "initech");
        assert_eq!(whose(1, "app", Labels::default()), "acme");
        assert_eq!(whose(0, "app", said("acme", "news")), "acme");
        let senders = senders();
        assert_eq!(senders.tenant(1, Some(&login("app"))), Some(&tenant("acme")));
        assert_eq!(senders.tenant(1, None), Some(&tenant("globex")));
        assert_eq!(senders.tenant(0, None), None);
    }

    #[test]
    fn nobody_sends_as_another_or_for_a_campaign_of_nobodys() {
        let refused = whose(1, "app", said("globex", ""));
        assert!(refused.starts_with("550 5.7.1 acme is who logged in"), "{refused}");
        let refused = whose(0, "", said("", "news"));
        assert!(refused.starts_with("550 5.6.0 The header names campaign news"), "{refused}");
        assert_eq!(whose(1, "", said("", "news")), "globex");
    }
}
