#!/bin/sh
# wall.sh — rules of the tree that a compiler does not check:
#   - the wall: client/ and daemon/ never include each other (daemon/ may have morphmem/error.h), shm/ and proto/ include neither,
#     and nothing that is shipped includes tests/;
#   - each design tag ([heap.refill]) that the code cites stands in docs/design/;
#   - no file names a path of some machine;
#   - no file of the tests waits by sleeping, but for the one place that says why.
# Run by `make check`, or by hand from the top of the tree. Prints every violation; ends with 0 if there was none.
set -u
cd "${srcdir:-.}" || exit 99
[ -d shm ] && [ -d daemon ] || { echo "wall.sh: run it at the top of the source tree, or set srcdir"; exit 99; }

checks=0
failures=0

# check SENTENCE VIOLATIONS: fails if there are any, and shows them.
check()
{
    checks=$((checks + 1))
    [ -z "$2" ] && return
    failures=$((failures + 1))
    echo "not so: $1"
    echo "$2" | sed 's/^/    /'
}

# includes FOLDER PATTERN: lines of the folder that include what the pattern says.
includes()
{
    find "$1" -name '*.[chS]' -o -name '*.cc' -o -name '*.def' | xargs grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$2"
}

check "client/ includes nothing of daemon/ but its lists" \
    "$(includes client 'daemon/' | grep -vE 'include "daemon/(stats|options)\.def"')"
check "daemon/ includes nothing of client/ but morphmem/error.h" \
    "$(includes daemon '(client/|morphmem/)' | grep -vE 'morphmem/error\.h[">]')"
for folder in shm proto; do
    check "$folder/ includes neither client/ nor daemon/" "$(includes $folder '(client/|daemon/|morphmem/)')"
done
check "shm/ does not include proto/" "$(includes shm 'proto/')"
for folder in shm proto client daemon; do
    check "$folder/ does not include tests/" "$(includes $folder 'tests/')"
done
check "the public headers include standard headers only" \
    "$(includes client/include '[^m]' | grep -vE '<std(bool|def|int)\.h>')"

# Tags are cited in comments, after a blank or a parenthesis: [module.rule]. An index into an array has no blank before it.
tags_of() { grep -hoE '(^|[[:space:](])\[[a-z][a-z-]*\.[a-z][a-z-]*\]' "$@" 2>/dev/null | grep -oE '\[.*\]' | sort -u; }
known=$(tags_of $(find docs/design -name '*.md'))
uncovered()
{
    find client daemon shm proto tests -name '*.[ch]' | while read -r file; do
        for tag in $(tags_of "$file"); do
            echo "$known" | grep -qF "$tag" || echo "$file cites $tag"
        done
    done
}
check "every design tag that the code cites stands in docs/design/" "$(uncovered)"

# The brackets keep this file from finding itself.
machine_paths()
{
    find client daemon shm proto tests systemd docs ./*.ac ./*.am ./*.md ./*.sh -type f ! -name '*.xz' 2>/dev/null |
        xargs grep -nIE '(^|[^a-z.])/([w]ork|[r]oot|[h]ome|[U]sers)/[a-z]|\.[l]ibrary/'
}
check "no file names a path of some machine" "$(machine_paths)"

check "tests wait for conditions, not for time" \
    "$(find tests -name '*.[ch]' ! -path 'tests/bench/*' | xargs grep -nE '[^a-z_](us|nano)?sleep\(' |
        grep -vE 'tests/lib/check\.c|the random moment|the length of the stop')"

echo "$checks checks, $failures failures"
[ "$failures" -eq 0 ]
