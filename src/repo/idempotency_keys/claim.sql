-- An insert that meets the same key in a transaction under way waits for its end. The update changes
-- nothing, and makes the statement return the row as it is then, whatever its snapshot shows.
INSERT INTO public.idempotency_keys AS k
       (workspace_id, actor_kind, actor_id, key, operation, fingerprint, membership)
VALUES ($1, $2, $3, $4, $5, $6, (SELECT a.membership FROM sesari.current_actor() AS a))
ON CONFLICT (workspace_id, actor_kind, actor_id, key) DO UPDATE SET result = k.result
RETURNING xmax = 0, operation, fingerprint, result
