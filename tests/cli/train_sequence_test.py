"""One label for each character of a sequence: training, `run label`, and errors in the data."""

import json
import random

from support import ROOT, Case, run, write_wordpiece

MODEL = {
    "model_type": "bert", "vocab_size": 256, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "max_position_embeddings": 32, "type_vocab_size": 1, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
}


def labels_of(sequence):
    """H after an A, _ elsewhere: the label depends on the character before."""
    return "".join("H" if before == "A" else "_" for before in "X" + sequence[:-1])


class Sequences(Case):
    def setUp(self):
        super().setUp()
        self.random = random.Random(3)
        self.recipe = self.folder / "small.json"
        for part, count in (("train", 300), ("valid", 40), ("test", 40)):
            sequences = ["".join(self.random.choice("ACDE") for _ in range(self.random.randint(8, 24))) for _ in range(count)]
            self.write_part(part, [(sequence, labels_of(sequence)) for sequence in sequences])
        task = {"kind": "sequence-labelling", "train": "train.tsv", "valid": "valid.tsv", "test": "test.tsv", "text": 1, "label": 2}
        self.write_recipe(task)

    def write_part(self, part, lines):
        (self.folder / f"{part}.tsv").write_text("".join(f"{sequence}\t{labels}\n" for sequence, labels in lines), encoding="utf-8")

    def write_recipe(self, task, **fields):
        recipe = {
            "task": task, "data_source": "The sequences are made by the test.", "model": MODEL, "batch": 32, "length": 32, "steps": 400,
            "schedule": {"kind": "linear", "learning_rate": 0.003, "warmup": 40}, "report": 100, "validate": 100, "checkpoint": 200,
        } | fields
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")

    def train(self, *settings):
        return run("train", self.recipe, f"data={self.folder}", "-o", self.folder / "run", *settings)

    def test_a_trained_model_labels_every_character(self):
        done = self.train()
        self.assertEqual(done.code, 0, done.errors)
        measured = run("train", self.recipe, f"data={self.folder}", "--test", self.folder / "run" / "best", "--json").json
        self.assertGreater(measured["accuracy"], 0.95)
        model = self.folder / "run" / "best"
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        self.assertEqual(config["task_specific_params"], {"token-classification": {"aggregation_strategy": "simple"}})
        self.assertEqual(config["id2label"], {"0": "H", "1": "_"})
        found = run("run", "label", model, "CACDAAEC", "--json").json
        self.assertEqual("".join(token["label"] for token in found), labels_of("CACDAAEC"))
        self.assertEqual([(token["text"], token["begin"], token["end"]) for token in found], [(c, at, at + 1) for at, c in enumerate("CACDAAEC")])
        lines = run("run", model, "CACDAAEC").out.splitlines()  # the default command of the model
        self.assertEqual(lines[:2], ["     1  CACDAAEC", " label  " + labels_of("CACDAAEC")])
        self.assertRegex(lines[2], r"^     p  \d{8}$")
        (self.folder / "lines.txt").write_text("CACD\n\nAAEC\n", encoding="utf-8")
        self.assertEqual(run("run", "label", model, "--file", self.folder / "lines.txt", "--lines").out, f"{labels_of('CACD')}\n\n{labels_of('AAEC')}\n")
        # Neighbouring characters with the same label are one span, although letters without a space between are one word for other models.
        spans = run("run", "tag", model, "CACDAAEC", "--json").json
        self.assertEqual([(span["type"], span["text"]) for span in spans], [("_", "CA"), ("H", "C"), ("_", "DA"), ("H", "AE"), ("_", "C")])
        why = run("why", model, "CACDAAEC", "--target", "token 2", "--json").json
        self.assertEqual([item["text"] for item in why["items"]], list("CACDAAEC"))  # not one word

    def test_a_long_sequence_is_printed_in_numbered_lines(self):
        self.write_recipe(json.loads(self.recipe.read_text())["task"], model=MODEL | {"max_position_embeddings": 128}, length=128, steps=1)
        self.assertEqual(self.train().code, 0)
        lines = run("run", "label", self.folder / "run" / "best", "AC" * 35).out.splitlines()
        self.assertEqual([len(line) for line in lines], [68, 68, 68, 0, 18, 18, 18])
        self.assertTrue(lines[4].startswith("    61  ACAC"))

    def test_wrong_labels_are_named_with_their_line(self):
        self.write_part("valid", [("ACDE", "_H__"), ("ACDE", "_H_")])
        self.refused(1, f"{self.folder}/valid.tsv, line 2: a sequence of 4 characters has 3 labels; expected one label for each",
                     "train", self.recipe, f"data={self.folder}", "-o", self.folder / "run")
        self.write_part("valid", [("ACDE", "_H_Z")])
        self.refused(1, f'{self.folder}/valid.tsv, line 1: "Z" is a label that does not occur in the training data; expected "H", "_"',
                     "train", self.recipe, f"data={self.folder}", "-o", self.folder / "run")

    def test_a_tokenizer_of_longer_tokens_is_refused(self):
        write_wordpiece(self.folder / "words", ["a", "##ac"])
        for part in ("train", "valid"):
            self.write_part(part, [("AAC", "_HH")])
        self.write_recipe(json.loads(self.recipe.read_text())["task"], tokenizer=str(self.folder / "words"))
        self.refused(1, f'{self.folder}/valid.tsv, line 1: the tokenizer makes one token of "AC"; expected a token for each character, as with "tokenizer": "bytes"',
                     "train", self.recipe, f"data={self.folder}", "-o", self.folder / "run")

    def test_models_without_such_labels_are_refused(self):
        model = ROOT / "models/book"
        done = run("run", "label", model, "abc")
        self.assertEqual((done.code, done.errors.splitlines()[-1]),
                         (1, f"clearhead: {model}: the model does not give each character of a sequence a label of one character"))
