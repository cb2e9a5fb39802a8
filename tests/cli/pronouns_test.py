"""models/pronouns: the noun that "it" refers to, on sentences that the test writes itself, and that its recipe trains without files."""

from support import ROOT, Case, run

MODEL = ROOT / "models/pronouns"
# (animal, verb, thing, an adjective of the animal, one of the thing)
SENTENCES = [
    ("animal", "cross", "street", "tired", "wide"), ("wolf", "climb", "fence", "ill", "high"), ("duck", "eat", "bread", "sleepy", "rotten"),
    ("monkey", "lift", "stone", "weak", "heavy"), ("tiger", "enter", "cave", "nervous", "narrow"), ("goat", "push", "barrel", "exhausted", "bulky"),
]  # fmt: skip


class Pronouns(Case):
    def referent(self, sentence):
        return [one["type"] for one in run("run", "tag", MODEL, sentence, "--json").json if one["text"] == "it"]

    def test_the_adjective_decides(self):
        for animal, verb, thing, of_animal, of_thing in SENTENCES:
            for adjective, noun in ((of_animal, animal), (of_thing, thing)):
                self.assertEqual(self.referent(f"The {animal} couldn't {verb} the {thing} because it was too {adjective}."), [noun])
                self.assertEqual(self.referent(f"Because it was so {adjective}, the {animal} did not {verb} the {thing}."), [noun])

    def test_one_head_goes_from_it_to_the_noun(self):
        for adjective, noun in (("tired", 1), ("wide", 6)):  # the tokens " animal" and " street"
            text = f"The animal didn't cross the street because it was too {adjective}."
            row = run("show", MODEL, text, "--head", "L1.H0", "--query", "8", "--top", "1", "--json").json
            self.assertEqual(row["keys"][0]["key"], noun)
            self.assertGreater(row["keys"][0]["weight"], 0.6)

    def test_its_recipe_needs_no_files(self):
        folder = self.folder / "run"
        done = run("train", ROOT / "recipes/pronouns.json", "-o", folder, "task.examples=200", "steps=10", "schedule.warmup=2")
        self.assertEqual(done.code, 0, done.errors)
        self.assertIn("validation: 20 sentences", done.errors)
        self.assertIn(f"done: clearhead run tag {folder}/best \"The animal didn't cross the street because it was too tired.\"", done.errors)
        measured = run("train", ROOT / "recipes/pronouns.json", "--test", MODEL, "--json").json
        self.assertEqual((measured["accuracy"], measured["counted"]), (1, 2000))
        message = f"{ROOT}/recipes/pronouns.json: \"task.examples\": expected an integer from 1 to 16,777,216, found 0"
        self.refused(1, message, "train", ROOT / "recipes/pronouns.json", "-o", self.folder / "none", "task.examples=0")
