//! The audit log and the credentials, which even the own tenant may not have.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!("the audit log rewritten", Statement, Refused("permission denied"),
        "UPDATE audit_log SET actor_id = 'nobody'"),
    attack!("the audit log erased", Statement, Refused("permission denied"), "DELETE FROM audit_log"),
    attack!("a false entry in the audit log", Statement, Refused("permission denied"),
        "INSERT INTO audit_log (workspace_id, actor_kind, actor_id, action, table_name, row_id, changes)
         VALUES ('{b}', 'user', '{b_user}', 'kpi.purge', 'kpis', 'x', '{}')"),
    attack!("the credentials, which are for no column list", Statement, Refused("permission denied"),
        "SELECT credentials FROM integrations"),
    attack!("the credentials by way of an update", Statement, Refused("permission denied"),
        "UPDATE integrations SET is_active = true RETURNING credentials"),
    attack!("the credentials by way of the whole row", Statement, Refused("permission denied"),
        "SELECT to_jsonb(i) FROM integrations AS i"),
    attack!("the credentials by way of another column", Statement, Refused("permission denied"),
        "UPDATE integrations SET error_message = left(credentials, 999)"),
    attack!("the credentials by way of an upsert", Statement, Refused("permission denied"),
        "INSERT INTO integrations AS i (id, provider, credentials)
         SELECT id, provider, 'v1.k1.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA' FROM integrations
         ON CONFLICT (workspace_id, id) DO UPDATE SET error_message = left(i.credentials, 999)"),
    attack!("the credentials by way of a condition", Statement, Refused("permission denied"),
        "DELETE FROM integrations WHERE credentials LIKE 'v1%'"),
    attack!("the credentials by way of a failing check", Statement,
        Refused("integrations_sync_status_check"),
        "UPDATE integrations SET sync_status = 'bogus'"),
    attack!("a way around the audit log", Statement, Refused("must be owner"),
        "ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only"),
    attack!("the audit log emptied", Statement, Refused("permission denied"),
        "TRUNCATE audit_log"),
    attack!("the credentials in a sort", Statement, Refused("permission denied"),
        "SELECT id FROM integrations ORDER BY credentials"),
    attack!("the credentials by a row comparison", Statement, Refused("permission denied"),
        "SELECT id FROM integrations AS i WHERE i IS NOT DISTINCT FROM NULL"),
    attack!("the credentials by a natural join", Statement, Refused("permission denied"),
        "SELECT count(*) FROM integrations AS a NATURAL JOIN integrations AS b"),
];
