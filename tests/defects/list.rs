//! What a defect is.

use crate::programs::worlds::Side;

/// Whether a tenant learns or changes something of another's by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The two worlds have to see it.
    Leaks,
    /// Nothing is shown, but what is counted or estimated tells: two worlds of equal sizes have to see it.
    Counts,
    /// Another wall still stands, or what suffers is the tenant's own.
    Stays,
}

pub struct Defect {
    pub name: &'static str,
    pub reach: Reach,
    /// Tables on which the matrix is measured; none where it has nothing to do with the defect.
    pub matrix: &'static [&'static str],
    /// What a superuser runs.
    pub sql: &'static str,
    /// Code that is not as it should be: what A is shown by it, in place of programs or questions.
    pub code: Option<fn(&mut Side, u32) -> String>,
}

macro_rules! defects {
    ($($name:literal, $reach:ident, [$($table:literal),*]: $sql:expr;)*) => {
        &[$(Defect { name: $name, reach: $reach, matrix: &[$($table),*], sql: $sql, code: None }),*]
    };
}
pub(crate) use defects;

/// Rewrites a function's text, and fails where it is not as expected.
macro_rules! edit {
    ($function:literal, $from:literal, $to:literal) => {
        concat!(
            "DO $do$ DECLARE now text := pg_get_functiondef('sesari.",
            $function,
            "'::regproc); BEGIN IF strpos(now, $from$",
            $from,
            "$from$) = 0 THEN RAISE 'written otherwise by now'; END IF; EXECUTE replace(now, $from$",
            $from,
            "$from$, $to$",
            $to,
            "$to$); END $do$"
        )
    };
}
pub(crate) use edit;
