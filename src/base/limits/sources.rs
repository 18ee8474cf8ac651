//! Bounds of where mail leaves from.

/// Egress sources.
pub const SOURCES_MAX: usize = 1_024;
/// Pools of them; a site in use costs some 2 KiB for each pool whose mail goes there.
pub const POOLS_MAX: usize = 1_024;
/// Octets of the name of a source or a pool.
pub const SOURCE_NAME_MAX: usize = 64;
/// How long a pool that waits for a source has the next connection from there, where other pools
/// want it too: it looks again sooner.
pub const OUTLET_WANTED_FOR: std::time::Duration = std::time::Duration::from_millis(100);
/// Messages that a connection carries before it makes room for another pool that waits for its
/// source.
pub const OUTLET_TURN_MESSAGES: u32 = 16;

// A source is an outlet at a site.
const _: () = assert!(SOURCES_MAX <= super::OUTLETS_MAX);
const _: () = assert!(OUTLET_WANTED_FOR.as_millis() > 2 * super::CONNECTION_LOOK_AGAIN.as_millis());
