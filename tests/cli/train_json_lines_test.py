"""JSON lines in recipes: training and test results equal those of a plain file with the same texts."""

import json

from support import run
from train_test import MARIAN, MODEL, TrainingCase

TEXTS = {"model": MODEL | {"vocab_size": 300, "max_position_embeddings": 512}, "tokenizer": {"bpe": 300}, "batch": 4, "length": 16, "steps": 6, "report": 3, "validate": 6}


def lines_of(objects):
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in objects)


class JsonLines(TrainingCase):
    def outcome(self, name, recipe):
        """Batches, training and test results of a recipe, without the fields that name the file."""
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")
        batches = self.ok("train", self.recipe, f"data={self.folder}", "--batches", "2", "--json").out
        done = self.train(name, "--json")
        self.assertEqual(done.code, 0, done.errors)
        reports = [json.loads(line) for line in done.out.splitlines()]
        tested = run("train", self.recipe, f"data={self.folder}", "--test", self.folder / name / "best", "--json")
        self.assertEqual(tested.code, 0, tested.errors)
        measured = {key: value for key, value in tested.json.items() if key != "files"}
        losses = [(r["step"], r["loss"], r.get("validation_loss")) for r in reports]
        return {"batches": batches, "losses": losses, "measured": measured, "weights": (self.folder / name / "best/model.safetensors").read_bytes()}

    def same(self, found, expected):
        for what, value in expected.items():
            self.assertTrue(found[what] == value, what)  # the diff of assertEqual takes minutes

    def test_json_lines_texts_train_like_a_plain_file(self):
        turns = [[f"turn {i * 7 % 50}", f"é {i * i}."] for i in range(300)]
        plain = [" ".join(both) + "\n" for both in turns]
        (self.folder / "plain.txt").write_text("".join(plain), encoding="utf-8")
        lines = [lines_of([{"id": i, "turns": both}]) for i, both in enumerate(turns)]
        (self.folder / "turns.jsonl").write_text("".join(lines), encoding="utf-8")

        def splits(name, texts):
            cuts = [sum(len(text.encode()) for text in texts[:count]) for count in (0, 240, 240, 270, 270, 300)]
            (self.folder / "splits.tsv").write_text("file\ttrain\tto\tvalid\tto\ttest\tto\n" + "\t".join([name, *map(str, cuts)]) + "\n", encoding="utf-8")

        splits("plain.txt", plain)
        expected = self.outcome("plain", TEXTS | {"files": ["plain.txt"], "splits": "splits.tsv"})
        splits("turns.jsonl", lines)
        self.same(self.outcome("lines", TEXTS | {"files": ["turns.jsonl"], "fields": ["turns"], "splits": "splits.tsv"}), expected)

    def test_json_lines_pairs_train_like_a_table(self):
        pairs = [(f"{i} and {i + 1}", f"{i + 1} und {i}") for i in range(120)]
        files = {"train": pairs[:100], "valid": pairs[100:110], "test": pairs[110:]}
        for part, held in files.items():
            (self.folder / f"{part}.tsv").write_text("".join(f"{source}\t{target}\t0-2 1-1 2-0\n" for source, target in held), encoding="utf-8")
            (self.folder / f"{part}.jsonl").write_text(lines_of({"de": target, "en": source.split(" "), "links": "0-2 1-1 2-0"} for source, target in held),
                                                       encoding="utf-8")
        recipe = {"model": MARIAN | {"vocab_size": 280}, "tokenizer": {"bpe": 280}, "max_tokens": 200, "length": 32, "steps": 6, "report": 3, "validate": 6}
        table = self.outcome("table", recipe | {"pairs": {part: f"{part}.tsv" for part in files}})
        lines = self.outcome("lines", recipe | {"pairs": {part: f"{part}.jsonl" for part in files}, "fields": ["en", "de"]})
        self.same(lines, table)
        table = self.outcome("aligned", recipe | {"pairs": {part: f"{part}.tsv" for part in files}, "alignment": {"column": 3}})
        self.assertNotEqual(table["weights"], lines["weights"])
        self.same(self.outcome("aligned-lines", recipe | {"pairs": {part: f"{part}.jsonl" for part in files}, "fields": ["en", "de"],
                                                          "alignment": {"column": "links"}}), table)

    def test_a_line_that_does_not_fit_is_named(self):
        (self.folder / "a.jsonl").write_text(lines_of([{"text": "a"}, {"txt": "b"}]), encoding="utf-8")
        self.write(files=["a.jsonl"], held_out=0)
        self.refused(1, f'{self.recipe}: "a.jsonl" contains JSON lines: expected "fields", the name of the field that is the text, as in ["text"]',
                     "train", self.recipe, f"data={self.folder}", "--batches", "1")
        self.write(files=["a.jsonl"], held_out=0, fields=["text"])
        self.refused(1, f'{self.folder}/a.jsonl, line 2: expected a field "text", found "txt"', "train", self.recipe, f"data={self.folder}", "--batches", "1")
