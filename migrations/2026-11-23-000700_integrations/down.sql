-- Loses every integration, its sealed credentials and the salts they open with. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP FUNCTION sesari.workspaces_to_reseal(text, text, integer);
DROP FUNCTION sesari.sealing_key_usage();
DROP FUNCTION sesari.claim_integrations(text, integer, interval);
DROP FUNCTION sesari.destroy_sealing_salt();
DROP FUNCTION sesari.credentials_to_reseal(text, text, integer);
DROP FUNCTION sesari.read_credentials(text);
DROP FUNCTION sesari.sealing_salt();
DROP FUNCTION sesari.sealing_workspace_id();
DROP TABLE sesari.sealing_salts;
DROP TABLE public.integrations;
RESET ROLE;
