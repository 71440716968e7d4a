#!/bin/sh
# The perplexity of the held-out tales agrees with the model's card within 1 %. Only with MIA_TEST_LONG.
# DEVICE, a backend to test instead of cpu.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"
[ -n "${MIA_TEST_LONG:-}" ] || skip "a long test"
[ -n "$SHARED" ] || skip "no shared data"

# agrees TYPE PERPLEXITY
agrees() {
    expect 0 eval "$SHARED/models/mia-tales-9m-$1.gguf" "$SHARED/models/mia-tales-heldout.txt" --ctx 512 \
        --device "${DEVICE:-cpu}"
    cat "$work/out"
    grep -q '^windows: 107 ' "$work/out" || fail "not the card's 107 windows"
    sed -n 's/^perplexity: //p' "$work/out" |
        awk -v card="$2" '{ d = $1 / card - 1; exit !(d < 0.01 && d > -0.01) }' || fail "$1: not $2"
}
agrees q8_0 15.079
agrees q4_0 15.952
