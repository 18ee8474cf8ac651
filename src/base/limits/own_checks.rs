//! Bounds on what a relay's own checks hold of content.

/// Octets of one field that is read, folds included; a longer one is a fault of its own. `From:`
/// of a hundred mailboxes is half of it.
pub const CHECK_FIELD_MAX: usize = 16 * 1024;
/// Multiparts within one another that are followed; Postfix follows a hundred parts. A line that
/// begins like a boundary is compared with so many.
pub const CHECK_DEPTH_MAX: usize = 50;
/// Octets of a boundary (RFC 2046 §5.1.1); of a longer one the first so many count.
pub const CHECK_BOUNDARY_MAX: usize = 70;
/// Faults of one message that are told.
pub const CHECK_FAULTS_MAX: usize = 8;
/// Types of attachments that a configuration refuses.
pub const CHECK_TYPES_MAX: usize = 256;
/// Octets of such a type: it is told in a reply, with the others.
pub const CHECK_TYPE_MAX: usize = 32;
