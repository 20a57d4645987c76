-- Head and entries in one statement, so that they are of one snapshot.
SELECT h.sequence, (extract(epoch FROM nullif(h.occurred_at, '-infinity')) * 1000000)::bigint, h.hash,
       h.pruned_sequence, (extract(epoch FROM h.pruned_at) * 1000000)::bigint, h.pruned_hash,
       e.workspace_id, e.sequence, (extract(epoch FROM e.occurred_at) * 1000000)::bigint, e.id,
       e.actor_kind, e.actor_id, e.scope, e.action, e.table_name, e.row_id, e.changes::text,
       e.transaction_id, e.previous_hash, e.hash
  FROM sesari.audit_head($1) AS h
  LEFT JOIN (
       SELECT * FROM public.audit_log
        WHERE workspace_id = $1 AND (sequence, id) > ($2, $3)
        ORDER BY sequence, id
        LIMIT $4) AS e ON true
 ORDER BY e.sequence, e.id
