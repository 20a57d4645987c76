# Runs three servers until standard input closes, which it does however the process that holds its
# other end goes; then stops them and removes the directory: `a` with TLS, `b` without, and `c`, a
# standby of `a` with a certificate of its own.
# Arguments: the directory to make, the directory of the binaries, the three ports. Environment: the
# certificates and keys.
trap '' INT TERM HUP
umask 077
dir=$1 bin=$2 a=$3 b=$4 c=$5
mkdir "$dir" && cd "$dir" || exit 1
# Others read the log and the certificates.
chmod 755 "$dir"
exec 3<&0 </dev/null >log 2>&1
IFS= read -r _ <&3
printf '%s\n' "$CA" >ca.crt
printf '%s\n' "$SERVER" >a.crt
printf '%s\n' "$SERVER_KEY" >a.key
printf '%s\n' "$SELF" >c.crt
printf '%s\n' "$SELF_KEY" >c.key

"$bin/initdb" -D a -U postgres --auth=trust --encoding=UTF8 --locale=C --no-sync --no-instructions \
    --wal-segsize=1
cat >>a/postgresql.conf <<END
listen_addresses = '127.0.0.1,::1'
unix_socket_directories = '$dir'
unix_socket_permissions = 0777
fsync = off
max_connections = 25
shared_buffers = 32MB
dynamic_shared_memory_type = mmap
hot_standby = on
autovacuum = off
END
cat >a/pg_hba.conf <<END
local all postgres trust
host replication postgres 127.0.0.1/32 trust
local all clear password
local all all scram-sha-256
hostnossl all nossl all scram-sha-256
hostssl all certuser all cert
host all clear all password
host all md all md5
host all trusting,postgres all trust
host all scram all scram-sha-256
END
# Without a server, and so without `psql`: a line each.
"$bin/postgres" --single -D a -c log_min_messages=warning postgres >/dev/null <<END
SET password_encryption = 'scram-sha-256'
CREATE ROLE scram LOGIN PASSWORD 'pencil @:/?#%'
CREATE ROLE nossl LOGIN PASSWORD 'pencil'
CREATE ROLE clear LOGIN PASSWORD 'pencil'
CREATE ROLE certuser LOGIN
CREATE ROLE trusting LOGIN CONNECTION LIMIT 3
SET password_encryption = 'md5'
CREATE ROLE md LOGIN PASSWORD 'pencil'
CREATE DATABASE ro
ALTER DATABASE ro SET default_transaction_read_only = on
CREATE DATABASE db OWNER scram
END
cp -R a b
cat >b/pg_hba.conf <<END
local all all trust
host all clear all password
host all scram all scram-sha-256
host all all all trust
END
cat >>a/postgresql.conf <<END
ssl = on
ssl_ca_file = '$dir/ca.crt'
ssl_cert_file = '$dir/a.crt'
ssl_key_file = '$dir/a.key'
END
cp -R a c
cat >>c/postgresql.conf <<END
ssl_cert_file = '$dir/c.crt'
ssl_key_file = '$dir/c.key'
primary_conninfo = 'host=127.0.0.1 port=$a user=postgres'
END
: >c/standby.signal

servers=
for server in "a $a" "b $b" "c $c"; do
    "$bin/postgres" -D "${server% *}" -p "${server#* }" 3<&- &
    servers="$servers $!"
done
while IFS= read -r _ <&3; do :; done

for server in $servers; do kill -QUIT "$server"; done 2>/dev/null
wait
cd / && rm -rf "$dir"
