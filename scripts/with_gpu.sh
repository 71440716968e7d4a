#!/bin/sh
# Runs a command with a WebGPU library and a Vulkan driver that `make webgpu` installed:
#   scripts/with_gpu.sh swiftshader|lavapipe|system dawn-2025|dawn-2026 COMMAND...
# `system` leaves the drivers of this machine as they are. Ends with 77, which tests read as "skipped", when one is not
# installed.
set -eu

usage() {
    echo "usage: scripts/with_gpu.sh swiftshader|lavapipe|system dawn-2025|dawn-2026 COMMAND..." >&2
    exit 2
}
[ $# -ge 3 ] || usage
driver=$1 library=$2
shift 2
data=${XDG_DATA_HOME:-$HOME/.local/share}/mia/webgpu

missing() {
    echo "skipped: $1 is not installed (make webgpu)"
    exit 77
}

case $library in
    dawn-2025) MIA_WEBGPU_LIBRARY=$data/libwebgpu_dawn.so ;;
    dawn-2026) MIA_WEBGPU_LIBRARY=$data/dawn_node/libmia_dawn_node.so ;;
    *) usage ;;
esac
[ -f "$MIA_WEBGPU_LIBRARY" ] || missing "$library"
export MIA_WEBGPU_LIBRARY

case $driver in
    swiftshader | lavapipe)
        VK_ICD_FILENAMES=$data/$driver/icd.json # loaders of before 2022 know this name, newer ones the other
        VK_DRIVER_FILES=$VK_ICD_FILENAMES
        [ -f "$VK_ICD_FILENAMES" ] || missing "$driver"
        export VK_ICD_FILENAMES VK_DRIVER_FILES
        ;;
    system) ;;
    *) usage ;;
esac
# for programs built with LeakSanitizer
LSAN_OPTIONS=${LSAN_OPTIONS:+$LSAN_OPTIONS:}suppressions=$(cd "$(dirname "$0")/.." && pwd)/tests/gpu/leaks.supp:print_suppressions=0
export LSAN_OPTIONS
exec "$@"
