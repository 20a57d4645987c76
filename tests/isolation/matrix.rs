//! Who can do what to which table, by raw SQL through plain logins, so that row-level security is
//! the only wall: the repositories' own filters are not in play.
//!
//! What happens is printed as a table and compared with `tests/isolation_matrix.txt`; set
//! `SESARI_UPDATE` to rewrite that file, and read the difference. Apart from the file, no actor may
//! touch a row of the other workspace, and nobody without a rightful context any row at all. The
//! list of tables comes from the catalogue: a new table fails here until `tables.rs` covers it.

#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod sabotage;

use crate::access::measure::Matrix;
use crate::access::text::render;
use crate::support::some_of;
use sabotage::SABOTAGES;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/isolation_matrix.txt");

#[test]
fn everybody_can_do_what_the_committed_table_says_and_no_more() {
    let mut matrix = Matrix::new("").unwrap();
    let cells = matrix.measure(None);
    let leaks = matrix.leaks(&cells);
    assert!(leaks.is_empty(), "leaks:\n{}", leaks.join("\n"));
    let measured = render(&cells);
    if std::env::var_os("SESARI_UPDATE").is_some() {
        std::fs::write(COMMITTED, &measured).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap();
    let differences: Vec<_> = committed
        .lines()
        .zip(measured.lines())
        .filter(|(old, new)| old != new)
        .map(|(old, new)| format!("- {old}\n+ {new}"))
        .collect();
    assert!(committed == measured, "the rights have changed:\n{}", differences.join("\n"));
}

/// A test that cannot fail guards nothing. Every fourth hole; all with `SESARI_LONG`.
#[test]
fn every_hole_in_the_wall_is_seen() {
    for sabotage in some_of(SABOTAGES, 4) {
        let mut matrix = Matrix::new(sabotage.sql).unwrap();
        let cells = matrix.measure(Some(sabotage.table));
        let leaks = matrix.leaks(&cells);
        assert!(
            leaks.iter().any(|leak| leak.starts_with(sabotage.seen)),
            "{}: expected {:?} among {leaks:#?}",
            sabotage.what,
            sabotage.seen
        );
    }
}

#[test]
fn a_right_too_many_within_the_workspace_is_seen() {
    let mut matrix = Matrix::new(
        "ALTER POLICY kpis_tenant_delete ON kpis
         USING (workspace_id = (SELECT sesari.current_workspace_id()))",
    )
    .unwrap();
    let measured = render(&matrix.measure(Some("kpis")));
    let committed = std::fs::read_to_string(COMMITTED).unwrap();
    let changed: Vec<_> = measured
        .lines()
        .filter(|line| !committed.contains(line))
        .map(|line| line.split("  ").next().unwrap())
        .collect();
    assert_eq!(changed, ["member", "member of both", "background service"]);
}

#[test]
fn a_new_table_or_view_is_refused_until_it_is_covered() {
    for (sql, name) in [
        ("CREATE TABLE public.invoices (workspace_id text)", "invoices"),
        ("CREATE VIEW public.all_kpis AS SELECT * FROM public.kpis", "all_kpis"),
        ("CREATE TABLE public.points_2026 () INHERITS (public.kpi_data_points)", "points_2026"),
    ] {
        let error = Matrix::new(sql).err().unwrap();
        assert!(error.contains(name), "{error}");
    }
}
