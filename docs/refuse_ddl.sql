-- Refuses statements that define or change objects to the services' logins, before they take a lock.
--
-- PostgreSQL locks a relation before it looks whose it is: with CREATE RULE or CREATE TRIGGER anybody can hold
-- a table that everybody needs, for as long as the statement takes to be parsed and refused. For a superuser,
-- once in each database. Superusers and members of sesari_owner go on as before, and so does whoever is no
-- member of sesari_tenant or sesari_service.
CREATE OR REPLACE FUNCTION public.sesari_refuse_ddl() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (pg_has_role(session_user, 'sesari_tenant', 'MEMBER') OR pg_has_role(session_user, 'sesari_service', 'MEMBER'))
       AND NOT pg_has_role(session_user, 'sesari_owner', 'MEMBER') THEN
        RAISE insufficient_privilege USING MESSAGE = 'permission denied: ' || tg_tag || ' is not for this login';
    END IF;
END
$$;
DROP EVENT TRIGGER IF EXISTS sesari_refuse_ddl;
CREATE EVENT TRIGGER sesari_refuse_ddl ON ddl_command_start EXECUTE FUNCTION public.sesari_refuse_ddl();
