#!/bin/sh
# test.sh — README's second command: installs what is missing (Debian), builds in build-test/, runs every test, prints the counts.
#
#   ./test.sh [CONFIGURE-ARGUMENT...]       e.g. ./test.sh --enable-asan --enable-ubsan
#
# As root it installs packages; as anyone else it says which are missing. MORPH_BUILD_DIR names another build directory,
# MORPH_TEST_SEED replays seeded tests.
set -eu

source_dir=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/lib/packages.sh
. "$source_dir/tests/lib/packages.sh"
build_dir=${MORPH_BUILD_DIR:-$source_dir/build-test}

# shellcheck disable=SC2086
need_packages $MORPH_BUILD_PACKAGES

logged()                                # a command whose output only matters if it fails
{
    "$@" >"$build_dir/last.log" 2>&1 && return 0
    tail -n 40 "$build_dir/last.log" >&2
    echo "test.sh: failed: $*" >&2
    return 1
}

mkdir -p "$build_dir"
cd "$source_dir"
if [ -e config.status ]; then
    echo "test.sh: this tree is configured in place; 'make distclean' first, or run 'make check' in it" >&2
    exit 1
fi
echo "Building in $build_dir"
[ -x configure ] || logged autoreconf -fi
cd "$build_dir"
logged "$source_dir/configure" --quiet "$@"
logged make -j"$(nproc)"

echo "Running the tests"
status=0
make -j"$(nproc)" check || status=$?
[ "$status" -eq 0 ] || cat tests/*.log tests/*/*.log 2>/dev/null | grep -E '^\[  (FAILED|ERROR) |^\[   LINE|^seed|ERROR: |WARNING: ThreadSanitizer|runtime error' | head -n 60 >&2 || :

# cmocka's closing lines of every test program, summed; a program without them counts as one test.
find tests -name '*.trs' | while read -r trs; do
    log=${trs%.trs}.log
    awk -v result="$(sed -n 's/^:test-result: //p' "$trs" | head -n 1)" '
        /^\[  PASSED  \] [0-9]+ test/ { passed += $4; seen = 1 }
        /^\[  SKIPPED \] [0-9]+ test/ { skipped += $4; seen = 1 }
        /^\[  FAILED  \] [0-9]+ test/ { failed += $4; seen = 1 }
        END {
            if (!seen) { passed = result == "PASS"; skipped = result == "SKIP" }
            if (result != "PASS" && result != "SKIP" && !failed) failed = 1
            print passed + 0, failed + 0, skipped + 0
        }' "$log"
done | awk '{ p += $1; f += $2; s += $3 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 || p == 0 }' || status=1
exit "$status"
