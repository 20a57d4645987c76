UPDATE public.idempotency_keys
   SET result = $1
 WHERE workspace_id = $2 AND actor_kind = $3 AND actor_id = $4 AND key = $5
