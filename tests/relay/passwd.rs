//! `relay-fast passwd`: what becomes of the file, and what is refused.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use relay_fast::policy::credentials::{Credentials, name};
use relay_fast::smtp::sasl::Password;
use tempfile::TempDir;

use crate::node::{BINARY, printed, refusal, text};
use crate::tool;

/// `relay-fast passwd FILE …` with `input` as standard input.
fn passwd(file: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("passwd").arg(file).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // What is refused before it is read breaks the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    (folder, file)
}

fn verifies(file: &Path, who: &str, password: &str) -> bool {
    let credentials = Credentials::parse(&fs::read_to_string(file).unwrap()).unwrap();
    let password = Password::prepare(password.as_bytes()).unwrap();
    credentials.verify(&name(who).unwrap(), &password)
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o7777
}

#[test]
fn passwords_are_set_changed_and_removed() {
    let (folder, file) = place();
    printed(&passwd(&file, &["one"], "first\n"));
    assert_eq!(mode(&file), 0o600);
    printed(&passwd(&file, &["two@b.example", "--domains", "b.example,.b.example"], "second"));
    assert!(verifies(&file, "one", "first") && verifies(&file, "two@b.example", "second"));
    let before = fs::read_to_string(&file).unwrap();
    printed(&passwd(&file, &["two@b.example"], "third\r\n"));
    assert!(verifies(&file, "one", "first") && verifies(&file, "two@b.example", "third"));
    let after = fs::read_to_string(&file).unwrap();
    assert_eq!(before.lines().count(), after.lines().count());
    assert!(after.ends_with(":domains=b.example,.b.example\n"), "{after}");
    printed(&passwd(&file, &["one", "--delete"], ""));
    assert!(!fs::read_to_string(&file).unwrap().contains("one:"));
    let left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["credentials"]);
}

#[test]
fn a_changed_file_stays_whose_it_was_and_where_it_was() {
    let (folder, file) = place();
    printed(&passwd(&file, &["one"], "first\n"));
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let link = folder.path().join("link");
    symlink("credentials", &link).unwrap();
    printed(&passwd(&link, &["two"], "second\n"));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(mode(&file), 0o640);
    assert!(verifies(&file, "one", "first") && verifies(&file, "two", "second"));
}

#[test]
fn what_is_refused_changes_nothing_and_is_one_line() {
    let (folder, file) = place();
    printed(&passwd(&file, &["one"], "first\n"));
    let sound = fs::read_to_string(&file).unwrap();
    let cases: [(&[&str], &str, &str); 8] = [
        (&["a:b"], "x\n", "no colon"),
        (&["a\u{7}"], "x\n", "no control characters"),
        (&["one"], "", "1 to 1024 octets"),
        (&["one"], "a\u{7}b\n", "no control characters"),
        (&["one"], &"x".repeat(1_100), "1 to 1024 octets"),
        (&["one", "--domains", "b..c"], "x\n", "`b..c` is no domain"),
        (&["nobody", "--delete"], "", "nobody is called nobody"),
        (&["one", "--delete", "--domains", "a.example"], "", "cannot be used with"),
    ];
    for (arguments, input, expected) in cases {
        let refused = refusal(&passwd(&file, arguments, input));
        assert!(refused.contains(expected), "{arguments:?}: {refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), sound, "{arguments:?}");
    }
    let beside = folder.path().join("credentials.new");
    fs::write(&beside, "").unwrap();
    let locked = refusal(&passwd(&file, &["one"], "x\n"));
    assert!(locked.contains(text(&beside)), "{locked}");
    fs::remove_file(&beside).unwrap();
    for bits in [0o604, 0o602, 0o601] {
        fs::set_permissions(&file, Permissions::from_mode(bits)).unwrap();
        let exposed = refusal(&passwd(&file, &["one"], "x\n"));
        assert!(exposed.contains("others may use") && exposed.lines().count() == 1, "{exposed}");
    }
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, format!("{sound}nonsense\n")).unwrap();
    let malformed = refusal(&passwd(&file, &["one"], "x\n"));
    assert!(malformed.contains("line 3, column 1"), "{malformed}");
    let nowhere = refusal(&passwd(&folder.path().join("no/such"), &["one"], "x\n"));
    assert!(nowhere.contains("No such file"), "{nowhere}");
}

/// `script` of util-linux gives the program a terminal.
fn at_a_terminal(script: &Path, file: &Path, typed: &str) -> (bool, String) {
    let words = format!("{BINARY} passwd {} typed", text(file));
    let mut command = Command::new(script);
    command.args(["--quiet", "--return", "--echo", "never", "--command", &words, "/dev/null"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_terminal_is_asked_twice() {
    let Some(script) = tool::find("script") else { return };
    let (_folder, file) = place();
    let (done, shown) = at_a_terminal(&script, &file, "secret\nsecret\n");
    assert!(done, "{shown}");
    assert!(shown.contains("Password: ") && shown.contains("Again: "), "{shown}");
    assert!(verifies(&file, "typed", "secret"));
    let (done, shown) = at_a_terminal(&script, &file, "other\nanother\n");
    assert!(!done && shown.contains("not the same"), "{shown}");
    assert!(verifies(&file, "typed", "secret"));
}
