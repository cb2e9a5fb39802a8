"""Trajectories from the command line: a model of generated scenes is trained, measured, resumed, run and inspected."""

import json
import math
import random
import xml.etree.ElementTree

from support import ROOT, run
from train_network_test import NetworkCase

OBSERVED, PREDICTED = 4, 6


class Trajectories(NetworkCase):
    """Everyone walks on a circle to the left, which constant velocity misses."""

    TASK = {"kind": "trajectories", "scenes": {"park": ["park.tsv"], "street": ["street.tsv"], "yard": ["yard.csv"]}, "test_scene": "yard",
            "observed_steps": OBSERVED, "predicted_steps": PREDICTED}
    MODEL = {"model_type": "social_attention", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}

    def setUp(self):
        super().setUp()
        self.random = random.Random(4)
        for scene in ("park.tsv", "street.tsv", "yard.csv"):
            separator = "," if scene.endswith("csv") else "\t"
            rows = sorted(row for person in range(30) for row in self.walk(person))
            (self.folder / scene).write_text("".join(separator.join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
        self.recipe = self.folder / "people.json"
        self.write({})

    def walk(self, person):
        begin, angle, speed = self.random.randrange(0, 60), self.random.uniform(0, 2 * math.pi), self.random.uniform(0.3, 0.6)
        x, y = self.random.uniform(0, 10), self.random.uniform(0, 10)
        for step in range(20):
            yield 10 * (begin + step), person, round(x, 3), round(y, 3)
            x, y, angle = x + speed * math.cos(angle), y + speed * math.sin(angle), angle + 0.15

    def write(self, task):
        self.recipe.write_text(json.dumps({
            "task": self.TASK | task, "model": self.MODEL, "batch": 8, "steps": 200, "report": 50, "validate": 50, "checkpoint": 100,
            "schedule": {"learning_rate": 0.005}}), encoding="utf-8")

    def window(self):
        """The first frames of the yard, which end with an observed step."""
        rows = [row for row in (self.folder / "yard.csv").read_text().splitlines() if int(row.split(",")[0]) <= 250]
        table = self.folder / "now.tsv"
        table.write_text("\n".join(rows).replace(",", "\t") + "\n", encoding="utf-8")
        return table

    def test_a_model_of_circles_is_trained_tested_and_run(self):
        out = self.folder / "run"
        done = run("train", self.recipe, f"data={self.folder}", "-o", out)
        self.assertEqual(done.code, 0, done.errors)
        self.assertRegex(done.errors, r"training: \d+ windows of park.tsv, street.tsv; ")
        best = out / "best"
        self.assertIn(f"done: clearhead run predict {best} --file TABLE", done.errors)
        measured = self.done("train", self.recipe, f"data={self.folder}", "--test", best, "--json").json
        self.assertEqual(measured["counted"], 30 * (20 - OBSERVED - PREDICTED + 1))
        self.assertGreater(measured["ade_of_constant_velocity"], 0.3)
        self.assertLess(measured["ade"], 0.5 * measured["ade_of_constant_velocity"])
        self.assertLess(measured["fde_of_curved"], 0.5 * measured["fde_of_curved_of_constant_velocity"])
        self.assertAlmostEqual(measured["skill"], 1 - measured["ade"] / measured["ade_of_constant_velocity"], places=5)

        table = self.window()
        answer = self.done("run", best, "--file", table, "--json").json
        people = answer["people"]
        self.assertEqual(answer["seconds_per_step"], 0.4)
        self.assertGreater(len(people), 2)
        for person in people:
            self.assertEqual(len(person["path"]), PREDICTED)
            shares = [one["attention"] for one in person["watches"]]
            self.assertEqual({one["person"] for one in person["watches"]}, {one["person"] for one in people} - {person["person"]})
            self.assertEqual(shares, sorted(shares, reverse=True))
            self.assertLessEqual(sum(shares), 1.0001)
        plane = self.folder / "plane.svg"
        shown = self.done("run", "predict", best, "--file", table, "--svg", plane).out.splitlines()
        drawn = xml.etree.ElementTree.parse(plane).getroot()
        self.assertEqual(sum(one.tag.endswith("circle") for one in drawn), len(people))
        self.assertGreaterEqual(sum(one.tag.endswith("polyline") for one in drawn), 2 * len(people))
        self.assertEqual(len(shown), len(people))
        self.assertRegex(shown[0], r"^person \d+: at -?[\d.]+, -?[\d.]+ after 2\.4 s; watches person \d+ most \(\d+ %\)$")

    def test_the_map_shows_who_watches_whom(self):
        best, table = self.trained("steps=2") / "best", self.window()
        trace, page = self.folder / "one.trace", self.folder / "one.html"
        self.done("trace", best, "--file", table, "-o", trace)
        self.assertEqual([family["name"] for family in self.done("info", trace, "--json").json["families"]], ["people", "time"])
        self.assertIn("person ", self.done("show", trace, "--head", "L0.H0", "--json").out)
        self.done("view", best, "--file", table, "--html", page)
        self.assertEqual(len(self.manifests(page)), 1)
        self.assertIn("which reads a crowd, predicts no class that could be explained", run("why", best, "--file", table).errors)
        self.assertIn('expected a classifier; the outputs of this model are of the kind "positions"', run("run", "classify", best, "--file", table).errors)

    def test_a_run_that_was_killed_goes_on_with_the_same_bits(self):
        self.goes_on()

    def test_bad_tables_and_recipes_are_refused(self):
        def refuse(message):
            self.refused(1, message, "train", self.recipe, f"data={self.folder}", "-o", self.folder / "bad")

        self.write({"test_scene": "sea"})
        refuse(f'{self.recipe}: "task.test_scene": expected park, street or yard, found "sea"')
        self.write({"scenes": {"yard": ["yard.csv"]}})
        refuse(f'{self.recipe}: "task.scenes": expected two or more scenes, each with a list of files, found an object')
        self.write({"frames_per_step": 7})
        refuse(f'{self.recipe}: the valid part has no person who is present at 10 steps of 7 frames in a row; check "task.frames_per_step"')
        self.write({})
        park = self.folder / "park.tsv"
        lines = park.read_text(encoding="utf-8").splitlines()
        park.write_text("\n".join([*lines[:4], "50\t1\there\t2", *lines[5:]]) + "\n", encoding="utf-8")
        refuse(f'{park}, line 5, column 3 (x): expected a position in metres, found "here"')
        corridor = ROOT / "models/corridor"
        refused = run("run", "predict", corridor, "--file", self.window()).errors
        self.assertIn(f"clearhead: {corridor}: the model does not predict positions; expected one that was trained with", refused)
