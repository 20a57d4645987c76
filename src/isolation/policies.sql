-- The policies of declared tenant tables that hold for a login of ours. Follows reach.sql.
policies AS (
    SELECT t.name || '.' || p.polname AS object, p.polcmd::text AS verb,
           pg_catalog.pg_get_expr(p.polqual, p.polrelid) AS reads,
           pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) AS writes
      FROM relations AS t
      JOIN pg_catalog.pg_policy AS p ON p.polrelid = t.oid
     WHERE t.name = ANY ($2) AND p.polpermissive
       AND EXISTS (SELECT FROM unnest(p.polroles) AS r (oid)
                     LEFT JOIN pg_catalog.pg_roles AS n ON n.oid = r.oid
                    WHERE r.oid = 0 OR n.rolname IN ('sesari_tenant', 'sesari_service')
                       OR pg_has_role(session_user, r.oid, 'MEMBER'))
)
SELECT * FROM policies ORDER BY object
