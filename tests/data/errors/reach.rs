//! One way to each error, with a secret in every value on the way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use sesari_db::PgConnection;
use sesari_db::clock::Clock;
use sesari_db::credentials::{MAX_SECRET_LEN, SealingKey, Secret};
use sesari_db::id::KpiId;
use sesari_db::idempotency::IdempotencyKey;
use sesari_db::import::{CsvOptions, ImportOptions};
use sesari_db::repo::{
    KpiChanges, NewDataPoint, NewIntegration, NewInvitation, NewKpi, NewUser, OnExisting,
};
use sesari_db::tenancy::ContextKey;
use sesari_db::value::{AuthProvider, IntegrationProvider, Role};
use sesari_db::{Database, Error, Scope, TenantConnection, migrations};

use crate::support::logins::Role as Login;
use crate::support::{World, hour, service};

/// Planted in names, texts, addresses and statements.
pub(crate) const SECRET: &str = "hunter2";

const SHORT: Duration = Duration::from_millis(100);

fn secret_kpi() -> NewKpi {
    NewKpi {
        description: Some(SECRET.parse().unwrap()),
        unit: Some(SECRET.parse().unwrap()),
        category: Some(SECRET.parse().unwrap()),
        ..NewKpi::new(SECRET.parse().unwrap())
    }
}

fn renamed() -> KpiChanges {
    KpiChanges { name: Some(SECRET.parse().unwrap()), ..KpiChanges::default() }
}

fn open(world: &World, db: &Database) -> TenantConnection {
    // On a busy machine a connection may take longer to open than a pool with SHORT waits.
    (0..100).find_map(|_| db.tenant(&world.a.owner, &world.a.workspace).ok()).unwrap()
}

fn number(conn: &mut PgConnection, sql: &str) -> i64 {
    diesel::select(diesel::dsl::sql::<BigInt>(sql)).get_result(conn).unwrap()
}

fn pid(conn: &mut PgConnection) -> i64 {
    number(conn, "pg_backend_pid()::bigint")
}

/// Waits until the query counts at least one.
fn until(admin: &mut PgConnection, sql: &str) {
    while number(admin, sql) == 0 {
        std::thread::yield_now();
    }
}

/// A database of one connection, so that what happens to it stays apart.
fn alone(world: &World) -> Database {
    world.test.builder().pool_size(1).pool_timeout(SHORT).build().unwrap()
}

pub(crate) fn reach_all(world: &World) -> Vec<Error> {
    let mut reached = in_one_transaction(world);
    reached.extend(in_the_servers_way(world));
    reached.extend(on_the_way_in(world));
    reached.extend(sealing(world));
    reached.push(deadlock(world));
    reached.push(cancelled(world));
    reached.push(too_many_changes(world));
    reached.extend(turned_away(world));
    let mut service = world.db.service(&service()).unwrap();
    reached.push(service.users().delete(&world.a.owner, &[]).unwrap_err());
    reached
}

/// A user of more workspaces than one transaction may leave entries in.
fn too_many_changes(world: &World) -> Error {
    let mut admin = world.test.admin().unwrap();
    admin
        .batch_execute(
            "SET session_replication_role = replica; \
             INSERT INTO users (id, email, provider, provider_id) \
             VALUES ('busy', 'hunter2@example.com', 'google', 'hunter2'); \
             INSERT INTO workspaces (id, name, slug) \
             SELECT 'busy' || n, 'hunter2', 'hunter2-' || n FROM generate_series(1, 1001) AS n; \
             INSERT INTO sesari.user_workspaces (workspace_id, user_id) \
             SELECT 'busy' || n, 'busy' FROM generate_series(1, 1001) AS n; \
             INSERT INTO workspace_users (workspace_id, id, user_id) \
             SELECT 'busy' || n, 'm1', 'busy' FROM generate_series(1, 1001) AS n",
        )
        .unwrap();
    let mut guard = world.db.service(&service()).unwrap();
    guard.connection().batch_execute("DELETE FROM users WHERE id = 'busy'").unwrap_err().into()
}

