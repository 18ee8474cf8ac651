//! Haraka as a relay of its own: its own defaults, with a plugin of three lines for the next hop.
//!
//! Set up as an operator would for bulk: a process a CPU, and nothing is looked up. It writes what
//! it takes to a file of its queue, syncs that (`FsyncWriteStream`), gives the file its name, and
//! answers 250. The name is not synced, and after a crash it deletes files that have none.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::server::{self, Peer, Place, Plan, Promise};

/// Haraka where it is installed.
#[derive(Debug)]
pub(super) struct Haraka {
    program: PathBuf,
    version: String,
}

impl Haraka {
    /// Errors: it is not there, or cannot be run.
    pub(super) fn find() -> Result<Self> {
        let program = server::on_path(&["haraka"]);
        let program = program.context("not installed on PATH (npm install haraka)")?;
        let printed = server::printed(&program, &["--version"])?;
        let Some(version) = version_in(&printed) else {
            bail!("{} does not say which Haraka it is: {printed}", program.display());
        };
        Ok(Self { program, version: format!("Haraka {version}") })
    }
}

impl Peer for Haraka {
    fn version(&self) -> &str {
        &self.version
    }

    fn promise(&self) -> Promise {
        Promise::ContentSynced
    }

    fn plan(&self, place: &Place<'_>) -> Result<Plan> {
        let folder = place.folder.join("haraka");
        let shown = folder.to_str().context("the folder's name is not in UTF-8")?;
        // The defaults of its version, first: 3.3 answers nobody where a file has no such section.
        server::printed(&self.program, &["-i", shown])?;
        for (name, text) in files(place.listen, place.upstream) {
            place.write(&format!("haraka/{name}"), &text)?;
        }
        let arguments = vec!["-c".into(), folder.into()];
        Ok(Plan { program: self.program.clone(), arguments, needs_group: false })
    }
}

/// The word after `Version:`.
fn version_in(printed: &str) -> Option<&str> {
    let (_, rest) = printed.split_once("Version: ")?;
    rest.split_ascii_whitespace().next()
}

/// Files of its folder that are not what it begins with, and what they say.
fn files(listen: SocketAddr, upstream: SocketAddr) -> [(&'static str, String); 5] {
    let (host, port) = (upstream.ip(), upstream.port());
    // Everybody may relay, nobody is looked up, and everything goes to one host.
    let plugin = format!(
        "'use strict'\n\
         exports.hook_lookup_rdns = (next) => next(OK, 'localhost')\n\
         exports.hook_connect = (next, connection) => {{ connection.relaying = true; next() }}\n\
         exports.hook_get_mx = (next) => next(OK, {{ exchange: '{host}', port: {port} }})\n"
    );
    [
        ("config/me", "haraka.load.example\n".to_owned()),
        ("config/smtp.ini", format!("listen={listen}\nnodes=cpus\n")),
        ("config/outbound.ini", "concurrency_max=100\nenable_tls=false\n".to_owned()),
        ("config/plugins", "smarthost\n".to_owned()),
        ("plugins/smarthost.js", plugin),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_and_relays_where_it_is_told() {
        let files = files("127.0.0.1:9".parse().unwrap(), "127.0.0.1:8".parse().unwrap());
        let text = |name| &files.iter().find(|(file, _)| *file == name).unwrap().1;
        assert_eq!(text("config/smtp.ini"), "listen=127.0.0.1:9\nnodes=cpus\n");
        assert_eq!(text("config/plugins"), "smarthost\n");
        let plugin = text("plugins/smarthost.js");
        assert!(plugin.contains("next(OK, { exchange: '127.0.0.1', port: 8 })"), "{plugin}");
        assert!(plugin.contains("{ connection.relaying = true; next() }"), "{plugin}");
    }

    #[test]
    fn its_version_is_a_word_of_what_it_prints() {
        let printed = "\x1b[32;40mHaraka.js\x1b[0m — Version: 3.3.4\n";
        assert_eq!(version_in(printed), Some("3.3.4"));
        assert_eq!(version_in("haraka: not found"), None);
    }
}
