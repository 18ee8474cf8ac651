//! Floor 2: DNS, bytes ⇄ meaning: lookups as machines without I/O.
