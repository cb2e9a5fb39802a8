"""`clearhead view … --site FOLDER`: the page and its data as files for a web server."""

import re

from support import Case


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
