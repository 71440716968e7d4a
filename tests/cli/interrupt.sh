#!/bin/sh
# Ctrl-C: the text and the reading of a prompt end at once, with a newline, the figures and exit code 130.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

# interrupts SIGNAL BYTES ARGUMENT...: sends it once there are more bytes of the text than that, and $pause seconds later
pause=0
interrupts() {
    signal=$1
    bytes=$2
    shift 2
    : >"$work/out"
    "$MIA" run "$model" --seed 5 "$@" >"$work/out" 2>"$work/err" </dev/null &
    process=$!
    for _ in $(seq 300); do
        [ "$(wc -c <"$work/out")" -le "$bytes" ] || break
        kill -0 $process 2>/dev/null || break
        sleep 0.05
    done
    sleep $pause
    kill -"$signal" $process || fail "it ended before the signal"
    code=0
    wait $process || code=$?
    [ $code -eq 130 ] || fail "exit code $code after SIG$signal"
    [ "$(tail -c 1 "$work/out" | od -An -c | tr -d ' ')" = '\n' ] || fail "no newline at the end"
    figure load | grep -q 'ms$' || fail "no figures"
}

for signal in INT TERM; do
    interrupts $signal 20 -p 'Once upon a time' --device reference
    [ "$(wc -c <"$work/out")" -gt 20 ] || fail "no text before the signal"
    generated=$(figure generated | sed 's/ .*//')
    [ "$generated" -gt 0 ] && [ "$generated" -lt 490 ] || fail "generated: $generated"
done

# The prompt is printed before it is read; a moment later the signal comes in one of its some seventy parts.
prompt=$(yes 'Once upon a time there was a king who had a fox.' | head -2500)
pause=0.2
interrupts INT 100000 -p "$prompt" --ctx 40000
figure prompt | grep -Eqx '([0-9]+ of [0-9]+ tokens, [0-9.]+ tokens/s|[0-9]+ tokens)' || fail "the prompt is read to its end"
[ "$(figure generated)" = '0 tokens' ] || fail "a token after a prompt that was not read"
# however long a part takes: on the reference backend one of 512 tokens is a matter of minutes
pause=1
interrupts INT 5000 -p "$(echo "$prompt" | head -120)" --ctx 4000 --device reference
figure prompt | grep -Eqx '[0-9]+ tokens' || fail "a part was read: $(figure prompt)"
[ "$(figure generated)" = '0 tokens' ] || fail "a token after a prompt that was not read"
