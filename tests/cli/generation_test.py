"""clearhead run generate and translate with the rules of generation_config.json, and ask about a text whose tokenizer inserts marks."""

import json
import shutil

from support import ROOT, Case, run
from translate_test import write_translator

BOOK = ROOT / "models/book"


class Generation(Case):
    def greedy(self, *options):
        done = run("run", "generate", BOOK, "It was a dark", "--max-tokens", 24, "--greedy", "--json", *options)
        self.assertEqual(done.code, 0, done.errors)
        return done.json["tokens"]

    def test_the_penalty_on_repetitions_holds_for_greedy_decoding(self):
        usual = self.greedy()
        self.assertLess(len(set(self.greedy("--repetition-penalty", "0.5"))), len(set(usual)))
        self.assertNotEqual(self.greedy("--repetition-penalty", "5"), usual)
        self.assertEqual(self.greedy("--repetition-penalty", "1"), usual)

    def test_sampling_follows_generation_config_json(self):
        model = self.folder / "book"
        shutil.copytree(BOOK, model)
        given = ("run", "generate", model, "It was a dark", "--json")

        def tokens(settings, *options):
            (model / "generation_config.json").write_text(json.dumps(settings))
            done = run(*given, *options)
            self.assertEqual(done.code, 0, done.errors)
            return done.json["tokens"]

        few = ("--max-tokens", 24)
        greedy = tokens({}, "--greedy", *few)
        self.assertEqual(tokens({"top_k": 1}, *few), greedy)
        self.assertEqual(tokens({"top_p": 1e-6}, *few), greedy)
        self.assertEqual(tokens({"temperature": 1e-4}, *few), greedy)
        self.assertNotEqual(tokens({"top_k": 1}, "--top-k", 0, *few), greedy)  # options override the file
        self.assertEqual(len(tokens({"max_new_tokens": 7, "top_k": 1})), 7)
        self.assertEqual(len(tokens({})), 64)
        prompt = len(self.ok("tokens", model, "It was a dark", "--json").json["tokens"])
        self.assertEqual(len(tokens({"max_length": 30, "top_k": 1})), 30 - prompt)
        self.assertEqual(len(tokens({"max_length": 200, "top_k": 1})), 200 - prompt)
        self.assertEqual(len(tokens({"max_length": 30, "max_new_tokens": 7, "top_k": 1})), 7)
        self.assertEqual(len(tokens({"max_length": 30, "top_k": 1}, "--max-tokens", 40)), 40)
        self.refused_because_of_max_length(model)
        (model / "generation_config.json").write_text('{"min_p": 0.1}')
        done = run(*given)
        self.assertEqual(done.code, 1)
        self.assertIn(f'{model}/generation_config.json: "min_p": 0.1 is not supported and changes the generated text; remove it to generate without it', done.errors)
        self.assertEqual(tokens({"min_p": 0.1}, "--greedy", *few), greedy)
        (model / "generation_config.json").write_text('{"temperature": 0}')
        done = run(*given)
        self.assertEqual(done.code, 1)
        self.assertIn(f'{model}/generation_config.json: "temperature": expected a number above 0, found 0', done.errors)

    def refused_because_of_max_length(self, model):
        """The prompt of 200 letters leaves no room for new tokens; with --lines this is an error of its line."""
        (model / "generation_config.json").write_text('{"max_length": 30}')
        long, says = "a b " * 50, r'has [0-9]+ tokens, but "max_length" allows 30 including new tokens'
        alone = run("run", "generate", model, long, "--json")
        self.assertEqual((alone.code, alone.out), (1, ""))
        self.assertRegex(alone.errors, says)
        lines = run("run", "generate", model, "-", "--lines", "--json", "--greedy", stdin=f"It was\n{long}\n".encode())
        self.assertEqual(lines.code, 1)
        answers = [json.loads(line) for line in lines.out.splitlines()]
        self.assertEqual(len(answers[0]["tokens"]), 30 - len(self.ok("tokens", model, "It was", "--json").json["tokens"]))
        self.assertRegex(answers[1]["error"], "^line 2 " + says)

    def test_the_end_token_is_that_of_generation_config_json(self):
        """As in transformers: if the file exists, config.json is not read for settings that it omits."""
        model = self.folder / "book"
        shutil.copytree(BOOK, model)
        given = ("run", "generate", model, "It was a dark", "--greedy", "--max-tokens", 24, "--json")
        free = run(*given).json["tokens"]
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | {"eos_token_id": free[5]}))
        self.assertEqual(run(*given).json["tokens"], free[: free.index(free[5]) + 1])
        (model / "generation_config.json").write_text("{}")
        self.assertEqual(run(*given).json["tokens"], free)
        (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [free[3], free[2]]}))
        self.assertEqual(run(*given).json["tokens"], free[: min(free.index(free[2]), free.index(free[3])) + 1])

    def test_a_translation_follows_generation_config_json(self):
        model = write_translator(self.folder / "translator", self.causal)
        one = ("run", "translate", model, "on the mat, and so on", "--json")

        def tokens(settings, *options):
            (model / "generation_config.json").write_text(json.dumps({"eos_token_id": 10, "num_beams": 1} | settings))
            return self.ok(*one, *options).json["translations"][0]["tokens"]

        usual = tokens({"max_length": 13})
        self.assertLessEqual(len(usual), 12)
        self.assertEqual(tokens({"max_length": 13, "forced_bos_token_id": 7})[0], 7)
        self.assertNotIn(usual[0], tokens({"suppress_tokens": [usual[0]]}, "--max-tokens", 12))
        alone = tokens({"no_repeat_ngram_size": 1}, "--max-tokens", 12)
        self.assertEqual(len(alone), len(set(alone)))
        self.assertEqual(tokens({"max_length": 5, "min_length": 5, "forced_eos_token_id": 10})[-1], 10)
        self.assertEqual(len(tokens({"min_length": 99}, "--max-tokens", 9)), 9)
        self.assertEqual(len(tokens({"min_length": 99, "max_length": 13})), 12)
        self.assertEqual(len(tokens({"min_length": 99, "max_length": 13}, "--max-tokens", 3)), 3)

    def test_settings_without_a_counterpart_are_refused_by_name(self):
        model = write_translator(self.folder / "translator", self.causal)
        (model / "generation_config.json").write_text('{"force_words_ids": [[7]]}')
        self.refused(1, f'{model}/generation_config.json: "force_words_ids": an array of 1 is not supported and changes the generated text; remove it to generate without it',
                     "run", "translate", model, "a cat")


class Marks(Case):
    def test_a_span_excludes_the_metaspace_marker_token(self):
        model = self.folder / "marks"
        shutil.copytree(ROOT / "tests/goldens/bert/pooler", model)
        vocabulary = {piece: at for at, piece in enumerate(["?", "▁", "中", "国", "人"])}
        (model / "tokenizer.json").write_text(json.dumps({
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            "post_processor": None, "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": "?", "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary, "merges": []}}))  # fmt: skip
        told = self.ok("ask", model, "中国人", "--from", "中", "--to", "国人", "--json").json
        self.assertEqual((told["from"], told["to"]), ([1, 2], [2, 4]))
        self.assertEqual(self.ok("tokens", model, "中国人", "--json").json["offsets"], [[0, 3], [0, 3], [3, 6], [6, 9]])
