"""Questions about stories from the command line: a memory network learns synthetic stories and is measured; errors in a file are named."""

import json
import random

from support import Case, run

PEOPLE, ROOMS = ("Ann", "Ben", "Cid"), ("kitchen", "garden", "hall", "attic")


class Stories(Case):
    def setUp(self):
        super().setUp()
        self.random = random.Random(5)
        self.recipe = self.folder / "small.json"
        for part, count in (("train", 150), ("valid", 30), ("test", 30)):
            (self.folder / f"t1_{part}.txt").write_text("".join(self.story(self.where) for _ in range(count)), encoding="utf-8")
            (self.folder / f"t2_{part}.txt").write_text("".join(self.story(self.whether) for _ in range(count)), encoding="utf-8")
        self.write()

    def story(self, question):
        lines, places = [], {}
        for number in (1, 2, 3, 4, 6, 7):
            person, room = self.random.choice(PEOPLE), self.random.choice(ROOMS)
            places[person] = (room, number)
            lines.append(f"{number} {person} went to the {room}.\n")
            if number in (4, 7):
                lines.append(f"{number + 1} {question(places)}\n")
        return "".join(lines)

    def where(self, places):
        person = self.random.choice(sorted(places))
        return f"Where is {person}? \t{places[person][0]}\t{places[person][1]}"

    def whether(self, places):
        person = self.random.choice(sorted(places))
        room = self.random.choice((places[person][0], self.random.choice(ROOMS)))
        return f"Is {person} in the {room}?\t{'yes' if room == places[person][0] else 'no'}\t{places[person][1]}"

    def write(self, model=None, **task):
        files = {part: f"t{{1..2}}_{part}.txt" for part in ("train", "valid", "test")}
        recipe = {
            "task": {"kind": "babi"} | files | task, "data_source": "The stories are made by the test.", "tokenizer": {"wordpiece": 100},
            "model": {"model_type": "memory_network", "vocab_size": 100, "hidden_size": 20, "hops": 2, "memory_size": 10, "noise": 0.1} | (model or {}),
            "batch": 32, "steps": 600, "optimiser": {"kind": "adam", "clip": 1}, "schedule": {"kind": "linear", "learning_rate": 0.01},
            "report": 100, "validate": 100, "checkpoint": 100,
        }
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")

    def train(self, out, *settings):
        return run("train", self.recipe, f"data={self.folder}", *settings, "-o", self.folder / out, "--json")

    def measure(self, out, *options):
        return run("train", self.recipe, f"data={self.folder}", "--test", self.folder / out / "best", *options)

    def test_answers_and_their_support_are_learned_from_two_files(self):
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        self.assertIn(f"done: clearhead run classify {self.folder}/run/best", done.errors)
        tested = self.measure("run", "--json").json
        self.assertGreater(tested["details"]["t1"], 0.95)
        self.assertGreater(tested["details"]["t2"], 0.55)  # "whether" needs a comparison, which a memory network learns slowly
        self.assertGreater(tested["supporting_facts"], 0.8)
        self.assertEqual(tested["counted"], 120)
        self.assertEqual(list(tested["details"]), ["t1", "t2"])
        self.assertAlmostEqual(sum(tested["details"].values()) / 2, tested["mean_accuracy"], places=9)
        self.assertEqual(tested["solved"], sum(value >= 0.95 for value in tested["details"].values()) / 2)
        self.assertRegex(self.measure("run").out, r"mean_accuracy [\d.]+ %  solved .*\(120 texts\)\n +[\d.]+ %  t1\n +[\d.]+ %  t2\n")

    def test_answers_absent_from_the_training_data_count_as_wrong_and_are_named(self):
        with (self.folder / "t2_test.txt").open("a", encoding="utf-8") as file:
            file.write("1 Ann went to the hall.\n2 Is Ann in the hall?\tperhaps\t1\n")
        self.assertEqual(self.train("run", "steps=20").code, 0)
        tested = self.measure("run", "--json").json
        self.assertEqual(tested["counted"], 120)
        self.assertIn(f'{self.folder}/t2_test.txt, line 242: the training data does not contain the answer "perhaps"', tested["details"])
        self.assertLessEqual(tested["details"]["t2"], 60 / 61)

    def test_invalid_files_and_settings_are_named(self):
        (self.folder / "t2_valid.txt").write_text("1 Ann went to the hall.\n2 Where?\tattic\t7\n", encoding="utf-8")
        done = self.train("run")
        self.assertEqual(done.code, 1)
        self.assertIn("t2_valid.txt, line 2, column 16: expected the numbers of statements above that support the answer", done.errors)
        self.write(kind="classification", text=1, label=2)
        self.assertRegex(self.train("other").errors, 'a model of type "memory_network" reads a story; "task.kind" "classification" is for '
                                                     'models that read a text, document, .*spectrogram.*[.] Expected "task.kind" "babi"')
        self.write(model={"hops": 0})
        self.assertIn('"hops": expected a whole number from 1 to 100', self.train("hops").errors)
