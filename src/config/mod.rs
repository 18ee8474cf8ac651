//! Floor 4: knobs → typed options.
//!
//! One way in: [`parse::load`] turns the file, the flags and what the machine is into a
//! [`Config`], or into every error that it found. Pure: the caller reads the file.

pub mod options;
pub mod origin;

pub use options::Config;
