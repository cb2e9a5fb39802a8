"""A recurrent tagger of plain texts: training, tags, maps, explanations, and structured attention."""

import json

from support import run
from train_network_test import NetworkCase

WORDS = {"Ann": "B-person", "Bob": "B-person", "Paris": "B-place", "Rome": "B-place", "saw": "O", "in": "O", "left": "O"}
TEXTS = [f"{who} {what} {where}" for who in ("Ann", "Bob") for what in ("saw", "left", "in") for where in ("Paris", "Rome")]


class Tagger(NetworkCase):
    def setUp(self):
        super().setUp()
        sentences = "\n\n".join("\n".join(f"{word}\t{WORDS[word]}" for word in text.split()) for text in TEXTS * 4)
        for part in ("train", "valid", "test"):
            (self.folder / f"{part}.conll").write_text(sentences + "\n", encoding="utf-8")
        self.recipe = self.folder / "small.json"
        self.write_recipe()

    def write_recipe(self, **model):
        recipe = {
            "task": {"kind": "token-classification", "train": "train.conll", "valid": "valid.conll", "test": "test.conll"},
            "data_source": "The sentences are made by the test.", "tokenizer": {"bpe": 270},
            "model": {
                "model_type": "recurrent_tagger", "vocab_size": 270, "embedding_size": 16, "hidden_size": 24, "normaliser": "chain",
                "eos_token_id": 0, "pad_token_id": 1,
            } | model,
            "batch": 8, "length": 32, "steps": 60, "schedule": {"kind": "linear", "learning_rate": 0.01, "warmup": 5},
            "report": 30, "validate": 30, "checkpoint": 30,
        }
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")

    def train(self, *settings):
        return run("train", self.recipe, f"data={self.folder}", "-o", self.folder / "run", *settings)

    def test_a_trained_model_tags_shows_and_explains(self):
        done = self.train()
        self.assertEqual(done.code, 0, done.errors)
        model = self.folder / "run" / "best"
        self.assertEqual(run("train", self.recipe, f"data={self.folder}", "--test", model, "--json").json["f1"], 1)
        self.assertRegex(run("run", "tag", model, "Bob left Rome").out, r"(?m)^ +\d+\.\d\d %  person +Bob$")
        self.assertRegex(run("run", model, "Bob left Rome").out, r"(?m)^ +\d+\.\d\d %  place +Rome$")  # the default command of the model
        shown = run("show", model, "Bob left Rome", "--head", "L0.H0", "--json")
        self.assertEqual(shown.code, 0, shown.errors)
        why = run("why", model, "Bob left Rome", "--target", "token 0", "--method", "occlusion", "--json").json
        self.assertEqual(why["items"][0]["text"], "Bob")
        self.assertAlmostEqual(sum(abs(item["shares"]["occlusion"]) for item in why["items"]), 1, places=4)

    def test_other_normalisers_train_and_unknown_ones_are_refused(self):
        for name in ("softmax", "sparsemax", "entmax15"):
            self.write_recipe(normaliser=name)
            done = run("train", self.recipe, f"data={self.folder}", "-o", self.folder / name, "steps=4", "validate=4")
            self.assertEqual(done.code, 0, done.errors)
        self.write_recipe(normaliser="crf")
        done = self.train()
        self.assertEqual(done.code, 1)
        self.assertIn('"normaliser"', done.errors)
        self.assertIn("one of: softmax, sparsemax, entmax15, chain", done.errors)
