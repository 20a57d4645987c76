//! One row for one key, whoever races for it.

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use sesari_db::Error;
use sesari_db::repo::{BillingEvent, NewUser, NewWorkspace};
use sesari_db::value::{AuthProvider, Plan, SubscriptionStatus, Timestamp};

use super::stage::{insert_slowly, race, world};
use crate::support::{hour, service, sign_up};

fn account(email: &str, id: &str) -> NewUser {
    let email = format!("{email}@example.com").parse().unwrap();
    NewUser::new(email, AuthProvider::Google, id.parse().unwrap())
}

#[test]
fn one_account_that_signs_in_many_times_at_once_is_one_user() {
    let world = world();
    for round in 0..60 {
        let name = format!("twin-{round}");
        let ids = race(6, &world.db, |_, db, barrier| {
            let mut service = db.service(&service()).unwrap();
            barrier.wait();
            let user = service.users().sign_in(&account(&name, &name))?;
            service.commit()?;
            Ok::<_, Error>(user.id)
        });
        let ids: Vec<_> = ids.into_iter().collect::<Result<_, _>>().unwrap();
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    }
}

/// As above, with every sign-in held between its look for the account and its insert: what chance
/// brings about once in many rounds happens in each.
#[test]
fn sign_ins_that_all_found_no_account_are_one_user() {
    let world = world();
    insert_slowly(&world, "users");
    for round in 0..20 {
        let name = format!("slow-{round}");
        let users = race(6, &world.db, |_, db, barrier| {
            let mut service = db.service(&service()).unwrap();
            barrier.wait();
            let user = service.users().sign_in(&account(&name, &name))?;
            service.commit()?;
            Ok::<_, Error>(user.id)
        });
        let ids: Vec<_> = users.into_iter().collect::<Result<_, _>>().unwrap();
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    }
}

#[test]
fn of_two_accounts_with_one_address_one_gets_it() {
    let world = world();
    for round in 0..15 {
        let results = race(3, &world.db, |i, db, barrier| {
            let mut service = db.service(&service()).unwrap();
            barrier.wait();
            let new = account(&format!("shared-{round}"), &format!("account-{round}-{i}"));
            service.users().sign_in(&new)?;
            service.commit()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        let conflicts = results.iter().filter(
            |r| matches!(r, Err(Error::Conflict { constraint }) if constraint == "users_email_key"),
        );
        assert_eq!(conflicts.count(), 2, "{results:?}");
    }
}

#[test]
fn of_many_workspaces_with_one_slug_one_is_made() {
    let world = world();
    let users = [&world.a.owner, &world.a.member, &world.b.owner, &world.stranger];
    for round in 0..15 {
        let results = race(4, &world.db, |i, db, barrier| {
            let mut user = db.user(users[i]).unwrap();
            let slug = format!("raced-{round}").parse().unwrap();
            barrier.wait();
            user.my_workspaces().create(&NewWorkspace::new("Raced".parse().unwrap(), slug))?;
            user.commit()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        let conflicts = results.iter().filter(|result| {
            matches!(result, Err(Error::Conflict { constraint }) if constraint == "workspaces_slug_key")
        });
        assert_eq!(conflicts.count(), 3, "{results:?}");
    }
}

#[test]
fn the_newest_billing_event_wins_whoever_comes_first() {
    let world = world();
    let plans = [Plan::Free, Plan::Starter, Plan::Pro];
    for round in 0..15 {
        let user = sign_up(&world.db, &format!("payer-{round}"));
        let results = race(6, &world.db, |i, db, barrier| {
            let event = BillingEvent {
                user_id: user.clone(),
                status: SubscriptionStatus::Active,
                plan_type: plans[i % 3].clone(),
                current_period_end: None,
                cancel_at_period_end: false,
                occurred_at: Timestamp::new(hour(i64::try_from(i).unwrap())).unwrap(),
                sequence: None,
            };
            let mut service = db.service(&service()).unwrap();
            barrier.wait();
            let _ = service.subscriptions().apply(&event)?;
            service.commit()
        });
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        let mut guard = world.db.service(&service()).unwrap();
        let stored = guard.subscriptions().find_by_user(&user).unwrap().unwrap();
        assert_eq!((stored.plan_type, stored.last_event_at.get()), (Plan::Pro, hour(5)));
    }
}

/// Whoever signs in waits for rows alone: a lock that any SQL can take is not in the way.
#[test]
fn nobody_holds_up_a_sign_in_by_a_lock_of_their_own() {
    let world = world();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('google victim', 0)), \
                pg_advisory_xact_lock(hashtext('google victim'))";
    tenant.connection().batch_execute(lock).unwrap();
    let impatient = world.test.builder().lock_timeout(std::time::Duration::from_millis(50));
    let impatient = impatient.build().unwrap();
    let mut scoped = impatient.service(&service()).unwrap();
    scoped.users().sign_in(&account("victim", "victim")).unwrap();
    scoped.commit().unwrap();
}

#[test]
fn an_address_or_id_of_somebody_else_is_a_conflict_that_names_it() {
    let world = world();
    let mut scoped = world.db.service(&service()).unwrap();
    let first = scoped.users().sign_in(&account("taken", "first")).unwrap();
    let refused = [
        (account("taken", "second"), "users_email_key"),
        (NewUser { id: first.id.clone(), ..account("free", "second") }, "users_pkey"),
    ];
    for (new, key) in refused {
        let refused = scoped.transaction(|scoped| scoped.users().sign_in(&new)).unwrap_err();
        assert!(
            matches!(&refused, Error::Conflict { constraint } if constraint == key),
            "{refused:?}"
        );
    }
    // An id is kept, and an address that moves to another account as well.
    let again = NewUser { id: "another".parse().unwrap(), ..account("moved", "first") };
    let again = scoped.users().sign_in(&again).unwrap();
    assert_eq!((again.id, again.email.as_str()), (first.id, "moved@example.com"));
}

/// As an import or a service's own SQL does it: what is held until the commit does not grow with the rows.
#[test]
fn many_accounts_in_one_statement_hold_no_lock_each() {
    let world = world();
    let insert = |rows: u32| {
        let mut scoped = world.db.service(&service()).unwrap();
        let sql = format!(
            "INSERT INTO users (id, email, provider, provider_id) \
             SELECT 'u' || n, 'u' || n || '@example.com', 'google', 'u' || n \
               FROM generate_series(1, {rows}) AS n ON CONFLICT DO NOTHING"
        );
        scoped.connection().batch_execute(&sql).unwrap();
        let held = "(SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid())";
        let held: i64 = diesel::select(diesel::dsl::sql::<diesel::sql_types::BigInt>(held))
            .get_result(scoped.connection())
            .unwrap();
        scoped.commit().unwrap();
        held
    };
    assert_eq!(insert(1), insert(20_000));
}
