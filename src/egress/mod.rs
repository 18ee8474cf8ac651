//! Floor 3: where mail leaves, through which connection, and how fast.
