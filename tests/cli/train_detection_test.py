"""A detector, from the command line: trained on scenes of tiny shapes and on tables of boxes, measured, run and inspected."""

import json
import random

from support import ROOT, run
from train_network_test import NetworkCase
from train_picture_test import png

SIDE = 8
SHAPES = {"frame": lambda x, y: x in (1, 6) or y in (1, 6), "cross": lambda x, y: x in (3, 4) or y in (3, 4)}


def pixels(label):
    """A shape whose ink has its edges one pixel inside the picture."""
    return [[int(1 <= x <= 6 and 1 <= y <= 6 and SHAPES[label](x, y)) for x in range(SIDE)] for y in range(SIDE)]


def figures(label):
    bits = "".join(str(bit) for row in pixels(label) for bit in row)
    return "".join(f"{int(bits[at:at + 4], 2):x}" for at in range(0, len(bits), 4))


class Detection(NetworkCase):
    TASK = {"kind": "object-detection", "train": "train.tsv", "valid": "valid.tsv", "test": "test.tsv"}
    SCENES = {"pictures": {"form": "bits", "column": 2}, "size": SIDE, "fewest": 1, "most": 2, "overlap": 0, "train": 128, "valid": 16,
              "test": 32}
    MODEL = {"model_type": "detection_transformer", "num_channels": 1, "image_size": [16, 24], "patch_size": 4, "num_queries": 6,
             "hidden_size": 16, "num_attention_heads": 2, "encoder_layers": 1, "num_hidden_layers": 2, "intermediate_size": 32}

    def setUp(self):
        super().setUp()
        self.recipe = self.folder / "small.json"
        self.random = random.Random(3)

    def write(self, task, **more):
        self.recipe.write_text(json.dumps({
            "task": self.TASK | task, "model": self.MODEL, "batch": 16, "steps": 24, "report": 12, "validate": 12, "checkpoint": 12,
            "schedule": {"learning_rate": 0.005}, "optimiser": {"clip": 5}} | more), encoding="utf-8")

    def write_scenes(self, **more):
        for part in ("train", "valid", "test"):
            (self.folder / f"{part}.tsv").write_text("".join(f"{label}\t{figures(label)}\n" for label in SHAPES), encoding="utf-8")
        self.write({"label": 1, "scenes": self.SCENES}, **more)

    def scene(self, *placed):
        """A picture file with shapes at (label, left, top)."""
        picture = [[0] * 24 for _ in range(16)]
        for label, left, top in placed:
            for y, row in enumerate(pixels(label)):
                for x, bit in enumerate(row):
                    picture[top + y][left + x] = max(picture[top + y][left + x], 255 * bit)
        return png(picture)

    def write_boxes(self, names="file\tlabel\tx\ty\twidth\theight", **more):
        for part, count in (("train", 24), ("valid", 6), ("test", 6)):
            lines = [names]
            for at in range(count):
                name = f"{part}{at}.png"
                placed = [(self.random.choice(list(SHAPES)), 12 * side + self.random.randint(0, 4), self.random.randint(0, 8)) for side in (0, 1)]
                placed = placed[:at % 3]
                (self.folder / name).write_bytes(self.scene(*placed))
                lines += [f"{name}\t{label}\t{left + 1}\t{top + 1}\t6\t6" for label, left, top in placed] or [f"{name}\t\t\t\t\t"]
            (self.folder / f"{part}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.write({}, **more)

    def start(self, *settings):
        return ["train", self.recipe, f"data={self.folder}", *settings, "-o", self.folder / "bad"]

    def test_scenes_are_learned_measured_and_searched(self):
        self.write_scenes(steps=400, validate=200, checkpoint=200, schedule={"kind": "cosine", "learning_rate": 0.005, "warmup": 20})
        best = self.trained() / "best"
        measured = self.done("train", self.recipe, f"data={self.folder}", "--test", best, "--json").json
        self.assertEqual(measured["counted"], 32)
        self.assertGreater(measured["map_50"], 0.8)
        self.assertGreaterEqual(measured["map_50"], measured["map_75"])
        picture, svg, trace = self.folder / "scene.png", self.folder / "scene.svg", self.folder / "scene.trace"
        picture.write_bytes(self.scene(("frame", 1, 2), ("cross", 14, 6)))
        found = self.done("run", "detect", best, picture, "--json", "--svg", svg).json["objects"]
        self.assertEqual(sorted(one["label"] for one in found), ["cross", "frame"])
        for one, (x, y) in zip(sorted(found, key=lambda one: one["x"]), ((2, 3), (15, 7))):
            for name, expected in (("x", x), ("y", y), ("width", 6), ("height", 6)):
                self.assertAlmostEqual(one[name], expected, delta=2)
        self.assertIn("data:image/png;base64,", svg.read_text(encoding="utf-8"))
        self.assertEqual(svg.read_text(encoding="utf-8").count("<text"), 2)
        shown = self.done("run", best, picture).out.splitlines()
        self.assertRegex(shown[0], r"^label +probability +x +y +width +height  query$")
        self.assertRegex(shown[1], r"^(cross|frame) +[01]\.\d{3}( +\d+\.\d){4} +\d$")
        self.assertEqual(self.done("run", best, picture, "--threshold", "1").out.count("\n"), 1)

        self.done("trace", best, picture, "-o", trace)
        first = found[0]  # 24 patches, then the queries
        shown = self.done("show", trace, "--family", "cross", "--head", "L1.H1", "--query", str(23 + first["query"])).out
        self.assertRegex(shown, rf"⟨query {first['query']}: {first['label']}⟩ attends to\n[^⟨]*⟨patch \d,\d⟩ of 4×6")
        why = self.done("why", best, picture, "--target", "cross", "--method", "relevance,occlusion,attention").out
        self.assertRegex(why, r'object "cross" of query \d')
        self.assertRegex(why, r"patch \d,\d")
        self.assertRegex(self.done("judge", best, picture, "--method", "occlusion,attention").out, r"occlusion")
        changed = self.done("run", "detect", best, picture, "--json", "--ablate", "L1.H1", "--threshold", "0").json["objects"]
        self.assertNotEqual([one["probability"] for one in changed][:2], [one["probability"] for one in found][:2])

    def test_a_table_of_boxes_is_learned_and_boxes_are_in_pixels_of_the_file(self):
        self.write_boxes(steps=24)
        done = self.done("train", self.recipe, f"data={self.folder}", "-o", self.folder / "run")
        self.assertIn("training: 24 pictures of train.tsv", done.errors)
        self.assertIn("24 objects", done.errors)
        self.assertEqual(self.done("train", self.recipe, f"data={self.folder}", "--test", self.folder / "run/best", "--json").json["counted"], 6)

    def test_a_run_that_was_killed_goes_on_with_the_same_bits(self):
        self.write_scenes()
        self.goes_on()

    def test_bad_tables_are_named_by_file_line_and_column(self):
        self.write_boxes()
        good = (self.folder / "valid.tsv").read_text(encoding="utf-8")
        line = good.count("\n") + 1
        where = f"{self.folder}/valid.tsv, line {line}"
        for cells, says in ((("valid1.png", "frame", "1", "x", "6", "6"), f'{where}, column "y": expected a number of pixels, found "x"'),
                            (("valid1.png", "frame", "1", "2", "0", "6"), f'{where}, column "width": expected a side above 0, found 0'),
                            (("valid1.png", "frame", "20", "2", "6", "6"),
                             f'{where}, column "x": the box reaches from 20 to 26, outside the picture, which has 24 pixels'),
                            (("valid1.png", "", "1", "2", "6", "6"), f'{where}, column "label": the label is empty; only a row without a box may have no label'),
                            (("", "frame", "1", "2", "6", "6"), f'{where}, column "file": expected the path of a picture'),
                            (("valid1.png", "frame"), f"{where}: expected 6 columns separated by tabs, found 2")):
            with self.subTest(says):
                (self.folder / "valid.tsv").write_text(good + "\t".join(cells) + "\n", encoding="utf-8")
                self.refused(1, says, *self.start())
        for cells, says in ((("none.png", "frame", "1", "2", "6", "6"), f'{where}, column "file": '),
                            (("valid1.png", "hen", "1", "2", "6", "6"), f'{where}, column "label": ')):
            (self.folder / "valid.tsv").write_text(good + "\t".join(cells) + "\n", encoding="utf-8")
            failed = run(*self.start())
            self.assertEqual((failed.code, failed.out), (1, ""))
            self.assertIn(says, failed.errors)
        self.write_boxes(names="file\tlabel\tx\ty\twide\theight")
        failed = run(*self.start())
        self.assertIn('"width"', failed.errors)
        self.write_boxes(names="file\tlabel\tx\ty\twide\theight")
        self.write({"boxes": {"width": "wide"}})
        self.done(*self.start())

    def test_settings_that_do_not_fit_are_refused(self):
        self.write_scenes()
        self.refused(1, f'{self.recipe}: "task.scenes": "fewest" is 3, but "most" is 2', *self.start("task.scenes.fewest=3"))
        failed = run(*self.start("task.scenes.most=9", "task.scenes.fewest=9", "task.scenes.overlap=1"))
        self.assertIn('the picture has 9 objects, but the model has 6 queries ("num_queries")', failed.errors)
        failed = run(*self.start("task.scenes.size=32"))
        self.assertIn("objects that fit into scenes of 16 x 24 pixels", failed.errors)
        self.write_scenes()
        self.MODEL = {"model_type": "vision_transformer", "num_channels": 1, "image_size": 16, "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 1,
                      "num_attention_heads": 2, "intermediate_size": 32}
        self.write({"label": 1, "scenes": self.SCENES})
        failed = run(*self.start())
        self.assertIn('trains models whose outputs are of the kind "boxes", but those of this "vision_transformer" are logits', failed.errors)

    def test_models_that_find_no_objects_are_refused(self):
        refused = run("run", "detect", ROOT / "models/digits", ROOT / "models/digits/example.png")
        self.assertEqual((refused.code, refused.out), (1, ""))
        self.assertIn('the model finds no objects in pictures; expected one that was trained with the task "object-detection"', refused.errors)
