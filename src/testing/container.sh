# Removes one container when standard input closes, which it does however the process that holds
# its other end goes.
# Arguments: the container's name, the engine's socket.
trap '' INT TERM HUP
while read -r _; do :; done

# Whether there is nothing more to do.
remove() {
    if command -v docker; then
        found=$(docker ps --all --quiet --filter "name=^$1\$") || return 0
        [ -n "$found" ] && docker rm --force --volumes "$1"
    else
        curl -sf --unix-socket "$2" -X DELETE "http://localhost/containers/$1?force=1&v=1"
        [ $? -ne 22 ]
    fi
}

# It may not be there yet, when the run ended while the engine was still making it.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    remove "$1" "$2" && exit
    sleep 0.5
done
