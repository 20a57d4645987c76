//! How much of an import is written: all or nothing, nothing at all, or up to so many errors; and keys
//! that are taken.

use sesari_db::Error;
use sesari_db::import::{CsvOptions, ImportError, ImportOptions, Imported};
use sesari_db::repo::OnExisting;

use super::tools::{count, counts, keep, member, point};
use crate::support::World;

const BAD: &str = "timestamp,value\n2026-02-01T00:00:00Z,1\n2026-02-01T01:00:00Z,2\n\
                   2026-02-01T02:00:00Z,x\n2026-02-01T03:00:00Z,4\n";

/// The same import in a guard and on the database: what it says, and how many points there are then.
fn both(csv: &str, options: &ImportOptions, check: impl Fn(Result<Imported, Error>, i64)) {
    let world = World::new();
    let (kpi, layout) = (&world.a.kpi, CsvOptions::of_kpi(world.a.kpi.clone()));
    let mut tenant = member(&world, &world.a);
    let in_guard = tenant.data_points().import_csv(csv.as_bytes(), &layout, options, |_, _| ());
    // The guard goes on, whatever became of the import.
    let after = count(&mut tenant, kpi);
    drop(tenant);
    check(in_guard, after);
    let (db, a) = (&world.db, &world.a);
    let alone = db.import_csv(&a.member, &a.workspace, csv.as_bytes(), &layout, options, |_, _| ());
    check(alone, count(&mut member(&world, a), kpi));
}

#[test]
fn all_or_nothing_writes_nothing_for_one_bad_row() {
    both(BAD, &keep().all_or_nothing().batch_rows(1), |result, points| {
        assert!(
            matches!(&result, Err(Error::Import(ImportError::TooManyErrors { refused: 1, first }))
                if first.line == 4),
            "{result:?}"
        );
        assert_eq!(points, 3);
    });
    both(&BAD.replace('x', "3"), &keep().all_or_nothing(), |result, points| {
        assert_eq!((counts(&result.unwrap()), points), ([4, 0, 0, 0], 7));
    });
}

#[test]
fn a_dry_run_says_what_would_be_and_writes_nothing() {
    both(BAD, &keep().dry_run().batch_rows(2), |result, points| {
        let imported = result.unwrap();
        assert_eq!((counts(&imported), imported.errors[0].line, points), ([3, 0, 0, 1], 4, 3));
    });
}

#[test]
fn more_errors_than_allowed_end_the_import_before_their_batch_is_written() {
    both(BAD, &keep().errors_allowed(1), |result, points| {
        assert_eq!((counts(&result.unwrap()), points), ([3, 0, 0, 1], 6));
    });
    both(BAD, &keep().errors_allowed(0).batch_rows(2), |result, points| {
        assert!(matches!(result, Err(Error::Import(ImportError::TooManyErrors { .. }))));
        assert_eq!(points, 5, "the first batch");
    });
}

#[test]
fn a_taken_key_that_is_to_fail_is_named_by_its_line() {
    let fail = ImportOptions::new(OnExisting::Fail);
    let twice = "timestamp,value\n2026-02-01T00:00:00Z,1\n2026-02-01T01:00:00Z,2\n\
                 2026-02-01T00:00:00Z,3\n";
    // The fixture's first points are of January's first hours.
    let there = "timestamp,value\n2026-02-01T00:00:00Z,1\n2026-01-01T01:00:00Z,2\n";
    for (csv, expected) in [(twice, 4), (there, 3)] {
        both(csv, &fail, |result, points| {
            assert!(
                matches!(result, Err(Error::Import(ImportError::KeyTaken { line })) if line == expected),
                "{result:?}"
            );
            assert_eq!(points, 3);
        });
    }
}

#[test]
fn a_collision_is_told_from_a_repeat_under_every_rule() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let kpi = &world.a.kpi;
    let all = || [10.0, 20.0, 10.0].map(|value| point(kpi, 50, value));
    let import = |tenant: &mut sesari_db::TenantConnection, existing| {
        let options = ImportOptions::new(existing);
        let imported = tenant.data_points().import(all(), &options, |_, _| ()).unwrap();
        (counts(&imported), imported.collided, imported.collisions)
    };
    // The first is kept: the second collides, the third repeats it.
    assert_eq!(import(&mut tenant, OnExisting::Keep), ([1, 0, 2, 0], 1, vec![2]));
    // The last counts, and is what is there.
    assert_eq!(import(&mut tenant, OnExisting::Replace), ([0, 0, 3, 0], 1, vec![2]));
}

#[test]
fn a_sum_beyond_every_number_refuses_the_row_that_makes_it() {
    let world = World::shared();
    let mut tenant = member(&world, &world.a);
    let rows = [f64::MAX, f64::MAX, 1.0].map(|value| point(&world.a.kpi, 50, value));
    let options = keep().add_up_rows_of_one_key();
    let imported = tenant.data_points().import(rows, &options, |_, _| ()).unwrap();
    assert_eq!((counts(&imported), imported.added_up), ([1, 0, 0, 1], 1));
    assert_eq!(imported.errors[0].line, 2);
}
