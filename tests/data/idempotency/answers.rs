//! What is answered, and what is refused.

use std::collections::HashMap;

use diesel::connection::SimpleConnection;
use sesari_db::Error;
use sesari_db::error::Result;
use sesari_db::idempotency::{IdempotencyError, IdempotencyKey, MAX_RESULT};
use sesari_db::testing::TestDatabase;

use super::{ask, is_fresh, key, made, make_kpi, world};
use crate::support::World;
use crate::support::logins;

#[test]
fn who_asks_again_gets_the_first_answer_and_nothing_is_done_again() {
    let world = world();
    let key = key();
    let first = ask(&world, &key).unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&world, &key).unwrap(), first);
    }
    assert_eq!(made(&world), 1);
    assert_ne!(ask(&world, &super::key()).unwrap(), first);
    assert_eq!(made(&world), 2);
}

#[test]
fn an_answer_is_there_for_the_rest_of_its_own_transaction() {
    let world = world();
    let key = key();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let first = tenant.once("make a kpi", &key, make_kpi).unwrap();
    assert_eq!(tenant.once("make a kpi", &key, make_kpi).unwrap(), first);
    tenant.commit().unwrap();
    assert_eq!(ask(&world, &key).unwrap(), first);
    assert_eq!(made(&world), 1);
}

#[test]
fn an_answer_is_not_kept_without_its_work() {
    let world = world();
    let key = key();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    tenant.once("make a kpi", &key, make_kpi).unwrap();
    drop(tenant);
    assert_eq!(made(&world), 0);
    ask(&world, &key).unwrap();
    assert_eq!(made(&world), 1);
}

#[test]
fn work_that_failed_is_undone_and_frees_its_key_even_if_the_guard_goes_on() {
    let world = world();
    let key = key();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let failed: Result<()> = tenant.once("make a kpi", &key, |tenant| {
        make_kpi(tenant)?;
        Err(Error::LastOwner)
    });
    assert!(matches!(failed, Err(Error::LastOwner)), "{failed:?}");
    // An error of the server, which leaves the savepoint beyond use.
    let failed: Result<()> = tenant.once("make a kpi", &key, |tenant| {
        tenant.connection().batch_execute("SELECT 1 / 0").map_err(Error::from)
    });
    assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
    tenant.commit().unwrap();
    assert_eq!(made(&world), 0);
    ask(&world, &key).unwrap();
    assert_eq!(made(&world), 1);
}

#[test]
fn a_key_stands_for_one_operation_and_one_request() {
    let world = world();
    let plain: IdempotencyKey = "plain".parse().unwrap();
    let bound = "bound".parse::<IdempotencyKey>().unwrap().for_request(b"{\"name\":\"Once\"}");
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let first = tenant.once("make a kpi", &bound, make_kpi).unwrap();
    tenant.once("make a kpi", &plain, make_kpi).unwrap();
    for (operation, other) in [
        ("make another", bound.clone()),
        ("make a kpi", bound.clone().for_request(b"{\"name\":\"Twice\"}")),
        ("make a kpi", "bound".parse().unwrap()),
        ("make a kpi", plain.clone().for_request(b"")),
        ("make another", plain),
    ] {
        let refused = tenant.once(operation, &other, make_kpi);
        assert!(
            matches!(refused, Err(Error::Idempotency(IdempotencyError::Reused))),
            "{operation} {other:?}: {refused:?}"
        );
    }
    assert_eq!(tenant.once("make a kpi", &bound, make_kpi).unwrap(), first);
    tenant.commit().unwrap();
    assert_eq!(made(&world), 2);
}

#[test]
fn a_key_cannot_be_used_inside_of_its_own_work() {
    let world = world();
    let key = key();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let nested =
        tenant.once("make a kpi", &key, |tenant| tenant.once("make a kpi", &key, make_kpi));
    assert!(matches!(nested, Err(Error::Idempotency(IdempotencyError::InUse))), "{nested:?}");
    // Another key is another matter.
    let inner = super::key();
    tenant.once("outer", &key, |tenant| tenant.once("make a kpi", &inner, make_kpi)).unwrap();
    tenant.commit().unwrap();
    assert_eq!(made(&world), 1);
}

