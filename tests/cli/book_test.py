"""The language model in this repository: the properties that its model card states."""

import json
import random
from pathlib import Path

from support import Case, run

BOOK = Path(__file__).resolve().parents[2] / "models/book"


class Book(Case):
    def test_a_held_out_novel_scores_below_1_70_bits_per_byte(self):
        text = (BOOK / "held-out.txt").read_text(encoding="utf-8")
        self.assertGreater(len(text.encode()), 400_000)
        part = self.folder / "part.txt"
        part.write_text(text[60_000:120_000], encoding="utf-8")  # from War and Peace
        done = run("run", "score", BOOK, "--file", part, "--json")
        self.assertEqual(done.code, 0, done.errors)
        told = done.json
        self.assertGreater(told["tokens"], 15_000)
        self.assertLess(told["bits_per_byte"], 1.70)

    def bits(self, text, *settings):
        self.count = getattr(self, "count", 0) + 1
        file = self.folder / f"scored-{self.count}.txt"
        file.write_text(text, encoding="utf-8")
        done = run("run", "score", BOOK, "--file", file, *settings, "--json")
        self.assertEqual(done.code, 0, done.errors)
        told = done.json
        return told["bits_per_byte"] * told["bytes"]

    def test_repeated_passages_cost_fewer_bits(self):
        seed = random.Random(3)
        text = (BOOK / "held-out.txt").read_text(encoding="utf-8")
        words = [word for word in text.split() if word.isalpha()]
        places = [seed.randrange(len(text) - 500) for _ in range(8)]
        for kind, passages, most in (
            ("text", [text[at:at + 250] for at in places], 0.97),
            ("words", [" ".join(seed.choice(words) for _ in range(40)) for _ in places], 0.65),
        ):
            once = [self.bits(passage) for passage in passages]
            twice = [self.bits(f"{passage} {passage}") for passage in passages]
            self.assertLess(sum(twice) - sum(once), most * sum(once), kind)

    def test_the_atlas_finds_the_heads_that_copy(self):
        seed = random.Random(5)
        words = [word for word in (BOOK / "held-out.txt").read_text(encoding="utf-8").split() if word.isalpha()]
        passage = " ".join(seed.choice(words) for _ in range(40))
        done = run("atlas", BOOK, f"{passage} {passage}", "--json")
        self.assertEqual(done.code, 0, done.errors)
        heads = done.json["heads"]
        previous, induction = (max(heads, key=lambda head: head[kind]) for kind in ("previous", "induction"))
        self.assertGreater(previous["previous"], 0.7)
        self.assertGreater(induction["induction"], 0.3)
        self.assertLess(previous["layer"], induction["layer"])
        # Without it, repeated text is predicted worse.
        name = f"L{induction['layer']}.H{induction['head']}"
        twice = f"{passage} {passage}"
        self.assertGreater(self.bits(twice, "--knock-out", name), self.bits(twice))

    def test_the_model_is_small_and_info_lists_its_task(self):
        told = self.ok("info", BOOK, "--json").json
        self.assertLess(sum(path.stat().st_size for path in BOOK.iterdir() if path.name != "held-out.txt"), 6_000_000)
        self.assertIn("generate", told["tasks"])

    def test_it_writes_english(self):
        done = run("run", "generate", BOOK, "It was a dark and stormy night, and", "--max-tokens", "40", "--temperature", "0.7", "--seed", "3", "--json")
        self.assertEqual(done.code, 0, done.errors)
        words = json.loads(done.out)["text"].split()
        self.assertGreater(sum(word.strip(".,;:!?'\"").lower() in COMMON for word in words) / len(words), 0.25, words)


COMMON = set("the and of to a in that he was his with it i as her for had you not be at on by is she but him which my have all they this so were said from".split())
