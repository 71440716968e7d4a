#!/bin/sh
# A small F32 model of the shared data: its greedy text to the byte, and those of its f16 and bf16 files in part.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"
[ -n "$SHARED" ] || skip "no shared data"

golden=$SHARED/models/stories260K-greedy-200.txt
expect 0 run "$SHARED/models/stories260K.gguf" -p 'Once upon a time' -n 200 --temp 0
cmp -s -n "$(wc -c <"$golden")" "$golden" "$work/out" || fail "the f32 text is not the golden one"
for device in cpu reference; do
    for type in f16 bf16; do
        expect 0 run "$SHARED/models/stories260K-$type.gguf" -p 'Once upon a time' -n 200 --temp 0 --device $device
        cmp -s -n 200 "$golden" "$work/out" || fail "the $type text is not the golden one on $device"
    done
done
