#!/usr/bin/env python3
"""Measures what memory gives a decoder that reads in segments (Transformer-XL): docs/mechanisms/transformer-xl.md.

    python3 bench/segment_memory.py tinyshakespeare.txt --clearhead build/release/clearhead --out runs/memory

Trains a small clearhead-decoder with the relative positions of Transformer-XL on the bytes of the first nine tenths of a book: segments of
64 bytes, with a memory of 0, 64, 256 and 1,024 bytes before them, the same windows and the same number of steps. Measures bits per byte on
texts of 2,560 bytes of the last tenth, only behind the first 1,024 bytes, where every memory is full; and each model also with the other
memories, without training. Finished runs are kept, so the script can be interrupted. Prints the table in Markdown and writes results.json
to --out.
"""

import json

from decoders import arguments, bits_per_byte, held_out_texts, log_probabilities, recipe
from runs import kept, train

MEMORIES = (0, 64, 256, 1024)
SEGMENT = 64
LENGTH = 1024 + 4 * SEGMENT  # of a window in training
TEXT, TEXTS = 2560, 32


def settings(memory):
    return {"positions": "transformer_xl", "pattern": "segments", "segment_length": SEGMENT, "memory_length": memory}


def run(memory, folder, options, book):
    """Bits per byte of the model that is trained with `memory`, by the memory with which it reads."""
    (folder / "text.txt").write_text(book, encoding="utf-8")
    path = folder / "recipe.json"
    steps = {"report": 50, "validate": options.steps, "checkpoint": options.steps}
    made = recipe(settings(memory), batch=4, length=LENGTH, longest=TEXT, steps=options.steps, **steps)
    path.write_text(json.dumps(made, indent=1), encoding="utf-8")
    model = train(options.clearhead, path, folder, folder / "run")
    texts = held_out_texts(book, TEXT, TEXTS)
    trained = json.loads((model / "config.json").read_text(encoding="utf-8"))
    values = {}
    for reads in MEMORIES:
        (model / "config.json").write_text(json.dumps({**trained, **settings(reads)}), encoding="utf-8")
        values[str(reads)] = bits_per_byte(log_probabilities(options.clearhead, model, texts, folder), max(MEMORIES))
    (model / "config.json").write_text(json.dumps(trained), encoding="utf-8")
    return values


def main():
    parser = arguments(__doc__, "runs/memory")
    parser.add_argument("--steps", type=int, default=1500, help="steps of each run (default: %(default)s)")
    options = parser.parse_args()
    book = options.book.read_text(encoding="utf-8")
    results = {}
    heads = " | ".join(f"reads with {memory:,}" for memory in MEMORIES)
    print(f"| trained with memory | {heads} |\n|---|{'---|' * len(MEMORIES)}")
    for memory in MEMORIES:
        folder = options.out / f"memory-{memory}"
        results[memory] = kept(folder, lambda: run(memory, folder, options, book))
        cells = " | ".join(f"{value:.3f}" for value in results[memory].values())
        print(f"| {memory:,} | {cells} |", flush=True)
    (options.out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")


main()
