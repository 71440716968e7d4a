#!/usr/bin/env bash
# Configures, builds and tests one preset: scripts/suite.sh PRESET [ctest arguments...]. Part of `make test-all`.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=$1
shift
jobs=${JOBS:-$(nproc)}

unset CC CXX CFLAGS CXXFLAGS LDFLAGS # the preset says what it builds with
cmake --preset "$preset"
cmake --build --preset "$preset" --parallel "$jobs"

# The thread sanitizer wants its shadow memory at fixed places, which much address randomisation takes from it.
fixed_addresses=()
if [ "$preset" = tsan ] && setarch -R true 2>/dev/null; then
    fixed_addresses=(setarch -R)
fi
"${fixed_addresses[@]}" ctest --preset "$preset" --parallel 2 --no-tests=error --no-label-summary "$@"