/// What callers get for whom there is no room or no time.
fn turned_away(world: &World) -> Vec<Error> {
    let scope = || Scope::tenant(&world.a.owner, &world.a.workspace);
    let late = world.db.run(SECRET, scope().within(SHORT), |_| -> Result<(), Error> {
        std::thread::sleep(SHORT);
        Ok(())
    });
    let db = world.test.builder().pool_size(1).queue_limit(0).build().unwrap();
    let inside = open(world, &db);
    let full = db.tenant(&world.a.owner, &world.a.workspace);
    drop(inside);
    db.shut_down(SHORT);
    let closed = db.tenant(&world.a.owner, &world.a.workspace);
    vec![late.unwrap_err(), full.unwrap_err(), closed.unwrap_err()]
}

/// What the rows and the rules refuse.
fn in_one_transaction(world: &World) -> Vec<Error> {
    let a = &world.a;
    let mut reached = Vec::new();
    let mut tenant = open(world, &world.db);
    let kpi = tenant.kpis().create(&secret_kpi()).unwrap();
    let mut refuse = |call: &mut dyn FnMut(&mut TenantConnection) -> Result<(), Error>| {
        reached.push(tenant.transaction(call).unwrap_err());
    };
    refuse(&mut |t| t.kpis().create(&NewKpi { id: kpi.id.clone(), ..secret_kpi() }).map(drop));
    refuse(&mut |t| t.kpis().update(&KpiId::generate(), &renamed()).map(drop));
    refuse(&mut |t| t.kpis().purge(&world.b.kpi));
    refuse(&mut |t| t.members().leave());
    refuse(&mut |t| t.members().change_role(&a.member, Role::Unknown(SECRET.into())).map(drop));
    refuse(&mut |t| {
        let point = NewDataPoint::new(world.b.kpi.clone(), 1.0, hour(1))?;
        t.data_points().record(&point.from_source(SECRET.parse()?)).map(drop)
    });
    refuse(&mut |t| {
        // The name of a column that is not expected is told; what stands in a row is not.
        let header = format!("timestamp,note\n{SECRET},{SECRET}");
        let options = ImportOptions::new(OnExisting::Keep);
        t.data_points()
            .import_csv(header.as_bytes(), &CsvOptions::new(), &options, |_, _| ())
            .map(drop)
    });
    for sql in [
        format!("SELECT '{SECRET}'::integer"),
        format!("SELECT '{SECRET}' FROM public.nothing"),
        format!("SELECT {SECRET} FROM public.kpis"),
        format!("SELECT current_setting('{SECRET}.{SECRET}')"),
        format!("DO $$ BEGIN RAISE EXCEPTION '{SECRET}' USING DETAIL = '{SECRET}'; END $$"),
        // What a foreign key of a table of one's own says.
        format!(
            "DO $$ BEGIN RAISE EXCEPTION '{SECRET}' USING ERRCODE = 'foreign_key_violation', \
             CONSTRAINT = 'invoices_customer_id_fkey', DETAIL = '{SECRET}'; END $$"
        ),
        format!("UPDATE public.kpis SET name = ' {SECRET}'"),
        format!("UPDATE public.kpis SET target_value = 'NaN', name = '{SECRET}'"),
        format!("UPDATE public.kpis SET id = '{SECRET}'"),
        format!("INSERT INTO public.kpis (name, workspace_id) VALUES ('{SECRET}', '{SECRET}')"),
        format!("INSERT INTO public.workspaces (name, slug) VALUES ('{SECRET}', '{SECRET}')"),
    ] {
        refuse(&mut |t| Ok(t.connection().batch_execute(&sql)?));
    }
    refuse(&mut |t| {
        let new = NewInvitation::new(format!("{SECRET}@example.com").parse()?, Role::Member);
        t.invitations().create(&new)?;
        t.invitations().create(&new).map(drop)
    });
    let key: IdempotencyKey = SECRET.parse().unwrap();
    refuse(&mut |t| t.once(SECRET, &key, |t| t.once(SECRET, &key, |_| Ok::<_, Error>(()))));
    refuse(&mut |t| {
        t.once(SECRET, &key, |_| Ok::<_, Error>(SECRET.to_owned()))?;
        t.once(SECRET, &key.clone().for_request(SECRET), |_| Ok(()))
    });
    refuse(&mut |t| {
        t.once(SECRET, &key, |_| Ok::<_, Error>(SECRET.to_owned()))?;
        t.once(SECRET, &key, |_| Ok(()))
    });
    let _ = tenant.kpis().create(&NewKpi { id: kpi.id.clone(), ..secret_kpi() });
    reached.push(tenant.commit().unwrap_err());

    let mut read_only = world.db.begin(&Scope::tenant(&a.owner, &a.workspace).read_only()).unwrap();
    reached.push(read_only.kpis().create(&secret_kpi()).unwrap_err());
    // What a full disk says; `tests/failures` has one say it.
    let said = format!(
        "DO $$ BEGIN RAISE EXCEPTION '{SECRET}' USING ERRCODE = 'disk_full', DETAIL = '{SECRET}'; END $$"
    );
    let said = open(world, &world.db).connection().batch_execute(&said);
    reached.push(said.unwrap_err().into());

    let mut service = world.db.service(&service()).unwrap();
    let new = |id: &str| {
        let email = format!("{SECRET}@example.com").parse().unwrap();
        NewUser::new(email, AuthProvider::Google, id.parse().unwrap())
    };
    service.users().create(&new(SECRET)).unwrap();
    reached.push(service.users().create(&new("other")).unwrap_err());
    reached
}

