#!/usr/bin/env python3
"""examples/train_digits.cc on a tiny synthetic set with tones instead of digits: train_digits_test.py PROGRAM."""

import math
import random
import struct
import subprocess
import sys
import tempfile
import unittest
import wave
from pathlib import Path

RATE = 8000
HERTZ = [300, 700, 1300, 2100]


def write_tone(path: Path, hertz: float, rng: random.Random) -> None:
    """Writes a tone of 0.2 to 0.7 s, slightly detuned and with a little noise."""
    hertz *= rng.uniform(0.97, 1.03)
    loudness, phase = rng.uniform(3000, 12000), rng.uniform(0, 2 * math.pi)
    samples = [round(loudness * math.sin(2 * math.pi * hertz * t / RATE + phase) + rng.gauss(0, 100))
               for t in range(rng.randrange(1600, 5600))]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))


class TrainDigits(unittest.TestCase):
    def run_program(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=300)

    def test_learns_four_tones(self) -> None:
        rng = random.Random(3)
        with tempfile.TemporaryDirectory() as folder:
            lines = ["file\tdigit\tsplit"]
            for digit, hertz in enumerate(HERTZ):
                for number in range(13):
                    name = f"{digit}_{number}.wav"
                    write_tone(Path(folder) / name, hertz, rng)
                    lines.append(f"{name}\t{digit}\t{'test' if number < 3 else 'train'}")
            table = Path(folder) / "tones.tsv"
            table.write_text("\n".join(lines) + "\n", encoding="utf-8")
            done = self.run_program(str(table))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout.splitlines()[-1], r"^epoch 30: 12 of 12 right, \d+\.\d s$")

    def test_missing_arguments_and_files_are_reported(self) -> None:
        done = self.run_program()
        self.assertEqual(done.returncode, 2)
        self.assertIn("usage: train_digits TABLE.tsv", done.stderr)
        self.assertIn("github.com/Jakobovski/free-spoken-digit-dataset", done.stderr)
        done = self.run_program("nowhere.tsv")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "^train_digits: nowhere.tsv: .+\n$")


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
