#!/usr/bin/env python3
"""Compares position encodings beyond the length at which they were trained: docs/mechanisms/positions.md.

    python3 bench/position_encodings.py tinyshakespeare.txt --clearhead build/release/clearhead --out runs/positions

For each position encoding of clearhead-decoder, trains a model on the bytes of the first nine tenths of a book, in windows of 128, and
measures it on the last tenth, in texts of 1,024 bytes: bits per byte of the bytes 1 to 127, 128 to 255, 256 to 511 and 512 to 1,023 of a
text. A run takes about two minutes on two cores; finished runs are kept, so the script can be interrupted. Prints the table in Markdown,
and writes results.json and positions.svg to --out.
"""

import html
import json
import statistics

from decoders import arguments, bits_per_byte, held_out_texts, log_probabilities, recipe
from runs import kept, train

ENCODINGS = ["none", "learned", "sinusoidal", "scaled_sinusoidal", "key_sinusoidal", "shaw", "transformer_xl", "t5", "alibi", "rotary"]
COLOURS = ["#888888", "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf"]
TRAINED = 128
LONGEST = 1024
TEXTS = 64
RANGES = ((1, 128), (128, 256), (256, 512), (512, 1024))  # the first byte of a text is not predicted


def measure(clearhead, model, book, folder):
    """Bits per byte in each range, the mean over the texts."""
    each = log_probabilities(clearhead, model, held_out_texts(book, LONGEST, TEXTS), folder)  # entry i is that of byte i + 1
    return [bits_per_byte(each, begin - 1, end - 1) for begin, end in RANGES]


def run(encoding, seed, folder, options, book):
    (folder / "text.txt").write_text(book, encoding="utf-8")
    often = {"report": 100, "validate": 250, "checkpoint": 250}
    made = recipe({"positions": encoding}, batch=32, length=TRAINED, longest=LONGEST, steps=options.steps, seed=seed, **often)
    (folder / "recipe.json").write_text(json.dumps(made, indent=1), encoding="utf-8")
    return measure(options.clearhead, train(options.clearhead, folder / "recipe.json", folder, folder / "run"), book, folder)


def means(results, encoding, seeds):
    return [statistics.mean(column) for column in zip(*(results[encoding, seed] for seed in seeds))]


def table(results, seeds):
    lines = ["| positions | " + " | ".join(f"{begin} to {end - 1:,}" for begin, end in RANGES) + " |", "|---" * (len(RANGES) + 1) + "|"]
    for encoding in ENCODINGS:
        lines.append(f"| {encoding} | " + " | ".join(f"{value:.2f}" for value in means(results, encoding, seeds)) + " |")
    return "\n".join(lines)


def plot(results, seeds):
    """An SVG of bits per byte in each range, one line for each encoding."""
    left, top, width, height, low, high = 50, 20, 400, 260, 2.0, 6.0
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 340" font-family="sans-serif" font-size="12">']
    parts.append('<rect width="640" height="340" fill="white"/>')
    for tick in range(9):
        value, y = low + (high - low) * tick / 8, top + height - height * tick / 8
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.1f}</text>')
    xs = [left + width * (2 * at + 1) / (2 * len(RANGES)) for at in range(len(RANGES))]
    for x, (begin, end) in zip(xs, RANGES):
        parts.append(f'<text x="{x:.1f}" y="{top + height + 18}" text-anchor="middle">{begin}–{end - 1:,}</text>')
    trained = left + width / len(RANGES)
    parts.append(f'<line x1="{trained}" x2="{trained}" y1="{top}" y2="{top + height}" stroke="#555555" stroke-dasharray="4 4"/>')
    parts.append(f'<text x="{trained + 4}" y="{top + 12}" fill="#555555">not trained</text>')
    parts.append(f'<text x="{left + width / 2}" y="{top + height + 40}" text-anchor="middle">position in the text (bytes)</text>')
    middle = top + height / 2
    parts.append(f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">bits per byte</text>')
    for encoding, colour in zip(ENCODINGS, COLOURS):
        ys = [top + height * (high - min(max(value, low), high)) / (high - low) for value in means(results, encoding, seeds)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for at, (encoding, colour) in enumerate(zip(ENCODINGS, COLOURS)):
        y = top + 20 + 22 * at
        parts.append(f'<line x1="475" x2="500" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="506" y="{y + 4}">{html.escape(encoding)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main():
    parser = arguments(__doc__, "runs/positions")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1200, help="training steps of a run (default: %(default)s)")
    options = parser.parse_args()
    book = options.book.read_text(encoding="utf-8")
    seeds = range(1, options.seeds + 1)
    results = {}
    for seed in seeds:
        for encoding in ENCODINGS:
            folder = options.out / f"{encoding}-{seed}"
            results[encoding, seed] = kept(folder, lambda: run(encoding, seed, folder, options, book))
            print(encoding, seed, " ".join(f"{value:.3f}" for value in results[encoding, seed]), flush=True)
    print(f"\n{table(results, seeds)}")
    as_json = [{"positions": encoding, "seed": seed, "bits_per_byte": values} for (encoding, seed), values in results.items()]
    (options.out / "results.json").write_text(json.dumps(as_json, indent=1), encoding="utf-8")
    (options.out / "positions.svg").write_text(plot(results, seeds), encoding="utf-8")


main()
