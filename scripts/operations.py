#!/usr/bin/env python3
"""The table of operations (include/mia/ops.def): its documentation, and what the headers have to agree with.

    operations.py write ROOT CELLS   writes docs/operations.md, and the table in README.md between the lines
                                     <!-- operations --> and <!-- /operations --> where it has them
    operations.py check ROOT CELLS   fails when either is stale, when the table and the macros of include/mia/tensor.h
                                     differ (every row has a macro mia_<name> that names the row's set of types; no tag
                                     is used twice), when a cell runs on a reference kernel, or when webgpu refuses one
                                     of another type than f64

CELLS is the program tests/ops/cells.c, which says where the backends compute each row and type.
"""

import re
import subprocess
import sys
from pathlib import Path

FIELDS = "name tag signature op_class types type_rule shape_rule bound doc".split()
CLASSES = {
    "VIEW": "Views",
    "MOVEMENT": "Movement",
    "ELEMENTWISE": "Element-wise",
    "REDUCTION": "Reductions",
    "SCAN": "Scans and sorting",
    "COMPOSITE": "Normalisation and attention",
    "CONTRACTION": "Contractions",
    "WINDOW": "Convolution and pooling",
    "CREATION": "Creation",
}
# How a call reads, by the row's signature.
CALLS = {
    "UNARY": "(x)", "BINARY": "(a, b)", "SLICE": "(x, mode, begin, count, step)", "CONCAT": "(a, b, mode)",
    "PAD": "(x, mode, before, after, style, value)", "MODE": "(x, mode)", "TWO_MODES": "(x, mode, other)",
    "TAKE": "(x, indices, mode)", "SCATTER": "(x, indices, part, mode, style)", "ROLL": "(x, mode, shift)",
    "TRIANGLE": "(x, diagonal)", "COMPARE": "(a, b)", "WHERE": "(condition, a, b)", "REAL": "(x, value)",
    "RANGE": "(x, low, high)", "ARG_MODES": "(x, modes)", "SCAN": "(x, mode, exclusive, reverse)",
    "SORT": "(x, mode, descending)", "ARG_SORT": "(x, mode, descending)", "TOP_K": "(x, mode, k, greatest)",
    "ARG_TOP_K": "(x, mode, k, greatest)", "GROUP_NORM": "(x, weight, bias, mode, groups, epsilon)",
    "ATTENTION_MASKED": "(q, k, v, mask, length, scale)", "CONV": "(x, w, window)", "POOL": "(x, window)",
    "ARANGE": "(type, device, start, step, count)", "RANDOM": "(type, device, shape, seed)", "GATHER": "(table, indices)", "EMBEDDING": "(table, indices)",
    "UPDATE": "(x, part, start, mode)", "MODES": "(x, modes)", "NORM": "(x, weight, epsilon)",
    "NORM_BIAS": "(x, weight, bias, epsilon)", "ROPE": "(x, positions, frequencies, style, magnitude)",
    "ATTENTION": "(q, k, v, length, scale)", "MATMUL": "(w, x)", "SHAPE": "(x, shape)", "DTYPE": "(type, x)",
}
# What the shapes have to be, by the row's shape rule; the operation's own line says the rest.
SHAPES = {
    "VIEW": "", "SAME": "x's", "BROADCAST": "operands repeat to each other: extents equal or 1, missing modes are 1",
    "BROADCAST3": "the three repeat to each other", "MODE": "x's", "TRIANGLE": "x's, of two modes or more",
    "TAKE": "the mode becomes the indices' modes", "TAKE_ALONG": "the indices'",
    "SCATTER": "x's; the part has n places of the mode", "SCATTER_ALONG": "x's; indices and part alike, no larger",
    "TOP_K": "the mode becomes k", "GROUP_NORM": "x's; weight and bias [channels]",
    "ATTENTION_MASKED": "[E, H, T]", "CONV1D": "[L', O, N]", "CONV2D": "[W', H', O, N]",
    "POOL": "modes 0 and 1 become the windows' places", "ARANGE": "[count]", "RANDOM": "the shape",
    "CONCAT": "alike outside the mode", "PAD": "the mode grows", "GATHER": "[C, N] at [...] gives [C, ...]",
    "UPDATE": "x's; the part is alike outside the mode; start is one i32", "REDUCE": "reduced modes become 1",
    "NORM": "x [C, ...], weight [C]", "NORM_BIAS": "x [C, ...], weight and bias [C]",
    "ROPE": "x's", "ATTENTION": "[E, H, T]", "MATMUL": "[N, M, ...]",
}

BEGIN, END = "<!-- operations -->", "<!-- /operations -->"