#[test]
fn an_answer_that_cannot_be_given_again_undoes_the_work() {
    let world = world();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let key = key();
    let longest = "x".repeat(MAX_RESULT - 2);
    let too_long = tenant.once("make a kpi", &key, |tenant| {
        make_kpi(tenant)?;
        Ok::<_, Error>(format!("{longest}x"))
    });
    assert!(
        matches!(&too_long, Err(Error::Invalid(invalid)) if invalid.field() == "result"),
        "{too_long:?}"
    );
    let no_json = tenant.once("make a kpi", &key, |tenant| {
        make_kpi(tenant)?;
        Ok::<_, Error>(HashMap::from([((1, 2), 3)]))
    });
    assert!(matches!(no_json, Err(Error::Invalid(_))), "{no_json:?}");
    // JSON has no NaN, and null is no number.
    let one_way = tenant.once("make a kpi", &key, |tenant| {
        make_kpi(tenant)?;
        Ok::<_, Error>(f64::NAN)
    });
    let unreadable = Error::Idempotency(IdempotencyError::Unreadable).to_string();
    assert_eq!(one_way.unwrap_err().to_string(), unreadable);
    // The longest that fits, with its two quotes.
    for _ in 0..2 {
        let answer = tenant.once("make a kpi", &key, |_| Ok::<_, Error>(longest.clone()));
        assert_eq!(answer.unwrap(), longest);
    }
    // What was stored as a text is no list.
    let other = tenant.once("make a kpi", &key, |_| Ok::<_, Error>(vec![1]));
    assert_eq!(other.unwrap_err().to_string(), unreadable);
    tenant.commit().unwrap();
    assert_eq!(made(&world), 0);
}

#[test]
fn an_operations_name_is_one_line() {
    let world = world();
    for bad in ["", " make", "make\na kpi", &"x".repeat(201)] {
        let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        let refused = tenant.once(bad, &key(), make_kpi);
        assert!(
            matches!(&refused, Err(Error::Invalid(invalid)) if invalid.field() == "operation"),
            "{bad:?}: {refused:?}"
        );
    }
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    tenant.once(&"é".repeat(200), &key(), make_kpi).unwrap();
}

#[test]
fn a_read_only_guard_does_nothing_once() {
    let world = world();
    let key = key();
    ask(&world, &key).unwrap();
    for key in [key, super::key()] {
        let mut tenant = world.db.tenant_read_only(&world.a.owner, &world.a.workspace).unwrap();
        let refused = tenant.once("make a kpi", &key, make_kpi);
        assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
    }
}

/// Each statement is prepared once, and none is sent besides.
#[test]
fn asking_costs_the_claim_and_the_answer_and_their_statements_are_kept() {
    let test = TestDatabase::new().unwrap();
    let db = test.builder().pool_size(1).build().unwrap();
    let world = World::on(test, db);
    for _ in 0..3 {
        let again = key();
        ask(&world, &again).unwrap();
        ask(&world, &again).unwrap();
    }
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let prepared = logins::lines(
        tenant.connection(),
        "SELECT statement AS line FROM pg_prepared_statements
          WHERE statement LIKE '%idempotency_keys%' AND NOT statement LIKE '%pg_prepared%' ORDER BY 1",
    );
    assert_eq!(prepared.len(), 2, "{prepared:#?}");
    assert!(
        prepared[0].starts_with("INSERT") && prepared[1].starts_with("UPDATE"),
        "{prepared:#?}"
    );
}

/// Where no statement is prepared by name.
#[test]
fn it_works_behind_a_transaction_pooler() {
    let test = TestDatabase::new().unwrap();
    let db = test.builder().behind_transaction_pooler().build().unwrap();
    let world = World::on(test, db);
    let key = key();
    let first = ask(&world, &key).unwrap();
    assert_eq!(ask(&world, &key).unwrap(), first);
    assert_eq!(made(&world), 1);
}

#[test]
fn a_workspace_takes_its_keys_with_it() {
    let world = world();
    ask(&world, &key()).unwrap();
    let mut tenant = world.db.tenant(&world.b.owner, &world.b.workspace).unwrap();
    assert!(is_fresh(&mut tenant, &key()).unwrap());
    tenant.commit().unwrap();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    tenant.workspace().delete().unwrap();
    tenant.commit().unwrap();
    let mut admin = world.test.admin().unwrap();
    assert_eq!(
        logins::lines(&mut admin, "SELECT workspace_id AS line FROM public.idempotency_keys"),
        [world.b.workspace.as_str()]
    );
}
