"""train --fields: the declared fields of recipes, in the terminal and in docs/recipe-fields.md; a task with generated data."""

import importlib.machinery
import importlib.util
import json
import os

from support import ROOT, Case, run


class Fields(Case):
    def test_the_reference_page_is_what_the_program_declares(self):
        loader = importlib.machinery.SourceFileLoader("recipe_fields", str(ROOT / "tools" / "recipe-fields"))
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
        loader.exec_module(module)
        written = (ROOT / "docs" / "recipe-fields.md").read_text(encoding="utf-8")
        self.assertEqual(module.page(os.environ["CLEARHEAD"]), written, "run tools/recipe-fields CLEARHEAD > docs/recipe-fields.md")

    def test_every_field_has_accepted_values_a_default_and_a_meaning(self):
        rows = [json.loads(line) for line in self.ok("train", "--fields", "--json").out.splitlines()]
        self.assertGreater(len(rows), 100)
        for row in rows:
            self.assertTrue(all(row[part] for part in ("name", "accepts", "default", "meaning")), row)
        self.assertEqual(self.ok("train", "--fields", "sorting").out.splitlines()[0], "kind: sorting (required)")

    def test_every_field_of_the_shipped_recipes_is_declared(self):
        """The reader refuses undeclared fields, so a recipe that is read has none. This test compares only their names."""
        declared = {}
        for line in self.ok("train", "--fields", "--json").out.splitlines():
            row = json.loads(line)
            declared.setdefault(row["task"], set()).add(row["name"])
        for path in (ROOT / "recipes").glob("*.json"):
            recipe = json.loads(path.read_text(encoding="utf-8"))
            self.assertLessEqual(set(recipe), declared[None], path.name)
            if "task" in recipe:
                self.assertLessEqual(set(recipe["task"]), declared[recipe["task"]["kind"]], path.name)

    def test_a_task_that_does_not_exist_is_refused(self):
        self.refused(1, 'there is no task "order"; expected babi, classification, masked-lm, node-classification, question-answering, sentence-similarity, sorting, '
                        "speech-recognition, summarisation or token-classification", "train", "--fields", "order")

    def test_digits_are_sorted_without_any_file(self):
        folder = self.folder / "run"
        done = run("train", ROOT / "recipes/sort-digits.json", "-o", folder, "task.longest=3", "task.examples=2000", "steps=300",
                                "schedule.warmup=20")
        self.assertEqual(done.code, 0, done.errors)
        self.assertIn("training: 2,000 sequences", done.errors)
        self.assertIn(f'done: clearhead run tag {folder}/best "5 2 9"', done.errors)
        measured = json.loads(self.ok("train", ROOT / "recipes/sort-digits.json", "task.longest=3", "task.examples=2000", "--test", folder / "best", "--json").out)
        self.assertGreater(measured["digits"], 0.9)
        spans = [line.split()[2:] for line in self.ok("run", "tag", folder / "best", "7 1").out.splitlines()]
        self.assertEqual([span[-1] for span in spans], ["7", "1"])  # the space between has no row
