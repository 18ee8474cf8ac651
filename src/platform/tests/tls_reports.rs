//! What TLS reports are to say outlives the process.

use std::fs;

use crate::base::time::WallTime;
use crate::platform::tls_reports::{recall, remember};
use crate::policy::tls_report::Ledger;

#[test]
fn what_is_kept_is_there_at_the_next_start_and_what_is_no_use_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tls-reports.json");
    assert_eq!(recall(&path), None);
    let ledger = Ledger::new(WallTime(1_459_468_800_000));
    remember(&path, &ledger).unwrap();
    assert_eq!(recall(&path), Some(ledger));
    let files: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().path()).collect();
    assert_eq!(files, std::slice::from_ref(&path));
    for bad in ["", "{", "[]", "{\"since\":\"soon\"}", "\u{0}"] {
        fs::write(&path, bad).unwrap();
        assert_eq!(recall(&path), None, "{bad}");
    }
}
