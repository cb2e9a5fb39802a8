"""Series of numbers, from the command line: a classifier of waves is trained on a generated table, measured, run and explained."""

import json
import math
import random

from support import run
from train_network_test import NetworkCase

LENGTH = 32


class Series(NetworkCase):
    """A bump that points up or down, somewhere in a noisy series; a third class has the same bumps, but another pulse."""

    TASK = {"kind": "classification", "train": "train.tsv", "valid": "valid.tsv", "test": "test.tsv", "label": "class", "best": "macro_f1",
            "series": {"column": "signal", "features": {"pulse": "bpm"}, "distort": {"shift": 1, "scale": 0.1, "noise": 0.05}}}
    MODEL = {"model_type": "series_transformer", "series": {"length": LENGTH}, "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 1,
             "num_attention_heads": 2, "intermediate_size": 32}

    def setUp(self):
        super().setUp()
        self.random = random.Random(5)
        for part, count in (("train", 120), ("valid", 36), ("test", 36)):
            rows = "".join(f"{kind}\t{pulse}\t{numbers}\n" for kind, pulse, numbers in map(self.example, ("up", "down", "fast") * (count // 3)))
            (self.folder / f"{part}.tsv").write_text(f"class\tbpm\tsignal\n{rows}", encoding="utf-8")
        self.recipe = self.folder / "small.json"
        self.write(self.TASK, self.MODEL)

    def example(self, kind, at=None):
        at, sign = at or self.random.randint(8, 24), {"up": 1, "down": -1, "fast": self.random.choice((1, -1))}[kind]
        numbers = [100 * sign * math.exp(-((t - at) / 2) ** 2) + self.random.gauss(40, 5) for t in range(LENGTH)]
        return kind, round(self.random.gauss(120 if kind == "fast" else 60, 8)), " ".join(f"{number:.0f}" for number in numbers)

    def write(self, task, model, **more):
        self.recipe.write_text(json.dumps({
            "task": task, "model": model, "batch": 16, "steps": 200, "report": 50, "validate": 50, "checkpoint": 100,
            "schedule": {"learning_rate": 0.01}} | more), encoding="utf-8")

    def test_a_classifier_of_series_is_trained_tested_and_run(self):
        out = self.folder / "run"
        done = run("train", self.recipe, f"data={self.folder}", "-o", out)
        self.assertEqual(done.code, 0, done.errors)
        self.assertIn("training: 120 series of train.tsv", done.errors)
        best = out / "best"
        self.assertIn(f'done: clearhead run classify {best} "NUMBERS"', done.errors)
        series = json.loads((best / "config.json").read_text(encoding="utf-8"))["series"]
        self.assertEqual((series["standardise"], len(series["scales"]), [one["name"] for one in series["features"]]), ("data", 1, ["pulse"]))
        measured = self.done("train", self.recipe, f"data={self.folder}", "--test", best, "--json").json
        self.assertEqual(measured["counted"], 36)
        self.assertGreater(measured["macro_f1"], 0.9)
        _, pulse, numbers = self.example("down")
        self.assertRegex(self.done("run", "classify", best, f"{numbers} {pulse}").out.splitlines()[0], r"%  down$")
        (self.folder / "one.txt").write_text(f"{numbers.replace(' ', ', ')}, 125\n", encoding="utf-8")
        self.assertRegex(self.done("run", best, "--file", self.folder / "one.txt").out.splitlines()[0], r"%  fast$")
        lines = self.done("run", "classify", best, "--lines", "--json", f"{numbers} 60\n{numbers} 120").out.splitlines()
        self.assertEqual([json.loads(line)["classes"][0]["label"] for line in lines], ["down", "fast"])

    def test_an_answer_is_explained_by_intervals_and_features(self):
        best = self.trained() / "best"
        numbers = self.example("down", at=18)[2]
        why = self.done("why", best, f"{numbers} 60", "--method", "occlusion", "--json").json
        items = [item["text"] for item in why["items"]]
        self.assertEqual(items, [f"samples {at}–{at + 3}" for at in range(0, LENGTH, 4)] + ["pulse"])
        self.assertRegex(self.done("why", best, f"{numbers} 60", "--top", "9").out, r"\d %  #4     samples 16–19\n")
        self.assertEqual(why["answer"], 'class "down"')
        refused = run("why", best, f"{numbers} 60", "--method", "integrated-gradients")
        self.assertIn("the items of this model are sentences, statements, patches or intervals", refused.errors)
        masked = self.done("why", best, f"{numbers} 60", "--method", "occlusion", "--removal", "masked", "--json").json["without"]
        self.assertNotIn(masked["masked"], (None, why["probability"], masked["unseen"]))
        trace, page = self.folder / "one.trace", self.folder / "one.html"
        self.done("trace", best, f"{numbers} 60", "-o", trace)
        self.assertEqual([family["name"] for family in self.done("info", trace, "--json").json["families"]], ["pool", "enc"])
        self.done("show", trace)
        self.done("view", best, f"{numbers} 60", "--html", page)
        self.assertEqual(len(self.manifests(page)), 1)
        question = {"text": f"{numbers} 60", "target": "down", "marks": [[4, 5]]}
        (self.folder / "judged.jsonl").write_text(json.dumps(question) + "\n", encoding="utf-8")
        judge = ("judge", best, "--file", self.folder / "judged.jsonl", "--method", "occlusion", "--removal", "unseen")
        self.done(*judge)
        (self.folder / "judged.jsonl").write_text(json.dumps(question | {"marks": [[8, 10]]}), encoding="utf-8")
        self.assertIn("mark [8, 10]: expected a range within the 9 items of the series, counted from 0", run(*judge).errors)

    def test_a_run_that_was_killed_goes_on_with_the_same_bits(self):
        self.goes_on()

    def test_batches_are_shown(self):
        self.assertIn(f"a series [1, 1, {LENGTH + 1}]", self.done("train", self.recipe, f"data={self.folder}", "--batches", "1").out)

    def test_bad_numbers_are_named_by_their_place(self):
        with (self.folder / "valid.tsv").open("a", encoding="utf-8") as file:
            file.write(f"up\t60\t{'1 ' * (LENGTH - 1)}NaN\n")
        self.refused(1, f'{self.folder}/valid.tsv, line 38, column 3: number {LENGTH} is "NaN"; expected a finite number', "train", self.recipe,
                     f"data={self.folder}", "-o", self.folder / "bad")

    def test_a_series_that_the_model_does_not_read_is_refused(self):
        best = self.trained("steps=2") / "best"
        self.refused(1, f'found 2 numbers; the model reads {LENGTH + 1}: {LENGTH} samples, "pulse"', "run", best, "1 2")
        self.refused(1, 'number 2 is "two"; expected a finite number', "run", best, "1 two")

    def test_a_classifier_is_not_trained_with_the_settings_of_a_forecast(self):
        forecast = {"target": "sold", "inputs": [], "known": [], "calendar": [], "time": "", "horizon": 1, "difference": 0, "deviation": 1, "quantiles": [0.1, 0.5, 0.9]}
        task = self.TASK | {"series": {"column": "signal"}}
        self.write(task, self.MODEL | {"series": {"length": LENGTH, "forecast": forecast}})
        self.refused(1, f'{self.recipe}: "task.kind" "classification" trains models whose outputs are logits of labels or tokens, but those of this '
                     '"series_transformer" are of the kind "forecast"; change "task.kind" or "model"', "train", self.recipe, f"data={self.folder}")
