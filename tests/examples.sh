#!/bin/sh
# examples.sh — the programs of the README and of libmorphmem(3), built by this make, run under a daemon of their own; and the texts that
# show them are these programs.
set -eu
: "${srcdir:=.}" "${MORPHMEMCTL:?}"

for example in readme compiler pool server roots; do
    "$MORPHMEMCTL" run -- "tests/clients/example_$example" >"examples-$example.out" 2>"examples-$example.err" || {
        cat "examples-$example.out" "examples-$example.err" >&2
        echo "example_$example failed" >&2
        exit 1
    }
    [ -s "examples-$example.out" ] || { echo "example_$example said nothing" >&2; exit 1; }
    rm -f "examples-$example.out" "examples-$example.err"
done

# README: the first block of C is the file, to the letter.
sed -n '/^```c$/,/^```$/p' "$srcdir/README.md" | sed '1d;/^```$/,$d' | cmp - "$srcdir/tests/clients/example_readme.c" || {
    echo "README.md and tests/clients/example_readme.c differ" >&2
    exit 1
}
