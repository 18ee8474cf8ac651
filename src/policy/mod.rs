//! Floor 3: what may come in, and what is added to it.
