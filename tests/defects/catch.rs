//! One defect, and who sees it.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sesari_db::{Database, Error};

use crate::access::measure::Matrix;
use crate::access::text::render;
use crate::list::{Defect, Reach};
use crate::programs::counted::Effort;
use crate::programs::program::programs;
use crate::programs::run::compare;
use crate::programs::worlds::{Pair, Side};
use crate::sweep;

/// Random programs for a defect that the sweep does not see.
const PROGRAMS: usize = 4;
/// A connection takes longer to open than most programs to run.
pub const SESSIONS: u32 = 2;

#[derive(Debug)]
pub struct Caught {
    /// What told the worlds apart.
    pub worlds: Option<String>,
    /// The rules of the check that were broken.
    pub rules: Vec<String>,
    /// Whether the matrix differs or leaks, where it is measured.
    pub matrix: Option<bool>,
}

pub fn catch(defect: &Defect) -> Caught {
    let counts = defect.reach == Reach::Counts;
    let mut pair = if counts { Pair::of_equal_sizes(1).0 } else { Pair::new(SESSIONS) };
    pair.alter(defect.sql).unwrap_or_else(|error| panic!("{}: {error}", defect.name));
    let rules = rules(&pair.left);
    let worlds = match defect.code {
        Some(code) => {
            // Those of equal sizes have their tenant already, number 0.
            let n = if counts { 0 } else { pair.furnish() };
            let (left, right) = (code(&mut pair.left, n), code(&mut pair.right, n));
            (left != right).then(|| format!("left {left}, right {right}"))
        }
        None if counts => count(&mut pair),
        None => tell_apart(&mut pair),
    };
    drop(pair);
    let matrix = (!defect.matrix.is_empty()).then(|| differs(defect));
    Caught { worlds, rules, matrix }
}

/// The same questions each time, of one member.
fn count(pair: &mut Pair) -> Option<String> {
    let columns = pair.columns();
    crate::programs::counted::tell_apart(pair, &columns, &Effort { actors: 1, by_chance: 0 }, 5)
}

fn tell_apart(pair: &mut Pair) -> Option<String> {
    for program in sweep::programs() {
        if let Err(told) = compare(pair, &program) {
            return Some(told.0);
        }
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[5; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..PROGRAMS).find_map(|_| {
        let program = programs(20, SESSIONS).new_tree(&mut runner).unwrap().current();
        compare(pair, &program).err().map(|told| format!("{}\n{program:?}", told.0))
    })
}

fn rules(side: &Side) -> Vec<String> {
    let built = Database::builder(side.login.url(), side.test.context_key().clone())
        .service_url(side.test.service_url())
        .pool_size(1)
        .build();
    let mut rules: Vec<_> = match built {
        Ok(_) => Vec::new(),
        Err(Error::Unsafe(report)) => report.findings().iter().map(|f| f.rule.clone()).collect(),
        Err(error) => vec![format!("{error}")],
    };
    rules.sort();
    rules.dedup();
    rules
}

fn differs(defect: &Defect) -> bool {
    let mut matrix = Matrix::new(defect.sql).unwrap();
    let committed = include_str!("../isolation_matrix.txt")
        .split("\n\n")
        .map(str::trim_end)
        .collect::<Vec<_>>();
    defect.matrix.iter().any(|table| {
        let cells = matrix.measure(Some(table));
        let measured = render(&cells);
        !matrix.leaks(&cells).is_empty() || !committed.contains(&measured.trim_end())
    })
}
