//! Postfix as a relay of its own: a configuration and a queue in a folder, nothing of the system's.
//!
//! Set up as an operator would for bulk: hundreds of processes, many connections that are kept, no
//! TLS, no lookups that a test has no answers for. Its promise is the usual one.

use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::Child;

use crate::cpu;

const MASTER: &str = "/usr/lib/postfix/sbin/master";
/// What Debian's package starts from.
const SERVICES: &str = "/usr/share/postfix/master.cf.dist";
/// Longest wait until it listens.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait until it ends.
const END: Duration = Duration::from_secs(20);

/// Running; gone when it is dropped.
pub(super) struct Postfix {
    child: Child,
    cpu_at_start: u64,
}

/// Its version, as `Postfix 3.7`; an error where it is not there, or cannot be run.
pub(super) fn version() -> Result<String> {
    if !Path::new(MASTER).exists() || !Path::new(SERVICES).exists() {
        bail!("Postfix is not installed here (Debian's package postfix)");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("Postfix has to be started by root");
    }
    let output = Command::new("/usr/sbin/postconf").args(["-d", "-h", "mail_version"]).output();
    let output = output.context("running postconf")?;
    Ok(format!("Postfix {}", String::from_utf8_lossy(&output.stdout).trim()))
}

impl Postfix {
    /// Starts it in `folder`, relaying all that comes to `listen` to `upstream`.
    pub(super) async fn start(
        folder: &Path,
        listen: SocketAddr,
        upstream: SocketAddr,
    ) -> Result<Self> {
        let config = write_config(folder, listen, upstream)?;
        let checked =
            Command::new("/usr/sbin/postfix").arg("-c").arg(&config).arg("check").output();
        let checked = checked.context("running postfix check")?;
        if !checked.status.success() {
            bail!("postfix check: {}", String::from_utf8_lossy(&checked.stderr));
        }
        let ourselves = std::env::current_exe().context("finding this program")?;
        let child = tokio::process::Command::new(ourselves)
            .args(["become", MASTER, "-c"])
            .arg(&config)
            .arg("-d")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting Postfix")?;
        let mut server = Self { child, cpu_at_start: 0 };
        server.wait_until_it_listens(listen).await?;
        server.cpu_at_start = server.all_cpu_us()?;
        Ok(server)
    }

    async fn wait_until_it_listens(&mut self, listen: SocketAddr) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().context("asking for Postfix's state")? {
                bail!("Postfix ended at once with {status}; its log may say why");
            }
            if tokio::net::TcpStream::connect(listen).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("Postfix did not listen on {listen} within {PATIENCE:?}")
    }

    /// CPU of all its processes since it was up, those that have ended included.
    pub(super) fn cpu_us(&self) -> Result<u64> {
        Ok(self.all_cpu_us()?.saturating_sub(self.cpu_at_start))
    }

    fn all_cpu_us(&self) -> Result<u64> {
        cpu::of_tree_us(self.child.id().context("Postfix has ended")?)
    }

    /// SIGTERM to its master, which ends the others.
    pub(super) async fn stop(mut self) -> Result<()> {
        let pid = self.child.id().context("Postfix has ended already")?;
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.context("a pid fits")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .context("sending SIGTERM to Postfix")?;
        let ended = tokio::time::timeout(END, self.child.wait()).await;
        ended.with_context(|| format!("Postfix did not end within {END:?}"))?.map(|_| ())?;
        Ok(())
    }
}

/// Writes its configuration, and returns the folder of it.
fn write_config(folder: &Path, listen: SocketAddr, upstream: SocketAddr) -> Result<PathBuf> {
    // Its processes run as another user.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder, open).context("opening the folder to Postfix's user")?;
    let [config, queue, data] = ["config", "queue", "data"].map(|name| folder.join(name));
    for made in [&config, &queue, &data] {
        std::fs::create_dir(made).with_context(|| format!("making {}", made.display()))?;
    }
    let user = user_id("postfix")?;
    chown(&data, Some(user), None).context("giving Postfix its folder")?;
    let (host, port) = (upstream.ip(), upstream.port());
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
    std::fs::write(config.join("master.cf"), services_at(&services, listen))
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
