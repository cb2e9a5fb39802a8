"""Reinforcement learning from the command line: a policy learns a corridor, plays it, and is explained; without memory it guesses."""

import json
import subprocess
import time

from support import BINARY, ROOT, Case, run


class Policy(Case):
    def setUp(self):
        super().setUp()
        self.recipe = self.folder / "small.json"
        self.write()

    def write(self, model=None, vocabulary=64, **task):
        recipe = {
            "task": {"kind": "reinforcement-learning", "environment": "corridor", "measured_episodes": 100} | task,
            "tokenizer": {"wordpiece": vocabulary},
            "model": {"model_type": "memory_policy", "vocab_size": 64, "word_size": 8, "hidden_size": 32, "num_hidden_layers": 1,
                      "num_attention_heads": 8, "memory_size": 64} | (model or {}),
            "batch": 32, "steps": 150, "optimiser": {"kind": "adam", "clip": 1}, "schedule": {"kind": "constant", "learning_rate": 0.003},
            "report": 50, "validate": 50, "checkpoint": 50,
        }
        self.recipe.write_text(json.dumps(recipe), encoding="utf-8")

    def train(self, out, *settings):
        return run("train", self.recipe, *settings, "-o", self.folder / out, "--json")

    def test_a_policy_with_memory_learns_plays_and_is_explained(self):
        done = self.train("run")
        self.assertEqual(done.code, 0, done.errors)
        self.assertIn(f"done: clearhead run play {self.folder}/run/best --seed 1", done.errors)
        best = self.folder / "run/best"
        tested = self.ok("train", self.recipe, "--test", best, "--json").json
        self.assertGreater(tested["success"], 0.95)
        self.assertGreater(tested["attention_to_cue"], 0.4)
        self.assertEqual(tested["counted"], 100)
        played = self.ok("run", "play", best, "--seed", "3", "--json").json
        self.assertTrue(played["success"])
        self.assertNotIn("attends_to", played["steps"][0])
        self.assertLess(played["steps"][-1]["attends_to"], len(played["steps"]))
        self.assertRegex(played["steps"][0]["observation"], "^sign (left|right)$")
        self.assertIn(played["steps"][-1]["action"], played["steps"][0]["observation"])
        shown = self.ok("run", "play", best, "--seed", "3").out
        self.assertRegex(shown, r"(?s)^step 1: sign .*@.*attends most to step \d+ \([\d.]+ %: .*\nsuccess after \d+ steps\n$")
        observations = self.ok("run", "play", best, "--seed", "3", "--observations").out
        self.assertEqual(observations.splitlines(), [step["observation"] for step in played["steps"]])
        episode = self.folder / "episode.txt"
        episode.write_text(observations, encoding="utf-8")
        classes = self.ok("run", "classify", best, "--file", episode, "--json").json["classes"]
        self.assertEqual(classes[0]["label"], played["steps"][-1]["action"])
        why = self.ok("why", best, "--file", episode).out
        self.assertRegex(why, r"sign (left|right)\n")
        self.assertRegex(why, r'without ".*": [\d.]+ % if it is unseen, [\d.]+ % if it is masked')
        self.ok("view", best, "--file", episode, "--html", self.folder / "page.html")
        self.assertGreater((self.folder / "page.html").stat().st_size, 10000)

    def test_a_run_resumes_with_the_same_bits(self):
        self.assertEqual(self.train("whole", "steps=20", "validate=20", "checkpoint=10").code, 0)
        half = subprocess.Popen([BINARY, "train", self.recipe, "steps=20", "validate=20", "checkpoint=1", "-o", self.folder / "half"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while half.poll() is None and not (self.folder / "half/checkpoint.safetensors").exists():
            time.sleep(0.01)
        half.kill()
        half.wait()
        again = run("train", "--resume", self.folder / "half", "--json")
        self.assertEqual(again.code, 0, again.errors)
        one, other = ((self.folder / name / "best/model.safetensors").read_bytes() for name in ("whole", "half"))
        self.assertEqual(one, other)

    def test_a_policy_without_memory_turns_at_random(self):
        self.write(model={"memory_size": 1})
        self.assertEqual(self.train("run").code, 0)
        tested = self.ok("train", self.recipe, "--test", self.folder / "run/best", "--json").json
        self.assertLess(tested["success"], 0.7)
        self.assertEqual(tested["attention_to_cue"], 0)

    def test_wrong_settings_are_named(self):
        self.write(environment="chess")
        self.assertIn('"task.environment": expected corridor or key-door, found "chess"', self.train("a").errors)
        self.write(vocabulary=40)
        self.assertRegex(self.train("b").errors, r'"tokenizer": the word "\w+" of the environment "corridor" has \d+ tokens; expected one')
        self.write(model={"memory_size": 0})
        self.assertIn('"memory_size": expected a whole number from 1 to', self.train("c").errors)
        self.write(model={"num_attention_heads": 5})
        self.assertIn('"num_attention_heads": expected a divisor of 32, the hidden size', self.train("d").errors)
        self.write(model={"num_attention_heads": 32, "rotary": True})
        self.assertIn('"rotary": expected false, or an even hidden_size / num_attention_heads, which is 1', self.train("e").errors)

    def test_only_policies_play(self):
        done = run("run", "play", ROOT / "models/digits")
        self.assertEqual(done.code, 1)
        self.assertIn('does not play episodes; expected a policy with an "environment" in its config.json', done.errors)
