"""Dialogues: the next turn is learned from the turns before it, measured, written and selected; run chat remembers the conversation."""

import json
import random
import re
import shutil
import tempfile
import unittest
from pathlib import Path

from support import SUM, Case, run

NAMES = ("ada", "bob", "cid", "dot", "eve", "fay")
GREETINGS = ("good day", "hello", "nice to see you")
MARIAN = {
    "architectures": ["MarianMTModel"], "model_type": "marian", "vocab_size": 330, "d_model": 64, "max_position_embeddings": 64,
    "encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 64,
    "activation_function": "relu", "scale_embedding": True, "share_encoder_decoder_embeddings": True, "tie_word_embeddings": True,
    "is_encoder_decoder": True, "eos_token_id": 0, "forced_eos_token_id": 0, "pad_token_id": 1, "decoder_start_token_id": 1,
}  # fmt: skip


def write_data(folder):
    """Writes dialogues in which a name is given two turns before it is asked for."""
    chance = random.Random(4)
    for part, count in (("train", 300), ("valid", 30), ("test", 40)):
        lines = []
        for _ in range(count):
            name = chance.choice(NAMES)
            lines.append({"turns": [f"i am {name}", chance.choice(GREETINGS), "who am i", f"you are {name}"], "topic": "names"})
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    recipe = {
        "pairs": {"train": ["train.jsonl"], "valid": "valid.jsonl", "test": "test.jsonl", "turns": "turns", "turns_before": 3},
        "data_source": "The dialogues are made by the test.", "tokenizer": {"bpe": 330}, "model": MARIAN, "generation": {"num_beams": 2, "eos_token_id": 0},
        "max_tokens": 400, "length": 64, "steps": 600, "optimiser": {"beta2": 0.98},
        "schedule": {"kind": "linear", "learning_rate": 0.003, "warmup": 40}, "report": 100, "validate": 100, "checkpoint": 200,
    }  # fmt: skip
    (folder / "names.json").write_text(json.dumps(recipe), encoding="utf-8")


