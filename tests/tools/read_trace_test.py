#!/usr/bin/env python3
"""Reads a trace in Python: examples/read_trace.py recomputes weights that `clearhead show --json` prints.  read_trace_test.py CLEARHEAD

Uses a model with known answers from the tool next to the command, so it needs no download. Requires numpy and safetensors.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

clearhead = Path(sys.argv[1]).resolve()
reader = Path(__file__).resolve().parents[2] / "examples" / "read_trace.py"


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


with tempfile.TemporaryDirectory() as folder:
    model, trace = Path(folder, "model"), Path(folder, "run.trace")
    checked = 0
    for kind in ("causal", "bidirectional"):
        run(clearhead.parent / "clearhead-known-models", kind, model / kind, "--sharpness", "20")
        run(clearhead, "trace", model / kind, "the cat sat on the mat; the cat sat", "-o", trace)
        heads = [(0, 0), (0, 1), (1, 0)] if kind == "causal" else [(0, 0), (0, 1)]
        for layer, head in heads:
            shown = json.loads(run(clearhead, "show", trace, "--head", f"L{layer}.H{head}", "--query", "30", "--top", "4", "--json"))
            for key in shown["keys"]:
                read = json.loads(run(sys.executable, reader, trace, layer, head, 30, key["key"]))
                assert abs(read["weight"] - key["weight"]) <= 1e-5 * key["weight"] + 1e-9, (kind, layer, head, key, read)
                checked += 1
    assert checked >= 15, checked
print(f"{checked} weights recomputed in Python agree")
