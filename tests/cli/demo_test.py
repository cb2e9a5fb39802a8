"""The demo's page of examples: every shipped model with an example.json is run on it and shown, and a wrong example is refused by name."""

import json
import shutil
from urllib.parse import parse_qs

from support import ROOT, Case, run

SHOWN_BY_CODE = {"book"}  # its page is generated separately


class Demo(Case):
    def test_every_model_that_ships_is_shown_on_its_example(self):
        paths = self.shown(sorted((ROOT / "models").glob("*/example.json"), key=lambda path: json.loads(path.read_text(encoding="utf-8"))["order"]))
        shipped = {path.parent.name for path in (ROOT / "models").glob("*/config.json")}
        self.assertEqual({path.parent.name for path in paths}, shipped - SHOWN_BY_CODE)
        done = run("demo", "--examples-only", "--out", self.folder, folder=ROOT, timeout=300)
        self.assertEqual(done.code, 0, done.errors)
        self.assertRegex(done.out, r"checked: each of their [\d,]+ rows of softmax sums to one")
        page = self.folder / "index.html"
        self.assertLess(page.stat().st_size, 25_000_000)
        manifests = self.manifests(page)
        self.assertEqual([one["info"]["name"] for one in manifests], [path.parent.name for path in paths])
        for at, path in enumerate(paths):
            example, info = json.loads(path.read_text(encoding="utf-8")), manifests[at]["info"]
            self.assertIn(f"\n\n  {path.parent.name}\n  ", done.out)
            choice = info["traces"][at]
            card = choice["card"]
            if at > 0 and paths[at - 1] == path:
                self.assertIsNone(card)
                change = info["traces"][at - 1]["card"]["change"]
                self.assertEqual(change, example["change"] | {"number": at, "answer": change["answer"]})
                self.assertIn(f"\n  → {change['answer']}\n", done.out)
            else:
                self.assertEqual((card["title"], card["look_for"], choice["state"]), (example["title"], example["look_for"], example["state"]))
                self.assertIn(f"\n  → {card['answer']}\n", done.out)
            state = {name: values[0] for name, values in parse_qs(example["state"], strict_parsing=True).items()}
            family = next(one for one in info["families"] if one["id"] == state["f"])
            layer, head = map(int, state["h"].split(",")[0].split("."))
            self.assertTrue(layer < family["layers"] and head < family["heads"], path)
            self.assertEqual(manifests[at]["tier"], "A", "all of its weights are in the page")

    @staticmethod
    def shown(paths):
        """The example of each trace of the page: one with a change is shown twice."""
        return [path for path in paths for _ in range(2 if "change" in json.loads(path.read_text(encoding="utf-8")) else 1)]

    def refused_example(self, message, **changes):
        models = self.folder / "models"
        if not models.exists():
            shutil.copytree(self.causal, models / "known")
        example = {"input": "abc abc", "state": "f=dec&h=1.0", "title": {"en": "where?", "zh": "哪里？"}, "look_for": {"en": "the diagonal", "zh": "对角线"}} | changes
        (models / "known/example.json").write_text(json.dumps(example), encoding="utf-8")
        done = run("demo", "--examples-only", "--models", models, "--out", self.folder / "out")
        self.assertEqual((done.code, done.errors.splitlines()[-1]), (1, f"clearhead: {models}/known/example.json: {message}"))

    def test_invalid_examples_are_refused_with_the_reason(self):
        self.refused_example('field "head" is not understood; remove it, or use a version of clearhead that knows it', head="1.0")
        self.refused_example('"input": expected some text, found ""', input="")
        self.refused_example('"state": L1.H9: layer 1 has heads 0 to 1', state="f=dec&h=1.9")

    def test_a_folder_without_examples_has_nothing_to_show(self):
        done = run("demo", "--examples-only", "--models", self.folder, "--out", self.folder / "out")
        self.assertEqual(done.code, 2)
        self.assertIn("none of its folders has an example.json", done.errors)
