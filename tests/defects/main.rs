//! The tests of isolation can see: each defect of a list, seeded alone, is caught.
//!
//! Three catchers look at every defect: the two worlds of `tests/two_worlds`, the check of
//! `Database::build`, and the matrix of `tests/isolation/matrix.rs` on the tables concerned. A defect
//! that tells by what is counted or estimated alone is given to the worlds of equal sizes, and has
//! `count` in the list where others have `yes`. Which of them see it is compared with `tests/defects.txt`.
//! A defect that nobody catches fails, and so does one that leaks and that the two worlds do not tell.
//!
//! Each defect takes two databases or three, so a plain run takes every sixth of each list, always the same.
//!
//! | variable | meaning |
//! |---|---|
//! | `SESARI_LONG` | set: all defects |
//! | `SESARI_DEFECT` | those whose name contains this, and what each catcher saw |
//! | `SESARI_UPDATE` | all defects, and `tests/defects.txt` anew: read the difference |

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]
#![allow(dead_code, reason = "each test binary uses a part")]

#[path = "../support/access/mod.rs"]
mod access;
#[path = "../support/programs/mod.rs"]
mod programs;
#[path = "../support/mod.rs"]
mod support;

mod catch;
mod code;
mod counts;
mod functions;
mod list;
mod policies;
mod rights;
mod schema;
mod sweep;

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use catch::{Caught, catch};
use list::{Defect, Reach};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/defects.txt");

/// All of them, each list apart.
fn lists() -> [Vec<&'static Defect>; 6] {
    [
        policies::DEFECTS.iter().collect(),
        schema::DEFECTS.iter().collect(),
        functions::DEFECTS.iter().collect(),
        rights::DEFECTS.iter().collect(),
        counts::defects().collect(),
        code::defects().collect(),
    ]
}

/// A line for each defect, a column for each catcher. A line is the same whichever others are there.
fn render(caught: &[(&Defect, Caught)]) -> String {
    let mut lines =
        vec![["defect", "leaks", "two worlds", "matrix", "check at start-up"].map(String::from)];
    for (defect, caught) in caught {
        let see = |seen: bool| if seen { "seen" } else { "-" }.to_owned();
        lines.push([
            defect.name.to_owned(),
            match defect.reach {
                Reach::Leaks => "yes",
                Reach::Counts => "count",
                Reach::Stays => "no",
            }
            .to_owned(),
            see(caught.worlds.is_some()),
            caught.matrix.map_or_else(String::new, see),
            if caught.rules.is_empty() { "-".into() } else { caught.rules.join(", ") },
        ]);
    }
    let longest = lists().iter().flatten().map(|defect| defect.name.len()).max().unwrap();
    let widths: Vec<_> =
        [longest].into_iter().chain(lines[0][1..4].iter().map(String::len)).collect();
    let mut text = String::new();
    for line in &lines {
        let mut out = String::new();
        for (word, width) in line.iter().zip(widths.iter().chain([&0])) {
            let _ = write!(out, "{word:width$}  ");
        }
        text.push_str(out.trim_end());
        text.push('\n');
    }
    text
}

#[test]
fn every_seeded_defect_is_caught() {
    let only = std::env::var("SESARI_DEFECT").ok();
    let is_update = std::env::var_os("SESARI_UPDATE").is_some();
    let (all, is_whole): (Vec<_>, _) = match &only {
        Some(only) => {
            let named = lists().into_iter().flatten();
            (named.filter(|defect| defect.name.contains(only.as_str())).collect(), false)
        }
        None if is_update => (lists().into_iter().flatten().collect(), true),
        None => (
            lists().iter().flat_map(|list| support::some_of(list, 6)).copied().collect(),
            support::is_long(),
        ),
    };
    assert!(!all.is_empty(), "no defect has such a name");
    let (next, caught) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(defect) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let seen = std::panic::catch_unwind(|| catch(defect)).map_err(drop);
                    caught.lock().unwrap().push((*defect, seen));
                }
            });
        }
    });
    let mut wrong = Vec::new();
    let mut caught: Vec<_> = caught
        .into_inner()
        .unwrap()
        .into_iter()
        .filter_map(|(defect, seen)| {
            if seen.is_err() {
                wrong.push(format!("{}: see above", defect.name));
            }
            Some((defect, seen.ok()?))
        })
        .collect();
    let position = |name| all.iter().position(|defect| defect.name == name);
    caught.sort_by_key(|(defect, _)| position(defect.name));

    for (defect, seen) in &caught {
        let name = defect.name;
        if only.is_some() {
            println!("{name}: {seen:#?}");
        }
        match (defect.reach, &seen.worlds) {
            (Reach::Leaks | Reach::Counts, None) => {
                wrong.push(format!("{name}: leaks, and the two worlds are alike"));
            }
            (Reach::Stays, Some(told)) => wrong.push(format!("{name}: is not to leak, but {told}")),
            _ => {}
        }
        if seen.worlds.is_none() && seen.matrix != Some(true) && seen.rules.is_empty() {
            wrong.push(format!("{name}: nobody sees it"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if only.is_some() {
        return;
    }
    let measured = render(&caught);
    if is_update {
        std::fs::write(COMMITTED, &measured).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap();
    let missing = |these: &str, those: &str, mark: &str| -> Vec<_> {
        let these = these.lines().filter(|line| !those.lines().any(|other| other == *line));
        these.map(|line| format!("{mark} {line}")).collect()
    };
    let mut differences = missing(&measured, &committed, "+");
    if is_whole {
        differences.extend(missing(&committed, &measured, "-"));
        assert!(!differences.is_empty() || committed == measured, "the order has changed");
    }
    assert!(differences.is_empty(), "who sees what has changed:\n{}", differences.join("\n"));
}

/// Without a defect none of the catchers cries wolf: not by the programs that are tried on each.
#[test]
fn without_a_defect_nobody_sees_anything() {
    let whole =
        Defect { name: "none", reach: Reach::Stays, matrix: &["kpis"], sql: "", code: None };
    let seen = catch(&whole);
    assert!(
        seen.worlds.is_none() && seen.matrix == Some(false) && seen.rules.is_empty(),
        "{seen:#?}"
    );
}

/// Nor do the worlds of equal sizes, with all the rows that are added there.
#[test]
fn without_a_defect_nothing_is_counted() {
    let ask = |code| Defect {
        name: "none",
        reach: Reach::Counts,
        matrix: &[],
        sql: counts::CROWDED,
        code,
    };
    let codes = counts::defects().filter_map(|defect| defect.code).map(Some);
    for code in std::iter::once(None).chain(codes) {
        let seen = catch(&ask(code));
        assert!(seen.worlds.is_none() && seen.rules.is_empty(), "{seen:#?}");
    }
}

/// With the wall standing, a statement without its filter tells nothing, nor does a connection that
/// was handed on as it should be.
#[test]
fn what_the_code_forgets_the_wall_holds() {
    let mut pair = crate::programs::worlds::Pair::new(catch::SESSIONS);
    let n = pair.furnish();
    for defect in code::defects().filter(|defect| !defect.sql.is_empty()) {
        let code = defect.code.unwrap();
        assert_eq!(code(&mut pair.left, n), code(&mut pair.right, n), "{}", defect.name);
    }
    let (left, right) = (&mut pair.left, &mut pair.right);
    assert_eq!(code::well_handed_on(left), "");
    assert_eq!(code::well_handed_on(right), "");
}
