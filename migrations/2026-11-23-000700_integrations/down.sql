-- Loses every integration and its sealed credentials. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP TABLE public.integrations;
RESET ROLE;
