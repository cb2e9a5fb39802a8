"""The model that ships: what its card promises."""

import json
from pathlib import Path

from support import Case, run

BOOK = Path(__file__).resolve().parents[2] / "models/book"


class Book(Case):
    def test_it_foretells_novels_it_never_saw_far_in_as_near_the_beginning(self):
        text = (BOOK / "held-out.txt").read_text(encoding="utf-8")
        self.assertGreater(len(text.encode()), 400_000)
        part = self.folder / "part.txt"
        part.write_text(text[60_000:120_000], encoding="utf-8")  # of War and Peace
        done = run("run", "score", BOOK, "--file", part, "--json")
        self.assertEqual(done.code, 0, done.errors)
        told = done.json
        self.assertGreater(told["tokens"], 15_000)
        self.assertLess(told["bits_per_byte"], 1.70)

    def test_it_is_small_and_says_what_it_is(self):
        told = self.ok("info", BOOK, "--json").json
        self.assertLess(sum(path.stat().st_size for path in BOOK.iterdir() if path.name != "held-out.txt"), 6_000_000)
        self.assertIn("generate", told["tasks"])

    def test_it_writes_english(self):
        done = run("run", "generate", BOOK, "It was a dark and stormy night, and", "--max-tokens", "40", "--temperature", "0.7", "--seed", "3", "--json")
        self.assertEqual(done.code, 0, done.errors)
        words = json.loads(done.out)["text"].split()
        self.assertGreater(sum(word.strip(".,;:!?'\"").lower() in COMMON for word in words) / len(words), 0.25, words)


COMMON = set("the and of to a in that he was his with it i as her for had you not be at on by is she but him which my have all they this so were said from".split())
