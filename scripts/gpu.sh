#!/bin/sh
# On a machine with a GPU: builds, tests every operation and a model on the webgpu backend, and measures it. For bare
# servers: a C compiler, CMake and Ninja are all that it asks for; what else is missing is named.
#
#   scripts/gpu.sh [OPTIONS]
#     --debs FOLDER       .deb files to use (the Vulkan loader, GL's for NVIDIA's driver, cmocka): unpacked, not installed
#     --library FILE      the WebGPU library (or MIA_WEBGPU_LIBRARY; without either, what the mia library finds)
#     --dawn-node FOLDER  one with dawn.node, of the npm package webgpu: a library is made of it (tests/dawn_node)
#     --build FOLDER      where to build (build-gpu); results are in FOLDER/results
#     --models LIST       of the models below, "1.1B 7B" (the default)
#     --types LIST        their weights, "f16 q8_0 q4_0" (the default)
#     --tables LIST       of bench/webgpu's, "overheads vectors matrices" (the default)
#     --quick             all of it tiny: for drivers that compute on the CPU
#     --no-build, --no-conformance, --no-tables, --no-models    leaves a part out
#
# Needs no git, no network, no root. Random models lie in TMPDIR while they are measured (7B f16: 13 GB), by default in
# /dev/shm where that has the room.
set -eu

tree=$(cd "$(dirname "$0")/.." && pwd)
debs='' node='' tables='' build=$tree/build-gpu quick=''
models='1.1B 7B' types='f16 q8_0 q4_0'
do_build=1 do_conformance=1 do_tables=1 do_models=1

usage() {
    sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p;}' "$0" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case $1 in
        --debs | --library | --dawn-node | --build | --models | --types | --tables)
            [ $# -ge 2 ] || usage
            case $1 in
                --debs) debs=$(cd "$2" && pwd) ;;
                --library) MIA_WEBGPU_LIBRARY=$2 && export MIA_WEBGPU_LIBRARY ;;
                --dawn-node) node=$(cd "$2" && pwd) ;;
                --build) build=$2 ;;
                --models) models=$2 ;;
                --types) types=$2 ;;
                --tables) tables=$2 ;;
            esac
            shift
            ;;
        --quick) quick=--quick ;;
        --no-build) do_build='' ;;
        --no-conformance) do_conformance='' ;;
        --no-tables) do_tables='' ;;
        --no-models) do_models='' ;;
        *) usage ;;
    esac
    shift
done
mkdir -p "$build/results"
build=$(cd "$build" && pwd)
results=$build/results
jobs=$(nproc)
failed=''

part() { printf '\n=== %s (%s)\n' "$1" "$(date +%T)"; }

# --- what the machine lacks --------------------------------------------------------------------------------------------

