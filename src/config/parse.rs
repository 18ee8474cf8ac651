//! Turn file, flags and machine into a configuration, or into all that is wrong with them.
