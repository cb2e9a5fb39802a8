"""Traces whose queries or keys are not tokens, in the terminal: rows and columns have the names of their items."""

import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import support

MAKER = support.KNOWN_MODELS.parent / "clearhead-item-traces"


@unittest.skipUnless(MAKER.exists(), f"no {MAKER}")
class Items(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="clearhead-items-"))
        subprocess.run([MAKER, cls.folder], check=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def shown(self, name, *arguments):
        done = support.run("show", self.folder / f"{name}.trace", *arguments)
        self.assertEqual((done.code, done.errors), (0, ""))
        return done.out

    def test_every_trace_is_shown_with_and_without_a_head(self):
        for path in sorted(self.folder.glob("*.trace")):
            self.assertIn("next: ", self.shown(path.stem))
            self.assertIn(" × ", self.shown(path.stem, "--head", "L0.H0").split("\n")[0])

    def test_a_query_is_named_by_its_item_and_so_are_its_keys(self):
        out = self.shown("memory", "--head", "L1.H0", "--query", "question").split("\n")
        self.assertIn("⟨question⟩ Where is the football ?", out[0])
        self.assertRegex(out[1], r"^ 79\.00 %  #70 +⟨line 6⟩ Mary went to the kitchen \.$")

    def test_patches_are_drawn_as_a_grid(self):
        out = self.shown("patches", "--head", "L1.H0", "--query", "patch 3,4").split("\n")
        self.assertIn("⟨patch 3,4⟩ of 8×8", out[0])
        self.assertEqual([len(line) for line in out[1:9]], [16] * 8)
        self.assertIn("⟨patch 2,5⟩ of 8×8", out[9])

    def test_a_sentence_shades_its_words(self):
        out = self.shown("hierarchy", "--family", "words", "--head", "L0.H0", "--query", "sentence 3")
        self.assertIn("delicious█", out)
        self.assertNotIn("sentence 4", out)

    def test_the_weight_of_a_sink_logit_is_printed(self):
        model, story = str(support.ROOT / "models/stories"), self.folder / "story.txt"
        story.write_text("Mary got the milk there.\nJohn moved to the bedroom.\nDaniel went to the garden.\n")
        for place, least, most in (("kitchen", 60, 99), ("bedroom", 0, 20)):  # no statement says the first; the second statement says the other
            question = ("--file", str(story), "--question", f"Is John in the {place}?", "--head", "L0.H0")
            row = support.run("show", model, *question, "--query", "query", "--json").json
            left = 100 * row["sink_logit"]
            self.assertTrue(least <= left <= most, left)
            self.assertAlmostEqual(left, 100 * (1 - sum(key["weight"] for key in row["keys"])), 3)
            says = re.search(r"^ +(\d+) % goes to a sink logit, which has no value vector$", support.run("show", model, *question).out, re.M)
            self.assertEqual(says and int(says[1]), round(left) or None)
            says = re.search(r"^ +([\d.]+) %  to a sink logit, which has no value vector$",
                             support.run("show", model, *question, "--query", "query").out, re.M)
            self.assertEqual(says and float(says[1]), round(left, 2) or None)
        self.assertNotIn("sink logit", self.shown("memory", "--head", "L1.H0"))

    def test_columns_keep_the_end_of_their_names(self):
        out = self.shown("hierarchy", "--head", "L0.H0").split("\n")
        self.assertRegex(out[8], r"^ +1 +2 +3 +4 +5 +6 *$")
        self.assertRegex(out[9], r"^document +4 +3 +38 +9 +12 +34 *$")
