# Runs another script, the first argument, as `postgres`, with a small disk of its own for the data.
# The mount is in a name space that ends with the processes in it, so it cannot stay behind.
# Takes root. Arguments: the script, the size, and the script's own, the directory first.
trap '' INT TERM HUP
dir=$3
install -d -m 700 -o postgres -g postgres "$dir" "$dir/data" || exit 1
unshare --mount sh -c '
    script=$1 size=$2
    shift 2
    mount -t tmpfs -o "size=$size,mode=700,uid=$(id -u postgres),gid=$(id -g postgres)" tmpfs "$1/data" &&
        exec setpriv --reuid postgres --regid postgres --clear-groups sh -c "$script" sesari-test-janitor "$@"
' sh "$@"
rm -rf "$dir"
