//! The `sealfeed` binary; everything is in the library.

fn main() {}
