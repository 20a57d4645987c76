//! Whose a key is: by the crate's own statements, and by SQL, where row-level security is all there is.

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use sesari_db::error::Result;
use sesari_db::id::UserId;
use sesari_db::idempotency::{IdempotencyError, IdempotencyKey};
use sesari_db::tenancy::Actor;
use sesari_db::value::Role;
use sesari_db::{Error, TenantConnection};

use super::{ask, is_fresh, key, made, make_kpi, world};
use crate::support::logins;
use crate::support::{World, add_member, service};

fn tenant(world: &World, actor: impl Into<Actor>) -> TenantConnection {
    world.db.tenant(actor, &world.a.workspace).unwrap()
}

#[test]
fn a_key_of_somebody_else_is_not_seen_and_not_in_the_way() {
    let world = world();
    let key = key();
    ask(&world, &key).unwrap();
    let ours = &world.a.workspace;
    let others: [(Actor, _); 4] = [
        ((&world.a.admin).into(), ours),
        ((&world.a.member).into(), ours),
        ((&service()).into(), ours),
        ((&world.b.owner).into(), &world.b.workspace),
    ];
    for (actor, workspace) in others {
        let mut tenant = world.db.tenant(actor.clone(), workspace).unwrap();
        assert!(is_fresh(&mut tenant, &key).unwrap(), "{actor:?}");
        tenant.commit().unwrap();
        let mut tenant = world.db.tenant(actor.clone(), workspace).unwrap();
        assert!(!is_fresh(&mut tenant, &key).unwrap(), "{actor:?}");
    }
    assert_eq!(made(&world), 4);
}

#[test]
fn a_service_and_a_user_of_one_name_are_two() {
    let world = world();
    let key = key();
    ask(&world, &key).unwrap();
    let namesake: sesari_db::tenancy::ServiceName = world.a.owner.as_str().parse().unwrap();
    let mut tenant = tenant(&world, &namesake);
    assert!(is_fresh(&mut tenant, &key).unwrap());
}

#[test]
fn who_is_in_two_workspaces_has_keys_in_each() {
    let world = world();
    let member = sesari_db::value::Role::Member;
    add_member(&world.db, &world.b.workspace, &world.a.owner, member);
    let key = key();
    ask(&world, &key).unwrap();
    let mut other = world.db.tenant(&world.a.owner, &world.b.workspace).unwrap();
    assert!(is_fresh(&mut other, &key).unwrap());
}

fn remove(world: &World, user: &UserId) {
    let mut owner = tenant(world, &world.a.owner);
    owner.members().remove(user).unwrap();
    owner.commit().unwrap();
}

#[test]
fn who_is_no_member_any_more_gets_no_answer() {
    let world = world();
    let member = &world.a.member;
    let key = key();
    let mut guard = tenant(&world, member);
    guard.once("make a kpi", &key, make_kpi).unwrap();
    guard.commit().unwrap();
    remove(&world, member);
    for actor in [member, &world.stranger, &world.b.owner] {
        for key in [key.clone(), super::key()] {
            let refused = tenant(&world, actor).once("make a kpi", &key, make_kpi);
            assert!(matches!(refused, Err(Error::Denied)), "{refused:?}");
        }
    }
    assert_eq!(rows(&mut tenant(&world, member)), [""; 0]);
}

/// The work itself would no more be allowed; work that asks nothing of the database is.
#[test]
fn who_is_removed_meanwhile_leaves_no_answer() {
    let world = world();
    let key = key();
    let mut guard = tenant(&world, &world.a.member);
    let gone: Result<()> = guard.once("nothing", &key, |_| {
        remove(&world, &world.a.member);
        Ok(())
    });
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
}

/// Keys that a session sees.
fn rows(tenant: &mut TenantConnection) -> Vec<String> {
    logins::lines(
        tenant.connection(),
        "SELECT actor_id || ' ' || key AS line FROM public.idempotency_keys ORDER BY 1",
    )
}

fn run(tenant: &mut TenantConnection, sql: &str) -> Result<usize> {
    tenant.transaction(|tenant| Ok(diesel::sql_query(sql).execute(tenant.connection())?))
}

fn insert(world: &World, kind: &str, id: &str, key: &IdempotencyKey) -> String {
    format!(
        "INSERT INTO public.idempotency_keys (workspace_id, actor_kind, actor_id, key, operation)
         VALUES ('{}', '{kind}', '{id}', '{key}', 'x')",
        world.a.workspace
    )
}

