#!/bin/sh
# mia bench and mia devices: what is measured is told; a random model is made, kept on request, and runs.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

expect 0 bench "$model" -p 24 -n 4 --repeat 2 --threads 1
grep -Eqx 'prompt: 24 tokens, [0-9.]+ tokens/s \([0-9.]+ to [0-9.]+\)' "$work/out" || fail "the line prompt"
grep -Eqx 'generation: 4 tokens, [0-9.]+ tokens/s \([0-9.]+ to [0-9.]+\)' "$work/out" || fail "the line generation"
grep -qx 'threads: 1' "$work/out" || fail "the line threads"
grep -Eq '^weights: [0-9]+ bytes' "$work/out" || fail "the line weights"
grep -Eq '^peak: [0-9]+ bytes' "$work/out" || fail "the line peak"
expect 0 bench "$model" -p 0 -n 2 --repeat 1
grep -q '^prompt' "$work/out" && fail "-p 0 measures a prompt"
expect 0 bench -p 8 -n 0 --repeat 1 # the bundled model

shape=layers=2,dim=256,heads=4,kv-heads=2,ffn=512,vocab=300
TMPDIR=$work
export TMPDIR
for type in f32 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q4_K q5_K q6_K; do
    expect 0 bench --random $shape,type=$type -p 8 -n 2 --repeat 1
done
[ -z "$(find "$work" -name '*.gguf')" ] || fail "a temporary model was left behind"
expect 0 bench --random $shape,type=q8_0 --write "$work/random.gguf" -p 8 -n 2 --repeat 1
expect 0 inspect "$work/random.gguf"
expect 0 run "$work/random.gguf" -n 3 --seed 1
refuses 2 'random' bench --random layers=nine
refuses 2 'random' bench --random $shape,type=q8_0,colour=red
refuses 1 'no/such/dir' bench --random $shape,type=q8_0 --write no/such/dir/x.gguf

# (a GPU library may write to standard error; tests/gpu/listing.sh has one)
MIA_WEBGPU_LIBRARY=none
export MIA_WEBGPU_LIBRARY
expect 0 devices
grep -q '^GPUs .*none' "$work/out" || fail "mia devices does not say that the library does not load"
grep -q '^cpu ' "$work/out" || fail "mia devices does not list cpu"
grep -q '^reference ' "$work/out" || fail "mia devices does not list reference"
grep 'not available' "$work/out" | grep -qv 'available: webgpu:' && fail "a device is not available"
[ ! -s "$work/err" ] || fail "mia devices writes to standard error"
sed -n '/^webgpu/d; s/^\([a-z]\{1,\}\) .*/\1/p' "$work/out" >"$work/devices"
[ "$(wc -l <"$work/devices")" -ge 2 ] || fail "the devices are not listed"
while read -r device; do
    expect 0 run "$model" -n 1 --device "$device"
done <"$work/devices"
