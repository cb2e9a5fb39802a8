"""train --list: every recipe has a line in recipes/table.tsv, the README shows the same lines, and docs/models.md the same results."""

import re

from support import ROOT, Case

RECIPES = ROOT / "recipes"


class TrainList(Case):
    def test_every_recipe_is_listed_as_the_readme_has_it(self):
        listed = self.ok("train", "--list", RECIPES, "--json").json
        self.assertEqual(sorted(row["recipe"] for row in listed), sorted(path.name for path in RECIPES.glob("*.json")))
        shown, field = [], ""
        for heading, name, model, cells in re.findall(
            r"^### (.*)$|^\| `([^`]+)`(?: → \[([^]]+)\]\(../models/README.md\))? \| (.*) \|$",
            (RECIPES / "README.md").read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        ):
            field = heading.lower() or field
            if name:
                shown.append(dict(zip(listed[0], [field, name, *cells.replace("**", "").split(" | "), model or "—"])))
        self.assertEqual(shown, listed)
        models = sorted(row["ships"] for row in listed if row["ships"] != "—")
        self.assertEqual(models, sorted(f"models/{path.name}" for path in (ROOT / "models").iterdir() if path.is_dir()))
        self.assertEqual(len({row["field"] for row in listed}), sum(a["field"] != b["field"] for a, b in zip(listed, listed[1:])) + 1)
        lines = [line for line in self.ok("train", "--list", folder=ROOT).out.splitlines() if line.startswith("  ")]
        self.assertEqual([line.split()[0] for line in lines], ["recipe", *(row["recipe"] for row in listed)])

    def test_the_table_of_models_links_every_file_and_repeats_the_results(self):
        results = " ".join(row["reached"] for row in self.ok("train", "--list", RECIPES, "--json").json)
        sources = [path for room in ("models/families", "models/networks", "tasks") for path in (ROOT / "src" / room).glob("*.cc")]
        for page in (ROOT / "docs/models.md", ROOT / "docs/zh/models.md"):
            text = page.read_text(encoding="utf-8")
            linked = {(page.parent / link).resolve() for link in re.findall(r"\]\(([^)#]+)\)", text)}
            self.assertEqual([path.name for path in sources if path not in linked], [])
            shown = re.findall(r"\| ([\d.]+)[^|]* \| `clearhead [^|]* \|$", text, flags=re.MULTILINE)
            self.assertGreater(len(shown), 20)
            self.assertEqual([number for number in shown if not re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.])", results)], [])

    def test_a_folder_without_a_table_and_a_broken_table_are_named(self):
        path = self.folder / "table.tsv"
        message = f"{path}: there is no such file; give the folder of recipes (recipes in clearhead's source), as in train --list FOLDER"
        self.refused(1, message, "train", "--list", self.folder)
        path.write_text("field\trecipe\ttrains\treached\tfloor\treference\ttime\tships\nvision\ta.json\n", encoding="utf-8")
        self.refused(1, f"{path}, line 2: expected 8 tab-separated cells, found 2", "train", "--list", self.folder)