CPATH=${CPATH:-} LIBRARY_PATH=${LIBRARY_PATH:-} LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}
if [ -n "$debs" ]; then
    for deb in "$debs"/*.deb; do dpkg-deb -x "$deb" "$build/debs"; done
    for folder in "$build"/debs/usr/lib/*-linux-gnu "$build"/debs/lib/*-linux-gnu; do
        [ ! -d "$folder" ] || LIBRARY_PATH=$folder:$LIBRARY_PATH LD_LIBRARY_PATH=$folder:$LD_LIBRARY_PATH
    done
    CPATH=$build/debs/usr/include:$CPATH
    export CPATH LIBRARY_PATH LD_LIBRARY_PATH
fi
# In some containers NVIDIA's driver says where it is in a folder that the loader does not look in.
icd=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
if [ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && [ -f $icd ]; then
    VK_DRIVER_FILES=$icd VK_ICD_FILENAMES=$icd
    export VK_DRIVER_FILES VK_ICD_FILENAMES
fi
if [ -n "$node" ]; then
    mkdir -p "$build/dawn_node"
    cp "$node/dawn.node" "$build/dawn_node"
    ${CC:-cc} -O1 -shared -fPIC -D_GNU_SOURCE -I"$tree/src" "$tree/tests/dawn_node/dawn_node.c" \
        -o "$build/dawn_node/libmia_dawn_node.so"
    MIA_WEBGPU_LIBRARY=$build/dawn_node/libmia_dawn_node.so
    export MIA_WEBGPU_LIBRARY
fi

# --- building ----------------------------------------------------------------------------------------------------------

# By hand, since building all tests needs Python, pkg-config and a C++ compiler.
build_test() { # build_test NAME SOURCE
    ${CC:-cc} -O1 -std=gnu11 -D_GNU_SOURCE -I"$tree/include" -I"$tree/src" -I"$tree/tests" "$tree/tests/$2" \
        "$build/libmia.a" -lcmocka -lm -lpthread -o "$build/$1" 2>"$results/build_$1.txt" || {
        head -n 5 "$results/build_$1.txt"
        echo "the test $1 cannot be built: it needs cmocka (libcmocka-dev and libcmocka0, --debs)"
        return 1
    }
}
# Shapes that the conformance test has no time for.
shapes='blocks rows wide'

if [ -n "$do_build" ]; then
    part build
    cmake -S "$tree" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DMIA_SHARED=OFF >"$results/build.txt"
    cmake --build "$build" -j "$jobs" --target mia_program bench_webgpu >>"$results/build.txt" || {
        tail -n 20 "$results/build.txt"
        exit 1
    }
fi
part devices
"$build/mia" devices | tee "$results/devices.txt"

# --- every operation ---------------------------------------------------------------------------------------------------

# Parts run beside each other: most of the time goes into compiling shaders. A run with MIA_TEST_SEED draws the same again.
conformance() {
    MIA_TEST_SEED=${MIA_TEST_SEED:-$(date +%s%N)}
    export MIA_TEST_SEED
    echo "seed: $MIA_TEST_SEED"
    parts=$jobs
    [ "$parts" -le 16 ] || parts=16
    i=1 running=''
    while [ $i -le "$parts" ]; do
        MIA_TEST_BACKEND=webgpu MIA_TEST_PART=$i/$parts ${quick:+env MIA_TEST_SAMPLE=3} \
            "$build/conformance" >"$results/conformance.$i.txt" 2>&1 &
        running="$running $!"
        i=$((i + 1))
    done
    bad=''
    for one in $running; do wait "$one" || bad=1; done
    cat "$results"/conformance.*.txt >"$results/conformance.txt"
    rm "$results"/conformance.*.txt
    sed -n 's/^\(webgpu[a-z ]*: \)/\1/p' "$results/conformance.txt" | sort -u
    grep -c 'numbers compared' "$results/conformance.txt" | sed 's/$/ operations compared with the reference/'
    [ -z "$bad" ] || {
        grep -A 3 -E '^  webgpu|^error|\[  ERROR' "$results/conformance.txt" | grep -v '^seed: ' | head -n 60
        return 1
    }
    echo "all pass"
}

# Tales that the bundled model tells on the cpu are as likely on the GPU, within 1 %.
perplexity() { # perplexity DEVICE
    "$build/mia" eval "$bundled" "$results/tales.txt" --device "$1" >"$results/tales.$1.txt" 2>&1 || {
        tail -n 3 "$results/tales.$1.txt" >&2
        return 1
    }
    sed -n 's/^perplexity: \([0-9.]*\).*/\1/p' "$results/tales.$1.txt"
}
tales() {
    bundled=$tree/models/mia-tales-9m-q8_0.gguf
    : >"$results/tales.txt"
    for seed in 1 2 3 4; do
        "$build/mia" run "$bundled" --seed $seed -n 400 --device cpu >>"$results/tales.txt" 2>"$results/tales.run.txt" || {
            tail -n 3 "$results/tales.run.txt"
            return 1
        }
    done
    on_cpu=$(perplexity cpu) && on_gpu=$(perplexity webgpu) || return 1
    echo "tales: perplexity $on_gpu, on the cpu $on_cpu"
    awk -v a="$on_gpu" -v b="$on_cpu" 'BEGIN { d = a / b - 1; exit !(d < 0.01 && d > -0.01) }'
}

