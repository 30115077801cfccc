//! The `sealfeed` binary.
fn main() {}
