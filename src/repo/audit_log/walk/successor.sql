SELECT e.workspace_id, e.sequence, (extract(epoch FROM e.occurred_at) * 1000000)::bigint, e.id,
       e.actor_kind, e.actor_id, e.scope, e.action, e.table_name, e.row_id, e.changes::text,
       e.transaction_id, e.previous_hash, e.hash
  FROM public.audit_log AS e
 WHERE e.workspace_id = $1 AND e.previous_hash = $2 AND e.id <> $3
 ORDER BY e.sequence
 LIMIT 1
