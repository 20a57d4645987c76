//! A stranger's table under the guard: what the library promises for its own holds for it as well.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_migrations::MigrationHarness;
use invoicing::{Error, Invoice, MIGRATIONS, issue, issue_next, list};
use sesari_db::Database;
use sesari_db::id::{KpiId, UserId, WorkspaceId};
use sesari_db::repo::{NewKpi, NewUser, NewWorkspace};
use sesari_db::testing::TestDatabase;
use sesari_db::value::{AuthProvider, Role};

struct Company {
    owner: UserId,
    workspace: WorkspaceId,
    kpi: KpiId,
}

impl Company {
    fn found(db: &Database, name: &str) -> Self {
        let owner = sign_up(db, name);
        let mut scoped = db.user(&owner).unwrap();
        let new = NewWorkspace::new(name.parse().unwrap(), name.parse().unwrap());
        let workspace = scoped.my_workspaces().create(&new).unwrap().id;
        scoped.commit().unwrap();
        let mut tenant = db.tenant(&owner, &workspace).unwrap();
        let kpi = tenant.kpis().create(&NewKpi::new(format!("{name} revenue").parse().unwrap()));
        let kpi = kpi.unwrap().id;
        issue(&mut tenant, 1, &kpi, 999).unwrap();
        tenant.commit().unwrap();
        Self { owner, workspace, kpi }
    }
}

fn sign_up(db: &Database, name: &str) -> UserId {
    let mut service = db.service(&"sign-in".parse().unwrap()).unwrap();
    let user = service
        .users()
        .sign_in(&NewUser::new(
            format!("{name}@example.com").parse().unwrap(),
            AuthProvider::Google,
            name.parse().unwrap(),
        ))
        .unwrap();
    service.commit().unwrap();
    user.id
}

struct Books {
    a: Company,
    b: Company,
    db: Database,
    test: TestDatabase,
}

/// Built by the service itself, with its own table declared.
fn build(test: &TestDatabase) -> sesari_db::Result<Database> {
    test.builder().tenant_table("public.invoices").build()
}

fn books() -> Books {
    let test = TestDatabase::new().unwrap();
    test.admin().unwrap().run_pending_migrations(MIGRATIONS).unwrap();
    let db = build(&test).unwrap();
    Books { a: Company::found(&db, "acme"), b: Company::found(&db, "globex"), db, test }
}

fn count(tenant: &mut sesari_db::TenantConnection, condition: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let sql = format!("SELECT count(*) FROM invoices WHERE {condition}");
    diesel::sql_query(sql).get_result::<Count>(tenant.connection()).unwrap().count
}

#[test]
fn each_company_lists_its_own_invoices() {
    let Books { a, b, db, .. } = &books();
    let invoice = |kpi: &str| Invoice { number: 1, kpi: kpi.into(), cents: 999 };
    assert_eq!(list(db, &a.owner, &a.workspace).unwrap(), [invoice("acme revenue")]);
    assert_eq!(list(db, &b.owner, &b.workspace).unwrap(), [invoice("globex revenue")]);
    assert_eq!(list(db, &a.owner, &b.workspace).unwrap(), []);
}

#[test]
fn a_forgotten_filter_shows_ones_own_and_no_others() {
    let Books { a, b, db, .. } = &books();
    let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
    assert_eq!(count(&mut tenant, "true"), 1);
    assert_eq!(count(&mut tenant, &format!("workspace_id = '{}'", b.workspace)), 0);
}

#[test]
fn an_invoice_cannot_be_planted_in_another_workspace_or_point_into_it() {
    let Books { a, b, db, .. } = &books();
    let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
    let planted = tenant.transaction(|tenant| {
        let sql = format!(
            "INSERT INTO invoices (workspace_id, number, kpi_id, cents) VALUES ('{}', 2, '{}', 1)",
            b.workspace, b.kpi
        );
        tenant.connection().batch_execute(&sql).map_err(sesari_db::Error::from)
    });
    assert!(matches!(planted, Err(sesari_db::Error::Denied { .. })), "{planted:?}");
    // The key of another workspace is as good as none.
    let pointing = tenant.transaction(|tenant| issue(tenant, 2, &b.kpi, 1));
    let absent = tenant.transaction(|tenant| issue(tenant, 2, &KpiId::generate(), 1));
    assert_eq!(format!("{pointing:?}"), format!("{absent:?}"));
    assert!(matches!(pointing, Err(Error::Database(_) | Error::NotFound)), "{pointing:?}");
}

#[test]
fn a_member_does_not_delete_what_is_the_admins_to_delete() {
    let Books { a, db, .. } = &books();
    let member = sign_up(db, "member");
    let mut service = db.service(&"test-service".parse().unwrap()).unwrap();
    service.memberships().add(&a.workspace, &member, Role::Member).unwrap();
    service.commit().unwrap();
    for (user, deleted) in [(&member, 0), (&a.owner, 1)] {
        let mut tenant = db.tenant(user, &a.workspace).unwrap();
        let rows = diesel::sql_query("DELETE FROM invoices").execute(tenant.connection());
        assert_eq!(rows.unwrap(), deleted);
    }
}

#[test]
fn the_invoice_goes_with_its_kpi_and_the_unit_of_work_is_one() {
    let Books { a, db, .. } = &books();
    let mut tenant = db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.kpis().delete(&a.kpi).unwrap();
    tenant.kpis().purge(&a.kpi).unwrap();
    assert_eq!(count(&mut tenant, "true"), 0);
    tenant.rollback().unwrap();
    assert_eq!(list(db, &a.owner, &a.workspace).unwrap().len(), 1);
}

#[test]
fn who_comes_second_to_a_number_takes_the_next() {
    let Books { a, b, db, test } = &books();
    let mut first = db.tenant(&a.owner, &a.workspace).unwrap();
    issue(&mut first, 2, &a.kpi, 5).unwrap();
    std::thread::scope(|scope| {
        // Does not see the 2, and waits for its commit.
        let second = scope.spawn(|| issue_next(db, &a.owner, &a.workspace, &a.kpi, 5).unwrap());
        let waiting =
            diesel::dsl::sql::<BigInt>("(SELECT count(*) FROM pg_locks WHERE NOT granted)");
        let mut admin = test.admin().unwrap();
        while diesel::select(waiting.clone()).get_result::<i64>(&mut admin).unwrap() == 0 {
            assert!(!second.is_finished(), "the second did not wait");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        first.commit().unwrap();
        assert_eq!(second.join().unwrap(), 3);
    });
    assert_eq!(list(db, &b.owner, &b.workspace).unwrap().len(), 1);
}

#[test]
fn a_database_whose_table_lost_its_wall_is_refused() {
    for sabotage in [
        "ALTER TABLE invoices NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE invoices DISABLE ROW LEVEL SECURITY",
        "GRANT UPDATE ON invoices TO sesari_tenant",
    ] {
        let books = books();
        books.test.admin().unwrap().batch_execute(sabotage).unwrap();
        let refused = build(&books.test);
        assert!(matches!(refused, Err(sesari_db::Error::Unsafe(_))), "{sabotage}: {refused:?}");
    }
}
