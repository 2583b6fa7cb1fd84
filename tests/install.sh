#!/bin/sh
# install.sh PREFIX SOURCES — is what `make install` left below PREFIX enough? Builds programs with pkg-config alone, in a directory outside the
# tree, runs them under a daemon of the installation, and looks for everything that should be there. Needs no rights.
set -eu

prefix=$1 sources=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig" LD_LIBRARY_PATH="$prefix/lib"
unset MORPHMEM_SOCKET MORPHMEMD || :

for file in bin/morphmemd bin/morphmemctl lib/libmorphmem.so lib/libmorphmem.a lib/pkgconfig/morphmem.pc \
    lib/libmorphmem-morph.so lib/pkgconfig/morphmem-morph.pc \
    include/morphmem/morphmem.h include/morphmem/fast.h include/morphmem/error.h include/morphmem/morph-mem.h \
    share/man/man3/libmorphmem.3 share/man/man5/morphmemd.conf.5 share/man/man8/morphmemctl.8 share/man/man8/morphmemd.8 \
    share/bash-completion/completions/morphmemctl etc/morphmem/morphmemd.conf \
    lib/systemd/system/morphmemd.service lib/systemd/system/morphmemd.socket lib/tmpfiles.d/morphmem.conf lib/sysusers.d/morphmem.conf; do
    [ -e "$prefix/$file" ] || { echo "missing after make install: $file" >&2; exit 1; }
done

# Nothing but morph_* leaves the library.
strays=$(nm -D --defined-only "$prefix/lib/libmorphmem.so" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' | grep -v '^morph_[a-z]' || :)
[ -z "$strays" ] || { echo "symbols that should be hidden: $strays" >&2; exit 1; }
strays=$(nm -D --defined-only "$prefix/lib/libmorphmem-morph.so" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' |
    grep -vE '^(morph_mem_[a-z]|MORPH_CONFIG_|mph_[a-z]|__cyg_profile_func_)' || :)
[ -z "$strays" ] || { echo "symbols that should be hidden: $strays" >&2; exit 1; }

cat >v2.c <<'END'
#include <morphmem/morph-mem.h>
int main(void)
{
    MorphContextV2 *ctx = morph_mem_init(MORPH_CONFIG_RUNTIME);
    return !ctx || !morph_mem_alloc(ctx, 100, 1) || morph_mem_print_stats(ctx) < 0 || morph_mem_destroy(ctx) < 0;
}
END
# shellcheck disable=SC2046
cc -std=gnu11 -Wall -Wextra -Werror v2.c -o v2 $(pkg-config --cflags --libs morphmem-morph)
"$prefix/bin/morphmemctl" run -- ./v2 >v2.out 2>&1 && grep -q '^=== Morph Memory V2 Statistics ===$' v2.out || { cat v2.out >&2; exit 1; }

# A compiled program of the Morph language: its own declarations, nothing of ours but the library.
mkdir tests
ln -s "$sources" tests/clients
# shellcheck disable=SC2046
cc -std=gnu11 -O2 -I. "$sources"/morph/*.c -o morph $(pkg-config --libs morphmem-morph) -pthread
MORPHMEM_LIMIT=8M MORPH_MEM_STATS=morph.json "$prefix/bin/morphmemctl" run -- ./morph strings >morph.out 2>&1 || { cat morph.out >&2; exit 1; }
grep -q '"gc_count": [1-9]' morph.json

"$prefix/bin/morphmemd" --config "$prefix/etc/morphmem/morphmemd.conf" --print-config >config
grep -q '^pool_min = 8M$' config

for example in readme compiler pool; do
    # shellcheck disable=SC2046
    cc -std=gnu11 -Wall -Wextra -Werror "$sources/example_$example.c" -o "$example" $(pkg-config --cflags --libs morphmem)
    "$prefix/bin/morphmemctl" run -- "./$example" >"$example.out" 2>"$example.err" || { cat "$example.out" "$example.err" >&2; exit 1; }
    [ -s "$example.out" ]
    grep -q closed "$example.err"
done
# shellcheck disable=SC2046
cc -std=gnu11 "$sources/example_compiler.c" -o static $(pkg-config --cflags morphmem) "$prefix/lib/libmorphmem.a" $(pkg-config --static --libs-only-other --libs-only-l morphmem | sed 's/-lmorphmem//')
"$prefix/bin/morphmemctl" run -- ./static >static.out 2>&1
echo "the installation in $prefix works for user $(id -u)"
