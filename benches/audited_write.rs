//! What the audit log costs: a write that leaves an entry in the chain against the same write with
//! the table's audit trigger disabled, through the same repositories, begin and commit included.
//!
//! Two databases on one server, alike but for the trigger. Samples take turns, one of each, so that
//! whatever else the machine does weighs on both alike. The server is a throw-away one, which does
//! not wait for the disk: on one that does, the commit costs both sides more and the ratio falls.
//! Last, what the commit of many changes costs, which has to grow with their number and no faster, and that
//! it is refused before it is long.
//! For figures that repeat: `taskset -c 0 cargo bench --bench audited_write`.
#![allow(missing_docs, reason = "criterion's macros make public items without documentation")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use diesel::connection::SimpleConnection;
use sesari_db::audit::{MAX_ENTRIES, MAX_WORKSPACES};
use sesari_db::id::{UserId, WorkspaceId};
use sesari_db::repo::{AuditFilter, NewUser, NewWorkspace};
use sesari_db::testing::TestDatabase;
use sesari_db::value::{AuthProvider, Role};
use sesari_db::{Database, Error};

struct Side {
    db: Database,
    owner: UserId,
    member: UserId,
    workspace: WorkspaceId,
    turn: bool,
    // Dropped last: the database goes with it.
    test: TestDatabase,
}

impl Side {
    fn new(audited: bool) -> Self {
        let test = TestDatabase::new().unwrap();
        // Built before: the check at the start refuses a trigger that is disabled.
        let db = test.builder().pool_size(1).build().unwrap();
        if !audited {
            let mut admin = test.admin().unwrap();
            let disable = "ALTER TABLE workspaces DISABLE TRIGGER workspaces_audit; \
                           ALTER TABLE workspace_users DISABLE TRIGGER workspace_users_audit";
            admin.batch_execute(disable).unwrap();
        }
        let (owner, member) = (sign_up(&db, "ada"), sign_up(&db, "bob"));
        let mut guard = db.user(&owner).unwrap();
        let new = NewWorkspace::new("Acme".parse().unwrap(), "acme".parse().unwrap());
        let workspace = guard.my_workspaces().create(&new).unwrap().id;
        guard.commit().unwrap();
        let mut service = db.service(&"benches".parse().unwrap()).unwrap();
        service.memberships().add(&workspace, &member, Role::Member).unwrap();
        service.commit().unwrap();
        let side = Self { db, owner, member, workspace, turn: false, test };
        assert_eq!(side.entries() > 0, audited);
        side
    }

    fn entries(&self) -> i64 {
        let mut tenant = self.db.tenant_read_only(&self.owner, &self.workspace).unwrap();
        tenant.audit_log().count(&AuditFilter::default()).unwrap()
    }

    fn rename(&mut self) {
        self.turn = !self.turn;
        let name = if self.turn { "Acme Analytics" } else { "Acme" };
        let mut tenant = self.db.tenant(&self.owner, &self.workspace).unwrap();
        black_box(tenant.workspace().rename(name.parse().unwrap()).unwrap());
        tenant.commit().unwrap();
    }

    fn change_role(&mut self) {
        self.turn = !self.turn;
        let role = if self.turn { Role::Admin } else { Role::Member };
        let mut tenant = self.db.tenant(&self.owner, &self.workspace).unwrap();
        black_box(tenant.members().change_role(&self.member, role).unwrap());
        tenant.commit().unwrap();
    }
}

fn sign_up(db: &Database, name: &str) -> UserId {
    let mut service = db.service(&"benches".parse().unwrap()).unwrap();
    let new = NewUser::new(
        format!("{name}@example.com").parse().unwrap(),
        AuthProvider::Google,
        name.parse().unwrap(),
    );
    let user = service.users().sign_in(&new).unwrap();
    service.commit().unwrap();
    user.id
}

