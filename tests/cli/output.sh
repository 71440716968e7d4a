#!/bin/sh
# Standard output that takes no more: exit code 1 and a line. MIA_DEBUG and Ctrl-C.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

# a reader that goes away
{
    code=0
    "$MIA" run "$model" -p 'Once upon a time' -n 100 --seed 1 2>"$work/err" || code=$?
    echo $code >"$work/code"
} | head -c 4 >/dev/null
[ "$(cat "$work/code")" -eq 1 ] || fail "exit code $(cat "$work/code") when the reader goes away"
grep -q '^mia run: standard output: ' "$work/err" || fail "no message when the reader goes away"

# a full disk
if [ -w /dev/full ]; then
    for command in "run $model -n 3" "devices" "--version" "run --help" "eval $model --tokens 1,2,3,4 --ctx 4" \
        "inspect $model"; do
        code=0
        # shellcheck disable=SC2086
        "$MIA" $command >/dev/full 2>"$work/err" || code=$?
        [ $code -eq 1 ] || fail "mia $command: exit code $code on a full disk"
        [ "$(grep -c 'No space left' "$work/err")" -eq 1 ] || fail "mia $command: no message on a full disk"
    done
    refuses 1 '/dev/full: No space left' eval "$model" --tokens 1,2,3 --logits /dev/full
fi
code=0
"$MIA" run "$model" -n 3 >&- 2>"$work/err" || code=$?
[ $code -eq 1 ] || fail "exit code $code with standard output closed"

# the library's commentary, on standard error alone
expect 0 run "$model" -p Once -n 2 --temp 0
cp "$work/out" "$work/quiet"
lines=$(wc -l <"$work/err")
MIA_DEBUG=plan
export MIA_DEBUG
expect 0 run "$model" -p Once -n 2 --temp 0
unset MIA_DEBUG
cmp -s "$work/out" "$work/quiet" || fail "MIA_DEBUG changes standard output"
[ "$(wc -l <"$work/err")" -gt "$lines" ] || fail "MIA_DEBUG=plan prints nothing"
MIA_DEBUG=plans expect 0 run "$model" -p Once -n 2 --temp 0
grep -q '^MIA_DEBUG: the words are' "$work/err" || fail "a wrong word in MIA_DEBUG is not told"
