#!/usr/bin/env bash
# The style of the tree: formatting, length of files, direction of includes, shell scripts, clang-tidy.
#   scripts/lint.sh [BUILD_FOLDER]   the folder holds compile_commands.json, from a configured build with tests
#   scripts/lint.sh --format         formats the sources instead
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in clang-format run-clang-tidy shellcheck python3; do
    command -v $tool >/dev/null || { echo "lint: $tool is not installed" >&2 && exit 1; }
done

build=${1:-build}
jobs=${JOBS:-$(nproc)}
longest=1000
status=0

# Programs that must not compile are laid out for their diagnostics.
mapfile -t c_sources < <(find src include cli tests bench examples -type f \
    \( -name '*.c' -o -name '*.h' -o -name '*.cpp' \) -not -path 'tests/compile/fail/*' | sort)
mapfile -t scripts < <(find scripts tests bench .ci -type f \( -name '*.sh' -o -path '.ci/run' \) | sort)

step() { # step NAME COMMAND...
    local name=$1 start=$SECONDS
    shift
    if "$@"; then
        echo "lint: $name: clean ($((SECONDS - start)) s)"
    else
        echo "lint: $name: FAULTS ($((SECONDS - start)) s)"
        status=1
    fi
}

file_lengths() {
    local long
    long=$(find src include cli tests bench examples web -type f \
        \( -name '*.c' -o -name '*.h' -o -name '*.cpp' -o -name '*.def' -o -name '*.sh' -o -name '*.py' \
        -o -name '*.js' -o -name '*.mjs' -o -name '*.ts' \) -not -path '*/node_modules/*' \
        -exec awk -v longest="$longest" 'END { if (NR > longest) print FILENAME ": " NR " lines" }' {} \; 2>/dev/null)
    [ -z "$long" ] || { echo "$long" && return 1; }
}

formatting() {
    local faults
    faults=$(clang-format --dry-run -Werror "${c_sources[@]}" 2>&1 | sed -n 's/:[0-9]*:[0-9]*: error: .*//p' | sort | uniq -c)
    [ -z "$faults" ] || { echo "places to format (make format):" && echo "$faults" && return 1; }
}

includes() { python3 tests/includes/check.py .; }

# The files of the compile database below our folders, as the expressions that run-clang-tidy takes. status.c defines
# what analyzer.h stands in for, and is analysed without it.
database_files() {
    python3 - "$build" "$PWD" <<'PYTHON'
import json, re, sys
build, tree = sys.argv[1:]
with open(f"{build}/compile_commands.json", encoding="utf-8") as database:
    files = {entry["file"] for entry in json.load(database)}
ours = tuple(f"{tree}/{folder}/" for folder in ("src", "cli", "tests", "bench", "examples"))
print("\n".join("^" + re.escape(f) + "$" for f in sorted(files) if f.startswith(ours)))
PYTHON
}

tidy() {
    local log files defines others result=0
    log=$(mktemp)
    mapfile -t files < <(database_files)
    # warnings of gcc that clang does not know are no fault of the sources
    set -- -p "$build" -j "$jobs" -quiet -extra-arg=-Wno-unknown-warning-option
    mapfile -t defines < <(printf '%s\n' "${files[@]}" | grep 'src/base/status')
    mapfile -t others < <(printf '%s\n' "${files[@]}" | grep -v 'src/base/status')
    run-clang-tidy "$@" "${defines[@]}" >"$log" 2>&1 || result=1
    run-clang-tidy "$@" -extra-arg=-include -extra-arg="$PWD/scripts/analyzer.h" "${others[@]}" >>"$log" 2>&1 || result=1
    if [ $result -ne 0 ]; then
        grep -vE '^(clang-tidy|[0-9]+ warnings? )' "$log" || true
    fi
    rm -f "$log"
    return $result
}

if [ "$build" = --format ]; then
    clang-format -i "${c_sources[@]}"
    exit
fi

step format formatting
step "file length" file_lengths
step includes includes
step shellcheck shellcheck --severity=warning "${scripts[@]}"
if [ -f "$build/compile_commands.json" ]; then
    step clang-tidy tidy
else
    echo "lint: $build/compile_commands.json is missing: configure that build first"
    status=1
fi
exit $status
