#!/bin/sh
# scheme.sh — Scheme programs in collected heaps, each under a daemon of its own, and what they must print.
#
#   1. at their natural size;
#   2. small, under a daemon that collects at every refill and verifies the whole heap around each collection;
#   3. small, in the other modes, and with a small young generation;
#   4. programs that fail: a line on standard error and status 1.
#
# Run by `make check`. By hand, at the top of a build tree, with MORPHMEMD and MORPHMEMCTL set: tests/scheme.sh [PROGRAM...], where a
# program is one of tests/clients/scheme/programs without its ending.
set -eu
: "${srcdir:=.}" "${MORPHMEMCTL:?}" "${MORPHMEMD:?}"

scheme=tests/clients/scheme/scheme
programs=$srcdir/tests/clients/scheme/programs
directory=$(mktemp -d ./scheme-test-XXXXXX)
trap 'rm -rf "$directory"' EXIT
failures=0

# morphmemctl starts what MORPHMEMD names: for the second part, a script that adds options.
plain=$MORPHMEMD
stressed=$(cd "$directory" && pwd)/morphmemd
cat >"$stressed" <<END
#!/bin/sh
exec "$plain" "\$@" --verify=full --stress=1
END
chmod +x "$stressed"
daemon=$plain

fail()
{
    failures=$((failures + 1))
    echo "$1" >&2
    [ ! -s "$directory/diff" ] || head -n 20 "$directory/diff" >&2
    [ ! -s "$directory/err" ] || head -n 20 "$directory/err" >&2
    rm -f "$directory/diff"
}

# run ARGUMENT...: the interpreter under a fresh daemon; its output and what is said about it in files.
run()
{
    MORPHMEMD=$daemon "$MORPHMEMCTL" run -- "$scheme" --stats "$@" >"$directory/out" 2>"$directory/err"
}

# expect WHAT OUTPUT ARGUMENT...: runs, and compares what is printed.
expect()
{
    what=$1
    output=$2
    shift 2
    if ! run "$@"; then
        fail "$what failed"
    elif ! diff "$output" "$directory/out" >"$directory/diff"; then
        fail "$what printed something else:"
    fi
}

# Without this the second part would prove nothing.
expect_collections()
{
    grep -q '^scheme: [1-9][0-9]* collections' "$directory/err" || fail "$1 has not been collected"
}

# expect_error SENTENCE ARGUMENT...: status 1, and the line.
expect_error()
{
    sentence=$1
    shift
    status=0
    run "$@" || status=$?
    [ "$status" -eq 1 ] || fail "status $status, not 1, where this was to be said: $sentence"
    grep -qxF "scheme: $sentence" "$directory/err" || fail "not said: $sentence"
}

# What some programs want; the others nothing.
options_of()
{
    case $1 in
        limit) echo "--limit 16M" ;;
    esac
}

[ $# -gt 0 ] || set -- $(for file in "$programs"/*.scm; do basename "$file" .scm; done)
for name in "$@"; do
    # shellcheck disable=SC2046
    expect "$name" "$programs/$name.out" $(options_of "$name") "$programs/$name.scm"
    daemon=$stressed
    # shellcheck disable=SC2046
    expect "$name, stressed," "$programs/$name.small.out" $(options_of "$name") -D scale=1 "$programs/$name.scm"
    expect_collections "$name, stressed,"
    daemon=$plain
done

for mode in vm server; do
    expect "expand in mode $mode" "$programs/expand.small.out" --mode "$mode" -D scale=1 "$programs/expand.scm"
    expect "trees in mode $mode" "$programs/trees.small.out" --mode "$mode" -D scale=1 "$programs/trees.scm"
done
expect "identity with a small young generation" "$programs/identity.small.out" --limit 64M --young 256K -D scale=1 "$programs/identity.scm"
expect_collections "identity with a small young generation"
expect "sort with a small young generation" "$programs/sort.small.out" --limit 64M --young 256K -D scale=1 "$programs/sort.scm"

echo '(display "before ") (car 5)' >"$directory/error.scm"
expect_error "$directory/error.scm:1: car: not a pair: 5" "$directory/error.scm"
grep -q '^before $' "$directory/out" || fail "what a program printed before it failed is lost"
printf '(define (f x)\n  x' >"$directory/error.scm"
expect_error "$directory/error.scm:2: a closing parenthesis is missing" "$directory/error.scm"
printf '(define (f list)\n  (f (cons list list)))\n\n(f 1)\n' >"$directory/error.scm"
expect_error "$directory/error.scm:4: $(sed -n 's/.*X(NOMEM, *1, "\(.*\)").*/\1/p' "$srcdir/client/include/morphmem/error.h")" \
    --limit 8M "$directory/error.scm"

[ "$failures" -eq 0 ]
