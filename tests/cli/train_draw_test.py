"""A model that draws, from the command line: trained on tiny pictures of bars, measured, drawn with, and inspected."""

from support import ROOT, run
from train_picture_test import SIDE, PictureCase, png


class Draw(PictureCase):
    """Horizontal bars (3) and vertical bars (7), with noise."""

    TASK = {"kind": "image-generation", "train": "train.tsv", "valid": "valid.tsv", "test": "test.tsv", "label": 1,
            "pictures": {"form": "bits", "column": 2}}
    MODEL = {"model_type": "image_transformer", "patch_size": 2, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 32, "neighbours": 2}

    def learned(self):
        self.write(self.TASK, self.MODEL, steps=150, validate=50, checkpoint=50)
        return self.trained() / "best"

    def share_of_bars(self, rows, label):
        """The largest share of ink in a row (3) or in a column (7)."""
        lines = rows if label == "3" else ["".join(column) for column in zip(*rows)]
        return max(line.count("#") for line in lines) / SIDE

    def test_a_model_is_trained_tested_and_draws_the_class(self):
        best = self.learned()
        measured = self.done("train", self.recipe, f"data={self.folder}", "--test", best, "--json").json
        self.assertEqual(measured["counted"], 32)
        self.assertLess(measured["bits_per_pixel"], 0.6)  # a pixel that is ink with probability 0.17 has 0.66 bits
        self.assertAlmostEqual(measured["bits_per_picture"], SIDE * SIDE * measured["bits_per_pixel"], places=6)
        self.assertGreater(measured["accuracy"], 0.9)
        self.assertRegex(self.done("train", self.recipe, f"data={self.folder}", "--test", best).out,
                         r"^accuracy [\d.]+ %  bits_per_pixel 0\.\d{4}  bits_per_picture \d+\.\d\d  \(32 pictures\)\n$")
        for label in ("3", "7"):
            drawn = self.done("run", "draw", best, label, "--count", "20", "--seed", "1", "--json").json
            self.assertEqual((drawn["class"], len(drawn["pictures"])), (label, 20))
            full = [one for one in drawn["pictures"] if self.share_of_bars(one["rows"], label) > 0.7]
            self.assertGreater(len(full), 8, label)  # of the other class, none or one

    def test_a_drawing_is_a_png_that_the_model_reads_back(self):
        best = self.learned()
        path = self.folder / "bar.png"
        drawn = self.done("run", "draw", best, "7", "--seed", "3", "-o", path)
        self.assertRegex(drawn.out.splitlines()[-1], rf"^7: [\d.]+ bits, 0\.\d+ per pixel; written to {path}$")
        one = self.done("run", "draw", best, "7", "--seed", "3", "-o", path, "--json").json["pictures"][0]
        self.assertEqual(one["file"], str(path))
        again = self.folder / "again.png"
        again.write_bytes(png([[255 if ink == "#" else 0 for ink in row] for row in one["rows"]]))
        self.assertEqual(*(self.done("run", "classify", best, picture, "--json").json for picture in (path, again)))
        self.assertEqual(self.done("run", "classify", best, path, "--json").json["classes"][0]["label"], "7")
        self.assertEqual(self.done("run", best, "7", "--seed", "3", "--json").json["pictures"][0]["rows"], one["rows"])  # its own task
        many = self.done("run", "draw", best, "7", "--seed", "3", "--count", "2", "-o", path).out
        self.assertIn("bar-2.png", many)
        self.assertEqual((self.folder / "bar-1.png").read_bytes(), path.read_bytes())
        self.assertNotEqual((self.folder / "bar-2.png").read_bytes(), path.read_bytes())
        greedy = [self.done("run", "draw", best, "3", "--seed", seed, "--temperature", "0", "--json").json["pictures"] for seed in ("1", "2")]
        self.assertEqual(*greedy)

    def test_where_each_patch_looked_is_shown_on_the_picture(self):
        best = self.learned()
        path = self.folder / "bar.png"
        self.done("run", "draw", best, "3", "-o", path)
        trace = self.folder / "bar.trace"
        self.done("trace", best, path, "-o", trace)
        shown = self.done("show", trace, "--head", "L0.H1", "--query", "9").out
        self.assertRegex(shown, r"#9 ⟨patch 3,2⟩ of 4×4 attends to")
        self.assertRegex(shown, r"#\d  +⟨patch \d,\d⟩ of 4×4")
        self.assertNotRegex(shown, r"#1\d  +⟨patch")  # a patch sees no later one
        self.done("view", trace, "--html", self.folder / "page.html")
        self.assertGreater((self.folder / "page.html").stat().st_size, 10000)
        why = self.done("why", best, path, "--method", "relevance,occlusion,attention,attention-gradient,value-weighted").out
        self.assertRegex(why, r"patch \d,\d")
        self.assertRegex(why, r'without ".*": [\d.]+ % if it is unseen, [\d.]+ % if it is masked')

        least = self.done("run", "classify", best, path, "--json").json["classes"][-1]["label"]
        self.refused(1, f'why: the maps of {best} are those of its most probable class, "{"3" if least == "7" else "7"}", so that gradients '
                     "explain no other class; use --method occlusion", "why", best, path, "--target", least)

    def test_a_run_that_was_killed_goes_on_with_the_same_bits(self):
        self.write(self.TASK, self.MODEL)
        self.goes_on()

    def test_bad_data_and_settings_are_named(self):
        self.write(self.TASK, self.MODEL)
        with (self.folder / "valid.tsv").open("a", encoding="utf-8") as file:
            file.write("7\t00ff\n")
        start = ["train", self.recipe, f"data={self.folder}", "-o", self.folder / "bad"]
        self.refused(1, f"{self.folder}/valid.tsv, line 33: 4 hex digits; expected 16, for 8 x 8 pixels", *start)
        self.refused(1, f'{self.recipe}: "patch_size": expected 1, 2 or 3: a patch is one of 2^(patch_size²) symbols, found 4', *start, "model.patch_size=4")
        self.write(self.TASK, {"model_type": "vision_transformer", "patch_size": 2, "hidden_size": 16, "num_hidden_layers": 1,
                               "num_attention_heads": 2, "intermediate_size": 32})
        self.refused(1, f'{self.recipe}: "task.kind" "image-generation" trains a model that draws; expected "image_transformer", found '
                     '"vision_transformer"', *start)

    def test_unknown_classes_and_models_that_do_not_draw_are_refused(self):
        self.write(self.TASK, self.MODEL, steps=12)
        best = self.trained() / "best"
        self.refused(1, f'{best}: the model has no class "cat"; expected one of: 3, 7', "run", "draw", best, "cat")
        refused = run("run", "draw", ROOT / "models/digits", "3")
        self.assertEqual((refused.code, refused.out), (1, ""))
        self.assertIn('a model of type "convolutional_attention", which reads a picture, does not draw', refused.errors)
        missing = self.folder / "missing/digit.png"
        done = run("run", "draw", best, "3", "-o", missing)
        self.assertEqual(done.code, 1)
        self.assertIn(str(missing), done.errors)
