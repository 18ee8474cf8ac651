//! Name the files of the spool and lend their bytes.

use std::fmt;

/// One segment file: `DIRECTORY/NUMBER.seg`. Numbers grow and are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentName {
    /// The spool directory, by number.
    pub directory: u16,
    /// The segment in it; 0 is never used.
    pub number: u32,
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}/{:08}.seg", self.directory, self.number)
    }
}

/// A mapped segment: all its bytes, for reading, as long as this lives. The file behind it is
/// never shortened. What was committed never changes; what was not must not be trusted.
pub trait SegmentBytes: fmt::Debug + Send + Sync {
    /// The whole file.
    fn bytes(&self) -> &[u8];
}
