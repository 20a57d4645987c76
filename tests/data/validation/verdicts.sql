-- What the database says to each text of an array as the $1 of an INSERT, which is taken back: nothing where it
-- takes it, else the name of the constraint that refuses it.
CREATE FUNCTION pg_temp.verdicts(statement text, texts text[]) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    each text;
    refused_by text;
    verdicts text[] := '{}';
    rows bigint;
BEGIN
    FOREACH each IN ARRAY texts LOOP
        refused_by := '';
        BEGIN
            EXECUTE statement USING each;
            GET DIAGNOSTICS rows = ROW_COUNT;
            ASSERT rows = 1;
            RAISE EXCEPTION USING ERRCODE = 'TB001', MESSAGE = 'taken back';
        EXCEPTION
            WHEN check_violation THEN
                GET STACKED DIAGNOSTICS refused_by = CONSTRAINT_NAME;
            WHEN SQLSTATE 'TB001' THEN
                NULL;
        END;
        verdicts := verdicts || refused_by;
    END LOOP;
    RETURN verdicts;
END $$
