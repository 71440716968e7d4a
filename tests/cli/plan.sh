#!/bin/sh
# mia plan: what it says is what other commands then use, to the byte; the largest context that fits.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

# bytes FILE NAME: the bytes on the line of that name
bytes() { sed -n "s/^$2: \([0-9]*\) bytes.*/\1/p" "$work/$1"; }

# same_as_bench TOKENS GENERATED PLAN-OPTION...: the total is bench's peak
same_as_bench() {
    expect 0 bench "$model" -p "$1" -n "$2" --repeat 2 --threads 2
    peak=$(bytes out peak)
    shift 2
    expect 0 plan "$model" "$@"
    [ "$(bytes out total)" -eq "$peak" ] || fail "mia plan $*: not the $peak bytes that mia bench used"
}
same_as_bench 300 0 --ctx 300 --rows 300
same_as_bench 0 40 --ctx 40 -n 40
same_as_bench 0 270 --ctx 270 -n 270

# The parts are the total, and the limit that just that much memory is lets the model run.
expect 0 plan "$model" --ctx 100
sum=0
for part in 'weights used as in the file' 'weights in prepared forms' caches arena 'other inputs and outputs'; do
    sum=$((sum + $(bytes out "$part")))
done
total=$(bytes out total)
[ "$sum" -eq "$total" ] || fail "the parts are $sum bytes, the total is $total"
expect 0 run "$model" --ctx 100 -n 2 --max-memory "$total"
refuses 1 "needs $total bytes, the limit is $((total - 1))" run "$model" --ctx 100 -n 2 --max-memory $((total - 1))

# The largest context that fits: one token more does not.
for memory in 12M 20000000; do
    expect 0 plan "$model" --memory "$memory"
    context=$(sed -n 's/^context: \([0-9]*\) tokens*$/\1/p' "$work/out")
    limit=$memory
    [ "$memory" = 12M ] && limit=$((12 * 1024 * 1024))
    [ "$(bytes out total)" -le "$limit" ] || fail "a context of $context tokens does not fit $memory"
    expect 0 inspect "$model"
    trained=$(sed -n 's/.*llama.context_length[^0-9]*\([0-9]*\).*/\1/p' "$work/out" | head -n 1)
    [ "$context" -eq "${trained:-0}" ] && continue
    expect 0 plan "$model" --ctx $((context + 1))
    [ "$(bytes out total)" -gt "$limit" ] || fail "a context of $((context + 1)) tokens fits $memory too"
done
expect 0 plan "$model" --ctx 50 --memory 1G
grep -qx 'context: 50 tokens' "$work/out" || fail "--ctx is not the most that --memory finds"
refuses 1 'a context of 1 token needs [0-9]* bytes, more than 1024' plan "$model" --memory 1K

refuses 2 'exclude each other' plan "$model" --memory 1G --rows 3
refuses 1 'the context holds 20' plan "$model" --ctx 20 --rows 21
refuses 1 'none' plan "$work/none"
if "$MIA" plan "$model" --ctx 64 --json >"$work/json" 2>/dev/null; then
    expect 0 plan "$model" --ctx 64
    [ "$(json "$work/json" 'd["total_bytes"]')" -eq "$(bytes out total)" ] || fail "mia plan --json: another total"
    [ "$(json "$work/json" 'd["context"]')" -eq 64 ] || fail "mia plan --json: another context"
fi

# Every pass of the planner tells what it did.
MIA_DEBUG=plan "$MIA" plan "$model" --rows 4 >"$work/out" 2>"$work/err" || fail "MIA_DEBUG=plan mia plan"
for pass in cse dead lower fuse order buffers arena; do
    grep -q "^$pass: " "$work/err" || fail "MIA_DEBUG=plan does not tell what $pass did"
done
