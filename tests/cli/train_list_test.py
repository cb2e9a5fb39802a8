"""train --list: every recipe has its line in recipes/table.tsv, and the README shows the same."""

import re

from support import ROOT, Case

RECIPES = ROOT / "recipes"


class TrainList(Case):
    def test_every_recipe_is_listed_as_the_readme_has_it(self):
        listed = self.ok("train", "--list", RECIPES, "--json").json
        self.assertEqual(sorted(row["recipe"] for row in listed), sorted(path.name for path in RECIPES.glob("*.json")))
        table = re.findall(r"^\| `([^`]+)`[^|]* \| (.*) \|$", (RECIPES / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
        shown = [dict(zip(listed[0], [name, *cells.replace("**", "").split(" | ")])) for name, cells in table]
        self.assertEqual(shown, listed)
        lines = self.ok("train", "--list", folder=ROOT).out.splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["recipe", *(row["recipe"] for row in listed)])

    def test_a_folder_without_a_table_and_a_broken_table_are_named(self):
        path = self.folder / "table.tsv"
        message = (
            f"{path}: there is no such file; give the folder of the recipes (of clearhead's source: recipes), as in train --list FOLDER"
        )
        self.refused(1, message, "train", "--list", self.folder)
        path.write_text("recipe\ttrains\treached\tfloor\treference\ttime\na.json\tb\n", encoding="utf-8")
        self.refused(1, f"{path}, line 2: expected 6 cells with tabs between, found 2", "train", "--list", self.folder)
