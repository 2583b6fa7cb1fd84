#!/bin/sh
# demo.sh — morphmem in two minutes: installs what is missing (Debian), builds, and shows three programs at work in a daemon's memory.
#
# Everything it makes is in build-demo/ (in a temporary directory if the source tree cannot be written to); its daemon, sockets and
# pipes are private and gone when it ends. As root it installs packages; as anyone else it says which are missing.
set -eu

source_dir=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/lib/packages.sh
. "$source_dir/tests/lib/packages.sh"

trace=$source_dir/tests/data/morph-lexer-keep.mtr.xz
started_s=$(date +%s)
step="starting"
work_dir=$(mktemp -d)
clients=
daemon=

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') dim=$(printf '\033[2m') red=$(printf '\033[31m') plain=$(printf '\033[0m')
else
    bold='' dim='' red='' plain=''
fi

# ---- Telling

headline()
{
    step=$1
    printf '\n%s== %s%s\n' "$bold" "$1" "$plain"
}

explain()
{
    printf '%s%s%s\n' "$dim" "$1" "$plain"
}

show()                                  # a command as one would type it, and what it prints
{
    printf '\n%s$ %s%s\n' "$bold" "$*" "$plain"
    "$@"
}

morphmemctl()
{
    "$build_dir/morphmemctl" "$@"
}

# ---- Ending

finish()
{
    status=$?
    trap - EXIT
    for pid in $clients $daemon; do
        kill "$pid" 2>/dev/null || :
    done
    wait
    rm -rf "$work_dir"
    if [ "$status" -ne 0 ]; then
        printf '\n%sdemo: this step failed: %s%s\n' "$red" "$step" "$plain" >&2
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- Building

# A tree that may not be written to, or that is configured in place (which forbids building elsewhere), is copied first.
choose_tree()
{
    if [ -w "$source_dir" ] && [ ! -e "$source_dir/config.status" ]; then
        tree_dir=$source_dir
        build_dir=$source_dir/build-demo
    else
        tree_dir=$work_dir/source
        build_dir=$work_dir/build
        mkdir "$tree_dir"
        tar -C "$source_dir" -cf - --exclude=.git --exclude=./build --exclude=./build-demo --exclude='*.o' --exclude='*.lo' \
            --exclude='*.la' --exclude=.libs --exclude=.deps --exclude=.dirstamp --exclude=./Makefile --exclude=./config.h \
            --exclude=./config.status . | tar -xf - -C "$tree_dir"
        chmod -R u+w "$tree_dir"
    fi
    mkdir -p "$build_dir"
}

logged()                                # a command whose output only matters if it fails
{
    "$@" >>"$build_dir/demo.log" 2>&1 && return 0
    tail -n 25 "$build_dir/demo.log" >&2
    return 1
}

build()
{
    choose_tree
    : >"$build_dir/demo.log"
    cd "$tree_dir"
    [ -x configure ] || logged autoreconf -fi
    cd "$build_dir"
    [ -e Makefile ] || logged "$tree_dir/configure" --quiet
    logged make -j"$(nproc)" all
    logged make -j"$(nproc)" tests/clients/replay tests/clients/replay_morph tests/clients/lua_host
}

# ---- Programs

daemon_start()
{
    mkfifo "$work_dir/ready"
    "$build_dir/morphmemd" --socket="$work_dir/socket" --ready-fd=3 --log-level=warning 3>"$work_dir/ready" &
    daemon=$!
    [ "$(head -c 1 "$work_dir/ready" | wc -c)" -eq 1 ]          # one byte: it listens; none: it has ended
    MORPHMEM_SOCKET=$work_dir/socket
    export MORPHMEM_SOCKET
}

# client_start NAME FD COMMAND...: in the background. What it says is read from descriptor FD, which ends when the client does; what
# it is told goes into the pipe NAME.in. Both pipes are opened for reading and writing first, so that nobody waits for the other.
client_start()
{
    client=$1 fd=$2
    shift 2
    mkfifo "$work_dir/$client.in" "$work_dir/$client.out"
    exec 9<>"$work_dir/$client.out"
    eval "exec $fd<\"\$work_dir/\$client.out\""
    "$@" <>"$work_dir/$client.in" >&9 2>"$work_dir/$client.err" 9>&- &
    eval "pid_$client=$!"
    clients="$clients $!"
    exec 9>&-
}

# client_wait NAME: prints what the client says, until it says that it holds its memory. Leaves the number of its heap in $heap.
client_wait()
{
    heap=
    while [ -z "$heap" ] && read -r word rest; do
        case $word in
            holding) heap=$rest ;;
            *) printf '    %s: %s %s\n' "$1" "$word" "$rest" ;;
        esac
    done
    sed "s/^/    $1: /" "$work_dir/$1.err"
    [ -n "$heap" ]
}

# client_end NAME STATUS: lets it go; its exit status must be STATUS.
client_end()
{
    echo 1<>"$work_dir/$1.in"
    eval "pid=\$pid_$1"
    status=0
    wait "$pid" || status=$?
    [ "$status" -eq "$2" ]
}

# ---- Comparing

figure()                                # figure SUBJECT METRIC, out of comparison.json
{
    sed -n "s/.*\"subject\":\"$1\",\"metric\":\"$2\",\"value\":\([^,]*\),.*/\1/p" "$work_dir/comparison.json"
}

compare()
{
    for subject in malloc-nofree malloc-free pool arena arena-typed; do
        "$build_dir/tests/clients/replay" "$trace" --subject "$subject" --repeat 5 --json >>"$work_dir/comparison.json"
    done
    printf '\n%s%-34s %9s %13s %13s %15s%s\n' "$bold" "" "time" "x malloc+free" "memory" "x malloc alone" "$plain"
    compare_row malloc-nofree "malloc, nothing freed"
    compare_row malloc-free "malloc and free"
    compare_row pool "morphmem pool, freed singly"
    compare_row arena "morphmem arena"
    compare_row arena-typed "morphmem arena, all of it typed"
}

# figure_of KEY: of the statistics that the Morph program wrote at its end.
figure_of() { sed -n "s/^ *\"$1\": \([0-9]*\),*$/\1/p" "$work_dir/morph.json"; }

compare_row()
{
    awk -v name="$2" -v ms="$(figure "$1" wall_ms)" -v mb="$(figure "$1" peak_mb)" \
        -v base_ms="$(figure malloc-free wall_ms)" -v base_mb="$(figure malloc-nofree peak_mb)" \
        'BEGIN { printf "%-34s %6.1f ms %13.2f %9.1f MiB %15.2f\n", name, ms, ms / base_ms, mb, mb / base_mb }'
}

# ---- The story

headline "Packages"
# shellcheck disable=SC2086
need_packages $MORPH_BUILD_PACKAGES
explain "All there."

headline "Building"
build
explain "Built in $build_dir ($(($(date +%s) - started_s)) s since the start)."

headline "Starting a daemon"
explain "morphmemd owns the memory: it keeps zeroed segments ready and hands them to programs. This one is private to the demo."
daemon_start
explain "It listens."

headline "Three programs at work"
explain "1. A compiler's lexer: 1,876,154 real allocations replayed into an arena, and every live object checked on the way."
explain "2. Lua 5.4 as Debian ships it, all of its memory in a heap of at most 8 MiB, running an ordinary script."
explain "3. Lua again, with 4 MiB and a script that keeps everything: it hits the bound and gets Lua's own error. Nothing else does."
echo
client_start lexer 4 "$build_dir/tests/clients/replay" "$trace" --verify --hold
client_start lua 5 "$build_dir/tests/clients/lua_host" --limit 8M --hold "$source_dir/tests/clients/work.lua"
client_wait lexer <&4
lexer_heap=$heap
client_wait lua <&5
client_start grow 6 "$build_dir/tests/clients/lua_host" --limit 4M --name lua-grow --hold "$source_dir/tests/clients/grow.lua"
client_wait grow <&6

headline "Looking at them from outside"
explain "All three are waiting now. What follows the daemon counted from outside; an allocation itself counts nothing."
show morphmemctl heaps
show morphmemctl types "$lexer_heap"
show morphmemctl stats

headline "Letting them go"
client_end lexer 0
client_end lua 0
client_end grow 1
explain "The lexer and the first Lua ended well; the second Lua ended in its error, as it should."

headline "A compiled Morph program, unmodified"
explain "The lexer as its compiler emits it, without barriers and with roots that are never popped, linked with libmorphmem-morph and bounded to 8 MiB."
export MORPHMEM_LIMIT=8M MORPH_MEM_STATS="$work_dir/morph.json"
show "$build_dir/tests/clients/replay_morph" --trace "$trace"
unset MORPHMEM_LIMIT MORPH_MEM_STATS
explain "$(figure_of gc_count) collections, of $(figure_of gc_pause_avg_us) us on average; $(figure_of total_allocated) bytes were allocated, $(figure_of peak_live) alive at most."

headline "Against malloc"
explain "The lexer's trace once more: the median time of five runs, and the most memory that each took from the system."
compare

headline "Done in $(($(date +%s) - started_s)) s"
explain "The programs of this demo are in $build_dir; README.md shows how to write one."
