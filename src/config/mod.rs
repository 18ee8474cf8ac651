//! Floor 4: knobs → typed options.
