"""Networks for pictures, from the command line: trained on synthetic bitmaps and scenes of them, measured, run and inspected."""

import json
import random
import struct
import zlib

from support import run
from train_network_test import NetworkCase

SIDE = 8
BARS = {"3": lambda x, y, at: y == at, "7": lambda x, y, at: x == at}  # horizontal and vertical


def png(pixels):
    """A grey picture from rows of values from 0 to 255."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", len(pixels[0]), len(pixels), 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + bytes(row) for row in pixels))) + chunk(b"IEND", b"")


class PictureCase(NetworkCase):
    """Horizontal and vertical bars."""

    TASK = {"kind": "classification", "train": "train.tsv", "valid": "valid.tsv", "test": "test.tsv", "label": 1,
            "pictures": {"form": "bits", "column": 2, "distort": {"shift": 1, "rotate": 5}}}

    def setUp(self):
        super().setUp()
        self.random = random.Random(5)
        for part, count in (("train", 96), ("valid", 32), ("test", 32)):
            (self.folder / f"{part}.tsv").write_text("".join(f"{label}\t{self.figures(label)}\n" for label in ("3", "7") * (count // 2)), encoding="utf-8")
        self.recipe = self.folder / "small.json"

    def pixels(self, label):
        at = self.random.randint(2, 5)
        return [[1 if BARS[label](x, y, at) else int(self.random.random() < 0.05) for x in range(SIDE)] for y in range(SIDE)]

    def figures(self, label):
        bits = "".join(str(bit) for row in self.pixels(label) for bit in row)
        return "".join(f"{int(bits[at:at + 4], 2):x}" for at in range(0, len(bits), 4))

    def write(self, task, model, **more):
        self.recipe.write_text(json.dumps({
            "task": task, "model": {"num_channels": 1, "image_size": SIDE} | model, "batch": 16, "steps": 48, "report": 12, "validate": 12,
            "checkpoint": 12, "schedule": {"learning_rate": 0.01}} | more), encoding="utf-8")


class Picture(PictureCase):
    VIT = {"model_type": "vision_transformer", "patch_size": 2, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
           "intermediate_size": 32}
    CBAM = {"model_type": "convolutional_attention", "patch_size": 1, "hidden_size": 8, "num_stages": 2, "blocks_per_stage": 1}

    def test_picture_classifiers_are_trained_tested_and_run(self):
        for model in (self.VIT, self.CBAM):
            with self.subTest(model["model_type"]):
                self.write(self.TASK, model)
                best = self.trained(folder=model["model_type"]) / "best"
                measured = self.done("train", self.recipe, f"data={self.folder}", "--test", best, "--json").json
                self.assertGreater(measured["accuracy"], 0.9)
                self.assertEqual(measured["counted"], 32)
                (self.folder / "one.png").write_bytes(png([[255 * bit for bit in row] for row in self.pixels("7")]))
                self.assertRegex(self.done("run", best, self.folder / "one.png").out.splitlines()[0], r"%  7$")

    def test_a_run_that_was_killed_goes_on_with_the_same_bits(self):
        self.write(self.TASK, self.CBAM)
        self.goes_on()

    def test_batches_are_shown(self):
        self.write(self.TASK, self.VIT)
        self.assertIn("a picture [1, 8, 8]", self.done("train", self.recipe, f"data={self.folder}", "--batches", "1").out)

    def test_bad_data_is_named_by_its_line(self):
        self.write(self.TASK, self.VIT)
        with (self.folder / "valid.tsv").open("a", encoding="utf-8") as file:
            file.write("7\t00ff\n")
        self.refused(1, f"{self.folder}/valid.tsv, line 33: 4 hex digits; expected 16, for 8 x 8 pixels", "train", self.recipe,
                     f"data={self.folder}", "-o", self.folder / "bad")
        self.write({name: value for name, value in self.TASK.items() if name != "pictures"} | {"text": 2}, self.VIT)
        self.refused(1, f'{self.recipe}: the model reads a picture: expected "task.pictures"', "train", self.recipe, f"data={self.folder}",
                     "-o", self.folder / "bad")


class Scene(PictureCase):
    def test_scene_questions_are_learned_and_measured_with_their_attention(self):
        scenes = {"pictures": self.TASK["pictures"], "side": 2, "train": 600, "valid": 10, "test": 40, "questions": 3, "fewest": 1}
        self.write({name: value for name, value in self.TASK.items() if name != "pictures"} | {"scenes": scenes},
                   {"model_type": "scene_question", "vocab_size": 120, "image_size": 2 * SIDE, "patch_size": 8, "hidden_size": 32,
                    "num_attention_heads": 2, "encoder_layers": 1, "num_hidden_layers": 1}, tokenizer={"wordpiece": 120}, steps=1000, validate=500,
                   schedule={"kind": "cosine", "learning_rate": 0.003})
        best = self.trained() / "best"
        measured = self.done("train", self.recipe, f"data={self.folder}", "--test", best, "--json").json
        self.assertEqual(measured["counted"], 120)
        self.assertGreater(measured["accuracy"], 0.7)
        self.assertGreater(measured["asked_holds_most"], 0.7)
        rows = [a + b for a, b in zip(self.pixels("3"), self.pixels("7"))] * 2
        (self.folder / "scene.png").write_bytes(png([[255 * bit for bit in row] for row in rows]))
        answer = run("run", best, self.folder / "scene.png", "--question", "what is in the top left corner?", "--json")
        self.assertEqual(answer.code, 0, answer.errors)
        self.assertEqual(len(answer.json["classes"]), len(json.loads((best / "config.json").read_text(encoding="utf-8"))["id2label"]))
