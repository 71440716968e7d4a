#!/bin/sh
# Installs a library with WebGPU's C functions for this user, and what tests of it need on a machine without a GPU:
# scripts/webgpu.sh [user|test|all]
#
#   user  the library: Dawn of June 2025, from the npm package bun-webgpu-linux-x64 (Apache-2.0)
#   test  and SwiftShader, a Vulkan driver that computes on the CPU, out of Debian's chromium-common
#   all   and lavapipe, another one, out of Debian's mesa-vulkan-drivers; and Dawn of 2026, from the npm package webgpu,
#         with the library that makes it reachable (tests/dawn_node)
#
# All of it goes to ${XDG_DATA_HOME:-~/.local/share}/mia/webgpu, where the mia library looks and scripts/with_gpu.sh, too.
# What is there already is left as it is. Debian packages (a Vulkan loader, npm) are installed by scripts/setup.sh.
set -eu

what=${1:-all}
case $what in
    user | test | all) ;;
    *)
        echo "usage: scripts/webgpu.sh [user|test|all]" >&2
        exit 2
        ;;
esac
tree=$(cd "$(dirname "$0")/.." && pwd)
data=${XDG_DATA_HOME:-$HOME/.local/share}/mia/webgpu

if [ "$(uname -s) $(uname -m)" != "Linux x86_64" ]; then
    echo "webgpu: packages with a library exist for x86-64 Linux only; docs/webgpu.md says what to do elsewhere" >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
mkdir -p "$data"

# there NAME VERSION: whether that was installed by an earlier run; done_with writes it down.
there() { [ "$(cat "$data/$1.version" 2>/dev/null)" = "$2" ]; }
done_with() { echo "$2" >"$data/$1.version"; }

# from_npm PACKAGE VERSION: unpacks it into $work/package, without running anything of it.
from_npm() {
    rm -rf "$work/package"
    (cd "$work" && npm pack --loglevel=error --fetch-retries=1 --fetch-retry-mintimeout=1000 "$1@$2" >/dev/null)
    tar -xzf "$work"/*.tgz -C "$work"
    rm -f "$work"/*.tgz
}

# unpack DEB FOLDER FILES...: those files of a Debian package, without their folders
unpack() {
    deb=$1 into=$2
    shift 2
    mkdir -p "$work/unpacked" "$into"
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/unpacked" --wildcards "$@"
    find "$work/unpacked" -type f -exec mv {} "$into" \;
    rm -rf "$work/unpacked"
}

# --- the library ------------------------------------------------------------------------------------------------------

install_library() {
    version=0.1.7
    there library $version && return
    echo "webgpu: installing Dawn (bun-webgpu-linux-x64 $version) into $data"
    from_npm bun-webgpu-linux-x64 $version
    mv "$work/package/libwebgpu_wrapper.so" "$data/libwebgpu_dawn.so"
    mv "$work/package/LICENSE" "$data/libwebgpu_dawn.LICENSE"
    done_with library $version
}

install_dawn_node() {
    version=0.6.2
    shim=$(cat "$tree/tests/dawn_node/dawn_node.c" "$tree/src/backend/webgpu/abi.h" | cksum | tr ' ' -)
    there dawn_node "$version $shim" && return
    echo "webgpu: installing the newer Dawn for tests (webgpu $version)"
    mkdir -p "$data/dawn_node"
    from_npm webgpu $version
    mv "$work/package/dist/linux-x64/dawn.node" "$work/package/LICENSE.md" "$data/dawn_node"
    ${CC:-cc} -O1 -shared -fPIC -D_GNU_SOURCE -I"$tree/src" "$tree/tests/dawn_node/dawn_node.c" \
        -o "$data/dawn_node/libmia_dawn_node.so"
    done_with dawn_node "$version $shim"
}

# --- drivers that compute on the CPU ----------------------------------------------------------------------------------

write_icd() { # write_icd FOLDER LIBRARY
    printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.3.0"}}\n' "$1/$2" >"$1/icd.json"
}

can_download() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null && return
    echo "webgpu: without apt-get the drivers that compute on the CPU are left out" >&2
    return 1
}

# download PACKAGE [OPTIONS]: its .deb into $work, from package lists that are there, or are made now
download() {
    package=$1
    shift
    cd "$work"
    apt-get -qq -o APT::Sandbox::User=root "$@" download "$package" >/dev/null 2>&1 || {
        apt-get -qq -o APT::Sandbox::User=root "$@" update
        apt-get -qq -o APT::Sandbox::User=root "$@" download "$package" >/dev/null
    }
    cd "$tree"
}

install_swiftshader() {
    there swiftshader 1 && return
    can_download || return 0
    echo "webgpu: installing SwiftShader (of chromium-common)"
    download chromium-common
    unpack "$work"/chromium-common_*.deb "$data/swiftshader" './usr/lib/chromium/libvk_swiftshader.so'
    write_icd "$data/swiftshader" libvk_swiftshader.so
    done_with swiftshader 1
}

# Debian 12's own lavapipe lacks what Dawn asks of a driver; that of its backports does not. Their address is the
# configured one with another suite; their lists are kept apart from the system's.
download_from_backports() { # download_from_backports SUITE PACKAGE
    # shellcheck disable=SC2016 # apt-get expands these
    address=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' 'Component: main' |
        sed -n 's/^bookworm //p' | head -n 1)
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$work/lists/partial" "$work/parts"
    echo "deb [signed-by=$keys] $address $1 main" >"$work/sources.list"
    download "$2" -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/parts" \
        -o Dir::State::Lists="$work/lists"
}

install_lavapipe() {
    there lavapipe 1 && return
    can_download || return 0
    echo "webgpu: installing lavapipe (of mesa-vulkan-drivers)"
    if [ "$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)" = bookworm ]; then
        download_from_backports bookworm-backports mesa-vulkan-drivers
    else
        download mesa-vulkan-drivers
    fi
    unpack "$work"/mesa-vulkan-drivers_*.deb "$data/lavapipe" './usr/lib/*/libvulkan_lvp.so'
    write_icd "$data/lavapipe" libvulkan_lvp.so
    # what it is linked with, of the system's own suite
    packages=$(dpkg-deb -f "$work"/mesa-vulkan-drivers_*.deb Depends | tr ',' '\n' |
        sed 's/[|(:].*//; s/ //g; /^python3/d; /^libvulkan1$/d')
    # shellcheck disable=SC2086
    sh "$tree/scripts/setup.sh" packages $packages
    done_with lavapipe 1
}

# ----------------------------------------------------------------------------------------------------------------------

sh "$tree/scripts/setup.sh" webgpu
install_library
[ "$what" = user ] || install_swiftshader
if [ "$what" = all ]; then
    install_lavapipe
    install_dawn_node
fi
