#!/bin/sh
# The perplexity of the held-out tales agrees with the model's card within 1 %. Only with MIA_TEST_LONG.
# DEVICE, a backend to test instead of cpu. LINES, of the tales, for drivers that take long: the cpu's own figure stands in
# for the card's.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"
[ -n "${MIA_TEST_LONG:-}" ] || skip "a long test"
[ -n "$SHARED" ] || skip "no shared data"

tales=$SHARED/models/mia-tales-heldout.txt
if [ -n "${LINES:-}" ]; then
    head -n "$LINES" "$tales" >"$work/tales.txt"
    tales=$work/tales.txt
fi

# perplexity TYPE DEVICE: prints it, and leaves the whole report in $work/out
perplexity() {
    expect 0 eval "$SHARED/models/mia-tales-9m-$1.gguf" "$tales" --ctx 512 --device "$2"
    sed -n 's/^perplexity: \([0-9.]*\).*/\1/p' "$work/out"
}

# agrees TYPE PERPLEXITY
agrees() {
    card=$2
    [ -z "${LINES:-}" ] || card=$(perplexity "$1" cpu)
    found=$(perplexity "$1" "${DEVICE:-cpu}")
    cat "$work/out"
    [ -n "${LINES:-}" ] || grep -q '^windows: 107 ' "$work/out" || fail "not the card's 107 windows"
    awk -v found="$found" -v card="$card" 'BEGIN { d = found / card - 1; exit !(d < 0.01 && d > -0.01) }' ||
        fail "$1: $found, not $card"
}
agrees q8_0 15.079
agrees q4_0 15.952
