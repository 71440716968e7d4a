#!/usr/bin/env bash
# The benchmarks, one after the other: bench/run.sh BUILD_DIR
#
# What recording costs; matrix products by size and type; convolutions, element-wise operations, softmax, norms and
# attention, reductions and sorting, steps fused around those; then language models: the bundled one, and one of 110 million random
# weights in each of several types. Medians; the machine should be doing nothing else.
set -euo pipefail

build=${1:-build}

for table in overhead matmul convolution elementwise normalise reduce fusion; do "$build/bench/$table"; done
"$build/mia" bench --repeat 7
for type in f16 q8_0 q6_K q5_K q4_K q4_0; do
    "$build/mia" bench --repeat 3 --random "layers=12,dim=768,heads=12,kv-heads=12,ffn=2048,vocab=32000,type=$type"
done
