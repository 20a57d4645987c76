//! Whatever a superuser does to the entries is found, and the right one named.

use sesari_db::audit::{Breach, BreachKind, Verdict};

use crate::support::World;

/// Writes all entries from a sequence on anew, with fitting hashes, and the head.
const REWRITE_TAIL: &str = "
DO $$
DECLARE e public.audit_log; previous bytea; BEGIN
    SELECT hash INTO previous FROM public.audit_log WHERE workspace_id = '{ws}' AND sequence = 4;
    FOR e IN SELECT * FROM public.audit_log WHERE workspace_id = '{ws}' AND sequence >= 5 ORDER BY sequence LOOP
        e.previous_hash := previous;
        e.hash := sesari.audit_hash(e.workspace_id, e.sequence::text,
            (extract(epoch FROM e.occurred_at) * 1000000)::bigint::text, e.id, e.actor_kind, e.actor_id, e.scope,
            e.action, e.table_name, e.row_id, e.changes::text, e.transaction_id::text, previous);
        UPDATE public.audit_log SET previous_hash = e.previous_hash, hash = e.hash
         WHERE workspace_id = e.workspace_id AND sequence = e.sequence;
        previous := e.hash;
    END LOOP;
    UPDATE sesari.audit_heads SET hash = previous WHERE workspace_id = '{ws}';
END $$";

/// The breach found after this, in a log of 13 entries whose ids come along.
fn breach_after(sql: &str) -> (Breach, Vec<String>) {
    let world = World::with_history(9);
    let ids: Vec<_> = world.export().into_iter().map(|entry| entry.id).collect();
    assert_eq!(ids.len(), 13);
    assert!(world.verify(None).is_intact());
    world.tamper(sql);
    match world.verify(None) {
        Verdict::Broken(breach) => (breach, ids),
        verdict => panic!("{verdict:?}: {sql}"),
    }
}

fn assert_breach(sql: &str, kind: BreachKind, sequence: i64, entry: Option<i64>) {
    let (breach, ids) = breach_after(sql);
    let entry_id = entry.map(|entry| ids[usize::try_from(entry - 1).unwrap()].clone());
    assert_eq!(breach, Breach { kind, sequence, entry_id }, "{sql}");
}

#[test]
fn an_edit_of_any_column_shows() {
    let world = World::with_history(9);
    let columns = world.ask(
        "SELECT string_agg(attname || ' ' || format_type(atttypid, NULL), ',' ORDER BY attnum) \
         FROM pg_attribute WHERE attrelid = 'public.audit_log'::regclass AND attnum > 0 \
           AND NOT attisdropped AND attname NOT IN ('workspace_id', 'sequence')",
    );
    assert_eq!(columns.split(',').count(), 12);
    let id = world.export()[4].id.clone();
    for column in columns.split(',') {
        let (name, kind) = column.split_once(' ').unwrap();
        let edited = match kind {
            "text" => format!("{name} || 'x'"),
            "bigint" => format!("{name} + 1"),
            "jsonb" => format!("{name} || '{{\"x\": {{}}}}'"),
            "bytea" => format!("sha256({name})"),
            "timestamp with time zone" => format!("{name} + interval '1 microsecond'"),
            other => panic!("edit a {other} here"),
        };
        let row = "WHERE workspace_id = '{ws}' AND sequence = 5";
        world.tamper(&format!(
            "CREATE TABLE kept AS SELECT * FROM audit_log {row}; UPDATE audit_log SET {name} = {edited} {row}"
        ));
        let entry_id = Some(if name == "id" { format!("{id}x") } else { id.clone() });
        let breach = Breach { kind: BreachKind::Edited, sequence: 5, entry_id };
        assert_eq!(world.verify(None), Verdict::Broken(breach), "{name}");
        world.tamper(&format!(
            "UPDATE audit_log SET {name} = (SELECT {name} FROM kept) {row}; DROP TABLE kept"
        ));
        assert!(world.verify(None).is_intact(), "{name}");
    }
}

#[test]
fn an_entry_rewritten_with_a_hash_of_its_own_is_named() {
    let rehash = "UPDATE audit_log SET actor_id = 'nobody',
        hash = sesari.audit_hash(workspace_id, sequence::text, (extract(epoch FROM occurred_at) * 1000000)::bigint::text,
            id, actor_kind, 'nobody', scope, action, table_name, row_id, changes::text, transaction_id::text, previous_hash)
        WHERE workspace_id = '{ws}' AND sequence = ";
    assert_breach(&format!("{rehash} 5"), BreachKind::Edited, 5, Some(5));
    // Of the last one, the head alone knows.
    assert_breach(&format!("{rehash} 13"), BreachKind::HeadMoved, 13, Some(13));
}

#[test]
fn deleted_entries_are_missed() {
    for (which, first) in [("= 5", 5), ("= 1", 1), ("BETWEEN 3 AND 9", 3), ("< 13", 1)] {
        let sql =
            format!("DELETE FROM audit_log WHERE workspace_id = '{{ws}}' AND sequence {which}");
        assert_breach(&sql, BreachKind::Deleted, first, None);
    }
    let moved = "UPDATE audit_log SET workspace_id = 'elsewhere' WHERE workspace_id = '{ws}' AND sequence = 5";
    assert_breach(moved, BreachKind::Deleted, 5, None);
}

