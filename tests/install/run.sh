#!/usr/bin/env bash
# Installs a build into a temporary folder, moves that folder, and uses what lies there as others would: through
# pkg-config, through find_package, and by running the program. tests/install/run.sh BUILD_FOLDER
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
build=$1
cmake=${CMAKE:-cmake}
export CC=${CC:-cc}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$cmake" --install "$build" --prefix "$work/first" >"$work/install.log"
mv "$work/first" "$work/prefix" # an installed tree can be moved
prefix=$work/prefix
libdir=$(dirname "$(find "$prefix" -name libmia.a)")

expect() { # expect WHAT WANTED GOT
    if [ "$2" != "$3" ]; then
        printf '%s: expected "%s", got "%s"\n' "$1" "$2" "$3"
        exit 1
    fi
}

export PKG_CONFIG_PATH=$libdir/pkgconfig
expect "pkg-config --modversion" "$VERSION" "$(pkg-config --modversion mia)"
# shellcheck disable=SC2046 # the flags are meant to be split
$CC -std=c11 "$here/consumer/main.c" $(pkg-config --cflags --libs mia) -o "$work/by-pkg-config"
expect "pkg-config" "$VERSION" "$(LD_LIBRARY_PATH=$libdir "$work/by-pkg-config")"

# The line of README and examples/story.c; without a model the example tells its usage.
# shellcheck disable=SC2046
$CC "$here/../../examples/story.c" $(pkg-config --cflags --libs mia) -o "$work/story"
code=0
LD_LIBRARY_PATH=$libdir "$work/story" 2>"$work/usage.txt" || code=$?
expect "story without a model" "2 usage:" "$code $(cut -d ' ' -f 1 "$work/usage.txt")"
if [ -e "$libdir/libmia.so" ]; then # programs find the library by the version that may break them
    soname=libmia.so.${VERSION%%.*}
    case $VERSION in 0.*) soname=libmia.so.${VERSION%.*} ;; esac
    expect "soname" "$soname" "$(readlink "$libdir/libmia.so")"
fi

mkdir "$work/archive" # with the static library alone
cp "$libdir/libmia.a" "$work/archive/"
# shellcheck disable=SC2046
$CC -std=c11 "$here/consumer/main.c" $(pkg-config --cflags mia) -L"$work/archive" \
    $(pkg-config --static --libs-only-l --libs-only-other mia) -o "$work/by-archive"
expect "pkg-config --static" "$VERSION" "$("$work/by-archive")"

"$cmake" -S "$here/consumer" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$prefix" -DMIA_WANTED="$VERSION" \
    >"$work/configure.log"
"$cmake" --build "$work/consumer" >"$work/build.log" || { cat "$work/build.log" && exit 1; }
expect "find_package" "$VERSION" "$("$work/consumer/consumer")"
if [ -x "$work/consumer/consumer-shared" ]; then
    expect "find_package, shared" "$VERSION" "$("$work/consumer/consumer-shared")"
fi

if [ -x "$build/mia" ]; then
    "$prefix/bin/mia" --help >"$work/help.txt"
    grep -q run "$work/help.txt" || { echo "mia --help does not name its commands" && exit 1; }
    model=$(find "$prefix/share/mia/models" -name '*.gguf' | head -n 1)
    test -n "$model" || { echo "no model was installed" && exit 1; }
    if "$prefix/bin/mia" run -n 1 -p Once --temp 0 >"$work/story.txt" 2>"$work/story.err"; then
        grep -q Once "$work/story.txt"
    else
        echo "the installed program does not run its bundled model:" && cat "$work/story.err" && exit 1
    fi
fi

leaks=$(grep -rlF "$work/first" "$prefix/lib"*/pkgconfig "$prefix/lib"*/cmake 2>/dev/null || true)
expect "files that hold the first prefix" "" "$leaks"
echo "installed, moved and used"
