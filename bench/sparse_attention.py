#!/usr/bin/env python3
"""Compares ways to make attention sparse, at equal training time: docs/mechanisms/sparse-attention.md.

    python3 bench/sparse_attention.py tinyshakespeare.txt --clearhead build/release/clearhead --out runs/sparse

Trains a small clearhead-decoder on the bytes of the first nine tenths of a book, in windows of 512, once for each variant and for about
--seconds of training: a short run measures the time of a step, from which the number of steps follows. Measures each model on texts of 512
bytes of the last tenth: bits per byte, and the share of weights of earlier and own keys that are exactly zero. Peak memory is that of the
training process. Run it on a machine that does nothing else; finished runs are kept, so the script can be interrupted. Prints the table in
Markdown and writes results.json to --out.
"""

import json
import os
import shutil
import statistics
import subprocess
import time

from decoders import HEADS, LAYERS, arguments, bits_per_byte, held_out_texts, log_probabilities, recipe
from runs import ask, kept

VARIANTS = {
    "full softmax": {},
    "learned temperature": {"learned_temperature": True},
    "sparsemax": {"normaliser": "sparsemax"},
    "1.5-entmax": {"normaliser": "entmax15"},
    "window of 64": {"sliding_window": 64},
    "strided, 32": {"pattern": "strided", "pattern_stride": 32},
    "blocks and summaries, 32": {"pattern": "fixed", "pattern_stride": 32},
    "top 16 keys": {"top_keys": 16},
    "adaptive span": {"adaptive_span": 512},
}
LENGTH = 512
TEXTS = 64
QUERIES = range(63, LENGTH, 64)  # the rows in which zeros are counted
SHORT = 40  # steps of the run that measures the time of a step


def train(options, folder, name, settings, steps):
    """Trains in `folder`/`name`. Returns the seconds and the peak memory, in MiB."""
    path = folder / f"{name}.json"
    of_steps = {"report": 20, "validate": steps, "checkpoint": steps}
    made = recipe({"positions": "rotary", **settings}, batch=8, length=LENGTH, longest=LENGTH, steps=steps, **of_steps)
    path.write_text(json.dumps(made, indent=1), encoding="utf-8")
    command = [options.clearhead, "train", path, f"data={folder}", "-o", folder / name]
    shutil.rmtree(folder / name, ignore_errors=True)  # of an interrupted run
    with (folder / f"{name}.log").open("w", encoding="utf-8") as log:
        begin = time.monotonic()
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed; see {log.name}")
    return time.monotonic() - begin, usage.ru_maxrss / 1024


def zeros(clearhead, model, text, folder):
    """The share of weights that are exactly zero, the mean over heads and some rows of one text."""
    trace = folder / "run.trace"
    (folder / "text-of-trace.txt").write_text(text, encoding="utf-8")
    ask(clearhead, "trace", model, "--file", folder / "text-of-trace.txt", "-o", trace)
    shares = []
    for layer in range(LAYERS):
        for head in range(HEADS):
            for query in QUERIES:
                row = json.loads(ask(clearhead, "show", trace, "--head", f"L{layer}.H{head}", "--query", query, "--top", LENGTH, "--json"))
                shares.append(1 - sum(key["weight"] > 0 for key in row["keys"]) / (query + 1))
    return statistics.mean(shares)


def run(name, folder, options, book):
    (folder / "text.txt").write_text(book, encoding="utf-8")
    # The difference of two short runs leaves out the time to start and to validate.
    short, twice = (train(options, folder, f"{factor}-short", VARIANTS[name], factor * SHORT)[0] for factor in (1, 2))
    of_step = (twice - short) / SHORT
    steps = round(options.seconds / of_step / 20) * 20
    seconds, memory = train(options, folder, "run", VARIANTS[name], steps)
    model = folder / "run" / "best"
    texts = held_out_texts(book, LENGTH, TEXTS)
    each = log_probabilities(options.clearhead, model, texts, folder)
    return {"steps": steps, "seconds": seconds, "milliseconds_per_step": 1000 * of_step, "peak_mib": memory,
            "bits_per_byte": bits_per_byte(each), "zeros": zeros(options.clearhead, model, texts[0], folder)}  # fmt: skip


def main():
    parser = arguments(__doc__, "runs/sparse")
    parser.add_argument("--seconds", type=float, default=120, help="training time of a run (default: %(default)s)")
    options = parser.parse_args()
    book = options.book.read_text(encoding="utf-8")
    results = {}
    for name in VARIANTS:
        folder = options.out / name.replace(" ", "-").replace(",", "")
        results[name] = kept(folder, lambda: run(name, folder, options, book))
        print(name, json.dumps(results[name]), flush=True)
    print("\n| attention | bits per byte | steps | ms per step | peak memory | exact zeros |\n|---|---|---|---|---|---|")
    for name, of in results.items():
        print(f"| {name} | {of['bits_per_byte']:.3f} | {of['steps']:,} | {of['milliseconds_per_step']:.0f} | {of['peak_mib']:.0f} MiB "
              f"| {of['zeros']:.0%} |")  # fmt: skip
    (options.out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


main()
