# Runs a server that does as it is told, a line of standard input at a time, until that closes: then
# stops it and removes its directory. Unlike the one that tests share, it keeps what it confirmed.
# Arguments: the directory to make, the directory of the binaries, the port, the directory of the
# stopped server to become a standby of or nothing, that server's port, and settings as `name=value`.
# The second line of standard input is the superuser's password.
trap '' INT TERM HUP
umask 077
dir=$1 bin=$2 port=$3 primary=$4 primary_port=$5
shift 5
# However this ends, and again while that fails: a process that was just killed may still write. A disk
# of its own is for the one who mounted it to remove.
remove() {
    cd /
    tries=0
    until rm -rf "$dir" || mountpoint -q "$dir/data" || [ "$tries" -ge 300 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
}
mkdir -p "$dir" || exit 1
trap remove EXIT
cd "$dir" || exit 1
exec 3<&0 </dev/null >log 2>&1
IFS= read -r _ <&3 && IFS= read -r password <&3 || exit 1

if [ -z "$primary" ]; then
    printf '%s\n' "$password" >password
    "$bin/initdb" -D data -U postgres --auth=scram-sha-256 --pwfile=password --encoding=UTF8 \
        --locale=C --wal-segsize=1 --no-sync --no-instructions 3<&- || : >failed
    rm -f password
else
    cp -R "$primary/data" data && rm -f data/postmaster.pid data/postmaster.opts || : >failed
    : >data/standby.signal
    echo "primary_conninfo = 'host=127.0.0.1 port=$primary_port user=postgres password=$password'" \
        >>data/postgresql.auto.conf
fi
for setting; do printf '%s\n' "${setting%%=*} = '${setting#*=}'"; done >>data/postgresql.conf

server=
family() { echo "$server" $(pgrep -P "$server"); }
# A zombie that nobody collects is gone all the same.
gone() { case $(ps -o stat= -p "$1") in '' | Z*) ;; *) return 1 ;; esac; }

# What is kept in shared memory is kept in files of the directory, but for one small segment.
start() {
    "$bin/postgres" -D data -p "$port" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories="$dir" -c dynamic_shared_memory_type=mmap \
        -c shared_buffers=32MB -c fsync=on -c synchronous_commit=on -c full_page_writes=on \
        -c autovacuum=off -c wal_keep_size=64MB -c wal_retrieve_retry_interval=100ms 3<&- &
    server=$!
}

# All of it at once, so that nobody has time for a last word.
end() {
    all=$(family)
    kill -STOP $server && kill -KILL $all $(family)
    wait "$server"
    for process in $all; do until gone "$process"; do sleep 0.02; done; done
    # The number may be another process's from now on.
    server=
}

count=0
: >done.0
while IFS= read -r command <&3; do
    case $command in
        start) start ;;
        start-unless-running) if [ -z "$server" ] || gone "$server"; then start; fi ;;
        kill) end ;;
        stop) kill -INT "$server"; wait "$server"; server= ;;
        pause) kill -STOP $(family) ;;
        resume) kill -CONT $(family) ;;
        fill) dd if=/dev/zero of=data/ballast bs=8k ;;
        free) rm -f data/ballast ;;
    esac
    count=$((count + 1))
    : >"done.$count"
done

if [ -n "$server" ] && ! gone "$server"; then
    kill -CONT $(family)
    kill -QUIT "$server"
    tries=0
    until gone "$server" || [ "$tries" -gt 100 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    gone "$server" || end
fi
# After a kill -9 the segment is still there; the seventh line names it.
if [ -e data/postmaster.pid ]; then ipcrm -m "$(sed -n '7s/.* //p' data/postmaster.pid)"; fi
wait
