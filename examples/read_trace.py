"""Recomputes one weight of a trace from its tensors alone.

    python3 examples/read_trace.py FILE [LAYER HEAD QUERY KEY]

Needs numpy and safetensors. Supports scaled dot products with causal or full topology, as in most models;
docs/trace.md describes the rest.
"""
import json
import sys

import numpy
from safetensors import safe_open

path, layer, head, query, key = (sys.argv + ["0", "0", "3", "1"])[1:6] if len(sys.argv) < 6 else sys.argv[1:6]
with safe_open(path, "numpy") as trace:
    plan, layers = (json.loads(trace.metadata()[name]) for name in ("plan", "layers"))
    name = f"{plan['families'][0]['name']}.{layer}"
    frames = layers[name]["frames"]
    n = next(n for n, f in enumerate(frames) if f["queries"][0] <= int(query) < f["queries"][1])
    q, maximum, total = (trace.get_tensor(f"{name}.frame{n}.{part}")[0, int(head)] for part in "qml")
    k = trace.get_tensor(frames[n]["k"])[0]
row = int(query) - frames[n]["queries"][0]
k = k[int(head) * len(k) // plan["families"][0]["heads"]]  # query heads share key heads in groups
scale = layers[name]["spec"]["score"]["dot"]["scale"] or q.shape[-1] ** -0.5
score = scale * (q[row].astype("float64") @ k[int(key)].astype("float64"))
print(json.dumps({"weight": float(2.0 ** (score * numpy.log2(numpy.e) - maximum[row]) / total[row]), "score": float(score)}))