#[test]
fn entries_put_in_are_named() {
    let copy = |sequence: &str| {
        format!(
            "ALTER TABLE audit_log DROP CONSTRAINT audit_log_pkey;
             INSERT INTO audit_log SELECT * FROM (SELECT 'forged', workspace_id, {sequence}, occurred_at,
                 actor_kind, 'nobody', scope, action, table_name, row_id, changes, transaction_id, previous_hash, hash
             FROM audit_log WHERE workspace_id = '{{ws}}' AND sequence = 5) AS e"
        )
    };
    for (sequence, at) in [("5", 5), ("0", 0), ("-7", -7), ("14", 14), ("99", 99)] {
        let (breach, _) = breach_after(&copy(sequence));
        let entry_id = Some("forged".to_owned());
        assert_eq!(
            breach,
            Breach { kind: BreachKind::Inserted, sequence: at, entry_id },
            "{sequence}"
        );
    }
    // Its id comes before the true one's, or after.
    for id in ["a", "z"] {
        let (breach, _) = breach_after(&copy("5").replace("forged", id));
        assert_eq!((breach.kind, breach.sequence), (BreachKind::Inserted, 5));
        assert_eq!(breach.entry_id.as_deref(), Some(id));
    }
}

#[test]
fn entries_that_changed_places_are_named() {
    let swap = |one: i64, other: i64| {
        format!(
            "UPDATE audit_log SET sequence = sequence + 1000 WHERE workspace_id = '{{ws}}' AND sequence IN ({one}, {other});
             UPDATE audit_log SET sequence = {one} + {other} + 1000 - sequence
              WHERE workspace_id = '{{ws}}' AND sequence > 1000"
        )
    };
    assert_breach(&swap(5, 6), BreachKind::Reordered, 5, Some(5));
    assert_breach(&swap(2, 11), BreachKind::Reordered, 2, Some(2));
    let moved = "UPDATE audit_log SET sequence = 99 WHERE workspace_id = '{ws}' AND sequence = 5";
    assert_breach(moved, BreachKind::Reordered, 5, Some(5));
}

#[test]
fn a_tail_cut_off_is_missed() {
    let cut = "DELETE FROM audit_log WHERE workspace_id = '{ws}' AND sequence > 8";
    assert_breach(cut, BreachKind::CutFromTail, 9, None);
    let all = "DELETE FROM audit_log WHERE workspace_id = '{ws}'";
    assert_breach(all, BreachKind::CutFromTail, 1, None);
    let all = format!("{all}; DELETE FROM sesari.audit_heads WHERE workspace_id = '{{ws}}'");
    assert_breach(&all, BreachKind::CutFromTail, 1, None);
}

#[test]
fn a_head_that_was_moved_shows() {
    let back = "UPDATE sesari.audit_heads AS h SET sequence = e.sequence, hash = e.hash, occurred_at = e.occurred_at
        FROM audit_log AS e WHERE h.workspace_id = '{ws}' AND e.workspace_id = '{ws}' AND e.sequence = 8";
    assert_breach(back, BreachKind::HeadMoved, 13, Some(13));
    let hash = "UPDATE sesari.audit_heads SET hash = sha256(hash) WHERE workspace_id = '{ws}'";
    assert_breach(hash, BreachKind::HeadMoved, 13, Some(13));
    let short = "UPDATE sesari.audit_heads SET hash = '' WHERE workspace_id = '{ws}'";
    assert_breach(short, BreachKind::HeadMoved, 13, Some(13));
}

#[test]
fn a_prune_that_no_entry_tells_of_is_forged() {
    let forge = "UPDATE sesari.audit_heads AS h
           SET pruned_sequence = e.sequence, pruned_hash = e.hash, pruned_at = e.occurred_at
          FROM audit_log AS e WHERE h.workspace_id = '{ws}' AND e.workspace_id = '{ws}' AND e.sequence = 3;
        DELETE FROM audit_log WHERE workspace_id = '{ws}' AND sequence <= 3";
    assert_breach(forge, BreachKind::PruneForged, 3, None);
}

/// This is what checkpoints are for: nothing in the database tells.
#[test]
fn a_tail_rewritten_or_cut_with_its_head_needs_a_checkpoint() {
    let rewrite = format!(
        "UPDATE audit_log SET actor_id = 'nobody' WHERE workspace_id = '{{ws}}' AND sequence = 5; {REWRITE_TAIL}"
    );
    let cut = "DELETE FROM audit_log WHERE workspace_id = '{ws}' AND sequence > 8;
        UPDATE sesari.audit_heads AS h SET sequence = e.sequence, hash = e.hash, occurred_at = e.occurred_at
          FROM audit_log AS e WHERE h.workspace_id = '{ws}' AND e.workspace_id = '{ws}' AND e.sequence = 8";
    for (sql, kind, at) in
        [(rewrite.as_str(), BreachKind::Rewritten, 13), (cut, BreachKind::CutFromTail, 9)]
    {
        let world = World::with_history(9);
        let noted = world.checkpoint();
        assert!(world.verify(Some(&noted)).is_intact());
        world.tamper(sql);
        assert!(world.verify(None).is_intact());
        let Verdict::Broken(breach) = world.verify(Some(&noted)) else {
            panic!("not found: {sql}")
        };
        assert_eq!((breach.kind, breach.sequence), (kind, at));
        // More entries do not hide it.
        for i in 0..6 {
            world.rename(&format!("Later {i}"));
        }
        assert!(!world.verify(Some(&noted)).is_intact());
    }
}

/// Without switching the triggers off, the superuser gets nowhere.
#[test]
fn with_its_triggers_the_log_takes_no_change_at_all() {
    let world = World::with_history(3);
    let mut admin = world.test.admin().unwrap();
    for sql in
        ["UPDATE audit_log SET actor_id = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"]
    {
        let result = diesel::connection::SimpleConnection::batch_execute(&mut admin, sql);
        assert!(sesari_db::Error::from(result.unwrap_err()).is_denied(), "{sql}");
    }
    assert!(world.verify(None).is_intact());
}
