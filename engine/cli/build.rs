//! Tells the binary which wasmtime it is built with.

use std::path::Path;

fn main() {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let text = std::fs::read_to_string(&lock).unwrap_or_default();
    let (_, rest) = text.split_once("name = \"wasmtime\"\nversion = \"").unwrap_or_default();
    let version = rest.split('"').next().unwrap_or_default();
    // A build that does not know would say so to whoever asks whether an advisory is about it.
    assert!(!version.is_empty(), "{} does not name wasmtime", lock.display());
    println!("cargo::rustc-env=WASMTIME_VERSION={version}");
}
