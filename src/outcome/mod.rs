//! Floor 3: what became of an attempt: who judges it, who is told.