if [ -n "$do_conformance" ]; then
    part conformance
    { { [ -z "$do_build" ] && [ -x "$build/conformance" ]; } || build_test conformance ops/test_conformance.c; } &&
        conformance || failed="$failed conformance"
    for name in $shapes; do
        { { [ -z "$do_build" ] && [ -x "$build/$name" ]; } || build_test "$name" "gpu/test_$name.c"; } &&
            "$build/$name" >"$results/$name.txt" 2>&1 && echo "$name: all pass" || {
            grep -A 2 -E '^seed|ERROR' "$results/$name.txt" | head -n 12
            failed="$failed $name"
        }
    done
    tales || failed="$failed tales"
fi

# --- numbers -----------------------------------------------------------------------------------------------------------

if [ -n "$do_tables" ]; then
    part tables
    # shellcheck disable=SC2086 # they are words
    "$build/bench/webgpu" $quick $tables >"$results/tables.txt" || failed="$failed tables"
    cat "$results/tables.txt"
fi

# random NAME TYPE: the model as `mia bench --random` takes it
random() {
    case $1 in
        1.1B) shape=layers=22,dim=2048,heads=32,kv-heads=4,ffn=5632,vocab=32000 ;;
        7B) shape=layers=32,dim=4096,heads=32,kv-heads=32,ffn=11008,vocab=32000 ;;
        tiny) shape=layers=2,dim=256,heads=4,kv-heads=2,ffn=512,vocab=512 ;;
        *) return 1 ;;
    esac
    echo "$shape,type=$2"
}

# A token reads all weights but the table of embeddings, of which it reads one row: the share of the bandwidth is of these.
# The table has as many numbers as the output matrix.
model() { # model NAME TYPE
    spec=$(random "$1" "$2") || {
        echo "no model is called $1"
        return 1
    }
    log=$results/model.$1.$2.txt
    if [ -n "$quick" ]; then set -- "$1" "$2" -p 16 -n 4 --repeat 1; else set -- "$1" "$2" -p 512 -n 128 --repeat 9; fi
    name=$1 type=$2
    shift 2
    "$build/mia" bench --random "$spec" --device webgpu "$@" >"$log" 2>&1 || {
        tail -n 3 "$log"
        return 1
    }
    awk -v name="$name" -v type="$type" -v spec="$spec" -v copy="$(sed -n 's/^copy: \([0-9.e+]*\) .*/\1/p' "$results/tables.txt" 2>/dev/null)" '
        BEGIN {
            n = split(spec, pairs, ",")
            for (i = 1; i <= n; i++) { split(pairs[i], one, "="); value[one[1]] = one[2] }
            bits = type == "f16" ? 16 : type == "q8_0" ? 8.5 : type == "q4_0" ? 4.5 : 0
        }
        /^prompt: / { prompt = $4 }
        /^generation: / { generation = $4 }
        /^weights: / { bytes = $2 - value["vocab"] * value["dim"] * bits / 8 }
        END {
            share = copy > 0 && bits > 0 ? sprintf("%.0f%%", 100 * generation * bytes / (1e9 * copy)) : "-"
            printf "%-6s%-8s%14.1f%18.1f%20s\n", name, type, prompt, generation, share
        }' "$log"
}

if [ -n "$do_models" ]; then
    part models
    if [ -z "${TMPDIR:-}" ] && [ "$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')" -gt 20000000 ] 2>/dev/null; then
        TMPDIR=/dev/shm
        export TMPDIR
    fi
    [ -z "$quick" ] || models=tiny
    printf '%-6s%-8s%14s%18s%20s\n' model weights 'prompt, t/s' 'generation, t/s' 'of the bandwidth'
    : >"$results/failures.txt"
    for one in $models; do
        for type in $types; do model "$one" "$type" || echo " $one.$type" >>"$results/failures.txt"; done
    done | tee "$results/models.txt"
    failed="$failed$(tr -d '\n' <"$results/failures.txt")"
fi

part "results are in $results"
[ -z "$failed" ] || {
    echo "failed:$failed"
    exit 1
}
