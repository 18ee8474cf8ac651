//! The checks of `../checks`, for the fuzz targets.

#[path = "../checks/mod.rs"]
mod checks;

/// Hold `data` against the check of the target that has this name.
///
/// Panics where it does not hold, and where there is no such target.
pub fn check(target: &str, data: &[u8]) {
    let found = checks::TARGETS.iter().find(|(name, _)| *name == target);
    let (_, check) = found.expect("a target of this name");
    check(data);
}
