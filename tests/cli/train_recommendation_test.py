"""The next item of a user: training on a cyclic chain of items, `run recommend`, `why`, and errors in the data."""

import json
import random

from support import ROOT, run
from train_network_test import NetworkCase

ITEMS = 20
MODEL = {
    "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": ITEMS + 1, "n_embd": 32, "n_layer": 1, "n_head": 2,
    "n_positions": 12, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True,
}


def chain(first, count):
    """The items i0 to i19 in a circle."""
    return [f"i{(first + at) % ITEMS}" for at in range(count)]


class Recommendation(NetworkCase):
    def setUp(self):
        super().setUp()
        made = random.Random(5)
        self.recipe = self.folder / "small.json"
        self.write_users([(f"u{user}", " ".join(chain(made.randrange(ITEMS), made.randint(5, 10)))) for user in range(300)])
        self.write_recipe()

    def write_users(self, users):
        (self.folder / "users.tsv").write_text("".join(f"{user}\t{items}\n" for user, items in users), encoding="utf-8")

    def write_recipe(self, **fields):
        recipe = {
            "task": {"kind": "sequential-recommendation", "file": "users.tsv"}, "data_source": "The users are made by the test.",
            "tokenizer": "words", "model": MODEL, "batch": 32, "length": 12, "steps": 200,
            "schedule": {"kind": "linear", "learning_rate": 0.01, "warmup": 20}, "report": 100, "validate": 100, "checkpoint": 100,
        } | fields
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")

    def train(self, *settings):
        return run("train", self.recipe, f"data={self.folder}", "-o", self.folder / "run", *settings)

    def refused_data(self, message):
        self.refused(1, message, "train", self.recipe, f"data={self.folder}", "-o", self.folder / "run")

    def test_a_trained_model_recommends_the_next_item(self):
        done = self.train()
        self.assertEqual(done.code, 0, done.errors)
        model = self.folder / "run" / "best"
        measured = run("train", self.recipe, f"data={self.folder}", "--test", model, "--json").json
        self.assertGreater(measured["ndcg_at_10"], 0.95)
        self.assertGreater(measured["hit_rate_at_10"], 0.95)
        had = chain(17, 5)
        found = run("run", "recommend", model, " ".join(had), "--top", "30", "--json").json
        self.assertEqual(found[0]["item"], "i2")
        self.assertGreater(found[0]["probability"], 0.5)
        self.assertEqual(sorted(one["item"] for one in found), sorted({f"i{at}" for at in range(ITEMS)} - set(had)))  # nothing the user has
        self.assertRegex(run("run", model, " ".join(had), "--top", "1").out, r"^ +\d+\.\d\d %  i2\n$")  # the default command of the model
        why = run("why", model, " ".join(had), "--method", "occlusion", "--json").json
        self.assertEqual([item["text"] for item in why["items"]], had)
        self.refused(1, 'column 4: the model does not know the item "x9"; expected items of its training data', "run", "recommend", model, "i1 x9")
        self.refused(1, "there are 13 items, and the model reads 12 at most; leave out the oldest", "run", "recommend", model, " ".join(chain(0, 13)))

    def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(self):
        self.goes_on()

    def test_bad_users_are_named_with_their_line(self):
        users = self.folder / "users.tsv"
        good = ("u1", "i0 i1 i2 i3")
        self.write_users([good, ("u2", "i0 i1 i2")])
        self.refused_data(f"{users}, line 2, column 2: 3 items; expected 4 or more with blanks between: two for training, one for validation, one for testing")
        self.write_users([good, ("", "i0 i1 i2 i3")])
        self.refused_data(f"{users}, line 2, column 1: the user is empty; expected a name or number")
        self.write_users([good, good])
        self.refused_data(f'{users}, line 2, column 1: the user "u1" has items in line 1 too; put all items of a user in one line')
        users.write_text("u1 i0 i1 i2 i3\n", encoding="utf-8")
        self.refused_data(f"{users}, line 1: expected 2 columns with tabs between, a user and the user's items; found 1")
        users.write_text("", encoding="utf-8")
        self.refused_data(f"{users}: there are no users; expected a line for each")

    def test_a_tokenizer_that_splits_items_is_refused(self):
        self.write_recipe(tokenizer="bytes", model=MODEL | {"vocab_size": 256})
        done = self.train()
        self.assertEqual(done.code, 1)
        self.assertRegex(done.errors, r"users.tsv, line 1: the tokenizer makes \d+ tokens of \d+ items; expected one for each, as with \"tokenizer\": \"words\"")

    def test_other_models_are_refused(self):
        model = ROOT / "models/book"
        done = run("run", "recommend", model, "abc")
        self.assertEqual((done.code, done.errors.splitlines()[-1]),
                         (1, f'clearhead: {model}: the model does not recommend items; expected one trained for "sequential-recommendation"'))
