#!/usr/bin/env python3
"""Makes fashion-mlp.gguf, the weights of mlp.c: a perceptron 784 -> 128 -> 10 for the pictures of clothes of Debian's
dataset-fashion-mnist, trained with numpy (python3-numpy) in a few minutes from a fixed seed.

    examples/fashion_mlp.py [OUT.gguf]
"""

import gzip
import pathlib
import struct
import sys

import numpy as np

DATA = pathlib.Path("/usr/share/datasets/fashion-mnist")
CLASSES = "T-shirt trouser pullover dress coat sandal shirt sneaker bag boot".split()
HIDDEN, BATCH, EPOCHS, RATE = 128, 128, 12, 1e-3


def read(name, header):
    with gzip.open(DATA / name) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


def pictures(part):
    return read(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype(np.float32) / 255


def labels(part):
    return read(f"{part}-labels-idx1-ubyte.gz", 8).astype(np.int64)


def forward(p, x):
    hidden = np.maximum(x @ p["hidden.weight"].T + p["hidden.bias"], 0)
    return hidden, hidden @ p["out.weight"].T + p["out.bias"]


def gradients(p, x, y):
    """Of the cross entropy, averaged over a batch."""
    hidden, scores = forward(p, x)
    error = np.exp(scores - scores.max(1, keepdims=True))
    error /= error.sum(1, keepdims=True)
    error[np.arange(len(y)), y] -= 1
    error /= len(y)
    below = (error @ p["out.weight"]) * (hidden > 0)
    return {
        "hidden.weight": below.T @ x,
        "hidden.bias": below.sum(0),
        "out.weight": error.T @ hidden,
        "out.bias": error.sum(0),
    }


def train(x, y):
    """Adam, its rate falling linearly to zero."""
    rng = np.random.default_rng(1)
    p = {
        "hidden.weight": rng.normal(0, (2 / 784) ** 0.5, (HIDDEN, 784)).astype(np.float32),
        "hidden.bias": np.zeros(HIDDEN, np.float32),
        "out.weight": rng.normal(0, (1 / HIDDEN) ** 0.5, (10, HIDDEN)).astype(np.float32),
        "out.bias": np.zeros(10, np.float32),
    }
    mean, square = ({k: np.zeros_like(v) for k, v in p.items()} for _ in range(2))
    steps = EPOCHS * (len(x) // BATCH)
    for step in range(steps):
        if step % (len(x) // BATCH) == 0:
            order = rng.permutation(len(x))
        first = step % (len(x) // BATCH) * BATCH
        batch = order[first : first + BATCH]
        for k, g in gradients(p, x[batch], y[batch]).items():
            mean[k] = 0.9 * mean[k] + 0.1 * g
            square[k] = 0.999 * square[k] + 0.001 * g * g
            unbiased = mean[k] / (1 - 0.9 ** (step + 1))
            spread = np.sqrt(square[k] / (1 - 0.999 ** (step + 1))) + 1e-8
            p[k] = (p[k] - RATE * (1 - step / steps) * unbiased / spread).astype(np.float32)
    return p


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def write_gguf(path, tensors):
    """GGUF 3: matrices as f16 (type 1), vectors as f32 (type 0), each at a multiple of 32 bytes."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 2)
    head += text("general.architecture") + struct.pack("<I", 8) + text("mlp")
    head += text("mlp.classes") + struct.pack("<IIQ", 9, 8, len(CLASSES)) + b"".join(map(text, CLASSES))
    body = b""
    for name, value in tensors.items():
        kind = 1 if value.ndim == 2 else 0
        head += text(name) + struct.pack("<I", value.ndim) + struct.pack(f"<{value.ndim}Q", *value.shape[::-1])
        head += struct.pack("<IQ", kind, len(body))
        body += value.astype("<f2" if kind else "<f4").tobytes()
        body += bytes(-len(body) % 32)
    path.write_bytes(head + bytes(-len(head) % 32) + body)


def main():
    default = pathlib.Path(__file__).with_name("fashion-mlp.gguf")
    parameters = train(pictures("train"), labels("train"))
    scores = forward(parameters, pictures("t10k"))[1]
    print(f"{np.mean(scores.argmax(1) == labels('t10k')):.2%} of the test pictures")
    write_gguf(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default, parameters)


if __name__ == "__main__":
    main()
