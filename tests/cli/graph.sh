#!/bin/sh
# mia graph: the drawings of a model's step and of a saved tape, in every format; refusals.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

small=$model
if [ -n "$SHARED" ] && [ -f "$SHARED/models/stories260K.gguf" ]; then small=$SHARED/models/stories260K.gguf; fi

expect 0 export "$small" --step --ctx 64 -o "$work/step.mia"
for plan in "" --plan; do
    # shellcheck disable=SC2086 # no option at all where it is empty
    for file in "$small --ctx 64" "$work/step.mia"; do
        expect 0 graph $file $plan --format json
        python3 - "$work/out" <<'PYTHON' || fail "mia graph $file $plan: the JSON does not hold together"
import json, sys
drawing = json.load(open(sys.argv[1], encoding="utf-8"))
ids = {box["id"] for box in drawing["boxes"]}
assert len(ids) == len(drawing["boxes"]) > 20
assert all(arrow["from"] in ids and arrow["to"] in ids for arrow in drawing["arrows"])
fed = {arrow["to"] for arrow in drawing["arrows"]}
for box in drawing["boxes"]:
    assert (box["id"] in fed) == (box["kind"] not in ("input", "constant")), box
titles = {box["title"] for box in drawing["boxes"]}
assert {"ids", "logits", "cache.0", "token_embd.weight"} <= titles
PYTHON
    done
    # shellcheck disable=SC2086
    expect 0 graph "$work/step.mia" $plan --format mermaid -o "$work/step.mmd"
    grep -q '^flowchart TD$' "$work/step.mmd" || fail "no Mermaid"
    # shellcheck disable=SC2086
    expect 0 graph "$work/step.mia" $plan --format dot -o "$work/step.dot"
    command -v dot >/dev/null || continue
    dot -Tcanon "$work/step.dot" >/dev/null || fail "Graphviz does not read the drawing"
    # shellcheck disable=SC2086
    expect 0 graph "$work/step.mia" $plan --format svg -o "$work/step.svg"
    grep -q '</svg>' "$work/step.svg" || fail "no SVG"
done

refuses 2 'there is no format "png"' graph "$work/step.mia" --format png
refuses 1 'cannot open' graph "$work/step.mia" -o "$work/no/such/folder"
refuses 1 'cannot open' graph "$work/none"
