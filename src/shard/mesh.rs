//! What crosses from shard to shard, and from the control thread to a shard.

/// One thing handed from thread to thread.
#[derive(Debug)]
pub enum Crossing {
    /// Stop accepting, finish what is in flight, then leave.
    Drain,
}
