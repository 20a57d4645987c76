-- Roles, the private schema, and the signed context that every policy stands on.

-- Roles belong to the cluster, not to this database: another database may have made them already,
-- or be making them now.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['sesari_owner', 'sesari_tenant', 'sesari_service'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
    IF NOT pg_has_role('sesari_owner', 'USAGE') THEN
        EXECUTE format('GRANT sesari_owner TO %I', current_user);
    END IF;
    -- Temporary objects are looked up before all others: whoever can make one can shadow a table.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO sesari_owner;
GRANT USAGE ON SCHEMA public TO sesari_tenant, sesari_service;
CREATE SCHEMA sesari AUTHORIZATION sesari_owner;
-- The record of migrations has a schema of its own, made before the first one: the service beside this
-- crate may keep its own record in public.
ALTER SCHEMA sesari_migrations OWNER TO sesari_owner;
ALTER TABLE sesari_migrations.__diesel_schema_migrations OWNER TO sesari_owner;

SET LOCAL ROLE sesari_owner;

COMMENT ON SCHEMA sesari IS 'Functions of the data-access layer, and tables nobody else may read';
GRANT USAGE ON SCHEMA sesari TO sesari_tenant, sesari_service;
-- Functions are executable by everyone unless said otherwise; here the default is nobody.
ALTER DEFAULT PRIVILEGES FOR ROLE sesari_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- Keys ---------------------------------------------------------------------------------------

CREATE TABLE sesari.context_keys (
    key_id text COLLATE "C" NOT NULL,
    inner_pad bytea NOT NULL,
    outer_pad bytea NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT context_keys_pkey PRIMARY KEY (key_id),
    CONSTRAINT context_keys_key_id_check CHECK (key_id ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
    CONSTRAINT context_keys_inner_pad_check CHECK (octet_length(inner_pad) = 64),
    CONSTRAINT context_keys_outer_pad_check CHECK (octet_length(outer_pad) = 64)
);
COMMENT ON TABLE sesari.context_keys IS
    'HMAC-SHA256 keys of the context, stored as the two pads of RFC 2104. No role but the owner may read it';

CREATE FUNCTION sesari.install_context_key(new_key_id text, key bytea) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    padded bytea;
    inner_key bytea;
    outer_key bytea;
BEGIN
    IF octet_length(key) NOT BETWEEN 32 AND 64 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'a context key has 32 to 64 bytes';
    END IF;
    padded := key || decode(repeat('00', 64 - octet_length(key)), 'hex');
    inner_key := padded;
    outer_key := padded;
    FOR i IN 0..63 LOOP
        inner_key := set_byte(inner_key, i, get_byte(padded, i) # 54);  -- 0x36, RFC 2104's ipad
        outer_key := set_byte(outer_key, i, get_byte(padded, i) # 92);  -- 0x5c, its opad
    END LOOP;
    INSERT INTO sesari.context_keys (key_id, inner_pad, outer_pad)
    VALUES (new_key_id, inner_key, outer_key)
    ON CONFLICT (key_id) DO NOTHING;
    IF NOT EXISTS (SELECT FROM sesari.context_keys
                   WHERE key_id = new_key_id AND inner_pad = inner_key) THEN
        RAISE unique_violation USING
            MESSAGE = 'another context key is installed under this id',
            CONSTRAINT = 'context_keys_pkey';
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.install_context_key IS
    'Makes tokens signed with this key valid. Installing the same key again changes nothing';

CREATE FUNCTION sesari.retire_context_key(old_key_id text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM sesari.context_keys WHERE key_id = old_key_id;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION sesari.retire_context_key IS
    'Makes tokens signed with this key worthless from the next statement on. False if there was none';

CREATE FUNCTION sesari.has_context_key(wanted_key_id text, proof bytea) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM sesari.context_keys
         WHERE key_id = wanted_key_id
           AND sha256(outer_pad || sha256(inner_pad || convert_to('sesari.has_context_key', 'UTF8'))) = proof)
$$;
COMMENT ON FUNCTION sesari.has_context_key IS
    'Whether this very key is installed; the proof is the HMAC of the function''s name. Lets a service notice that its key was retired';
GRANT EXECUTE ON FUNCTION sesari.has_context_key TO sesari_tenant, sesari_service;

-- The context --------------------------------------------------------------------------------

-- The one reader of the setting. Its parts, separated by dots:
--   1 version, 2 key id, 3 actor kind (u or s), 4 actor id, 5 workspace or empty,
--   6 issued at (microseconds since 1970, 16 digits), 7 backend pid or 0, 8 HMAC-SHA256 in hex of all before.
-- Returns the parts, or NULL when anything is off: only what is known to hold reaches a RETURN of them.
-- Nothing of the text but the key's id is looked at before its signature is known to be ours.
--
-- Called only by the definer functions below, under their pinned search_path.
--
-- The first call in a transaction costs most, since PL/pgSQL then sets up each expression anew: by the number
-- of functions and operators in it. So there are few, and no patterns. A query sets up its own each time it
-- runs: so look-ups compare with variables.
CREATE FUNCTION sesari.verified_context() RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
AS $$
DECLARE
    -- Empty on a reused connection, where it was local to an earlier transaction.
    token text := current_setting('sesari.context', true);
    parts text[] := string_to_array(token, '.');
    named_key text := parts[2];
    inner_key bytea;
    outer_key bytea;
    expected text;
    age interval;
BEGIN
    SELECT inner_pad, outer_pad INTO inner_key, outer_key FROM sesari.context_keys WHERE key_id = named_key;
    expected := encode(sha256(outer_key || sha256(inner_key || convert_to(left(token, -65), 'UTF8'))), 'hex');
    -- Compared as one number first, so that the time of the comparison tells nothing of the signature
    -- expected. Whoever holds the key may still have signed what is none: no cast below may fail.
    IF hashtextextended(parts[8], 0) = hashtextextended(expected, 0) AND parts[8] = expected
       AND parts[9] IS NULL AND parts[1] = '1' AND parts[3] IN ('u', 's') AND parts[4] <> ''
       AND parts[7] IN ('0', pg_backend_pid()::text)
       AND octet_length(parts[6]) = 16 AND ltrim(parts[6], '0123456789') = '' THEN
        -- now() is the start of the transaction: a context that was fresh then stays valid in it.
        age := now() - (to_timestamp(0) + parts[6]::bigint * interval '1 microsecond');
        IF age >= interval '-2 seconds' AND age <= interval '10 seconds' THEN
            RETURN parts;
        END IF;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sesari.verified_context IS
    'The parts of the signed context, or NULL. Internal';

CREATE FUNCTION sesari.current_user_id() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
BEGIN
    RETURN CASE WHEN context[3] = 'u' THEN context[4] END;
END
$$;
COMMENT ON FUNCTION sesari.current_user_id IS
    'The user of the verified context, with or without a workspace, or NULL';
GRANT EXECUTE ON FUNCTION sesari.current_user_id TO sesari_tenant, sesari_service;

CREATE FUNCTION sesari.signed_in_user_id() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
BEGIN
    RETURN CASE WHEN context[3] = 'u' AND context[5] = '' THEN context[4] END;
END
$$;
COMMENT ON FUNCTION sesari.signed_in_user_id IS
    'The user of the verified context while no workspace is chosen, or NULL';
GRANT EXECUTE ON FUNCTION sesari.signed_in_user_id TO sesari_tenant;

CREATE FUNCTION sesari.current_service() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    context text[] := sesari.verified_context();
BEGIN
    RETURN CASE WHEN context[3] = 's' AND context[5] = '' THEN context[4] END;
END
$$;
COMMENT ON FUNCTION sesari.current_service IS
    'The service of the verified context outside of any workspace, or NULL';
GRANT EXECUTE ON FUNCTION sesari.current_service TO sesari_service;

-- Shared by all tables -----------------------------------------------------------------------

CREATE FUNCTION sesari.new_id() RETURNS text
LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT 'c' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 31) $$;
COMMENT ON FUNCTION sesari.new_id IS
    'A random id in the form of a CUID, for writers that bring none';
GRANT EXECUTE ON FUNCTION sesari.new_id TO sesari_tenant, sesari_service;

-- The server asks the conditions of a query before those of a policy where they cost less, if they tell
-- nothing by an error. A sub-select among them is run by the first row that gets as far, and that it was
-- run can be seen: so a caller could learn of a row that the policy hides what is in it. A look-up in a JSON
-- object costs the planner nothing, and of what costs nothing the policy's comes first.
-- Names no schema to search, so that the planner puts its body in its place: a call would cost each statement
-- a tenth of what the verification does. No id has a dot.
CREATE FUNCTION sesari.key_of(workspace text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.jsonb_set('{}', pg_catalog.string_to_array(workspace, '.'), 'true') $$;
COMMENT ON FUNCTION sesari.key_of(text) IS
    'A JSON object with this key alone, or NULL for NULL. The first condition of each policy that reads looks its row up in one';
GRANT EXECUTE ON FUNCTION sesari.key_of(text) TO sesari_tenant;

-- What text may hold, for every check: whichever client writes, one text is written in one way, and what
-- is not shown is not stored. ASCII needs no tables. What a character is does not depend on the server's
-- locale: the classes below are those of Unicode 14, made by tests/vectors/make_text.py, and
-- src/value/text.rs holds the same.
--   label    one line, NFC, no blank at either end and none but the space; a mark stands on something; a
--            joiner, selector or tag only where it shows (emoji, Arabic, Indic scripts, ideographs)
--   prose    NFC, lines, tabs and blanks of all kinds, joiners, hyphenation and marks of direction that end
--            by themselves
--   address  no blanks, nothing that is not shown; NFC
--   mailbox  as an address, in NFKC and lower case
CREATE FUNCTION sesari.is_text(value text, kind text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF octet_length(value) = char_length(value) THEN
        RETURN CASE kind
            WHEN 'label' THEN value !~ '[\u0001-\u001F\u007F]' COLLATE "C" AND value = btrim(value)
            WHEN 'prose' THEN value !~ '[\u0001-\u0008\u000B\u000C\u000E-\u001F\u007F]' COLLATE "C"
            WHEN 'address' THEN value !~ '[\u0001-\u0020\u007F]' COLLATE "C"
            WHEN 'mailbox' THEN value !~ '[\u0001-\u0020A-Z\u007F]' COLLATE "C"
            ELSE false END;
    END IF;
    DECLARE
        refused CONSTANT text :=
            '\u0001-\u001F\u007F-\u009F\u00AD\u034F\u0378\u0379\u0380-\u0383\u038B\u038D\u03A2\u0530\u0557\u0558'
            '\u058B\u058C\u0590\u05C8-\u05CF\u05EB-\u05EE\u05F5-\u0605\u061C\u06DD\u070E\u070F\u074B\u074C'
            '\u07B2-\u07BF\u07FB\u07FC\u082E\u082F\u083F\u085C\u085D\u085F\u086B-\u086F\u088F-\u0897\u08E2\u0984'
            '\u098D\u098E\u0991\u0992\u09A9\u09B1\u09B3-\u09B5\u09BA\u09BB\u09C5\u09C6\u09C9\u09CA\u09CF-\u09D6'
            '\u09D8-\u09DB\u09DE\u09E4\u09E5\u09FF\u0A00\u0A04\u0A0B-\u0A0E\u0A11\u0A12\u0A29\u0A31\u0A34\u0A37'
            '\u0A3A\u0A3B\u0A3D\u0A43-\u0A46\u0A49\u0A4A\u0A4E-\u0A50\u0A52-\u0A58\u0A5D\u0A5F-\u0A65'
            '\u0A77-\u0A80\u0A84\u0A8E\u0A92\u0AA9\u0AB1\u0AB4\u0ABA\u0ABB\u0AC6\u0ACA\u0ACE\u0ACF\u0AD1-\u0ADF'
            '\u0AE4\u0AE5\u0AF2-\u0AF8\u0B00\u0B04\u0B0D\u0B0E\u0B11\u0B12\u0B29\u0B31\u0B34\u0B3A\u0B3B'
            '\u0B45\u0B46\u0B49\u0B4A\u0B4E-\u0B54\u0B58-\u0B5B\u0B5E\u0B64\u0B65\u0B78-\u0B81\u0B84\u0B8B-\u0B8D'
            '\u0B91\u0B96-\u0B98\u0B9B\u0B9D\u0BA0-\u0BA2\u0BA5-\u0BA7\u0BAB-\u0BAD\u0BBA-\u0BBD\u0BC3-\u0BC5'
            '\u0BC9\u0BCE\u0BCF\u0BD1-\u0BD6\u0BD8-\u0BE5\u0BFB-\u0BFF\u0C0D\u0C11\u0C29\u0C3A\u0C3B\u0C45\u0C49'
            '\u0C4E-\u0C54\u0C57\u0C5B\u0C5C\u0C5E\u0C5F\u0C64\u0C65\u0C70-\u0C76\u0C8D\u0C91\u0CA9\u0CB4'
            '\u0CBA\u0CBB\u0CC5\u0CC9\u0CCE-\u0CD4\u0CD7-\u0CDC\u0CDF\u0CE4\u0CE5\u0CF0\u0CF3-\u0CFF\u0D0D\u0D11'
            '\u0D45\u0D49\u0D50-\u0D53\u0D64\u0D65\u0D80\u0D84\u0D97-\u0D99\u0DB2\u0DBC\u0DBE\u0DBF\u0DC7-\u0DC9'
            '\u0DCB-\u0DCE\u0DD5\u0DD7\u0DE0-\u0DE5\u0DF0\u0DF1\u0DF5-\u0E00\u0E3B-\u0E3E\u0E5C-\u0E80\u0E83'
            '\u0E85\u0E8B\u0EA4\u0EA6\u0EBE\u0EBF\u0EC5\u0EC7\u0ECE\u0ECF\u0EDA\u0EDB\u0EE0-\u0EFF\u0F48'
            '\u0F6D-\u0F70\u0F98\u0FBD\u0FCD\u0FDB-\u0FFF\u10C6\u10C8-\u10CC\u10CE\u10CF\u115F\u1160\u1249'
            '\u124E\u124F\u1257\u1259\u125E\u125F\u1289\u128E\u128F\u12B1\u12B6\u12B7\u12BF\u12C1\u12C6\u12C7'
            '\u12D7\u1311\u1316\u1317\u135B\u135C\u137D-\u137F\u139A-\u139F\u13F6\u13F7\u13FE\u13FF\u169D-\u169F'
            '\u16F9-\u16FF\u1716-\u171E\u1737-\u173F\u1754-\u175F\u176D\u1771\u1774-\u177F\u17B4\u17B5'
            '\u17DE\u17DF\u17EA-\u17EF\u17FA-\u17FF\u180B-\u180F\u181A-\u181F\u1879-\u187F\u18AB-\u18AF'
            '\u18F6-\u18FF\u191F\u192C-\u192F\u193C-\u193F\u1941-\u1943\u196E\u196F\u1975-\u197F\u19AC-\u19AF'
            '\u19CA-\u19CF\u19DB-\u19DD\u1A1C\u1A1D\u1A5F\u1A7D\u1A7E\u1A8A-\u1A8F\u1A9A-\u1A9F\u1AAE\u1AAF'
            '\u1ACF-\u1AFF\u1B4D-\u1B4F\u1B7F\u1BF4-\u1BFB\u1C38-\u1C3A\u1C4A-\u1C4C\u1C89-\u1C8F\u1CBB\u1CBC'
            '\u1CC8-\u1CCF\u1CFB-\u1CFF\u1F16\u1F17\u1F1E\u1F1F\u1F46\u1F47\u1F4E\u1F4F\u1F58\u1F5A\u1F5C\u1F5E'
            '\u1F7E\u1F7F\u1FB5\u1FC5\u1FD4\u1FD5\u1FDC\u1FF0\u1FF1\u1FF5\u1FFF\u200B\u200E\u200F\u2028-\u202E'
            '\u2060-\u206F\u2072\u2073\u208F\u209D-\u209F\u20C1-\u20CF\u20F1-\u20FF\u218C-\u218F\u2427-\u243F'
            '\u244B-\u245F\u2B74\u2B75\u2B96\u2CF4-\u2CF8\u2D26\u2D28-\u2D2C\u2D2E\u2D2F\u2D68-\u2D6E'
            '\u2D71-\u2D7E\u2D97-\u2D9F\u2DA7\u2DAF\u2DB7\u2DBF\u2DC7\u2DCF\u2DD7\u2DDF\u2E5E-\u2E7F\u2E9A'
            '\u2EF4-\u2EFF\u2FD6-\u2FEF\u2FFC-\u2FFF\u3040\u3097\u3098\u3100-\u3104\u3130\u3164\u318F'
            '\u31E4-\u31EF\u321F\uA48D-\uA48F\uA4C7-\uA4CF\uA62C-\uA63F\uA6F8-\uA6FF\uA7CB-\uA7CF\uA7D2\uA7D4'
            '\uA7DA-\uA7F1\uA82D-\uA82F\uA83A-\uA83F\uA878-\uA87F\uA8C6-\uA8CD\uA8DA-\uA8DF\uA954-\uA95E'
            '\uA97D-\uA97F\uA9CE\uA9DA-\uA9DD\uA9FF\uAA37-\uAA3F\uAA4E\uAA4F\uAA5A\uAA5B\uAAC3-\uAADA'
            '\uAAF7-\uAB00\uAB07\uAB08\uAB0F\uAB10\uAB17-\uAB1F\uAB27\uAB2F\uAB6C-\uAB6F\uABEE\uABEF\uABFA-\uABFF'
            '\uD7A4-\uD7AF\uD7C7-\uD7CA\uD7FC-\uD7FF\uE000-\uF8FF\uFA6E\uFA6F\uFADA-\uFAFF\uFB07-\uFB12'
            '\uFB18-\uFB1C\uFB37\uFB3D\uFB3F\uFB42\uFB45\uFBC3-\uFBD2\uFD90\uFD91\uFDC8-\uFDCE\uFDD0-\uFDEF'
            '\uFE00-\uFE0D\uFE1A-\uFE1F\uFE53\uFE67\uFE6C-\uFE6F\uFE75\uFEFD-\uFF00\uFFA0\uFFBF-\uFFC1'
            '\uFFC8\uFFC9\uFFD0\uFFD1\uFFD8\uFFD9\uFFDD-\uFFDF\uFFE7\uFFEF-\uFFFB\uFFFE\uFFFF\U0001000C\U00010027'
            '\U0001003B\U0001003E\U0001004E\U0001004F\U0001005E-\U0001007F\U000100FB-\U000100FF'
            '\U00010103-\U00010106\U00010134-\U00010136\U0001018F\U0001019D-\U0001019F\U000101A1-\U000101CF'
            '\U000101FE-\U0001027F\U0001029D-\U0001029F\U000102D1-\U000102DF\U000102FC-\U000102FF'
            '\U00010324-\U0001032C\U0001034B-\U0001034F\U0001037B-\U0001037F\U0001039E\U000103C4-\U000103C7'
            '\U000103D6-\U000103FF\U0001049E\U0001049F\U000104AA-\U000104AF\U000104D4-\U000104D7'
            '\U000104FC-\U000104FF\U00010528-\U0001052F\U00010564-\U0001056E\U0001057B\U0001058B\U00010593'
            '\U00010596\U000105A2\U000105B2\U000105BA\U000105BD-\U000105FF\U00010737-\U0001073F'
            '\U00010756-\U0001075F\U00010768-\U0001077F\U00010786\U000107B1\U000107BB-\U000107FF'
            '\U00010806\U00010807\U00010809\U00010836\U00010839-\U0001083B\U0001083D\U0001083E\U00010856'
            '\U0001089F-\U000108A6\U000108B0-\U000108DF\U000108F3\U000108F6-\U000108FA\U0001091C-\U0001091E'
            '\U0001093A-\U0001093E\U00010940-\U0001097F\U000109B8-\U000109BB\U000109D0\U000109D1\U00010A04'
            '\U00010A07-\U00010A0B\U00010A14\U00010A18\U00010A36\U00010A37\U00010A3B-\U00010A3E'
            '\U00010A49-\U00010A4F\U00010A59-\U00010A5F\U00010AA0-\U00010ABF\U00010AE7-\U00010AEA'
            '\U00010AF7-\U00010AFF\U00010B36-\U00010B38\U00010B56\U00010B57\U00010B73-\U00010B77'
            '\U00010B92-\U00010B98\U00010B9D-\U00010BA8\U00010BB0-\U00010BFF\U00010C49-\U00010C7F'
            '\U00010CB3-\U00010CBF\U00010CF3-\U00010CF9\U00010D28-\U00010D2F\U00010D3A-\U00010E5F\U00010E7F'
            '\U00010EAA\U00010EAE\U00010EAF\U00010EB2-\U00010EFF\U00010F28-\U00010F2F\U00010F5A-\U00010F6F'
            '\U00010F8A-\U00010FAF\U00010FCC-\U00010FDF\U00010FF7-\U00010FFF\U0001104E-\U00011051'
            '\U00011076-\U0001107E\U000110BD\U000110C3-\U000110CF\U000110E9-\U000110EF\U000110FA-\U000110FF'
            '\U00011135\U00011148-\U0001114F\U00011177-\U0001117F\U000111E0\U000111F5-\U000111FF\U00011212'
            '\U0001123F-\U0001127F\U00011287\U00011289\U0001128E\U0001129E\U000112AA-\U000112AF'
            '\U000112EB-\U000112EF\U000112FA-\U000112FF\U00011304\U0001130D\U0001130E\U00011311\U00011312'
            '\U00011329\U00011331\U00011334\U0001133A\U00011345\U00011346\U00011349\U0001134A\U0001134E\U0001134F'
            '\U00011351-\U00011356\U00011358-\U0001135C\U00011364\U00011365\U0001136D-\U0001136F'
            '\U00011375-\U000113FF\U0001145C\U00011462-\U0001147F\U000114C8-\U000114CF\U000114DA-\U0001157F'
            '\U000115B6\U000115B7\U000115DE-\U000115FF\U00011645-\U0001164F\U0001165A-\U0001165F'
            '\U0001166D-\U0001167F\U000116BA-\U000116BF\U000116CA-\U000116FF\U0001171B\U0001171C'
            '\U0001172C-\U0001172F\U00011747-\U000117FF\U0001183C-\U0001189F\U000118F3-\U000118FE'
            '\U00011907\U00011908\U0001190A\U0001190B\U00011914\U00011917\U00011936\U00011939\U0001193A'
            '\U00011947-\U0001194F\U0001195A-\U0001199F\U000119A8\U000119A9\U000119D8\U000119D9'
            '\U000119E5-\U000119FF\U00011A48-\U00011A4F\U00011AA3-\U00011AAF\U00011AF9-\U00011BFF\U00011C09'
            '\U00011C37\U00011C46-\U00011C4F\U00011C6D-\U00011C6F\U00011C90\U00011C91\U00011CA8'
            '\U00011CB7-\U00011CFF\U00011D07\U00011D0A\U00011D37-\U00011D39\U00011D3B\U00011D3E'
            '\U00011D48-\U00011D4F\U00011D5A-\U00011D5F\U00011D66\U00011D69\U00011D8F\U00011D92'
            '\U00011D99-\U00011D9F\U00011DAA-\U00011EDF\U00011EF9-\U00011FAF\U00011FB1-\U00011FBF'
            '\U00011FF2-\U00011FFE\U0001239A-\U000123FF\U0001246F\U00012475-\U0001247F\U00012544-\U00012F8F'
            '\U00012FF3-\U00012FFF\U0001342F-\U000143FF\U00014647-\U000167FF\U00016A39-\U00016A3F\U00016A5F'
            '\U00016A6A-\U00016A6D\U00016ABF\U00016ACA-\U00016ACF\U00016AEE\U00016AEF\U00016AF6-\U00016AFF'
            '\U00016B46-\U00016B4F\U00016B5A\U00016B62\U00016B78-\U00016B7C\U00016B90-\U00016E3F'
            '\U00016E9B-\U00016EFF\U00016F4B-\U00016F4E\U00016F88-\U00016F8E\U00016FA0-\U00016FDF'
            '\U00016FE5-\U00016FEF\U00016FF2-\U00016FFF\U000187F8-\U000187FF\U00018CD6-\U00018CFF'
            '\U00018D09-\U0001AFEF\U0001AFF4\U0001AFFC\U0001AFFF\U0001B123-\U0001B14F\U0001B153-\U0001B163'
            '\U0001B168-\U0001B16F\U0001B2FC-\U0001BBFF\U0001BC6B-\U0001BC6F\U0001BC7D-\U0001BC7F'
            '\U0001BC89-\U0001BC8F\U0001BC9A\U0001BC9B\U0001BCA0-\U0001CEFF\U0001CF2E\U0001CF2F'
            '\U0001CF47-\U0001CF4F\U0001CFC4-\U0001CFFF\U0001D0F6-\U0001D0FF\U0001D127\U0001D128'
            '\U0001D173-\U0001D17A\U0001D1EB-\U0001D1FF\U0001D246-\U0001D2DF\U0001D2F4-\U0001D2FF'
            '\U0001D357-\U0001D35F\U0001D379-\U0001D3FF\U0001D455\U0001D49D\U0001D4A0\U0001D4A1'
            '\U0001D4A3\U0001D4A4\U0001D4A7\U0001D4A8\U0001D4AD\U0001D4BA\U0001D4BC\U0001D4C4\U0001D506'
            '\U0001D50B\U0001D50C\U0001D515\U0001D51D\U0001D53A\U0001D53F\U0001D545\U0001D547-\U0001D549'
            '\U0001D551\U0001D6A6\U0001D6A7\U0001D7CC\U0001D7CD\U0001DA8C-\U0001DA9A\U0001DAA0'
            '\U0001DAB0-\U0001DEFF\U0001DF1F-\U0001DFFF\U0001E007\U0001E019\U0001E01A\U0001E022\U0001E025'
            '\U0001E02B-\U0001E0FF\U0001E12D-\U0001E12F\U0001E13E\U0001E13F\U0001E14A-\U0001E14D'
            '\U0001E150-\U0001E28F\U0001E2AF-\U0001E2BF\U0001E2FA-\U0001E2FE\U0001E300-\U0001E7DF\U0001E7E7'
            '\U0001E7EC\U0001E7EF\U0001E7FF\U0001E8C5\U0001E8C6\U0001E8D7-\U0001E8FF\U0001E94C-\U0001E94F'
            '\U0001E95A-\U0001E95D\U0001E960-\U0001EC70\U0001ECB5-\U0001ED00\U0001ED3E-\U0001EDFF\U0001EE04'
            '\U0001EE20\U0001EE23\U0001EE25\U0001EE26\U0001EE28\U0001EE33\U0001EE38\U0001EE3A'
            '\U0001EE3C-\U0001EE41\U0001EE43-\U0001EE46\U0001EE48\U0001EE4A\U0001EE4C\U0001EE50\U0001EE53'
            '\U0001EE55\U0001EE56\U0001EE58\U0001EE5A\U0001EE5C\U0001EE5E\U0001EE60\U0001EE63\U0001EE65\U0001EE66'
            '\U0001EE6B\U0001EE73\U0001EE78\U0001EE7D\U0001EE7F\U0001EE8A\U0001EE9C-\U0001EEA0\U0001EEA4'
            '\U0001EEAA\U0001EEBC-\U0001EEEF\U0001EEF2-\U0001EFFF\U0001F02C-\U0001F02F\U0001F094-\U0001F09F'
            '\U0001F0AF\U0001F0B0\U0001F0C0\U0001F0D0\U0001F0F6-\U0001F0FF\U0001F1AE-\U0001F1E5'
            '\U0001F203-\U0001F20F\U0001F23C-\U0001F23F\U0001F249-\U0001F24F\U0001F252-\U0001F25F'
            '\U0001F266-\U0001F2FF\U0001FB93\U0001FBCB-\U0001FBEF\U0001FBFA-\U0001FFFF\U0002FA1E-\U0002FFFF'
            '\U0003FFFE-\U000E001F\U000E0080-\U000E00FF\U000E01F0-\U0010FFFF';
        blanks CONSTANT text :=
            '\u00A0\u1680\u2000-\u200A\u202F\u205F\u2800\u3000';
        marks CONSTANT text :=
            '\u0300-\u034E\u0350-\u036F\u0483-\u0489\u0591-\u05BD\u05BF\u05C1\u05C2\u05C4\u05C5\u05C7'
            '\u0610-\u061A\u064B-\u065F\u0670\u06D6-\u06DC\u06DF-\u06E4\u06E7\u06E8\u06EA-\u06ED\u0711'
            '\u0730-\u074A\u07A6-\u07B0\u07EB-\u07F3\u07FD\u0816-\u0819\u081B-\u0823\u0825-\u0827\u0829-\u082D'
            '\u0859-\u085B\u0898-\u089F\u08CA-\u08E1\u08E3-\u0903\u093A-\u093C\u093E-\u094F\u0951-\u0957'
            '\u0962\u0963\u0981-\u0983\u09BC\u09BE-\u09C4\u09C7\u09C8\u09CB-\u09CD\u09D7\u09E2\u09E3\u09FE'
            '\u0A01-\u0A03\u0A3C\u0A3E-\u0A42\u0A47\u0A48\u0A4B-\u0A4D\u0A51\u0A70\u0A71\u0A75\u0A81-\u0A83\u0ABC'
            '\u0ABE-\u0AC5\u0AC7-\u0AC9\u0ACB-\u0ACD\u0AE2\u0AE3\u0AFA-\u0AFF\u0B01-\u0B03\u0B3C\u0B3E-\u0B44'
            '\u0B47\u0B48\u0B4B-\u0B4D\u0B55-\u0B57\u0B62\u0B63\u0B82\u0BBE-\u0BC2\u0BC6-\u0BC8\u0BCA-\u0BCD'
            '\u0BD7\u0C00-\u0C04\u0C3C\u0C3E-\u0C44\u0C46-\u0C48\u0C4A-\u0C4D\u0C55\u0C56\u0C62\u0C63'
            '\u0C81-\u0C83\u0CBC\u0CBE-\u0CC4\u0CC6-\u0CC8\u0CCA-\u0CCD\u0CD5\u0CD6\u0CE2\u0CE3\u0D00-\u0D03'
            '\u0D3B\u0D3C\u0D3E-\u0D44\u0D46-\u0D48\u0D4A-\u0D4D\u0D57\u0D62\u0D63\u0D81-\u0D83\u0DCA'
            '\u0DCF-\u0DD4\u0DD6\u0DD8-\u0DDF\u0DF2\u0DF3\u0E31\u0E34-\u0E3A\u0E47-\u0E4E\u0EB1\u0EB4-\u0EBC'
            '\u0EC8-\u0ECD\u0F18\u0F19\u0F35\u0F37\u0F39\u0F3E\u0F3F\u0F71-\u0F84\u0F86\u0F87\u0F8D-\u0F97'
            '\u0F99-\u0FBC\u0FC6\u102B-\u103E\u1056-\u1059\u105E-\u1060\u1062-\u1064\u1067-\u106D\u1071-\u1074'
            '\u1082-\u108D\u108F\u109A-\u109D\u135D-\u135F\u1712-\u1715\u1732-\u1734\u1752\u1753\u1772\u1773'
            '\u17B6-\u17D3\u17DD\u1885\u1886\u18A9\u1920-\u192B\u1930-\u193B\u1A17-\u1A1B\u1A55-\u1A5E'
            '\u1A60-\u1A7C\u1A7F\u1AB0-\u1ACE\u1B00-\u1B04\u1B34-\u1B44\u1B6B-\u1B73\u1B80-\u1B82\u1BA1-\u1BAD'
            '\u1BE6-\u1BF3\u1C24-\u1C37\u1CD0-\u1CD2\u1CD4-\u1CE8\u1CED\u1CF4\u1CF7-\u1CF9\u1DC0-\u1DFF'
            '\u20D0-\u20F0\u2CEF-\u2CF1\u2D7F\u2DE0-\u2DFF\u302A-\u302F\u3099\u309A\uA66F-\uA672\uA674-\uA67D'
            '\uA69E\uA69F\uA6F0\uA6F1\uA802\uA806\uA80B\uA823-\uA827\uA82C\uA880\uA881\uA8B4-\uA8C5\uA8E0-\uA8F1'
            '\uA8FF\uA926-\uA92D\uA947-\uA953\uA980-\uA983\uA9B3-\uA9C0\uA9E5\uAA29-\uAA36\uAA43\uAA4C\uAA4D'
            '\uAA7B-\uAA7D\uAAB0\uAAB2-\uAAB4\uAAB7\uAAB8\uAABE\uAABF\uAAC1\uAAEB-\uAAEF\uAAF5\uAAF6\uABE3-\uABEA'
            '\uABEC\uABED\uFB1E\uFE20-\uFE2F\U000101FD\U000102E0\U00010376-\U0001037A\U00010A01-\U00010A03'
            '\U00010A05\U00010A06\U00010A0C-\U00010A0F\U00010A38-\U00010A3A\U00010A3F\U00010AE5\U00010AE6'
            '\U00010D24-\U00010D27\U00010EAB\U00010EAC\U00010F46-\U00010F50\U00010F82-\U00010F85'
            '\U00011000-\U00011002\U00011038-\U00011046\U00011070\U00011073\U00011074\U0001107F-\U00011082'
            '\U000110B0-\U000110BA\U000110C2\U00011100-\U00011102\U00011127-\U00011134\U00011145\U00011146'
            '\U00011173\U00011180-\U00011182\U000111B3-\U000111C0\U000111C9-\U000111CC\U000111CE\U000111CF'
            '\U0001122C-\U00011237\U0001123E\U000112DF-\U000112EA\U00011300-\U00011303\U0001133B\U0001133C'
            '\U0001133E-\U00011344\U00011347\U00011348\U0001134B-\U0001134D\U00011357\U00011362\U00011363'
            '\U00011366-\U0001136C\U00011370-\U00011374\U00011435-\U00011446\U0001145E\U000114B0-\U000114C3'
            '\U000115AF-\U000115B5\U000115B8-\U000115C0\U000115DC\U000115DD\U00011630-\U00011640'
            '\U000116AB-\U000116B7\U0001171D-\U0001172B\U0001182C-\U0001183A\U00011930-\U00011935'
            '\U00011937\U00011938\U0001193B-\U0001193E\U00011940\U00011942\U00011943\U000119D1-\U000119D7'
            '\U000119DA-\U000119E0\U000119E4\U00011A01-\U00011A0A\U00011A33-\U00011A39\U00011A3B-\U00011A3E'
            '\U00011A47\U00011A51-\U00011A5B\U00011A8A-\U00011A99\U00011C2F-\U00011C36\U00011C38-\U00011C3F'
            '\U00011C92-\U00011CA7\U00011CA9-\U00011CB6\U00011D31-\U00011D36\U00011D3A\U00011D3C\U00011D3D'
            '\U00011D3F-\U00011D45\U00011D47\U00011D8A-\U00011D8E\U00011D90\U00011D91\U00011D93-\U00011D97'
            '\U00011EF3-\U00011EF6\U00016AF0-\U00016AF4\U00016B30-\U00016B36\U00016F4F\U00016F51-\U00016F87'
            '\U00016F8F-\U00016F92\U00016FE4\U00016FF0\U00016FF1\U0001BC9D\U0001BC9E\U0001CF00-\U0001CF2D'
            '\U0001CF30-\U0001CF46\U0001D165-\U0001D169\U0001D16D-\U0001D172\U0001D17B-\U0001D182'
            '\U0001D185-\U0001D18B\U0001D1AA-\U0001D1AD\U0001D242-\U0001D244\U0001DA00-\U0001DA36'
            '\U0001DA3B-\U0001DA6C\U0001DA75\U0001DA84\U0001DA9B-\U0001DA9F\U0001DAA1-\U0001DAAF'
            '\U0001E000-\U0001E006\U0001E008-\U0001E018\U0001E01B-\U0001E021\U0001E023\U0001E024'
            '\U0001E026-\U0001E02A\U0001E130-\U0001E136\U0001E2AE\U0001E2EC-\U0001E2EF\U0001E8D0-\U0001E8D6'
            '\U0001E944-\U0001E94A';
        upper CONSTANT text :=
            '\u0041-\u005A\u00C0-\u00D6\u00D8-\u00DE\u0100\u0102\u0104\u0106\u0108\u010A\u010C\u010E\u0110\u0112'
            '\u0114\u0116\u0118\u011A\u011C\u011E\u0120\u0122\u0124\u0126\u0128\u012A\u012C\u012E\u0130\u0132'
            '\u0134\u0136\u0139\u013B\u013D\u013F\u0141\u0143\u0145\u0147\u014A\u014C\u014E\u0150\u0152\u0154'
            '\u0156\u0158\u015A\u015C\u015E\u0160\u0162\u0164\u0166\u0168\u016A\u016C\u016E\u0170\u0172\u0174'
            '\u0176\u0178\u0179\u017B\u017D\u0181\u0182\u0184\u0186\u0187\u0189-\u018B\u018E-\u0191\u0193\u0194'
            '\u0196-\u0198\u019C\u019D\u019F\u01A0\u01A2\u01A4\u01A6\u01A7\u01A9\u01AC\u01AE\u01AF\u01B1-\u01B3'
            '\u01B5\u01B7\u01B8\u01BC\u01C4\u01C5\u01C7\u01C8\u01CA\u01CB\u01CD\u01CF\u01D1\u01D3\u01D5\u01D7'
            '\u01D9\u01DB\u01DE\u01E0\u01E2\u01E4\u01E6\u01E8\u01EA\u01EC\u01EE\u01F1\u01F2\u01F4\u01F6-\u01F8'
            '\u01FA\u01FC\u01FE\u0200\u0202\u0204\u0206\u0208\u020A\u020C\u020E\u0210\u0212\u0214\u0216\u0218'
            '\u021A\u021C\u021E\u0220\u0222\u0224\u0226\u0228\u022A\u022C\u022E\u0230\u0232\u023A\u023B'
            '\u023D\u023E\u0241\u0243-\u0246\u0248\u024A\u024C\u024E\u0370\u0372\u0376\u037F\u0386\u0388-\u038A'
            '\u038C\u038E\u038F\u0391-\u03A1\u03A3-\u03AB\u03CF\u03D8\u03DA\u03DC\u03DE\u03E0\u03E2\u03E4\u03E6'
            '\u03E8\u03EA\u03EC\u03EE\u03F4\u03F7\u03F9\u03FA\u03FD-\u042F\u0460\u0462\u0464\u0466\u0468\u046A'
            '\u046C\u046E\u0470\u0472\u0474\u0476\u0478\u047A\u047C\u047E\u0480\u048A\u048C\u048E\u0490\u0492'
            '\u0494\u0496\u0498\u049A\u049C\u049E\u04A0\u04A2\u04A4\u04A6\u04A8\u04AA\u04AC\u04AE\u04B0\u04B2'
            '\u04B4\u04B6\u04B8\u04BA\u04BC\u04BE\u04C0\u04C1\u04C3\u04C5\u04C7\u04C9\u04CB\u04CD\u04D0\u04D2'
            '\u04D4\u04D6\u04D8\u04DA\u04DC\u04DE\u04E0\u04E2\u04E4\u04E6\u04E8\u04EA\u04EC\u04EE\u04F0\u04F2'
            '\u04F4\u04F6\u04F8\u04FA\u04FC\u04FE\u0500\u0502\u0504\u0506\u0508\u050A\u050C\u050E\u0510\u0512'
            '\u0514\u0516\u0518\u051A\u051C\u051E\u0520\u0522\u0524\u0526\u0528\u052A\u052C\u052E\u0531-\u0556'
            '\u10A0-\u10C5\u10C7\u10CD\u13A0-\u13F5\u1C90-\u1CBA\u1CBD-\u1CBF\u1E00\u1E02\u1E04\u1E06\u1E08\u1E0A'
            '\u1E0C\u1E0E\u1E10\u1E12\u1E14\u1E16\u1E18\u1E1A\u1E1C\u1E1E\u1E20\u1E22\u1E24\u1E26\u1E28\u1E2A'
            '\u1E2C\u1E2E\u1E30\u1E32\u1E34\u1E36\u1E38\u1E3A\u1E3C\u1E3E\u1E40\u1E42\u1E44\u1E46\u1E48\u1E4A'
            '\u1E4C\u1E4E\u1E50\u1E52\u1E54\u1E56\u1E58\u1E5A\u1E5C\u1E5E\u1E60\u1E62\u1E64\u1E66\u1E68\u1E6A'
            '\u1E6C\u1E6E\u1E70\u1E72\u1E74\u1E76\u1E78\u1E7A\u1E7C\u1E7E\u1E80\u1E82\u1E84\u1E86\u1E88\u1E8A'
            '\u1E8C\u1E8E\u1E90\u1E92\u1E94\u1E9E\u1EA0\u1EA2\u1EA4\u1EA6\u1EA8\u1EAA\u1EAC\u1EAE\u1EB0\u1EB2'
            '\u1EB4\u1EB6\u1EB8\u1EBA\u1EBC\u1EBE\u1EC0\u1EC2\u1EC4\u1EC6\u1EC8\u1ECA\u1ECC\u1ECE\u1ED0\u1ED2'
            '\u1ED4\u1ED6\u1ED8\u1EDA\u1EDC\u1EDE\u1EE0\u1EE2\u1EE4\u1EE6\u1EE8\u1EEA\u1EEC\u1EEE\u1EF0\u1EF2'
            '\u1EF4\u1EF6\u1EF8\u1EFA\u1EFC\u1EFE\u1F08-\u1F0F\u1F18-\u1F1D\u1F28-\u1F2F\u1F38-\u1F3F'
            '\u1F48-\u1F4D\u1F59\u1F5B\u1F5D\u1F5F\u1F68-\u1F6F\u1F88-\u1F8F\u1F98-\u1F9F\u1FA8-\u1FAF'
            '\u1FB8-\u1FBC\u1FC8-\u1FCC\u1FD8-\u1FDB\u1FE8-\u1FEC\u1FF8-\u1FFC\u2126\u212A\u212B\u2132'
            '\u2160-\u216F\u2183\u24B6-\u24CF\u2C00-\u2C2F\u2C60\u2C62-\u2C64\u2C67\u2C69\u2C6B\u2C6D-\u2C70'
            '\u2C72\u2C75\u2C7E-\u2C80\u2C82\u2C84\u2C86\u2C88\u2C8A\u2C8C\u2C8E\u2C90\u2C92\u2C94\u2C96\u2C98'
            '\u2C9A\u2C9C\u2C9E\u2CA0\u2CA2\u2CA4\u2CA6\u2CA8\u2CAA\u2CAC\u2CAE\u2CB0\u2CB2\u2CB4\u2CB6\u2CB8'
            '\u2CBA\u2CBC\u2CBE\u2CC0\u2CC2\u2CC4\u2CC6\u2CC8\u2CCA\u2CCC\u2CCE\u2CD0\u2CD2\u2CD4\u2CD6\u2CD8'
            '\u2CDA\u2CDC\u2CDE\u2CE0\u2CE2\u2CEB\u2CED\u2CF2\uA640\uA642\uA644\uA646\uA648\uA64A\uA64C\uA64E'
            '\uA650\uA652\uA654\uA656\uA658\uA65A\uA65C\uA65E\uA660\uA662\uA664\uA666\uA668\uA66A\uA66C\uA680'
            '\uA682\uA684\uA686\uA688\uA68A\uA68C\uA68E\uA690\uA692\uA694\uA696\uA698\uA69A\uA722\uA724\uA726'
            '\uA728\uA72A\uA72C\uA72E\uA732\uA734\uA736\uA738\uA73A\uA73C\uA73E\uA740\uA742\uA744\uA746\uA748'
            '\uA74A\uA74C\uA74E\uA750\uA752\uA754\uA756\uA758\uA75A\uA75C\uA75E\uA760\uA762\uA764\uA766\uA768'
            '\uA76A\uA76C\uA76E\uA779\uA77B\uA77D\uA77E\uA780\uA782\uA784\uA786\uA78B\uA78D\uA790\uA792\uA796'
            '\uA798\uA79A\uA79C\uA79E\uA7A0\uA7A2\uA7A4\uA7A6\uA7A8\uA7AA-\uA7AE\uA7B0-\uA7B4\uA7B6\uA7B8\uA7BA'
            '\uA7BC\uA7BE\uA7C0\uA7C2\uA7C4-\uA7C7\uA7C9\uA7D0\uA7D6\uA7D8\uA7F5\uFF21-\uFF3A'
            '\U00010400-\U00010427\U000104B0-\U000104D3\U00010570-\U0001057A\U0001057C-\U0001058A'
            '\U0001058C-\U00010592\U00010594\U00010595\U00010C80-\U00010CB2\U000118A0-\U000118BF'
            '\U00016E40-\U00016E5F\U0001E900-\U0001E921';
        joiners CONSTANT text := '\u200C\u200D';
        -- What shows whether it is joined.
        joined CONSTANT text := '\u0600-\u0DFF\u1000-\u109F\u1780-\u18AF\u1900-\u1CFF\u2190-\u2BFF'
            '\uA800-\uABFF\U00010A00-\U00011FFF\U0001E900-\U0001E95F\U0001F000-\U0001FAFF';
        tags CONSTANT text := '\U000E0020-\U000E007F';
        selectors CONSTANT text := '\uFE0E\uFE0F';
        pictured CONSTANT text := '#*0-9\u00A9\u00AE\u203C\u2049\u2122\u2139\u2190-\u2BFF\u3030\u303D'
            '\u3297\u3299\U0001F000-\U0001FAFF';
        variants CONSTANT text := '\U000E0100-\U000E01EF';
        ideographs CONSTANT text := '\u3400-\u9FFF\uF900-\uFAFF\U00020000-\U0003FFFF';
        bad text;
    BEGIN
        bad := CASE kind
            WHEN 'label' THEN concat(
                '^ | $|[', refused, blanks, ']|(^| )[', marks, ']',
                '|(^|[^', joined, tags, selectors, '])[', joiners, ']|[', joiners, ']([^', joined, ']|$)',
                '|(^|[^', pictured, '])[', selectors, ']|(^|[^', ideographs, '])[', variants, ']',
                '|(^|[^\U0001F3F4', tags, '])[', tags, ']')
            WHEN 'prose' THEN concat('[', refused, ']')
            ELSE concat('^[', marks, ']|[ ', refused, blanks, joiners, selectors, variants, tags,
                        CASE kind WHEN 'mailbox' THEN upper END, ']') END;
        IF kind = 'prose' THEN
            RETURN is_normalized(value, 'NFC')
                AND translate(value, E'\t\n\r\u00AD\u061C\u200B\u200E\u200F\u2060\u2066\u2067\u2068\u2069', '')
                    !~ bad COLLATE "C";
        END IF;
        RETURN value !~ bad COLLATE "C"
            AND is_normalized(value, CASE kind WHEN 'mailbox' THEN 'NFKC' ELSE 'NFC' END)
            AND kind IN ('label', 'address', 'mailbox');
    END;
END
$$;
COMMENT ON FUNCTION sesari.is_text IS
    'Whether text is written as it should be, as a label, prose, address or mailbox. For checks';
GRANT EXECUTE ON FUNCTION sesari.is_text TO sesari_tenant, sesari_service;

-- Arguments: table, column that says when the row was made, column that says when it changed or nothing.
-- What a client sends is overridden and not refused, as some send times of their own with every row. Who
-- administers the schema restores rows as they were; session_user is what no statement can change.
--
-- To the millisecond, which is as much as JavaScript's Date holds, and cut, so that no row is from the future.
-- Clients compare updated_at with what they have read: it rises with each change, if need be ahead of the
-- clock, by a second at most.
CREATE FUNCTION sesari.keep_times() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now_ms timestamptz := date_trunc('milliseconds', statement_timestamp());
BEGIN
    IF NOT pg_has_role(session_user, 'sesari_owner', 'MEMBER') THEN
        IF TG_ARGV[1] = 'joined_at' THEN
            NEW.joined_at := CASE TG_OP WHEN 'UPDATE' THEN OLD.joined_at ELSE now_ms END;
        ELSE
            NEW.created_at := CASE TG_OP WHEN 'UPDATE' THEN OLD.created_at ELSE now_ms END;
        END IF;
        IF TG_ARGV[2] = 'updated_at' THEN
            NEW.updated_at := CASE TG_OP WHEN 'UPDATE' THEN OLD.updated_at ELSE now_ms END;
        END IF;
    END IF;
    IF TG_OP = 'UPDATE' AND TG_ARGV[2] = 'updated_at' AND OLD IS DISTINCT FROM NEW THEN
        now_ms := date_trunc('milliseconds', clock_timestamp());
        NEW.updated_at := greatest(
            now_ms, least(OLD.updated_at + interval '1 millisecond', now_ms + interval '1 second'));
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sesari.keep_times IS
    'Trigger: when a row was made and when it last changed is the database''s to say, whichever client writes';

-- -0 equals 0 and is written otherwise: sums, extremes and hashes would tell two equal values apart. Fired
-- by the conditions of its triggers only where there is one.
CREATE FUNCTION sesari.drop_negative_zero() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    CASE TG_ARGV[0]
        WHEN 'kpi_data_points' THEN
            NEW.value := NEW.value + 0;
        WHEN 'kpis' THEN
            NEW.target_value := NEW.target_value + 0;
            NEW.current_value := NEW.current_value + 0;
        WHEN 'goal_kpis' THEN
            NEW.weight := NEW.weight + 0;
            NEW.baseline := NEW.baseline + 0;
        WHEN 'kpi_targets' THEN
            NEW.value := NEW.value + 0;
            NEW.baseline := NEW.baseline + 0;
    END CASE;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sesari.drop_negative_zero IS 'Trigger: stores 0 for -0. Argument: table';

CREATE FUNCTION sesari.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE check_violation USING
        MESSAGE = format('columns of %s that identify a row or are derived cannot be changed', TG_ARGV[0]),
        CONSTRAINT = TG_ARGV[1];
END
$$;
COMMENT ON FUNCTION sesari.refuse_change IS
    'Trigger: refuses the statement. Arguments: table, name of the constraint reported';

-- What the planner knows of a column it knows of all tenants' rows together, and its estimates, which any
-- statement may ask for, tell it. Each column is named, since a column without a target of its own gets
-- the server's default.
CREATE FUNCTION sesari.forget_statistics(of_table regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    one record;
BEGIN
    -- The table, what inherits from it or is a partition of it, and computed columns of their indexes.
    FOR one IN
        WITH RECURSIVE tables (oid) AS (
            SELECT of_table::oid
            UNION
            SELECT i.inhrelid FROM pg_inherits AS i JOIN tables AS t ON t.oid = i.inhparent)
        SELECT format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', c.oid::regclass, a.attname) AS command,
               c.oid, c.relname, n.nspname, c.reltuples, a.attname
          FROM tables AS t
          JOIN pg_class AS c ON c.oid = t.oid
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS 0', c.oid::regclass, a.attnum),
               c.oid, c.relname, n.nspname, c.reltuples, a.attname
          FROM tables AS t
          JOIN pg_index AS i ON i.indrelid = t.oid
          JOIN pg_class AS c ON c.oid = i.indexrelid
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND i.indkey[a.attnum - 1] = 0
        UNION ALL
        SELECT format('DROP STATISTICS %I.%I', n.nspname, s.stxname), NULL, NULL, NULL, -1, NULL
          FROM tables AS t
          JOIN pg_statistic_ext AS s ON s.stxrelid = t.oid
          JOIN pg_namespace AS n ON n.oid = s.stxnamespace
    LOOP
        EXECUTE one.command;
        -- Those of the last ANALYZE stay until they are cleared. There are none before the first.
        IF one.reltuples < 0 THEN
            CONTINUE;
        ELSIF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            DELETE FROM pg_statistic AS s
             USING pg_attribute AS a
             WHERE a.attrelid = one.oid AND a.attname = one.attname
               AND s.starelid = a.attrelid AND s.staattnum = a.attnum;
        ELSIF current_setting('server_version_num')::integer >= 180000 THEN
            EXECUTE 'SELECT pg_clear_attribute_stats($1, $2, $3, inherited) FROM (VALUES (false), (true)) AS v (inherited)'
              USING one.nspname, one.relname, one.attname;
        ELSE
            RAISE insufficient_privilege USING
                MESSAGE = format('%s may have been analyzed, and only a superuser can clear its statistics', of_table),
                HINT = format('As a superuser: SELECT sesari.forget_statistics(%L)', of_table);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sesari.forget_statistics IS
    'Has the planner keep no statistics of a table, for its owner: they would be of all tenants together. For each table that tenants read, before its first row or as a superuser; again after a column was added';

-- Puts a table of tenants under protection, by one call. An argument of roles says who may: NULL nobody, {}
-- everybody in the workspace, background services included, else members of these roles.
CREATE FUNCTION sesari.protect_table(
    protected regclass,
    may_select text[] DEFAULT '{}', may_insert text[] DEFAULT '{}',
    may_update text[] DEFAULT '{}', may_delete text[] DEFAULT '{}',
    readable text[] DEFAULT NULL, fixed text[] DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    table_name text := (SELECT relname FROM pg_class WHERE oid = protected);
    owner_name text := (SELECT relowner::regrole::text FROM pg_class WHERE oid = protected);
    one record;
    question text;
    rows text;
BEGIN
    PERFORM sesari.forget_statistics(protected);
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', protected);
    FOR one IN
        SELECT * FROM (VALUES ('select', may_select), ('insert', may_insert),
                              ('update', may_update), ('delete', may_delete)) AS v (verb, roles)
         WHERE roles IS NOT NULL
    LOOP
        question := CASE one.roles WHEN '{}' THEN 'sesari.current_workspace_id()'
                    ELSE format('sesari.workspace_id_as(%L)', one.roles) END;
        rows := format('workspace_id = (SELECT %s)', question);
        -- Looked up before it is compared, where rows are read and a look-up asks nothing more.
        IF one.verb = 'select' OR one.verb <> 'insert' AND one.roles = '{}' THEN
            rows := format('(SELECT sesari.key_of(%s))[workspace_id] IS NOT NULL AND %s', question, rows);
        END IF;
        EXECUTE format('GRANT %s%s ON %s TO sesari_tenant', one.verb,
            CASE one.verb WHEN 'select' THEN
                (SELECT format('(%s)', string_agg(quote_ident(c), ', ')) FROM unnest(readable) AS c HAVING count(*) > 0)
            END, protected);
        EXECUTE format('CREATE POLICY %I ON %s FOR %s TO sesari_tenant %s%s', format('%s_tenant_%s', table_name, one.verb),
            protected, one.verb, CASE WHEN one.verb <> 'insert' THEN format('USING (%s) ', rows) END,
            CASE WHEN one.verb IN ('insert', 'update') THEN format('WITH CHECK (%s)', rows) END);
    END LOOP;
    IF COALESCE(may_update, fixed) IS NOT NULL THEN
        -- What identifies a row stays as it is.
        EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE ON %s FOR EACH ROW WHEN (%s) EXECUTE FUNCTION sesari.refuse_change(%L, %L)',
            table_name || '_key', protected,
            (SELECT string_agg(format('OLD.%1$I IS DISTINCT FROM NEW.%1$I', k.name), ' OR ' ORDER BY k.at)
               FROM unnest(COALESCE(fixed, (
                        SELECT array_agg(a.attname::text ORDER BY p.at)
                          FROM pg_index AS i, unnest(i.indkey) WITH ORDINALITY AS p (attnum, at)
                          JOIN pg_attribute AS a ON a.attnum = p.attnum
                         WHERE i.indrelid = protected AND a.attrelid = protected AND i.indisprimary
                           AND p.at <= i.indnkeyatts))) WITH ORDINALITY AS k (name, at)),
            table_name, table_name || '_key_immutable');
    END IF;
    IF owner_name <> 'sesari_owner' THEN
        EXECUTE format('ALTER TABLE %s OWNER TO sesari_owner', protected);
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.protect_table IS
    'Puts a table under protection, for its owner: no statistics, forced row-level security, grants and a policy for each verb, a fixed key, sesari_owner as owner. Roles: NULL nobody, {} everybody in the workspace. readable: the columns that may be read, all unless given; fixed: the columns that no update changes, the primary key unless given';

CREATE FUNCTION sesari.applied_migrations() RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT version::text FROM sesari_migrations.__diesel_schema_migrations ORDER BY 1 $$;
COMMENT ON FUNCTION sesari.applied_migrations IS
    'Versions of the migrations in place, for the check at start-up';
GRANT EXECUTE ON FUNCTION sesari.applied_migrations TO sesari_tenant, sesari_service;

-- An operator may have taken the server's own function from everybody, with those that lock.
CREATE FUNCTION sesari.release_advisory_locks() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF has_function_privilege('pg_advisory_unlock_all()', 'EXECUTE') THEN
        PERFORM pg_advisory_unlock_all();
    END IF;
END
$$;
COMMENT ON FUNCTION sesari.release_advisory_locks IS
    'Gives back the advisory locks that the session holds beyond its transaction; nothing where sesari_owner may not';
GRANT EXECUTE ON FUNCTION sesari.release_advisory_locks TO sesari_tenant, sesari_service;


-- The plans of functions are estimated from these, and a server prints plans to whoever asks it to.
SELECT sesari.forget_statistics('sesari.context_keys');

RESET ROLE;
