//! Whole shards over real sockets and files: a script in place of the relay's machine.
//!
//! Every shard that ends here has completed all that it asked of the kernel (`Shards::join` looks).

mod disk;
mod end;
mod files;
mod repair;
mod shards;
mod storm;
mod stream;
mod support;
mod tls_reports;
