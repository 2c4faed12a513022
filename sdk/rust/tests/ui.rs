//! The compile errors of wrong signatures say what to do.

#[test]
#[cfg_attr(
    feature = "arrow",
    ignore = "messages that list who implements a trait then list Arrow's types too"
)]
fn wrong_signatures_are_explained() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
