//! A whole Postfix of its own, with its own configuration, queue and mailboxes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::network::Network;
use super::process::{Running, output, until};
use crate::tool;

/// What its services are, but for the columns that do not matter here.
const SERVICES: &str = "\
127.0.0.1:25 inet n - n - - smtpd
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
";

/// A running Postfix, its smtpd on 127.0.0.1:25 of its own network. `user@mail.example` and
/// `sender@mail.example` have mailboxes behind it.
#[derive(Debug)]
pub(crate) struct Postfix<'n> {
    network: &'n Network,
    _master: Running,
    folder: tempfile::TempDir,
}

impl<'n> Postfix<'n> {
    /// Postfix with `settings` beside its own in main.cf; `None` where it is not installed.
    pub(crate) fn start(network: &'n Network, settings: &str) -> Option<Self> {
        let postfix = tool::find("postfix")?;
        let folder = tempfile::tempdir().unwrap();
        let conf = lay_out(folder.path(), settings);
        output(network.command(postfix).arg("-c").arg(&conf).arg("check"), b"");
        let mut postconf = network.command("postconf");
        let daemons = output(postconf.arg("-c").arg(&conf).args(["-h", "daemon_directory"]), b"");
        let daemons = String::from_utf8(daemons).unwrap();
        let mut command = network.command(Path::new(daemons.trim()).join("master"));
        // It ends by itself where nobody is left to end it.
        command.arg("-c").arg(&conf).args(["-d", "-e", "600"]);
        let mut master = Running::start(&command, &folder.path().join("log"));
        until("Postfix has started", || {
            let log = master.log();
            assert!(master.is_alive(), "Postfix has ended: {log}");
            log.contains("daemon started").then_some(())
        });
        Some(Self { network, _master: master, folder })
    }

    /// What lies in a mailbox, in no order.
    pub(crate) fn mailbox(&self, user: &str) -> Vec<Vec<u8>> {
        let folder = self.folder.path().join("mail").join(user).join("new");
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
    }

    /// Wait for a message in a mailbox that ends with `content`, CRLF there being LF here.
    pub(crate) fn wait_for(&self, user: &str, content: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(content);
        let expected: Vec<u8> = content.iter().copied().filter(|octet| *octet != b'\r').collect();
        until(&format!("in the mailbox: {text}"), || {
            self.mailbox(user).into_iter().find(|message| message.ends_with(&expected))
        })
    }

    /// Hand it a message as local users do.
    pub(crate) fn sendmail(&self, arguments: &[&str], content: &str) {
        let mut command = self.network.command("sendmail");
        command.env("MAIL_CONFIG", self.folder.path().join("conf")).args(arguments);
        output(&mut command, content.replace("\r\n", "\n").as_bytes());
    }
}

/// Make its folders and configuration under `at`; where the latter is.
fn lay_out(at: &Path, settings: &str) -> std::path::PathBuf {
    // Its processes are not all root's, and must pass through.
    std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o755)).unwrap();
    let folders = [("conf", "root"), ("queue", "root"), ("data", "postfix"), ("mail", "nobody")];
    for (name, owner) in folders {
        std::fs::create_dir(at.join(name)).unwrap();
        output(Network::Shared.command("chown").arg(owner).arg(at.join(name)), b"");
    }
    let conf = at.join("conf");
    std::fs::write(conf.join("main.cf"), main_cf(at, settings)).unwrap();
    std::fs::write(conf.join("master.cf"), SERVICES).unwrap();
    conf
}

fn main_cf(at: &Path, settings: &str) -> String {
    let at = at.display();
    format!(
        "compatibility_level = 3.6\n\
         queue_directory = {at}/queue\n\
         data_directory = {at}/data\n\
         maillog_file = /dev/stdout\n\
         myhostname = postfix.example\n\
         mydestination =\n\
         mynetworks = 127.0.0.0/8\n\
         inet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\n\
         smtp_tls_security_level = none\n\
         smtpd_tls_security_level = none\n\
         smtputf8_enable = yes\n\
         disable_dns_lookups = yes\n\
         alias_maps =\n\
         local_header_rewrite_clients =\n\
         virtual_mailbox_domains = mail.example\n\
         virtual_mailbox_base = {at}/mail\n\
         virtual_mailbox_maps = inline:{{\n  \
           {{ user@mail.example = user/ }},\n  \
           {{ sender@mail.example = sender/ }} }}\n\
         virtual_uid_maps = static:65534\n\
         virtual_gid_maps = static:65534\n\
         {settings}\n"
    )
}
