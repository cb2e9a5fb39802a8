#!/usr/bin/env python3
"""Recomputes every number that examples/the_articles.cc prints in double: the_articles_test.py PROGRAM."""

import math
import re
import subprocess
import sys
import unittest

Rows = list[list[float]]


def by(x: Rows, w: Rows) -> Rows:
    """x·wᵀ; w: [out, in]."""
    return [[sum(a * b for a, b in zip(row, column)) for column in w] for row in x]


def transposed(x: Rows) -> Rows:
    return [list(row) for row in zip(*x)]


def added(a: Rows, b: Rows) -> Rows:
    return [[x + y for x, y in zip(left, right)] for left, right in zip(a, b)]


def weights(q: Rows, k: Rows, scale: float | None = None) -> Rows:
    scale = 1 / math.sqrt(len(q[0])) if scale is None else scale
    exponentials = [[math.exp(score * scale) for score in row] for row in by(q, k)]
    return [[x / sum(row) for x in row] for row in exponentials]


def attended(q: Rows, k: Rows, v: Rows, scale: float | None = None) -> tuple[Rows, Rows]:
    p = weights(q, k, scale)
    return p, by(p, transposed(v))


def sines(length: int, base: float) -> Rows:
    """Four channels: sin p, cos p, sin(p/√base), cos(p/√base)."""
    return [[f(p / base**power) for power in (0, 0.5) for f in (math.sin, math.cos)] for p in range(length)]


def norm(x: Rows) -> Rows:
    out = []
    for row in x:
        mean = sum(row) / len(row)
        deviation = math.sqrt(sum((a - mean) ** 2 for a in row) / len(row) + 1e-5)
        out.append([(a - mean) / deviation for a in row])
    return out


def plain(outputs: int, inputs: int) -> Rows:
    return [[math.sin(o * inputs + i + 1) for i in range(inputs)] for o in range(outputs)]


TOKENS = [[1.0, 0, 1, 0], [0, 2, 0, 2], [1, 1, 1, 1]]
CAT = [[1.0, 0, 0, 0], [0, 2, 1, 0], [0, 1, 2, 1], [0, 0, 1, 2], [1, 0, 0, 0], [0, 1, 0, 2]]


def two_heads(x: Rows) -> tuple[Rows, Rows]:
    """The weights of both heads, and the output; query, key, value and output use the same weights."""
    y = by(x, plain(4, 4))
    halves = [[row[begin : begin + 2] for row in y] for begin in (0, 2)]
    heads = [attended(half, half, half) for half in halves]
    both = [left + right for left, right in zip(heads[0][1], heads[1][1])]
    return heads[0][0] + heads[1][0], by(both, plain(4, 4))


def block(x: Rows) -> Rows:
    x = norm(added(x, two_heads(x)[1]))
    inner = [[max(0.0, a) for a in row] for row in by(x, plain(8, 4))]
    return norm(added(x, by(inner, plain(4, 8))))


def expected() -> list[Rows]:
    """The rows of each sample, in the order in which they are printed."""
    column = [[4.0], [5.0], [6.0]]
    dots = attended([[1.0], [2.0], [3.0]], column, [[7.0], [8.0], [9.0]])
    alone = ([[1.0]], [[7.0, 8.0, 9.0]])
    q, k, v = [[1.0, 0, 1, 0]], [[4.0, 0, 4, 0], [0, 4, 0, 4], [4, 4, 0, 0]], [[1.0], [2.0], [3.0]]
    heads = two_heads(TOKENS)
    placed = added(CAT, sines(6, 10000))
    where = weights(placed, placed)
    return [
        dots[0] + dots[1] + 2 * (alone[0] + alone[1]),
        [row for scale in (0.5, 1.0) for part in attended(q, k, v, scale) for row in part],
        sines(4, 10000) + sines(4, 1000),
        heads[0] + heads[1],
        block(TOKENS),
        weights(CAT, CAT) + [where[0], where[4]],
    ]


class TheArticles(unittest.TestCase):
    def test_prints_what_the_formulas_give(self) -> None:
        done = subprocess.run([PROGRAM], capture_output=True, text=True, timeout=60, check=True)
        samples = re.split(r"^\d\. ", done.stdout, flags=re.MULTILINE)[1:]
        self.assertEqual(len(samples), 6)
        for sample, rows in zip(samples, expected()):
            name = sample.splitlines()[0]
            printed = [re.findall(r"-?\d+\.\d{4}", line) for line in sample.splitlines() if line.startswith("  ")]
            self.assertEqual([len(row) for row in printed], [len(row) for row in rows], name)
            for line, row in zip(printed, rows):
                for number, value in zip(line, row):
                    self.assertAlmostEqual(float(number), value, delta=6e-5, msg=name)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
