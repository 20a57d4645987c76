-- Loses every stored answer: what is asked for again is done again.
SET LOCAL ROLE sesari_owner;
DROP TABLE public.idempotency_keys;
DROP FUNCTION sesari.prune_idempotency_keys(timestamptz, text, integer);
DROP FUNCTION sesari.key_of(text, text, text, text);
DROP FUNCTION sesari.current_actor();
RESET ROLE;
