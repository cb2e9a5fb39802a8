"""clearhead robust: how much answers and maps change; and recipes that train with the same noise."""

import json
import subprocess
import xml.etree.ElementTree

from support import BINARY, HANGS, Case, environment, run
from train_task_test import TaskCase
from translate_test import write_translator

CHANGES = ["none", "typos", "upper case", "lower case", "truncation", "distractor before", "distractor after", "token dropout", "position shift", "padding after"]
ROUNDING = 1e-4  # for a probability: different orders of f32 sums


def by_change(report):
    return {one["change"]: one for one in report["changes"]}


class Classifiers(TaskCase):
    """A small classifier that has learned its words."""

    def setUp(self):
        super().setUp()
        self.assertEqual(self.train("run").code, 0)
        self.model = self.folder / "run/best"

    def report(self, *options):
        return self.ok("robust", self.model, "--file", self.folder / "labelled.tsv", "--text", 2, "--label", 1, "--json", *options).json["files"][0]

    def test_perturbations_change_answers_and_maps_as_expected(self):
        lines = [line for line in (self.folder / "test.tsv").read_text(encoding="utf-8").splitlines(True) if not line.startswith("-")]
        (self.folder / "labelled.tsv").write_text("".join(lines), encoding="utf-8")
        report = self.report("--distractor", "we saw it on a road")
        changes = by_change(report)
        self.assertEqual(list(changes), CHANGES)
        self.assertEqual(report["texts"], len(lines))
        self.assertGreater(changes["none"]["accuracy"]["mean"], 0.95)
        for name, change in changes.items():
            for measure in ("stays", "accuracy", "divergence"):
                interval = change.get(measure)
                if interval:
                    self.assertLessEqual(interval["low"], interval["mean"], (name, measure))
                    self.assertLessEqual(interval["mean"], interval["high"], (name, measure))
        # Padding and lower case must change nothing; a distractor must change the maps.
        self.assertEqual(changes["padding after"]["stays"]["mean"], 1)
        self.assertLess(abs(changes["padding after"]["probability_change"]["mean"]), ROUNDING)
        self.assertLess(changes["padding after"]["divergence"]["mean"], ROUNDING)
        self.assertEqual(changes["lower case"]["divergence"]["mean"], 0)  # the texts are in lower case
        self.assertEqual(changes["lower case"]["stays"]["mean"], 1)
        self.assertGreater(changes["distractor before"]["divergence"]["mean"], 0.01)
        self.assertLess(changes["upper case"]["accuracy"]["mean"], 0.9)  # words in capitals did not occur in training
        heads = report["heads_that_move_first"]
        self.assertEqual(sorted(head["head"] for head in heads), ["L0.H0", "L0.H1", "L1.H0", "L1.H1"])
        means = [head["divergence"]["mean"] for head in heads]
        self.assertEqual(means, sorted(means, reverse=True))
        # A typo in every word is worse than one in every tenth word.
        worse = by_change(self.report("--typos", 1))["typos"]
        self.assertLess(worse["probability_change"]["mean"], changes["typos"]["probability_change"]["mean"])
        self.assertGreater(worse["divergence"]["mean"], changes["typos"]["divergence"]["mean"])
        self.assertEqual(self.report("--typos", 1), self.report("--typos", 1))
        self.assertNotEqual(by_change(self.report("--typos", 1, "--seed", 2))["typos"], worse)

    def test_table_plot_page_and_a_second_file(self):
        (self.folder / "a.tsv").write_text("colour\tthe red road\nanimal\ta cat\n", encoding="utf-8")
        (self.folder / "b.jsonl").write_text('{"2": "we saw a dog", "1": "animal"}\n', encoding="utf-8")
        svg, page = self.folder / "plot.svg", self.folder / "report.html"
        done = self.ok("robust", self.model, "--file", self.folder / "a.tsv", "--against", self.folder / "b.jsonl", "--text", 2, "--label", 1, "--svg", svg, "--html", page)
        for said in ("a.tsv: 2 texts", "b.jsonl: 1 texts", "position shift", "heads that change most", "L1.H0"):
            self.assertIn(said, done.out)
        drawn = xml.etree.ElementTree.parse(svg).getroot()
        words = " ".join(drawn.itertext())
        for said in (*CHANGES, "unchanged answers, %", "map change, JS in nats"):
            self.assertIn(said, words)
        self.assertEqual(sum(1 for _ in drawn.iter("{http://www.w3.org/2000/svg}circle")), 9 + 10 + 9 + 9 + 9)
        self.assertIn("b.jsonl", page.read_text(encoding="utf-8"))
        self.assertNotIn("http://", page.read_text(encoding="utf-8").replace("http://www.w3.org", ""))

    def test_invalid_files_and_columns_are_refused(self):
        file = self.folder / "a.tsv"
        file.write_text("colour\tthe red road\nplant\ta tree\n", encoding="utf-8")
        table = ["robust", self.model, "--file", file]
        self.refused(1, 'text 2: "plant" is not a label of this model; expected one of animal, colour', *table, "--text", 2, "--label", 1)
        self.refused(2, "--text words: expected a column number, counted from 1 (only fields of .jsonl files have names)", *table, "--text", "words")
        self.refused(1, f"{file}, line 1: expected 3 columns separated by tabs, found 2", *table, "--text", 3)
        self.refused(1, f"{self.folder}/none.tsv: cannot be read: No such file or directory", "robust", self.model, "--file", self.folder / "none.tsv")
        file.write_text("", encoding="utf-8")
        self.refused(1, f"{file}: contains no texts; expected at least one", *table)

    def test_a_recipe_trains_on_noise_and_goes_on_with_the_same_bits(self):
        task = json.loads(self.recipe.read_text(encoding="utf-8"))["task"]
        self.write(task, noise={"probability": 0.7, "upper": 0.5, "typos": 0.3, "token_dropout": 0.1}, checkpoint=1, steps=120)
        self.assertEqual(self.train("noisy").code, 0)
        process = subprocess.Popen([BINARY, "train", self.recipe, f"data={self.folder}", "-o", "parts"], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=environment())
        process.stdout.readline()  # the first report
        process.kill()
        process.communicate(timeout=HANGS)
        done = run("train", "--resume", self.folder / "parts")
        self.assertEqual(done.code, 0, done.errors)
        self.assertRegex(done.errors, r"steps \d+ to 120")
        for name in ("best/model.safetensors", "log.csv"):
            self.assertEqual((self.folder / "noisy" / name).read_bytes(), (self.folder / "parts" / name).read_bytes(), name)
        lines = [line for line in (self.folder / "test.tsv").read_text(encoding="utf-8").splitlines(True) if not line.startswith("-")]
        (self.folder / "labelled.tsv").write_text("".join(lines), encoding="utf-8")
        before = by_change(self.report())
        self.model = self.folder / "noisy/best"
        after = by_change(self.report())
        self.assertGreater(after["none"]["accuracy"]["mean"], 0.8)
        self.assertGreater(after["upper case"]["accuracy"]["mean"], before["upper case"]["accuracy"]["mean"] + 0.1)

    def test_noise_that_a_recipe_cannot_have_is_refused(self):
        task = json.loads(self.recipe.read_text(encoding="utf-8"))["task"]
        train = ["train", self.recipe, f"data={self.folder}", "-o", self.folder / "other"]
        self.write(task, noise={"typo": 0.1})
        self.refused(1, f'{self.recipe}: field "noise.typo" is not understood; remove it, or use a version of clearhead that knows it', *train)
        self.write(task, noise={"upper": 0.6, "lower": 0.6})
        self.refused(1, f'{self.recipe}: "noise.lower": expected a number from 0 to 0.4, found 0.6', *train)
        self.write({"kind": "masked-lm", "train": "train.tsv", "valid": "valid.tsv", "text": 2}, noise={"typos": 0.1})
        self.refused(1, f'{self.recipe}: "noise" applies only to the sources of "pairs" and the texts of "task.kind" "classification"; this recipe has neither', *train)


