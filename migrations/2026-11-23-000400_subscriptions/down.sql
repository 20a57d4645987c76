-- Loses every subscription. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP FUNCTION sesari.my_subscription();
DROP TABLE public.subscriptions;
RESET ROLE;
