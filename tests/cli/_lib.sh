#!/bin/sh
# What the scripts of this folder share. Each sources it first. From the environment: MIA, the program; MODELS, the folder
# of the bundled model; SHARED, a folder of further data, or empty.
set -eu
: "${MIA:?the path of the mia program}" "${MODELS:?the folder of the bundled model}"
SHARED=${SHARED:-}
LC_ALL=C
export LC_ALL
unset MIA_DEBUG

# shellcheck disable=SC2034 # the other scripts use it
model=$MODELS/mia-tales-9m-q8_0.gguf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "FAIL: $*"
    for kept in out err; do
        [ ! -s "$work/$kept" ] || { echo "--- $kept:"; head -c 2000 "$work/$kept"; }
    done
    exit 1
}

skip() {
    echo "skipped: $*"
    exit 77
}

# expect CODE ARGUMENT...: runs mia; its output goes to $work/out and $work/err
expect() {
    wanted=$1
    shift
    code=0
    "$MIA" "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
    [ "$code" -eq "$wanted" ] || fail "mia $*: exit code $code, not $wanted"
}

# refuses CODE PATTERN ARGUMENT...: nothing on stdout, and one line on stderr that matches
refuses() {
    wanted=$1
    pattern=$2
    shift 2
    expect "$wanted" "$@"
    [ ! -s "$work/out" ] || fail "mia $*: it wrote to standard output"
    [ "$(wc -l <"$work/err")" -eq 1 ] || fail "mia $*: not one line on standard error"
    grep -q -e "$pattern" "$work/err" || fail "mia $*: the line does not match: $pattern"
}

# figure NAME: what stands behind "NAME: " on standard error
figure() { sed -n "s/^$1: //p" "$work/err"; }

# json FILE EXPRESSION: evaluates a Python expression on the object d of the file
json() { python3 -c 'import json, sys
d = json.load(open(sys.argv[1], "rb"))
print(eval("(" + sys.argv[2] + ")"))' "$1" "$2"; }
