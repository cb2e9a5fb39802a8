"""A watched run writes traces of the same texts during training."""

import json
import struct

from support import KEPT, SUM
from train_events_test import events, message
from train_test import MARIAN, TrainingCase

TEXTS = ["line 12: 144 abcabc", "line 33: 1089 ab\nline 34: 1156"]


class Watch(TrainingCase):
    def names(self, out):
        return sorted(path.name for path in (self.folder / out / "watch").iterdir())

    def test_watched_steps_are_denser_early_and_include_the_last_step(self):
        self.write(steps=45, watch={"texts": TEXTS, "checkpoints": 4})
        self.assertEqual(self.train("run").code, 0)
        self.assertEqual(self.names("run"), [f"step-{step:06}.trace" for step in (0, 5, 20, 45)])
        images = {tag: list(steps) for tag, steps in events(self.folder / "run").items() if tag.startswith("attention/")}
        self.assertEqual(images, {f"attention/dec/{layer}": [0, 5, 20, 45] for layer in (0, 1)})
        image = message(events(self.folder / "run")["attention/dec/1"][45][4][0])  # two heads of 49 bytes, two pixels per cell, and a gap
        self.assertEqual((image[1], image[2], image[3]), ([98], [198], [3]))
        self.assertEqual(image[4][0][:8] + image[4][0][16:24], b"\x89PNG\r\n\x1a\n" + struct.pack(">II", 198, 98))

    def test_watched_texts_are_traced_independently(self):
        self.write(steps=20, held_out=0, watch={"texts": TEXTS, "checkpoints": 2})
        self.assertEqual(self.train("run").code, 0)
        begin = 0
        for text in TEXTS:
            for query in (3, len(text) - 1):  # a token is a byte
                alone = self.ok("show", self.folder / "run/best", text, "--head", "L1.H1", "--query", query, "--json").json
                beside = self.ok("show", self.folder / "run/watch/step-000020.trace", "--head", "L1.H1", "--query", begin + query, "--json").json
                self.assertEqual([key["key"] for key in beside["keys"]], [key["key"] + begin for key in alone["keys"]])
                self.assertGreater(len(alone["keys"]), 3)
                for ours, theirs in zip(beside["keys"], alone["keys"]):
                    self.assertAlmostEqual(ours["weight"], theirs["weight"], delta=SUM)
            begin += len(text)

    def test_a_text_can_be_named_on_the_command_line(self):
        done = self.train("run", "steps=3", "--watch", TEXTS[0], "--watch", "a [1, 2] \"b\"")
        self.assertEqual(done.code, 0, done.errors)
        self.assertEqual(self.names("run"), [f"step-{step:06}.trace" for step in range(4)])
        segments = self.ok("info", self.folder / "run/watch/step-000003.trace", "--json").json
        self.assertEqual(segments["tokens"], len(TEXTS[0]) + 12)

    def pairs(self, watch):
        """A recipe for an encoder-decoder."""
        lines = [f"{'abcdef'[i % 6]} {'ghijk'[i * 7 % 5]}\t{'GHIJK'[i * 7 % 5]} {'ABCDEF'[i % 6]}\n" for i in range(60)]
        for name in ("train.tsv", "valid.tsv"):
            (self.folder / name).write_text("".join(lines), encoding="utf-8")
        recipe = {"pairs": {"train": "train.tsv", "valid": "valid.tsv"}, "tokenizer": {"bpe": 290}, "model": MARIAN, "max_tokens": 200, "length": 20,
                  "steps": 12, "generation": {"num_beams": 1, "eos_token_id": 0}, "schedule": {"learning_rate": 0.01}, "report": 6, "validate": 12, "watch": watch}
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")

    def test_watched_pairs_have_cross_attention_and_are_traced_independently(self):
        pairs = ["a g a\tG A", "b h\tH B H B"]
        self.pairs({"texts": pairs, "checkpoints": 3})
        self.assertEqual(self.train("run").code, 0)
        self.assertEqual(self.names("run"), [f"step-{step:06}.trace" for step in (0, 3, 12)])
        trace = self.folder / "run/watch/step-000012.trace"
        manifest = self.page_of(trace)
        families = {family["id"]: family for family in manifest["info"]["families"]}
        self.assertEqual(sorted(families), ["cross", "dec", "enc"])
        names = [(segment["name"], segment["begin"], segment["end"]) for segment in manifest["segments"][0]]
        self.assertEqual([name for name, _, _ in names], ["source 1", "source 2", "target 1", "target 2"])
        self.assertEqual(families["cross"]["query_range"], [names[2][1], names[3][2]])
        self.assertEqual(families["cross"]["key_range"], [0, names[1][2]])
        # Each target attends only to its own source, with the weights of the pair alone.
        for at, pair in enumerate(pairs):
            self.pairs({"texts": [pair], "checkpoints": 1})
            out = f"alone-{at}"
            self.assertEqual(self.train(out).code, 0)
            alone = self.folder / out / "watch/step-000012.trace"
            (_, _, length), = [segment for segment in ((s["name"], s["begin"], s["end"]) for s in self.page_of(alone)["segments"][0]) if segment[0] == "source 1"]
            for family, query, key in (("cross", 2 + at, at), ("dec", 2 + at, 2 + at), ("enc", at, at)):
                step = 0 if family == "enc" else length
                for head in ("L0.H0", "L0.H1"):
                    asked = ("--family", family, "--head", head, "--top", "30", "--json", "--query")
                    one = self.ok("show", alone, *asked, str(step + 1)).json["keys"]
                    beside = self.ok("show", trace, *asked, str(names[query][1] + 1)).json["keys"]
                    shift = names[key][1] - (length if family == "dec" else 0)
                    self.assertEqual({k["key"] + shift for k in one if k["weight"] > 0}, {k["key"] for k in beside if k["weight"] > 0})
                    self.assertTrue(one)
                    weights = {k["key"]: k["weight"] for k in beside}
                    for k in one:
                        self.assertAlmostEqual(weights.get(k["key"] + shift, 0), k["weight"], delta=KEPT)
        images = [tag for tag in events(self.folder / "run") if tag.startswith("attention/")]
        self.assertEqual(sorted(images), ["attention/cross/0", "attention/dec/0", "attention/enc/0"])

    def page_of(self, trace):
        page = self.folder / "one.html"
        self.ok("view", trace, "--html", page)
        return self.manifests(page)[0]

    def test_texts_that_are_not_pairs_are_refused(self):
        for text in ("no tab", "\tb", "a\t", "a\tb\tc"):
            self.pairs({"texts": ["a\tA", text]})
            self.refused(1, f'{self.recipe}: "watch.texts": text 2 is not a pair; expected a source and its target, separated by a tab', "train",
                         self.recipe, f"data={self.folder}", "-o", self.folder / "run")
        self.pairs({"texts": ["a\t" + "b " * 70]})
        self.assertIn("tokens, but the model supports 64 positions", self.train("run").errors)

    def test_view_exports_a_page_from_a_watch_folder(self):
        self.write(steps=3, watch={"texts": TEXTS})
        self.assertEqual(self.train("run").code, 0)
        folder = self.folder / "run/watch"
        self.ok("view", folder, "--html", self.folder / "page.html")
        manifests = self.manifests(self.folder / "page.html")
        self.assertEqual([one["info"]["step"] for one in manifests], [0, 1, 2, 3])
        self.assertEqual([step["step"] for step in manifests[0]["info"]["checkpoints"]], [0, 1, 2, 3])
        self.refused(2, "a trace already has its text; give a model to read another one", "view", folder, "text")
        self.refused(2, "--segments names sections of one text, but several traces were given", "view", folder, "--segments", self.recipe)
        self.assertEqual(self.ok("view", folder / "step-000003.trace", "--html", self.folder / "page.html").code, 0)

    def test_invalid_watch_settings_are_refused(self):
        where = self.recipe
        for watch, message_of in (
            ({"texts": ["a", ""]}, '"watch.texts": text 2 is empty'),
            ({"texts": ["x" * 65]}, '"watch.texts": text 1 has 65 tokens, but the model supports 64 positions; give a shorter text'),
            ({"texts": ["x" * 60] * 9}, '"watch.texts" have 540 tokens; expected at most 512'),
            ({"texts": ["a"], "checkpoints": 41}, '"watch.checkpoints": expected an integer from 1 to 40, found 41'),
            ({"checkpoints": 4}, 'field "watch.texts" is missing'),
        ):
            self.write(watch=watch)
            self.refused(1, f"{where}: {message_of}", "train", where, f"data={self.folder}", "-o", self.folder / "other")
        self.assertFalse((self.folder / "other").exists())
        self.write(steps=3)
        self.assertEqual(self.train("run").code, 0)
        self.refused(2, "--resume uses the run's own recipe; settings and --watch are for a new run, except data=DIR for a data folder that was moved", "train", "--resume", self.folder / "run", "--watch", "a")
