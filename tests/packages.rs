//! The Debian package: built, opened, and its program run.

#![allow(clippy::unwrap_used, reason = "tests unwrap freely: in a test a panic is the report")]
#![cfg(feature = "runtime")]

#[path = "support/tool.rs"]
mod tool;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The package of this tree; `None` where nothing can build it.
fn package() -> Option<PathBuf> {
    tool::find("cargo-deb")?;
    tool::find("dpkg-deb")?;
    let built = PathBuf::from(env!("CARGO_BIN_EXE_relay-fast"));
    let target = built.ancestors().nth(2).unwrap();
    let mut build = Command::new(Path::new(ROOT).join("packaging/deb/build"));
    output(build.arg("dev").env("CARGO_TARGET_DIR", target));
    let files = fs::read_dir(Path::new(ROOT).join("target/package"))
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut packages = files.filter(|path| path.extension().is_some_and(|ext| ext == "deb"));
    Some(packages.next().expect("a package was built"))
}

#[test]
fn it_has_all_that_runs_a_relay_and_its_scripts_throw_no_mail_away() {
    let Some(package) = package() else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    output(Command::new("dpkg-deb").arg("-x").args([&*package, root]));
    for (file, mode) in [
        ("usr/bin/relay-fast", 0o755),
        ("etc/relay-fast/relay.toml", 0o640),
        ("usr/lib/systemd/system/relay-fast.service", 0o644),
        ("usr/lib/sysusers.d/relay-fast.conf", 0o644),
        ("usr/share/man/man1/relay-fast.1.gz", 0o644),
        ("usr/share/man/man1/relay-fast-queue-list.1.gz", 0o644),
        ("usr/share/bash-completion/completions/relay-fast", 0o644),
        ("usr/share/zsh/vendor-completions/_relay-fast", 0o644),
        ("usr/share/fish/vendor_completions.d/relay-fast.fish", 0o644),
        ("usr/share/doc/relay-fast/migration.md", 0o644),
        ("usr/share/doc/relay-fast/operations.md", 0o644),
        ("usr/share/relay-fast/prometheus/alerts.yml", 0o644),
        ("usr/share/relay-fast/grafana/relay-fast.json", 0o644),
    ] {
        let found = fs::metadata(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(found.mode() & 0o777, mode, "{file}");
    }
    let program = root.join("usr/bin/relay-fast");
    let version = output(Command::new(&program).arg("--version"));
    assert_eq!(version, format!("relay-fast {}\n", env!("CARGO_PKG_VERSION")));
    let unit = fs::read_to_string(root.join("usr/lib/systemd/system/relay-fast.service")).unwrap();
    let started = "ExecStart=/usr/bin/relay-fast --config /etc/relay-fast/relay.toml\n";
    assert!(unit.contains(started), "{unit}");
    // The configuration is one that the program takes, whoever this machine knows as users.
    let config = fs::read_to_string(root.join("etc/relay-fast/relay.toml")).unwrap();
    let config = config.replace("user = \"relay-fast\"", "user = \"nobody\"");
    fs::write(root.join("relay.toml"), config).unwrap();
    let checked =
        output(Command::new(&program).arg("check").arg("--config").arg(root.join("relay.toml")));
    assert!(checked.contains("127.0.0.1:25"), "{checked}");

    let control = root.join("control");
    output(Command::new("dpkg-deb").arg("-e").args([&*package, &control]));
    let read = |name: &str| fs::read_to_string(control.join(name)).unwrap();
    assert!(read("control").contains("Depends: ") && read("control").contains("libc6"));
    assert_eq!(read("conffiles"), "/etc/relay-fast/relay.toml\n");
    for script in ["postinst", "prerm", "postrm"] {
        output(Command::new("sh").arg("-n").arg(control.join(script)));
        let text = read(script);
        assert!(!text.contains("#DEBHELPER#"), "{script} was not completed");
        assert!(!text.contains("rm -r"), "{script} throws something away");
    }
    assert!(read("postinst").contains("systemd-sysusers relay-fast.conf"));
}
