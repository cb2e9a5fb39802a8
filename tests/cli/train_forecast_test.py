"""Forecasts from the command line: a model of a generated table is trained, measured, resumed, run and viewed."""

import datetime
import json
import math
import random

from support import run
from train_network_test import NetworkCase

LENGTH, ROWS = 24, 400


class Forecast(NetworkCase):
    """A daily wave with noise that is higher while the shop is open; a plain last value misses its slope."""

    TASK = {"kind": "forecasting", "table": "shop.tsv", "target": "sold", "time": "hour", "known": ["open"], "calendar": ["hour"],
            "difference": 0, "valid_from": 0.6, "test_from": 300}
    MODEL = {"model_type": "series_transformer", "series": {"length": LENGTH}, "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 1,
             "num_attention_heads": 2, "intermediate_size": 32}

    def setUp(self):
        super().setUp()
        noise = random.Random(3)
        start = datetime.datetime(2024, 1, 1)
        self.lines = ["hour\tsold\topen"]
        for row in range(ROWS):
            opened = int(noise.random() < 0.5)
            sold = 100 + 40 * math.sin(row * math.pi / 12) + 30 * opened + noise.gauss(0, 2)
            self.lines.append(f"{start + datetime.timedelta(hours=row):%Y-%m-%d %H:%M}\t{sold:.2f}\t{opened}")
        self.table = self.folder / "shop.tsv"
        self.table.write_text("\n".join(self.lines) + "\n", encoding="utf-8")
        self.recipe = self.folder / "shop.json"
        self.write({})

    def write(self, task):
        self.recipe.write_text(json.dumps({
            "task": self.TASK | task, "model": self.MODEL, "batch": 16, "steps": 400, "report": 50, "validate": 50, "checkpoint": 100,
            "schedule": {"learning_rate": 0.01}}), encoding="utf-8")

    def test_a_forecast_is_trained_tested_and_run(self):
        out = self.folder / "run"
        done = run("train", self.recipe, f"data={self.folder}", "-o", out)
        self.assertEqual(done.code, 0, done.errors)
        self.assertIn(f"training: {240 - LENGTH} windows of shop.tsv", done.errors)
        best = out / "best"
        self.assertIn(f"done: clearhead run forecast {best} --file TABLE", done.errors)
        measured = self.done("train", self.recipe, f"data={self.folder}", "--test", best, "--json").json
        self.assertEqual(measured["counted"], 100)
        self.assertLess(measured["mae"], 0.5 * measured["mae_of_last_value"])
        self.assertGreater(measured["coverage"], 0.5)
        self.assertLess(measured["p_value"], 0.01)
        for opened in (0, 1):
            self.table.write_text("\n".join([*self.lines, f"2024-01-17 16:00\t\t{opened}"]) + "\n", encoding="utf-8")
            answer = self.done("run", best, "--file", self.table, "--json").json
            self.assertEqual((answer["target"], answer["hour"]), ("sold", "2024-01-17 16:00"))
            self.assertAlmostEqual(answer["forecast"], 100 + 40 * math.sin(400 * math.pi / 12) + 30 * opened, delta=12)
            self.assertEqual(answer["forecast"], answer["quantiles"]["0.5"])
            self.assertLess(answer["quantiles"]["0.05"], answer["quantiles"]["0.95"])
        shown = self.done("run", "forecast", best, "--file", self.table).out.splitlines()
        self.assertRegex(shown[0], r"^2024-01-17 16:00  sold: \d+")
        self.assertRegex(shown[1], r"^90 % interval: [\d.]+ to [\d.]+$")
        self.explained(best, answer)

    def explained(self, best, answer):
        """The explanation of the forecast for an hour in which the shop is open. answer: what `run` answers"""
        why = self.done("why", best, "--file", self.table, "--method", "occlusion,attention,relevance", "--json").json
        self.assertEqual(why["answer"], 'forecast of "sold"')
        self.assertAlmostEqual(why["number"], answer["forecast"], places=3)
        shares = {item["text"]: item["shares"] for item in why["items"]}
        self.assertGreater(shares["open"]["occlusion"], 0.05, shares)  # an open shop sells 30 more
        upper = self.done("why", best, "--file", self.table, "--target", "0.95", "--json").json
        self.assertEqual(upper["answer"], '95 % quantile of "sold"')
        self.assertAlmostEqual(upper["number"], answer["quantiles"]["0.95"], places=3)
        said = self.done("why", best, "--file", self.table, "--method", "occlusion").out.splitlines()
        self.assertRegex(said[0], rf'forecast of "sold" · {answer["forecast"]:.6g}$')
        self.assertRegex(said[-1], r'^without ".*": [\d.]+ if it is unseen, [\d.]+ if it is masked$')
        self.refused(1, f'{best}: the target "0.9" is not a quantile of this model; expected one of 0.05, 0.5, 0.95', "why", best, "--file", self.table, "--target", "0.9")
        self.refused(1, f"{best}: a contrast compares two classes or words, but the answer of this model is a number",
                     "why", best, "--file", self.table, "--contrast", "0.05")

    def test_the_map_shows_the_rows_that_it_looks_at(self):
        best = self.trained("steps=2") / "best"
        self.table.write_text("\n".join([*self.lines, "2024-01-17 16:00\t\t1"]) + "\n", encoding="utf-8")
        trace, page = self.folder / "one.trace", self.folder / "one.html"
        self.done("trace", best, "--file", self.table, "-o", trace)
        self.assertEqual([family["name"] for family in self.done("info", trace, "--json").json["families"]], ["pool", "enc"])
        self.assertIn("hour −24 to −21", self.done("show", trace, "--head", "L0.H0", "--json").out)
        self.done("view", best, "--file", self.table, "--html", page)
        self.assertEqual(len(self.manifests(page)), 1)

    def test_a_run_that_was_killed_goes_on_with_the_same_bits(self):
        self.goes_on()

    def test_bad_tables_and_recipes_are_refused(self):
        def refuse(message):
            self.refused(1, message, "train", self.recipe, f"data={self.folder}", "-o", self.folder / "bad")

        self.write({"target": "bought"})
        refuse(f'{self.table}, line 1: there is no column "bought"; the columns are "hour", "sold", "open"')
        self.write({"valid_from": 0.9})
        refuse(f'{self.recipe}: "task.valid_from" is row 360 and "task.test_from" row 300; expected 0 < valid_from < test_from ≤ 400 rows')
        self.write({"quantiles": [0.1, 0.9]})
        refuse(f'{self.recipe}: "task.quantiles": expected at least three numbers between 0 and 1, ascending, one of them 0.5, found an array of 2')
        self.write({"time": ""})
        refuse(f'{self.recipe}: "task.time": expected the name of the column of times, which "calendar" needs, found ""')
        self.write({"calendar": ["year"]})
        refuse(f'{self.recipe}: "task.calendar": expected hour, weekday or month, found "year"')
        self.write({"difference": 30})
        refuse(f'{self.recipe}: "task.difference": expected 0, or 1 to 24, the rows of the window counted back from the row that is forecast; found 30')
        self.write({"valid_from": 10})
        refuse(f'{self.recipe}: no row of the train part has the 24 rows before it that a forecast needs: the part begins at row 0 and ends before row 10 of 400; '
               'change "task.valid_from" or "task.test_from", or use a shorter window ("model.series.length")')
        self.write({})
        self.table.write_text("\n".join(self.lines[:9] + ["2024-01-01 08:00\tmany\t1"] + self.lines[10:]) + "\n", encoding="utf-8")
        refuse(f'{self.table}, line 10, column 2 ("sold"): "many" is not a finite number')