class Translators(Case):
    def test_bleu_and_the_probability_of_the_first_translation(self):
        model = write_translator(self.folder / "translator", self.causal)
        lines = ["a cat sat", "on the mat, and so on", "the dog ran to the hill", "Bäume im Wald"]
        file = self.folder / "pairs.tsv"
        written = [made["text"] for made in self.ok("run", "translate", model, "\n".join(lines), "--json").json["translations"]]
        file.write_text("".join(f"{line}\t{' '.join(text.split())}\n" for line, text in zip(lines, written)), encoding="utf-8")
        changes = by_change(self.ok("robust", model, "--file", file, "--label", 2, "--json").json["files"][0])
        self.assertEqual(list(changes), CHANGES)
        self.assertNotIn("bleu", changes["position shift"])
        for name in ("position shift", "padding after"):
            self.assertIn("probability_change", changes[name])
        self.assertLess(abs(changes["padding after"]["probability_change"]["mean"]), ROUNDING)
        self.assertLess(changes["padding after"]["divergence"]["mean"], ROUNDING)
        self.assertGreater(abs(changes["position shift"]["probability_change"]["mean"]), ROUNDING)
        self.assertLess(changes["truncation"]["stays"]["mean"], 1)
        self.assertEqual(len({head["family"] for head in changes["typos"]["heads"]}), 3)


class LanguageModels(Case):
    def test_padding_and_later_text_change_neither_bits_nor_maps(self):
        file = self.folder / "text.txt"
        file.write_text("".join(f"Line {i} says that {i} and {i} are alike.\n" for i in range(60)), encoding="utf-8")
        changes = by_change(self.ok("robust", self.causal, "--file", file, "--piece", 200, "--json").json["files"][0])
        self.assertEqual(list(changes), [*CHANGES, "padding before"])
        self.assertGreater(changes["none"]["bits_per_byte"]["mean"], 0)
        # No token sees later tokens, so text after a token changes neither its bits nor its maps.
        for name in ("truncation", "distractor after", "padding after", "padding before"):
            self.assertLess(abs(changes[name]["bits_per_byte_change"]["mean"]), ROUNDING, name)
            self.assertLess(changes[name]["divergence"]["mean"], ROUNDING, name)

    def test_a_model_of_another_kind_is_refused(self):
        done = run("robust", self.both, "--file", self.text)
        self.assertEqual(done.code, 1)
        self.assertIn("robustness can be measured for Transformers that classify a text (single-label), generate a text from another, or predict the next token", done.errors)
