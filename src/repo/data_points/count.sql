SELECT count(*) FROM sesari.points_between($1, $2, $3, $4)
