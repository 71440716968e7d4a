#!/bin/sh
# mia export and mia exec: a model's step from a file gives the logits of mia eval, bit for bit; .npy files in and
# out, also those of NumPy itself where it is there; refusals.
# shellcheck source=tests/cli/_lib.sh
. "$(dirname "$0")/_lib.sh"

# npy FILE DESCR SHAPE NUMBER...: a file as NumPy writes it, without NumPy
npy() { python3 - "$@" <<'PYTHON'
import struct, sys
path, descr, shape, *numbers = sys.argv[1:]
code = {"f4": "f", "f2": "e", "f8": "d", "i4": "i", "i8": "q", "u1": "B", "b1": "?"}[descr[1:]]
head = "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, shape.endswith("F"), shape.rstrip("F"))
head += " " * (63 - (10 + len(head)) % 64) + "\n"
numbers = [float(n) if code in "efd" else int(n) for n in numbers]
with open(path, "wb") as f:
    f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + struct.pack("<%d%s" % (len(numbers), code), *numbers))
PYTHON
}

tokens=1,403,407,261,378,268,280,423
small=$model
if [ -n "$SHARED" ] && [ -f "$SHARED/models/stories260K.gguf" ]; then small=$SHARED/models/stories260K.gguf; fi

# --- a step of 8 tokens against mia eval ----------------------------------------------------------
expect 0 export "$small" --step --rows 8 --ctx 64 -o "$work/step.mia"
expect 0 exec "$work/step.mia"
grep -q '^input   ids              i32 \[8\]$' "$work/out" || fail "the description lacks its ids"
grep -q '^output  logits           f32 \[' "$work/out" || fail "the description lacks its logits"
# shellcheck disable=SC2046 # the numbers are separate words
npy "$work/ids.npy" '<i8' '(8,)' $(echo $tokens | tr , ' ')
npy "$work/positions.npy" '<i4' '(8,)' 0 1 2 3 4 5 6 7
npy "$work/start.npy" '<i4' '(1,)' 0
npy "$work/length.npy" '<i4' '(1,)' 8
given="--input ids=$work/ids.npy --input positions=$work/positions.npy --input start=$work/start.npy --input length=$work/length.npy"
# shellcheck disable=SC2086
expect 0 exec "$work/step.mia" $given --zeros --output "logits=$work/logits.npy" --output "cache.1=$work/cache.npy"
expect 0 eval "$small" --tokens $tokens --ctx 64 --logits "$work/logits.f32"
header=$(($(od -An -tu2 -j8 -N2 "$work/logits.npy") + 10))
tail -c +$((header + 1)) "$work/logits.npy" | cmp - "$work/logits.f32" || fail "the logits differ from those of mia eval"

# --- the weights may stay in the model's file ------------------------------------------------------
expect 0 export "$small" --step --rows 8 --ctx 64 --without-weights -o "$work/bare.mia"
[ "$(wc -c <"$work/bare.mia")" -lt "$(wc -c <"$work/step.mia")" ] || fail "the tape without weights is no smaller"
# shellcheck disable=SC2086
refuses 1 'the tape needs tensor "' exec "$work/bare.mia" $given --zeros
# shellcheck disable=SC2086
expect 0 exec "$work/bare.mia" --weights "$small" $given --zeros --output "logits=$work/bare.npy"
cmp "$work/logits.npy" "$work/bare.npy" || fail "the logits differ without the weights in the file"

# --- NumPy's own reading and writing ---------------------------------------------------------------
if /usr/bin/python3 -c 'import numpy' 2>/dev/null; then
    /usr/bin/python3 - "$work" <<'PYTHON' || fail "NumPy sees other numbers"
import numpy, sys
work = sys.argv[1]
logits, cache = numpy.load(work + "/logits.npy"), numpy.load(work + "/cache.npy")
assert logits.shape[0] == 8 and logits.dtype == numpy.float32 and numpy.isfinite(logits).all()
assert (logits == numpy.fromfile(work + "/logits.f32", numpy.float32).reshape(logits.shape)).all()
assert cache.ndim == 3 and cache.shape[1] == 64 and (cache[:, 8:] == 0).all() and (cache[:, :8] != 0).any()
numpy.save(work + "/fortran.npy", numpy.asfortranarray(cache))
numpy.save(work + "/plain.npy", cache)
PYTHON
    # shellcheck disable=SC2086
    expect 0 exec "$work/step.mia" $given --zeros --input "cache.1=$work/fortran.npy" --output "logits=$work/a.npy"
    # shellcheck disable=SC2086
    expect 0 exec "$work/step.mia" $given --zeros --input "cache.1=$work/plain.npy" --output "logits=$work/b.npy"
    cmp "$work/a.npy" "$work/b.npy" || fail "Fortran's order gives other numbers"
fi

# --- refusals --------------------------------------------------------------------------------------
refuses 2 'is missing' export "$small" -o "$work/x.mia"
refuses 2 'is missing' export "$small" --step
refuses 1 'holds no tape' exec "$model"
refuses 1 'cannot open' exec "$work/none.mia"
refuses 1 'input ids is missing' exec "$work/step.mia" --output "logits=$work/x.npy"
refuses 1 'the tape has no input "idz"' exec "$work/step.mia" --input "idz=$work/ids.npy"
refuses 1 'the tape has no output "x"' exec "$work/step.mia" --zeros --output "x=$work/x.npy"
refuses 2 'is not NAME=FILE.npy' exec "$work/step.mia" --input ids
npy "$work/short.npy" '<i4' '(3,)' 1 2 3
refuses 1 'input ids is i32 \[3\], it takes i32 \[8\]' exec "$work/step.mia" --zeros --input "ids=$work/short.npy"
npy "$work/real.npy" '<f4' '(8,)' 1 2 3 4 5 6 7 8
refuses 1 'input ids is f32' exec "$work/step.mia" --zeros --input "ids=$work/real.npy"
npy "$work/large.npy" '<i8' '(8,)' 1 2 3 4 5 6 7 8589934592
refuses 1 '8589934592 does not fit 32 bits' exec "$work/step.mia" --zeros --input "ids=$work/large.npy"
head -c 100 "$work/ids.npy" >"$work/cut.npy"
refuses 1 'ends within its header' exec "$work/step.mia" --zeros --input "ids=$work/cut.npy"
head -c 140 "$work/ids.npy" >"$work/cut.npy"
refuses 1 'ends within its numbers' exec "$work/step.mia" --zeros --input "ids=$work/cut.npy"
refuses 1 'is no .npy file' exec "$work/step.mia" --zeros --input "ids=$model"
refuses 1 'cannot open' exec "$work/step.mia" --zeros --output "logits=$work/no/such.npy"
if [ -e /dev/full ]; then refuses 1 'cannot write' exec "$work/step.mia" --zeros --output logits=/dev/full; fi
