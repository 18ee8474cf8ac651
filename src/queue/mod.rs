//! Floor 3: what waits, and until when.
