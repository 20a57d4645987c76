SELECT $1::text, $2::text, p."timestamp", p.source, p.value
  FROM sesari.points_between($1, $2, $3, $3::timestamptz + interval '1 millisecond') AS p
 WHERE p.source COLLATE "C" = $4
