//! What a relay checks by itself.

/// What holds for all listeners that check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Extensions of attachments that are not taken, without the dot, in lower case.
    pub refuse_attachments: Vec<Box<str>>,
}
