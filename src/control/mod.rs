//! Beside the floors: one ordinary thread for admin HTTP and metrics, never on a message's path.
