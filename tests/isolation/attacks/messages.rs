//! Advisory locks and notifications, which know no tenant.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!(
        "a notification of what WHERE sees",
        Batch,
        Runs,
        "LISTEN leak; SELECT pg_notify('leak', name) FROM kpis
         WHERE pg_notify('leak', name) IS NOT NULL"
    ),
    attack!("who listens where", Statement, Runs, "SELECT pg_listening_channels()"),
    attack!("how full the queue is", Statement, Runs, "SELECT pg_notification_queue_usage()::text"),
    attack!("a notification in the name of a change", Statement, Runs, "NOTIFY kpis, '{b}'"),
    attack!(
        "a notification of what a join sees",
        Statement,
        Runs,
        "SELECT pg_notify('leak', k.name || u.user_id) FROM kpis AS k, workspace_users AS u"
    ),
    attack!(
        "a notification too long",
        Statement,
        Refused("payload string too long"),
        "SELECT pg_notify('leak', repeat('x', 8001))"
    ),
    attack!(
        "the advisory locks of others given back",
        Statement,
        Runs,
        "SELECT pg_advisory_unlock(1), pg_advisory_unlock_shared(1), pg_advisory_unlock_all()::text"
    ),
    attack!(
        "whether an advisory lock is free",
        Statement,
        Runs,
        "SELECT pg_try_advisory_xact_lock(n) FROM generate_series(1, 50) AS n"
    ),
    attack!("the locks of others", Statement, Runs, "SELECT * FROM pg_locks WHERE pid = {pid}"),
    attack!(
        "a lock computed from what WHERE sees",
        Batch,
        Runs,
        "SELECT count(pg_try_advisory_xact_lock(hashtext(workspace_id))) FROM kpis;
         DO $$ BEGIN IF EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory'
         AND objid = hashtext('{b}')::bigint & 4294967295) THEN RAISE 'globex'; END IF; END $$"
    ),
];
