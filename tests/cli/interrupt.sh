#!/bin/sh
# Ctrl-C: the text ends after the token in progress, with a newline, the figures and exit code 130.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

# interrupts SIGNAL ARGUMENT...: sends it once text comes
interrupts() {
    signal=$1
    shift
    : >"$work/out"
    "$MIA" run "$model" -p 'Once upon a time' --device reference --seed 5 "$@" >"$work/out" 2>"$work/err" </dev/null &
    process=$!
    for _ in $(seq 300); do
        [ "$(wc -c <"$work/out")" -le 20 ] || break
        kill -0 $process 2>/dev/null || break
        sleep 0.05
    done
    kill -"$signal" $process || fail "it ended before the signal"
    code=0
    wait $process || code=$?
    [ $code -eq 130 ] || fail "exit code $code after SIG$signal"
}

for signal in INT TERM; do
    interrupts $signal
    [ "$(wc -c <"$work/out")" -gt 20 ] || fail "no text before the signal"
    [ "$(tail -c 1 "$work/out" | od -An -c | tr -d ' ')" = '\n' ] || fail "no newline at the end"
    generated=$(figure generated | sed 's/ .*//')
    [ "$generated" -gt 0 ] && [ "$generated" -lt 490 ] || fail "generated: $generated"
    figure load | grep -q 'ms$' || fail "no figures"
done
