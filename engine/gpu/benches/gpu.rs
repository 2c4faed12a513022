//! Compares the crate with the drivers beneath it, in one run.

fn main() {}
