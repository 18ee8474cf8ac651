//! What is told of epochs.

use super::*;
use crate::config::flags::{Flags, Machine};
use crate::config::parse::{File, load};

fn read(text: &str) -> Config {
    let machine = Machine { hostname: "node.example".into(), cpus: 2, ..Machine::default() };
    let flags = Flags { spool: Some("/spool".into()), ..Flags::default() };
    let config = load(Some(File { name: "relay.toml", text }), &flags, &machine);
    config.unwrap_or_else(|problems| panic!("{problems}"))
}

fn epochs(written: Result<&'static str, &'static str>) -> Epochs {
    let read_again = move || written.map(read).map_err(str::to_owned);
    let now = || WallTime(1_795_000_000_000);
    Epochs::new(read("cores = 1\n"), Some("relay.toml".into()), read_again, || {}, now)
}

#[test]
fn an_epoch_says_what_it_changed_and_what_is_written_otherwise() {
    let epochs = epochs(Ok("cores = 2\n[queue]\nlifetime = \"2d\"\n"));
    let page = epochs.page();
    assert_eq!((page.epoch, &*page.how, page.changed.len()), (1, "start", 0));
    let differs: Vec<_> = page.differs.iter().map(|row| (&*row.path, &*row.takes_effect)).collect();
    assert_eq!(differs, [("cores", "restart"), ("queue.lifetime", "reload")]);
    let row = |path: &str| page.knobs.iter().find(|row| row.path == path).unwrap();
    let of = |path: &str| (row(path).value.clone(), row(path).origin.clone());
    assert_eq!(of("cores"), ("1".into(), "relay.toml:1".into()));
    assert_eq!(of("spool.directory"), ("\"/spool\"".into(), "--spool".into()));
    assert_eq!(of("queue.lifetime"), ("\"5d\"".into(), "default".into()));

    let after = Arc::new(read("cores = 1\n[queue]\nlifetime = \"2d\"\n"));
    let changes = reload::diff(&epochs.config(), &after).expect("may change");
    let (sender, mut told) = oneshot::channel();
    epochs.put(after, changes, How::Signal, vec![sender]);
    let page = epochs.page();
    assert_eq!((page.epoch, &*page.how), (2, "signal"));
    assert_eq!((&*page.changed[0].path, page.differs.len()), ("queue.lifetime", 1));
    let reloaded = Reloaded { epoch: 2, changed: page.changed };
    assert_eq!(told.try_recv(), Ok(Ok(reloaded)));
}

#[test]
fn what_is_refused_is_told_and_changes_nothing() {
    let epochs = epochs(Err("relay.toml:1:1: unknown key"));
    let (sender, mut told) = oneshot::channel();
    epochs.refuse("one line".into(), "two\nlines".into(), vec![sender]);
    assert_eq!(told.try_recv(), Ok(Err("two\nlines".to_owned())));
    let page = epochs.page();
    assert_eq!((page.epoch, page.problem.as_deref()), (1, Some("relay.toml:1:1: unknown key")));
    assert_eq!(page.refused.map(|row| row.why).as_deref(), Some("one line"));
}
