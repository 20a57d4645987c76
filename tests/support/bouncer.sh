# Runs one PgBouncer until standard input closes, which it does however the process that holds its
# other end goes; then stops it and removes the directory.
# Arguments: the directory to make, the program. Environment: INI and USERLIST, the two files.
trap '' INT TERM HUP
umask 077
dir=$1 program=$2
mkdir "$dir" || exit 1
trap 'cd / && rm -rf "$dir"' EXIT
cd "$dir" || exit 1
exec 3<&0 </dev/null >log 2>&1
printf '%s\n' "$INI" >pgbouncer.ini
printf '%s\n' "$USERLIST" >userlist.txt
"$program" pgbouncer.ini 3<&- &
bouncer=$!
echo "$bouncer" >pid
(
    while read -r _; do :; done
    # Once it has stopped, its number may be another process's.
    [ -e stopped ] || kill -KILL "$bouncer"
) <&3 2>/dev/null &
wait "$bouncer"
: >stopped
wait
