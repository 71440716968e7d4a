#!/usr/bin/env bash
# What the shared library shows to others and needs from others.
#   scripts/exports.sh list  LIBRARY   the exported symbols, one a line
#   scripts/exports.sh write LIBRARY   writes them to tests/exports.txt (make exports)
#   scripts/exports.sh check LIBRARY   compares them with tests/exports.txt; checks names and needed libraries
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

action=$1
library=$2
list=tests/exports.txt

exported() { nm -D --defined-only "$library" | awk '{ print $3 }' | sort; }

# Only our own names, and nothing beyond the C library, its mathematics and threads.
check_names_and_needs() {
    local foreign needed
    foreign=$(exported | grep -v '^mia_' || true)
    if [ -n "$foreign" ]; then
        printf 'exported without the prefix mia_:\n%s\n' "$foreign"
        return 1
    fi
    needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p')
    foreign=$(printf '%s\n' "$needed" | grep -Ev '^(lib(c|m|pthread|mvec)\.so\.[0-9]+|ld-linux.*)?$' || true)
    if [ -n "$foreign" ]; then
        printf 'the library needs more than libc, libm and threads:\n%s\n' "$foreign"
        return 1
    fi
}

case $action in
    list) exported ;;
    write) exported >"$list" ;;
    check)
        check_names_and_needs
        if ! difference=$(diff -u "$list" <(exported)); then
            printf 'the exported symbols are not those of %s; `make exports` writes it anew:\n%s\n' \
                "$list" "$difference"
            exit 1
        fi
        echo "$(exported | wc -l) exported symbols"
        ;;
    *)
        echo "usage: scripts/exports.sh list|write|check LIBRARY" >&2
        exit 2
        ;;
esac
