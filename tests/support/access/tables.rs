//! What is tried on each table.
//!
//! In the statements, `{ws}`, `{kpi}`, `{goal}`, `{owner}` and `{member}` are those of the workspace
//! at which the statement aims, `{there}` and `{their_user}` those of the one it moves a row to, and
//! `{rows}` is the condition for the rows aimed at.

pub struct Table {
    pub name: &'static str,
    /// Which rows are the workspace's own. All others are somebody else's.
    pub own: &'static str,
    pub key: &'static str,
    pub insert: &'static str,
    /// What an update sets; reads no column, so that no policy for reading stands in its way.
    pub update: &'static str,
    /// What an update sets to give a row to another workspace.
    pub give: &'static str,
    /// Rights of their own within the table.
    pub extras: &'static [Extra],
}

pub struct Extra {
    pub name: &'static str,
    pub sql: &'static str,
}

const BY_WORKSPACE: &str = "workspace_id = '{ws}'";

pub const TABLES: &[Table] = &[
    Table {
        name: "audit_log",
        own: BY_WORKSPACE,
        key: "id",
        insert: "(id, workspace_id, sequence, occurred_at, actor_kind, actor_id, scope, action, table_name,
                  row_id, changes, transaction_id, previous_hash, hash)
                 VALUES ('x1', '{ws}', 99, now(), 'user', '{owner}', 'tenant', 'kpi.purge', 'kpis',
                         'x1', '{}', 1, '', '')",
        update: "actor_id = 'nobody'",
        give: "workspace_id = '{there}'",
        extras: &[],
    },
    Table {
        name: "goal_kpis",
        own: BY_WORKSPACE,
        key: "id",
        insert: "(workspace_id, goal_id, kpi_id) VALUES ('{ws}', '{goal}', 'spare')",
        update: "weight = 2",
        give: "workspace_id = '{there}'",
        extras: &[],
    },
    Table {
        name: "goals",
        own: BY_WORKSPACE,
        key: "id",
        insert: "(workspace_id, title) VALUES ('{ws}', 'New')",
        update: "title = 'Changed'",
        give: "workspace_id = '{there}'",
        extras: &[Extra {
            name: "soft delete",
            sql: "UPDATE public.goals SET deleted_at = now() WHERE {rows}",
        }],
    },
    Table {
        name: "idempotency_keys",
        own: BY_WORKSPACE,
        key: "concat_ws(' ', actor_id, key)",
        insert: "(workspace_id, actor_kind, actor_id, key, operation)
                 VALUES ('{ws}', 'user', '{member}', 'new', 'work')",
        update: "result = '1'",
        give: "workspace_id = '{there}'",
        extras: &[
            Extra {
                name: "in one's own name",
                sql: "INSERT INTO public.idempotency_keys (workspace_id, actor_kind, actor_id, key, operation)
                      SELECT '{ws}', a.actor_kind, a.actor_id, 'own', 'work' FROM sesari.current_actor() AS a
                       WHERE a.actor_id IS NOT NULL",
            },
            Extra {
                name: "under a taken key",
                sql: "INSERT INTO public.idempotency_keys AS k (workspace_id, actor_kind, actor_id, key, operation)
                      VALUES ('{ws}', 'user', '{owner}', 'taken', 'work')
                      ON CONFLICT (workspace_id, actor_kind, actor_id, key) DO UPDATE SET result = k.result",
            },
        ],
    },
    Table {
        name: "integrations",
        own: BY_WORKSPACE,
        key: "id",
        insert: "(workspace_id, provider, credentials)
                 VALUES ('{ws}', 'sheets', 'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA')",
        update: "is_active = false",
        give: "workspace_id = '{there}'",
        extras: &[
            Extra {
                name: "credentials",
                sql: "SELECT credentials FROM public.integrations WHERE {rows}",
            },
            Extra {
                name: "upkeep",
                sql: "UPDATE public.integrations SET sync_status = 'success', last_sync_at = now() WHERE {rows}",
            },
            Extra {
                name: "leases",
                sql: "SELECT s.next_sync_at, s.leased_until
                        FROM (SELECT id FROM public.integrations WHERE {rows}) AS i,
                             sesari.sync_schedule(i.id) AS s",
            },
            Extra {
                name: "open",
                sql: "SELECT r.credentials
                        FROM (SELECT id FROM public.integrations WHERE {rows}) AS i,
                             sesari.read_credentials(i.id) AS r",
            },
        ],
    },
    Table {
        name: "invitations",
        own: BY_WORKSPACE,
        key: "id",
        insert: "(workspace_id, email, role, invited_by, expires_at)
                 VALUES ('{ws}', 'new@example.com', 'member', '{owner}', now())",
        update: "role = 'owner'",
        give: "workspace_id = '{there}'",
        extras: &[
            Extra {
                name: "invite",
                sql: "SELECT i.* FROM sesari.create_invitation('new1', 'new@example.com', 'member', '1 day', 'x') AS i
                      WHERE i.workspace_id = '{ws}'",
            },
            Extra {
                name: "invite an owner",
                sql: "SELECT i.* FROM sesari.create_invitation('new2', 'new@example.com', 'owner', '1 day', 'x') AS i
                      WHERE i.workspace_id = '{ws}'",
            },
            Extra {
                name: "revoke",
                sql: "SELECT r.* FROM (SELECT id FROM public.invitations WHERE {rows}) AS i,
                             sesari.revoke_invitation(i.id) AS r",
            },
        ],
    },
    Table {
        name: "kpi_data_points",
        own: BY_WORKSPACE,
        key: "concat_ws(' ', kpi_id, timestamp, source)",
        insert: "(workspace_id, kpi_id, value) VALUES ('{ws}', '{kpi}', 1)",
        update: "value = 1",
        give: "workspace_id = '{there}'",
        extras: &[],
    },
    Table {
        name: "kpi_history",
        own: BY_WORKSPACE,
        key: "id",
        insert: "(workspace_id, kpi_id, changed_at, target_value) VALUES ('{ws}', '{kpi}', now(), 1)",
        update: "target_value = 1",
        give: "workspace_id = '{there}'",
        extras: &[],
    },
    Table {
        name: "kpi_packed_points",
        own: BY_WORKSPACE,
        key: "concat_ws(' ', kpi_id, starts_at)",
        insert: "(workspace_id, kpi_id, starts_at, ends_at, points, point_offsets, point_values, point_sources)
                 VALUES ('{ws}', '{kpi}', '2020-01-01 00:00:00+00', '2020-01-01 00:00:00.007+00', 8,
                         '{0,1,2,3,4,5,6,7}', '{1,1,1,1,1,1,1,1}', '{\"\"}')",
        update: "points = 8",
        give: "workspace_id = '{there}'",
        extras: &[Extra { name: "history", sql: "SELECT kpi_id FROM public.kpi_points WHERE {rows}" }],
    },
    Table {
        name: "kpi_rollups",
        own: BY_WORKSPACE,
        key: "concat_ws(' ', kpi_id, day)",
        insert: "(workspace_id, kpi_id, day, day_end, points, sum, min, max, first, last)
                 VALUES ('{ws}', '{kpi}', '2020-01-01 00:00:00+00', '2020-01-02 00:00:00+00', 1, 1, 1, 1, 1, 1)",
        update: "points = 1",
        give: "workspace_id = '{there}'",
        extras: &[],
    },
    Table {
        name: "kpi_targets",
        own: BY_WORKSPACE,
        key: "concat_ws(' ', kpi_id, recorded_at)",
        insert: "(workspace_id, kpi_id, effective_from, value) VALUES ('{ws}', '{kpi}', '2026-01-01', 1)",
        update: "value = 1",
        give: "workspace_id = '{there}'",
        extras: &[],
    },
    Table {
        name: "kpis",
        own: BY_WORKSPACE,
        key: "id",
        insert: "(workspace_id, name) VALUES ('{ws}', 'New')",
        update: "name = 'Changed'",
        give: "workspace_id = '{there}'",
        extras: &[Extra {
            name: "soft delete",
            sql: "UPDATE public.kpis SET deleted_at = now() WHERE {rows}",
        }],
    },
    Table {
        name: "subscriptions",
        own: "user_id IN ({members})",
        key: "id",
        insert: "(user_id, status, plan_type) VALUES ('{member}', 'active', 'pro')",
        update: "plan_type = 'free'",
        give: "user_id = '{their_user}'",
        extras: &[],
    },
    Table {
        name: "users",
        own: "id IN ({members})",
        key: "id",
        insert: "(email, provider, provider_id) VALUES ('new@example.com', 'google', 'new')",
        update: "name = 'Changed'",
        give: "id = 'changed'",
        extras: &[
            Extra { name: "provider id", sql: "SELECT provider_id FROM public.users WHERE {rows}" },
            Extra {
                name: "e-mail",
                sql: "UPDATE public.users SET email = 'x@example.com' WHERE id = '{member}'",
            },
        ],
    },
    Table {
        name: "workspace_users",
        own: BY_WORKSPACE,
        key: "id",
        insert: "(workspace_id, user_id) VALUES ('{ws}', '{stranger}')",
        update: "role = 'admin'",
        give: "workspace_id = '{there}'",
        extras: &[
            Extra {
                name: "add an owner",
                sql: "INSERT INTO public.workspace_users (workspace_id, user_id, role)
                      VALUES ('{ws}', '{stranger}', 'owner')",
            },
            Extra {
                name: "make an owner",
                sql: "UPDATE public.workspace_users SET role = 'owner'
                      WHERE {rows} AND user_id = '{member}'",
            },
            Extra {
                name: "unmake an owner",
                sql: "UPDATE public.workspace_users SET role = 'member'
                      WHERE {rows} AND user_id = '{owner}'",
            },
            Extra {
                name: "remove an owner",
                sql: "DELETE FROM public.workspace_users WHERE {rows} AND user_id = '{owner}'",
            },
            Extra {
                name: "leave",
                sql: "DELETE FROM public.workspace_users
                      WHERE {rows} AND user_id = sesari.current_user_id()",
            },
        ],
    },
    Table {
        name: "workspaces",
        own: "id = '{ws}'",
        key: "id",
        insert: "(name, slug) VALUES ('New', 'new')",
        update: "name = 'Changed'",
        give: "id = '{there}'",
        extras: &[],
    },
];
