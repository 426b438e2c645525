//! Wrong wiring does not compile. Each file has the same code twice, right and wrong; the compiler finds one error, in
//! the wrong one, and says what the reviewed file beside it says. To update those files: `TRYBUILD=overwrite`.

#![allow(missing_docs)]

#[test]
fn wrong_wiring_does_not_compile_and_the_compiler_says_why() {
    trybuild::TestCases::new().compile_fail("tests/wiring/*.rs");
}
