"""Class folders of pictures and sounds: a folder for each class, sizes as the recipe says, a validation split made by the recipe."""

import json
import math
import random
import struct
import wave

from support import run
from train_network_test import NetworkCase
from train_picture_test import png

VIT = {"model_type": "vision_transformer", "num_channels": 1, "image_size": 8, "patch_size": 2, "hidden_size": 16, "num_hidden_layers": 1,
       "num_attention_heads": 2, "intermediate_size": 32}


def stripes(height, width, across, source):
    """A picture of light stripes, horizontal or vertical."""
    at = source.uniform(0, 1)
    bright = [[math.sin(4 * math.pi * ((y / height if across else x / width) + at)) > 0 for x in range(width)] for y in range(height)]
    return png([[230 if light else source.randint(0, 40) for light in row] for row in bright])


def write_tone(path, hertz, count, rate=16000):
    """A sound of `count` samples: a tone, and quiet noise."""
    noise = random.Random(count)
    samples = [round(8000 * math.sin(2 * math.pi * hertz * t / rate) + noise.gauss(0, 50)) for t in range(count)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack(f"<{count}h", *samples))


class Folder(NetworkCase):
    def setUp(self):
        super().setUp()
        self.random = random.Random(4)
        self.recipe = self.folder / "folder.json"

    def write(self, task, model, **more):
        self.recipe.write_text(json.dumps({"task": {"kind": "classification"} | task, "model": model, "batch": 16, "steps": 120, "report": 60,
                                           "validate": 60, "checkpoint": 120, "schedule": {"learning_rate": 0.01}} | more), encoding="utf-8")

    def refused_because(self, message):
        done = run("train", self.recipe, f"data={self.folder}", "-o", self.folder / "refused")
        self.assertIn(message, done.errors)
        self.assertEqual(done.code, 1)


class Pictures(Folder):
    def pictures(self, folder, count):
        for label in ("lying", "standing"):
            for number in range(count):
                size = self.random.randint(20, 40), self.random.randint(20, 40)
                path = self.folder / folder / label / ("more" if number % 2 else "") / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(stripes(*size, label == "lying", self.random))

    def test_pictures_of_all_sizes_are_resized_in_training_and_in_use(self):
        self.pictures("photos", 40)
        self.pictures("test", 10)
        (self.folder / "photos" / ".DS_Store").write_bytes(b"x")
        (self.folder / "photos" / "lying" / ".hidden").write_bytes(b"x")
        for resize in ("stretch", "fit"):
            with self.subTest(resize):
                self.write({"train": "photos", "held_out": 0.25, "test": "test", "pictures": {"form": "folder", "resize": resize}}, VIT)
                done = run("train", self.recipe, f"data={self.folder}", "-o", self.folder / resize)
                self.assertEqual(done.code, 0, done.errors)
                self.assertIn("training: 60 pictures of photos\n", done.errors)
                self.assertIn("validation: 20 pictures of photos\n", done.errors)
                best = self.folder / resize / "best"
                self.assertIn(f"done: clearhead run classify {best} FILE.png\n", done.errors)
                config = json.loads((best / "config.json").read_text(encoding="utf-8"))
                self.assertEqual((config["resize"], config["resample"], config["id2label"]), (resize, "bilinear", {"0": "lying", "1": "standing"}))
                measured = self.done("train", self.recipe, f"data={self.folder}", "--test", best, "--json").json
                self.assertGreaterEqual(measured["accuracy"], 0.9)
                one = self.folder / "one.png"
                one.write_bytes(stripes(33, 17, True, self.random))
                self.assertRegex(self.done("run", best, one).out.splitlines()[0], r"%  lying$")
                self.assertEqual(self.done("why", best, one, "--json").code, 0)
                self.assertEqual(self.done("show", best, one, "--head", "L0.H0", "--json").code, 0)

    def test_a_model_without_resize_names_the_field(self):
        self.pictures("photos", 4)
        self.write({"train": "photos", "valid": "photos", "pictures": {"form": "folder"}}, VIT)
        self.refused_because('channels: 1); expected 8 × 8 pixels, channels: 1. Resize it, or train a model with "resize" in "task.pictures"')
        self.write({"train": "photos", "valid": "photos", "pictures": {"form": "folder", "resize": "crop"}}, VIT)
        self.refused_because('"task.pictures.resize": expected none, stretch or fit')

    def test_bad_folders_are_named(self):
        self.write({"train": "photos", "held_out": 0.5, "pictures": {"form": "folder", "resize": "fit"}}, VIT)
        photos = self.folder / "photos"
        self.refused_because(f"{photos}: there is no such file")
        photos.mkdir()
        self.refused_because(f"{photos}: has no subfolders; expected a subfolder with the pictures of each class")
        self.pictures("photos", 2)
        for path, data, message in (
                (photos / "lying" / "notes.txt", b"hello", "the first bytes are neither those of a PNG nor of a JPEG file; convert it to one of these formats. Every file"),
                (photos / "lying" / "cut.png", stripes(9, 9, True, self.random)[:60], "damaged PNG"),
                (photos / "README", b"hello", f"expected only class folders in {photos}, found a file; move it")):
            path.write_bytes(data)
            self.refused_because(f"{path}: {message}")
            path.unlink()
        (photos / "empty").mkdir()
        self.refused_because(f"{photos / 'empty'}: the class folder has no files; expected one picture or more")
        self.write({"train": "folder.json", "held_out": 0.5, "pictures": {"form": "folder"}}, VIT)
        self.refused_because(f"{self.recipe}: is a file; expected a folder that contains one subfolder of pictures for each class")


