"""`clearhead view … --site FOLDER`: the page and its data as files for a web server."""

import re
import shutil
import zlib
from pathlib import Path

from support import ROOT, Case, run


class Site(Case):
    def test_is_a_page_and_one_file_for_each_part_of_its_data(self):
        model, site = self.causal, self.folder / "site"
        told = self.ok("view", model, "abcabc", "--site", site)
        self.assertRegex(told.out, rf"^{re.escape(str(site))}: .*contains text, atlas, stats, exact")
        self.assertIn("python3 -m http.server --directory", told.out)
        manifest = self.manifests(site / "index.html")[0]
        self.assertEqual((manifest["folder"], manifest["command"]), ("data", f"clearhead view {model} abcabc --site {site}"))
        files = {f"{number}.deflate" for number in manifest["blobs"].values()}
        self.assertEqual({path.name for path in (site / "data").iterdir()}, files)

        self.refused(1, f"{site}: exists already; expected the name of a new folder, or an empty folder", "view", model, "abcabc", "--site", site)
        self.refused(2, "--html excludes --site (clearhead view --help says more)", "view", model, "abcabc", "--site", site, "--html", self.folder / "page.html")

    def test_holds_the_model_if_asked(self):
        model, site, kept = self.causal, self.folder / "site", self.folder / "kept.trace"
        told = self.ok("view", model, "abcabc", "--site", site, "--with-model")
        self.assertRegex(told.out, r"contains text, .*, models\)")
        computes = self.manifests(site / "index.html")[0]["computes"]
        self.assertEqual((computes["open"]["model"], computes["open"]["precision"]), (str(model), "f32"))
        contained = {file["path"]: zlib.decompress((site / "data" / f"{file['blob']}.deflate").read_bytes()) for file in computes["files"]}
        for name in ("config.json", "model.safetensors"):
            self.assertEqual(contained[f"{model}/{name}"], (Path(model) / name).read_bytes())
        self.assertTrue(zlib.decompress((site / "data" / f"{computes['wasm']}.deflate").read_bytes()).startswith(b"\0asm"))

        self.ok("trace", model, "abcabc", "-o", kept)
        says = "export: a page with a model needs a model and a text, but a trace contains no model; leave the model out."
        self.refused(1, says, "view", kept, "--html", self.folder / "page.html", "--with-model")
        for says, *given in (
            ["and only models that read a text can run in a page; leave the model out.", ROOT / "models/digits", ROOT / "models/digits/example.png"],
            ["the budget is 1.0 MiB", model, "abcabc", "--page-size", "1MiB"],
        ):
            done = run("view", *given, "--html", self.folder / "page.html", "--with-model")
            self.assertEqual(done.code, 1)
            self.assertIn(says, done.errors)
            self.assertFalse((self.folder / "page.html").exists())

    def test_holds_only_the_files_that_loading_reads_under_names_from_the_root(self):
        below = self.folder / "below"
        shutil.copytree(self.causal, self.folder / "copied")
        below.mkdir()
        for name in ("notes.txt", "optimizer.safetensors", "trainer_state.json"):
            (self.folder / "copied" / name).write_text("private")
        (self.folder / "copied/1_Pooling").mkdir()
        (self.folder / "copied/1_Pooling/config.json").write_text("{}")
        done = run("view", "../copied", "abcabc", "--site", "site", "--with-model", folder=below)
        self.assertEqual(done.code, 0, done.errors)
        paths = {file["path"] for file in self.manifests(below / "site/index.html")[0]["computes"]["files"]}
        self.assertEqual(paths, {"/opened.trace", "/copied/config.json", "/copied/model.safetensors", "/copied/tokenizer.json", "/copied/1_Pooling/config.json"})
