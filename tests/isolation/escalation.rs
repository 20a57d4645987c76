//! A member stays a member: no statement combines the workspace of one context with the role of
//! another, whatever it does to its context on the way.

#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

use crate::support::{World, create_workspace};
use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use sesari_db::repo::KpiFilter;
use sesari_db::{Database, TenantConnection};

#[derive(diesel::QueryableByName)]
struct Context {
    #[diesel(sql_type = Text)]
    context: String,
}

fn context_of(tenant: &mut TenantConnection) -> String {
    diesel::sql_query("SELECT current_setting('sesari.context') AS context")
        .get_result::<Context>(tenant.connection())
        .unwrap()
        .context
}

/// A member of `a` who owns a workspace of their own purges a KPI of `a`: the first row of the inner
/// relation is looked up under the one context, the second under the other. Returns what was purged.
///
/// On a pool of one, where both contexts are of the one backend.
fn purge_between_two_contexts(world: &World, db: &Database) -> usize {
    let (member, workspace) = (&world.a.member, &world.a.workspace);
    let own = create_workspace(&world.db, member, "of-the-member");
    let as_owner = {
        let mut tenant = db.tenant(member, &own).unwrap();
        context_of(&mut tenant)
    };

    let mut tenant = db.tenant(member, workspace).unwrap();
    let as_member = context_of(&mut tenant);
    let conn = tenant.connection();
    conn.batch_execute(
        "SET LOCAL enable_hashjoin=off; SET LOCAL enable_mergejoin=off; SET LOCAL enable_material=off; \
         SET LOCAL enable_memoize=off; SET LOCAL enable_bitmapscan=off; SET LOCAL enable_seqscan=off",
    )
    .unwrap();
    let purged = diesel::sql_query(format!(
        "DELETE FROM kpis k USING (SELECT id, set_config('sesari.context', \
             CASE WHEN id = 'nobody' THEN '{as_member}' ELSE '{as_owner}' END, true) AS s \
           FROM (VALUES ('nobody'), ('{kpi}')) AS v (id) OFFSET 0) AS x \
         WHERE k.id = x.id AND x.s IS NOT NULL",
        kpi = world.a.kpi
    ))
    .execute(conn)
    .unwrap_or(0);
    drop(tenant);
    purged
}

fn crowded_world() -> World {
    let world = World::new();
    // Without statistics the planner takes a workspace for a two-hundredth of the table: so many that
    // looking up each of two rows is cheaper than reading what it expects of them.
    let workspace = &world.a.workspace;
    let crowd = format!(
        "INSERT INTO public.kpis (workspace_id, name) \
         SELECT '{workspace}', 'KPI ' || n FROM generate_series(1, 20000) AS n; ANALYZE public.kpis"
    );
    world.test.admin().unwrap().batch_execute(&crowd).unwrap();
    let mut tenant = world.db.tenant(&world.a.member, workspace).unwrap();
    assert_eq!(tenant.kpis().count(&KpiFilter::default()).unwrap(), 20_001);
    drop(tenant);
    world
}

fn pool_of_one(world: &World) -> Database {
    world.test.builder().pool_size(1).build().unwrap()
}

#[test]
fn a_member_who_owns_another_workspace_cannot_borrow_its_role() {
    let world = crowded_world();
    assert_eq!(purge_between_two_contexts(&world, &pool_of_one(&world)), 0);
}

/// With two questions in one policy, as it must not be, the attack above succeeds. The look-up that reading
/// begins with would be one more question, and stop it; so it is left out here.
#[test]
fn a_policy_that_asked_twice_would_lend_the_role() {
    let world = crowded_world();
    let db = pool_of_one(&world);
    let asks_twice = "ALTER POLICY kpis_tenant_delete ON public.kpis \
        USING (workspace_id = (SELECT sesari.current_workspace_id()) \
               AND (SELECT sesari.current_member_role()) IN ('owner', 'admin')); \
        ALTER POLICY kpis_tenant_select ON public.kpis \
        USING (workspace_id = (SELECT sesari.current_workspace_id()))";
    world.test.admin().unwrap().batch_execute(asks_twice).unwrap();
    assert_eq!(purge_between_two_contexts(&world, &db), 1);
}
