-- Loses every subscription. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP TABLE public.subscriptions;
RESET ROLE;
