#!/usr/bin/env python3
"""tools/folds: its folds equal those of training, and its naive Bayes follows the formula."""

import importlib.machinery
import importlib.util
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "folds"
LOADER = importlib.machinery.SourceFileLoader("folds", str(TOOL))
folds = importlib.util.module_from_spec(importlib.util.spec_from_loader("folds", LOADER))
sys.dont_write_bytecode = True
LOADER.exec_module(folds)


class Folds(unittest.TestCase):
    def test_fold_numbers_equal_the_fold_numbers_of_training(self):
        self.assertEqual(folds.fold_of("hello", 1 << 60), 0x5A0D15131EC7A1)  # the value in tests/tasks/folds_and_passages_test.cc

    def test_naive_bayes_adds_one_to_every_word(self):
        train = [(["a", "a", "b"], "x"), (["b", "c"], "y"), (["c"], "y")]
        # "b": x 1/3 · 2/6, y 2/3 · 2/6, so y; "a": x 1/3 · 3/6, more than y 2/3 · 1/6
        self.assertEqual(folds.naive_bayes(train, [(["b"], "y"), (["a"], "x"), (["a"], "y")]), 2 / 3)

    def test_the_error_is_the_standard_error_of_the_mean(self):
        mean, error = folds.mean_and_error([1, 2, 3])
        self.assertEqual(mean, 2)
        self.assertAlmostEqual(error, (1 / 3) ** 0.5)

    def test_it_reads_a_recipe_and_its_files(self):
        with tempfile.TemporaryDirectory() as folder:
            recipe = Path(folder) / "small.json"
            recipe.write_text(json.dumps({"task": {"text": "said", "label": "kind", "folds": {"files": ["a.jsonl"], "count": 3}}}), encoding="utf-8")
            lines = [{"said": [f"number {i}", "cat" if i % 2 else "saw"], "kind": i % 2} for i in range(60)]
            (Path(folder) / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
            told = subprocess.run([sys.executable, TOOL, recipe, f"data={folder}", "--only-bayes"], capture_output=True, text=True, check=True).stdout
        self.assertEqual(len(told.splitlines()), 4)
        self.assertEqual(told.splitlines()[-1], "naive Bayes 1.0000")


if __name__ == "__main__":
    unittest.main()
