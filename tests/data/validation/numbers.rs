//! Numbers.

use std::cell::RefCell;

use diesel::sql_types::Double;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sesari_db::value::{Finite, Weight};

use super::database::{Judge, Verdict};

/// A constraint, what its newtype takes, and an INSERT of a row that is right but for `$1`.
type Field = (&'static str, fn(f64) -> bool, &'static str);

pub(crate) const FIELDS: &[Field] = &[
    (
        "kpis_target_value_check",
        |number| Finite::new(number).is_ok(),
        "INSERT INTO kpis (workspace_id, name, target_value) VALUES ('{workspace}', 'n', $1)",
    ),
    (
        "kpi_data_points_value_check",
        |number| Finite::new(number).is_ok(),
        "INSERT INTO kpi_data_points (workspace_id, kpi_id, value) \
         VALUES ('{workspace}', '{kpi}', $1)",
    ),
    (
        "kpi_targets_value_check",
        |number| Finite::new(number).is_ok(),
        "INSERT INTO kpi_targets (workspace_id, kpi_id, effective_from, value) \
         VALUES ('{workspace}', '{kpi}', '2026-01-01', $1)",
    ),
    (
        "kpi_targets_baseline_check",
        |number| Finite::new(number).is_ok(),
        "INSERT INTO kpi_targets (workspace_id, kpi_id, effective_from, baseline) \
         VALUES ('{workspace}', '{kpi}', '2026-01-01', $1)",
    ),
    (
        "goal_kpis_baseline_check",
        |number| Finite::new(number).is_ok(),
        "INSERT INTO goal_kpis (workspace_id, goal_id, kpi_id, baseline) \
         VALUES ('{workspace}', '{goal}', '{unlinked kpi}', $1)",
    ),
    (
        "goal_kpis_weight_check",
        |number| Weight::new(number).is_ok(),
        "INSERT INTO goal_kpis (workspace_id, goal_id, kpi_id, weight) \
         VALUES ('{workspace}', '{goal}', '{unlinked kpi}', $1)",
    ),
];

fn assert_agreement(judge: &mut Judge, number: f64) {
    for (constraint, takes, insert) in FIELDS {
        let expected = if takes(number) {
            Verdict::Accepted
        } else {
            Verdict::Refused((*constraint).to_owned())
        };
        let verdict = judge.verdict::<Double, _>(insert, number);
        assert_eq!(verdict, expected, "{constraint}: {number:e}");
    }
}

#[test]
fn newtype_and_database_agree_on_the_edges_of_numbers() {
    let mut judge = Judge::new();
    let edges = [
        0.0,
        1.0,
        0.1,
        5e-324,
        f64::MIN_POSITIVE,
        f64::EPSILON,
        f64::MAX,
        f64::INFINITY,
        1_000_000.0,
        1_000_000.0_f64.next_up(),
        1_000_000.0_f64.next_down(),
        1e6 + 1.0,
        1e300,
        f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
        f64::from_bits(0x7fff_ffff_ffff_ffff),
    ];
    for number in edges.into_iter().flat_map(|number| [number, -number]) {
        assert_agreement(&mut judge, number);
    }
}

#[test]
fn newtype_and_database_agree_on_any_number() {
    let judge = RefCell::new(Judge::new());
    let numbers = prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        -10.0..1_000_010.0_f64,
        prop::num::f64::ANY,
    ];
    TestRunner::new(Config { cases: 128, failure_persistence: None, ..Config::default() })
        .run(&numbers, |number| {
            assert_agreement(&mut judge.borrow_mut(), number);
            Ok(())
        })
        .unwrap();
}