#[test]
fn sql_reaches_ones_own_keys_and_nobody_elses() {
    let world = world();
    let (first, second) = (key(), key());
    ask(&world, &first).unwrap();
    let (owner, admin) = (&world.a.owner, &world.a.admin);
    let mut guard = tenant(&world, admin);
    guard.once("make a kpi", &first, make_kpi).unwrap();
    guard.commit().unwrap();

    let mut guard = tenant(&world, admin);
    assert_eq!(rows(&mut guard), [format!("{admin} {first}")]);
    // Not read, not even by a condition; not written; not made in another's name.
    let any = "UPDATE public.idempotency_keys SET result = 'null'";
    let theirs = format!("{any} WHERE actor_id = '{owner}'");
    assert_eq!(run(&mut guard, &theirs).unwrap(), 0);
    for (kind, id) in [("user", owner.as_str()), ("service", "sync"), ("service", admin.as_str())] {
        let forged = run(&mut guard, &insert(&world, kind, id, &second));
        assert!(matches!(forged, Err(Error::Denied)), "{forged:?}");
    }
    // Nor is it told that another has the key.
    run(&mut guard, &insert(&world, "user", admin.as_str(), &second)).unwrap();
    assert_eq!(
        run(&mut guard, any).unwrap_err().to_string(),
        "invalid id: columns that identify a row cannot be changed"
    );
    assert_eq!(run(&mut guard, &format!("{any} WHERE result IS NULL")).unwrap(), 1);
    // What is not granted to anybody.
    for sql in [
        "DELETE FROM public.idempotency_keys",
        "UPDATE public.idempotency_keys SET key = 'x'",
        "UPDATE public.idempotency_keys SET actor_id = 'x'",
        "SELECT sesari.prune_idempotency_keys(now(), '', 10)",
    ] {
        let refused = run(&mut guard, sql);
        assert!(matches!(refused, Err(Error::Denied)), "{sql}: {refused:?}");
    }
}

/// The answers of a service in `a` that a member of `a` reads who also holds a context of that service
/// in another workspace: the first row of the inner relation is looked up under the one context, the
/// second under the other.
///
/// On a pool of one, where both contexts are of the one backend.
fn read_between_two_contexts(spoil: &str) -> Vec<String> {
    let test = sesari_db::testing::TestDatabase::new().unwrap();
    let db = test.builder().pool_size(1).build().unwrap();
    let world = World::on(test, db);
    let key = key();
    let mut guard = tenant(&world, service());
    guard.once("make a kpi", &key, make_kpi).unwrap();
    guard.commit().unwrap();
    world.test.admin().unwrap().batch_execute(spoil).unwrap();

    let context = "current_setting('sesari.context')";
    let as_service = {
        let mut elsewhere = world.db.tenant(service(), &world.b.workspace).unwrap();
        logins::value(elsewhere.connection(), context)
    };
    let mut guard = tenant(&world, &world.a.member);
    let conn = guard.connection();
    let as_member = logins::value(conn, context);
    conn.batch_execute(
        "SET LOCAL enable_hashjoin=off; SET LOCAL enable_mergejoin=off; SET LOCAL enable_material=off; \
         SET LOCAL enable_memoize=off; SET LOCAL enable_bitmapscan=off; SET LOCAL enable_seqscan=off",
    )
    .unwrap();
    logins::lines(
        conn,
        &format!(
            "SELECT k.result AS line
               FROM (SELECT key, set_config('sesari.context', CASE key WHEN 'nobody' THEN '{as_member}'
                                                              ELSE '{as_service}' END, true) AS s
                       FROM (VALUES ('nobody'), ('{key}')) AS v (key) OFFSET 0) AS x
              CROSS JOIN LATERAL (SELECT result FROM public.idempotency_keys AS k
                                   WHERE k.key = x.key AND x.s IS NOT NULL OFFSET 0) AS k"
        ),
    )
}

#[test]
fn no_statement_takes_the_workspace_of_one_context_and_the_actor_of_another() {
    assert_eq!(read_between_two_contexts("SELECT 1"), [""; 0]);
    let asking_twice = "ALTER POLICY idempotency_keys_tenant_select ON public.idempotency_keys USING (
        workspace_id = (SELECT sesari.current_workspace_id())
        AND concat(actor_kind, actor_id) = (SELECT concat(a.actor_kind, a.actor_id) FROM sesari.current_actor() AS a))";
    assert_eq!(read_between_two_contexts(asking_twice).len(), 1);
}

