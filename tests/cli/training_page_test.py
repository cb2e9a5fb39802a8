"""The examples of docs/training.md for a reader's own data: the recipes and commands of the page, on tiny files of the described form."""

import csv
import json
import random
import re
import shlex
import struct
import zlib

from support import ROOT, Case, run, write_wordpiece

WORDS = ("good", "bad", "film", "a", "the", "warm", "cold", "very")


def example(heading):
    """The recipe's name, its fields and the commands of a chapter: the paragraph `NAME`:, a block of JSON, a block of commands."""
    page = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    chapter = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    name, recipe, commands = re.search(r"`([\w-]+\.json)`:\n\n```json\n(.*?)```\n\n```\n(.*?)```", chapter, re.S).groups()
    return name, json.loads(recipe), [shlex.split(line, comments=True) for line in commands.splitlines()]


def png(value, side):
    """A grey picture of one value."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + bytes([value]) * side) * side
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class OwnData(Case):
    def follow(self, heading, **changes):
        """Runs the chapter's commands in the folder; returns what each printed."""
        name, recipe, commands = example(heading)
        (self.folder / name).write_text(json.dumps(recipe | changes), encoding="utf-8")
        out = []
        for program, *arguments in commands:
            self.assertEqual(program, "clearhead")
            arguments = [argument.replace("DIR", str(self.folder)) for argument in arguments]
            done = run(*arguments, *(["steps=4", "validate=4", "schedule.warmup=1"] if arguments[0] == "train" else []), folder=self.folder)
            self.assertEqual(done.code, 0, f"{arguments}: {done.errors}")
            out.append(done.out)
        return out

    def test_a_classifier_on_a_csv_file(self):
        base = self.folder / "base"
        write_wordpiece(base, WORDS)
        facts = {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": 256, "hidden_size": 32, "intermediate_size": 64,
                 "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 128, "type_vocab_size": 2, "hidden_act": "gelu",
                 "layer_norm_eps": 1e-12}
        for part in ("train", "valid"):
            with (self.folder / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([["id", "text", "label"], *([number, "a very good, warm film", "pos"] if number % 2 else [number, "a bad film", "neg"]
                                                                        for number in range(20))])
        answers = self.follow("Fine-tune a classifier on your CSV", model=facts, tokenizer=str(base), **{"from": ""})
        self.assertRegex(answers[1], "pos|neg")

    def test_a_translator_on_a_tsv_file(self):
        source = random.Random(1)
        for part in ("train", "valid"):
            pairs = [[" ".join(source.choice(WORDS) for _ in range(4))] * 2 for _ in range(40)]
            (self.folder / f"{part}.tsv").write_text("".join(f"{a}\t{b.upper()}\n" for a, b in pairs), encoding="utf-8")
        _, recipe, _ = example("Train a translator on your TSV")
        self.follow("Train a translator on your TSV", tokenizer={"bpe": 280}, model=recipe["model"] | {"vocab_size": 280})

    def test_a_classifier_of_images(self):
        _, recipe, _ = example("Classify your own images")
        side = recipe["model"]["image_size"]
        for part in ("train", "valid"):
            lines = []
            for number in range(20):
                name = f"{part}{number}.png"
                (self.folder / name).write_bytes(png(250 if number % 2 else 5, side))
                lines.append(f"{name}\t{'light' if number % 2 else 'dark'}\n")
            (self.folder / f"{part}.tsv").write_text("".join(lines), encoding="utf-8")
        (self.folder / "picture.png").write_bytes(png(240, side))
        answers = self.follow("Classify your own images")
        self.assertRegex(answers[1], "light|dark")
