"""The examples of docs/training.md for a reader's own data: the page's recipes and commands, on tiny files in the described format."""

import csv
import json
import random
import re
import shlex

from support import ROOT, Case, run
from train_folder_test import write_tone
from train_picture_test import png

WORDS = ("good", "bad", "film", "a", "the", "warm", "cold", "very")


def examples(heading):
    """The examples of a chapter: a paragraph `NAME.json`:, a block of JSON, a block of commands. Returns (name, fields, commands) of each."""
    page = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    chapter = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"`([\w-]+\.json)`:\n\n```json\n(.*?)```\n\n```\n(.*?)```", chapter, re.S)
    return [(name, json.loads(recipe), [shlex.split(line, comments=True) for line in commands.splitlines()]) for name, recipe, commands in found]


class OwnData(Case):
    """Each test writes files as a chapter describes them, then follows the chapter: all of its commands must succeed, and the model must answer."""

    def follow(self, example, **changes):
        """Runs an example's commands in the folder, with fewer steps. Returns the output of each."""
        name, recipe, commands = example
        (self.folder / name).write_text(json.dumps(recipe | changes), encoding="utf-8")
        self.assertEqual(commands[0][:3], ["clearhead", "train", name])
        self.assertGreater(len(commands), 1)
        out = []
        for program, *arguments in commands:
            self.assertEqual(program, "clearhead")
            arguments = [argument.replace("DIR", str(self.folder)) for argument in arguments]
            fewer = ["steps=20", "validate=20", "schedule.warmup=4"] if arguments[0] == "train" else []
            done = run(*arguments, *fewer, folder=self.folder)
            self.assertEqual(done.code, 0, f"{arguments}: {done.errors}")
            out.append(done.out)
        return out

    def test_a_classifier_on_a_csv_file(self):
        for part in ("train", "valid"):
            with (self.folder / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(["id", "text", "label"])
                for number in range(20):
                    rows.writerow([number, *(("a very good, warm film", "positive") if number % 2 else ("a bad film", "negative"))])
        pretrained, scratch = examples("Fine-tune a classifier on your own CSV")
        answer = self.follow(scratch, tokenizer={"wordpiece": 60}, model=scratch[1]["model"] | {"vocab_size": 60})[1]
        self.assertRegex(answer, "positive|negative")
        # The pretrained model of the other recipe is not in the repository, so the model that was just trained replaces it.
        _, answer, words = self.follow(pretrained, **{"from": str(self.folder / "runs/small/best")})
        self.assertRegex(answer, "positive|negative")
        self.assertIn("warm", words)

    def test_a_translator_on_a_tsv_file(self):
        source = random.Random(1)
        pairs = [[" ".join(source.choice(WORDS) for _ in range(4))] * 2 for _ in range(80)]
        (self.folder / "train.tsv").write_text("".join(f"{a}\t{b.upper()}\n" for a, b in pairs), encoding="utf-8")
        (example,) = examples("Train a translator on your own TSV")
        small = {"vocab_size": 280, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
        _, answer = self.follow(example, tokenizer={"bpe": 280}, model=example[1]["model"] | small)
        self.assertTrue(answer.endswith("\n"))

    def test_a_classifier_of_images(self):
        (example,) = examples("Classify your own images")
        source = random.Random(1)

        def picture():
            value, height, width = 250 if label == "light" else 5, source.randint(20, 50), source.randint(20, 50)
            return png([[value] * width] * height)

        for label in ("light", "dark"):
            folder = self.folder / "photos" / label
            folder.mkdir(parents=True)
            for number in range(20):
                (folder / f"{number}.png").write_bytes(picture())
        (self.folder / "picture.png").write_bytes(picture())
        _, answer, patches = self.follow(example)
        self.assertRegex(answer, "light|dark")
        self.assertIn("patch", patches)

    def test_a_classifier_of_sounds(self):
        (example,) = examples("Classify your own sounds")
        source = random.Random(1)
        for label, hertz in (("high", 2500), ("low", 300)):
            folder = self.folder / "words" / label
            folder.mkdir(parents=True)
            for number in range(20):
                write_tone(folder / f"{number}.wav", hertz, source.randint(4000, 30000))
        write_tone(self.folder / "sound.wav", 310, 9000)
        _, answer, patches = self.follow(example)
        self.assertRegex(answer, "high|low")
        self.assertIn("patch", patches)

    def test_a_language_model_on_a_text(self):
        source = random.Random(1)
        text = "".join(" ".join(source.choice(WORDS) for _ in range(8)) + "\n" for _ in range(400))
        (self.folder / "corpus.txt").write_text(text, encoding="utf-8")
        (example,) = examples("Train a language model on your own text")
        small = {"vocab_size": 280, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
        _, answer, score = self.follow(example, tokenizer={"bpe": 280}, model=example[1]["model"] | small, length=64, batch=4)
        self.assertTrue(answer)
        self.assertIn("bits per byte", score)
