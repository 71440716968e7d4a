#!/bin/sh
# mia trace: a file that Perfetto reads, with every step, its shapes and its share of the machine's limits; MIA_DEBUG's
# tables. DEVICE, a backend to trace instead of cpu and reference, and nothing else.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

for device in ${DEVICE:-cpu reference}; do
    expect 0 trace "$model" -p 'Once upon' -n 3 --threads 2 --device "$device" -o "$work/trace.json"
    grep -q '^[0-9]* events in .*; copying moves [0-9.]* GB/s, f32 products reach [0-9.]* Gop/s$' "$work/err" ||
        fail "no closing line"
    python3 - "$work/trace.json" "$device" <<'CHECK' || fail "the trace of $device"
import json, sys

trace = json.load(open(sys.argv[1]))
events, other = trace["traceEvents"], trace["otherData"]
assert other["device"] == sys.argv[2], other
assert other["copy_bytes_per_second"] > 1e8 and other["peak_operations_per_second"] > 1e6, other
phases = {e["name"]: e for e in events if e.get("cat") == "phase"}
assert list(phases) == ["load", "prompt", "generation"], phases
steps = [e for e in events if e.get("cat") == "step"]
operations = {o for e in steps for o in e["name"].replace(" | ", " ").split()}  # fused ones, and some that ran as one
assert {"matmul", "rms_norm", "rope", "attention"} <= operations, operations
for e in steps:
    assert e["dur"] > 0 and e["tid"] == 1 and e["args"]["bytes"] > 0, e
    assert " <- " in e["args"]["shapes"] or e["args"]["shapes"].startswith("f32 ["), e
products = [e for e in steps if "matmul" in e["name"]]
assert products
assert all(e["args"]["operations"] > 0 and e["args"]["peak_share"] > 0 and e["args"]["bandwidth_share"] > 0 for e in products)
# one after the other, each within its phase
prompt, generation = phases["prompt"], phases["generation"]
assert prompt["ts"] + prompt["dur"] <= generation["ts"] + 1
for before, after in zip(steps, steps[1:]):
    assert before["ts"] + before["dur"] <= after["ts"] + 1, (before, after)
inside = [e for e in steps if generation["ts"] - 1 <= e["ts"] <= generation["ts"] + generation["dur"]]
runs = {e["args"]["run"] for e in inside}
# two tokens after the first; on webgpu one may have begun before the prompt's token was known
assert len({e["args"]["run"] for e in steps}) == 3 and len(runs) in ([1, 2] if sys.argv[2] == "webgpu" else [2]), runs
for run in {e["args"]["run"] for e in steps}:
    of = [e for e in steps if e["args"]["run"] == run]
    numbers = [e["args"]["step"] + n for e in of for n in range(len(e["name"].split(" | ")))]
    assert numbers == list(range(len(numbers))), run
parts = [e for e in events if e.get("cat") == "part"]
assert all(e["tid"] == 2 for e in parts) and (sys.argv[2] == "cpu" or not parts)
names = [e["args"]["name"] for e in events if e["ph"] == "M"]
assert names[:3] == ["mia", "phases", "driver"], names
CHECK
done
[ -z "${DEVICE:-}" ] || exit 0

# a right model under check: nothing to tell, and the same text
expect 0 run "$model" -p 'Once' -n 6 --temp 0
cp "$work/out" "$work/first"
MIA_DEBUG=check "$MIA" run "$model" -p 'Once' -n 6 --temp 0 >"$work/out" 2>"$work/err" || fail "MIA_DEBUG=check"
cmp -s "$work/out" "$work/first" || fail "another text under check"
grep '^check' "$work/err" && fail "what is right is reported"

MIA_DEBUG=time,tape,plan "$MIA" run "$model" -p 'Once' -n 2 --temp 0 >"$work/out" 2>"$work/err" || fail "MIA_DEBUG"
grep -Eq '^run [0-9]+: [0-9]+ steps in [0-9.]+ ms' "$work/err" || fail "no table of times"
grep -Eq '^ +[0-9.]+ ms +[0-9.]+ % +[0-9]+ steps? +[0-9.]+ GB/s +[0-9.]+ Gop/s  matmul( [|] matmul)+$' "$work/err" || fail "no line of matmul"
grep -Eq '^tape of [0-9]+ leaves and [0-9]+ operations$' "$work/err" || fail "no tape"
grep -Eq '^ *[0-9]+  matmul +f32 \[4096, 1\] <- [0-9]+, [0-9]+, kept$' "$work/err" || fail "no matmul in the tape"
