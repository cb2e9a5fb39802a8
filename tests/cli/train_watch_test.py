"""A run that is watched leaves traces of the same texts on its way."""

import struct

from train_events_test import events, message
from train_test import TrainingCase

TEXTS = ["line 12: 144 abcabc", "line 33: 1089 ab\nline 34: 1156"]


class Watch(TrainingCase):
    def names(self, out):
        return sorted(path.name for path in (self.folder / out / "watch").iterdir())

    def test_early_steps_are_close_together_and_the_last_is_the_last(self):
        self.write(steps=45, watch={"texts": TEXTS, "checkpoints": 4})
        self.assertEqual(self.train("run").code, 0)
        self.assertEqual(self.names("run"), [f"step-{step:06}.trace" for step in (0, 5, 20, 45)])
        images = {tag: list(steps) for tag, steps in events(self.folder / "run").items() if tag.startswith("attention/")}
        self.assertEqual(images, {f"attention/dec/{layer}": [0, 5, 20, 45] for layer in (0, 1)})
        image = message(events(self.folder / "run")["attention/dec/1"][45][4][0])  # two heads, 49 bytes each, two pixels a cell, a gap
        self.assertEqual((image[1], image[2], image[3]), ([98], [198], [3]))
        self.assertEqual(image[4][0][:8] + image[4][0][16:24], b"\x89PNG\r\n\x1a\n" + struct.pack(">II", 198, 98))

    def test_a_trace_is_the_model_on_each_text_alone(self):
        self.write(steps=20, held_out=0, watch={"texts": TEXTS, "checkpoints": 2})
        self.assertEqual(self.train("run").code, 0)
        begin = 0
        for text in TEXTS:
            for query in (3, len(text) - 1):  # a byte is a token
                alone = self.ok("show", self.folder / "run/best", text, "--head", "L1.H1", "--query", query, "--json").json
                beside = self.ok("show", self.folder / "run/watch/step-000020.trace", "--head", "L1.H1", "--query", begin + query, "--json").json
                self.assertEqual([key["key"] for key in beside["keys"]], [key["key"] + begin for key in alone["keys"]])
                for ours, theirs in zip(beside["keys"], alone["keys"]):
                    self.assertAlmostEqual(ours["weight"], theirs["weight"], delta=1e-5)
            begin += len(text)

    def test_a_text_can_be_named_on_the_command_line(self):
        done = self.train("run", "steps=3", "--watch", TEXTS[0], "--watch", "a [1, 2] \"b\"")
        self.assertEqual(done.code, 0, done.errors)
        self.assertEqual(self.names("run"), [f"step-{step:06}.trace" for step in range(4)])
        segments = self.ok("info", self.folder / "run/watch/step-000003.trace", "--json").json
        self.assertEqual(segments["tokens"], len(TEXTS[0]) + 12)

    def test_the_viewer_and_a_page_take_the_folder(self):
        self.write(steps=3, watch={"texts": TEXTS})
        self.assertEqual(self.train("run").code, 0)
        folder = self.folder / "run/watch"
        self.ok("view", folder, "--html", self.folder / "page.html")
        manifests = self.manifests(self.folder / "page.html")
        self.assertEqual([one["info"]["step"] for one in manifests], [0, 1, 2, 3])
        self.assertEqual([step["step"] for step in manifests[0]["info"]["checkpoints"]], [0, 1, 2, 3])
        self.refused(2, "a trace already has its text; give a model to read another one", "view", folder, "text")
        self.refused(2, "--segments names parts of one text; here are several traces", "view", folder, "--segments", self.recipe)
        self.assertEqual(self.ok("view", folder / "step-000003.trace", "--html", self.folder / "page.html").code, 0)

    def test_what_is_wrong_is_said_with_the_way_out(self):
        where = self.recipe
        for watch, message_of in (
            ({"texts": ["a", ""]}, '"watch.texts": text 2 is empty'),
            ({"texts": ["x" * 65]}, '"watch.texts": text 1 has 65 tokens, the model\'s positions end at 64'),
            ({"texts": ["x" * 60] * 9}, '"watch.texts" have 540 tokens; expected at most 512'),
            ({"texts": ["a"], "checkpoints": 41}, '"watch.checkpoints": expected at most 40, found 41'),
            ({"checkpoints": 4}, 'field "watch.texts" is missing'),
        ):
            self.write(watch=watch)
            self.refused(1, f"{where}: {message_of}", "train", where, f"data={self.folder}", "-o", self.folder / "other")
        self.assertFalse((self.folder / "other").exists())
        self.write(steps=3)
        self.assertEqual(self.train("run").code, 0)
        self.refused(2, "--resume goes on with the run's own recipe; settings belong to a new run", "train", "--resume", self.folder / "run", "--watch", "a")
