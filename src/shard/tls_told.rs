//! Count sessions with MX hosts by how they came to TLS, for reports to their domains.
//!
//! In: connections of sites that are MX hosts, their handshakes, how they ended. Out: what the
//! shard's collector has. Invariant: a connection is counted once at most, by the first thing that
//! shows how it does; nothing is done where no reports are wanted. Lives on: the owner shard.

use std::net::IpAddr;
use std::sync::Arc;

use crate::egress::endpoints::Endpoint;
use crate::egress::site::Leads;
use crate::mail::address::Domain;
use crate::mail::envelope::TlsWish;
use crate::mail::outcome::{Failure, Stage};
use crate::mail::route::TlsLevel;
use crate::policy::tls_report::{Session, Trouble};
use crate::shard::context::Context;
use crate::shard::delivery::{Delivery, JobId};
use crate::shard::outbound::Outbound;
use crate::shard::platform::Platform;
use crate::shard::site_row::SiteRow;

/// Whom a connection is counted for.
#[derive(Debug)]
pub(super) struct Behalf {
    domain: Domain,
    host: Arc<str>,
    peer: IpAddr,
    own: Option<IpAddr>,
    level: TlsLevel,
}

impl Behalf {
    /// Where it goes out from.
    pub(super) fn leaves(&mut self, own: IpAddr) {
        self.own = Some(own);
    }

    fn session(&self) -> Session<'_> {
        let Self { domain, host, peer, own, level } = self;
        Session { domain, host, peer: *peer, own: *own, level: *level }
    }
}

impl Delivery {
    /// Whom a connection to `endpoint` would be counted for: the domain of the job that waits
    /// longest. `None` where that is not wanted, or TLS counts for nothing.
    pub(super) fn behalf<P: Platform>(
        &self,
        row: &SiteRow,
        endpoint: &Endpoint,
        cx: &Context<'_, P>,
    ) -> Option<Box<Behalf>> {
        let is_of_domain = matches!(row.key.leads, Leads::Hosts(..));
        if !cx.settings.tells_of_tls || !is_of_domain || row.tls == TlsLevel::None {
            return None;
        }
        let JobId(job) = row.site.next_in_line()?;
        let job = self.jobs.get(job)?;
        //= RFC 8460 §3
        //# sending MTAs MUST deliver reports despite any TLS-related failures and SHOULD NOT
        //# include this SMTP session in the next report.
        // Nor any other that is held against no policy.
        if job.wish() == TlsWish::Waived {
            return None;
        }
        let domain = job.dispatch.domain.clone();
        let peer = endpoint.address.ip();
        Some(Box::new(Behalf {
            domain,
            host: endpoint.host.clone(),
            peer,
            own: None,
            level: row.tls,
        }))
    }
}

impl Outbound {
    /// It is ready for mail: through TLS, or in clear though it was to have TLS.
    pub(super) fn tell_ready<P: Platform>(&mut self, cx: &mut Context<'_, P>) {
        let Some(behalf) = self.behalf.take() else { return };
        if !self.protection.is_up() {
            let clear = Err((Trouble::NoStartTls, "STARTTLS is not offered, or refused"));
            return cx.common.tls_sessions.count(&behalf.session(), clear);
        }
        let sessions = &mut cx.common.tls_sessions;
        let authorities = cx.settings.authorities.as_ref();
        let authorities = authorities.filter(|_| sessions.is_tested(&behalf.domain, &behalf.host));
        let judged = authorities
            .map_or(Ok(()), |trusted| self.protection.judge(trusted, &cx.settings.clock));
        let words = judged.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let result = judged.map_err(|error| (Trouble::Handshake(error.fault()), &*words));
        sessions.count(&behalf.session(), result);
    }

    /// It has failed; by then it may be ready for mail.
    pub(super) fn tell_failed<P: Platform>(
        &mut self,
        (stage, failure): &(Stage, Failure),
        cx: &mut Context<'_, P>,
    ) {
        if *stage != Stage::Tls || self.behalf.is_none() {
            return;
        }
        let trouble = match self.protection.fault() {
            None => Trouble::NoStartTls,
            Some(fault) => Trouble::Handshake(fault),
        };
        if let Some(behalf) = self.behalf.take() {
            let words = failure.to_string();
            cx.common.tls_sessions.count(&behalf.session(), Err((trouble, &words)));
        }
    }
}
