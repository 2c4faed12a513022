//! The compile errors of wrong signatures say what to do.

#[test]
fn wrong_signatures_are_explained() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
