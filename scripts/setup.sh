#!/bin/sh
# Makes sure that what a make target needs is installed: scripts/setup.sh build|test|lint|all|webgpu,
# or that Debian packages are: scripts/setup.sh packages NAME...
#
# What is there already is found by looking for it, so that this says nothing and takes no time when nothing is
# missing, and works on any system that has the tools. What is missing is installed with apt-get where that is
# possible (Debian and its kin, as root or with sudo); otherwise the command that would do it is printed.
set -eu

target=${1:-build}
tree=$(cd "$(dirname "$0")/.." && pwd)
missing= # Debian packages without which the target cannot be made
wanted=  # packages that it can do without

need() { missing="$missing $1"; }
has() { command -v "$1" >/dev/null 2>&1; }
has_shared() { PATH="$PATH:/sbin" ldconfig -p 2>/dev/null | grep -q "[[:space:]]$1 "; }
has_library() { has pkg-config && pkg-config --exists "$1" 2>/dev/null; }

c_compiler=${CC:-cc}
if ! has "${c_compiler%% *}"; then
    if [ -n "${CC:-}" ]; then
        echo "setup: the compiler that CC names, '$CC', is not installed" >&2
        exit 1
    fi
    need gcc
fi
has cmake || need cmake
has ninja || need ninja-build
has pkg-config || need pkg-config
# only recommended by gcc, and without it no program compiles
printf '#include <stdio.h>\n' | ${c_compiler} -E -x c - >/dev/null 2>&1 || need libc6-dev
has_library json-c || wanted="$wanted libjson-c-dev"

case $target in
    build) ;;
    packages)
        shift
        for name in "$@"; do
            dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || need "$name"
        done
        ;;
    webgpu) # the loader of Vulkan drivers, and what NVIDIA's driver wants besides; npm has the library
        has npm || need npm
        [ -e /etc/ssl/certs/ca-certificates.crt ] || need ca-certificates
        has_shared libvulkan.so.1 || need libvulkan1
        if [ -e /dev/nvidiactl ]; then
            has_shared libGL.so.1 || need libgl1
            has_shared libGLX.so.0 || need libglx0
            has_shared libEGL.so.1 || need libegl1
        fi
        ;;
    test | all | lint)
        # tests of what must and must not compile run with both compilers, as C and as C++
        for command in gcc g++ clang python3; do
            has $command || case $missing in
                *" $command"*) ;;
                *) need $command ;;
            esac
        done
        has_library cmocka || need libcmocka-dev
        has dot || wanted="$wanted graphviz" # drawings as SVG
        # ONNX's tests, and what reads their files
        has_library libprotobuf-c || wanted="$wanted libprotobuf-c-dev"
        has protoc-c || wanted="$wanted protobuf-c-compiler"
        [ -e /usr/include/onnx/onnx.proto ] || wanted="$wanted libonnx-dev"
        [ -d /usr/share/libonnx-testdata ] || wanted="$wanted libonnx-testdata"
        # pictures that an example classifies; it is skipped without them
        [ -d /usr/share/datasets/fashion-mnist ] || wanted="$wanted dataset-fashion-mnist"
        if has python3 && ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
            need python3
        fi
        if grep -rqs --include='*.py' --include='*.sh' 'import numpy' "$tree/tests"; then
            python3 -c 'import numpy' >/dev/null 2>&1 || need python3-numpy
        fi
        ;;
    *)
        echo "usage: scripts/setup.sh build|test|lint|all|webgpu" >&2
        exit 2
        ;;
esac
case $target in
    lint | all)
        has clang-tidy && has run-clang-tidy || need clang-tidy
        has clang-format || need clang-format
        has shellcheck || need shellcheck
        ;;
esac

[ -n "$missing$wanted" ] || exit 0

# The words are separate packages from here on.
# shellcheck disable=SC2086
set -- $missing $wanted
command_line="apt-get update && apt-get install -y --no-install-recommends $*"

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if has sudo && { sudo -n true 2>/dev/null || { [ -t 0 ] && [ -t 2 ] && sudo -v; }; }; then
        as_root=sudo
    else
        as_root=unavailable
    fi
fi

if ! has apt-get || [ "$as_root" = unavailable ]; then
    if [ -z "$missing" ]; then # only what is wanted is missing: say so once in a while, and go on
        [ -d "$tree/build" ] || echo "setup: without$wanted, parts are left out; to have them: $command_line" >&2
        exit 0
    fi
    echo "setup: these Debian packages are missing:$missing$wanted" >&2
    echo "setup: install them as root with" >&2
    echo "    $command_line" >&2
    exit 1
fi

echo "setup: installing $*"
apt() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }

# Package lists older than a day may name files that the archive no longer has. (The lists themselves bear the
# archive's dates; the folder beside them bears the date of the last update.)
lists_are_fresh() {
    [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' 2>/dev/null | head -n 1)" ] &&
        [ -n "$(find /var/lib/apt/lists/partial -maxdepth 0 -mtime -1 2>/dev/null)" ]
}
install_packages() { apt install -y --no-install-recommends "$@" >/dev/null; }

lists_are_fresh || apt update
if ! install_packages "$@"; then
    apt update
    if ! install_packages "$@"; then
        echo "setup: that failed; to see why, run as root" >&2
        echo "    $command_line" >&2
        exit 1
    fi
fi