/// What is too long to be sealed, and what does not open.
fn sealing(world: &World) -> Vec<Error> {
    let a = &world.a;
    let mut reached = Vec::new();
    let new = NewIntegration::new(IntegrationProvider::Stripe);
    let too_long = Secret::from(SECRET.repeat(MAX_SECRET_LEN));
    let mut tenant = open(world, &world.db);
    reached.extend(tenant.integrations().create(&new, &too_long).err());
    tenant.integrations().create(&new, &Secret::from(SECRET.to_owned())).unwrap();
    tenant.commit().unwrap();
    for (id, byte) in [("k1", 2), ("k2", 1)] {
        let key = SealingKey::new(id.parse().unwrap(), &[byte; SealingKey::LEN]).unwrap();
        let wrong = world.test.builder().sealing_keys(key.into()).build().unwrap();
        let mut tenant = wrong.tenant(&a.owner, &a.workspace).unwrap();
        reached.extend(tenant.integrations().credentials(&new.id).err());
    }
    assert_eq!(reached.len(), 3);
    reached
}

/// What other sessions and the connection cause.
fn in_the_servers_way(world: &World) -> Vec<Error> {
    let a = &world.a;
    let mut admin = world.test.admin().unwrap();
    let mut reached = Vec::new();

    let mut slow = open(world, &world.test.builder().statement_timeout(SHORT).build().unwrap());
    let sleep = format!("SELECT pg_sleep(3600), '{SECRET}'");
    reached.push(slow.connection().batch_execute(&sleep).unwrap_err().into());
    drop(slow);

    admin.batch_execute("BEGIN; LOCK TABLE public.kpis IN EXCLUSIVE MODE").unwrap();
    let mut blocked = open(world, &world.test.builder().lock_timeout(SHORT).build().unwrap());
    reached.push(blocked.kpis().update(&a.kpi, &renamed()).unwrap_err());
    drop(blocked);
    admin.batch_execute("ROLLBACK").unwrap();

    let mut late = open(world, &world.db);
    let repeatable = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
    late.connection().batch_execute(repeatable).unwrap();
    assert!(late.kpis().find(&a.kpi).unwrap().is_some());
    let mut early = open(world, &world.db);
    early.kpis().update(&a.kpi, &renamed()).unwrap();
    early.commit().unwrap();
    reached.push(late.kpis().update(&a.kpi, &renamed()).unwrap_err());
    drop(late);

    let db = alone(world);
    for commit in [false, true] {
        let mut lost = open(world, &db);
        lost.kpis().create(&secret_kpi()).unwrap();
        let pid = pid(lost.connection());
        let gone = format!(
            "(SELECT count(*) WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid}))"
        );
        number(&mut admin, &format!("pg_terminate_backend({pid})::int::bigint"));
        until(&mut admin, &gone);
        reached.push(if commit {
            lost.commit().unwrap_err()
        } else {
            lost.kpis().create(&secret_kpi()).unwrap_err()
        });
    }
    let db_idle = world.test.builder().idle_in_transaction_timeout(SHORT).build().unwrap();
    let mut idle = open(world, &db_idle);
    idle.kpis().create(&secret_kpi()).unwrap();
    let pid = pid(idle.connection());
    let gone = format!(
        "(SELECT count(*) WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid}))"
    );
    until(&mut admin, &gone);
    reached.push(idle.commit().unwrap_err());

    std::mem::forget(open(world, &db));
    reached.extend(db.tenant(&a.owner, &a.workspace).err());
    reached
}

