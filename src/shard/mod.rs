//! Floor 5: one core's relay: composes everything; generic over `Platform`.

pub mod commands;
pub mod mesh;
pub mod platform;
