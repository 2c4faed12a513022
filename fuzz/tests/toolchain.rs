//! Modules and components of any bytes: an error, never a panic.

use bolero::check;
use engine_toolchain::{componentize, inspect, kind_of};

/// What a module and a component begin with, and nothing.
const HEADS: [&[u8]; 3] = [b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0", b""];

#[test]
fn modules_and_components() {
    check!().for_each(|bytes: &[u8]| {
        for head in HEADS {
            let bytes = [head, bytes].concat();
            let _ = kind_of(&bytes);
            let _ = inspect(&bytes);
            let _ = componentize(&bytes);
        }
    });
}