class Sounds(Folder):
    MODEL = {"model_type": "spectrogram_transformer", "patch_size": 5, "sound": {"rate": 8000, "window": 128, "hop": 80, "mels": 10, "frames": 20},
             "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    LENGTH = 20 * 80

    def tones(self, folder, count, shortest=900, longest=2500):
        for label, hertz in (("high", 2500), ("low", 300)):
            (self.folder / folder / label).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                write_tone(self.folder / folder / label / f"{number}.wav", hertz * self.random.uniform(0.9, 1.1),
                           self.random.randint(shortest, longest), 8000)

    def test_sounds_of_all_lengths_are_padded_and_cut_in_training_and_in_use(self):
        self.tones("train", 30)
        self.tones("test", 10)
        self.write({"train": "train", "held_out": 0.2, "test": "test", "sounds": {"pad": True, "cut": True}}, self.MODEL)
        done = run("train", self.recipe, f"data={self.folder}", "-o", self.folder / "run")
        self.assertEqual(done.code, 0, done.errors)
        self.assertIn("training: 48 sounds of train\n", done.errors)
        best = self.folder / "run" / "best"
        self.assertIn(f"done: clearhead run classify {best} FILE.wav\n", done.errors)
        config = json.loads((best / "config.json").read_text(encoding="utf-8"))
        self.assertEqual((config["sound"]["pad"], config["sound"]["cut"]), (True, True))
        measured = self.done("train", self.recipe, f"data={self.folder}", "--test", best, "--json").json
        self.assertGreaterEqual(measured["accuracy"], 0.9)
        for count in (700, 3000):
            write_tone(self.folder / "one.wav", 280, count, 8000)
            self.assertRegex(self.done("run", best, self.folder / "one.wav").out.splitlines()[0], r"%  low$")
        parts = self.done("why", best, self.folder / "one.wav", "--json").json
        self.assertIn("patch", json.dumps(parts))

    def test_a_table_names_sounds(self):
        self.tones("all", 4, self.LENGTH, self.LENGTH)
        rows = ["path,kind", *(f"all/{label}/{number}.wav,{label}" for label in ("high", "low") for number in range(4))]
        (self.folder / "all.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        self.write({"train": "all.csv", "held_out": 0.25, "label": "kind", "sounds": {"column": "path"}}, self.MODEL, steps=2)
        done = run("train", self.recipe, f"data={self.folder}", "-o", self.folder / "run")
        self.assertEqual(done.code, 0, done.errors)
        self.assertIn("training: 6 sounds of all.csv\n", done.errors)

    def test_other_lengths_rates_and_files_are_named(self):
        self.tones("train", 2, self.LENGTH, self.LENGTH)
        first = self.folder / "train" / "high" / "0.wav"
        for sounds, count, rate, message in (
                ({"cut": True}, 700, 8000, 'the sound has 700 samples; the model reads 1,600 (20 frames). Make it longer, or train a model with '
                                           '"pad": true in "task.sounds"'),
                ({"pad": True}, 1700, 8000, 'Make it shorter, or train a model with "cut": true in "task.sounds"'),
                ({}, 1600, 16000, '16,000 samples a second; the model reads 8,000 ("sound.rate")')):
            write_tone(first, 2500, count, rate)
            self.write({"train": "train", "held_out": 0.5, "sounds": sounds}, self.MODEL)
            self.refused_because(f"{first}: ")
            self.refused_because(message)
        first.write_bytes(b"no sound")
        self.refused_because(f"{first}: not a sound file that can be read")
        bert = {"model_type": "bert", "vocab_size": 256, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
                "max_position_embeddings": 16, "type_vocab_size": 2}
        self.write({"train": "train", "held_out": 0.5, "sounds": {}}, bert, tokenizer="bytes", length=16)
        self.refused_because('the model reads a text: expected "task.text" in place of "task.sounds"')
        self.write({"train": "train", "held_out": 0.5, "text": 1, "label": 2}, self.MODEL)
        self.refused_because('the model reads a spectrogram: expected "task.sounds"')
