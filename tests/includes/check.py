#!/usr/bin/env python3
"""The arrows between the layers, as #include lines: check.py SOURCE_TREE

A layer may include itself and what stands below it. Public headers (<mia/...>) are open to every layer except that
nothing but lm and cli includes <mia/lm.h>. Language models and the program see public headers alone.
"""

import os
import re
import sys

# layer: the layers below src/ that it may include
LAYERS = {
    "base": {"base"},
    "layout": {"base", "layout"},
    "graph": {"base", "layout", "graph"},
    "plan": {"base", "layout", "graph", "plan"},
    "backend": {"base", "layout", "graph", "plan", "backend"},
    "weights": {"base", "weights"},
    "runtime": {"base", "layout", "graph", "plan", "backend", "weights", "runtime"},
    "lm": {"lm"},
}
# A backend's folder is its own; these may use another's: backend: folders
# The contract, the registry, and what several backends share lie directly in src/backend ("") and are open to all.
BACKENDS_MAY_USE = {"": {"reference"}, "cpu": {"reference"}, "null": {"reference"}, "webgpu": {"reference"}}

# Headers from elsewhere that a part may use; the C library's have no folder, or one of these.
SYSTEM_FOLDERS = {"sys", "mach", "mach-o", "linux"}
OTHERS = {"cli": {"json-c"}}

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')


def sources(tree, folder):
    for root, _, files in os.walk(os.path.join(tree, folder)):
        for file in sorted(files):
            if file.endswith((".c", ".h", ".def", ".inc")):
                yield os.path.relpath(os.path.join(root, file), tree)


def includes(tree, path):
    with open(os.path.join(tree, path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            found = INCLUDE.match(line)
            if found:
                yield number, found.group(1), found.group(2)


def resolve(tree, path, quoted):
    """The file that "quoted" names: beside the including file, or below src/."""
    for folder in (os.path.dirname(path), "src"):
        candidate = os.path.normpath(os.path.join(folder, quoted))
        if os.path.exists(os.path.join(tree, candidate)):
            return candidate
    return None


def part_of(path):
    """src/backend/cpu/pool.c -> ("backend", "cpu"); src/graph/node.h -> ("graph", ""); cli/run.c -> ("cli", "")"""
    steps = path.split(os.sep)
    if steps[0] != "src":
        return steps[0], ""
    inner = steps[2] if steps[1] == "backend" and len(steps) > 3 else ""
    return steps[1], inner


def fault_of_quoted(path, target):
    layer, backend = part_of(path)
    if target is None:
        return "names a file that is not there"
    target_layer, target_backend = part_of(target)
    if layer in ("cli", "include"):
        return None if target_layer == layer else f"{layer} includes <mia/...> and its own headers only"
    if layer not in LAYERS:
        return f"src/{layer} is no layer"
    if target_layer not in LAYERS[layer]:
        return f"src/{layer} may not include src/{target_layer}"
    if layer == "runtime" and target_backend:
        return "runtime knows backend.h, not one backend's insides"
    if target_backend and target_backend != backend and target_backend not in BACKENDS_MAY_USE.get(backend, set()):
        if path == os.path.join("src", "backend", "registry.c"):
            return None  # the registry names every backend
        return f"{os.path.dirname(path)} may not include src/backend/{target_backend}"
    return None


def fault_of_angled(tree, path, name):
    layer, _ = part_of(path)
    folder = name.split("/")[0] if "/" in name else ""
    if folder == "mia":
        if not os.path.exists(os.path.join(tree, "include", name)):
            return "names a public header that is not there"
        if name in ("mia/lm.h", "mia/mia.h") and layer not in ("lm", "cli", "include"):
            return "nothing below lm knows of language models"
        return None
    if folder and folder not in SYSTEM_FOLDERS | OTHERS.get(layer, set()):
        return "is neither ours nor the C library's"
    return None


def check(tree):
    faults = count = 0
    for folder in ("include", "src", "cli"):
        for path in sources(tree, folder):
            for number, quoted, angled in includes(tree, path):
                count += 1
                if quoted is not None:
                    fault = fault_of_quoted(path, resolve(tree, path, quoted))
                else:
                    fault = fault_of_angled(tree, path, angled)
                if fault:
                    faults += 1
                    print(f"{path}:{number}: #include of {quoted or angled}: {fault}")
    print(f"{count} includes, {faults} faults")
    return faults == 0 and count > 0


if __name__ == "__main__":
    sys.exit(0 if check(sys.argv[1] if len(sys.argv) > 1 else ".") else 1)
