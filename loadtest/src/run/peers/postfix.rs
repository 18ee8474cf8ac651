//! Postfix as a relay of its own: a configuration and a queue in a folder, nothing of the system's.
//!
//! Set up as an operator would for bulk: hundreds of processes, many connections that are kept, no
//! TLS, no lookups that a test has no answers for. It syncs a message's file before 250 by itself,
//! when the file has its name already.

use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::server::{self, Peer, Place, Plan, Promise};

const MASTER: &str = "/usr/lib/postfix/sbin/master";
/// What Debian's package starts from.
const SERVICES: &str = "/usr/share/postfix/master.cf.dist";

/// Postfix where it is installed.
#[derive(Debug)]
pub(super) struct Postfix {
    version: String,
}

impl Postfix {
    /// Errors: it is not there, or cannot be run.
    pub(super) fn find() -> Result<Self> {
        if !Path::new(MASTER).exists() || !Path::new(SERVICES).exists() {
            bail!("not installed (Debian's package postfix)");
        }
        server::expect_root("Postfix")?;
        let printed =
            server::printed(Path::new("/usr/sbin/postconf"), &["-d", "-h", "mail_version"])?;
        Ok(Self { version: format!("Postfix {}", printed.trim()) })
    }
}

impl Peer for Postfix {
    fn version(&self) -> &str {
        &self.version
    }

    fn promise(&self) -> Promise {
        Promise::Synced
    }

    fn plan(&self, place: &Place<'_>) -> Result<Plan> {
        let config = write_config(place)?;
        let checked =
            Command::new("/usr/sbin/postfix").arg("-c").arg(&config).arg("check").output();
        let checked = checked.context("running postfix check")?;
        if !checked.status.success() {
            bail!("postfix check: {}", String::from_utf8_lossy(&checked.stderr));
        }
        let arguments = vec!["-c".into(), config.into(), "-d".into()];
        // Its master waits for every process that it starts.
        Ok(Plan { program: PathBuf::from(MASTER), arguments, needs_group: false })
    }
}

/// Writes its configuration, and returns the folder of it.
fn write_config(place: &Place<'_>) -> Result<PathBuf> {
    let (config, queue, data) = (place.make("config")?, place.make("queue")?, place.make("data")?);
    let user = user_id("postfix")?;
    chown(&data, Some(user), None).context("giving Postfix its folder")?;
    let (host, port) = (place.upstream.ip(), place.upstream.port());
    let main = format!(
        "compatibility_level = 3.6\nmyhostname = postfix.load.example\nmydestination =\n\
         mynetworks = 127.0.0.0/8\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
         queue_directory = {}\ndata_directory = {}\nmaillog_file = /dev/null\n\
         maillog_file_prefixes = /dev\n\
         relayhost = [{host}]:{port}\nsmtp_tls_security_level = none\n\
         smtpd_tls_security_level = none\nsmtpd_peername_lookup = no\n\
         smtpd_recipient_restrictions = permit_mynetworks, reject\n\
         smtpd_client_connection_count_limit = 0\ndefault_process_limit = 200\n\
         default_destination_concurrency_limit = 100\ninitial_destination_concurrency = 100\n\
         default_destination_recipient_limit = 1\nqmgr_message_active_limit = 100000\n\
         qmgr_message_recipient_limit = 100000\nin_flow_delay = 0\n\
         smtp_connection_cache_on_demand = yes\n\
         smtp_connection_cache_destinations = [{host}]:{port}\n",
        queue.display(),
        data.display()
    );
    std::fs::write(config.join("main.cf"), main).context("writing main.cf")?;
    let services = std::fs::read_to_string(SERVICES).context("reading Debian's master.cf")?;
    std::fs::write(config.join("master.cf"), services_at(&services, place.listen))
        .context("writing master.cf")?;
    Ok(config)
}

/// Debian's services: the SMTP server elsewhere, and none in a changed root.
fn services_at(services: &str, listen: SocketAddr) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words[..] {
            ["smtp", "inet", ..] => format!("{listen} inet n - n - - smtpd\n"),
            [name, kind, private, unprivileged, chroot, ..]
                if matches!(chroot, "y" | "-") && !line.starts_with([' ', '\t', '#']) =>
            {
                let rest = words[5..].join(" ");
                format!("{name} {kind} {private} {unprivileged} n {rest}\n")
            }
            _ => format!("{line}\n"),
        }
    };
    services.lines().map(line).collect()
}

fn user_id(name: &str) -> Result<u32> {
    let users = std::fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let found = users.lines().map(fields).find(|fields| fields[0] == name);
    let id = found.and_then(|fields| fields.get(2)?.parse().ok());
    id.with_context(|| format!("there is no user {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_listens_where_it_is_told_and_stays_in_its_root() {
        let services = "# comment y\n\
                        smtp      inet  n       -       y       -       -       smtpd\n\
                        pickup    unix  n       -       y       60      1       pickup\n\
                        maildrop  unix  -       n       n       -       -       pipe\n\
                        \tflags=DRXhu\n";
        let written = services_at(services, "127.0.0.1:9".parse().unwrap());
        let expected = "# comment y\n\
                        127.0.0.1:9 inet n - n - - smtpd\npickup unix n - n 60 1 pickup\n\
                        maildrop  unix  -       n       n       -       -       pipe\n\
                        \tflags=DRXhu\n";
        assert_eq!(written, expected);
    }

    #[test]
    fn root_has_its_number() {
        assert_eq!(user_id("root").unwrap(), 0);
        assert!(user_id("no-such-user").is_err());
    }
}
