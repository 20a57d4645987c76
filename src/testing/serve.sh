# Runs one PostgreSQL server until standard input closes, which it does however the process that
# holds its other end goes; then stops the server and removes the directory.
# Arguments: the directory to make, the directory of the binaries, the port.
# The first line of standard input is the superuser's password.
trap '' INT TERM HUP
umask 077
dir=$1 bin=$2 port=$3
# However this ends. Again while that fails: the processes of a server that was killed outlive it for
# a moment, and what they write meanwhile makes `rm` find a directory that is not empty.
remove() {
    cd /
    tries=0
    until rm -rf "$dir" || [ "$tries" -ge 300 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
}
mkdir "$dir" || exit 1
trap remove EXIT
cd "$dir" || exit 1
exec 3<&0 </dev/null >log 2>&1
IFS= read -r password <&3 && printf '%s\n' "$password" >password

init() {
    "$bin/initdb" -D data -U postgres --auth=scram-sha-256 --pwfile=password --encoding=UTF8 \
        --locale="$1" --lc-messages=C --no-sync --no-instructions 3<&-
}

# In the background, so that a run which ends meanwhile is noticed. No autovacuum: plans stay the
# same from run to run, and nothing is ever connected to the template. No JIT: it takes longer to
# compile than what tests ask takes to run.
(
    init C.UTF-8 || { rm -rf data && init C; } || exit 1
    rm -f password
    exec "$bin/postgres" -D data -p "$port" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories="$dir" -c max_connections=200 -c shared_buffers=64MB \
        -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c autovacuum=off \
        -c jit=off 3<&-
) &
server=$!

(
    while read -r _; do :; done
    # Repeated, because what runs there may be initdb still; an immediate shutdown takes no time. Not
    # once it has stopped, when its number may be another process's.
    tries=0
    while [ ! -e stopped ] && [ "$tries" -lt 300 ] && kill -QUIT "$server"; do
        tries=$((tries + 1))
        sleep 0.1
    done
    [ -e stopped ] || kill -KILL "$server"
) <&3 2>/dev/null &

wait "$server"
: >stopped
wait
