//! The queue, step by step and in figures.
