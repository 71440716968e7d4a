#!/bin/sh
# mia devices and --device, where there is a GPU, or a driver that computes on the CPU: it is listed with what it can do, and
# taken by its name.
set -eu
out=$("${MIA:?the path of the mia program}" devices)

fail() {
    echo "FAIL: $*"
    echo "$out"
    exit 1
}

echo "$out" | grep -q "^GPUs .*through ${MIA_WEBGPU_LIBRARY:?}" || fail "the library is not named"
echo "$out" | grep -q '(computes on the CPU)' || fail "the adapter is not listed"
echo "$out" | grep -q 'subgroups of [48]' || fail "its features are not listed"
echo "$out" | grep -q 'buffers to [1-9]' || fail "its limits are not listed"

# an adapter by a part of its name; and the largest context that fits where a longer one cannot be planned at all
model=${MODELS:?the folder of the bundled model}/mia-tales-9m-q8_0.gguf
name=$(echo "$out" | sed -n 's/ (computes on the CPU)$//p' | sed 's/^ *//; s/ .*//')
"${MIA}" plan "$model" --device "webgpu:$name" --rows 1 >/dev/null 2>&1 || fail "--device webgpu:$name"
message=$("${MIA}" plan "$model" --device "webgpu:no such GPU" --rows 1 2>&1) && fail "--device webgpu: another GPU is taken"
echo "$message" | grep -q "no adapter has 'no such GPU' in its name" || fail "the adapter that is not there: $message"
"${MIA}" plan "$model" --device webgpu --ctx 5000000 --rows 1 >/dev/null 2>&1 && fail "a context of gigabytes is planned"
fits=$("${MIA}" plan "$model" --device webgpu --ctx 5000000 --memory 64G 2>&1 | sed -n 's/^context: \([0-9]*\) tokens$/\1/p')
[ "${fits:-0}" -gt 100000 ] || fail "plan --memory finds no context that fits"