def read_rows(root):
    text = re.sub(r"/\*.*?\*/", "", (root / "include/mia/ops.def").read_text(encoding="utf-8"), flags=re.DOTALL)
    pattern = r"MIA_OP\((\w+), *(\d+), *(\w+), *(\w+), *(\w+), *(\w+), *(\w+), *([\d.]+),\s*\"((?:[^\"\\]|\\.)*)\"\)"
    rows = [dict(zip(FIELDS, found)) for found in re.findall(pattern, text)]
    if len(rows) != text.count("MIA_OP("):
        sys.exit(f"ops.def: {text.count('MIA_OP(')} rows, of which {len(rows)} can be read")
    return rows


def read_types(root):
    """The sets of types of dtype.h, each as a list of names."""
    text = (root / "include/mia/dtype.h").read_text(encoding="utf-8").replace("\\\n", " ")
    sets = {}
    for name, body in re.findall(r"#define MIA_TYPES_(\w+)\(X, arg\)(.*)", text):
        sets[name] = []
        for other, one in re.findall(r"MIA_TYPES_(\w+)\(X, arg\)|X\((\w+), arg\)", body):
            sets[name] += sets[other] if other else [one]
    return sets


def macros(root):
    """Each public macro of tensor.h with its body."""
    text = (root / "include/mia/tensor.h").read_text(encoding="utf-8").replace("\\\n", " ")
    return {name: body for name, body in re.findall(r"^#define mia_(\w+)\([^)]*\)[ \t]+(.*)$", text, re.MULTILINE)}


def faults_of_table(rows, types):
    faults, tags, names = [], {}, set()
    for row in rows:
        tag, name = int(row["tag"]), row["name"]
        if tag in tags:
            faults.append(f"ops.def: {name} and {tags[tag]} have the same tag {tag}")
        if not 0 < tag < 256:
            faults.append(f"ops.def: {name}: tag {tag} is not within 1 .. 255")
        if name in names:
            faults.append(f"ops.def: {name} stands twice")
        for field, known in (("types", types), ("signature", CALLS), ("shape_rule", SHAPES), ("op_class", CLASSES)):
            if row[field] not in known:
                faults.append(f"ops.def: {name}: {field} {row[field]} is not known")
        tags[tag] = name
        names.add(name)
    return faults


def faults_of_macros(rows, defined):
    faults = []
    for row in rows:
        name, body = row["name"], defined.get(row["name"])
        if body is None:
            faults.append(f"tensor.h: no macro mia_{name}")
            continue
        by_type = re.match(r"(?:MIA__CALL[1-4]|MIA_UNARY|MIA_BINARY|MIA__CALL_CHOICE)\((\w+), (\w+),", body)
        if by_type:
            if by_type.groups() != (name, row["types"]):
                faults.append(f"tensor.h: mia_{name} names {by_type.group(1)} of {by_type.group(2)}, "
                              f"the table says {row['types']}")
        elif not re.match(rf"mia__{name}_to_##type\(|mia__{name}_##type\(|MIA__CALL_{name.upper()}\(|MIA__CALL_WEIGHT\({name},", body):
            faults.append(f"tensor.h: mia_{name} does not lead to {name}: {body}")
    return faults


def read_cells(program):
    """{(row, type): where the cpu backend computes it}, and the same for what webgpu makes of it"""
    output = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    cells, webgpu = {}, {}
    for line in output.splitlines():
        name, dtype, cells[name, dtype], webgpu[name, dtype] = line.split("\t")
    return cells, webgpu


def faults_of_cells(rows, types, cells, webgpu):
    faults = []
    for row in rows:
        for dtype in types[row["types"]]:
            place, there = cells.get((row["name"], dtype)), webgpu.get((row["name"], dtype), "refused")
            wanted = "refused" if dtype == "f64" else "runs"
            if place not in ("kernel", "view"):
                faults.append(f"{row['name']} of {dtype} runs on {place or 'nothing'}")
            if there != wanted:
                faults.append(f"{row['name']} of {dtype} on webgpu: {there}, and is to be: {wanted}")
    return faults


def table_of_cells(rows, types, cells):
    """A row an operation, a column a type; block types, which go together, share one."""
    single = [name for name in types["ALL"] if name not in types["BLOCK"]]
    signs = {"kernel": "●", "view": "○", "reference": "reference", None: ""}
    lines = ["| operation | " + " | ".join(single) + " | blocks |", "| --- |" + " :-: |" * (len(single) + 1)]
    for row in rows:
        places = [cells.get((row["name"], name)) for name in single]
        blocks = {cells.get((row["name"], name)) for name in types["BLOCK"]}
        some = len(blocks) > 1 and None in blocks
        blocks.discard(None)
        last = " ".join(sorted(signs[place] for place in blocks)) + (" some" if some else "")
        lines.append(f"| `{row['name']}` | " + " | ".join(signs[place] for place in places) + f" | {last} |")
    return lines