/// What stands before the first statement.
fn on_the_way_in(world: &World) -> Vec<Error> {
    let (test, a) = (&world.test, &world.a);
    let mut reached = Vec::new();
    let key = || test.context_key().clone();
    reached.extend(Database::builder(format!("mysql://u:{SECRET}@host/db"), key()).build().err());
    reached.extend(Database::builder(test.login_url("nobody", SECRET), key()).build().err());
    reached.extend(Database::builder(test.admin_url(), key()).build().err());
    let unheard_of = ContextKey::new("unheard-of", SECRET.repeat(5).as_bytes()).unwrap();
    reached.extend(Database::builder(test.tenant_url(), unheard_of).build().err());
    reached.extend(ContextKey::new(SECRET.repeat(9), &[0; 32]).err());
    reached.extend(format!("k1:{SECRET}").parse::<ContextKey>().err());
    let mut plain = PgConnection::establish(&test.tenant_url()).unwrap();
    reached.extend(migrations::revert_last(&mut plain).err());

    let looks = AtomicU64::new(0);
    let start = Instant::now();
    let clock = Clock::from_fn(move || {
        start + Duration::from_secs(9 * looks.fetch_add(1, Ordering::SeqCst))
    });
    let db = test.builder().clock(clock).build().unwrap();
    reached.extend(db.tenant(&a.owner, &a.workspace).unwrap().kpis().find(&a.kpi).err());
    let crowded = Login::new(test, "crowded", "LOGIN CONNECTION LIMIT 0");
    reached.extend(Database::builder(crowded.url(), key()).build().err());
    reached
}

/// Two guards lock two KPIs in opposite order, each with one in hand before it asks for the other.
fn deadlock(world: &World) -> Error {
    let a = &world.a;
    let mut tenant = open(world, &world.db);
    let other = tenant.kpis().create(&secret_kpi()).unwrap().id;
    tenant.commit().unwrap();

    let mut admin = world.test.admin().unwrap();
    let mut first = open(world, &world.db);
    first.kpis().update(&a.kpi, &renamed()).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            let mut second = open(world, &world.db);
            second.kpis().update(&other, &renamed()).unwrap();
            second.kpis().update(&a.kpi, &renamed()).err()
        });
        until(
            &mut admin,
            "(SELECT count(*) FROM pg_stat_activity \
               WHERE datname = current_database() AND wait_event_type = 'Lock')",
        );
        let first_error = first.kpis().update(&other, &renamed()).err();
        drop(first);
        let mut errors: Vec<Error> =
            [first_error, second.join().unwrap()].into_iter().flatten().collect();
        assert_eq!(errors.len(), 1, "{errors:?}");
        errors.remove(0)
    })
}

fn cancelled(world: &World) -> Error {
    let mut admin = world.test.admin().unwrap();
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| {
            let mut tenant = open(world, &world.db);
            let sleep = format!("SELECT pg_sleep(3600), 'cancel {SECRET}'");
            Error::from(tenant.connection().batch_execute(&sleep).unwrap_err())
        });
        until(
            &mut admin,
            "(SELECT count(*) FILTER (WHERE pg_cancel_backend(pid)) FROM pg_stat_activity \
               WHERE datname = current_database() AND wait_event = 'PgSleep')",
        );
        sleeper.join().unwrap()
    })
}
