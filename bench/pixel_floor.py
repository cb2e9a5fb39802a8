"""The floor of recipes/draw-digits.json: a table of the probability of ink given 12 earlier pixels, in bits per pixel of the test part.

The context is the template of JBIG-like coders: the pixels two and one to the left, and those above within two rows. Counts are of the
training part, plus a half (Krichevsky & Trofimov 1981). For comparison, with the class and the row as further context.

    python3 bench/pixel_floor.py ../shared/data/vision
"""

import math
import sys
from collections import defaultdict
from pathlib import Path

SIDE = 32
NEIGHBOURS = [(0, -1), (0, -2), (-1, -2), (-1, -1), (-1, 0), (-1, 1), (-1, 2), (-2, -1), (-2, 0), (-2, 1), (0, -3), (-3, 0)]


def pictures(path: Path) -> list[tuple[str, list[int]]]:
    out = []
    for line in path.read_text(encoding="utf-8").splitlines():
        label, figures = line.split("\t")
        out.append((label, [int(bit) for figure in figures for bit in f"{int(figure, 16):04b}"]))
    return out


def contexts(label: str, pixels: list[int], with_class: bool):
    """Yields (context, pixel) in raster order; pixels outside the picture are 0."""
    for row in range(SIDE):
        for column in range(SIDE):
            bits = tuple(pixels[(row + down) * SIDE + column + right] if row + down >= 0 and 0 <= column + right < SIDE else 0
                         for down, right in NEIGHBOURS)
            yield (bits, label, row // 4) if with_class else bits, pixels[row * SIDE + column]


def main() -> None:
    folder = Path(sys.argv[1])
    train, test = pictures(folder / "optdigits_train.tsv"), pictures(folder / "optdigits_test.tsv")
    for with_class in (False, True):
        counts: dict = defaultdict(lambda: [0.5, 0.5])
        for label, pixels in train:
            for context, pixel in contexts(label, pixels, with_class):
                counts[context][pixel] += 1
        bits = 0.0
        for label, pixels in test:
            for context, pixel in contexts(label, pixels, with_class):
                seen = counts[context]
                bits -= math.log2(seen[pixel] / sum(seen))
        name = "12 pixels, the class and the row" if with_class else "12 pixels"
        print(f"{bits / len(test) / SIDE ** 2:.4f} bits per pixel  {name} ({len(counts):,} contexts)")


if __name__ == "__main__":
    main()
