//! What a relay checks by itself.

use crate::policy::block_lists::BlockList;

/// What holds for all listeners that check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Extensions of attachments that are not taken, without the dot, in lower case.
    pub refuse_attachments: Vec<Box<str>>,
    /// Who is asked about strangers, in the file's order.
    pub block_lists: Vec<BlockList>,
}
