//! What is told of files that change.

use std::fs;
use std::path::Path;

use crate::config::flags::{Flags, Machine};
use crate::config::options::Config;
use crate::config::parse::{File, load};
use crate::platform::files::Watch;

/// A relay domain with this list.
fn config(list: &Path) -> Config {
    let text = format!(
        "[[upstream]]\nname = \"u\"\nhosts = \"h.example\"\n[[relay_domain]]\nupstream = \"u\"\n\
         domains = [\"d.example\"]\nrecipients = \"{}\"\n",
        list.display()
    );
    let machine = Machine {
        hostname: String::from("node.example"),
        cpus: 1,
        state_home: None,
        home: Some("/home/op".into()),
    };
    load(Some(File { name: "relay.toml", text: &text }), &Flags::default(), &machine).unwrap()
}

#[test]
fn a_file_that_changes_after_the_watch_began_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("recipients");
    let config = config(&list);
    fs::write(&list, "a@d.example\n").unwrap();
    let mut watch = Watch::new(&config);
    assert!(!watch.look(&config));
    // Replaced as soon as it was read, before anyone looked.
    let mut watch = Watch::new(&config);
    let new = folder.path().join("new");
    fs::write(&new, "b@d.example\n").unwrap();
    fs::rename(&new, &list).unwrap();
    assert!(watch.look(&config));
    assert!(!watch.look(&config));
    fs::remove_file(&list).unwrap();
    assert!(watch.look(&config));
    assert!(!watch.look(&config));
    fs::write(&list, "a@d.example\n").unwrap();
    assert!(watch.look(&config));
}
