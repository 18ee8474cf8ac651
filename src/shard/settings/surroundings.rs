//! What the machine adds to a configuration: the content of the files that it names.
//!
//! Read by whoever may read files; here they are values.

use std::path::PathBuf;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::config::Config;
use crate::egress::shaping::Shaping;
use crate::outcome::classes::Classifier;
use crate::policy::credentials::Credentials;
use crate::policy::gate::Board;
use crate::policy::recipients::RecipientList;
use crate::policy::returns::campaigns::KnownCampaigns;
use crate::policy::signing::Signers;
use crate::policy::suppression::{At, Suppression};
use crate::policy::verp::Secrets;
use crate::smtp::socks::Login;
use crate::tls::{Clock, Identity, Roots};

/// The content of the files that a configuration names, and of those that every machine has.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The machine's resolv.conf, for when the configuration names no DNS servers.
    pub resolv_conf: String,
    /// The certificates of the node, in their order.
    pub identities: Vec<Identity>,
    /// By listener: whose certificates let a client relay.
    pub client_authorities: Vec<Option<Roots>>,
    /// By egress source: what it shows to peers.
    pub source_identities: Vec<Option<Identity>>,
    /// By egress source: what its proxy wants to hear.
    pub source_logins: Vec<Option<Arc<Login>>>,
    /// Whom `verify` trusts; `None` where nothing is verified.
    pub authorities: Option<Roots>,
    /// What signs mail.
    pub signers: Arc<Signers>,
    /// Who may log in.
    pub credentials: Arc<Credentials>,
    /// The lists of recipients, by file.
    pub recipients: HashMap<PathBuf, Arc<RecipientList>>,
    /// The time that certificates are judged by.
    pub clock: Arc<Clock>,
    /// What kind of refusal a reply is; `None`: by the shipped rules.
    pub classifier: Option<Arc<Classifier>>,
    /// What signs reverse-paths, where anything comes back to us.
    pub secrets: Option<Arc<Secrets>>,
    /// What seals links, where there are any.
    pub link_secrets: Option<Arc<Secrets>>,
    /// How traffic is shaped; `None`: as the knobs of sites say.
    pub shaping: Option<Arc<Shaping>>,
    /// Domains that fail their check.
    pub board: Arc<Board>,
    /// Campaigns by what stands for them in reverse-paths.
    pub campaigns: Arc<KnownCampaigns>,
    /// To whom nothing is sent; `None`: nobody is looked up.
    pub suppression: Option<Arc<Suppression>>,
}

impl Surroundings {
    /// The suppression lists, if `config` has them asked then.
    pub(super) fn suppressed(&self, config: &Config, at: At) -> Option<Arc<Suppression>> {
        self.suppression.clone().filter(|_| config.suppression.at == at)
    }
}