def bound_text(row):
    return "exact" if float(row["bound"]) == 0 else row["bound"]


def escape(text):
    return text.replace("|", "\\|")


def document(rows, types, cells):
    lines = [
        "# Operations", "",
        "Every operation of Mia. This page is made from [`include/mia/ops.def`](../include/mia/ops.def) by"
        " `make operations`; the test suite fails when it is stale.", "",
        "Shapes list the first mode first, which lies without gaps in memory. The result's shape is the operand's"
        " where nothing else is said. *Bound* is the largest error of a kernel against the reference, in units of the"
        " result type's epsilon times the largest magnitude that enters the result (a sum of magnitudes for sums, of whose"
        " products each may lose f32's smallest number, 2^-149, besides);"
        " *exact* is the very same number. Block-quantised weights in `matmul` may besides meet activations rounded to 8"
        " bits a block and, on GPUs that multiply small matrices of f16 by themselves (tensor cores), activations rounded"
        " to f16 meet these weights and f16's, as queries, keys and values of a prompt do in `attention`; unless the"
        " device's precision is `MIA_PRECISION_EXACT`. For that a row of activations is scaled by a power of two, so that"
        " what is smaller than its greatest number by more than 2^26 may be lost; queries, keys and values are not, so that"
        " they should stay below 65504. Sums may overflow where the sum of their"
        " magnitudes leaves the range of f32, in `matmul` with block-quantised weights where four times the row's greatest"
        " weight, or 1, times the activations' sum of magnitudes does.", "",
    ]
    for key, title in CLASSES.items():
        lines += [f"## {title}", "", "| operation | types | shapes | what it gives | bound |",
                  "| --- | --- | --- | --- | --- |"]
        for row in rows:
            if row["op_class"] == key:
                call = "(x, order)" if row["name"] == "permute" else CALLS[row["signature"]]
                columns = (f"`mia_{row['name']}{call}`", row["types"],
                           SHAPES[row["shape_rule"]], row["doc"], bound_text(row))
                lines.append("| " + " | ".join(escape(column) for column in columns) + " |")
        lines.append("")
    lines += ["## Sets of types", "",
              "The types that an operation takes as its first operand; for `matmul` and `embedding`, the weights'.", "",
              "| set | types |", "| --- | --- |"]
    used = {row["types"] for row in rows}
    lines += [f"| {name} | {', '.join(f'`{one}`' for one in types[name])} |" for name in types if name in used]
    lines += ["", "## Where the cpu backend computes them", "",
              "● a kernel of the cpu backend (packed types as the scalars that they are made of), ○ a view, which"
              " computes nothing; an empty cell is not in the operation's set. No cell runs on a reference kernel:"
              " the test suite runs every cell and looks at `mia_device_counters.fallbacks`.", ""]
    lines += table_of_cells(rows, types, cells)
    lines += ["", "## Where the webgpu backend computes them", "",
              "On the GPU, every cell above but the column f64, which WGSL does not have. So on any GPU: the test suite"
              " compiles every other cell for one with all optional features and for one with WebGPU's default limits and"
              " none. Nothing falls back to the processor: what the backend lacks is refused, with the operation, the type"
              " and the reason."]
    return "\n".join(lines) + "\n"


def short_table(rows):
    lines = ["| class | operations |", "| --- | --- |"]
    for key, title in CLASSES.items():
        names = ", ".join(f"`{row['name']}`" for row in rows if row["op_class"] == key)
        lines.append(f"| {title} | {names} |")
    lines += ["", "All run on `cpu`, and on `webgpu` in all types but `f64`."]
    return "\n".join(lines)


def with_table(readme, table):
    """The README with its table renewed; as it is where it has no markers."""
    if BEGIN not in readme or END not in readme:
        return readme
    before, rest = readme.split(BEGIN, 1)
    return before + BEGIN + "\n" + table + "\n" + END + rest.split(END, 1)[1]


def main():
    if len(sys.argv) != 4 or sys.argv[1] not in ("write", "check"):
        sys.exit(__doc__)
    root = Path(sys.argv[2])
    rows, types, (cells, webgpu) = read_rows(root), read_types(root), read_cells(sys.argv[3])
    faults = faults_of_table(rows, types)
    if faults:
        sys.exit("\n".join(faults))
    wanted = {root / "docs/operations.md": document(rows, types, cells)}
    readme = root / "README.md"
    if readme.exists():
        wanted[readme] = with_table(readme.read_text(encoding="utf-8"), short_table(rows))
    if sys.argv[1] == "write":
        for path, text in wanted.items():
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
        return
    faults = faults_of_macros(rows, macros(root)) + faults_of_cells(rows, types, cells, webgpu)
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            faults.append(f"{path.name} is stale: make operations")
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(rows)} operations, each with its macro; the documentation is up to date")


if __name__ == "__main__":
    main()
