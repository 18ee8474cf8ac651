//! Real milters: rspamd, ClamAV and OpenDKIM, started for one test.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use super::network::{Network, free_address};
use super::process::{Running, until};
use crate::tool;

/// EICAR's test file, in hex as a signature of ClamAV has it, so that no scanner finds this file.
const EICAR: &str = "58354f2150254041505b345c505a58353428505e2937434329377d2445494341522d5354414e\
    444152442d414e544956495255532d544553542d46494c452124482b482a";

/// What anti-virus programs agreed to find.
pub(crate) fn eicar() -> Vec<u8> {
    let digits = (0..EICAR.len()).step_by(2);
    digits.map(|at| u8::from_str_radix(&EICAR[at..at + 2], 16).unwrap()).collect()
}

/// A milter that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Milter {
    processes: Vec<Running>,
    folder: tempfile::TempDir,
    address: SocketAddr,
    name: &'static str,
}

impl Milter {
    /// Its part of a configuration.
    pub(crate) fn config(&self) -> String {
        format!("[[milter]]\nname = \"{}\"\naddress = \"{}\"\n", self.name, self.address)
    }

    /// What it has written about itself.
    pub(crate) fn log(&self) -> String {
        self.processes.iter().map(Running::log).collect()
    }

    fn new(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Its programs may give up being root.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .unwrap();
        Self { processes: Vec::new(), folder, address: free_address(), name }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Run a program until it listens at `address`.
    fn run(&mut self, program: &Path, arguments: &[&str], address: SocketAddr) {
        let mut command = Network::Shared.command(program);
        command.args(arguments);
        let log = self.path(&format!("log{}", self.processes.len()));
        let mut process = Running::start(&command, &log);
        until(&format!("{} listens", program.display()), || {
            assert!(process.is_alive(), "it has ended: {}", process.log());
            TcpStream::connect(address).ok()
        });
        self.processes.push(process);
    }
}

/// rspamd's proxy worker in milter mode, which scans by itself and asks nobody.
pub(crate) fn rspamd() -> Option<Milter> {
    let program = tool::find("rspamd")?;
    let mut milter = Milter::new("rspamd");
    let (at, address) = (milter.folder.path().display().to_string(), milter.address);
    let config = format!(
        "options {{ pidfile = \"{at}/pid\"; hyperscan_cache_dir = \"{at}\"; filters = \"\";\n\
         stats_file = \"{at}/stats\"; history_file = \"{at}/history\"; tempdir = \"{at}\";\n\
         control_socket = \"{at}/control\"; dns {{ nameserver = [\"127.0.0.1:1\"]; }}\n\
         url_tld = \"{at}/domains\"; }}\n\
         logging {{ type = \"console\"; level = \"info\"; }}\n\
         actions {{ reject = 15; add_header = 6; }}\n\
         worker \"rspamd_proxy\" {{ bind_socket = \"{address}\"; milter = yes; count = 1;\n\
         timeout = 60s; upstream \"local\" {{ default = yes; self_scan = yes; }} }}\n"
    );
    // Of the thousands of public suffixes that it is installed with it makes patterns for minutes.
    milter.write("domains", "com\nexample\norg\n");
    let config = milter.write("rspamd.conf", &config);
    milter.run(&program, &["-f", "-i", "-c", config.to_str().unwrap()], address);
    Some(milter)
}

/// clamav-milter with a clamd whose only signature is EICAR's.
pub(crate) fn clamav() -> Option<Milter> {
    let (milter_program, program) = (tool::find("clamav-milter")?, tool::find("clamd")?);
    let mut milter = Milter::new("clamav");
    let (at, address) = (milter.folder.path().display().to_string(), milter.address);
    let clamd = free_address();
    fs::create_dir(milter.path("db")).unwrap();
    milter.write("db/local.ndb", &format!("Eicar-Test-Local:0:*:{EICAR}\n"));
    let config = format!(
        "Foreground yes\nDatabaseDirectory {at}/db\nTCPSocket {}\nTCPAddr 127.0.0.1\nUser root\n",
        clamd.port()
    );
    let config = milter.write("clamd.conf", &config);
    milter.run(&program, &["-c", config.to_str().unwrap()], clamd);
    let config = format!(
        "Foreground yes\nMilterSocket inet:{}@127.0.0.1\nClamdSocket tcp:{clamd}\nUser root\n\
         OnInfected Reject\nRejectMsg %v\nOnFail Defer\nAddHeader Replace\n",
        address.port()
    );
    let config = milter.write("milter.conf", &config);
    milter.run(&milter_program, &["-c", config.to_str().unwrap()], address);
    Some(milter)
}

/// OpenDKIM, which signs what comes from `domain` or verifies, by `options` of its configuration.
pub(crate) fn opendkim(options: &str) -> Option<Milter> {
    let program = tool::find("opendkim")?;
    let mut milter = Milter::new("opendkim");
    let address = milter.address;
    let socket = format!("inet:{}@127.0.0.1", address.port());
    let config = format!("Socket {socket}\nSyslog no\nBackground no\n{options}\n");
    let config = milter.write("opendkim.conf", &config);
    milter.run(&program, &["-f", "-x", config.to_str().unwrap()], address);
    Some(milter)
}