type Write = (&'static str, fn(&mut Side));

const WRITES: [Write; 2] = [("rename_workspace", Side::rename), ("change_role", Side::change_role)];

fn audited_write(c: &mut Criterion) {
    let (mut plain, mut audited) = (Side::new(false), Side::new(true));
    for (name, write) in WRITES {
        let mut group = c.benchmark_group(name);
        group.bench_function("unaudited", |b| b.iter(|| write(&mut plain)));
        group.bench_function("audited", |b| b.iter(|| write(&mut audited)));
        group.finish();
    }
}

fn median(samples: &mut [Duration]) -> f64 {
    samples.sort_unstable();
    samples[samples.len() / 2].as_secs_f64() * 1e6
}

/// Both in turns, and the ratio of their medians.
fn print_ratios(rounds: usize) {
    let (mut plain, mut audited) = (Side::new(false), Side::new(true));
    println!("\n{:<24} {:>12} {:>12} {:>8}", "median of turns", "unaudited", "audited", "ratio");
    for (name, write) in WRITES {
        for _ in 0..=rounds / 10 {
            write(&mut plain);
            write(&mut audited);
        }
        let time = |side: &mut Side| {
            let start = Instant::now();
            write(side);
            start.elapsed()
        };
        let (mut a, mut b): (Vec<_>, Vec<_>) =
            (0..rounds).map(|_| (time(&mut plain), time(&mut audited))).unzip();
        let (a, b) = (median(&mut a), median(&mut b));
        println!("{name:<24} {a:>9.1} us {b:>9.1} us {:>7.2}x", b / a);
    }
    assert!(audited.entries() > i64::try_from(2 * rounds).unwrap());
}

/// What the statement and the commit of many audited changes cost each, and where it ends: by entry,
/// and by chain that the commit holds.
fn print_commits(portions: u32) {
    let side = Side::new(true);
    let mut admin = side.test.admin().unwrap();
    println!("\n{:<24} {:>12} {:>12} {:>12}", "of one transaction", "statement", "commit", "each");
    let print = |what: &str, many: u32, statement: Duration, commit: Duration| {
        let each = (statement + commit).as_secs_f64() * 1e6 / f64::from(many);
        let what = format!("{many} {what}");
        println!("{what:<24} {statement:>9.1?} {commit:>9.1?} {each:>9.1} us");
    };
    for portion in 1..=portions {
        let entries = MAX_ENTRIES * portion / portions;
        let stock = format!(
            "INSERT INTO kpis (workspace_id, name) SELECT '{}', 'x' FROM generate_series(1, {})",
            side.workspace,
            if portion == portions { entries + 1 } else { entries }
        );
        admin.batch_execute(&stock).unwrap();
        if portion == portions {
            let mut tenant = side.db.tenant(&side.owner, &side.workspace).unwrap();
            let all: Result<(), Error> = tenant
                .transaction(|tenant| Ok(tenant.connection().batch_execute("DELETE FROM kpis")?));
            assert!(matches!(all, Err(Error::TooManyChanges)), "{all:?}");
        }
        let mut tenant = side.db.tenant(&side.owner, &side.workspace).unwrap();
        let delete = format!("DELETE FROM kpis WHERE id IN (SELECT id FROM kpis LIMIT {entries})");
        let start = Instant::now();
        tenant.connection().batch_execute(&delete).unwrap();
        let statement = start.elapsed();
        let start = Instant::now();
        tenant.commit().unwrap();
        print("entries", entries, statement, start.elapsed());
    }
    for portion in 1..=portions {
        let workspaces = MAX_WORKSPACES * portion / portions;
        let user = sign_up(&side.db, &format!("user{portion}"));
        let stock = format!(
            "SET session_replication_role = replica;
             INSERT INTO workspaces (id, name, slug)
             SELECT 'w{portion}x' || n, 'x', 'w{portion}-' || n FROM generate_series(1, {workspaces}) AS n;
             INSERT INTO sesari.user_workspaces (workspace_id, user_id)
             SELECT 'w{portion}x' || n, '{user}' FROM generate_series(1, {workspaces}) AS n;
             INSERT INTO workspace_users (workspace_id, user_id)
             SELECT 'w{portion}x' || n, '{user}' FROM generate_series(1, {workspaces}) AS n;
             INSERT INTO sesari.memberships (member, membership_id, role)
             SELECT workspace_id || '.' || user_id, id, role FROM workspace_users WHERE user_id = '{user}';
             RESET session_replication_role"
        );
        admin.batch_execute(&stock).unwrap();
        let mut guard = side.db.service(&"benches".parse().unwrap()).unwrap();
        let start = Instant::now();
        guard
            .connection()
            .batch_execute(&format!("DELETE FROM users WHERE id = '{user}'"))
            .unwrap();
        let statement = start.elapsed();
        let start = Instant::now();
        guard.commit().unwrap();
        print("memberships", workspaces, statement, start.elapsed());
    }
}

criterion_group!(benches, audited_write);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // Without `--bench`, the target only proves that it runs.
    let measuring = std::env::args().any(|argument| argument == "--bench");
    print_ratios(if measuring { 2000 } else { 3 });
    print_commits(if measuring { 8 } else { 1 });
}