class Dialogues(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = Path(tempfile.mkdtemp(dir=Case.shelf))
        write_data(cls.data)
        cls.trained = {n: cls.train(n) for n in (3, 0)}
        cls.model = cls.data / "run3/best"

    @classmethod
    def train(cls, turns):
        return run("train", cls.data / "names.json", f"data={cls.data}", f"pairs.turns_before={turns}", "-o", cls.data / f"run{turns}")

    def measured(self, turns):
        return run("train", self.data / "names.json", f"data={self.data}", f"pairs.turns_before={turns}", "--test", self.data / f"run{turns}/best", "--json").json

    def chat(self, said, *arguments):
        return run("run", "chat", self.model, *arguments, stdin=said.encode())

    def test_earlier_turns_lower_the_perplexity(self):
        self.assertEqual(self.trained[3].code, 0, self.trained[3].errors)
        self.assertIn(f"clearhead run chat {self.model}\n", self.trained[3].errors)
        with_turns, without = self.measured(3), self.measured(0)
        self.assertLess(with_turns["perplexity"], 0.8 * without["perplexity"])
        self.assertEqual((with_turns["turns"], with_turns["tokens"]), (120, without["tokens"]))
        self.assertGreater(with_turns["chosen"], without["chosen"] + 0.2)

    def test_a_chat_is_the_models_own_task_and_answers_one_turn(self):
        self.assertEqual(run("info", self.model, "--json").json["tasks"], ["translate", "chat"])
        self.assertEqual(run("run", self.model, "i am bob").out, self.chat("i am bob\n").out)

    def test_generation_config_stores_the_number_of_turns(self):
        self.assertEqual(json.loads((self.model / "generation_config.json").read_text(encoding="utf-8")), {"num_beams": 2, "eos_token_id": 0, "turns_before": 3})
        bare = self.folder / "bare"
        shutil.copytree(self.model, bare)
        (bare / "generation_config.json").unlink()
        refused = run("run", "chat", bare, stdin=b"i am bob\n")
        self.assertEqual(refused.code, 1)
        self.assertIn('generation_config.json has no "turns_before"', refused.errors)
        self.assertEqual(run("run", "chat", bare, "--turns", "3", stdin=b"i am bob\n").code, 0)

    def test_a_chat_remembers_turns_until_an_empty_line(self):
        for name in NAMES:
            self.assertEqual(self.chat(f"i am {name}\nwho am i\n").out.splitlines()[-1], f"you are {name}")
        done = self.chat("i am bob\nwho am i\n\nwho am i\n", "--json")
        first, second, third = [json.loads(line) for line in done.out.splitlines()]
        self.assertEqual(first["turns"], ["i am bob"])
        self.assertEqual(second["turns"], ["i am bob", first["text"], "who am i"])
        self.assertEqual(third["turns"], ["who am i"])
        said = self.folder / "said.txt"
        said.write_text("i am bob\nwho am i\n", encoding="utf-8")
        self.assertEqual(run("run", "chat", self.model, "--file", said).out, f"{first['text']}\nyou are bob\n")

    def test_the_next_turn_is_chosen_among_lines(self):
        lines = self.folder / "lines.txt"
        lines.write_text("".join(f"you are {name}\n" for name in NAMES) + "hello\n", encoding="utf-8")
        ratings = {}  # of each line after each name's turns
        for name in NAMES:
            done = self.chat(f"i am {name}\nwho am i\n", "--choose", lines, "--json")
            first, second = [json.loads(line) for line in done.out.splitlines()]
            self.assertEqual(first["text"], "hello")
            self.assertEqual((len(second["candidates"]), second["text"]), (7, second["candidates"][0]["text"]))
            ratings[name] = {candidate["text"]: candidate["rating"] for candidate in second["candidates"]}
            self.assertEqual(max(ratings[name], key=ratings[name].get), second["text"])
        for name in NAMES:  # a turn is rated highest where it belongs
            self.assertEqual(max(NAMES, key=lambda other: ratings[other][f"you are {name}"]), name)
        alone = json.loads(self.chat("who am i\n", "--choose", lines, "--turns", "0", "--json").out)
        for candidate in alone["candidates"]:  # without earlier turns every line has its own unconditional rating
            self.assertAlmostEqual(candidate["rating"], 0, delta=SUM)

    def test_a_trace_has_the_turns_as_segments(self):
        trace = self.folder / "chat.trace"
        self.assertEqual(self.chat("i am eve\nwho am i\n", "--trace", trace).code, 0)
        segments = re.findall(r"segment (turn \d) \(turn\): tokens (\d+):(\d+)", run("info", trace).out)
        self.assertEqual([name for name, _, _ in segments], ["turn 1", "turn 2", "turn 3", "turn 4"])
        for (_, begin, end), (_, after, _) in zip(segments, segments[1:]):
            self.assertLess(int(begin), int(end))
            self.assertLessEqual(int(end), int(after))

    def test_a_dialogue_without_turns_has_no_trace(self):
        trace = self.folder / "none.trace"
        done = self.chat("\n", "--trace", trace)
        self.assertEqual((done.code, done.errors), (0, f"{trace}: no trace was written, because the model generated nothing\n"))
        self.assertFalse(trace.exists())

    def test_broken_dialogues_are_named_by_file_and_line(self):
        for line, problem in (
            ('{"turns": "one"}', '"turns": expected a list of strings, found "one"'),
            ('{"turns": ["a", 1]}', '"turns": expected a list of strings, found 1 in it'),
            ('{"talk": []}', 'expected a field "turns", found "talk"'),
        ):
            (self.folder / "bad.jsonl").write_text('{"turns": ["a", "b"]}\n' + line + "\n", encoding="utf-8")
            done = run("train", self.data / "names.json", f"data={self.folder}", "pairs.train=bad.jsonl", "-o", self.folder / "bad")
            self.assertEqual(done.code, 1)
            self.assertIn(f"bad.jsonl, line 2: {problem}", done.errors)
        for setting, problem in (("pairs.train=a.tsv", "expected files of JSON lines"), ("pairs.turns_before=-1", "pairs.turns_before"), ("pairs.bleu=words", "13a, zh or char")):
            done = run("train", self.data / "names.json", f"data={self.data}", setting, "-o", self.folder / "bad")
            self.assertEqual(done.code, 1)
            self.assertIn(problem, done.errors)

    def test_turns_beyond_the_positions_are_forgotten_and_one_alone_is_refused(self):
        long = " ".join(["hello"] * 25)
        done = self.chat(f"{long}\n{long}\n", "--json")
        self.assertEqual(done.code, 0, done.errors)
        self.assertEqual(json.loads(done.out.splitlines()[1])["turns"][-1], long)
        refused = self.chat("hello\n" + " ".join(["nice"] * 200) + "\n")
        self.assertEqual(refused.code, 1)
        self.assertIn("line 2: a turn has", refused.errors)


if __name__ == "__main__":
    unittest.main()
