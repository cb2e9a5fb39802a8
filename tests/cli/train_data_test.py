"""The data of a run from the command line: its summary, and how it is found again."""

import shutil

from support import run
from train_test import TrainingCase


class DataOfARun(TrainingCase):
    def test_training_begins_with_a_summary(self):
        done = self.train("run", "steps=2")
        self.assertEqual(done.code, 0, done.errors)
        self.assertRegex(done.errors, r"\ntraining: [\d,]+ tokens of text\.txt\n  [\d,]+ bytes; [\d,]+ windows of 32 tokens\nvalidation: [\d,]+ tokens")

    def test_a_run_is_resumed_from_another_directory(self):
        self.assertEqual(run("train", self.recipe.name, "-o", "runs/a", "steps=20", folder=self.folder).code, 0)
        done = run("train", "--resume", self.folder / "runs/a", folder="/")
        self.assertEqual((done.code, done.errors.splitlines()[-1][:4]), (0, "done"), done.errors)
        done = run("train", "--resume", "a", folder=self.folder / "runs")
        self.assertEqual(done.code, 0, done.errors)

    def test_a_data_folder_that_was_moved_is_named_by_a_setting(self):
        self.assertEqual(self.train("run", "steps=20").code, 0)
        moved = self.folder / "moved"
        moved.mkdir()
        (self.folder / "text.txt").rename(moved / "text.txt")
        done = run("train", "--resume", self.folder / "run")
        self.assertEqual(done.code, 1)
        self.assertIn("text.txt: there is no such file; give the folder that holds it with data=DIR", done.errors)
        done = run("train", "--resume", self.folder / "run", f"data={moved}")
        self.assertEqual(done.code, 0, done.errors)
        (moved / "text.txt").write_text("another text\n" * 500, encoding="utf-8")
        done = run("train", "--resume", self.folder / "run", f"data={moved}")
        self.assertEqual(done.code, 1)
        self.assertIn(f"the data in {moved} is not what this run was training on", done.errors)
        done = run("train", "--resume", self.folder / "run", "steps=9")
        self.assertEqual(done.code, 2)
        self.assertIn("settings and --watch are for a new run, except data=DIR for a data folder that was moved", done.errors)

    def test_the_data_source_is_printed_only_for_the_recipes_own_files(self):
        (self.folder / "text.txt").unlink()
        self.assertIn("there is no such file; give the folder that holds it with data=DIR. The text is made by the test.", self.train("run").errors)
        mine = self.train("run", 'files=["mine.txt"]').errors
        self.assertIn("mine.txt: there is no such file; give the folder that holds it with data=DIR\n", mine)
        self.assertNotIn("made by the test", mine)

    def test_links_in_the_folder_of_a_run_are_refused_and_not_written_through(self):
        self.assertEqual(self.train("other", "steps=2").code, 0)
        before = (self.folder / "other/best/model.safetensors").read_bytes()
        run_folder = self.folder / "run"
        for name, target in (("best", "best"), ("best/model.safetensors", "best/model.safetensors"), ("checkpoint.safetensors", None), ("log.csv", "log.csv"),
                             ("watch", "best"), ("lock", "log.csv")):  # fmt: skip
            with self.subTest(name):
                shutil.rmtree(run_folder, ignore_errors=True)
                (run_folder / name).parent.mkdir(parents=True)
                behind = self.folder / "other" / target if target else self.folder / "nothing"
                (run_folder / name).symlink_to(behind)
                done = self.train("run", "steps=2", "seed=2")
                self.assertEqual(done.code, 1, done.errors)
                self.assertIn("symbolic link", done.errors)
        self.assertEqual((self.folder / "other/best/model.safetensors").read_bytes(), before)
        self.assertFalse((self.folder / "nothing").exists())
