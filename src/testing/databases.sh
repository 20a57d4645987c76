# Drops one run's databases from a server that stays, when standard input closes, which it does
# however the process that holds its other end goes. Without psql they wait for the next run.
# Arguments: the server's URL (the password is in PGPASSWORD), what the databases' names begin with.
trap '' INT TERM HUP
while read -r _; do :; done
psql -X -q -d "$1" -v prefix="$2" <<'SQL'
SELECT format('DROP DATABASE IF EXISTS %I WITH (FORCE)', datname)
FROM pg_database WHERE starts_with(datname, :'prefix')
\gexec
SQL
