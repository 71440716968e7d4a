#!/bin/sh
# A small F32 model of the shared data: its greedy text to the byte, and those of its f16 and bf16 files in part. DEVICE, a
# backend to test instead of cpu and reference; TOKENS, how many (200): with fewer, the f32 model alone.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"
[ -n "$SHARED" ] || skip "no shared data"

golden=$SHARED/models/stories260K-greedy-200.txt
devices=${DEVICE:-cpu reference}
tokens=${TOKENS:-200}

expect 0 run "$SHARED/models/stories260K.gguf" -p 'Once upon a time' -n "$tokens" --temp 0 --device "${devices%% *}"
bytes=$(wc -c <"$golden")
if [ "$tokens" -lt 200 ]; then
    bytes=$(($(wc -c <"$work/out") - 1)) # a line's end follows
    [ "$bytes" -gt "$tokens" ] || fail "no $tokens tokens"
fi
cmp -s -n "$bytes" "$golden" "$work/out" || fail "the f32 text is not the golden one"
[ "$tokens" -ge 200 ] || exit 0
for device in $devices; do
    for type in f16 bf16; do
        expect 0 run "$SHARED/models/stories260K-$type.gguf" -p 'Once upon a time' -n 200 --temp 0 --device "$device"
        cmp -s -n 200 "$golden" "$work/out" || fail "the $type text is not the golden one on $device"
    done
done
