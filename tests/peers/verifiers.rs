//! dkimpy and OpenDKIM: what they make of signatures.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::process::{outcome, output};
use super::python::script;
use crate::tool;

/// Keys in DNS: names of records, and what they say.
pub(crate) type Records = BTreeMap<String, String>;

/// What a verifier says of each signature, by its selector: nothing where it is right.
pub(crate) type Verdicts = Vec<(String, String)>;

/// A Python that has dkimpy; the system's own may be another than the first on the PATH.
pub(crate) fn dkimpy() -> Option<&'static str> {
    let has = |python: &&str| {
        let mut command = Command::new(python);
        outcome(command.args(["-c", "import dkim, nacl"]), b"").0
    };
    tool::find("python3")?;
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has);
    if found.is_none() {
        tool::skip("no Python with dkimpy here; tests/run installs it");
    }
    found
}

/// What dkimpy says of a message.
pub(crate) fn ask_dkimpy(python: &str, records: &Records, message: &[u8]) -> Verdicts {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.json");
    std::fs::write(&file, serde_json::to_vec(records).unwrap()).unwrap();
    let said = output(Command::new(python).arg(script("verify.py")).arg(file), message);
    serde_json::from_slice(&said).unwrap()
}

/// What OpenDKIM says of a message.
pub(crate) fn ask_opendkim(program: &Path, records: &Records, message: &[u8]) -> Verdicts {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let keys: String = records.iter().map(|(name, text)| format!("{name} {text}\n")).collect();
    std::fs::write(path("keys"), keys).unwrap();
    let keys = path("keys").display().to_string();
    std::fs::write(path("conf"), format!("TestPublicKeys {keys}\nMode v\nSyslog no\n")).unwrap();
    // Its test mode reads files of this system, whose lines end with LF.
    let text: Vec<u8> = message.iter().copied().filter(|octet| *octet != b'\r').collect();
    std::fs::write(path("message"), text).unwrap();
    let mut command = Command::new(program);
    command.args(["-vv", "-x"]).arg(path("conf")).arg("-t").arg(path("message"));
    let said = String::from_utf8(output(&mut command, b"")).unwrap();
    // One `dkim=` of an Authentication-Results field for each signature.
    let results = said.split("dkim=").skip(1);
    let verdict = |result: &str| {
        let result = result.split(';').next().unwrap();
        let selector = result.split("header.s=").nth(1).unwrap_or(" ").split(' ').next().unwrap();
        let wrong = if result.starts_with("pass ") { String::new() } else { result.to_owned() };
        (selector.to_owned(), wrong)
    };
    results.map(verdict).collect()
}
