//! Content facts, wherever the pieces are cut.
