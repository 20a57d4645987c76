//! What a look-up visits is the asker's own: a caller can count it, whatever the answer hides.

use diesel::connection::SimpleConnection;
use sesari_db::PgConnection;
use sesari_db::id::{UserId, WorkspaceId};
use sesari_db::{Error, UserConnection};

use super::tools::{parse, raw};
use crate::support::logins::lines;
use crate::support::{World, service};

/// How many rows and index entries this transaction has visited, by table and index.
fn counters(conn: &mut PgConnection) -> Vec<String> {
    let query =
        "SELECT relname || ' ' || pg_stat_get_xact_tuples_returned(oid) AS line FROM pg_class
                  WHERE relnamespace IN ('public'::regnamespace, 'sesari'::regnamespace)
                    AND pg_stat_get_xact_tuples_returned(oid) > 0 ORDER BY 1";
    lines(conn, query)
}

/// What a user's scope visits by this, in a transaction of its own.
fn visits(world: &World, ask: impl FnOnce(&mut UserConnection)) -> Vec<String> {
    // On a connection that has counted nothing yet.
    let db = world.test.builder().pool_size(1).build().unwrap();
    let mut user = db.user(&world.b.member).unwrap();
    ask(&mut user);
    counters(user.connection())
}

/// The same where the caller has made all plans equally dear, so that any index may be taken.
fn visits_for_nothing(world: &World, ask: impl FnOnce(&mut UserConnection)) -> Vec<String> {
    visits(world, |user| {
        let free = "SET LOCAL cpu_operator_cost = 0; SET LOCAL cpu_tuple_cost = 0; \
                    SET LOCAL cpu_index_tuple_cost = 0; SET LOCAL random_page_cost = 0; \
                    SET LOCAL seq_page_cost = 0; SET LOCAL enable_bitmapscan = off";
        user.connection().batch_execute(free).unwrap();
        ask(user);
    })
}

/// What a member of `b` visits by asking for the profiles of these users.
fn profiles_visit(world: &World, of: &UserId) -> Vec<String> {
    let db = world.test.builder().pool_size(1).build().unwrap();
    let mut tenant = db.tenant(&world.b.member, &world.b.workspace).unwrap();
    let found = raw(&mut tenant, &format!("SELECT FROM sesari.member_profiles('{{{of}}}')"));
    assert_eq!(found.unwrap(), 0);
    counters(tenant.connection())
}

#[test]
fn a_workspace_of_others_costs_what_none_does() {
    let world = World::new();
    let ids = [world.a.workspace.clone(), WorkspaceId::generate()];
    let [others, none] = ids
        .each_ref()
        .map(|id| visits(&world, |user| assert_eq!(user.my_workspaces().find(id).unwrap(), None)));
    assert_eq!(others, none);
    let slugs = [world.a.slug.as_str(), "no-such-slug"];
    let [others, none] = slugs.map(|slug| {
        visits(&world, |user| {
            assert_eq!(user.my_workspaces().find_by_slug(&parse(slug)).unwrap(), None);
        })
    });
    assert_eq!(others, none);
    let for_nothing = || {
        ids.each_ref().map(|id| {
            visits_for_nothing(&world, |user| {
                assert_eq!(user.my_workspaces().find(id).unwrap(), None);
            })
        })
    };
    let [others, nones] = for_nothing();
    assert_eq!(others, nones);
    // Of three tables, one's own row.
    let one = |line: &str| line.ends_with(" 1");
    assert!(none.iter().filter(|line| one(line)).count() >= 3, "{none:?}");
    assert!(none.iter().all(|line| one(line) || line.starts_with("context_keys")), "{none:?}");
}

#[test]
fn a_stranger_costs_what_nobody_does() {
    let world = World::new();
    let strangers = [world.a.member.clone(), UserId::generate()];
    let visited = || strangers.each_ref().map(|id| profiles_visit(&world, id));
    let [stranger, nobody] = visited();
    assert_eq!(stranger, nobody);
    // And it would show.
    world.arrange(
        "CREATE OR REPLACE FUNCTION sesari.member_profiles(wanted_ids text[])
         RETURNS TABLE (user_id text, email text, name text, image text)
         LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
         SET enable_seqscan = off AS $$
         BEGIN
             RETURN QUERY SELECT u.id, u.email, u.name, u.image FROM public.users AS u
               WHERE u.id = ANY (wanted_ids) AND EXISTS (SELECT FROM public.workspace_users AS m
                 WHERE m.workspace_id = sesari.current_workspace_id() AND m.user_id = u.id);
         END $$",
    );
    let [stranger, nobody] = spoilt_visits(&world, &strangers);
    assert_ne!(stranger, nobody);
}

/// As above, where the check at start-up would refuse the schema.
fn spoilt_visits(world: &World, of: &[UserId; 2]) -> [Vec<String>; 2] {
    of.each_ref().map(|id| {
        let mut tenant = world.db.tenant(&world.b.member, &world.b.workspace).unwrap();
        let before = counters(tenant.connection());
        raw(&mut tenant, &format!("SELECT FROM sesari.member_profiles('{{{id}}}')")).unwrap();
        let mut after = counters(tenant.connection());
        after.retain(|line| !before.contains(line));
        after.into_iter().filter(|line| line.starts_with("users")).collect()
    })
}

#[test]
fn no_condition_of_a_tenant_is_asked_of_users_or_of_what_is_looked_up_by_users() {
    let world = World::shared();
    for table in
        ["public.users", "public.subscriptions", "sesari.user_workspaces", "sesari.workspace_slugs"]
    {
        let sql = format!("SELECT FROM {table}");
        let mut tenant = world.as_owner(&world.a);
        assert!(matches!(raw(&mut tenant, &sql), Err(Error::Denied)), "{table}");
        let mut guard = world.db.tenant(service(), &world.a.workspace).unwrap();
        assert!(matches!(raw(&mut guard, &sql), Err(Error::Denied)), "{table}");
    }
}

/// What the planner expects of a condition, in rows.
fn expected_rows(world: &World, condition: &str) -> String {
    #[derive(diesel::QueryableByName)]
    struct Plan {
        #[diesel(sql_type = diesel::sql_types::Text, column_name = "QUERY PLAN")]
        plan: String,
    }

    let mut tenant = world.as_owner(&world.a);
    let explain = format!("EXPLAIN (FORMAT YAML) SELECT FROM kpis WHERE {condition}");
    let plan: Plan =
        diesel::RunQueryDsl::get_result(diesel::sql_query(explain), tenant.connection()).unwrap();
    let rows = plan.plan.lines().find(|line| line.contains("Plan Rows"));
    rows.unwrap().to_owned()
}

#[test]
fn estimates_tell_nothing_of_the_values_of_others() {
    let world = World::new();
    world.arrange(&format!(
        "INSERT INTO kpis (workspace_id, id, name, category)
         SELECT '{}', 'x' || n, 'Secret ' || n, 'secret' FROM generate_series(1, 5000) AS n;
         ANALYZE kpis",
        world.b.workspace
    ));
    let told = |world: &World| {
        expected_rows(world, "category = 'secret'") != expected_rows(world, "category = 'other'")
            || expected_rows(world, "name > 'Secret'") != expected_rows(world, "name > 'T'")
    };
    assert!(!told(&world));
    // And it would show.
    world.arrange("ALTER TABLE kpis ALTER COLUMN category SET STATISTICS -1; ANALYZE kpis");
    assert!(told(&world));
}
