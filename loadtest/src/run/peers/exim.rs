//! Exim as a relay of its own: one configuration file, and a spool in a folder.
//!
//! Set up as an operator would for bulk: a delivery is begun for every message, however many come
//! on a connection, and nothing is looked up. It syncs a message before 250 by itself: its content
//! (`-D`), its envelope (`-H`), and the folder of both. To leave that out takes a build of its own
//! (`disable_fsync`).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::server::{self, Peer, Place, Plan, Promise};

/// Exim where it is installed.
#[derive(Debug)]
pub(super) struct Exim {
    program: PathBuf,
    version: String,
}

impl Exim {
    /// Errors: it is not there, or cannot be run.
    pub(super) fn find() -> Result<Self> {
        let program = server::on_path(&["exim4", "exim"]);
        let program = program.context("not installed (Debian's package exim4-daemon-light)")?;
        server::expect_root("Exim")?;
        // An empty configuration, for that of the system may not be there.
        let printed = server::printed(&program, &["-C", "/dev/null", "-bV"])?;
        let Some(version) = version_in(&printed) else {
            bail!("{} does not say that it is Exim: {printed}", program.display());
        };
        Ok(Self { program, version: format!("Exim {version}") })
    }
}

impl Peer for Exim {
    fn version(&self) -> &str {
        &self.version
    }

    fn promise(&self) -> Promise {
        Promise::Synced
    }

    fn plan(&self, place: &Place<'_>) -> Result<Plan> {
        let config = place.write("exim.conf", &config(&self.program, place))?;
        // In the foreground, with a look at what could not be delivered at once every ten seconds.
        let mut arguments = vec!["-C".into(), config.into()];
        arguments.extend(["-bdf", "-q10s"].map(Into::into));
        // Its daemon has deliveries reaped by the kernel (SA_NOCLDWAIT): nobody is told what they
        // used.
        Ok(Plan { program: self.program.clone(), arguments, needs_group: true })
    }
}

/// The word after `Exim version`.
fn version_in(printed: &str) -> Option<&str> {
    let (_, rest) = printed.split_once("Exim version ")?;
    rest.split_ascii_whitespace().next()
}

fn config(program: &Path, place: &Place<'_>) -> String {
    let (listen, upstream) = (place.listen, place.upstream);
    let (program, spool) = (program.display(), place.folder.join("spool"));
    let spool = spool.display();
    let mut text = format!(
        "exim_path = {program}\nprimary_hostname = exim.load.example\nspool_directory = {spool}\n\
         log_file_path = {spool}/log/%slog\npid_file_path = {spool}/exim.pid\n\
         local_interfaces = {}\ndaemon_smtp_ports = {}\n",
        listen.ip(),
        listen.port()
    );
    // What would stop or delay it: 20 connections at a time, deliveries of 10 messages a connection
    // only, a limit of messages, names of clients, and root for each delivery.
    text.push_str(
        "keep_environment =\ntls_advertise_hosts =\nhost_lookup =\nhelo_lookup_domains =\n\
         rfc1413_query_timeout = 0s\nacl_smtp_rcpt = accept\nacl_smtp_data = accept\n\
         smtp_accept_max = 0\nsmtp_accept_queue_per_connection = 0\n\
         smtp_accept_max_per_connection = 1000000\nsmtp_connect_backlog = 1024\n\
         message_size_limit = 1G\nsplit_spool_directory = true\nmessage_logs = false\n\
         deliver_drop_privilege = true\nqueue_run_max = 5\n\nbegin acl\n\nbegin routers\n\n",
    );
    writeln!(
        text,
        "smarthost:\n  driver = manualroute\n  transport = smarthost\n  route_list = * {}\n  \
         self = send\n\nbegin transports\n\nsmarthost:\n  driver = smtp\n  port = {}\n  \
         hosts_avoid_tls = *\n\nbegin retry\n\n* * F,1h,10s",
        upstream.ip(),
        upstream.port()
    )
    .expect("memory takes every write");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_spools_and_relays_where_it_is_told() {
        let place = Place {
            folder: Path::new("/srv/x"),
            listen: "127.0.0.1:9".parse().unwrap(),
            upstream: "127.0.0.1:8".parse().unwrap(),
        };
        let text = config(Path::new("/sbin/exim4"), &place);
        for line in [
            "exim_path = /sbin/exim4",
            "local_interfaces = 127.0.0.1",
            "daemon_smtp_ports = 9",
            "spool_directory = /srv/x/spool",
            "log_file_path = /srv/x/spool/log/%slog",
            "smtp_accept_max = 0",
            "smtp_accept_queue_per_connection = 0",
            "  route_list = * 127.0.0.1",
            "  port = 8",
            "  self = send",
            "* * F,1h,10s",
        ] {
            assert_eq!(
                text.lines().filter(|written| *written == line).count(),
                1,
                "{line}\n{text}"
            );
        }
        assert!(!text.contains("fsync"), "{text}");
    }

    #[test]
    fn its_version_is_a_word_of_what_it_prints() {
        let printed = "Exim version 4.96 #2 built 27-May-2026 16:52:26\nCopyright (c) …";
        assert_eq!(version_in(printed), Some("4.96"));
        assert_eq!(version_in("exim: no such configuration"), None);
    }
}
