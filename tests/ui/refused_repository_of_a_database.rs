//! The pool itself has no repositories: a query outside of a guard cannot be written.

use sesari_db::Database;

fn list(db: &Database) {
    let _ = db.kpis();
}

fn main() {}