/// A test that cannot fail guards nothing.
#[test]
fn each_policy_is_what_holds() {
    let asked = "(workspace_id = (SELECT sesari.current_workspace_id()))";
    for (verb, clauses) in [
        ("select", format!("USING {asked}")),
        ("insert", format!("WITH CHECK {asked}")),
        ("update", format!("USING {asked} WITH CHECK {asked}")),
    ] {
        let world = world();
        ask(&world, &key()).unwrap();
        let spoil = format!(
            "ALTER POLICY idempotency_keys_tenant_{verb} ON public.idempotency_keys {clauses};
             -- An update sees what reading does.
             {}",
            if verb == "update" {
                format!(
                    "ALTER POLICY idempotency_keys_tenant_select ON public.idempotency_keys USING {asked}"
                )
            } else {
                String::new()
            }
        );
        world.test.admin().unwrap().batch_execute(&spoil).unwrap();
        let owner = world.a.owner.as_str();
        let mut guard = tenant(&world, &world.a.admin);
        let leaked = match verb {
            "select" => rows(&mut guard).len() == 1,
            "insert" => run(&mut guard, &insert(&world, "user", owner, &key())).is_ok(),
            // An update that changes nothing passes the trigger.
            _ => {
                let sql = "UPDATE public.idempotency_keys SET result = result";
                run(&mut guard, sql).unwrap() == 1
            }
        };
        assert!(leaked, "{verb}");
    }
}

fn change_role(world: &World, user: &UserId, role: Role) {
    let mut owner = tenant(world, &world.a.owner);
    owner.members().change_role(user, role).unwrap();
    owner.commit().unwrap();
}

fn asked(world: &World, user: &UserId, key: &IdempotencyKey) -> Result<sesari_db::id::KpiId> {
    let mut guard = tenant(world, user);
    let answer = guard.once("make a kpi", key, make_kpi)?;
    guard.commit()?;
    Ok(answer)
}

fn assert_other_membership<T: std::fmt::Debug>(answer: &Result<T>) {
    assert!(
        matches!(answer, Err(Error::Idempotency(IdempotencyError::OtherMembership))),
        "{answer:?}"
    );
}

#[test]
fn an_answer_is_not_given_after_a_promotion_or_a_demotion_and_is_with_the_role_of_then() {
    let world = world();
    for (user, then, later) in
        [(&world.a.member, Role::Member, Role::Admin), (&world.a.admin, Role::Admin, Role::Member)]
    {
        let key = key();
        let answer = asked(&world, user, &key).unwrap();
        let before = made(&world);
        change_role(&world, user, later);
        assert_other_membership(&asked(&world, user, &key));
        assert_eq!(rows(&mut tenant(&world, user)), [""; 0]);
        change_role(&world, user, then);
        assert_eq!(asked(&world, user, &key).unwrap(), answer);
        assert_eq!(made(&world), before, "nothing is done twice");
    }
}

#[test]
fn an_answer_is_not_given_to_whoever_was_removed_and_added_again() {
    let world = world();
    let (member, key) = (&world.a.member, key());
    asked(&world, member, &key).unwrap();
    remove(&world, member);
    let mut service = world.db.service(&crate::support::service()).unwrap();
    service.memberships().add(&world.a.workspace, member, Role::Member).unwrap();
    service.commit().unwrap();
    assert_other_membership(&asked(&world, member, &key));
    assert_eq!(rows(&mut tenant(&world, member)), [""; 0]);
    assert_eq!(made(&world), 1);
    asked(&world, member, &super::key()).unwrap();
}

#[test]
fn who_is_demoted_meanwhile_leaves_no_answer_and_no_work() {
    let world = world();
    let (admin, key) = (&world.a.admin, key());
    let mut guard = tenant(&world, admin);
    let gone = guard.once("make a kpi", &key, |tenant| {
        let kpi = make_kpi(tenant)?;
        change_role(&world, admin, Role::Member);
        Ok::<_, Error>(kpi)
    });
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    guard.commit().unwrap();
    assert_eq!(made(&world), 0);
    asked(&world, admin, &key).unwrap();
    assert_eq!(made(&world), 1);
}
