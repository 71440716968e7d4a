#!/bin/sh
# mia devices, where there is a GPU, or a driver that computes on the CPU: it is listed with what it can do.
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
