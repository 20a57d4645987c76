//! What must not compile, does not, and the compiler says why.
//!
//! Each file in `tests/ui` that begins with `refused_` breaks one rule; the message expected stands
//! beside it. After a change of compiler or of names: `TRYBUILD=overwrite cargo test --test ui`,
//! then read the difference.

/// Compiles: the refused files differ from it in the rule that they break. Part of this test, and
/// not handed to trybuild, which would link everything once more for it.
#[allow(dead_code, reason = "it is there to be compiled")]
mod a_guard_used_as_meant;

#[test]
fn what_must_not_compile_does_not() {
    trybuild::TestCases::new().compile_fail("tests/ui/refused_*.rs");
}
