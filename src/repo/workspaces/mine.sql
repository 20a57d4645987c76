SELECT id, name, slug, time_zone, created_at, updated_at, role, joined_at
  FROM sesari.my_workspaces($1)
 WHERE slug = coalesce($2, slug)
   AND (joined_at, id) > (coalesce($3::timestamptz, '-infinity'), coalesce($4, ''))
 ORDER BY joined_at, id
 LIMIT $5
