//! The compile errors of wrong signatures say what to do.

use std::env::{self, args_os, current_exe};
use std::process::Command;

/// What wraps the compiler of this test says nothing to those of the cases: they are compiled as users do.
const WRAPPER: &str = "RUSTC_WORKSPACE_WRAPPER";

#[test]
#[cfg_attr(
    feature = "arrow",
    ignore = "messages that list who implements a trait then list Arrow's types too"
)]
fn wrong_signatures_are_explained() {
    if env::var_os(WRAPPER).is_none() {
        trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
        return;
    }
    // A process cannot safely change its own environment while it has threads.
    let mut again = Command::new(current_exe().expect("this program"));
    let again = again.args(args_os().skip(1)).env_remove(WRAPPER).status().expect("it runs");
    assert!(again.success(), "{again}");
}
