#!/usr/bin/env python3
"""Compares ways to make attention sparse, at equal training time: docs/mechanisms/sparse-attention.md.

    python3 bench/sparse_attention.py tinyshakespeare.txt --clearhead build/release/clearhead --out runs/sparse

Trains a small clearhead-decoder on the bytes of the first nine tenths of a book, in windows of 512, once for each variant and for about
--seconds of training: a short run measures the time of a step, from which the number of steps follows. Measures each model on texts of 512
bytes of the last tenth: bits per byte, and the share of weights of earlier and own keys that are exactly zero. Peak memory is that of the
training process. Run it on a machine that does nothing else; finished runs are kept, so the script can be interrupted. Prints the table in
Markdown and writes results.json to --out.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import time
from pathlib import Path

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
LAYERS, HEADS = 3, 4
QUERIES = range(63, LENGTH, 64)  # the rows in which zeros are counted
SHORT = 40  # steps of the run that measures the time of a step


def recipe(settings, steps):
    return {
        "files": ["text.txt"], "held_out": 0.1, "tokenizer": "bytes",
        "model": {
            "model_type": "clearhead-decoder", "vocab_size": 256, "hidden_size": 64, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "max_position_embeddings": LENGTH, "positions": "rotary", **settings,
        },
        "batch": 8, "length": LENGTH, "steps": steps, "seed": 1,
        "optimiser": {"beta1": 0.9, "beta2": 0.98, "weight_decay": 0.1, "clip": 1},
        "schedule": {"kind": "cosine", "learning_rate": 0.003, "warmup": min(100, steps // 4), "min_ratio": 0.05},
        "report": 20, "validate": steps, "checkpoint": steps,
    }  # fmt: skip


def train(options, folder, name, settings, steps):
    """Trains in `folder`/`name`. Returns the seconds and the peak memory, in MiB."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(recipe(settings, steps), indent=1), encoding="utf-8")
    command = [options.clearhead, "train", path, f"data={folder}", "-o", folder / name]
    with (folder / f"{name}.log").open("w", encoding="utf-8") as log:
        begin = time.monotonic()
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed; see {log.name}")
    return time.monotonic() - begin, usage.ru_maxrss / 1024


def ask(options, *command):
    return subprocess.run([str(part) for part in (options.clearhead, *command)], check=True, capture_output=True, text=True).stdout


def bits_per_byte(options, model, texts, folder):
    lines = folder / "lines.txt"
    lines.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    answer = ask(options, "run", "score", model, "--file", lines, "--lines", "--json")
    return -statistics.mean(statistics.mean(json.loads(line)["log_probabilities"]) for line in answer.splitlines()) / math.log(2)


def zeros(options, model, text, folder):
    """The share of weights that are exactly zero, the mean over heads and some rows of one text."""
    trace = folder / "run.trace"
    (folder / "text-of-trace.txt").write_text(text, encoding="utf-8")
    ask(options, "trace", model, "--file", folder / "text-of-trace.txt", "-o", trace)
    shares = []
    for layer in range(LAYERS):
        for head in range(HEADS):
            for query in QUERIES:
                row = json.loads(ask(options, "show", trace, "--head", f"L{layer}.H{head}", "--query", query, "--top", LENGTH, "--json"))
                shares.append(1 - sum(key["weight"] > 0 for key in row["keys"]) / (query + 1))
    return statistics.mean(shares)


def run(name, options, book):
    folder = options.out / name.replace(" ", "-").replace(",", "")
    result = folder / "result.json"
    if result.exists():
        return json.loads(result.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.txt").write_text(book, encoding="utf-8")
    # The difference of two short runs leaves out the time to start and to validate.
    short, twice = (train(options, folder, f"{factor}-short", VARIANTS[name], factor * SHORT)[0] for factor in (1, 2))
    of_step = (twice - short) / SHORT
    steps = round(options.seconds / of_step / 20) * 20
    seconds, memory = train(options, folder, "run", VARIANTS[name], steps)
    model = folder / "run" / "best"
    held_out = " ".join(book[len(book) * 9 // 10 :].split())
    texts = [held_out[at : at + LENGTH] for at in range(0, len(held_out) - LENGTH, LENGTH)][:TEXTS]
    values = {"steps": steps, "seconds": seconds, "milliseconds_per_step": 1000 * of_step, "peak_mib": memory,
              "bits_per_byte": bits_per_byte(options, model, texts, folder), "zeros": zeros(options, model, texts[0], folder)}  # fmt: skip
    result.write_text(json.dumps(values), encoding="utf-8")
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("book", type=Path, help="a text file")
    parser.add_argument("--clearhead", default="build/release/clearhead", help="the program (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/sparse"), help="folder of the runs (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=120, help="training time of a run (default: %(default)s)")
    options = parser.parse_args()
    book = options.book.read_text(encoding="utf-8")
    results = {}
    for name in VARIANTS:
        results[name] = run(name, options, book)
        print(name, json.dumps(results[name]), flush=True)
    print("\n| attention | bits per byte | steps | ms per step | peak memory | exact zeros |\n|---|---|---|---|---|---|")
    for name, of in results.items():
        print(f"| {name} | {of['bits_per_byte']:.3f} | {of['steps']:,} | {of['milliseconds_per_step']:.0f} | {of['peak_mib']:.0f} MiB "
              f"| {of['zeros']:.0%} |")  # fmt: skip
    (options.out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


main()
