WITH m AS MATERIALIZED (
    SELECT id, workspace_id, user_id, role, joined_at
      FROM public.workspace_users
     WHERE workspace_id = $1 AND role = coalesce($2, role)
), found AS (
    SELECT m.id, m.workspace_id, m.user_id, m.role, m.joined_at, p.email, p.name, p.image,
           coalesce(p.name, p.email) AS shown_name
      FROM m
      JOIN sesari.member_profiles(ARRAY(SELECT user_id FROM m)) AS p ON p.user_id = m.user_id
     WHERE $3 = ''
        OR strpos(translate(replace(replace(p.name, 'ß', 'ss'), 'ẞ', 'ss'), $4, $5), $3) > 0
        OR strpos(translate(replace(replace(p.email, 'ß', 'ss'), 'ẞ', 'ss'), $4, $5), $3) > 0
)
