#!/bin/sh
# replay.sh — the traces of tests/data in collected heaps, each under a daemon of its own: what a trace says is alive is intact, what it says
# is dead is gone.
#
#   1. all four, everything collected at each epoch or at each few, the young generation in between;
#   2. the smallest with every kind of root, in every mode, with compaction;
#   3. under a daemon that collects at every refill and verifies the whole heap around each collection;
#   4. a client that collects at every allocation, or at every few (MORPH_DEBUG);
#   5. all four as compiled Morph programs, in heaps of 8 MiB whose objects never move: the programs allocate up to ten times as much.
#
# Run by `make check`. By hand, at the top of a build tree, with MORPHMEMD and MORPHMEMCTL set: tests/replay.sh. MORPH_REPLAY_EVERY=1 looks
# at each epoch of each trace. With MORPH_REPLAY_LIGHT=1, for sanitizers, the lexer has no collections in between (lexer-keep, which is the same
# program with more alive, has them), and the "few" of part 4 are 997 in place of 97: some six hundred collections in place of six thousand,
# and of part 5 the lexer runs once, and torture, which allocates 8 MiB of garbage after each collection, has four of them, not fifty.
set -eu
: "${srcdir:=.}" "${MORPHMEMCTL:?}" "${MORPHMEMD:?}"

data=$srcdir/tests/data
directory=$(mktemp -d ./replay-test-XXXXXX)
trap 'rm -rf "$directory"' EXIT
failures=0
minor=--minor
few=97
seldom=20
if [ -n "${MORPH_REPLAY_LIGHT:-}" ]; then
    minor=
    few=997
    seldom=300
fi

# morphmemctl starts what MORPHMEMD names: for the third part, a script that adds options.
plain=$MORPHMEMD
stressed=$(cd "$directory" && pwd)/morphmemd
cat >"$stressed" <<END
#!/bin/sh
exec "$plain" "\$@" --verify=full --stress=1
END
chmod +x "$stressed"
daemon=$plain
program=tests/clients/replay_collected

# replay TRACE ARGUMENT...
replay()
{
    trace=$data/morph-$1.mtr.xz
    shift
    MORPHMEMD=$daemon "$MORPHMEMCTL" run -- "$program" "$trace" "$@" >"$directory/out" 2>"$directory/err" || {
        failures=$((failures + 1))
        echo "$program $trace $* failed" >&2
        head -n 20 "$directory/err" >&2
    }
}

replay chess --every 1
replay torture --every "${MORPH_REPLAY_EVERY:-2}" --minor
# shellcheck disable=SC2086
replay lexer --every "${MORPH_REPLAY_EVERY:-20}" $minor
replay lexer-keep --every "${MORPH_REPLAY_EVERY:-20}" --minor
replay lexer-keep --every 100 --young 256K --roots vector

for roots in vector handles variables visitor letters; do
    replay chess --roots "$roots"
    replay torture --every 20 --roots "$roots"
done
for mode in vm server; do
    replay chess --mode "$mode"
    replay lexer-keep --mode "$mode" --every 200
done
replay chess --compact
replay torture --compact --every 20

daemon=$stressed
for roots in frame vector handles variables visitor letters; do
    replay chess --minor --roots "$roots"
done
replay torture --every 40

daemon=$plain
program=tests/clients/replay_collected_debug
MORPHMEM_STRESS=1
export MORPHMEM_STRESS
replay chess --roots visitor
MORPHMEM_STRESS=$few
replay torture --every 20

# compiled TRACE ARGUMENT...
compiled()
{
    trace=$data/morph-$1.mtr.xz
    shift
    MORPHMEMD=$daemon "$MORPHMEMCTL" run -- tests/clients/replay_morph --trace "$trace" --check "$@" >"$directory/out" 2>"$directory/err" || {
        failures=$((failures + 1))
        echo "tests/clients/replay_morph --trace $trace --check $* failed" >&2
        head -n 20 "$directory/err" >&2
    }
}

unset MORPHMEM_STRESS
MORPHMEM_LIMIT=8M
export MORPHMEM_LIMIT
for program in chess torture lexer-keep; do
    compiled "$program"
done
for program in chess torture; do
    compiled "$program" --roots pushed --every 10
done
for roots in stack static pushed heap interior; do
    compiled chess --roots "$roots" --collect 1
    compiled torture --roots "$roots" --collect "$seldom"
done
compiled torture --untyped --collect "$seldom"
if [ -z "${MORPH_REPLAY_LIGHT:-}" ]; then
    compiled lexer
    compiled lexer --roots pushed --every 10
    compiled lexer-keep --roots pushed --every 10
    compiled lexer-keep --untyped --every 20
    compiled lexer-keep --instrumented --every 20 --collect 100
fi

[ "$failures" -eq 0 ]
