//! Become the user that the relay runs as, for good.
//!
//! Before any thread is made: what is said here is said of the calling thread, and those that it
//! makes later begin with it. Invariant: after it nothing leads back; whoever holds the process
//! then has this user's rights, and no capability.

use std::ffi::CString;
use std::fs;

use nix::unistd::{Gid as GroupId, getgrouplist};
use rustix::process::{Gid, Uid, geteuid, getuid};
use rustix::thread::{
    CapabilitySet, remove_capability_from_bounding_set, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid, set_thread_uid,
};

use crate::config::options;

/// Somebody whom root can become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    uid: Uid,
    gid: Gid,
    /// Further groups that it is in: where a key is for a group, they count.
    groups: Vec<Gid>,
}

/// Why it cannot be: one line, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Nobody has that name.
    #[error("there is no user {0}: make one with `useradd --system {0}`, or name another")]
    Unknown(Box<str>),
    /// The name stands for root.
    #[error("{0} is root, who would keep every right: name a user that has nothing but the spool")]
    Root(Box<str>),
    /// Only root becomes another.
    #[error("only root can become {0}: start as root, or leave `user` out")]
    NotRoot(options::User),
    /// The kernel will not.
    #[error("cannot become user {0}: {1}")]
    System(options::User, std::io::Error),
    /// Some thread would keep its rights.
    #[error("cannot become user {0}: {1} threads run already")]
    Threads(options::User, usize),
}

impl User {
    /// Who is meant on this machine; `None` where the process is that user and no more.
    pub fn find(named: &options::User) -> Result<Option<Self>, UserError> {
        let user = match named {
            options::User::Ids { uid, gid } => {
                Self { uid: Uid::from_raw(*uid), gid: Gid::from_raw(*gid), groups: Vec::new() }
            }
            options::User::Name(name) => Self::by_name(name)?,
        };
        if user.uid.is_root() {
            return Err(UserError::Root(named.to_string().into()));
        }
        match (geteuid().is_root(), geteuid() == user.uid && getuid() == user.uid) {
            (true, _) => Ok(Some(user)),
            (false, true) => Ok(None),
            (false, false) => Err(UserError::NotRoot(named.clone())),
        }
    }

    fn by_name(name: &str) -> Result<Self, UserError> {
        let unknown = || UserError::Unknown(name.into());
        let found = nix::unistd::User::from_name(name).ok().flatten().ok_or_else(unknown)?;
        let text = CString::new(name).map_err(|_| unknown())?;
        let groups = getgrouplist(&text, found.gid).map_err(|_| unknown())?;
        let groups = groups.into_iter().map(|group: GroupId| Gid::from_raw(group.as_raw()));
        Ok(Self {
            uid: Uid::from_raw(found.uid.as_raw()),
            gid: Gid::from_raw(found.gid.as_raw()),
            groups: groups.collect(),
        })
    }

    /// Its numbers: user and group.
    pub fn ids(&self) -> (u32, u32) {
        (self.uid.as_raw(), self.gid.as_raw())
    }

    /// Be it from now on.
    pub fn assume(&self) -> Result<(), UserError> {
        let (uid, gid) = self.ids();
        let named = || options::User::Ids { uid, gid };
        let threads = threads();
        if threads != 1 {
            return Err(UserError::Threads(named(), threads));
        }
        self.switch().map_err(|error| UserError::System(named(), error.into()))?;
        assert!(geteuid() == self.uid && getuid() == self.uid, "this is who it is now");
        assert!(set_thread_uid(Uid::ROOT).is_err(), "nothing leads back to root");
        Ok(())
    }

    fn switch(&self) -> rustix::io::Result<()> {
        // First of all: it takes a capability, and those go with the user.
        forget_capabilities()?;
        set_thread_groups(&self.groups)?;
        set_thread_res_gid(self.gid, self.gid, self.gid)?;
        set_thread_res_uid(self.uid, self.uid, self.uid)
    }
}

/// Threads of this process: what one gives up the others keep.
pub(super) fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// Let no capability be had any more, not by a program with a file capability either.
fn forget_capabilities() -> rustix::io::Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel has no more of them.
            Err(rustix::io::Errno::INVAL) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> options::User {
        options::User::Name(text.into())
    }

    #[test]
    fn names_are_looked_up_and_root_is_refused() {
        let unknown = User::find(&name("no-such-user-anywhere")).unwrap_err().to_string();
        assert!(unknown.contains("useradd --system no-such-user-anywhere"), "{unknown}");
        let root = User::by_name("root").unwrap();
        assert!(root.uid.is_root());
        assert!(matches!(User::find(&name("root")), Err(UserError::Root(_))));
        let ids = options::User::Ids { uid: 12_345, gid: 54_321 };
        match User::find(&ids) {
            Ok(Some(user)) => assert_eq!((user.ids(), user.groups), ((12_345, 54_321), vec![])),
            Ok(None) => panic!("nobody runs tests as 12345"),
            Err(error) => assert!(matches!(error, UserError::NotRoot(_)), "{error}"),
        }
    }

    #[test]
    fn threads_would_keep_their_rights() {
        let user = User { uid: Uid::from_raw(12_345), gid: Gid::from_raw(12_345), groups: vec![] };
        // The harness runs each test on a thread of its own, beside its main one.
        let refused = user.assume().unwrap_err();
        assert!(matches!(refused, UserError::Threads(..)), "{refused}");
        assert_ne!(geteuid(), user.uid);
    }
}
